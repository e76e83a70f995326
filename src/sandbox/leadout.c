/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/leadout - the ports inside that lead outwards, at work in the net process */
#include "sandbox/leadout.h"

#include <errno.h>
#include <net/ethernet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "conn/accept.h"
#include "conn/datagrams.h"
#include "conn/join.h"
#include "conn/relay.h"
#include "conn/syns.h"
#include "net/diag.h"
#include "net/refusal.h"
#include "net/syntrap.h"
#include "sandbox/asks.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

#define READ_BURST 64 /* SYNs; then others get their turn */
#define CALL_MS    10000

/* One rule. */
struct way {
	struct list link;
	struct leadout *leadout;
	uint32_t id;
	struct outward_spec spec;
	struct dial_target target;
	int fd; /* listens, or is bound; owned */
	struct acceptor acceptor;
	struct datagrams *datagrams; /* UDP */
	int refusals;                /* UDP: net/refusal; -1: there is none */
	struct loop_io trap_io;      /* TCP; -1: there is none */
};

/* A path that the supervisor is asked for. */
struct call {
	struct list link;
	struct leadout *leadout;
	uint32_t number;
	struct beyond_call *caller;
	struct loop_timer timer;
};

struct leadout {
	struct conn_context *context;
	const struct net_plan *plan;
	int guest_diag;
	struct queue *channel;
	struct beyond beyond;
	struct syns *syns;
	struct joins joins;
	struct list ways, calls;
	uint32_t last_number;
};

/* --- paths -------------------------------------------------------------------------------- */

static bool leads(struct beyond *beyond, const struct addr *at, enum proto proto)
{
	(void)beyond;
	return at->family == AF_UNIX && proto == PROTO_TCP;
}

static void call_free(struct call *call)
{
	loop_timer_cancel(call->leadout->context->loop, &call->timer);
	list_del(&call->link);
	call->caller->trip = NULL;
	free(call);
}

static void call_end(struct call *call, int result)
{
	struct beyond_call *caller = call->caller;

	call_free(call);
	caller->on_done(caller, result);
}

static void on_late(struct loop_timer *timer)
{
	call_end(container_of(timer, struct call, timer), -ETIMEDOUT);
}

/* Which rule leads to the path? NULL: none. */
static const struct way *way_of_path(const struct leadout *leadout, const struct addr *path)
{
	list_each (at, &leadout->ways) {
		const struct way *way = container_of(at, struct way, link);

		if (way->spec.host[0] == '\0' && addr_equal(&way->spec.path, path))
			return way;
	}
	return NULL;
}

static int call_start(
	struct beyond *beyond, struct beyond_call *caller, const struct addr *to, enum proto proto)
{
	struct leadout *leadout = container_of(beyond, struct leadout, beyond);
	const struct way *way = way_of_path(leadout, to);
	struct call *call = way ? calloc(1, sizeof(*call)) : NULL;

	(void)proto;
	if (!call)
		return way ? -ENOMEM : -ECONNREFUSED;
	*call = (struct call){.leadout = leadout,
		.number = ++leadout->last_number,
		.caller = caller,
		.timer.on_expired = on_late};
	const struct net_message message = {
		.type = NET_DIAL, .id = way->id, .call = {.number = call->number}};
	/* a part is left for what must be said */
	int result = leadout->channel->count < QUEUE_MAX / 2
			     ? queue_send(leadout->channel, &message, sizeof(message), -1)
			     : -ENOBUFS;
	if (result < 0) {
		free(call);
		return result;
	}
	caller->trip = call;
	list_add_last(&leadout->calls, &call->link);
	loop_timer_set(leadout->context->loop, &call->timer, CALL_MS);
	return -EINPROGRESS;
}

static void call_cancel(struct beyond *beyond, struct beyond_call *caller)
{
	(void)beyond;
	if (caller->trip)
		call_free(caller->trip);
}

/* Who asked may have given up since. */
static void on_dialled(struct leadout *leadout, const struct net_message *message, int fd)
{
	list_each (at, &leadout->calls) {
		struct call *call = container_of(at, struct call, link);

		if (call->number != message->call.number)
			continue;
		call_end(call, fd >= 0 ? fd_take(&fd) : -ECONNREFUSED);
		break;
	}
	fd_close(&fd);
}

/* --- clients that wait in their SYN --------------------------------------------------------- */

