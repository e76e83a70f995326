/* SPDX-License-Identifier: Apache-2.0 */
/* exit/exit - packets for addresses beyond this host become connections and datagrams of it
 */
#include "exit/exit.h"

#include <errno.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <string.h>

#include "conn/accept.h"
#include "conn/dial.h"
#include "conn/syns.h"
#include "exit/exit_flows.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

#define BUCKETS 256

/* A listener, in the stack, for one port of every address. */
struct exit_port {
	struct exit *exit;
	struct acceptor acceptor;
	uint16_t port;
	int fd;
	uint64_t used_ns;
	struct list bucket_link, use_link;
};

struct exit {
	const struct conn_context *context;
	const struct exit_limits *limits;
	const struct exit_ops *ops;
	void *owner;
	struct syns *syns;
	struct exit_flows *flows;
	struct list buckets[BUCKETS];
	struct list uses; /* the one used longest ago comes first */
	size_t nlisteners;
	struct loop_timer timer;
	uint64_t unexposed;
};

static struct list *bucket_of(struct exit *exit, uint16_t port)
{
	return &exit->buckets[port % BUCKETS];
}

/* --- listeners ---------------------------------------------------------------------------- */

static void close_listener(struct exit_port *at_)
{
	struct exit *exit = at_->exit;

	acceptor_close(&at_->acceptor);
	fd_close(&at_->fd);
	list_del(&at_->bucket_link);
	list_del(&at_->use_link);
	budget_give(exit->context->budget, 1);
	exit->nlisteners--;
	free(at_);
}

static struct exit_port *oldest(const struct exit *exit)
{
	return list_is_empty(&exit->uses) ? NULL
					  : list_first(&exit->uses, struct exit_port, use_link);
}

static void arm_timer(struct exit *exit)
{
	struct loop *loop = exit->context->loop;
	const struct exit_port *first = oldest(exit);

	if (first && !loop_timer_is_armed(&exit->timer))
		loop_timer_set(loop, &exit->timer,
			clock_ms_until(first->used_ns + EXIT_IDLE_S * NS_PER_S, loop_now_ns(loop)));
}

static void on_idle(struct loop_timer *timer)
{
	struct exit *exit = container_of(timer, struct exit, timer);
	const uint64_t now_ns = loop_now_ns(exit->context->loop);
	struct exit_port *first;

	while ((first = oldest(exit)) && first->used_ns + EXIT_IDLE_S * NS_PER_S <= now_ns)
		close_listener(first);
	arm_timer(exit);
}

static void use(struct exit_port *at_)
{
	at_->used_ns = loop_now_ns(at_->exit->context->loop);
	list_del(&at_->use_link);
	list_add_last(&at_->exit->uses, &at_->use_link);
}

static void on_client(struct acceptor *acceptor, int fd, const struct addr *peer)
{
	struct exit_port *at_ = container_of(acceptor, struct exit_port, acceptor);
	struct addr own;

	use(at_);
	/* its address is the one that was asked for */
	if (addr_get_own(fd, &own) == 0 && syns_meet(at_->exit->syns, peer, &own, fd))
		return;
	fd_reset(&fd);
}

static struct exit_port *find_listener(struct exit *exit, uint16_t port)
{
	list_each (at, bucket_of(exit, port)) {
		struct exit_port *at_ = container_of(at, struct exit_port, bucket_link);

		if (at_->port == port)
			return at_;
	}
	return NULL;
}

/* Returns 0 or -errno. */
static int open_listener(struct exit *exit, uint16_t port)
{
	const struct conn_context *context = exit->context;
	struct exit_port *at_ = find_listener(exit, port);

	if (at_) {
		use(at_);
		return 0;
	}
	if (exit->nlisteners == EXIT_LISTENERS_MAX)
		close_listener(oldest(exit));
	at_ = calloc(1, sizeof(*at_));
	if (!at_)
		return -ENOMEM;
	*at_ = (struct exit_port){.exit = exit,
		.acceptor = {.on_client = on_client},
		.port = port,
		.fd = exit->ops->open_listener(exit->owner, port)};
	int result = at_->fd;
	if (result >= 0)
		result = acceptor_open(&at_->acceptor, context->loop, context->budget, at_->fd);
	if (result < 0) {
		fd_close(&at_->fd);
		free(at_);
		return result;
	}
	budget_take(context->budget, 1);
	exit->nlisteners++;
	list_add_last(bucket_of(exit, port), &at_->bucket_link);
	list_add_last(&exit->uses, &at_->use_link);
	use(at_);
	arm_timer(exit);
	return 0;
}

