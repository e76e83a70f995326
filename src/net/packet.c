/* SPDX-License-Identifier: Apache-2.0 */
/* net/packet - IPv4 packets: checked, looked into, answered */
#include "net/packet.h"

#include <stdlib.h>
#include <string.h>

#define TTL            64
#define DONT_FRAGMENT  0x4000
#define FRAGMENT_BITS  0x3fff /* more fragments, and the offset */
#define IPV6_SRC_AT    8
#define QUOTE_L4_BYTES 8 /* every error quotes as much (RFC 792) */

bool packet_addresses(const void *packet, size_t len, struct in_addr *src, struct in_addr *dst)
{
	const unsigned char *ip = packet;

	if (len < PACKET_IPV4_BYTES || ip[0] >> 4 != 4 || packet_get16(ip + 2) != len)
		return false;
	memcpy(src, ip + 12, sizeof(*src));
	memcpy(dst, ip + 16, sizeof(*dst));
	return true;
}

static size_t tcp_header_len(const unsigned char *tcp)
{
	return (size_t)(tcp[12] >> 4) * 4;
}

/* TCP or UDP */
static void parse_ports(struct packet_view *view)
{
	view->src.port = packet_get16(view->l4);
	view->dst.port = packet_get16(view->l4 + 2);
}

static bool parse_tcp(struct packet_view *view)
{
	if (view->l4_len < PACKET_TCP_BYTES)
		return false;
	size_t header_len = tcp_header_len(view->l4);
	if (header_len < PACKET_TCP_BYTES || header_len > view->l4_len)
		return false;
	parse_ports(view);
	view->tcp_flags = view->l4[13];
	return true;
}

static bool parse_udp(struct packet_view *view)
{
	if (view->l4_len < PACKET_UDP_BYTES)
		return false;
	size_t udp_len = packet_get16(view->l4 + 4);
	if (udp_len < PACKET_UDP_BYTES || udp_len > view->l4_len)
		return false;
	parse_ports(view);
	return true;
}

/* The header of an IPv4 packet of which there are @len bytes, 20 at least. False: it has more. */
static bool parse_header(unsigned char *ip, size_t len, struct packet_view *out)
{
	const size_t header_len = (size_t)(ip[0] & 0xf) * 4;

	if (header_len < PACKET_IPV4_BYTES || header_len > len)
		return false;
	*out = (struct packet_view){
		.ip = ip,
		.len = len,
		.proto = ip[9],
		.is_fragment = (packet_get16(ip + 6) & FRAGMENT_BITS) != 0,
		.l4 = ip + header_len,
		.l4_len = len - header_len,
	};
	memcpy(&out->src.ip, ip + 12, sizeof(out->src.ip));
	memcpy(&out->dst.ip, ip + 16, sizeof(out->dst.ip));
	return true;
}

bool packet_parse(void *packet, size_t len, struct packet_view *out)
{
	const unsigned char *ip = packet;

	if (len < PACKET_IPV4_BYTES || ip[0] >> 4 != 4 || packet_get16(ip + 2) != len ||
		!parse_header(packet, len, out))
		return false;
	if (out->is_fragment)
		return true;
	if (out->proto == IPPROTO_TCP)
		return parse_tcp(out);
	if (out->proto == IPPROTO_UDP)
		return parse_udp(out);
	return true;
}

bool packet_parse_quote(const struct packet_view *error, struct packet_view *out)
{
	unsigned char *ip = error->l4 + PACKET_ICMP_BYTES;

	if (error->l4_len < PACKET_ICMP_BYTES + PACKET_IPV4_BYTES || ip[0] >> 4 != 4 ||
		!parse_header(ip, error->l4_len - PACKET_ICMP_BYTES, out) ||
		out->l4_len < QUOTE_L4_BYTES || out->is_fragment)
		return false;
	if (out->proto == IPPROTO_TCP || out->proto == IPPROTO_UDP)
		parse_ports(out);
	return true;
}

bool packet_copy(const struct packet_view *view, struct packet_view *out)
{
	unsigned char *ip = malloc(view->len);

	if (!ip)
		return false;
	memcpy(ip, view->ip, view->len);
	*out = *view;
	out->ip = ip;
	out->l4 = ip + (view->l4 - view->ip);
	return true;
}

/* Each bit of @word changes all of the hash, also the lowest bits, by which flows are placed. */
static uint32_t mix(uint32_t hash, uint32_t word)
{
	hash = (hash ^ word) * 2654435769U;
	return hash ^ hash >> 15;
}

static uint32_t flow6(const unsigned char *ip, size_t len)
{
	uint32_t hash = mix(1, ip[6]), word;

	for (size_t at = IPV6_SRC_AT; at < PACKET_IPV6_BYTES; at += sizeof(word)) {
		memcpy(&word, ip + at, sizeof(word));
		hash = mix(hash, word);
	}
	if ((ip[6] != IPPROTO_TCP && ip[6] != IPPROTO_UDP) ||
		len < PACKET_IPV6_BYTES + sizeof(word))
		return hash;
	memcpy(&word, ip + PACKET_IPV6_BYTES, sizeof(word));
	return mix(hash, word);
}

