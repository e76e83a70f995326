/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/socks_udp - datagrams of a client of SOCKS 5 (RFC 1928 7), to wherever it likes */
#include "proxy/socks_udp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "conn/dial.h"
#include "conn/udp_flows.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

#define DATAGRAM_MAX 65536
#define BURST        32 /* then others get their turn */

struct held {
	size_t len;
	char bytes[];
};

/* One place that the client sends to. */
struct flow {
	struct socks_udp *udp;
	struct list link;
	char host[SOCKS_HOST_MAX + 1];
	uint16_t port;
	struct addr to; /* where that is, if it was told as an address */
	uint64_t used_ns;
	struct guide_trip trip;
	struct dial dial;
	struct loop_io io;                     /* fd -1: it is being opened */
	unsigned char header[SOCKS_REPLY_MAX]; /* of what comes back */
	size_t header_len;
	struct held *held[SOCKS_UDP_HELD_MAX];
	size_t nheld;
};

struct socks_udp {
	struct front_guest *guest;
	const struct conn_context *context;
	struct guide *guide;
	bool only_user;
	struct shares_part part;
	struct addr client; /* its port is 0 until it is known */
	struct loop_io io;
	struct list flows; /* who was used last comes last */
	size_t nflows;
	struct loop_timer sweep;
};

/* --- flows -------------------------------------------------------------------------------- */

static void flow_end(struct flow *flow)
{
	struct socks_udp *udp = flow->udp;

	guide_cancel(udp->guide, &flow->trip);
	dial_cancel(&flow->dial);
	if (flow->io.fd >= 0)
		loop_io_del(udp->context->loop, &flow->io);
	fd_close(&flow->io.fd);
	for (size_t i = 0; i < flow->nheld; i++)
		free(flow->held[i]);
	budget_give(udp->context->budget, 1);
	shares_give(&udp->context->budget->shares, SHARES_FLOWS, udp->guest->source);
	udp->nflows--;
	list_del(&flow->link);
	free(flow);
}

static void on_sweep(struct loop_timer *timer)
{
	struct socks_udp *udp = container_of(timer, struct socks_udp, sweep);
	uint64_t now_ns = loop_now_ns(udp->context->loop);

	list_each_safe (at, following, &udp->flows) {
		struct flow *flow = container_of(at, struct flow, link);

		if (now_ns - flow->used_ns >= SOCKS_UDP_IDLE_MS * NS_PER_MS)
			flow_end(flow);
	}
	if (udp->nflows > 0)
		loop_timer_set(udp->context->loop, timer, SOCKS_UDP_IDLE_MS / 4);
}

static void flow_use(struct flow *flow)
{
	front_use(flow->udp->guest);
	flow->used_ns = loop_now_ns(flow->udp->context->loop);
	list_del(&flow->link);
	list_add_last(&flow->udp->flows, &flow->link);
}

/* What the target sends. What the client's socket does not take is lost, as in a network. */
static void on_answer(struct loop_io *io, uint32_t events)
{
	struct flow *flow = container_of(io, struct flow, io);
	struct socks_udp *udp = flow->udp;
	char bytes[SOCKS_REPLY_MAX + DATAGRAM_MAX];
	char *start = bytes + SOCKS_REPLY_MAX - flow->header_len;

	(void)events;
	memcpy(start, flow->header, flow->header_len);
	for (int i = 0; i < BURST; i++) {
		ssize_t len = recv(io->fd, bytes + SOCKS_REPLY_MAX, DATAGRAM_MAX, 0);

		if (len < 0 && errno != ECONNREFUSED) /* reading it clears a refusal */
			return;
		if (len < 0)
			continue;
		flow_use(flow);
		(void)!sendto(udp->io.fd, start, flow->header_len + (size_t)len, MSG_NOSIGNAL,
			&udp->client.any, addr_len(&udp->client));
	}
}

