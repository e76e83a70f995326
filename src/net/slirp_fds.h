/* SPDX-License-Identifier: Apache-2.0 */
/* net/slirp_fds - what libslirp waits for, kept in the event loop's epoll set */
#pragma once

#include <glib.h>
#include <libslirp.h>
#include <stdbool.h>
#include <stddef.h>

#include "util/budget.h"
#include "util/loop.h"

/*
 * How it works
 *
 * Before each sleep libslirp names every descriptor and what it waits for there; this table,
 * indexed by descriptor, passes only the changes on to epoll. What happens is noted until libslirp
 * asks. Entries are made once and kept. Each open socket of libslirp counts in the budget. While
 * that has no room for one more, listeners rest, so that established connections have what they
 * need.
 */
struct slirp_fds {
	struct loop *loop;
	GPtrArray *items; /* struct slirp_fd by descriptor; NULL: never seen */
	struct budget *budget;
	unsigned round;
	size_t open;     /* libslirp's sockets that are no listeners */
	bool has_events; /* something happened since the last slirp_fds_fill */
};

void slirp_fds_init(struct slirp_fds *fds, struct loop *loop, struct budget *budget);
void slirp_fds_fini(struct slirp_fds *fds);

/* libslirp opened @fd, perhaps under the number of one that was closed without a word; closed it.
 */
void slirp_fds_opened(struct slirp_fds *fds, int fd);
void slirp_fds_closed(struct slirp_fds *fds, int fd);

/* A round of slirp_pollfds_fill. Returns how long libslirp would wait, UINT32_MAX: for ever. It
 * says a second at most, also without any socket whose time could be over; then it is for ever. */
uint32_t slirp_fds_fill(struct slirp_fds *fds, Slirp *slirp);

/* Let libslirp hear what happened since: slirp_pollfds_poll. */
void slirp_fds_poll(struct slirp_fds *fds, Slirp *slirp, bool has_failed);

/*
 * @fd is a listener of libslirp's that was opened: see above. @on_clients is called when clients
 * wait there, before libslirp hears of them; it may close the listener.
 */
void slirp_fds_set_listener(
	struct slirp_fds *fds, int fd, void (*on_clients)(void *owner), void *owner);
bool slirp_fds_is_listener(const struct slirp_fds *fds, int fd);