uint32_t packet_flow(const void *packet, size_t len)
{
	const unsigned char *ip = packet;
	struct in_addr src, dst;
	uint32_t hash, ports;

	if (len >= PACKET_IPV6_BYTES && ip[0] >> 4 == 6 &&
		packet_get16(ip + 4) == len - PACKET_IPV6_BYTES)
		return flow6(ip, len);
	if (!packet_addresses(packet, len, &src, &dst))
		return 0;
	size_t header_len = (size_t)(ip[0] & 0xf) * 4;
	hash = mix(mix(mix(1, src.s_addr), dst.s_addr), ip[9]);
	if ((ip[9] != IPPROTO_TCP && ip[9] != IPPROTO_UDP) || len < header_len + sizeof(ports) ||
		(packet_get16(ip + 6) & FRAGMENT_BITS) != 0)
		return hash;
	memcpy(&ports, ip + header_len, sizeof(ports));
	return mix(hash, ports);
}

/* Add @len bytes to the sum of a checksum; the last ones if they are an odd number. */
static uint32_t sum(uint32_t start, const unsigned char *bytes, size_t len)
{
	for (size_t at = 0; at + 1 < len; at += 2)
		start += packet_get16(bytes + at);
	return len % 2 == 0 ? start : start + ((uint32_t)bytes[len - 1] << 8);
}

static uint16_t finish(uint32_t total)
{
	total = (total & 0xffff) + (total >> 16);
	return (uint16_t) ~(total + (total >> 16));
}

uint16_t packet_checksum(const unsigned char *bytes, size_t len)
{
	return finish(sum(0, bytes, len));
}

/* --- cutting ------------------------------------------------------------------------------ */

/* Lengths and checksums of a TCP packet whose fields are right otherwise. */
static void complete(unsigned char *ip, size_t len)
{
	size_t header_len = (size_t)(ip[0] & 0xf) * 4, l4_len = len - header_len;
	unsigned char *tcp = ip + header_len;

	packet_put16(ip + 2, (uint16_t)len);
	packet_put16(ip + 10, 0);
	packet_put16(ip + 10, packet_checksum(ip, header_len));
	packet_put16(tcp + 16, 0);
	uint32_t total = sum(IPPROTO_TCP + (uint32_t)l4_len, ip + 12, 8);
	packet_put16(tcp + 16, finish(sum(total, tcp, l4_len)));
}

size_t packet_cut(unsigned char *packet, size_t len, unsigned char *front, size_t cap_bytes)
{
	struct packet_view view;
	uint32_t seq;

	if (len <= cap_bytes || !packet_parse(packet, len, &view) || view.is_fragment ||
		view.proto != IPPROTO_TCP ||
		(view.tcp_flags & (PACKET_SYN | PACKET_RST | PACKET_URG)) != 0)
		return 0;
	size_t tcp_at = (size_t)(view.l4 - packet), head_len = tcp_at + tcp_header_len(view.l4);
	/* what is left gets its head where the front's data were */
	if (cap_bytes < 2 * head_len)
		return 0;
	size_t taken = cap_bytes - head_len;
	memcpy(front, packet, cap_bytes);
	memcpy(packet + taken, front, head_len);
	unsigned char *front_tcp = front + tcp_at, *tcp = packet + taken + tcp_at;
	front_tcp[13] &= (unsigned char)~(PACKET_FIN | PACKET_PSH);
	tcp[13] &= (unsigned char)~PACKET_CWR;
	memcpy(&seq, tcp + 4, sizeof(seq));
	seq = htonl(ntohl(seq) + (uint32_t)taken);
	memcpy(tcp + 4, &seq, sizeof(seq));
	complete(front, cap_bytes);
	complete(packet + taken, len - taken);
	return taken;
}

unsigned char *packet_tcp_option(const struct packet_view *view, uint8_t kind)
{
	unsigned char *at = view->l4 + PACKET_TCP_BYTES, *end = view->l4 + tcp_header_len(view->l4);

	/* RFC 9293 3.1: 0 ends the options, 1 is one byte, all others have a length */
	while (end - at >= 2 && at[0] != 0) {
		size_t size = at[0] == 1 ? 1 : at[1];

		if (size > (size_t)(end - at) || (at[0] != 1 && size < 2))
			return NULL;
		if (at[0] == kind)
			return at;
		at += size;
	}
	return NULL;
}

void packet_limit_mss(unsigned char *packet, size_t len, uint16_t mss)
{
	struct packet_view view;

	if (!packet_parse(packet, len, &view) || view.is_fragment || view.proto != IPPROTO_TCP ||
		!(view.tcp_flags & PACKET_SYN))
		return;
	unsigned char *option = packet_tcp_option(&view, 2);
	if (option && option[1] == 4 && packet_get16(option + 2) > mss) {
		packet_put16(option + 2, mss);
		complete(packet, len);
	}
}

