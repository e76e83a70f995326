/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/supervisor_net - the supervisor's side of the net process */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/supervisor_parts.h"
#include "util/fd.h"
#include "util/log.h"

#define QUICK_DEATH_NS 2000000000ULL
#define QUICK_DEATHS   5    /* then the next start waits */
#define MESSAGES_MAX   1024 /* more than the channel holds */
#define RESPAWN_MS     1000

/* Nothing that runs can be kept from being reached, so the sandbox ends. */
static void give_up(struct supervisor *supervisor, const struct err *err)
{
	log_error("%s", err->text);
	supervisor_terminate(supervisor, SIGTERM, supervisor->config->stop_timeout_ms);
}

static void on_message(struct supervisor *supervisor, struct net_message *message, int fd)
{
	switch (message->type) {
	case NET_READY:
		resolver_set_net_file(&supervisor->resolver, fd_take(&fd));
		break;
	case NET_LISTENING:
		forwards_on_listening(supervisor, message->id);
		break;
	case NET_ADD_FAILED:
		message->err.text[sizeof(message->err.text) - 1] = '\0';
		forwards_on_failed(supervisor, message->id, &message->err);
		break;
	case NET_FAILED:
		message->err.text[sizeof(message->err.text) - 1] = '\0';
		supervisor->status = 125;
		give_up(supervisor, &message->err);
		break;
	}
	fd_close(&fd);
}

static void on_channel(struct loop_io *io, uint32_t events)
{
	struct supervisor *supervisor =
		(struct supervisor *)((char *)io - offsetof(struct supervisor, net_io));
	struct net_message message;
	int fd;

	if (events & EPOLLOUT)
		forwards_send(supervisor);
	/* all that can wait here, since nobody comes back when it has died; but not for ever */
	int result = 0;
	for (int i = 0; i < MESSAGES_MAX && result == 0; i++) {
		result = netproc_message_receive(io->fd, &message, &fd);
		if (result == 0)
			on_message(supervisor, &message, fd);
	}
	if (result < 0 && result != -EAGAIN)
		loop_io_del(supervisor->loop, io); /* SIGCHLD tells the rest */
}

/* COMMAND lives on without a net process: one that cannot be started now may be in a moment. */
static void respawn(struct supervisor *supervisor)
{
	struct err err;

	if (net_start(supervisor, &err) == 0)
		return;
	log_warning("%s; trying again", err.text);
	loop_timer_set(supervisor->loop, &supervisor->respawn_timer, RESPAWN_MS);
}

static void on_respawn(struct loop_timer *timer)
{
	struct supervisor *supervisor =
		(struct supervisor *)((char *)timer - offsetof(struct supervisor, respawn_timer));

	if (!supervisor->is_ending)
		respawn(supervisor);
}

int net_start(struct supervisor *supervisor, struct err *err)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
		return err_sys(err, errno, "cannot make a socket pair");
	struct netproc_start start = {
		.config = supervisor->config,
		.resolv_text = supervisor->resolver.net_text,
		.channel = ends[1],
		.tap = supervisor->init_fds[INIT_FD_TAP],
		.pcap = supervisor->pcap,
		.door = supervisor->door,
		.guest_diag = supervisor->init_fds[INIT_FD_DIAG],
		.host_diag = supervisor->host_diag,
	};
	supervisor->net = netproc_spawn(&start, err);
	fd_close(&ends[1]);
	if (supervisor->net < 0) {
		fd_close(&ends[0]);
		supervisor->net = 0;
		return -err->code;
	}
	supervisor->last_spawn_ns = loop_now_ns(supervisor->loop);
	supervisor->respawn_timer.on_expired = on_respawn;
	supervisor->net_io = (struct loop_io){ends[0], on_channel};
	int result = loop_io_add(supervisor->loop, &supervisor->net_io, EPOLLIN);
	if (result < 0)
		return err_sys(err, -result, "cannot watch the net process");
	forwards_forget_sent(supervisor);
	forwards_send(supervisor);
	return 0;
}

void net_stop(struct supervisor *supervisor)
{
	loop_timer_cancel(supervisor->loop, &supervisor->respawn_timer);
	loop_io_del(supervisor->loop, &supervisor->net_io);
	fd_close(&supervisor->net_io.fd);
	if (supervisor->net > 0) {
		kill(supervisor->net, SIGKILL);
		waitpid(supervisor->net, NULL, 0);
	}
	supervisor->net = 0;
}

void net_on_death(struct supervisor *supervisor, int code, int status)
{
	bool is_quick = loop_now_ns(supervisor->loop) - supervisor->last_spawn_ns < QUICK_DEATH_NS;

	/* its last words first: they may say why */
	if (supervisor->net_io.fd >= 0)
		on_channel(&supervisor->net_io, EPOLLIN);
	loop_io_del(supervisor->loop, &supervisor->net_io);
	fd_close(&supervisor->net_io.fd);
	supervisor->net = 0;
	if (supervisor->is_ending)
		return;
	supervisor->quick_deaths = is_quick ? supervisor->quick_deaths + 1 : 0;
	if (code == CLD_EXITED)
		log_warning("the net process ended (status %d); its connections are lost, "
			    "another one takes over",
			status);
	else
		log_warning(
			"the net process was ended by signal %d (%s); its connections are lost, "
			"another one takes over",
			status, strsignal(status));
	if (supervisor->quick_deaths >= QUICK_DEATHS)
		loop_timer_set(supervisor->loop, &supervisor->respawn_timer, RESPAWN_MS);
	else
		respawn(supervisor);
}
