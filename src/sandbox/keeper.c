/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/keeper - keep a net process running */
#include "sandbox/keeper.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "proc/tree.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

#define QUICK_DEATH_NS (2 * NS_PER_S)
#define QUICK_DEATHS   5    /* then the next start waits */
#define MESSAGES_MAX   1024 /* more than the channel holds */
#define RESPAWN_MS     1000
#define DOUBLINGS_MAX  5 /* of that, while none can begin */
#define KILL_MS        5000

/* EPOLLOUT says when it is not any more. */
static void note_full(struct keeper *keeper)
{
	keeper->is_full = true;
	loop_io_mod(keeper->loop, &keeper->io, EPOLLOUT);
}

/* Can one message be sent? What is said is not heard until then, or the answer would be lost. */
static bool has_room(struct keeper *keeper)
{
	struct pollfd room = {keeper->io.fd, POLLOUT, 0};

	if (!keeper->is_full && poll(&room, 1, 0) == 0)
		note_full(keeper);
	return !keeper->is_full;
}

static void note_beginning(struct keeper *keeper, const struct net_message *message)
{
	if (message->type == NET_FAILED)
		keeper->failures++;
	if (message->type != NET_READY)
		return;
	if (keeper->failures > 0)
		log_notice("a net process works again");
	keeper->failures = 0;
}

static void on_channel(struct loop_io *io, uint32_t events)
{
	struct keeper *keeper = container_of(io, struct keeper, io);
	struct net_message message;
	int fd, result = 0;

	if (events & EPOLLOUT) {
		loop_io_mod(keeper->loop, io, EPOLLIN);
		keeper->is_full = false;
		keeper->ops->on_room(keeper->owner, false);
	}
	/* all that can wait here, since nobody comes back when it has died; but not for ever */
	for (int i = 0; i < MESSAGES_MAX && result == 0 && has_room(keeper); i++) {
		result = fd_recv_one(io->fd, &message, sizeof(message), &fd);
		if (result < 0)
			break;
		if (message.type == NET_LOST || message.type == NET_FAILED)
			message.err.text[sizeof(message.err.text) - 1] = '\0';
		fd_close(&fd); /* nobody has asked for one */
		note_beginning(keeper, &message);
		keeper->ops->on_message(keeper->owner, &message);
	}
	if (result < 0 && result != -EAGAIN)
		loop_io_del(keeper->loop, io); /* SIGCHLD tells the rest */
}

static void close_channel(struct keeper *keeper)
{
	loop_io_del(keeper->loop, &keeper->io);
	fd_close(&keeper->io.fd);
}

static void respawn_later(struct keeper *keeper)
{
	unsigned doublings = keeper->failures > 0 ? keeper->failures - 1 : 0;

	loop_timer_set(keeper->loop, &keeper->timer,
		RESPAWN_MS << (doublings < DOUBLINGS_MAX ? doublings : DOUBLINGS_MAX));
}

/* COMMAND lives on without a net process: one that cannot be started now may be in a moment. */
static void respawn(struct loop_timer *timer)
{
	struct keeper *keeper = container_of(timer, struct keeper, timer);
	struct err err;

	if (keeper->is_last || keeper_start(keeper, &err) == 0)
		return;
	if (++keeper->failures == 1)
		log_warning("%s; trying again", err.text);
	respawn_later(keeper);
}

/* It is needed now; not started from here, as on_room would be called within a keeper_send. */
static void end_sparing(struct keeper *keeper)
{
	if (!keeper->is_spared)
		return;
	keeper->is_spared = false;
	loop_io_del(keeper->loop, &keeper->udp_io);
	loop_io_del(keeper->loop, &keeper->tcp_io);
	loop_timer_set(keeper->loop, &keeper->timer, 0);
}

static void on_udp_question(struct loop_io *io, uint32_t events)
{
	(void)events;
	end_sparing(container_of(io, struct keeper, udp_io));
}

static void on_tcp_question(struct loop_io *io, uint32_t events)
{
	(void)events;
	end_sparing(container_of(io, struct keeper, tcp_io));
}

void keeper_init(
	struct keeper *keeper, struct loop *loop, const struct keeper_ops *ops, void *owner)
{
	*keeper = (struct keeper){
		.loop = loop,
		.ops = ops,
		.owner = owner,
		.io = {-1, on_channel},
		.timer.on_expired = respawn,
		.udp_io = {-1, on_udp_question},
		.tcp_io = {-1, on_tcp_question},
	};
}

int keeper_start(struct keeper *keeper, struct err *err)
{
	int ends[2];

	if (fd_pair(ends, SOCK_NONBLOCK, err) < 0)
		return -err->code;
	keeper->io.fd = ends[0];
	keeper->is_full = false;
	int result = loop_io_add(keeper->loop, &keeper->io, EPOLLIN);
	if (result < 0)
		err_sys(err, -result, "cannot watch the net process");
	else
		result = keeper->ops->spawn(keeper->owner, ends[1], err);
	fd_close(&ends[1]);
	if (result < 0) {
		close_channel(keeper);
		return -err->code;
	}
	keeper->pid = result;
	keeper->started_ns = loop_now_ns(keeper->loop);
	keeper->ops->on_room(keeper->owner, true);
	return 0;
}

void keeper_spare(struct keeper *keeper, int udp, int tcp)
{
	keeper->is_spared = true;
	keeper->udp_io.fd = udp;
	keeper->tcp_io.fd = tcp;
	if ((udp >= 0 && loop_io_add(keeper->loop, &keeper->udp_io, EPOLLIN) < 0) ||
		(tcp >= 0 && loop_io_add(keeper->loop, &keeper->tcp_io, EPOLLIN) < 0))
		end_sparing(keeper);
}

int keeper_send(struct keeper *keeper, const struct net_message *message, int fd)
{
	if (keeper->pid <= 0) {
		end_sparing(keeper);
		return -EPIPE;
	}
	int result = fd_send_one(keeper->io.fd, message, sizeof(*message), fd);
	if (result == -EAGAIN)
		note_full(keeper);
	return result;
}

static void tell_death(int code, int status)
{
	if (code == CLD_EXITED)
		log_warning("the net process ended (status %d); its connections are lost, "
			    "another one takes over",
			status);
	else
		log_warning(
			"the net process was ended by signal %d (%s); its connections are lost, "
			"another one takes over",
			status, strsignal(status));
}

void keeper_on_death(struct keeper *keeper, int code, int status)
{
	bool is_quick = loop_now_ns(keeper->loop) - keeper->started_ns < QUICK_DEATH_NS;

	keeper->is_full = false;
	if (keeper->io.fd >= 0)
		on_channel(&keeper->io, EPOLLIN);
	close_channel(keeper);
	keeper->pid = 0;
	if (keeper->is_last)
		return;
	keeper->quick_deaths = is_quick && keeper->failures == 0 ? keeper->quick_deaths + 1 : 0;
	if (keeper->failures == 0) /* else it had no connections, and why is known */
		tell_death(code, status);
	if (keeper->failures > 0 || keeper->quick_deaths >= QUICK_DEATHS)
		respawn_later(keeper);
	else
		respawn(&keeper->timer);
}

void keeper_stop(struct keeper *keeper)
{
	end_sparing(keeper);
	loop_timer_cancel(keeper->loop, &keeper->timer);
	close_channel(keeper);
	if (keeper->pid > 0)
		tree_kill_child(keeper->pid, KILL_MS);
	keeper->pid = 0;
}
