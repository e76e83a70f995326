/* SPDX-License-Identifier: Apache-2.0 */
/* proc/witness - has a signal reached the command already, by its group or by its cgroup? */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/loop.h"

#define WITNESS_SIGNALS 32 /* the standard ones: 1 to 31 */

/*
 * How it works
 *
 * kill(2) does not say to whom else a signal goes. `kill %1` of a shell and timeout(1) send it to
 * the whole process group, systemd to each process of a cgroup: the command has it then, and
 * whoever passed it on would tell it twice, which many programs take for "at once, without
 * finishing". So a small process stays where the command is, in its process group or in a session
 * of its own, and tells what reaches it. A signal of ours is held for a moment; if the witness has
 * it as well, the command has.
 *
 * The witness has no rights and no files. If it cannot be started, or dies, signals are passed on
 * as they come.
 */
struct witness {
	/*
	 * @sig, which was held, came from @sender; @has_reached: the command has it, too. @owner is
	 * the owner's.
	 */
	void (*on_signal)(void *owner, int sig, pid_t sender, bool has_reached);
	void *owner;

	/* its own; all zero at first but io.fd, which is -1 */
	pid_t pid; /* 0: none */
	unsigned long questions, answers;
	bool has_own_session;
	struct loop *loop;
	struct loop_io io;       /* it tells the numbers of signals, a byte each */
	struct loop_timer timer; /* then what is held is decided */
	struct {
		uint64_t came_ns, seen_ns; /* 0: not held; never */
		pid_t sender;
		unsigned long question; /* whether it has it; 0: not asked */
		unsigned long looks;    /* for the answer */
	} signals[WITNESS_SIGNALS];
};

/*
 * Start one in our process group, or in a session of its own if @has_own_session. All signals must
 * be blocked. @shares_memory: it costs a third, is hidden as much as we are, and we have a second
 * thread from now on (which a process that enters a user namespace must not have, setns(2)). What
 * fails is not told: see above.
 */
void witness_start(
	struct witness *witness, struct loop *loop, bool has_own_session, bool shares_memory);

/*
 * Hold @sig of @sender, which is to be passed on to @command, a process: on_signal is called later.
 * Returns false if nothing is held: there is no witness, or the command has left its group, or it
 * is SIGCONT, SIGTSTP or one of real time.
 */
bool witness_hold(struct witness *witness, int sig, pid_t sender, pid_t command);

/* Is @sig held now? */
bool witness_holds(const struct witness *witness, int sig);

/* A child of ours has ended and is reaped: was it this one? */
bool witness_on_death(struct witness *witness, pid_t pid);

/* End it. What is held is forgotten. */
void witness_stop(struct witness *witness);
