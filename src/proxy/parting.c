/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/parting - last words for a client, and time to hear them */
#include "proxy/parting.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "util/fd.h"

struct parting {
	struct partings *partings;
	struct list link;
	struct loop_io io;
	struct loop_timer timer;
	size_t left; /* bytes that it may still send */
};

static void parting_end(struct parting *parting)
{
	const struct conn_context *context = parting->partings->context;

	loop_timer_cancel(context->loop, &parting->timer);
	loop_io_del(context->loop, &parting->io);
	fd_close(&parting->io.fd);
	budget_give(context->budget, 1);
	list_del(&parting->link);
	free(parting);
}

static void on_ready(struct loop_io *io, uint32_t events)
{
	struct parting *parting = container_of(io, struct parting, io);
	char bytes[16 * 1024];
	ssize_t len = recv(io->fd, bytes, sizeof(bytes), 0);

	(void)events;
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (len <= 0 || (size_t)len > parting->left)
		parting_end(parting);
	else
		parting->left -= (size_t)len;
}

static void on_expired(struct loop_timer *timer)
{
	parting_end(container_of(timer, struct parting, timer));
}

void partings_add(struct partings *partings, struct loop_io *io, const void *bytes, size_t len)
{
	struct loop *loop = partings->context->loop;
	struct parting *parting = calloc(1, sizeof(*parting));
	ssize_t sent = len > 0 ? send(io->fd, bytes, len, MSG_NOSIGNAL) : 0;

	/* who does not take the few bytes that there are has not read what came before them */
	if (!parting || sent != (ssize_t)len || shutdown(io->fd, SHUT_WR) < 0) {
		free(parting);
		loop_io_del(loop, io);
		fd_close(&io->fd);
		return;
	}
	parting->partings = partings;
	parting->left = PARTING_BYTES;
	parting->io = (struct loop_io){io->fd, on_ready};
	int result = loop_io_move(loop, io, &parting->io, EPOLLIN);
	if (result < 0)
		loop_io_del(loop, io);
	io->fd = -1;
	parting->timer = (struct loop_timer){.on_expired = on_expired};
	list_add_last(&partings->all, &parting->link);
	budget_take(partings->context->budget, 1);
	loop_timer_set(loop, &parting->timer, PARTING_MS);
	if (result < 0)
		parting_end(parting);
}

void partings_init(struct partings *partings, const struct conn_context *context)
{
	*partings = (struct partings){.context = context};
	list_init(&partings->all);
}

void partings_fini(struct partings *partings)
{
	list_each_safe (at, following, &partings->all)
		parting_end(container_of(at, struct parting, link));
}
