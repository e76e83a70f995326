/* SPDX-License-Identifier: Apache-2.0 */
/* exit/exit_flows - datagrams and pings of peers, sent from this host, and what comes back */
#include "exit/exit_flows.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "conn/udp_flows.h"
#include "util/addr.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

#define BATCH_BYTES (128 * 1024) /* more is not received at once; one datagram may go beyond */
#define BATCH_MAX   64
#define ERRORS_MAX  16 /* that are read at once */
#define LINE_NS     (60 * NS_PER_S)
#define ECHO_ID_AT  4 /* in ICMP, RFC 792 */
#define ECHO_SEQ_AT 6
#define LARGEST     (EXIT_HEADROOM + 65535)

struct exit_flows {
	const struct conn_context *context;
	const struct exit_ops *ops;
	void *owner;
	struct udp_flows *table;
	struct loop_timer timer;
	uint64_t told_ns; /* that pings are not allowed */
	struct iovec packets[BATCH_MAX];
	unsigned char batch[BATCH_BYTES + LARGEST];
};

/* --- flows -------------------------------------------------------------------------------- */

/* The port of both ends is in it, a ping's number in that of the peer. */
static struct udp_key key_of(const struct packet_view *packet)
{
	struct udp_key key = {0};
	struct sockaddr_in peer = {.sin_family = AF_INET, .sin_addr = packet->src.ip};

	peer.sin_port = htons(packet->proto == IPPROTO_UDP ? packet->src.port
							   : packet_get16(packet->l4 + ECHO_ID_AT));
	memcpy(&key.peer, &peer, sizeof(peer));
	memcpy(&key.local, &packet->dst.ip, sizeof(packet->dst.ip));
	key.ifindex = (uint32_t)packet->proto << 16 | packet->dst.port;
	return key;
}

static uint8_t proto_of(const struct udp_flow *flow)
{
	return (uint8_t)(flow->key.ifindex >> 16);
}

static struct packet_end peer_of(const struct udp_flow *flow)
{
	struct sockaddr_in peer;

	memcpy(&peer, &flow->key.peer, sizeof(peer));
	return (struct packet_end){peer.sin_addr, ntohs(peer.sin_port)};
}

static struct packet_end own_of(const struct udp_flow *flow)
{
	struct packet_end own = {.port = (uint16_t)flow->key.ifindex};

	memcpy(&own.ip, &flow->key.local, sizeof(own.ip));
	return own;
}

static void on_forget(struct udp_flow *flow)
{
	struct exit_flows *flows = flow->owner;

	if (flow->io.fd < 0)
		return;
	loop_io_del(flows->context->loop, &flow->io);
	fd_close(&flow->io.fd);
	udp_flows_give_target(flows->table, flow);
}

static void sweep(struct exit_flows *flows)
{
	struct loop *loop = flows->context->loop;
	const uint64_t now_ns = loop_now_ns(loop);
	const uint64_t next_ns = udp_flows_sweep(flows->table, now_ns);

	if (next_ns != UINT64_MAX)
		loop_timer_set(loop, &flows->timer, clock_ms_until(next_ns, now_ns));
}

static void on_timer(struct loop_timer *timer)
{
	sweep(container_of(timer, struct exit_flows, timer));
}

/* --- errors ------------------------------------------------------------------------------- */

/* To the peer, about the last that it has sent, of which the ends are enough. */
static void tell_unreachable(const struct udp_flow *flow, uint8_t code)
{
	const struct exit_flows *flows = flow->owner;
	const struct packet_end peer = peer_of(flow), own = own_of(flow);
	unsigned char packet[PACKET_DATAGRAM_BYTES] = {0};
	unsigned char *icmp = packet + PACKET_IPV4_BYTES;
	struct packet_view view;
	size_t len;

	if (proto_of(flow) == IPPROTO_UDP) {
		len = packet_make_udp(packet, peer, own, 0);
	} else {
		icmp[0] = ICMP_ECHO;
		packet_put16(icmp + ECHO_ID_AT, peer.port);
		packet_put16(icmp + ECHO_SEQ_AT, (uint16_t)flow->where);
		len = packet_make_icmp(packet, peer.ip, own.ip, PACKET_ICMP_BYTES);
	}
	if (packet_parse(packet, len, &view))
		flows->ops->refuse(flows->owner, &view, code);
}

