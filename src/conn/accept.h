/* SPDX-License-Identifier: Apache-2.0 */
/* conn/accept - clients of a listening socket, as fast as they can be served */
#ifndef NSWRAP_CONN_ACCEPT_H
#define NSWRAP_CONN_ACCEPT_H

#include <stddef.h>

#include "conn/context.h"
#include "util/addr.h"

/*
 * A listening socket, TCP or unix. While the budget has no room for fds_each, or descriptors are
 * short, it is left alone for some milliseconds at a time: clients wait in the kernel.
 */
struct acceptor {
	/* the owner's: a client, nonblocking, from now on the owner's; a unix socket's address is
	 * mostly an empty path. It must not close the acceptor. */
	void (*on_client)(struct acceptor *acceptor, int fd, const struct addr *peer);
	/* descriptors for a client that nobody counts before it comes, its own included */
	size_t fds_each;

	/* the acceptor's */
	const struct conn_context *context;
	struct loop_io io;
	struct loop_timer pause_timer;
};

/* Begin. @listen_fd (nonblocking) stays the caller's, open until acceptor_close. Returns 0 or
 * -errno. */
int acceptor_open(struct acceptor *acceptor, const struct conn_context *context, int listen_fd);
void acceptor_close(struct acceptor *acceptor);

#endif
