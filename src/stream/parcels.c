/* SPDX-License-Identifier: Apache-2.0 */
/* stream/parcels - datagrams of the mesh without a stack: packets here, sockets there */
#include "stream/parcels.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "conn/udp_flows.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"

#define HOLD_MS    5000
#define FIRST_PORT 32768 /* of those that we choose, as the kernel does */
#define PORT_TRIES 64

struct parcels {
	const struct conn_context *context;
	const struct parcels_ops *ops;
	void *owner;
	struct udp_flows *table;
	struct list ready; /* flows whose socket may have something */
	struct loop_timer timer;
};

/* What a flow is beyond that. */
struct parcel {
	struct parcels *parcels;
	struct udp_flow *flow;
	struct list ready;
	struct dial dial;
	bool began_here;
};

static struct udp_key key_of(struct packet_end peer, uint16_t own_port)
{
	struct sockaddr_in end = {
		.sin_family = AF_INET, .sin_addr = peer.ip, .sin_port = htons(peer.port)};
	struct udp_key key = {.ifindex = own_port};

	memcpy(&key.peer, &end, sizeof(end));
	return key;
}

static struct packet_end peer_of(const struct udp_flow *flow)
{
	struct sockaddr_in end;

	memcpy(&end, &flow->key.peer, sizeof(end));
	return (struct packet_end){end.sin_addr, ntohs(end.sin_port)};
}

static void on_forget(struct udp_flow *flow)
{
	struct parcel *parcel = flow->owner;

	if (!parcel)
		return;
	dial_cancel(&parcel->dial);
	list_del(&parcel->ready);
	if (flow->io.fd >= 0) {
		loop_io_del(parcel->parcels->context->loop, &flow->io);
		fd_close(&flow->io.fd);
		udp_flows_give_target(parcel->parcels->table, flow);
	}
	free(parcel);
}

static void sweep(struct parcels *parcels)
{
	struct loop *loop = parcels->context->loop;
	const uint64_t now_ns = loop_now_ns(loop);
	const uint64_t next_ns = udp_flows_sweep(parcels->table, now_ns);

	if (next_ns != UINT64_MAX)
		loop_timer_set(loop, &parcels->timer, clock_ms_until(next_ns, now_ns));
}

static void on_timer(struct loop_timer *timer)
{
	sweep(container_of(timer, struct parcels, timer));
}

static struct parcel *add(struct parcels *parcels, const struct udp_key *key)
{
	struct udp_flow *flow =
		udp_flows_add(parcels->table, key, loop_now_ns(parcels->context->loop));
	struct parcel *parcel = flow ? calloc(1, sizeof(*parcel)) : NULL;
	if (!parcel) {
		if (flow)
			udp_flows_forget(parcels->table, flow);
		return NULL;
	}
	*parcel = (struct parcel){.parcels = parcels, .flow = flow};
	flow->owner = parcel;
	if (!loop_timer_is_armed(&parcels->timer))
		sweep(parcels);
	return parcel;
}

/* --- to sockets --------------------------------------------------------------------------- */

/* Tell who is at the other end about the last that it has sent, of which the ends are enough. */
static void tell_refused(const struct parcel *parcel, int result)
{
	const struct parcels *parcels = parcel->parcels;
	unsigned char packet[PACKET_DATAGRAM_BYTES] = {0};
	const struct packet_end own = {.port = (uint16_t)parcel->flow->key.ifindex};
	struct packet_view view;

	if (parcel->began_here)
		return;
	size_t len = packet_make_udp(packet, peer_of(parcel->flow), own, 0);
	if (packet_parse(packet, len, &view))
		parcels->ops->on_refused(parcels->owner, &view, result);
}

static void on_ready(struct loop_io *io, uint32_t events)
{
	struct udp_flow *flow = container_of(io, struct udp_flow, io);
	struct parcel *parcel = flow->owner;

	(void)events;
	if (!list_is_linked(&parcel->ready))
		list_add_last(&parcel->parcels->ready, &parcel->ready);
	parcel->parcels->ops->on_packets(parcel->parcels->owner);
}

/* Takes @fd over, also when it fails. */
static int watch(struct parcel *parcel, int fd)
{
	struct udp_flow *flow = parcel->flow;

	if (!udp_flows_take_target(parcel->parcels->table, flow)) {
		fd_close(&fd);
		return -EMFILE;
	}
	flow->io = (struct loop_io){fd, on_ready};
	return loop_io_add(parcel->parcels->context->loop, &flow->io, EPOLLIN | EPOLLET);
}

static void forward(struct parcel *parcel, const void *bytes, size_t len)
{
	/* what is known of the last one comes instead, once */
	if (send(parcel->flow->io.fd, bytes, len, MSG_NOSIGNAL) >= 0 || errno != ECONNREFUSED)
		return;
	if (parcel->began_here) {
		udp_flows_forget(parcel->parcels->table, parcel->flow);
		return;
	}
	tell_refused(parcel, -ECONNREFUSED);
	(void)!send(parcel->flow->io.fd, bytes, len, MSG_NOSIGNAL);
}

static void on_target(struct parcel *parcel, int result)
{
	struct parcels *parcels = parcel->parcels;
	struct udp_held *held;

	if (result < 0 || watch(parcel, result) < 0) {
		tell_refused(parcel, result < 0 ? result : -ENOBUFS);
		udp_flows_forget(parcels->table, parcel->flow);
		return;
	}
	while ((held = udp_flows_take_held(parcels->table, parcel->flow))) {
		forward(parcel, held->bytes, held->len);
		free(held);
	}
}

static void on_dialled(struct dial *dial, int result)
{
	on_target(container_of(dial, struct parcel, dial), result);
}

