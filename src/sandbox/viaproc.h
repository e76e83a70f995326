/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/viaproc - the process that carries a sandbox's packets to an exit elsewhere */
#pragma once

#include <sys/types.h>

#include "conn/bind.h"
#include "sandbox/config.h"
#include "sandbox/words.h"
#include "util/err.h"

/*
 * How it works
 *
 * A fork of the supervisor, with the caller's rights, as it starts the link's command; it has the
 * TUN device (exit/entrance) and nothing else of the sandbox, and hears of COMMAND only what that
 * sends. It opens the link (link/linkend), and again whenever it has ended, after pauses that grow;
 * connections of the programs inside stand still meanwhile. What it and the link's command say goes
 * through a pipe to the supervisor.
 *
 * The link's command, such as ssh, may ask for a password: the first one has the terminal for
 * itself until the link is up or has failed, and COMMAND begins after that. What is started later
 * has none, as COMMAND has it then.
 *
 * It may die; the supervisor has the device and the socket of a link that listens, and starts
 * another one.
 */
struct viaproc {
	pid_t pid; /* 0: none runs */

	/* its own */
	const struct sandbox_config *config;
	int tun, diag;
	struct loop *loop;
	struct bound bound; /* where the link listens; fd -1: it does not */
	struct words words;
	struct loop_io login; /* ends when the terminal is free */
	int login_write;
	struct loop_timer timer; /* then another one is started */
	bool is_last;
};

/* Start the first one. @tun and @diag (of net/diag, -1: none) stay the caller's; with @has_terminal
 * this process is in its foreground. Returns 0, or -errno with @err filled. */
int viaproc_open(struct viaproc *viaproc, const struct sandbox_config *config, int tun, int diag,
	struct loop *loop, bool has_terminal, struct err *err);

/* The link's command has the terminal. */
bool viaproc_logs_in(const struct viaproc *viaproc);
int viaproc_start(struct viaproc *viaproc, struct err *err);

/* It died, and was reaped: @code and @status are of waitid(2). It ends by itself only when the
 * device is gone. */
void viaproc_on_death(struct viaproc *viaproc, int code, int status);

/* End it, and with it the link's command and what that left for itself. Fine for all zero. */
void viaproc_stop(struct viaproc *viaproc);

/* Is @pid, a child that this process has from one that ended, what the link's command left running
 * for others (proc/daemon)? An ssh that is shared, which leads a session, or who works for it. */
bool viaproc_leaves(const struct viaproc *viaproc, pid_t pid);
