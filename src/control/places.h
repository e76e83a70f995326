/* SPDX-License-Identifier: Apache-2.0 */
/* control/places - the private directories in which a user's nswraps find one another */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "util/err.h"

/*
 * How it works
 *
 * A place is a directory of the user's that nobody else can write to. There are two kinds:
 *
 * - The hub: /tmp/nswrap-UID. Where that is anything else (of another user, a link, a file, open to
 *   others) or is missing, the directories /tmp/nswrap-UID-XXXXXX with random ends, of which one is
 *   made; they stay in use when /tmp/nswrap-UID gets free again.
 * - $XDG_RUNTIME_DIR/nswrap, if XDG_RUNTIME_DIR is an absolute path of a directory of the user's.
 *   There it is made in, and the hub gets a pointer to it: a link at-DEV-INO, for as long as there
 *   is a socket.
 *
 * With XDG_RUNTIME_DIR one looks there and in the hub; without it in the hub, in
 * /run/user/UID/nswrap, and wherever the pointers lead. So those with and without it find one
 * another, and two values of it are apart. What may not ask its own
 * supervisor is kept from all of them.
 */
#define PLACES_MAX 32 /* more are not looked at */

struct place {
	int dir_fd; /* -1: closed */
	char path[PATH_MAX];
};

struct places {
	struct place items[PLACES_MAX]; /* the first is the one to make sockets in */
	size_t count;                   /* that are looked at */
	size_t total;                   /* with those that are looked at with another environment */
	size_t hub;                     /* which one is the hub; PLACES_MAX: none could be had */
};

/* Where to look; places_open wants XDG_RUNTIME_DIR (may be NULL), "/run/user" and "/tmp". */
struct places_roots {
	const char *xdg, *run_user, *tmp;
};

/*
 * Open all of them; makes the hub, $XDG_RUNTIME_DIR/nswrap and /run/user/UID/nswrap where they are
 * missing. Places of ours that others can only read are closed to them. Returns 0, or -errno with
 * @err and nothing open when there is none at all.
 */
int places_open(const struct places_roots *roots, struct places *out, struct err *err);

/*
 * Open a directory (openat(2)) that only we can write to; one that others can read is closed to
 * them. Returns the caller's descriptor, or -errno: -EPERM for one that is not so.
 */
int places_open_private(int at, const char *path);

/* Paths and numbers stay. */
void places_close(struct places *places);

/* What places_point needs, to be kept apart from the places. */
struct place_pointer {
	int hub_fd; /* -1: no pointer is wanted */
	char target[PATH_MAX];
};

/* Returns 0 with the caller's descriptor in @out, or -errno. */
int places_pointer(const struct places *places, struct place_pointer *out);

/*
 * A socket was made: put the pointer into the hub, and take away those that lead to no socket any
 * more. May wait for another nswrap. Returns 0 or -errno; the socket is found without it, too.
 */
int places_point(const struct place_pointer *pointer);
