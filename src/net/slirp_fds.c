/* SPDX-License-Identifier: Apache-2.0 */
/* net/slirp_fds - what libslirp waits for, kept in the event loop's epoll set */
#include "net/slirp_fds.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "net/slirplib.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

/* As long as nothing of libslirp's is due sooner than its slow clock, which is for sockets (and
 * fragments, which the guard drops): slirp_update_timeout in its slirp.c, 4.7.0 */
#define SLOW_MS 499

struct slirp_fd {
	struct loop_io io;
	struct slirp_fds *fds;
	uint32_t interest; /* what the loop's epoll set has; 0: it is not there */
	uint32_t revents;  /* what happened in this round */
	unsigned round;    /* last one that named it */
	bool is_open;
	void (*on_clients)(void *owner); /* NULL: it is no listener */
	void *owner;
};

void slirp_fds_init(struct slirp_fds *fds, struct loop *loop, struct budget *budget)
{
	*fds = (struct slirp_fds){.loop = loop, .budget = budget, .items = g_ptr_array_new()};
}

static void set_interest(struct slirp_fd *item, uint32_t interest)
{
	struct loop *loop = item->fds->loop;
	int result = 0;

	if (item->interest == interest)
		return;
	if (interest == 0)
		loop_io_del(loop, &item->io);
	else if (item->interest)
		result = loop_io_mod(loop, &item->io, interest);
	if (interest && (!item->interest || result == -ENOENT))
		result = loop_io_add(loop, &item->io, interest);
	if (result < 0)
		log_debug("cannot watch descriptor %d: %s", item->io.fd, strerror(-result));
	else
		item->interest = interest;
}

static void on_ready(struct loop_io *io, uint32_t events)
{
	struct slirp_fd *item = container_of(io, struct slirp_fd, io);

	if (item->on_clients)
		item->on_clients(item->owner);
	item->revents |= events;
	item->fds->has_events = true;
}

static struct slirp_fd *find(const struct slirp_fds *fds, int fd)
{
	return fd >= 0 && (guint)fd < fds->items->len ? g_ptr_array_index(fds->items, fd) : NULL;
}

/* The entry of @fd, made if need be. */
static struct slirp_fd *get(struct slirp_fds *fds, int fd)
{
	struct slirp_fd *item = find(fds, fd);

	if (item)
		return item;
	if ((guint)fd >= fds->items->len)
		g_ptr_array_set_size(fds->items, fd + 1);
	item = g_new(struct slirp_fd, 1);
	*item = (struct slirp_fd){.io = {fd, on_ready}, .fds = fds};
	g_ptr_array_index(fds->items, fd) = item;
	return item;
}

static void reset(struct slirp_fd *item)
{
	set_interest(item, 0);
	budget_give(item->fds->budget, item->is_open);
	item->fds->open -= item->is_open && !item->on_clients;
	item->is_open = false;
	item->revents = 0;
	item->on_clients = NULL;
}

void slirp_fds_fini(struct slirp_fds *fds)
{
	for (guint fd = 0; fd < fds->items->len; fd++) {
		struct slirp_fd *item = g_ptr_array_index(fds->items, fd);

		if (item)
			reset(item);
		g_free(item);
	}
	g_ptr_array_free(fds->items, TRUE);
}

void slirp_fds_opened(struct slirp_fds *fds, int fd)
{
	struct slirp_fd *item = get(fds, fd);

	reset(item);
	item->is_open = true;
	fds->open++;
	fd_keep_alive(fd);
	budget_take(fds->budget, 1);
}

void slirp_fds_closed(struct slirp_fds *fds, int fd)
{
	struct slirp_fd *item = find(fds, fd);

	if (item)
		reset(item);
}

static int on_add_poll(int fd, int events, void *opaque)
{
	struct slirp_fds *fds = opaque;
	struct slirp_fd *item = get(fds, fd);
	uint32_t interest = 0;

	item->round = fds->round;
	item->revents = 0;
	/* not SLIRP_POLL_PRI: it marks another byte as urgent than its peer has (sorecvoob, 4.7.0),
	 * and the guest misses that one; its sockets keep such bytes in line */
	if (!item->on_clients || budget_has_room(fds->budget, 1))
		interest = (events & SLIRP_POLL_IN ? EPOLLIN : 0) |
			   (events & SLIRP_POLL_OUT ? EPOLLOUT : 0) |
			   (events & SLIRP_POLL_HUP ? EPOLLRDHUP : 0);
	set_interest(item, interest);
	return fd;
}

uint32_t slirp_fds_fill(struct slirp_fds *fds, Slirp *slirp)
{
	uint32_t timeout_ms = UINT32_MAX;

	fds->round++;
	fds->has_events = false;
	slirplib.slirp_pollfds_fill(slirp, &timeout_ms, on_add_poll, fds);
	for (guint fd = 0; fd < fds->items->len; fd++) {
		struct slirp_fd *item = g_ptr_array_index(fds->items, fd);

		if (item && item->round != fds->round)
			set_interest(item, 0);
	}
	if (fds->open == 0 && timeout_ms >= SLOW_MS)
		return UINT32_MAX;
	return timeout_ms;
}

/*
 * libslirp makes a clean end of an error that it does not know, such as ETIMEDOUT (soread in its
 * socket.c, 4.7.0), and what the guest has then looks complete. With the error taken away recv(2)
 * says "end" and getpeername(2) ENOTCONN, which libslirp makes a reset of.
 */
static void take_error(int fd)
{
	int error;
	socklen_t len = sizeof(error);

	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
}

static int on_get_revents(int fd, void *opaque)
{
	const struct slirp_fd *item = find(opaque, fd);
	uint32_t revents = item ? item->revents : 0;

	/* of connected TCP sockets alone libslirp wants to know that they hang up */
	if ((revents & EPOLLERR) && (item->interest & EPOLLRDHUP))
		take_error(fd);
	return (revents & EPOLLIN ? SLIRP_POLL_IN : 0) | (revents & EPOLLOUT ? SLIRP_POLL_OUT : 0) |
	       (revents & EPOLLERR ? SLIRP_POLL_ERR : 0) |
	       (revents & (EPOLLHUP | EPOLLRDHUP) ? SLIRP_POLL_HUP : 0);
}

void slirp_fds_poll(struct slirp_fds *fds, Slirp *slirp, bool has_failed)
{
	slirplib.slirp_pollfds_poll(slirp, has_failed, on_get_revents, fds);
}

void slirp_fds_set_listener(
	struct slirp_fds *fds, int fd, void (*on_clients)(void *owner), void *owner)
{
	struct slirp_fd *item = get(fds, fd);

	fds->open -= item->is_open && !item->on_clients;
	item->on_clients = on_clients;
	item->owner = owner;
}

bool slirp_fds_is_listener(const struct slirp_fds *fds, int fd)
{
	const struct slirp_fd *item = find(fds, fd);

	return item && item->on_clients;
}
