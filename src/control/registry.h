/* SPDX-License-Identifier: Apache-2.0 */
/* control/registry - what runs of a user's, by name: one socket each in a private directory */
#pragma once

#include <limits.h>
#include <stddef.h>
#include <sys/types.h>

#include "util/err.h"
#include "util/unixsock.h"

/*
 * How it works
 *
 * A running sandbox has a socket NAME.sock (SOCK_SEQPACKET) in the runtime directory,
 * $XDG_RUNTIME_DIR/nswrap or /tmp/nswrap-UID; a running mesh has one in the directory "mesh" below
 * it. Whether it runs is whether its socket is held: there is no list and no pid to go stale.
 * Starters take turns by a lock on the file .lock there.
 */
enum registry_kind { REGISTRY_SANDBOX, REGISTRY_MESH };

#define REGISTRY_NAME_MAX          64
#define REGISTRY_DESCRIPTION_BYTES 400 /* the longest registry_describe, with its NUL */

/* The directory with the names of one kind. */
struct registry {
	enum registry_kind kind;
	int dir_fd; /* -1: not open */
	char path[PATH_MAX];
};

/* A name that is taken. All fields are the entry's own. */
struct registry_entry {
	enum registry_kind kind;
	int dir_fd;
	int lock_fd;   /* reserved, not yet published: other starters wait; else -1 */
	int listen_fd; /* -1: not yet published */
	char name[REGISTRY_NAME_MAX + 1];
	struct unixsock_id id;
};

/*
 * A name has 1 to REGISTRY_NAME_MAX of [A-Za-z0-9._+@-], the first one neither '.' nor '-'. 0, or
 * -EINVAL with @err saying so.
 */
int registry_check_name(enum registry_kind kind, const char *name, struct err *err);

/*
 * Open the directory, which is made with mode 0700 if it is missing. XDG_RUNTIME_DIR counts if it
 * is an absolute path of a directory of ours; else it is below /tmp. Returns 0, or -errno with @err
 * naming the directory and the cure and nothing to close: a link, a directory of somebody else's or
 * one that others can enter is refused.
 */
int registry_open(enum registry_kind kind, struct registry *out, struct err *err);
void registry_close(struct registry *registry);

/*
 * Choose @name, or if it is NULL the first free one of BASE-1, BASE-2... (a mesh: BASE, BASE-2...)
 * with @base made fit: what may not be in a name becomes '_'. Makes no file yet; other starters
 * wait until registry_publish or registry_release. @registry may be closed. May wait for another
 * starter. Returns 0, or -errno with @err filled: -EEXIST when one of that name runs.
 */
int registry_reserve(const struct registry *registry, const char *name, const char *base,
	struct registry_entry *out, struct err *err);

/* Make the socket of a reserved name. Returns 0, or -errno with @err filled. */
int registry_publish(struct registry_entry *entry, struct err *err);

/* Give the name back and close everything. An entry whose descriptors are -1 is fine. */
void registry_release(struct registry_entry *entry);

/*
 * Connect to a running one. Returns a nonblocking descriptor, or -errno with @err saying which do
 * run: -ENOENT when none of that name does.
 */
int registry_connect(const struct registry *registry, const char *name, struct err *err);

/*
 * The names of those that run, sorted by bytes; the first @cap if there are more. Removes the files
 * of dead ones. Returns how many were stored, or -errno.
 */
ssize_t registry_list(
	const struct registry *registry, char (*names)[REGISTRY_NAME_MAX + 1], size_t cap);

/* "none is running", "running: a, b" or, of more than five, "running: a, b, c, d, e and more". */
void registry_describe(const struct registry *registry, char *out, size_t cap_bytes);
