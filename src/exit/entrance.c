/* SPDX-License-Identifier: Apache-2.0 */
/* exit/entrance - the packets of a network device, through a link to an exit elsewhere */
#include "exit/entrance.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "exit/handshakes.h"
#include "net/diag.h"
#include "net/icmp6.h"
#include "net/packet.h"
#include "net/tap.h"
#include "util/list.h"
#include "util/log.h"
#include "util/mix.h"

#define IPV6_BYTES     40
#define TCP_HEADER     (PACKET_TCP_BYTES / 4 << 4) /* its length, as it stands there */
#define PROBES_AT_ONCE 100                         /* the device's queue has room for 500 */
#define QUEUE_BATCHES  10                          /* more than those 500 are */

struct entrance {
	struct entrance_start start;
	struct loop_io tun_io;
	bool is_resting;
	struct channel channel;
	struct handshakes handshakes; /* of a bare link */
	struct in_addr self;
	struct in6_addr self6;
	uint64_t seed;
	struct awaited awaited;
	size_t probed; /* connections whose answer was not looked at yet */
	struct iovec packets[WIRE_PARTS_MAX];
	unsigned char batch[ENTRANCE_BATCH_BYTES + CHANNEL_HEADROOM + FRAME_PACKET_MAX];
};

/* --- networks ----------------------------------------------------------------------------- */

struct entrance_net entrance_net4(struct in_addr ip, int prefix_len)
{
	struct entrance_net net = {.prefix_len = 96 + prefix_len};

	memset(&net.ip.s6_addr[10], 0xff, 2);
	memcpy(&net.ip.s6_addr[12], &ip, sizeof(ip));
	return net;
}

struct entrance_net entrance_net6(const struct in6_addr *ip, int prefix_len)
{
	return (struct entrance_net){*ip, prefix_len};
}

bool entrance_net_is_four(const struct entrance_net *net)
{
	return net->prefix_len >= 96 && IN6_IS_ADDR_V4MAPPED(&net->ip);
}

bool entrance_net_has(const struct entrance_net *net, const struct in6_addr *ip)
{
	const int whole = net->prefix_len / 8, rest = net->prefix_len % 8;

	return entrance_net_is_four(net) == (bool)IN6_IS_ADDR_V4MAPPED(ip) &&
	       memcmp(&net->ip, ip, (size_t)whole) == 0 &&
	       (rest == 0 || (net->ip.s6_addr[whole] ^ ip->s6_addr[whole]) >> (8 - rest) == 0);
}

static bool is_in(const struct entrance_net *nets, size_t count, const struct in6_addr *ip)
{
	for (size_t i = 0; i < count; i++)
		if (entrance_net_has(&nets[i], ip))
			return true;
	return false;
}

/* May an answer be from there? */
static bool is_there(const struct entrance *entrance, const struct in6_addr *ip)
{
	const struct entrance_start *start = &entrance->start;

	return !is_in(start->own, start->nown, ip) &&
	       (start->nnets == 0 || is_in(start->nets, start->nnets, ip));
}

/* --- what a packet is --------------------------------------------------------------------- */

/* Of either family. An IPv6 address is known by a hash that nobody can foresee. */
struct flow {
	struct packet_end src, dst;
	struct in6_addr from;
	bool is_own_src, is_own_dst; /* the device's address */
	uint8_t proto;               /* IPPROTO_; of ICMPv6, too */
	const unsigned char *l4;
	size_t l4_len;
	uint8_t tcp_flags;
};

static struct in_addr hash_of(const struct entrance *entrance, const struct in6_addr *ip)
{
	uint64_t words[2];

	memcpy(words, ip, sizeof(words));
	return (struct in_addr){
		(uint32_t)(mix_bits(mix_bits(words[0] ^ entrance->seed) ^ words[1]) >> 32)};
}

