/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/quay - where streams of other hosts come in, and are led to what is offered here */
#include "mesh/agent/quay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "conn/dial.h"
#include "mesh/agent/nostack.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

/* Where @to leads (landings_ops.find). */
static int find_target(void *owner, struct in_addr peer, struct packet_end to, uint16_t *port,
	struct dial_target *out)
{
	const struct quay *quay = owner;

	if (!gate_lets_begin(quay->gate, peer, to))
		return -EACCES;
	if (packet_is_same_ip(to.ip, gate_self(quay->gate))) {
		int result = role_find_target(quay->role, PROTO_TCP, to.port, out);

		*port = to.port;
		if (result != -ECONNREFUSED || !outlet_leads_here(quay->outlet))
			return result;
		*out = (struct dial_target){.addr = addr_loopback4(to.port)};
	} else {
		*out = (struct dial_target){.addr = addr_of4(to.ip, to.port)};
		if (!gate_is_behind(quay->gate, to.ip))
			return -ECONNREFUSED;
	}
	return outlet_lets_begin(quay->outlet, peer, to, &out->addr) ? 0 : -ECONNREFUSED;
}

/* The name server tells hosts apart by an address of 127.128.0.0/9 for each; this host's own
 * programs come from 127.0.0.1. */
static struct addr seen_as(struct in_addr peer)
{
	return addr_of4((struct in_addr){htonl(0x7f800000 | (ntohl(peer.s_addr) & 0x7fffff))}, 0);
}

static void on_names(void *owner, int fd, struct in_addr peer)
{
	const struct addr client = seen_as(peer);

	nameservice_add_client(((const struct quay *)owner)->names, fd, &client);
}

static void on_failed(void *owner, uint16_t port, int result)
{
	role_on_failed(((const struct quay *)owner)->role, PROTO_TCP, port, result);
}

static void on_asked(void *owner, struct track *track, struct in_addr peer, struct packet_end to)
{
	landings_begin(&((struct quay *)owner)->landings, track, peer, to);
}

static void on_track_over(void *owner, struct track *track)
{
	(void)owner;
	landings_end(track);
}

static void on_task(struct loop_task *task)
{
	crossing_out(container_of(task, struct quay, task)->crossing);
}

static void on_packets(void *owner)
{
	struct quay *quay = owner;

	loop_task_add(quay->context->loop, &quay->task);
}

/* --- what the stack begins with a host that has none --------------------------------------- */

static void on_held(void *owner, const struct packet_view *syn)
{
	const struct quay *quay = owner;
	const struct dial_target target = {
		.where = DIAL_INSIDE, .addr = addr_of4(syn->dst.ip, syn->dst.port)};

	const struct syns_packet packet = syns_packet_of(syn);

	syns_on_packet(quay->syns, &packet, &target);
}

static void let_in(void *owner, const struct syns_packet *packet)
{
	const struct quay *quay = owner;
	struct packet_view view;

	if (!packet_parse(packet->bytes, packet->len, &view))
		return;
	if (gate_lead_in(quay->gate, &view)) {
		crossing_let_in(quay->crossing, &view);
		return;
	}
	log_info("a connection to port %u was refused: no address is left that could stand for its "
		 "host",
		view.dst.port);
	crossing_answer_stack(quay->crossing, &view, ICMP_HOST_UNREACH);
	/* its target is held for nobody; others that wait for that have no address either */
	syns_drop(quay->syns, &packet->own);
}

/* Where nobody can tell, they may. */
static bool is_waiting(void *owner, const struct addr *peer, const struct addr *own)
{
	struct stack *stack = ((const struct quay *)owner)->stack;

	return stack->ops->is_connected(stack, peer, own) != 0;
}

static void refuse(void *owner, const struct syns_packet *packet, int result)
{
	const struct quay *quay = owner;
	const bool is_refused =
		result == -ECONNREFUSED || result == -ECONNRESET || result == -EACCES;
	struct packet_view view;

	if (packet_parse(packet->bytes, packet->len, &view))
		crossing_answer_stack(
			quay->crossing, &view, is_refused ? ICMP_PORT_UNREACH : ICMP_HOST_UNREACH);
}

static void on_client(struct acceptor *acceptor, int fd, const struct addr *peer)
{
	const struct quay *quay = container_of(acceptor, struct quay, mouth);
	const struct packet_end seen = {peer->v4.sin_addr, addr_port(peer)};
	const struct addr program = addr_of4(quay->self, seen.port);
	struct packet_end to;

	if (!gate_find_led(quay->gate, seen, &to)) {
		fd_reset(&fd);
		return;
	}
	const struct addr own = addr_of4(to.ip, to.port);
	if (!syns_meet(quay->syns, &program, &own, fd))
		fd_reset(&fd);
}

static bool is_streamed(void *owner, struct in_addr ip)
{
	return ferry_is_streamed(((const struct quay *)owner)->ferry, ip);
}

