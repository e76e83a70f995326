/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/gate_rewrite - other ends for packets, with checksums kept as right or wrong as they
 * were */
#include "mesh/agent/gate_rewrite.h"

#include <string.h>

/* where it is in a header */
#define IPV4_CHECKSUM  10
#define TCP_CHECKSUM   16
#define UDP_CHECKSUM   6
#define ICMP_CHECKSUM  2
#define FRAGMENT_BITS  0x3fff
#define QUOTE_L4_BYTES 8 /* every error quotes as much (RFC 792) */

/* Returns what the sum of a checksum that covers @field grows by (RFC 1624: ~m + m'). */
static uint32_t change16(unsigned char *field, uint16_t value)
{
	uint16_t old = packet_get16(field);

	packet_put16(field, value);
	return (uint32_t)(uint16_t)~old + value;
}

static uint32_t change_address(unsigned char *ip, enum gate_side side, struct in_addr to)
{
	const uint32_t value = ntohl(to.s_addr);
	unsigned char *field = ip + (side == GATE_SRC ? 12 : 16);

	return change16(field, (uint16_t)(value >> 16)) + change16(field + 2, (uint16_t)value);
}

/* The words under @checksum have changed by @change; returns what it has itself changed by. */
static uint32_t adjust(unsigned char *checksum, uint32_t change)
{
	uint32_t sum = (uint16_t)~packet_get16(checksum) + change;

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return change16(checksum, (uint16_t)~sum);
}

static uint32_t adjust_udp(unsigned char *checksum, uint32_t change)
{
	if (packet_get16(checksum) == 0)
		return 0; /* there is none */
	uint32_t own_change = adjust(checksum, change);
	if (packet_get16(checksum) == 0)
		packet_put16(checksum, 0xffff); /* which is 0, too, in a sum over it */
	return own_change;
}

/* Returns what the sum over the whole packet has grown by. */
static uint32_t rewrite(
	unsigned char *ip, const struct packet_view *view, enum gate_side side, struct gate_end to)
{
	uint32_t change = change_address(ip, side, to.ip);
	uint32_t total = adjust(ip + IPV4_CHECKSUM, change);

	change += change16(view->l4 + (side == GATE_SRC ? 0 : 2), to.port);
	if (view->proto == IPPROTO_UDP)
		total += adjust_udp(view->l4 + UDP_CHECKSUM, change);
	else if (view->l4_len >= TCP_CHECKSUM + 2) /* else a quote that ends before it */
		total += adjust(view->l4 + TCP_CHECKSUM, change);
	return total + change;
}

void gate_rewrite(
	void *packet, const struct packet_view *view, enum gate_side side, struct gate_end to)
{
	rewrite(packet, view, side, to);
}

void gate_rewrite_address(void *packet, enum gate_side side, struct in_addr to)
{
	unsigned char *ip = packet;

	adjust(ip + IPV4_CHECKSUM, change_address(ip, side, to));
}

bool gate_quote_parse(const struct packet_view *error, struct packet_view *out)
{
	unsigned char *ip = error->l4 + PACKET_ICMP_BYTES;
	const size_t len = error->l4_len - PACKET_ICMP_BYTES;

	if (len < PACKET_IPV4_BYTES || ip[0] >> 4 != 4)
		return false;
	const size_t header_len = (size_t)(ip[0] & 0xf) * 4;
	if (header_len < PACKET_IPV4_BYTES || header_len + QUOTE_L4_BYTES > len ||
		(packet_get16(ip + 6) & FRAGMENT_BITS))
		return false;
	*out = (struct packet_view){
		.proto = ip[9], .l4 = ip + header_len, .l4_len = len - header_len};
	memcpy(&out->src, ip + 12, sizeof(out->src));
	memcpy(&out->dst, ip + 16, sizeof(out->dst));
	if (out->proto == IPPROTO_TCP || out->proto == IPPROTO_UDP) {
		out->src_port = packet_get16(out->l4);
		out->dst_port = packet_get16(out->l4 + 2);
	}
	return true;
}

void gate_rewrite_quote(const struct packet_view *error, const struct packet_view *quote,
	enum gate_side side, struct gate_end to)
{
	adjust(error->l4 + ICMP_CHECKSUM, rewrite(error->l4 + PACKET_ICMP_BYTES, quote, side, to));
}
