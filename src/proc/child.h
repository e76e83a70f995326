/* SPDX-License-Identifier: Apache-2.0 */
/* proc/child - programs that run below a loop, how they end, and what they leave behind */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proc/command.h"
#include "proc/inherited.h"
#include "util/err.h"
#include "util/list.h"
#include "util/loop.h"

/*
 * How it works
 *
 * A child is a subreaper for what it starts, as this process is for its children: while the child
 * lives all of that stays below it, and when it dies all of that comes to this process at once. So
 * whatever child of this process was not started here, and was not there before, is what a dead one
 * left behind: children_reap, which the owner calls at SIGCHLD, ends it, level by level as their
 * parents die. Each gets SIGTERM when it is first seen and SIGKILL two seconds later: an nswrap
 * among them removes its socket file, and its init cleans up where it had no time to. Nothing is
 * looked up by pid that could have been reused: one signals and waits for own children only that
 * are not reaped yet, one by one.
 *
 * Not all of it was left for itself. What has made a session of its own, and let go of the pipes
 * and terminals that it was started with, as daemon(3) does, may be there for others, such as an
 * ssh that stays (ControlPersist): it is left alone, with who works for it at its pipes
 * (ProxyJump), and reaped when it ends. So is what has a host's ports until its next agent is there
 * (daemon_keeps), but for children_end. The rest is ended, unless others are connected to its
 * socket (proc/daemon): then it has time until they have gone, or children_end.
 *
 * The end of a child is an event of its pidfd. Where there is none (before Linux 5.3, under a
 * seccomp filter that does not know it, or when descriptors are short) a timer looks.
 */
#define CHILDREN_LEFT_MAX     64 /* those past it get SIGKILL at once */
#define CHILDREN_SESSIONS_MAX 256

/* What a dead child has left behind, and when it was told to end. */
struct child_left {
	pid_t pid;
	uint64_t since_ns; /* when it got SIGTERM; 0: not yet */
	uint64_t asked_ns; /* when it was last looked at whether it serves others; 0: never */
	int held_fd;       /* open for as long as it is there; -1: none */
};

/* All children of this process. */
struct children {
	struct loop *loop;
	struct list started;                   /* struct child */
	pid_t sessions[CHILDREN_SESSIONS_MAX]; /* that the last that ended had for their own */
	size_t nsessions;                      /* so far */
	pid_t session;                         /* ours, at first: children may be in it yet */
	struct inherited inherited;
	struct child_left left[CHILDREN_LEFT_MAX];
	size_t nleft;
	bool is_ending;               /* nothing is to be left */
	uint64_t left_ms;             /* from SIGTERM to SIGKILL */
	struct loop_timer left_timer; /* no SIGCHLD tells that the time is over */
	struct loop_timer serves_timer;
};

/* How a child has ended. */
struct child_end {
	int code, status; /* waitid(2)'s */
	int not_executed; /* a positive errno: the program could not be started */
};

/* Starts as all zero. */
struct child {
	/* It has ended and is reaped. */
	void (*on_end)(struct child *child, const struct child_end *end);
	pid_t pid; /* 0: none that is not reaped yet */

	/* its own */
	struct children *all;
	struct list link;
	bool has_session; /* of its own, by its number */
	int report;       /* says why it could not be executed */
	struct loop_io pidfd_io;
	struct loop_timer look_timer; /* without a pidfd */
};

/*
 * Become a subreaper. Who is a child already, as a shell that became us by `exec` may have had
 * some, is left alone.
 */
void children_init(struct children *all, struct loop *loop);

/*
 * End and reap what children that have ended left behind; goes on by itself, below the loop.
 * Returns how many are still there, those included that have just been reaped: what these have left
 * is only seen the next time.
 */
size_t children_reap(struct children *all);

/*
 * SIGKILL all that was started, and what it left after half of the time, and reap it, for at most
 * @timeout_ms; on_end is not called. Returns 0, or -EBUSY when some are left.
 */
int children_end(struct children *all, unsigned timeout_ms);

/* Start @command, which should be a subreaper. Returns 0, or -errno with @err filled. */
int child_start(
	struct child *child, struct children *all, const struct command *command, struct err *err);

/* kill(2), if there is one. */
void child_signal(struct child *child, int sig);

/* Do others use what it, or something below it, has opened for them? */
bool child_serves(const struct child *child);

/*
 * It is none of ours any more, but one that was left behind: it serves others, and will be ended by
 * children_reap when it does no longer. on_end will not be called. @held_fd, -1 or a descriptor
 * that is the children's from now on, is closed when it has ended.
 */
void child_leave(struct child *child, int held_fd);

/* SIGKILL, if there is one; children_reap will reap it, on_end will not be called. */
void child_drop(struct child *child);

bool child_has_failed(const struct child_end *end);

/* "ended with status 1" and so on; @program is what could not be started, escaped here. */
char *child_describe_end(
	const struct child_end *end, const char *program, char *out, size_t cap_bytes);
