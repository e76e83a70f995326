/* SPDX-License-Identifier: Apache-2.0 */
/* conn/bind - sockets bound to an address or a path, and why one could not be */
#pragma once

#include <stdbool.h>

#include "util/addr.h"
#include "util/err.h"
#include "util/unixsock.h"

struct bound {
	int fd;
	int dir_fd; /* of the socket file, O_PATH, owned; -1 unless it is a unix socket */
	struct unixsock_id id; /* of the socket file */
};

/*
 * Bind @addr: a listening TCP or unix socket or a bound UDP socket, nonblocking, close-on-exec.
 * IPv6 sockets are for IPv6 only. Nobody else can bind the same port as long as it is open: TCP has
 * SO_REUSEADDR, which the kernel heeds only while none of the sockets listens, UDP has nothing.
 * Who is accepted at a TCP socket is kept alive (fd_keep_alive).
 *
 * A TCP port that only conn/hold of the same user has counts as free.
 *
 * Port 0 becomes the one that was picked. Returns 0, or -errno with @err naming address and port,
 * the cause and, if it can be seen, who has the port; @addr is untouched then and @out is closed.
 */
int bind_open(struct addr *addr, enum proto proto, struct bound *out, struct err *err);

/* The same without words, which take long where a port is in use. */
int bind_try(struct addr *addr, enum proto proto, struct bound *out);

/* The same for a fresh socket of the right kind, of whatever network. Returns 0 or -errno. */
int bind_socket(int fd, const struct addr *addr, enum proto proto);

/* One that this host takes for its networks, such as 127.255.255.255: nobody can connect to it. */
bool bind_is_broadcast(const struct addr *addr);

/* Close, and remove the socket file if it still is ours. */
void bind_close(struct bound *bound);
