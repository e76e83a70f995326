/* SPDX-License-Identifier: Apache-2.0 */
/* proc/sdnotify - what is told to a service manager, as sd_notify(3) states it */
#pragma once

#include <stdbool.h>
#include <stddef.h>

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

/* One message, such as "READY=1\nSTATUS=...", to where NOTIFY_SOCKET says. Returns 0 or -errno. */
int sdnotify_tell(const char *address, const char *text);

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