/* Its socket is there, or -errno. */
static void on_opened(struct flow *flow, int result)
{
	struct addr peer;

	if (result >= 0 && addr_get_peer(result, &peer) < 0) {
		fd_close(&result);
		result = -ENOTCONN;
	}
	if (result < 0) {
		log_debug("datagrams of a SOCKS client were dropped: %s", dial_words(result));
		flow_end(flow);
		return;
	}
	/* a pair of sockets (conn/beyond) does not know where it leads */
	if (peer.family != AF_INET && peer.family != AF_INET6)
		peer = flow->to;
	flow->io = (struct loop_io){result, on_answer};
	flow->header_len = socks_wire_write_datagram(&peer, flow->header);
	for (size_t i = 0; i < flow->nheld; i++) {
		if (send(result, flow->held[i]->bytes, flow->held[i]->len, MSG_NOSIGNAL) < 0)
			log_debug("a datagram of a SOCKS client was lost: %s", strerror(errno));
		free(flow->held[i]);
	}
	flow->nheld = 0;
	if (loop_io_add(flow->udp->context->loop, &flow->io, EPOLLIN) < 0)
		flow_end(flow);
}

static void on_dialled(struct dial *dial, int result)
{
	on_opened(container_of(dial, struct flow, dial), result);
}

static void on_found(struct guide_trip *trip, int result, const struct dial_target *target)
{
	struct flow *flow = container_of(trip, struct flow, trip);

	if (result == 0) {
		struct dial_target udp = *target;

		udp.proto = PROTO_UDP;
		flow->to = target->addr;
		result = dial_start(&flow->dial, flow->udp->context, &udp);
	}
	if (result != -EINPROGRESS)
		on_opened(flow, result);
}

static void hold(struct flow *flow, const void *bytes, size_t len)
{
	struct held *held = flow->nheld < SOCKS_UDP_HELD_MAX ? malloc(sizeof(*held) + len) : NULL;

	if (!held)
		return;
	held->len = len;
	memcpy(held->bytes, bytes, len);
	flow->held[flow->nheld++] = held;
}

static struct flow *find(struct socks_udp *udp, const struct socks_request *to)
{
	list_each (at, &udp->flows) {
		struct flow *flow = container_of(at, struct flow, link);

		if (flow->port == to->port && strcasecmp(flow->host, to->host) == 0)
			return flow;
	}
	return NULL;
}

static struct flow *oldest_of(struct socks_udp *udp)
{
	return list_first(&udp->flows, struct flow, link);
}

static bool yield(struct shares_part *part, unsigned source)
{
	struct socks_udp *udp = container_of(part, struct socks_udp, part);

	if (udp->guest->source != source || udp->nflows == 0)
		return false;
	flow_end(oldest_of(udp));
	return true;
}

/* A flow for the first datagram; it may be over already. */
static void begin(
	struct socks_udp *udp, const struct socks_request *to, const void *bytes, size_t len)
{
	struct budget *budget = udp->context->budget;

	if (udp->nflows == SOCKS_UDP_FLOWS_MAX)
		flow_end(oldest_of(udp));
	struct flow *flow = budget_has_room_for_flow(budget) ||
					    udp_flows_take_from_others(budget, &udp->guest->peer, 1)
				    ? calloc(1, sizeof(*flow))
				    : NULL;
	if (!flow)
		return;
	flow->udp = udp;
	flow->io.fd = -1;
	flow->port = to->port;
	strcpy(flow->host, to->host);
	flow->trip.on_found = on_found;
	flow->dial.on_done = on_dialled;
	list_add_last(&udp->flows, &flow->link);
	udp->nflows++;
	budget_take(budget, 1);
	shares_take(&budget->shares, SHARES_FLOWS, udp->guest->source);
	flow_use(flow);
	hold(flow, bytes, len);
	if (!loop_timer_is_armed(&udp->sweep))
		loop_timer_set(udp->context->loop, &udp->sweep, SOCKS_UDP_IDLE_MS / 4);
	int result = guide_find(udp->guide, &flow->trip, to->host, to->port);
	if (result < 0 && result != -EINPROGRESS)
		flow_end(flow);
}