static bool look6(
	const struct entrance *entrance, const unsigned char *packet, size_t len, struct flow *out)
{
	struct in6_addr to;

	if (len < IPV6_BYTES || packet_get16(packet + 4) != len - IPV6_BYTES)
		return false;
	memcpy(&out->from, packet + 8, sizeof(out->from));
	memcpy(&to, packet + 24, sizeof(to));
	out->is_own_src = IN6_ARE_ADDR_EQUAL(&out->from, &entrance->self6);
	out->is_own_dst = IN6_ARE_ADDR_EQUAL(&to, &entrance->self6);
	out->src.ip = hash_of(entrance, &out->from);
	out->dst.ip = hash_of(entrance, &to);
	out->proto = packet[6];
	out->l4 = packet + IPV6_BYTES;
	out->l4_len = len - IPV6_BYTES;
	if (out->proto == IPPROTO_TCP && out->l4_len >= PACKET_TCP_BYTES)
		out->tcp_flags = out->l4[13];
	else if (out->proto == IPPROTO_TCP || out->l4_len < PACKET_UDP_BYTES)
		return false;
	if (out->proto == IPPROTO_TCP || out->proto == IPPROTO_UDP) {
		out->src.port = packet_get16(out->l4);
		out->dst.port = packet_get16(out->l4 + 2);
	}
	return true;
}

static bool look(
	const struct entrance *entrance, unsigned char *packet, size_t len, struct flow *out)
{
	struct packet_view view;

	if (len > 0 && packet[0] >> 4 == 6)
		return look6(entrance, packet, len, out);
	if (!packet_parse(packet, len, &view) || view.is_fragment)
		return false;
	*out = (struct flow){.src = view.src,
		.dst = view.dst,
		.from = entrance_net4(view.src.ip, 32).ip,
		.is_own_src = packet_is_same_ip(view.src.ip, entrance->self),
		.is_own_dst = packet_is_same_ip(view.dst.ip, entrance->self),
		.proto = view.proto,
		.l4 = view.l4,
		.l4_len = view.l4_len,
		.tcp_flags = view.tcp_flags};
	return true;
}

/* --- from the link ------------------------------------------------------------------------ */

static bool is_icmp_answer(const struct flow *flow)
{
	if (flow->l4_len < PACKET_ICMP_BYTES)
		return false;
	const uint8_t type = flow->l4[0];
	if (flow->proto == IPPROTO_ICMPV6)
		return type == ICMP6_ECHO_REPLY || type == ICMP6_DST_UNREACH ||
		       type == ICMP6_PACKET_TOO_BIG || type == ICMP6_TIME_EXCEEDED;
	return type == ICMP_ECHOREPLY || type == ICMP_DEST_UNREACH || type == ICMP_TIME_EXCEEDED;
}

static bool is_let_in(const struct entrance *entrance, const struct flow *flow)
{
	if (!flow->is_own_dst || flow->is_own_src || !is_there(entrance, &flow->from))
		return false;
	switch (flow->proto) {
	case IPPROTO_TCP:
		return (flow->tcp_flags & (PACKET_SYN | PACKET_ACK)) != PACKET_SYN;
	case IPPROTO_UDP:
		return awaited_has(&entrance->awaited, &flow->dst, &flow->src,
			loop_now_ns(entrance->start.loop));
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return is_icmp_answer(flow);
	default:
		return false;
	}
}

static void on_packet(void *owner, unsigned char *packet, size_t len)
{
	struct entrance *entrance = owner;
	struct packet_view view;
	struct flow flow = {0};

	if (!look(entrance, packet, len, &flow) || !is_let_in(entrance, &flow))
		return;
	if (entrance->channel.is_bare && packet_parse(packet, len, &view))
		handshakes_in(&entrance->handshakes, &view);
	int result = tap_write(entrance->start.tun, packet, len, 0);
	/* what it does not take is lost, as on any network */
	if (result < 0)
		log_debug("a packet was lost: %s", strerror(-result));
}

/* --- to the link -------------------------------------------------------------------------- */

static void rest(struct entrance *entrance, bool is_resting)
{
	if (entrance->is_resting == is_resting)
		return;
	entrance->is_resting = is_resting;
	loop_io_mod(entrance->start.loop, &entrance->tun_io, is_resting ? 0 : EPOLLIN);
}

/* The exit has none: who tries it hears so at once, and takes IPv4. */
static void refuse6(const struct entrance *entrance, const unsigned char *packet, size_t len)
{
	unsigned char frame[TAP_ETHER_BYTES + FRAME_PACKET_MAX] = {0};
	unsigned char answer[ICMP6_FRAME_BYTES];
	struct in6_addr to;

	memcpy(frame + TAP_ETHER_BYTES, packet, len);
	memcpy(&to, packet + 24, sizeof(to));
	size_t size = icmp6_make_unreachable(
		&to, ICMP6_DST_UNREACH_ADMIN, frame, TAP_ETHER_BYTES + len, answer);
	tap_write(entrance->start.tun, answer + TAP_ETHER_BYTES, size - TAP_ETHER_BYTES, 0);
}

