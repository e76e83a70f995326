/* SPDX-License-Identifier: Apache-2.0 */
/* conn/accept - clients of a listening socket, as fast as they can be served */
#include "conn/accept.h"

#include <errno.h>
#include <sys/socket.h>

#include "conn/dial.h"
#include "util/list.h"

#define ACCEPT_BURST 32 /* then others get their turn */
#define PAUSE_MS     20

/* Returns 0 when a client was taken, or -errno: there is none, or none can be taken now. */
static int accept_one(struct acceptor *acceptor)
{
	struct addr peer = {0};
	socklen_t len = sizeof(peer);

	if (!budget_has_room(acceptor->context->budget, acceptor->fds_each))
		return -EMFILE;
	int fd = accept4(acceptor->io.fd, &peer.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return -errno;
	acceptor->on_client(acceptor, fd, &peer);
	return 0;
}

static void on_ready(struct loop_io *io, uint32_t events)
{
	struct acceptor *acceptor = container_of(io, struct acceptor, io);
	struct loop *loop = acceptor->context->loop;

	(void)events;
	for (int i = 0; i < ACCEPT_BURST; i++) {
		int result = accept_one(acceptor);
		if (dial_is_short(result)) {
			loop_io_mod(loop, io, 0);
			loop_timer_set(loop, &acceptor->pause_timer, PAUSE_MS);
		}
		/* anything else but "none left" is the client's trouble, accept(2) */
		if (result < 0 && result != -ECONNABORTED)
			return;
	}
}

static void on_pause_over(struct loop_timer *timer)
{
	struct acceptor *acceptor = container_of(timer, struct acceptor, pause_timer);

	loop_io_mod(acceptor->context->loop, &acceptor->io, EPOLLIN);
}

int acceptor_open(struct acceptor *acceptor, const struct conn_context *context, int listen_fd)
{
	acceptor->context = context;
	acceptor->io = (struct loop_io){listen_fd, on_ready};
	acceptor->pause_timer = (struct loop_timer){.on_expired = on_pause_over};
	return loop_io_add(context->loop, &acceptor->io, EPOLLIN);
}

void acceptor_close(struct acceptor *acceptor)
{
	loop_timer_cancel(acceptor->context->loop, &acceptor->pause_timer);
	loop_io_del(acceptor->context->loop, &acceptor->io);
}