/* --- answers ------------------------------------------------------------------------------ */

/* The header of a packet, behind which all is 0 or set afterwards. */
static void make_head(
	unsigned char *out, uint8_t proto, struct in_addr src, struct in_addr dst, size_t len)
{
	memset(out, 0, PACKET_IPV4_BYTES);
	out[0] = 0x45;
	packet_put16(out + 2, (uint16_t)len);
	packet_put16(out + 6, DONT_FRAGMENT);
	out[8] = TTL;
	out[9] = proto;
	memcpy(out + 12, &src, sizeof(src));
	memcpy(out + 16, &dst, sizeof(dst));
}

/* A TCP packet without options or data; @seq and @ack are in network order. */
static void make_tcp(unsigned char out[PACKET_RST_BYTES], struct packet_end src,
	struct packet_end dst, uint32_t seq, uint32_t ack, uint8_t flags)
{
	unsigned char *tcp = out + PACKET_IPV4_BYTES;

	memset(out, 0, PACKET_RST_BYTES);
	make_head(out, IPPROTO_TCP, src.ip, dst.ip, PACKET_RST_BYTES);
	packet_put16(tcp, src.port);
	packet_put16(tcp + 2, dst.port);
	memcpy(tcp + 4, &seq, sizeof(seq));
	memcpy(tcp + 8, &ack, sizeof(ack));
	tcp[12] = PACKET_TCP_BYTES / 4 << 4;
	tcp[13] = flags;
	complete(out, PACKET_RST_BYTES);
}

bool packet_make_rst(const struct packet_view *view, unsigned char out[PACKET_RST_BYTES])
{
	uint32_t number;

	if (view->is_fragment || view->proto != IPPROTO_TCP || (view->tcp_flags & PACKET_RST))
		return false;
	if (view->tcp_flags & PACKET_ACK) {
		memcpy(&number, view->l4 + 8, sizeof(number));
		make_tcp(out, view->dst, view->src, number, 0, PACKET_RST);
		return true;
	}
	size_t segment_len = view->l4_len - tcp_header_len(view->l4);
	segment_len += (view->tcp_flags & PACKET_SYN) != 0;
	segment_len += (view->tcp_flags & PACKET_FIN) != 0;
	memcpy(&number, view->l4 + 4, sizeof(number));
	number = htonl(ntohl(number) + (uint32_t)segment_len);
	make_tcp(out, view->dst, view->src, 0, number, PACKET_RST | PACKET_ACK);
	return true;
}

void packet_make_syn(
	struct packet_end src, struct packet_end dst, unsigned char out[PACKET_RST_BYTES])
{
	make_tcp(out, src, dst, 0, 0, PACKET_SYN);
}

size_t packet_make_udp(
	unsigned char *packet, struct packet_end src, struct packet_end dst, size_t payload_len)
{
	const size_t udp_len = PACKET_UDP_BYTES + payload_len, len = PACKET_IPV4_BYTES + udp_len;
	unsigned char *udp = packet + PACKET_IPV4_BYTES;

	make_head(packet, IPPROTO_UDP, src.ip, dst.ip, len);
	packet_put16(packet + 10, packet_checksum(packet, PACKET_IPV4_BYTES));
	packet_put16(udp, src.port);
	packet_put16(udp + 2, dst.port);
	packet_put16(udp + 4, (uint16_t)udp_len);
	packet_put16(udp + 6, 0);
	uint16_t checksum =
		finish(sum(sum(IPPROTO_UDP + (uint32_t)udp_len, packet + 12, 8), udp, udp_len));
	packet_put16(udp + 6, checksum ? checksum : 0xffff); /* RFC 768: 0 is none */
	return len;
}

size_t packet_make_ipv4(unsigned char *packet, uint8_t proto, struct in_addr src,
	struct in_addr dst, size_t payload_len)
{
	const size_t len = PACKET_IPV4_BYTES + payload_len;

	make_head(packet, proto, src, dst, len);
	packet_put16(packet + 10, packet_checksum(packet, PACKET_IPV4_BYTES));
	return len;
}

size_t packet_make_icmp(
	unsigned char *packet, struct in_addr src, struct in_addr dst, size_t icmp_len)
{
	const size_t len = PACKET_IPV4_BYTES + icmp_len;
	unsigned char *icmp = packet + PACKET_IPV4_BYTES;

	make_head(packet, IPPROTO_ICMP, src, dst, len);
	packet_put16(packet + 10, packet_checksum(packet, PACKET_IPV4_BYTES));
	packet_put16(icmp + 2, 0);
	packet_put16(icmp + 2, packet_checksum(icmp, icmp_len));
	return len;
}
