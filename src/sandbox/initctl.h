/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/initctl - the supervisor's end of init: start it, tell it, hear what becomes of COMMAND
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "sandbox/init.h"
#include "util/err.h"
#include "util/loop.h"
#include "util/queue.h"

struct initctl_ops {
	/* COMMAND runs: ->command is its pid. */
	void (*on_started)(void *owner);
	/* COMMAND has ended, what it left has not: this is to terminate it. */
	void (*on_left)(void *owner);
	/* Once: nothing is left inside; @status is nswrap's. @err is NULL if that is COMMAND's. */
	void (*on_ended)(void *owner, int status, const struct err *err);
};

struct initctl {
	/* for reading */
	pid_t pid;                           /* 0: has ended */
	pid_t command;                       /* 0: does not run yet */
	int fds[INIT_FDS];                   /* what came with INIT_READY; -1: none */
	int door;                            /* the net process's end; -1: none */
	bool keeps_clients4, keeps_clients6; /* it has sockets for those, came with INIT_READY */
	bool is_released; /* until then init hears of no end: it is to be stopped */
	bool waits;       /* --wait-all: COMMAND has ended, what it left is waited for */
	bool has_ended;   /* on_ended was called */

	/* its own */
	struct loop *loop;
	const struct initctl_ops *ops;
	void *owner;
	const struct sandbox_config *config;
	struct loop_io io;
	struct queue told;           /* COMMAND can stop init: it may be a while until it is */
	struct loop_timer end_timer; /* then init should have ended */
	uint64_t rested_at;          /* stop of COMMAND along with which we were stopped; 0: none */
};

/* @loop and @ops must stay. */
void initctl_init(
	struct initctl *initctl, struct loop *loop, const struct initctl_ops *ops, void *owner);

/*
 * Start init with @start, whose descriptors and sysctls are filled in here. Then wait until the
 * namespaces are set up, for half a minute at most, or until a signal comes that would end us if it
 * were not blocked (-EINTR). In the end let COMMAND be executed. Each returns 0, or -errno with
 * @err filled.
 */
int initctl_spawn(struct initctl *initctl, struct init_start *start, struct err *err);
int initctl_await(struct initctl *initctl, struct err *err);
int initctl_release(struct initctl *initctl, struct err *err);

/* Have init remove socket @name in @dir_fd, which is about to be made, should we vanish. */
void initctl_own_file(struct initctl *initctl, int dir_fd, const char *name);

/* Pass signal @sig of process @sender on to COMMAND; after a stop of the whole job resume it. */
void initctl_signal(struct initctl *initctl, int sig, pid_t sender);

/* End the tree: @sig now, SIGKILL after @timeout_ms. */
void initctl_terminate(struct initctl *initctl, int sig, uint64_t timeout_ms);

/*
 * It died, and was reaped: @code and @status are of waitid(2). If it had not said that nothing is
 * left, on_ended is called: what it leaves is ours to end.
 */
void initctl_on_death(struct initctl *initctl, int code, int status);

/* Kill it unless it has ended, and reap it. */
void initctl_stop(struct initctl *initctl);
void initctl_fini(struct initctl *initctl);