static bool is_used(void *owner, struct packet_end to)
{
	const struct addr own = addr_of4(to.ip, to.port);

	return syns_is_asked(((const struct quay *)owner)->syns, &own);
}

static void close_mouth(struct quay *quay)
{
	gate_lead_streams(quay->gate, 0, NULL, NULL);
	if (quay->mouth_fd < 0)
		return;
	acceptor_close(&quay->mouth);
	fd_close(&quay->mouth_fd);
}

/* Without it what is begun with hosts that have no stack is reset by them. */
static void open_mouth(struct quay *quay)
{
	static const struct gate_streams streams = {is_streamed, is_used};
	struct addr at = addr_of4(quay->self, 0);
	const int fd = quay->stack->ops->open_bound(quay->stack, PROTO_TCP, &at);
	int result = fd < 0 ? fd : addr_get_own(fd, &at);

	quay->mouth_fd = fd < 0 ? -1 : fd;
	quay->mouth.on_client = on_client;
	if (result == 0)
		result =
			acceptor_open(&quay->mouth, quay->context->loop, quay->context->budget, fd);
	if (result == 0) {
		gate_lead_streams(quay->gate, addr_port(&at), &streams, quay);
		return;
	}
	fd_close(&quay->mouth_fd);
	log_info("hosts without a stack cannot be reached by what is in this host's: %s",
		strerror(-result));
}

/* --- packets ------------------------------------------------------------------------------ */

/* Any host may say so of any SYN: it counts if somebody here has begun that. */
static void on_returned(void *owner, const struct packet_view *syn)
{
	const struct quay *quay = owner;
	const struct syns_packet packet = syns_packet_of(syn);

	if (!is_waiting(owner, &packet.peer, &packet.own))
		return;
	if (quay->mouth_fd >= 0)
		on_held(owner, syn);
	else
		crossing_answer_stack(quay->crossing, syn, ICMP_PORT_UNREACH);
}

/* --- datagrams without a stack ------------------------------------------------------------ */

static int find_datagrams(void *owner, struct in_addr peer, uint16_t port, struct dial_target *out)
{
	const struct quay *quay = owner;
	int result = role_find_target(quay->role, PROTO_UDP, port, out);

	if (result == 1) {
		out->addr = quay->names_addr;
		out->source = seen_as(peer);
	}
	return result < 0 ? result : 0;
}

int quay_find_own(const struct quay *quay, enum proto proto, uint16_t port, struct dial_target *out)
{
	int result = role_find_target(quay->role, proto, port, out);

	if (result != 1)
		return result;
	if (proto == PROTO_UDP)
		out->addr = quay->names_addr;
	/* by TCP it is what mesh/agent/entries has at that very address */
	return addr_is_loopback(&out->addr) ? 0 : -ECONNREFUSED;
}

/* The mesh comes to the name server by a socket that is nobody else's: that of the host's loopback
 * may be another agent's. Without it there are no names by UDP, and by TCP all the same. */
static void open_names(struct quay *quay)
{
	struct addr at = addr_loopback4(0);
	_cleanup_fd_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, &at.any, addr_len(&at)) < 0 ||
		addr_get_own(fd, &quay->names_addr) < 0 ||
		nameservice_set_udp(quay->names, NAMESERVICE_INSIDE, fd) < 0)
		return;
	quay->names_fd = fd_take(&fd);
}

static void close_names(struct quay *quay)
{
	if (quay->names_fd < 0)
		return;
	nameservice_set_udp(quay->names, NAMESERVICE_INSIDE, -1);
	fd_close(&quay->names_fd);
}

static void on_datagram_refused(void *owner, const struct packet_view *packet, int result)
{
	const struct quay *quay = owner;
	struct packet_view view = *packet;

	view.dst.ip = gate_self(quay->gate);
	memcpy(view.ip + 16, &view.dst.ip, sizeof(view.dst.ip));
	role_on_failed(quay->role, PROTO_UDP, packet->dst.port, result);
	crossing_answer(quay->crossing, &view, ICMP_PORT_UNREACH);
}

static bool find_host(void *owner, struct in_addr ip, struct in_addr *host)
{
	const struct quay *quay = owner;

	return ways_find_host(quay->ways, ip, host);
}

static int dial_datagrams(void *owner, const struct addr *to)
{
	const struct quay *quay = owner;

	return quay->parcels ? parcels_dial(quay->parcels, to) : -EAFNOSUPPORT;
}

/* What a stack would have, and answer. */
static void on_packet(void *owner, void *packet, size_t len)
{
	const struct quay *quay = owner;
	struct packet_view view, quote;

	if (!packet_parse(packet, len, &view))
		return;
	if (view.proto == IPPROTO_UDP)
		parcels_in(quay->parcels, &view);
	else if (view.proto == IPPROTO_ICMP && view.l4[0] == ICMP_DEST_UNREACH &&
		 packet_parse_quote(&view, &quote) && quote.proto == IPPROTO_UDP)
		parcels_on_refused(quay->parcels, &quote);
	else if (view.proto == IPPROTO_ICMP && view.l4[0] == ICMP_ECHO)
		crossing_answer_ping(quay->crossing, &view);
}

