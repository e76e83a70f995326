/* SPDX-License-Identifier: Apache-2.0 */
/* conn/accept - clients of a listening socket, as fast as they can be served */
#pragma once

#include <stddef.h>

#include "util/addr.h"
#include "util/budget.h"
#include "util/loop.h"

/*
 * A listening socket, TCP or unix. While the budget has no room for fds_each, or descriptors are
 * short, it is left alone for some milliseconds at a time: clients wait in the kernel. One that
 * others end, as who is root in a network namespace can, is left alone from then on, with a line.
 */
struct acceptor {
	/* the owner's: a client, nonblocking, from now on the owner's; a unix socket's address is
	 * mostly an empty path. It must not close the acceptor. */
	void (*on_client)(struct acceptor *acceptor, int fd, const struct addr *peer);
	/* before a client is accepted, and first: is there what it will need? NULL: always. What
	 * there is must be left until on_client, which may follow; who says no has muted the
	 * acceptor. */
	bool (*is_ready)(struct acceptor *acceptor);
	/* the budget has no room for fds_each: make some, or say false. NULL: wait */
	bool (*make_room)(struct acceptor *acceptor);
	/* descriptors for a client that nobody counts before it comes, its own included */
	size_t fds_each;

	/* the acceptor's */
	struct loop *loop;
	struct budget *budget;
	struct loop_io io;
	struct loop_timer pause_timer;
	bool is_muted;
};

/* Begin. @listen_fd (nonblocking) and all else stay the caller's until acceptor_close; who is
 * accepted has urgent data in line (fd_keep_in_line). Returns 0 or -errno. */
int acceptor_open(
	struct acceptor *acceptor, struct loop *loop, struct budget *budget, int listen_fd);
void acceptor_close(struct acceptor *acceptor);

/*
 * For make_room, where clients become relays: whoever has most connections loses one at rest
 * (shares_yield). Who comes counts as 127.0.0.1, so clients of that address, which most have, wait
 * for one another, and one of another address with more loses one to its own next one, too.
 */
bool acceptor_make_room(struct acceptor *acceptor);

/* Leave clients in the kernel, or go on with them; either ends a pause. */
void acceptor_mute(struct acceptor *acceptor, bool is_muted);
