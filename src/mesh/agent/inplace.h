/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/inplace - change a file that others have, where it lies */
#pragma once

#include "mesh/agent/marked.h"
#include "util/err.h"

/*
 * How it works
 *
 * The file stays the same one (inode), so owner, mode, ACLs, labels and hard links do, and it works
 * where another file cannot take its place: it is mounted (rename(2): EBUSY), or its directory
 * cannot be written to. Only bytes from the first one on that changes are written, which for a
 * block at the end is an append or a truncation: the rest is not touched at all, and who reads
 * meanwhile sees it. What cannot be written whole (ENOSPC) is taken back.
 *
 * Agents take turns by flock(2). Others do not know of that: a file that they have replaced, or
 * have written to since it was read, is read again.
 */
#define INPLACE_MAX_BYTES (64 << 20)
#define INPLACE_TRIES     5
#define INPLACE_LOCK_MS   1000

/* Make *@new of @old, for inplace_edit to free. Returns 0 or -errno. May be called again. */
typedef int (*inplace_change)(void *owner, const struct marked_text *old, struct marked_text *new);

/* Returns 1, 0 if nothing had to be written, or -errno with @err filled; it is as it was then. */
int inplace_edit(const char *path, inplace_change change, void *owner, struct err *err);

/* All of a regular file of up to INPLACE_MAX_BYTES, NUL behind it. Returns 0 or -errno. */
int inplace_read(int fd, struct marked_text *out);
