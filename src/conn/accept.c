/* SPDX-License-Identifier: Apache-2.0 */
/* conn/accept - clients of a listening socket, as fast as they can be served */
#include "conn/accept.h"

#include <errno.h>
#include <sys/socket.h>

#include "conn/dial.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

#define ACCEPT_BURST 32 /* then others get their turn */
#define PAUSE_MS     20

static bool has_room(const struct acceptor *acceptor)
{
	return budget_has_room(acceptor->budget, acceptor->fds_each);
}

bool acceptor_make_room(struct acceptor *acceptor)
{
	const struct addr here = addr_loopback4(0);

	while (!has_room(acceptor))
		if (!shares_yield(&acceptor->budget->shares, &here, 0, false))
			return false;
	return true;
}

/* Returns 0 when a client was taken, or -errno: there is none, or none can be taken now. */
static int accept_one(struct acceptor *acceptor)
{
	struct addr peer = {0};
	socklen_t len = sizeof(peer);

	if (acceptor->is_ready && !acceptor->is_ready(acceptor))
		return -EAGAIN;
	if (!has_room(acceptor) && !(acceptor->make_room && acceptor->make_room(acceptor)))
		return -EMFILE;
	int fd = accept4(acceptor->io.fd, &peer.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return -errno;
	addr_unmap(&peer);
	acceptor->on_client(acceptor, fd, &peer);
	return 0;
}

void acceptor_mute(struct acceptor *acceptor, bool is_muted)
{
	loop_timer_cancel(acceptor->loop, &acceptor->pause_timer);
	if (acceptor->is_muted == is_muted)
		return;
	acceptor->is_muted = is_muted;
	loop_io_mod(acceptor->loop, &acceptor->io, is_muted ? 0 : EPOLLIN);
}

/* It would say so again and again. */
static void give_up(struct acceptor *acceptor)
{
	log_warning(
		"a listening socket was ended by somebody else: nobody is led in there any more");
	acceptor_close(acceptor);
}

static void on_ready(struct loop_io *io, uint32_t events)
{
	struct acceptor *acceptor = container_of(io, struct acceptor, io);

	/* one that listens has none: shutdown(2) of who has it, too, or SOCK_DESTROY (`ss -K`) */
	if (events & EPOLLHUP) {
		give_up(acceptor);
		return;
	}
	for (int i = 0; i < ACCEPT_BURST; i++) {
		/* nobody is to lose one to a client that may not be there */
		if (i > 0 && !has_room(acceptor))
			return;
		int result = accept_one(acceptor);
		if (dial_is_short(result)) {
			acceptor_mute(acceptor, true);
			loop_timer_set(acceptor->loop, &acceptor->pause_timer, PAUSE_MS);
		}
		if (result == -EINVAL) /* it does not listen any more, accept(2) */
			give_up(acceptor);
		/* anything else but "none left" is the client's trouble, accept(2) */
		if (result < 0 && result != -ECONNABORTED)
			return;
	}
}

static void on_pause_over(struct loop_timer *timer)
{
	acceptor_mute(container_of(timer, struct acceptor, pause_timer), false);
}

int acceptor_open(
	struct acceptor *acceptor, struct loop *loop, struct budget *budget, int listen_fd)
{
	fd_keep_in_line(listen_fd);
	acceptor->loop = loop;
	acceptor->budget = budget;
	acceptor->io = (struct loop_io){listen_fd, on_ready};
	acceptor->is_muted = false;
	acceptor->pause_timer = (struct loop_timer){.on_expired = on_pause_over};
	return loop_io_add(loop, &acceptor->io, EPOLLIN);
}

void acceptor_close(struct acceptor *acceptor)
{
	loop_timer_cancel(acceptor->loop, &acceptor->pause_timer);
	loop_io_del(acceptor->loop, &acceptor->io);
}