/* May the packet go to the link? */
static bool goes_out(struct entrance *entrance, unsigned char *packet, size_t len)
{
	const bool is_six = packet[0] >> 4 == 6;
	struct packet_view view;
	struct flow flow = {0};

	if (!look(entrance, packet, len, &flow) || !flow.is_own_src)
		return false;
	/* no connection begins there; so none does by what connections of before are asked */
	if (flow.proto == IPPROTO_TCP &&
		(flow.tcp_flags & (PACKET_SYN | PACKET_ACK)) == (PACKET_SYN | PACKET_ACK))
		return false;
	if (is_six && !(entrance->channel.peer.features & HELLO_IPV6)) {
		if (flow.proto == IPPROTO_TCP || flow.proto == IPPROTO_UDP)
			refuse6(entrance, packet, len);
		return false;
	}
	if (flow.proto == IPPROTO_UDP)
		awaited_note(&entrance->awaited, &flow.src, &flow.dst,
			loop_now_ns(entrance->start.loop));
	return !entrance->channel.is_bare || !packet_parse(packet, len, &view) ||
	       handshakes_out(&entrance->handshakes, &view);
}

static void send_held(void *owner, unsigned char *packet, size_t len)
{
	struct iovec part = {packet, len};

	channel_send(&((struct entrance *)owner)->channel, &part, 1);
}

/* A batch of what the device has. False: there was not more than that. */
static bool take_out(struct entrance *entrance)
{
	struct loop_io *io = &entrance->tun_io;
	size_t used = 0, count = 0;
	bool is_empty = false;

	/* what is dropped counts, too: a guest that sends nothing else must not hold us here */
	for (size_t reads = 0; used < ENTRANCE_BATCH_BYTES && reads < WIRE_PARTS_MAX; reads++) {
		unsigned char *packet = entrance->batch + used + CHANNEL_HEADROOM;
		ssize_t got = tap_read(io->fd, packet, FRAME_PACKET_MAX);

		if (got == -EBADFD) {
			loop_io_del(entrance->start.loop, io);
			entrance->start.ops->on_gone(entrance->start.owner);
			return false;
		}
		is_empty = got < 0;
		if (is_empty)
			break;
		if (got == 0 || !goes_out(entrance, packet, (size_t)got))
			continue;
		entrance->packets[count++] = (struct iovec){packet, (size_t)got};
		used += CHANNEL_HEADROOM + (size_t)got;
	}
	if (count > 0)
		channel_send(&entrance->channel, entrance->packets, count);
	if (entrance->channel.is_bare)
		handshakes_next(&entrance->handshakes);
	if (!channel_wants(&entrance->channel))
		rest(entrance, true);
	return !is_empty;
}

static void on_tun(struct loop_io *io, uint32_t events)
{
	(void)events;
	take_out(container_of(io, struct entrance, tun_io));
}

/* --- connections of before ---------------------------------------------------------------- */

/* As packet_make_syn; the device is told that sums need no check. */
static size_t make_syn6(const struct addr *from, const struct addr *to, unsigned char *out)
{
	memset(out, 0, IPV6_BYTES + PACKET_TCP_BYTES);
	out[0] = 0x60;
	packet_put16(out + 4, PACKET_TCP_BYTES);
	out[6] = IPPROTO_TCP;
	out[7] = IPDEFTTL;
	memcpy(out + 8, &from->v6.sin6_addr, sizeof(from->v6.sin6_addr));
	memcpy(out + 24, &to->v6.sin6_addr, sizeof(to->v6.sin6_addr));
	packet_put16(out + IPV6_BYTES, addr_port(from));
	packet_put16(out + IPV6_BYTES + 2, addr_port(to));
	out[IPV6_BYTES + 12] = TCP_HEADER;
	out[IPV6_BYTES + 13] = PACKET_SYN;
	return IPV6_BYTES + PACKET_TCP_BYTES;
}

static size_t make_syn(const struct addr *from, const struct addr *to, unsigned char *out)
{
	if (from->family == AF_INET6)
		return make_syn6(from, to, out);
	packet_make_syn((struct packet_end){from->v4.sin_addr, addr_port(from)},
		(struct packet_end){to->v4.sin_addr, addr_port(to)}, out);
	return PACKET_RST_BYTES;
}

static struct in6_addr ip_of(const struct addr *addr)
{
	return addr->family == AF_INET6 ? addr->v6.sin6_addr
					: entrance_net4(addr->v4.sin_addr, 32).ip;
}

