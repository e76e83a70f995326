/* SPDX-License-Identifier: Apache-2.0 */
/* control/registry - what runs of a user's, by name: one socket each in a private directory */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "control/origin.h"
#include "control/places.h"
#include "util/err.h"
#include "util/unixsock.h"

/*
 * How it works
 *
 * A running sandbox has a socket NAME.sock (SOCK_SEQPACKET) in one of the user's places
 * (control/places); a running mesh has one in the directory "mesh" below it, an end of a tunnel in
 * "tunnel". Whether it runs is
 * whether its socket is held: there is no list and no pid to go stale. Starters take turns by a
 * lock on the file .lock there. Who listens is looked at before it is asked (control/identity).
 */
enum registry_kind { REGISTRY_SANDBOX, REGISTRY_MESH, REGISTRY_TUNNEL };

#define REGISTRY_NAME_MAX          64
#define REGISTRY_DESCRIPTION_BYTES 400 /* the longest registry_describe, with its NUL */

/* The names of one kind. Its places are the directories with their sockets; in the first are ours.
 */
struct registry {
	enum registry_kind kind;
	struct places places;
	struct place_pointer pointer;
	bool only_looks; /* for who may hold the lock: no file is removed; false at first */
};

/* One that runs; the place is an index of the registry's. */
struct registry_found {
	char name[REGISTRY_NAME_MAX + 1];
	size_t place;
};

/* A name that is taken. All fields are the entry's own. */
struct registry_entry {
	enum registry_kind kind;
	int dir_fd;
	int lock_fd;   /* reserved, not yet published: other starters wait; else -1 */
	int listen_fd; /* -1: not yet published */
	char name[REGISTRY_NAME_MAX + 1];
	struct unixsock_id id;
	struct place_pointer pointer;
};

/*
 * A name has 1 to REGISTRY_NAME_MAX of [A-Za-z0-9._+@-], the first one neither '.' nor '-'. 0, or
 * -EINVAL with @err saying so.
 */
int registry_check_name(enum registry_kind kind, const char *name, struct err *err);

/* Open all places (places_open). Returns 0, or -errno with @err filled and nothing to close. */
int registry_open(enum registry_kind kind, struct registry *out, struct err *err);

/* The same, somewhere else: for tests. */
int registry_open_in(const struct places_roots *roots, enum registry_kind kind,
	struct registry *out, struct err *err);

/* The paths of the places stay. */
void registry_close(struct registry *registry);

/*
 * Choose @name, or if it is NULL the first free one of BASE-1, BASE-2... (a mesh: BASE, BASE-2...)
 * with @base made fit: what may not be in a name becomes '_'. Makes no file yet; other starters
 * wait until registry_publish or registry_release. @registry may be closed. May wait for another
 * starter. Returns 0, or -errno with @err filled: -EEXIST when one of that name runs.
 */
int registry_reserve(const struct registry *registry, const char *name, const char *base,
	struct registry_entry *out, struct err *err);

/*
 * Of a reserved name: is one made of the same running under another name (control/origin)? Stores
 * which, and what it is made of.
 */
enum origin_likeness registry_find_same(const struct registry *registry,
	const struct origin *origin, struct registry_found *found, struct origin *of);

/* Has who made @name ended, and only what it had started holds the socket, for a moment yet? */
bool registry_is_orphaned(const struct registry *registry, const char *name);

/* Note what a reserved or published name is made of. Best effort. */
void registry_note(const struct registry_entry *entry, const struct origin *origin);

/* Make the socket of a reserved name. Returns 0, or -errno with @err filled. */
int registry_publish(struct registry_entry *entry, struct err *err);

/* Give the name back and close everything. An entry whose descriptors are -1 is fine. */
void registry_release(struct registry_entry *entry);

/*
 * Connect to a running one. Returns a nonblocking descriptor, or -errno with @err: -ENOENT, saying
 * which do run and where was looked, when none of that name does; -EEXIST when several do, none of
 * them in our own place; -EPERM when who listens is no nswrap of ours (identity_check).
 */
int registry_connect(const struct registry *registry, const char *name, struct err *err);
int registry_connect_found(
	const struct registry *registry, const struct registry_found *found, struct err *err);

/*
 * Those that run, sorted by name (bytes) and place; the first @cap if there are more. Removes the
 * files of dead ones. Returns how many were stored, or -errno.
 */
ssize_t registry_list(const struct registry *registry, struct registry_found *out, size_t cap);

#define REGISTRY_WHENCE_BYTES 128

/*
 * What belongs behind "none is running": nothing or, inside of a sandbox, where those outside are
 * hidden, that they are: ", as seen from inside of the sandbox \"NAME\"; ask from outside".
 */
void registry_whence(char out[REGISTRY_WHENCE_BYTES]);

/*
 * "none is running" with its whence, "running: a, b" or, of more than five, "running: a, b, c, d, e
 * and more".
 */
void registry_describe(const struct registry *registry, char *out, size_t cap_bytes);