static size_t take_more(void *owner, unsigned char *packet, size_t cap_bytes, bool is_slow)
{
	struct quay *quay = owner;
	const struct in_addr self = gate_self(quay->gate);
	size_t len = quay->parcels ? parcels_take(quay->parcels, self, packet, cap_bytes) : 0;

	/* its answers are to be let in */
	if (len > 0)
		gate_out(quay->gate, packet, len, loop_now_ns(quay->context->loop));
	return len > 0 ? len : ferry_take(quay->ferry, packet, cap_bytes, is_slow);
}

bool quay_take(struct quay *quay, const struct packet_view *packet)
{
	struct packet_view quote;

	if (packet->proto == FERRY_PROTO) {
		ferry_in(quay->ferry, packet);
		return true;
	}
	if (packet->proto != IPPROTO_ICMP || !packet_parse_quote(packet, &quote) ||
		quote.proto != FERRY_PROTO)
		return false;
	ferry_on_error(quay->ferry, quote.dst.ip, packet->l4[1]);
	return true;
}

void quay_on_syn(struct quay *quay, const struct packet_view *syn)
{
	const uint64_t now_ns = loop_now_ns(quay->context->loop);
	char peer[INET_ADDRSTRLEN], self[INET_ADDRSTRLEN];

	if (ferry_return(quay->ferry, syn))
		return;
	crossing_answer(quay->crossing, syn, ICMP_PORT_UNREACH);
	if (quay->said_ns != 0 && now_ns - quay->said_ns < QUAY_LINE_S * NS_PER_S)
		return;
	quay->said_ns = now_ns;
	log_warning("the host at %s cannot connect to port %u of this one, at %s: this host lets "
		    "nswrap have no network stack, and the other one's agent does not know streams",
		inet_ntop(AF_INET, &syn->src.ip, peer, sizeof(peer)), syn->dst.port,
		inet_ntop(AF_INET, &syn->dst.ip, self, sizeof(self)));
}

int quay_configure(struct quay *quay)
{
	size_t count;
	const struct in_addr *peers = role_peers(quay->role, &count);
	const struct in_addr self = gate_self(quay->gate);

	if (quay->has_stack && (quay->mouth_fd < 0 || !packet_is_same_ip(quay->self, self))) {
		close_mouth(quay);
		quay->self = self;
		open_mouth(quay);
	}
	if (!quay->has_stack && quay->names_fd < 0)
		open_names(quay);
	ferry_set_self(quay->ferry, self, quay->has_stack);
	return ferry_meet(quay->ferry, peers, count);
}

static int open_parcels(struct quay *quay)
{
	static const struct parcels_ops ops = {.on_packets = on_packets,
		.find = find_datagrams,
		.on_refused = on_datagram_refused};
	struct nostack *nostack = container_of(quay->stack, struct nostack, stack);

	quay->parcels = parcels_new(quay->context, &ops, quay);
	if (!quay->parcels)
		return -errno;
	nostack->on_packet = on_packet;
	nostack->owner = quay;
	return 0;
}

int quay_open(struct quay *quay, const struct conn_context *context)
{
	static const struct syns_ops syns_ops = {
		.let_in = let_in, .refuse = refuse, .is_waiting = is_waiting};
	static const struct ferry_ops ops = {
		.on_packets = on_packets,
		.on_asked = on_asked,
		.on_track_over = on_track_over,
		.on_returned = on_returned,
		.find_host = find_host,
		.dial_datagrams = dial_datagrams,
	};

	static const struct landings_ops landings_ops = {find_target, on_names, on_failed};

	quay->context = context;
	landings_open(&quay->landings, context, &landings_ops, quay);
	quay->has_stack = quay->stack->ops->kind != STACK_STREAMS;
	quay->task.on_run = on_task;
	quay->mouth_fd = quay->names_fd = -1;
	quay->ferry = ferry_new(context, &ops, quay);
	quay->syns = quay->ferry ? syns_new(context, &syns_ops, quay) : NULL;
	quay->crossing->on_held = on_held;
	quay->crossing->take_more = take_more;
	quay->crossing->owner = quay;
	if (!quay->syns)
		return -errno;
	return quay->has_stack ? 0 : open_parcels(quay);
}

void quay_close(struct quay *quay)
{
	if (!quay->ferry)
		return;
	close_mouth(quay);
	close_names(quay);
	syns_free(quay->syns);
	parcels_free(quay->parcels);
	ferry_free(quay->ferry);
	quay->ferry = NULL;
	landings_close(&quay->landings);
	loop_task_cancel(quay->context->loop, &quay->task);
}