static bool is_own(const struct entrance *entrance, const struct in6_addr *ip)
{
	const struct in6_addr self = entrance_net4(entrance->self, 32).ip;

	return IN6_ARE_ADDR_EQUAL(ip, &self) || IN6_ARE_ADDR_EQUAL(ip, &entrance->self6);
}

/* What waits in the device's queue goes, so that there is room for answers: at most all of it. */
static void make_room(struct entrance *entrance)
{
	for (unsigned i = 0; i < QUEUE_BATCHES && take_out(entrance); i++)
		;
}

static int probe(void *owner, const struct addr *own, const struct addr *peer)
{
	struct entrance *entrance = owner;
	const struct in6_addr from = ip_of(peer), to = ip_of(own);
	unsigned char syn[IPV6_BYTES + PACKET_TCP_BYTES];

	if (!is_own(entrance, &to) || is_own(entrance, &from) || !is_there(entrance, &from))
		return 0;
	tap_write(entrance->start.tun, syn, make_syn(peer, own, syn), 0);
	if (++entrance->probed % PROBES_AT_ONCE == 0)
		make_room(entrance);
	return 0;
}

/* --- the link ----------------------------------------------------------------------------- */

static void on_up(void *owner)
{
	struct entrance *entrance = owner;

	rest(entrance, !channel_wants(&entrance->channel));
	if (entrance->channel.is_bare)
		handshakes_begin(&entrance->handshakes);
	entrance->start.ops->on_up(entrance->start.owner);
	if (entrance->start.diag < 0)
		return;
	entrance->probed = 0;
	make_room(entrance);
	if (diag_each_connection(entrance->start.diag, probe, entrance) < 0)
		log_info("connections of before are told of their end when they send");
}

static void on_room(void *owner)
{
	struct entrance *entrance = owner;

	rest(entrance, !channel_wants(&entrance->channel));
}

static void on_end(void *owner, const char *why)
{
	struct entrance *entrance = owner;

	rest(entrance, true);
	entrance->start.ops->on_down(entrance->start.owner, why);
}

static void on_noise(void *owner, const char *bytes, size_t len)
{
	struct entrance *entrance = owner;

	entrance->start.ops->on_noise(entrance->start.owner, bytes, len);
}

static const struct channel_ops channel_ops = {.on_packet = on_packet,
	.on_up = on_up,
	.on_room = on_room,
	.on_end = on_end,
	.on_noise = on_noise};

int entrance_open(struct entrance *entrance, int in_fd, int out_fd)
{
	return channel_open(&entrance->channel, in_fd, out_fd);
}

void entrance_close(struct entrance *entrance)
{
	channel_close(&entrance->channel);
	rest(entrance, true);
}

const struct channel *entrance_channel(const struct entrance *entrance)
{
	return &entrance->channel;
}

struct entrance *entrance_new(const struct entrance_start *start)
{
	struct entrance *entrance = calloc(1, sizeof(*entrance));

	if (!entrance)
		return NULL;
	entrance->start = *start;
	entrance->tun_io = (struct loop_io){start->tun, on_tun};
	entrance->is_resting = true;
	entrance->handshakes =
		(struct handshakes){.loop = start->loop, .send = send_held, .owner = entrance};
	entrance->self.s_addr = htonl(ENTRANCE_ADDRESS);
	inet_pton(AF_INET6, ENTRANCE_ADDRESS6, &entrance->self6);
	if (getrandom(&entrance->seed, sizeof(entrance->seed), GRND_NONBLOCK) < 0)
		entrance->seed = loop_now_ns(start->loop);
	entrance->channel = (struct channel){.loop = start->loop,
		.hub = wire_hub_new(start->loop),
		.ops = &channel_ops,
		.owner = entrance,
		.self = {.kind = HELLO_ENTRANCE, .features = HELLO_ACKNOWLEDGE}};
	if (entrance->channel.hub && loop_io_add(start->loop, &entrance->tun_io, 0) == 0)
		return entrance;
	wire_hub_free(entrance->channel.hub);
	free(entrance);
	errno = ENOMEM;
	return NULL;
}

void entrance_free(struct entrance *entrance)
{
	if (!entrance)
		return;
	channel_close(&entrance->channel);
	handshakes_fini(&entrance->handshakes);
	loop_io_del(entrance->start.loop, &entrance->tun_io);
	wire_hub_free(entrance->channel.hub);
	free(entrance);
}
