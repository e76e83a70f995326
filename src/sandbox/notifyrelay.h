/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/notifyrelay - what COMMAND tells the service manager, and what is told of it */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <sys/un.h>

#include "control/places.h"
#include "proc/sdnotify.h"
#include "util/err.h"
#include "util/loop.h"

/*
 * How it works
 *
 * A service manager knows a service by its processes: it takes messages of the main one, and of
 * others only if NotifyAccess= says so. Its main process is the supervisor; and its socket may be
 * one without a file, which is in the host's network and not in the sandbox's. So COMMAND has a
 * socket of its own, a file in a directory that nobody else sees (sandbox/view), and what comes
 * there is told on:
 *
 * - by the supervisor, if it comes from COMMAND: that is the main process then;
 * - by a process beside it, the courier, if it comes from anybody else inside: the manager takes it
 *   under the same rules under which it would take it from a child of a main process. It is started
 *   when there is the first one.
 *
 * MAINPID= is left out, as the supervisor stays the main process; so are descriptors that are to be
 * kept (FDSTORE=1), which is said once: they are of a network that ends with the sandbox. The
 * descriptor of a barrier goes on to the manager, so who waits for it waits for the manager.
 *
 * One message at a time: while the manager has no room for it no other one is read, so COMMAND
 * waits as it would without us. What we owe the manager ourselves goes before those.
 */
struct notifyrelay {
	/* the owner sets these; the rest starts as all zero but for the descriptors, which are -1
	 */
	struct loop *loop;
	const char *address; /* NOTIFY_SOCKET; NULL: nobody is to be told anything */
	bool hears_command;  /* else COMMAND has no socket */

	/* for reading */
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* COMMAND's; "": none */
	pid_t courier;                                          /* 0: none runs */

	/* its own */
	int manager;         /* connected; -1: not */
	int courier_fd;      /* our end of what the courier reads */
	pid_t command;       /* who speaks as the main process */
	struct sdnotify own; /* what we tell ourselves */
	bool has_told_end;
	unsigned complained;     /* SDNOTIFY_..: said already */
	struct loop_io io;       /* COMMAND's socket; its descriptor is the owner's */
	struct loop_io room_io;  /* what there is no room in */
	char text[SDNOTIFY_MAX]; /* the message that waits for room */
	size_t len;              /* 0: none does */
	int fd;                  /* that comes with it; -1: none */
	bool is_commands;
};

/*
 * Where is COMMAND's socket to be? In one of @hidden, which sandbox/view covers. Also looks for the
 * manager; if there is none to be found that is said, and there is nothing to do any more.
 */
void notifyrelay_begin(struct notifyrelay *relay, const struct places *hidden);

/* For init: make the socket at @path. Returns it, or -errno with @err filled. */
int notifyrelay_bind(const char *path, struct err *err);

/* COMMAND runs as @command: listen to it at @fd, which is to stay until notifyrelay_end. */
void notifyrelay_hear(struct notifyrelay *relay, int fd, pid_t command);

/* Tell the manager ourselves that all is ready; and of the end, once. */
void notifyrelay_tell_ready(struct notifyrelay *relay);
void notifyrelay_tell_end(struct notifyrelay *relay);

/* The courier has ended, and was reaped. */
void notifyrelay_on_death(struct notifyrelay *relay);

/* What was said until now is told on first, for which the manager has some seconds. */
void notifyrelay_end(struct notifyrelay *relay);