static struct way *way_of(const struct leadout *leadout, const struct addr *own)
{
	list_each (at, &leadout->ways) {
		struct way *way = container_of(at, struct way, link);
		const struct addr *guest = &way->spec.guest;

		if (way->trap_io.fd >= 0 && guest->family == own->family &&
			addr_port(guest) == addr_port(own) &&
			(addr_is_wildcard(guest) || addr_is_same_ip(guest, own)))
			return way;
	}
	return NULL;
}

static void let_in(void *owner, const struct syns_packet *packet)
{
	const struct way *way = way_of(owner, &packet->own);
	const size_t tcp_at = ETH_HLEN + (packet->own.family == AF_INET ? 20 : 40);

	if (way)
		syntrap_let_in(way->trap_io.fd, packet->bytes, packet->len, tcp_at);
}

static void refuse(void *owner, const struct syns_packet *packet, int result)
{
	const struct leadout *leadout = owner;
	const struct way *way = way_of(leadout, &packet->own);
	struct net_plan plan = *leadout->plan;
	uint8_t answer[REFUSAL_FRAME_BYTES];

	if (!way)
		return;
	/* who cannot go on is this address, as far as those inside know */
	if (packet->own.family == AF_INET)
		plan.host = packet->own.v4.sin_addr;
	else
		plan.host6 = packet->own.v6.sin6_addr;
	size_t len = refusal_make(&plan, packet->bytes, packet->len, result, answer);
	if (len > 0)
		syntrap_send(way->trap_io.fd, answer, len);
}

static bool is_waiting(void *owner, const struct addr *peer, const struct addr *own)
{
	return diag_is_connected(((struct leadout *)owner)->guest_diag, peer, own, 0) != 0;
}

static const struct syns_ops syns_ops = {
	.let_in = let_in, .refuse = refuse, .is_waiting = is_waiting, .is_one_peer = true};

static void on_trapped(struct loop_io *io, uint32_t events)
{
	struct way *way = container_of(io, struct way, trap_io);
	uint8_t frame[SYNTRAP_FRAME_BYTES];
	struct syns_packet packet;

	(void)events;
	for (int i = 0; i < READ_BURST; i++) {
		ssize_t len = syntrap_read(io->fd, frame, sizeof(frame));

		if (len < 0)
			return;
		if (asks_read(frame, (size_t)len, &packet) > 0)
			syns_on_packet(way->leadout->syns, &packet, &way->target);
	}
}

/* One that has not waited came by another device, or its target's answer was too late. */
static void on_client(struct acceptor *acceptor, int fd, const struct addr *peer)
{
	struct way *way = container_of(acceptor, struct way, acceptor);
	struct addr own;

	if (way->trap_io.fd < 0 || addr_get_own(fd, &own) < 0 ||
		!syns_meet(way->leadout->syns, peer, &own, fd))
		joins_add(&way->leadout->joins, fd, &way->target, 0);
}

/* --- rules -------------------------------------------------------------------------------- */

static void way_free(struct way *way)
{
	struct loop *loop = way->leadout->context->loop;

	/* who waits hears it, and targets that have accepted already are not held */
	if (way->trap_io.fd >= 0)
		syns_drop(way->leadout->syns, &way->spec.guest);
	list_del(&way->link);
	if (way->spec.proto == PROTO_UDP)
		datagrams_free(way->datagrams);
	else if (way->acceptor.io.fd >= 0)
		acceptor_close(&way->acceptor);
	if (way->trap_io.fd >= 0)
		loop_io_del(loop, &way->trap_io);
	fd_close(&way->trap_io.fd);
	fd_close(&way->refusals);
	fd_close(&way->fd);
	free(way);
}

static struct way *find(const struct leadout *leadout, uint32_t id)
{
	list_each (at, &leadout->ways)
		if (container_of(at, struct way, link)->id == id)
			return container_of(at, struct way, link);
	return NULL;
}

static void on_datagram_failed(void *owner, const struct udp_flow *flow, int result)
{
	const struct way *way = owner;
	const struct udp_key *key = &flow->key;
	struct addr client = {.v6 = key->peer}, asked = way->spec.guest;

	/* who has sent it elsewhere at a wildcard is told from there */
	if (asked.family == AF_INET6 && !IN6_IS_ADDR_UNSPECIFIED(&key->local))
		asked.v6.sin6_addr = key->local;
	else if (!IN6_IS_ADDR_UNSPECIFIED(&key->local))
		memcpy(&asked.v4.sin_addr, &key->local, sizeof(asked.v4.sin_addr));
	if (way->refusals >= 0)
		refusal_send(way->refusals, &client, &asked, result);
}

