/* SPDX-License-Identifier: Apache-2.0 */
/* control/origin - of what a running name was made, so that it is not made of it twice */
#pragma once

#include <limits.h>
#include <stdint.h>

/*
 * How it works
 *
 * A symbolic link NAME.of beside the socket NAME.sock, whose target is no place but a text: it is
 * there or not, and read as a whole. One without a running NAME means nothing.
 */
struct origin {
	char path[PATH_MAX]; /* of a file, without symbolic links in it; "": none, such as a pipe */
	uint64_t digest;     /* of what it said */
};

enum origin_likeness { ORIGIN_OTHER, ORIGIN_SAME_TEXT, ORIGIN_SAME_FILE };

/* The path of the file @path, or of what descriptor @fd is if that is NULL. */
void origin_set_path(struct origin *origin, const char *path, int fd);

/* Note what @name is made of, in place of what was noted. Returns 0 or -errno. */
int origin_write(int dir_fd, const char *name, const struct origin *origin);

/* Is it noted for @name that it is made of the same? Fills @found then. A file is the same by any
 * of its names. */
enum origin_likeness origin_compare(
	int dir_fd, const char *name, const struct origin *origin, struct origin *found);

void origin_remove(int dir_fd, const char *name);
