/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/tunnel - an end of a tunnel at work, from its start to its end */
#include "tunnel/tunnel.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "conn/context.h"
#include "control/control.h"
#include "proc/child.h"
#include "proc/rights.h"
#include "tunnel/carrier.h"
#include "tunnel/passage.h"
#include "tunnel/reach.h"
#include "tunnel/teller.h"
#include "util/fd.h"
#include "util/log.h"

#define FDS_MAX         65536
#define STRANDS_SPARE   64 /* of a link, for what is neither ready nor anybody's */
#define CHILDREN_END_MS 2000
#define LOOK_MS         50 /* how often it is looked whether the last connection has ended */

/* What both ends have. */
struct end {
	struct loop *loop;
	struct budget budget;
	struct conn_context context;
	struct passage passage;
	struct loop_io signal_io;
	struct loop_timer look, over;
	uint64_t drain_ms;
	bool is_draining;
	struct mouth *mouth; /* one of both */
	struct reach *reach;

	/* where all connections go over one link */
	struct children children;
	struct carrier carrier;
	struct teller teller;
	const struct linkspec *link;
	const struct tunnel_client *client; /* of one of clients */
	struct reach_start reach_start;
	char server_text[ENDPOINT_TEXT_BYTES];
	bool has_failed; /* told why it could not be reached, once */
	bool was_up;
	struct err *err; /* why what was inherited never led to another end */
};

static void on_over(struct loop_timer *timer)
{
	loop_stop(container_of(timer, struct end, over)->loop, 0);
}

static void on_look(struct loop_timer *timer)
{
	struct end *end = container_of(timer, struct end, look);

	if (passage_count(&end->passage) == 0 &&
		(!end->reach || reach_counts(end->reach).connecting == 0))
		loop_stop(end->loop, 0);
	else
		loop_timer_set(end->loop, timer, LOOK_MS);
}

static void drain(struct end *end)
{
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

static void on_signal(struct loop_io *io, uint32_t events)
{
	struct end *end = container_of(io, struct end, signal_io);
	struct signalfd_siginfo info;

	(void)events;
	while (read(io->fd, &info, sizeof(info)) > 0)
		if (info.ssi_signo == SIGCHLD)
			children_reap(&end->children);
		else if (end->is_draining)
			loop_stop(end->loop, 0);
		else
			drain(end);
}

static int open_signals(struct end *end)
{
	sigset_t ending;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&ending);
	sigaddset(&ending, SIGINT);
	sigaddset(&ending, SIGTERM);
	sigaddset(&ending, SIGCHLD);
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
	getrlimit(RLIMIT_NOFILE, &end->carrier.end.nofile);
	end->budget.max = rights_raise_fd_limit(FDS_MAX);
	if (budget_check(end->budget.max, 0, err) < 0)
		return -err->code;
	int result = end->loop ? context_open(&end->context, end->loop, &end->budget, -1) : -errno;
	if (result == 0) {
		passage_init(&end->passage, &end->context);
		children_init(&end->children, end->loop);
		result = open_signals(end);
	}
	return result < 0 ? err_sys(err, -result, "cannot set up the tunnel") : 0;
}

static void close_end(struct end *end)
{
	if (!end->loop)
		return;
	teller_close(&end->teller);
	mouth_free(end->mouth);
	reach_free(end->reach);
	carrier_close(&end->carrier);
	passage_fini(&end->passage);
	if (end->link)
		children_end(&end->children, CHILDREN_END_MS);
	loop_timer_cancel(end->loop, &end->look);
	loop_timer_cancel(end->loop, &end->over);
	loop_io_del(end->loop, &end->signal_io);
	fd_close(&end->signal_io.fd);
	context_close(&end->context);
	loop_free(end->loop);
}

/* What was inherited has ended. Returns false if it had led to another end; then the connections
 * that run may go on. */
static bool fail_without_end(struct end *end, const char *why)
{
	if (end->was_up || end->is_draining)
		return false;
	err_set(end->err, EPIPE, "tunnel: the link %s: %s", end->link->text, why);
	loop_stop(end->loop, -EPIPE);
	return true;
}

/* All connections over @link, from now on. Returns 0, or -errno with @err filled. */
static int open_carrier(
	struct end *end, const struct linkspec *link, const struct carrier *how, struct err *err)
{
	const struct rlimit nofile = end->carrier.end.nofile;

	end->link = link;
	end->err = err;
	end->carrier = *how;
	end->carrier.owner = end;
	end->carrier.end.context = &end->context;
	end->budget.places = BUNDLE_MAX - REACH_WAITING_LINK - STRANDS_SPARE;
	end->carrier.end.spec = link;
	end->carrier.end.children = &end->children;
	end->carrier.end.nofile = nofile;
	end->carrier.end.shares_terminal = true;
	end->carrier.end.purpose = "tunnel";
	return carrier_open(&end->carrier, err);
}

