/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/answers - answer what a running sandbox is asked */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

#include "control/server.h"
#include "sandbox/config.h"
#include "sandbox/enter.h"
#include "sandbox/forwards.h"
#include "sandbox/outwards.h"
#include "sandbox/program.h"
#include "sandbox/tellers.h"

/*
 * The owner fills the first group before answers_open, and all of it must stay; server is as
 * server_init leaves it, the rest zero.
 */
struct answers {
	const struct sandbox_config *config;
	const struct program *program;
	struct forwards *forwards;
	struct outwards *outwards;
	struct tellers *tellers;
	const int *namespaces; /* descriptors, in the order of enum enter_ns */
	pid_t command;         /* as init sees it; 0: does not run yet */
	/* The tree shall end: SIGKILL so long after SIGTERM. */
	void (*on_stop)(void *owner, uint64_t timeout_ms);
	void *owner;

	struct server server; /* its name is the sandbox's */
	time_t started;
	bool was_entered; /* by `exec`, at least once */

	/* its own */
	struct loop *loop;
	int entered[ENTER_NAMESPACES + 1]; /* what goes with an answer to "enter" */
	struct loop_task sent_task;        /* then the last of them is closed here */
};

/*
 * Publish the name, which the owner has reserved in server.entry and gives back by server_close.
 * Returns 0, or -errno with @err filled.
 */
int answers_open(struct answers *answers, struct loop *loop, struct err *err);

/* Adds network and network6, those inside, where there are such. Returns @object. */
json_t *answers_with_networks(json_t *object, const struct net_plan *plan);

/*
 * The sandbox ends: let stopped processes that joined it go on. The kernel ends a PID namespace
 * only when they have reaped their children there.
 */
void answers_wake(const struct answers *answers);
