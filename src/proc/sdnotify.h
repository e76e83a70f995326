/* SPDX-License-Identifier: Apache-2.0 */
/* proc/sdnotify - what is told to a service manager, as sd_notify(3) states it */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util/loop.h"

#define SDNOTIFY_MAX 4096 /* bytes of a message; systemd takes no more either */

/* What a service manager leaves in the environment of the process that it starts, for that one
 * alone. Ends with NULL. */
extern const char *const sdnotify_variables[];

/*
 * A datagram socket, nonblocking and close-on-exec, that is connected to what NOTIFY_SOCKET says:
 * an absolute path, or "@name" for one without a file. Returns it, or -errno: -EINVAL for other
 * texts.
 */
int sdnotify_open(const char *address);

/* What is told in our own name, in the order in which it is told. */
enum sdnotify_kind {
	SDNOTIFY_STATUS,
	SDNOTIFY_RELOADING,
	SDNOTIFY_READY,
	SDNOTIFY_WATCHDOG,
	SDNOTIFY_STOPPING,
	SDNOTIFY_KINDS
};

#define SDNOTIFY_OWN_BYTES 128

/*
 * The manager's queue holds some messages of all its services (net.unix.max_dgram_qlen, 10), and
 * nobody waits for it: what finds no room is owed until there is some, the last text of each kind.
 * Starts as all zero but for what the owner sets.
 */
struct sdnotify {
	/* the owner's */
	struct loop *loop;
	const char *address;                   /* NOTIFY_SOCKET; NULL: nobody is told */
	void (*on_told)(struct sdnotify *own); /* nothing is owed any more; NULL: none asks */

	/* for reading */
	bool owes;

	/* its own */
	struct loop_io io; /* while it owes */
	char owed[SDNOTIFY_KINDS][SDNOTIFY_OWN_BYTES];
};

/* Returns 0: it is told, or will be; or -errno. */
int sdnotify_tell(struct sdnotify *own, enum sdnotify_kind kind, const char *text);

/* What is owed has @wait_ms, and then is no more. */
void sdnotify_end(struct sdnotify *own, unsigned wait_ms);

/* What a message may hold that its author cannot have told in the name of another process. */
enum {
	SDNOTIFY_MAINPID = 1 << 0, /* MAINPID=, MAINPIDFD...: another process is the main one */
	SDNOTIFY_FDS = 1 << 1,     /* FDSTORE=, FDNAME=...: descriptors are to be kept */
};

/* Cut those lines out of the @len bytes at @text. Returns how many bytes are left, with what was
 * there in *@cut. */
size_t sdnotify_cut(char *text, size_t len, unsigned *cut);

/* Is it the one that comes with a descriptor, which its author waits for to be closed? */
bool sdnotify_is_barrier(const char *text, size_t len);
