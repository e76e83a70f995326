/* SPDX-License-Identifier: Apache-2.0 */
/* conn/accept - clients of a listening socket, as fast as they can be served */
#ifndef NSWRAP_CONN_ACCEPT_H
#define NSWRAP_CONN_ACCEPT_H

#include <netinet/in.h>
#include <stddef.h>

#include "conn/context.h"

/* Kept for pipes of relays, answers from the door and the rest of the process. */
#define ACCEPT_RESERVED_FDS 96

/*
 * A listening IPv4 socket. While descriptors are short it is left alone for some milliseconds at a
 * time: clients wait in the kernel.
 */
struct acceptor {
	/* the owner's: a client, nonblocking, from now on the owner's */
	void (*on_client)(struct acceptor *acceptor, int fd, const struct sockaddr_in *peer);

	/* the acceptor's */
	const struct conn_context *context;
	const size_t *held_fds;
	struct loop_io io;
	struct loop_timer pause_timer;
};

/*
 * Begin. @listen_fd (nonblocking) belongs to the acceptor, also on failure. *@held_fds says how
 * many descriptors wait outside of relays. Returns 0 or -errno.
 */
int acceptor_open(struct acceptor *acceptor, const struct conn_context *context, int listen_fd,
	const size_t *held_fds);
void acceptor_close(struct acceptor *acceptor);

/* Would one more connection leave too few descriptors? */
bool accept_is_short(const struct conn_context *context, size_t held_fds);

#endif
