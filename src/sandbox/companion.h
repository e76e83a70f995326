/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/companion - the function that serves beside COMMAND, in a process of its own */
#pragma once

#include <signal.h>
#include <sys/types.h>

#include "sandbox/config.h"
#include "sandbox/words.h"
#include "util/err.h"

/*
 * See struct sandbox_companion. All of this does nothing where there is to be none. Starts with
 * config set, pid 0, and no descriptors (-1).
 */
struct companion {
	const struct sandbox_companion *config;
	pid_t pid;  /* 0: none runs */
	int fds[2]; /* its stdin and stdout while we keep them; -1: none */
	struct words words;
};

/*
 * Keep stdin and stdout for it, and leave others for COMMAND; its stderr is a pipe to us. Returns
 * 0, or -errno with @err.
 */
int companion_take_streams(struct companion *companion, struct loop *loop, struct err *err);

/*
 * Start it in @namespaces, descriptors in the order of enum enter_ns, with the signal mask @mask,
 * and with @names, which stays open here. Returns 0, or -errno with @err filled.
 */
int companion_start(struct companion *companion, const int *namespaces, const sigset_t *mask,
	int names, struct err *err);

/*
 * It died, and was reaped: @code and @status are of waitid(2). Says why unless it ended by itself.
 * Returns what that means for nswrap's exit status: 0 or 125.
 */
int companion_on_death(struct companion *companion, int code, int status);

/*
 * End it. @diag is a net/diag socket of the sandbox, or -1: what COMMAND wrote and closed before it
 * ended is first given a second to get through.
 */
void companion_stop(struct companion *companion, int diag);