/* As ICMP has it. */
static uint8_t code_of(const struct sock_extended_err *error)
{
	if (error->ee_origin == SO_EE_ORIGIN_ICMP && error->ee_type == ICMP_DEST_UNREACH)
		return error->ee_code;
	if (error->ee_origin == SO_EE_ORIGIN_ICMP6 && error->ee_type == ICMP6_DST_UNREACH)
		return error->ee_code == ICMP6_DST_UNREACH_NOPORT  ? ICMP_PORT_UNREACH
		       : error->ee_code == ICMP6_DST_UNREACH_ADMIN ? ICMP_PKT_FILTERED
								   : ICMP_HOST_UNREACH;
	return ICMP_HOST_UNREACH;
}

/* Every error that came in ICMP. */
static void read_errors(const struct udp_flow *flow)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(
			sizeof(struct sock_extended_err) + sizeof(struct sockaddr_in6))];
	} control;
	struct sock_extended_err error;

	for (int i = 0; i < ERRORS_MAX; i++) {
		struct msghdr message = {
			.msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};

		if (recvmsg(flow->io.fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
			return;
		const struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);
		if (!cmsg || ((cmsg->cmsg_level != IPPROTO_IP || cmsg->cmsg_type != IP_RECVERR) &&
				     (cmsg->cmsg_level != IPPROTO_IPV6 ||
					     cmsg->cmsg_type != IPV6_RECVERR)))
			continue;
		memcpy(&error, CMSG_DATA(cmsg), sizeof(error));
		/* what is too large was not sent, or its sender will find out by silence */
		if (error.ee_errno == EMSGSIZE)
			continue;
		tell_unreachable(flow, code_of(&error));
	}
}

/* --- from this host ----------------------------------------------------------------------- */

/* The next one into the batch at @at. Returns the packet's size, 0 for what is none, or -errno. */
static ssize_t receive(const struct udp_flow *flow, unsigned char *at)
{
	const struct packet_end peer = peer_of(flow), own = own_of(flow);
	const size_t head =
		proto_of(flow) == IPPROTO_UDP ? PACKET_DATAGRAM_BYTES : PACKET_IPV4_BYTES;
	ssize_t got = recv(flow->io.fd, at + head, 65535 - head, 0);

	if (got < 0)
		return -errno;
	if (proto_of(flow) == IPPROTO_UDP)
		return (ssize_t)packet_make_udp(at, own, peer, (size_t)got);
	if (got < PACKET_ICMP_BYTES || (at[head] != ICMP_ECHOREPLY && at[head] != ICMP6_ECHO_REPLY))
		return 0;
	at[head] = ICMP_ECHOREPLY;
	packet_put16(at + head + ECHO_ID_AT, peer.port);
	return (ssize_t)packet_make_icmp(at, own.ip, peer.ip, (size_t)got);
}

static void on_ready(struct loop_io *io, uint32_t events)
{
	struct udp_flow *flow = container_of(io, struct udp_flow, io);
	struct exit_flows *flows = flow->owner;
	size_t used = 0, count = 0;

	if (events & EPOLLERR)
		read_errors(flow);
	for (int reads = 0; reads < BATCH_MAX && used < BATCH_BYTES; reads++) {
		ssize_t size = receive(flow, flows->batch + used + EXIT_HEADROOM);

		if (size == -EAGAIN)
			break;
		if (size <= 0)
			continue;
		flows->packets[count++] =
			(struct iovec){flows->batch + used + EXIT_HEADROOM, (size_t)size};
		used += EXIT_HEADROOM + (size_t)size;
	}
	if (count == 0)
		return;
	udp_flows_use(flows->table, flow, false, count, loop_now_ns(flows->context->loop));
	flows->ops->send(flows->owner, flows->packets, count);
}

/* --- to the outside ----------------------------------------------------------------------- */

static void say_no_pings(struct exit_flows *flows)
{
	const uint64_t now_ns = loop_now_ns(flows->context->loop);

	if (flows->told_ns != 0 && now_ns - flows->told_ns < LINE_NS)
		return;
	flows->told_ns = now_ns;
	log_warning("this host does not let this user send pings for others: expected its group in "
		    "net.ipv4.ping_group_range");
}