/* --- the server ------------------------------------------------------------------------------ */

static void on_client_link(void *owner)
{
	((struct end *)owner)->was_up = true;
	log_info("tunnel: the client is there");
}

static void on_client_connection(void *owner, int fd)
{
	struct end *end = owner;

	if (end->mouth)
		mouth_add_lane(end->mouth, fd);
	else
		close(fd);
}

static void on_client_gone(void *owner)
{
	drain(owner);
}

static void on_client_closed(void *owner, const char *why, bool is_last)
{
	(void)is_last;
	if (fail_without_end(owner, why))
		return;
	log_line(why[0] ? LOG_WARNING : LOG_INFO, "tunnel: the link to the client: %s", why);
	drain(owner);
}

static const struct carrier_ops server_link_ops = {
	on_client_link, on_client_connection, on_client_gone, on_client_closed};

static size_t connections(const struct end *end)
{
	return passage_count(&end->passage);
}

/* A server and what it is told of; for the teller. */
struct near {
	struct end *end;
	const struct tunnel_server *server;
};

static json_t *tell_server(void *owner)
{
	const struct near *near = owner;
	const struct mouth_start *mouth = &near->server->mouth;
	const struct end *end = near->end;
	struct mouth_counts counts =
		end->mouth ? mouth_counts(end->mouth) : (struct mouth_counts){.held = 0};
	json_t *proxies = json_array();
	char at[ADDR_TEXT_BYTES];

	for (size_t i = 0; i < mouth->nproxies; i++)
		json_array_append_new(
			proxies, control_text(addr_format(&mouth->proxies[i], at, sizeof(at))));
	return json_pack(
		"{s:s, s:s, s:o, s:o, s:o, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}",
		"end", "server", "state",
		end->is_draining     ? "draining"
		: counts.waiting > 0 ? "up"
				     : "waiting",
		"from", control_text(addr_format(&mouth->proxies[0], at, sizeof(at))), "proxies",
		proxies, "clients",
		control_text(near->server->link ? near->server->link->text
						: addr_format(&mouth->clients, at, sizeof(at))),
		"key", mouth->key != NULL, "connections", (json_int_t)connections(end), "waiting",
		(json_int_t)counts.waiting, "held", (json_int_t)counts.held, "served",
		(json_int_t)counts.served, "refused", (json_int_t)counts.refused, "unserved",
		(json_int_t)counts.unserved, "lost", (json_int_t)counts.lost_lanes, "reached",
		(json_int_t)counts.reached, "unreached", (json_int_t)counts.unreached, "forwards",
		end->mouth ? mouth_tell_forwards(end->mouth) : json_array());
}

/* From where its clients come. */
static int server_run(struct end *end, const struct tunnel_server *server, struct err *err)
{
	char at[ADDR_TEXT_BYTES];
	int result;

	if (server->link) {
		result = open_carrier(end, server->link,
			&(struct carrier){.ops = &server_link_ops,
				.dead_ms = server->mouth.dead_ms,
				.end = {.key = server->mouth.key, .role = PROOF_ANSWERER}},
			err);
		return result < 0 ? result : loop_run(end->loop);
	}
	log_notice(
		"tunnel: clients come to %s", addr_format(&server->mouth.clients, at, sizeof(at)));
	return loop_run(end->loop);
}

static int serve(struct end *end, struct tunnel_server *server, struct err *err)
{
	char at[ADDR_TEXT_BYTES];
	int result = open_end(end, server->drain_ms, err);

	if (result < 0)
		return result;
	server->mouth.context = &end->context;
	server->mouth.passage = &end->passage;
	server->mouth.listen = &server->listen;
	server->mouth.reach = &server->reach;
	end->mouth = mouth_new(&server->mouth, err);
	if (!end->mouth)
		return -err->code;
	for (size_t i = 0; i < server->mouth.nproxies; i++)
		log_notice("tunnel: %s leads through the tunnel",
			addr_format(&server->mouth.proxies[i], at, sizeof(at)));
	struct near near = {end, server};
	end->teller = (struct teller){.tell = tell_server, .owner = &near};
	teller_open(&end->teller, end->loop, "server");
	result = server_run(end, server, err);
	teller_close(&end->teller);
	return result;
}

int tunnel_serve(struct tunnel_server *server, struct err *err)
{
	struct end end = {.loop = NULL};
	int result = serve(&end, server, err);

	close_end(&end);
	return result;
}

/* --- the client ------------------------------------------------------------------------------ */

