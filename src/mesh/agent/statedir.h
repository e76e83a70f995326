/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/statedir - the directory with a host's names: hosts, hostaliases, README.md */
#pragma once

#include <stdbool.h>

#include "mesh/agent/marked.h"
#include "util/err.h"

#define STATEDIR_HOSTS "/etc/hosts"

/*
 * How it works
 *
 * Agents of several hosts, or meshes, may have the same directory: each has a block of its own in
 * its files (mesh/agent/marked), and who writes takes out the blocks of those that have ended. The
 * last one that ends takes the files along, and the directory if nothing else is in it. `hosts` is
 * what /etc/hosts says with these blocks behind it, `hostaliases` has blocks only. A file of those
 * names that has no block is somebody else's and never written, and so is /etc/hosts itself, which
 * may have blocks: a manager says where, and has no say in what is there.
 */
struct statedir {
	char *path; /* NULL: there are no files of ours */
};

/*
 * @path with "~" and "~/" as the user's home, $VAR and ${VAR} as the environment says; NULL:
 * ~/.nswrap/agent. Returns it for free(3), or NULL with @err filled.
 */
char *statedir_expand(const char *path, struct err *err);

/*
 * Write the files in @path: the lines of @self in both are these from now on. What was written
 * elsewhere goes. Returns 0, or -errno with @err filled: some of them are not there.
 */
int statedir_write(struct statedir *dir, const char *path, const struct marked_author *self,
	const char *hosts, const char *aliases, struct err *err);

/* Take out the lines of @self; what has no others goes. Once more is fine. */
void statedir_remove(struct statedir *dir, const struct marked_author *self);