/* Returns a socket or -errno. */
static int open_socket(const struct packet_view *packet, const struct addr *to)
{
	const bool is_six = to->family == AF_INET6;
	const int proto = packet->proto == IPPROTO_UDP ? 0
			  : is_six                     ? (int)IPPROTO_ICMPV6
						       : (int)IPPROTO_ICMP;
	_cleanup_fd_ int fd = socket(to->family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, proto);
	int on = 1;

	if (fd < 0 ||
		setsockopt(fd, is_six ? IPPROTO_IPV6 : IPPROTO_IP,
			is_six ? IPV6_RECVERR : IP_RECVERR, &on, sizeof(on)) < 0 ||
		connect(fd, &to->any, addr_len(to)) < 0)
		return -errno;
	return fd_take(&fd);
}

/* Returns a new flow, or NULL: the peer was told, or it is to try again. */
static struct udp_flow *add(struct exit_flows *flows, const struct udp_key *key,
	const struct packet_view *packet, const struct addr *to)
{
	struct loop *loop = flows->context->loop;

	_cleanup_fd_ int fd = open_socket(packet, to);
	if (fd == -EACCES && packet->proto == IPPROTO_ICMP) {
		say_no_pings(flows);
		flows->ops->refuse(flows->owner, packet, ICMP_PKT_FILTERED);
	} else if (fd == -ENETUNREACH || fd == -EHOSTUNREACH || fd == -EACCES ||
		   fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL) {
		flows->ops->refuse(flows->owner, packet, ICMP_HOST_UNREACH);
	}
	struct udp_flow *flow = fd < 0 ? NULL : udp_flows_add(flows->table, key, loop_now_ns(loop));
	if (!flow)
		return NULL;
	flow->owner = flows;
	if (!udp_flows_take_target(flows->table, flow)) {
		udp_flows_forget(flows->table, flow);
		return NULL;
	}
	flow->io = (struct loop_io){fd, on_ready};
	if (loop_io_add(loop, &flow->io, EPOLLIN) < 0) {
		flow->io.fd = -1;
		udp_flows_give_target(flows->table, flow);
		udp_flows_forget(flows->table, flow);
		return NULL;
	}
	fd_take(&fd);
	if (!loop_timer_is_armed(&flows->timer))
		sweep(flows);
	return flow;
}

void exit_flows_take(
	struct exit_flows *flows, const struct packet_view *packet, const struct addr *to)
{
	const bool is_udp = packet->proto == IPPROTO_UDP;
	const struct udp_key key = key_of(packet);
	struct udp_flow *flow = udp_flows_find(flows->table, &key);
	const size_t head = is_udp ? PACKET_UDP_BYTES : 0;
	const size_t len = is_udp ? packet_get16(packet->l4 + 4) : packet->l4_len;

	if (!flow)
		flow = add(flows, &key, packet, to);
	if (!flow)
		return;
	udp_flows_use(flows->table, flow, true, 1, loop_now_ns(flows->context->loop));
	if (!is_udp) {
		flow->where = packet_get16(packet->l4 + ECHO_SEQ_AT);
		packet->l4[0] = to->family == AF_INET6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO;
	}
	/* what is known of the last one comes instead once; it is told by on_ready */
	for (int tries = 0; tries < 2; tries++)
		if (send(flow->io.fd, packet->l4 + head, len - head, 0) >= 0 || errno == EAGAIN ||
			errno == EMSGSIZE)
			return;
	packet->l4[0] = is_udp ? packet->l4[0] : ICMP_ECHO;
	if (errno == ENETUNREACH || errno == EHOSTUNREACH || errno == EPERM)
		flows->ops->refuse(flows->owner, packet, ICMP_HOST_UNREACH);
}

/* --- start and end ------------------------------------------------------------------------ */

struct exit_flows *exit_flows_new(
	const struct conn_context *context, const struct exit_ops *ops, void *owner)
{
	struct exit_flows *flows = calloc(1, sizeof(*flows));

	if (!flows)
		return NULL;
	flows->context = context;
	flows->ops = ops;
	flows->owner = owner;
	flows->timer.on_expired = on_timer;
	flows->table = udp_flows_new(context->budget, on_forget, flows);
	if (flows->table)
		return flows;
	free(flows);
	return NULL;
}

void exit_flows_free(struct exit_flows *flows)
{
	if (!flows)
		return;
	udp_flows_free(flows->table);
	loop_timer_cancel(flows->context->loop, &flows->timer);
	free(flows);
}