/* One that begins in the mesh. Returns NULL: nowhere. */
static struct udp_flow *begin(
	struct parcels *parcels, const struct packet_view *packet, const struct udp_key *key)
{
	struct dial_target target;
	int result = parcels->ops->find(parcels->owner, packet->src.ip, packet->dst.port, &target);
	struct parcel *parcel = result == 0 ? add(parcels, key) : NULL;

	if (result < 0)
		parcels->ops->on_refused(parcels->owner, packet, result);
	if (!parcel)
		return NULL;
	parcel->dial.on_done = on_dialled;
	target.proto = PROTO_UDP;
	result = dial_start(&parcel->dial, parcels->context, &target);
	if (result != -EINPROGRESS)
		on_target(parcel, result);
	return udp_flows_find(parcels->table, key);
}

void parcels_in(struct parcels *parcels, const struct packet_view *packet)
{
	const uint64_t now_ns = loop_now_ns(parcels->context->loop);
	const struct udp_key key = key_of(packet->src, packet->dst.port);
	const unsigned char *bytes = packet->l4 + PACKET_UDP_BYTES;
	const size_t len = packet_get16(packet->l4 + 4) - PACKET_UDP_BYTES;
	struct udp_flow *flow = udp_flows_find(parcels->table, &key);

	if (!flow)
		flow = begin(parcels, packet, &key);
	if (!flow)
		return;
	udp_flows_use(parcels->table, flow, true, 1, now_ns);
	if (flow->io.fd >= 0)
		forward(flow->owner, bytes, len);
	else
		udp_flows_hold(parcels->table, flow, bytes, len, now_ns + HOLD_MS * NS_PER_MS);
}

void parcels_on_refused(struct parcels *parcels, const struct packet_view *sent)
{
	const struct udp_key key = key_of(sent->dst, sent->src.port);
	struct udp_flow *flow = udp_flows_find(parcels->table, &key);

	/* the other end of the pair is told by its end: unix(7), ECONNREFUSED */
	if (flow && ((struct parcel *)flow->owner)->began_here)
		udp_flows_forget(parcels->table, flow);
}

/* --- from sockets ------------------------------------------------------------------------- */

int parcels_dial(struct parcels *parcels, const struct addr *to)
{
	const struct packet_end peer = {to->v4.sin_addr, addr_port(to)};
	struct udp_key key;
	uint16_t port = 0;
	int ends[2] = {-1, -1};

	for (int i = 0; i < PORT_TRIES; i++) {
		if (getrandom(&port, sizeof(port), GRND_NONBLOCK) < 0)
			return -EAGAIN;
		port |= FIRST_PORT;
		key = key_of(peer, port);
		if (!udp_flows_find(parcels->table, &key))
			break;
	}
	if (udp_flows_find(parcels->table, &key))
		return -EADDRNOTAVAIL;
	struct parcel *parcel = add(parcels, &key);
	if (!parcel)
		return -EMFILE;
	parcel->began_here = true;
	int result = socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0
			     ? -errno
			     : watch(parcel, ends[0]);
	if (result == 0)
		return fd_take(&ends[1]);
	fd_close(&ends[1]);
	udp_flows_forget(parcels->table, parcel->flow);
	return result;
}

/* Returns the packet's size, or 0: there is nothing more. */
static size_t take_from(
	struct parcel *parcel, struct in_addr self, unsigned char *packet, size_t cap_bytes)
{
	struct udp_flow *flow = parcel->flow;
	const struct packet_end own = {self, (uint16_t)flow->key.ifindex};
	unsigned char *bytes = packet + PACKET_DATAGRAM_BYTES;
	const size_t room = cap_bytes - PACKET_DATAGRAM_BYTES;
	ssize_t got = recv(flow->io.fd, bytes, room, MSG_DONTWAIT);

	/* an error comes once, and before what was received, of which no other event tells */
	if (got < 0 && errno != EAGAIN) {
		tell_refused(parcel, -errno);
		got = recv(flow->io.fd, bytes, room, MSG_DONTWAIT);
	}
	if (got >= 0) {
		udp_flows_use(parcel->parcels->table, flow, false, 1,
			loop_now_ns(parcel->parcels->context->loop));
		return packet_make_udp(packet, own, peer_of(flow), (size_t)got);
	}
	return 0;
}

size_t parcels_take(
	struct parcels *parcels, struct in_addr self, unsigned char *packet, size_t cap_bytes)
{
	while (!list_is_empty(&parcels->ready)) {
		struct parcel *parcel = list_first(&parcels->ready, struct parcel, ready);
		size_t len = take_from(parcel, self, packet, cap_bytes);

		list_del(&parcel->ready);
		if (len == 0)
			continue;
		list_add_last(&parcels->ready, &parcel->ready);
		return len;
	}
	return 0;
}

/* --- start and end ------------------------------------------------------------------------ */

struct parcels *parcels_new(
	const struct conn_context *context, const struct parcels_ops *ops, void *owner)
{
	struct parcels *parcels = calloc(1, sizeof(*parcels));

	if (!parcels)
		return NULL;
	parcels->context = context;
	parcels->ops = ops;
	parcels->owner = owner;
	parcels->timer.on_expired = on_timer;
	list_init(&parcels->ready);
	parcels->table = udp_flows_new(context->budget, on_forget, NULL);
	if (parcels->table)
		return parcels;
	free(parcels);
	return NULL;
}

void parcels_free(struct parcels *parcels)
{
	if (!parcels)
		return;
	udp_flows_free(parcels->table);
	loop_timer_cancel(parcels->context->loop, &parcels->timer);
	free(parcels);
}