/* --- connections -------------------------------------------------------------------------- */

/* The target has accepted. */
static void let_in(void *owner, const struct syns_packet *packet)
{
	struct exit *exit = owner;
	const uint16_t port = addr_port(&packet->own);
	int result = open_listener(exit, port);
	struct packet_view view;

	/* else the peer sends it again, and there may be more room then */
	if (result < 0)
		log_info("cannot take a connection to port %u: %s", port, strerror(-result));
	else if (packet_parse(packet->bytes, packet->len, &view))
		exit->ops->let_in(exit->owner, &view);
}

/* Silence for silence, and for what is short here only. */
static void refuse(void *owner, const struct syns_packet *packet, int result)
{
	struct exit *exit = owner;
	struct packet_view view;

	if (result == -ETIMEDOUT || result == -EADDRNOTAVAIL || result == -EAGAIN ||
		!packet_parse(packet->bytes, packet->len, &view))
		return;
	exit->ops->refuse(exit->owner, &view,
		result == -ECONNREFUSED || result == -ECONNRESET ? ICMP_PORT_UNREACH
								 : ICMP_HOST_UNREACH);
}

static bool allows(const struct expose *expose, const struct addr *to)
{
	return to->family == AF_INET6 ? expose_allows6(expose, &to->v6.sin6_addr, addr_port(to))
				      : expose_allows(expose, to->v4.sin_addr, addr_port(to));
}

bool exit_exposes(const struct exit *exit, const struct addr *to)
{
	const struct exit_limits *limits = exit->limits;
	static const struct expose all;

	return allows(limits->host ? limits->host : &all, to) &&
	       (!limits->mesh || !limits->mesh->has_rules || allows(limits->mesh, to));
}

void exit_take(struct exit *exit, const struct packet_view *packet)
{
	struct addr to = addr_of4(packet->dst.ip, packet->dst.port);

	if (exit->ops->find && !exit->ops->find(exit->owner, packet->dst, &to))
		return;
	if (!exit_exposes(exit, &to)) {
		exit->unexposed++;
		exit->ops->refuse(exit->owner, packet,
			packet->proto == IPPROTO_TCP ? ICMP_PORT_UNREACH : ICMP_PKT_FILTERED);
		if (exit->ops->on_unexposed)
			exit->ops->on_unexposed(exit->owner, packet);
		return;
	}
	const struct syns_packet syn = syns_packet_of(packet);
	if (packet->proto == IPPROTO_TCP)
		syns_on_packet(exit->syns, &syn, &(struct dial_target){.addr = to});
	else
		exit_flows_take(exit->flows, packet, &to);
}

bool exit_has(const struct exit *exit, const struct packet_view *packet)
{
	const struct syns_packet syn = syns_packet_of(packet);

	return syns_has(exit->syns, &syn.peer, &syn.own);
}

uint64_t exit_unexposed(const struct exit *exit)
{
	return exit->unexposed;
}

/* --- start and end ------------------------------------------------------------------------ */

struct exit *exit_new(const struct conn_context *context, const struct exit_limits *limits,
	const struct exit_ops *ops, void *owner)
{
	static const struct syns_ops syns_ops = {.let_in = let_in, .refuse = refuse};
	struct exit *exit = calloc(1, sizeof(*exit));

	if (!exit)
		return NULL;
	exit->context = context;
	exit->limits = limits;
	exit->ops = ops;
	exit->owner = owner;
	exit->timer.on_expired = on_idle;
	list_init(&exit->uses);
	for (size_t i = 0; i < BUCKETS; i++)
		list_init(&exit->buckets[i]);
	exit->syns = syns_new(context, &syns_ops, exit);
	exit->flows = exit_flows_new(context, ops, owner);
	if (exit->syns && exit->flows)
		return exit;
	exit_free(exit);
	return NULL;
}

void exit_free(struct exit *exit)
{
	if (!exit)
		return;
	syns_free(exit->syns);
	exit_flows_free(exit->flows);
	while (oldest(exit))
		close_listener(oldest(exit));
	loop_timer_cancel(exit->context->loop, &exit->timer);
	free(exit);
}
