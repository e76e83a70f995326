/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/tunnel - an end of a tunnel at work, from its start to its end */
#include "tunnel/tunnel.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "conn/context.h"
#include "conn/relay.h"
#include "proc/rights.h"
#include "tunnel/reach.h"
#include "util/fd.h"
#include "util/log.h"

#define FDS_MAX 65536
#define LOOK_MS 50 /* how often it is looked whether the last connection has ended */

/* What both ends have. */
struct end {
	struct loop *loop;
	struct budget budget;
	struct conn_context context;
	struct loop_io signal_io;
	struct loop_timer look, over;
	uint64_t drain_ms;
	bool is_draining;
	struct mouth *mouth; /* one of both */
	struct reach *reach;
};

static void on_over(struct loop_timer *timer)
{
	loop_stop(container_of(timer, struct end, over)->loop, 0);
}

static void on_look(struct loop_timer *timer)
{
	struct end *end = container_of(timer, struct end, look);

	if (relay_pool_count(end->context.relays) == 0 &&
		(!end->reach || reach_counts(end->reach).connecting == 0))
		loop_stop(end->loop, 0);
	else
		loop_timer_set(end->loop, timer, LOOK_MS);
}

static void on_signal(struct loop_io *io, uint32_t events)
{
	struct end *end = container_of(io, struct end, signal_io);
	struct signalfd_siginfo info;

	(void)events;
	while (read(io->fd, &info, sizeof(info)) > 0)
		if (end->is_draining)
			loop_stop(end->loop, 0);
	if (end->is_draining)
		return;
	end->is_draining = true;
	mouth_free(end->mouth);
	end->mouth = NULL;
	if (end->reach)
		reach_drain(end->reach);
	loop_timer_set(end->loop, &end->over, end->drain_ms);
	on_look(&end->look);
}

static int open_signals(struct end *end)
{
	sigset_t ending;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&ending);
	sigaddset(&ending, SIGINT);
	sigaddset(&ending, SIGTERM);
	sigprocmask(SIG_BLOCK, &ending, NULL);
	end->signal_io =
		(struct loop_io){signalfd(-1, &ending, SFD_NONBLOCK | SFD_CLOEXEC), on_signal};
	return end->signal_io.fd < 0 ? -errno : loop_io_add(end->loop, &end->signal_io, EPOLLIN);
}

static int open_end(struct end *end, uint64_t drain_ms, struct err *err)
{
	*end = (struct end){.loop = loop_new(),
		.signal_io.fd = -1,
		.look.on_expired = on_look,
		.over.on_expired = on_over,
		.drain_ms = drain_ms};
	end->budget.max = rights_raise_fd_limit(FDS_MAX);
	if (budget_check(end->budget.max, 0, err) < 0)
		return -err->code;
	int result = end->loop ? context_open(&end->context, end->loop, &end->budget, -1) : -errno;
	if (result == 0)
		result = open_signals(end);
	return result < 0 ? err_sys(err, -result, "cannot set up the tunnel") : 0;
}

static void close_end(struct end *end)
{
	if (!end->loop)
		return;
	mouth_free(end->mouth);
	reach_free(end->reach);
	loop_timer_cancel(end->loop, &end->look);
	loop_timer_cancel(end->loop, &end->over);
	loop_io_del(end->loop, &end->signal_io);
	fd_close(&end->signal_io.fd);
	context_close(&end->context);
	loop_free(end->loop);
}

static int serve(struct end *end, struct tunnel_server *server, struct err *err)
{
	char at[ADDR_TEXT_BYTES];
	int result = open_end(end, server->drain_ms, err);

	if (result < 0)
		return result;
	server->mouth.context = &end->context;
	end->mouth = mouth_new(&server->mouth, err);
	if (!end->mouth)
		return -err->code;
	for (size_t i = 0; i < server->mouth.nproxies; i++)
		log_notice("tunnel: %s leads through the tunnel",
			addr_format(&server->mouth.proxies[i], at, sizeof(at)));
	log_notice(
		"tunnel: clients come to %s", addr_format(&server->mouth.clients, at, sizeof(at)));
	return loop_run(end->loop);
}

int tunnel_serve(struct tunnel_server *server, struct err *err)
{
	struct end end;
	int result = serve(&end, server, err);

	close_end(&end);
	return result;
}

/* --- the client ------------------------------------------------------------------------------ */

static void on_up(void *owner, bool is_lennut)
{
	const struct tunnel_client *client = owner;
	char server[ENDPOINT_TEXT_BYTES], target[ENDPOINT_TEXT_BYTES];

	log_notice("tunnel: connected to %s%s; what comes there leads to %s",
		endpoint_format(&client->server, server, sizeof(server)),
		is_lennut ? " (lennut's protocol)" : "",
		endpoint_format(&client->target, target, sizeof(target)));
}

static void on_down(void *owner, const char *why)
{
	const struct tunnel_client *client = owner;
	char server[ENDPOINT_TEXT_BYTES];

	log_warning("tunnel: %s: %s; trying again",
		endpoint_format(&client->server, server, sizeof(server)), why);
}

static int reach(struct end *end, const struct tunnel_client *client, struct err *err)
{
	const struct reach_start start = {.context = &end->context,
		.server = endpoint_target(&client->server),
		.target = endpoint_target(&client->target),
		.proxy_version = client->proxy_version,
		.on_up = on_up,
		.on_down = on_down,
		.owner = (void *)client};
	int result = open_end(end, client->drain_ms, err);

	if (result < 0)
		return result;
	end->reach = reach_new(&start);
	if (!end->reach)
		return err_sys(err, errno, "cannot set up the tunnel");
	result = loop_run(end->loop);
	/* @start goes */
	reach_free(end->reach);
	end->reach = NULL;
	return result;
}

int tunnel_reach(const struct tunnel_client *client, struct err *err)
{
	struct end end;
	int result = reach(&end, client, err);

	close_end(&end);
	return result;
}