static void forward(struct socks_udp *udp, const char *bytes, size_t len)
{
	struct socks_request to;
	ssize_t header = socks_wire_read_datagram(bytes, len, &to);

	if (header < 0)
		return;
	bytes += header;
	len -= (size_t)header;
	struct flow *flow = find(udp, &to);
	if (!flow) {
		begin(udp, &to, bytes, len);
		return;
	}
	flow_use(flow);
	if (flow->io.fd < 0)
		hold(flow, bytes, len);
	else if (send(flow->io.fd, bytes, len, MSG_NOSIGNAL) < 0 && errno == ECONNREFUSED &&
		 /* that was about another one; a second try does not hurt */
		 send(flow->io.fd, bytes, len, MSG_NOSIGNAL) < 0 && errno == ENOTCONN)
		/* a pair whose other end has gone: the next one opens another */
		flow_end(flow);
}

/* --- the client --------------------------------------------------------------------------- */

/* The first datagram fixes the port. */
static bool is_client(struct socks_udp *udp, const struct addr *from)
{
	const struct access access = {.only_user = udp->only_user};
	char whom[ACCESS_WHOM_BYTES];

	if (!addr_is_same_ip(from, &udp->client))
		return false;
	if (addr_port(&udp->client) != 0)
		return addr_port(from) == addr_port(&udp->client);
	if (!access_is_user(&access, PROTO_UDP, udp->io.fd, from, whom, sizeof(whom)))
		return false;
	addr_set_port(&udp->client, addr_port(from));
	return true;
}

static void on_client(struct loop_io *io, uint32_t events)
{
	struct socks_udp *udp = container_of(io, struct socks_udp, io);
	char bytes[DATAGRAM_MAX];

	(void)events;
	for (int i = 0; i < BURST; i++) {
		struct addr from = {0};
		socklen_t from_len = sizeof(from);
		ssize_t len = recvfrom(io->fd, bytes, sizeof(bytes), 0, &from.any, &from_len);

		if (len < 0)
			return;
		if (is_client(udp, &from))
			forward(udp, bytes, (size_t)len);
	}
}

struct socks_udp *socks_udp_new(struct front_guest *guest, uint16_t port, struct addr *at)
{
	const struct conn_context *context = front_context(guest->front);
	struct socks_udp *udp = calloc(1, sizeof(*udp));
	struct addr own;
	int result = udp ? addr_get_own(guest->io.fd, &own) : -ENOMEM;
	_cleanup_fd_ int socket_fd = -1;

	if (result == 0) {
		addr_set_port(&own, 0);
		socket_fd = socket(own.family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (socket_fd < 0 || bind(socket_fd, &own.any, addr_len(&own)) < 0)
			result = -errno;
	}
	if (result == 0)
		result = addr_get_own(socket_fd, at);
	if (result == 0) {
		udp->io = (struct loop_io){socket_fd, on_client};
		result = loop_io_add(context->loop, &udp->io, EPOLLIN);
	}
	if (result < 0) {
		free(udp);
		errno = -result;
		return NULL;
	}
	fd_take(&socket_fd);
	udp->guest = guest;
	udp->context = context;
	udp->guide = front_guide(guest->front);
	udp->only_user = front_access(guest->front)->only_user;
	udp->client = guest->peer;
	addr_set_port(&udp->client, port);
	udp->sweep.on_expired = on_sweep;
	list_init(&udp->flows);
	udp->part = (struct shares_part){.kind = SHARES_FLOWS, .yield = yield};
	shares_join(&context->budget->shares, &udp->part);
	return udp;
}

void socks_udp_free(struct socks_udp *udp)
{
	if (!udp)
		return;
	while (!list_is_empty(&udp->flows))
		flow_end(oldest_of(udp));
	shares_leave(&udp->context->budget->shares, &udp->part);
	loop_timer_cancel(udp->context->loop, &udp->sweep);
	loop_io_del(udp->context->loop, &udp->io);
	fd_close(&udp->io.fd);
	free(udp);
}