static void on_up(void *owner, bool is_lennut)
{
	const struct end *end = owner;
	const struct tunnel_client *client = end->client;
	char target[ENDPOINT_TEXT_BYTES];

	log_notice("tunnel: connected to %s%s%s%s", end->server_text,
		is_lennut ? " (lennut's protocol)" : "",
		client->has_target ? "; what comes there leads to " : "",
		client->has_target ? endpoint_format(&client->target, target, sizeof(target)) : "");
	if (is_lennut && client->norders > 0)
		log_warning("tunnel: %s: it knows nothing of --forward and --reverse",
			end->server_text);
}

static void on_down(void *owner, const char *why)
{
	log_warning("tunnel: %s: %s; trying again", ((struct end *)owner)->server_text, why);
}

static int connect_over_link(void *owner)
{
	return carrier_dial(&((struct end *)owner)->carrier);
}

static void on_server_link(void *owner)
{
	struct end *end = owner;

	end->has_failed = false;
	end->was_up = true;
	if (end->reach)
		reach_pause(end->reach, false);
}

/* Nothing is begun by a server. */
static void on_server_connection(void *owner, int fd)
{
	(void)owner;
	close(fd);
}

static void on_server_gone(void *owner)
{
	struct end *end = owner;

	if (end->reach)
		reach_pause(end->reach, true);
}

static void on_server_closed(void *owner, const char *why, bool is_last)
{
	struct end *end = owner;

	if (is_last && fail_without_end(end, why))
		return;
	if (!end->has_failed)
		log_warning(
			"tunnel: %s: %s%s", end->link->text, why, is_last ? "" : "; trying again");
	end->has_failed = true;
	if (is_last)
		drain(end);
}

static const struct carrier_ops client_link_ops = {
	on_server_link, on_server_connection, on_server_gone, on_server_closed};

static json_t *tell_client(void *owner)
{
	const struct end *end = owner;
	struct reach_counts counts =
		end->reach ? reach_counts(end->reach) : (struct reach_counts){.is_up = false};
	const struct tunnel_client *client = end->client;
	char target[ENDPOINT_TEXT_BYTES] = "";

	if (client->has_target)
		endpoint_format(&client->target, target, sizeof(target));
	return json_pack("{s:s, s:s, s:o, s:o, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:o}", "end",
		"client", "state",
		end->is_draining ? "draining"
		: counts.is_up   ? "up"
				 : "trying",
		"from", control_text(end->server_text), "to", control_text(target), "lennut",
		counts.is_up && counts.is_lennut, "key", client->key != NULL, "connections",
		(json_int_t)connections(end), "waiting", (json_int_t)counts.waiting, "connecting",
		(json_int_t)counts.connecting, "served", (json_int_t)counts.served, "refused",
		(json_int_t)counts.refused, "forwards",
		end->reach ? reach_tell_forwards(end->reach) : json_array());
}

/* Returns 0, or -errno with @err filled. */
static int open_client(struct end *end, const struct tunnel_client *client, struct err *err)
{
	end->reach = reach_new(&end->reach_start, err);
	if (!end->reach)
		return -err->code;
	if (client->link)
		return open_carrier(end, client->link,
			&(struct carrier){.ops = &client_link_ops,
				.is_asker = true,
				.dead_ms = client->dead_ms,
				.end = {.key = client->key, .role = PROOF_ASKER}},
			err);
	return 0;
}

static int reach(struct end *end, const struct tunnel_client *client, struct err *err)
{
	int result = open_end(end, client->drain_ms, err);

	if (result < 0)
		return result;
	end->client = client;
	if (client->link)
		snprintf(end->server_text, sizeof(end->server_text), "%s", client->link->text);
	else
		endpoint_format(&client->server, end->server_text, sizeof(end->server_text));
	end->reach_start = (struct reach_start){.context = &end->context,
		.passage = &end->passage,
		.has_target = client->has_target,
		.orders = client->orders,
		.norders = client->norders,
		.server_text = end->server_text,
		.server = endpoint_target(&client->server),
		.target = endpoint_target(&client->target),
		.proxy_version = client->proxy_version,
		.on_up = on_up,
		.on_down = on_down,
		.connect = client->link ? connect_over_link : NULL,
		.key = client->link ? NULL : client->key,
		.owner = end};
	end->teller = (struct teller){.tell = tell_client, .owner = end};
	teller_open(&end->teller, end->loop, "client");
	result = open_client(end, client, err);
	return result == 0 ? loop_run(end->loop) : result;
}

int tunnel_reach(const struct tunnel_client *client, struct err *err)
{
	struct end end = {.loop = NULL};
	int result = reach(&end, client, err);

	close_end(&end);
	return result;
}
