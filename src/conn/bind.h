/* SPDX-License-Identifier: Apache-2.0 */
/* conn/bind - sockets bound to an address or a path, and why one could not be */
#pragma once

#include <stdbool.h>

#include "util/addr.h"
#include "util/err.h"
#include "util/unixsock.h"

struct bound {
	int fd;     /* -1: nothing to hold (UDP for libslirp) */
	int dir_fd; /* of the socket file, O_PATH, owned; -1 unless it is a unix socket */
	struct unixsock_id id; /* of the socket file */
};

/*
 * Bind @addr: a listening TCP or unix socket or a bound UDP socket, nonblocking, close-on-exec.
 * IPv6 sockets are for IPv6 only.
 *
 * @reserve_only is for libslirp, which makes the real socket itself: a TCP socket that is bound but
 * does not listen, so the port stays ours (the kernel lets a second socket with SO_REUSEADDR bind
 * and listen as long as the first does not listen). A second UDP socket would steal datagrams:
 * there the port is tried and let go, fd is -1. No use for unix sockets: -EINVAL.
 *
 * A TCP port that only conn/hold of the same user has counts as free, unless it is reserved.
 *
 * Port 0 becomes the one that was picked. Returns 0, or -errno with @err naming address and port,
 * the cause and, if it can be seen, who has the port; @addr is untouched then and @out is closed.
 */
int bind_open(
	struct addr *addr, enum proto proto, bool reserve_only, struct bound *out, struct err *err);

/* The same for a fresh socket of the right kind, of whatever network. Returns 0 or -errno. */
int bind_socket(int fd, const struct addr *addr, enum proto proto, bool listens);

/* Close, and remove the socket file if it still is ours. */
void bind_close(struct bound *bound);
