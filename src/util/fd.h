/* SPDX-License-Identifier: Apache-2.0 */
/* util/fd - owning, passing and marking file descriptors */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <unistd.h>

#include "util/err.h"

/* Most descriptors in one message (SCM_MAX_FD, include/net/scm.h) */
#define FD_PASS_MAX 253

/* A local declared `_cleanup_fd_ int fd = -1;` is closed when it goes out of scope. */
#define _cleanup_fd_ __attribute__((cleanup(fd_close)))

/* `return fd_take(&fd)` hands the descriptor over: the local is -1 afterwards. */
static inline int fd_take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* Close *@fd if it is open and set it to -1; errno is kept. */
void fd_close(int *fd);

/* Set or clear O_NONBLOCK. Returns 0 or -errno. */
int fd_set_nonblock(int fd, int on);

/* Is @fd open, and that for writing? */
bool fd_can_write(int fd);

/* Is it there, and no stream that was closed when this program began (cmd/cmd)? */
bool fd_is_open(int fd);

/* flock(2), exclusively, waiting for at most @timeout_ms: -EAGAIN. Returns 0 or -errno. */
int fd_lock(int fd, unsigned timeout_ms);

/* Has all that was written to this pipe or stream socket been read at its other end? Also true of
 * what cannot say it. */
bool fd_is_taken(int fd);

/*
 * Close a stream socket so that its peer sees a reset where there is one (TCP), and set it to -1.
 * Unix sockets have none. One without a name is given one that stands for it: the other end sees it
 * (fd_was_reset).
 */
void fd_reset(int *sock);

/* Has the other end of @sock been closed by fd_reset? Never, unless that was a unix socket without
 * a name. */
bool fd_was_reset(int sock);

/* Of a TCP socket that is connected, or was: unconnected again, with the options that it has. 0 or
 * -errno. */
int fd_disconnect(int sock);

/* With @on, whatever closes this TCP socket resets it, the death of this process, too (SO_LINGER).
 */
void fd_reset_at_close(int sock, bool on);

/*
 * Close what a stranger has sent, and set it to -1; errno is kept. He cannot have us wait until a
 * socket's peer has read all, as close(2) does if he asked for it (SO_LINGER).
 */
void fd_discard(int *fd);

/*
 * Have the kernel ask the peer of a TCP socket for signs of life: one that has been silent for
 * FD_ALIVE_IDLE_S and then does not answer breaks the connection (ETIMEDOUT or what a router said)
 * after FD_ALIVE_PROBES more questions, 30 s in all. Sockets accepted from a listener have it of
 * that (tcp(7)). Others stay as they are.
 *
 * Not TCP_USER_TIMEOUT: that also ends connections whose peer answers but does not read for a while
 * (RFC 5482 leaves it open; Linux counts zero-window probes).
 */
#define FD_ALIVE_IDLE_S  10
#define FD_ALIVE_EVERY_S 5
#define FD_ALIVE_PROBES  4
void fd_keep_alive(int sock);

/*
 * Urgent data stays in the stream (SO_OOBINLINE), before anybody can read past it: recv(2) stops in
 * front of it, sockatmark(3) says where that is. Sockets accepted from a listener have it of that.
 */
void fd_keep_in_line(int sock);

/*
 * Send one message with @nfds (0..FD_PASS_MAX) descriptors over a unix socket; the descriptors
 * stay open here. Never raises SIGPIPE. Returns bytes sent or -errno.
 */
ssize_t fd_send(int sock, const void *data, size_t len, const int *fds, size_t nfds);

/*
 * Receive one message. At most @max_fds descriptors, close-on-exec, are stored to @fds and their
 * number to *@nfds (may be NULL); the caller owns them, and the rest of @fds is -1. A message that
 * was cut, or carries more descriptors, is -EMSGSIZE and its descriptors are discarded. Returns
 * bytes received, 0 at the end, also of a side that had not read all (never -ECONNRESET: what it
 * said before comes first), or -errno.
 */
ssize_t fd_recv(int sock, void *data, size_t cap_bytes, int *fds, size_t max_fds, size_t *nfds);

/* The same, with the sender in *@pid, if the socket tells (SO_PASSCRED; else it stays). */
ssize_t fd_recv_told(
	int sock, void *data, size_t cap_bytes, int *fds, size_t max_fds, size_t *nfds, pid_t *pid);

/* A pair of sockets for messages, close-on-exec; @flags: SOCK_NONBLOCK or 0. 0, or -errno. */
int fd_pair(int ends[2], int flags, struct err *err);

/*
 * Messages of fixed size with one descriptor or none (-1). Return 0 or -errno; receive: -EPIPE at
 * the end, -EPROTO for one of another size, -EMSGSIZE where this process had no room for its
 * descriptor: @data is filled then. Where @fd is NULL none is expected, see fd_recv.
 */
int fd_send_one(int sock, const void *data, size_t len, int fd);
int fd_recv_one(int sock, void *data, size_t len, int *fd);

/*
 * The same without a descriptor, in the name of process @pid, which may have ended but is not
 * reaped: who receives it, after SO_PASSCRED, has its number there. Wants CAP_SYS_ADMIN in the
 * sender's PID namespace (unix(7)).
 */
int fd_send_as(int sock, const void *data, size_t len, pid_t pid);
int fd_recv_from(int sock, void *data, size_t len, pid_t *pid);

/*
 * Write all of @len, through short writes and signals; for blocking descriptors and small texts.
 * Returns 0 or -errno.
 */
int fd_write_all(int fd, const void *data, size_t len);

/*
 * The pipe or terminal that @fd is, opened once more, to be written to without waiting; @fd itself,
 * which others share, stays as it is. Returns -1 where that cannot be.
 */
int fd_open_own(int fd);

/*
 * Tell a stranger, who may not read: wait for room for at most @wait_ms (-1: for ever), and not for
 * the rest. A descriptor that is shared stays as it is. Up to PIPE_BUF bytes go whole or not at all
 * into a pipe. May raise SIGPIPE, and no SIGXFSZ. Returns 0 or -errno (-EAGAIN: no room).
 */
int fd_tell(int fd, const void *data, size_t len, int wait_ms);

/*
 * Read until the end or @cap_bytes; the rest is not read. Returns bytes read or -errno.
 */
ssize_t fd_read_all(int fd, void *data, size_t cap_bytes);

/*
 * Read a text until the end or @cap_bytes, the rest is not read. Returns it for free(),
 * NUL-terminated, with @len (may be NULL) its bytes; NULL with errno.
 */
char *fd_read_text(int fd, size_t cap_bytes, size_t *len);

/* Read a small file whole as text, NUL-terminated, cut to @cap_bytes - 1. Bytes or -errno. */
ssize_t fd_read_file(const char *path, char *text, size_t cap_bytes);
