/* SPDX-License-Identifier: Apache-2.0 */
/* util/unixsock - listening sockets in the file system: claimed, found and removed by identity */
#pragma once

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

/*
 * How it works
 *
 * A socket is bound and listens under a temporary name and is link(2)ed to its own name only then:
 * whoever finds it can connect, and of two starters exactly one wins. A file that nobody holds
 * bound any more is stale; starters take such files away one at a time, with a lock on the
 * directory, so that none takes away what another one has just put there.
 *
 * @dir_fd may be O_PATH or AT_FDCWD; @name is one component of up to NAME_MAX bytes. Paths are as
 * long as the file system likes: sockets are reached through /proc/self/fd.
 */

/* A socket file by its place and identity: another file of that name is not ours. */
struct unixsock_id {
	uint64_t dev, ino;
	char name[NAME_MAX + 1];
};

/*
 * Listen at @name with @type SOCK_STREAM or SOCK_SEQPACKET: mode 0600 from its first moment,
 * nonblocking, close-on-exec. A stale socket is replaced, and what killed starters left in the
 * directory goes (unixsock_sweep). Fills @id. Sets the umask for a moment.
 *
 * Returns the descriptor, or -errno: -EADDRINUSE when a live socket of any type is there, -EEXIST
 * when it is no socket, -EAGAIN when somebody keeps the directory locked, -EINVAL and -ENAMETOOLONG
 * for what is no name. Nothing is left behind then.
 */
int unixsock_listen(int dir_fd, const char *name, int type, struct unixsock_id *id);

/* A nonblocking, close-on-exec descriptor connected to @name, or -errno (-EAGAIN: backlog full). */
int unixsock_connect(int dir_fd, const char *name, int type);

/*
 * Who is there, without a connection that its owner would see? Returns 1: a process holds it, 0: it
 * is stale; or -errno (-ENOTSOCK, -ENOENT). Fills @id (may be NULL) if it is a socket.
 */
int unixsock_check(int dir_fd, const char *name, struct unixsock_id *id);

/*
 * Remove the file if it still is the one of @id: call it before the socket is closed, a closed one
 * may be replaced at any time. Returns 0, -ENOENT (also when another file is there) or -errno.
 */
int unixsock_remove(int dir_fd, const struct unixsock_id *id);

/*
 * Remove the temporary files that a starter left behind which was killed in the middle of
 * unixsock_listen or unixsock_remove. Returns how many were left because somebody holds them: a
 * live starter, or one whose descriptors are just being closed.
 */
size_t unixsock_sweep(int dir_fd);