/* Returns 0 or -errno. */
static int serve(struct way *way)
{
	struct conn_context *context = way->leadout->context;

	if (way->spec.proto == PROTO_TCP) {
		way->acceptor.on_client = on_client;
		way->acceptor.fds_each = JOIN_FDS;
		return acceptor_open(&way->acceptor, context->loop, context->budget, way->fd);
	}
	way->datagrams = datagrams_new(context, way->fd, &way->target, on_datagram_failed, way);
	return way->datagrams ? 0 : -errno;
}

static struct dial_target target_of(const struct outward_spec *spec)
{
	if (spec->host[0] == '\0')
		return (struct dial_target){.where = DIAL_INSIDE, .addr = spec->path};
	/* which of two addresses is served cannot be asked of the kernel here */
	if (spec->proto == PROTO_UDP && strcasecmp(spec->host, "localhost") == 0)
		return (struct dial_target){.addr = addr_loopback4(spec->port), .proto = PROTO_UDP};
	return (struct dial_target){.host = spec->host, .port = spec->port, .proto = spec->proto};
}

static void give_up(struct way *way, int result)
{
	log_warning("a port that leads outwards is not served: %s", strerror(-result));
	if (way)
		way_free(way);
}

static void add(struct leadout *leadout, const struct net_message *message, int fd)
{
	struct way *old = find(leadout, message->id), *way = calloc(1, sizeof(*way));
	int result = way ? 0 : -ENOMEM;

	if (old)
		way_free(old);
	if (way) {
		*way = (struct way){.leadout = leadout,
			.id = message->id,
			.spec = message->outward,
			.fd = fd,
			.acceptor.io.fd = -1,
			.refusals = -1,
			.trap_io = {-1, on_trapped}};
		way->target = target_of(&way->spec);
		list_add_last(&leadout->ways, &way->link);
		result = fd < 0 ? -EMFILE : 0;
	} else {
		fd_close(&fd);
	}
	/* datagrams wait for who tells of refusals */
	if (result == 0 && way->spec.proto == PROTO_TCP)
		result = serve(way);
	if (result < 0)
		give_up(way, result);
}

static void add_trap(struct leadout *leadout, uint32_t id, int fd)
{
	struct way *way = find(leadout, id);
	const bool is_udp = way && way->spec.proto == PROTO_UDP;
	int result;

	if (!way || way->datagrams || way->trap_io.fd >= 0 || (fd < 0 && !is_udp)) {
		fd_close(&fd);
		return;
	}
	if (is_udp) {
		way->refusals = fd;
		result = serve(way);
		if (result < 0)
			give_up(way, result);
		return;
	}
	way->trap_io.fd = fd;
	result = loop_io_add(leadout->context->loop, &way->trap_io, EPOLLIN);
	if (result < 0)
		log_warning("a port that leads outwards is not served: %s", strerror(-result));
}

void leadout_on_message(struct leadout *leadout, const struct net_message *message, int fd)
{
	struct way *way;

	switch (message->type) {
	case NET_LEAD_OUT:
		add(leadout, message, fd);
		return;
	case NET_LEAD_OUT_TRAP:
		add_trap(leadout, message->id, fd);
		return;
	case NET_DIALLED:
		on_dialled(leadout, message, fd);
		return;
	case NET_LEAD_OUT_END:
		way = find(leadout, message->id);
		if (way)
			way_free(way);
		break;
	default:
		break;
	}
	fd_close(&fd);
}

struct leadout *leadout_new(struct conn_context *context, const struct net_plan *plan,
	int guest_diag, struct queue *channel)
{
	struct leadout *leadout = calloc(1, sizeof(*leadout));

	if (!leadout)
		return NULL;
	*leadout = (struct leadout){.context = context,
		.plan = plan,
		.guest_diag = guest_diag,
		.channel = channel,
		.beyond = {.leads = leads, .start = call_start, .cancel = call_cancel}};
	list_init(&leadout->ways);
	list_init(&leadout->calls);
	context->beyond = &leadout->beyond;
	context->names = names_new(context->loop);
	joins_init(&leadout->joins, context);
	leadout->syns = context->names ? syns_new(context, &syns_ops, leadout) : NULL;
	return leadout->syns ? leadout : NULL;
}
