/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/gate_rewrite - other ends for packets, with checksums kept as right or wrong as they
 * were */
#include "mesh/agent/gate_rewrite.h"

/* where it is in a header */
#define IPV4_CHECKSUM 10
#define TCP_CHECKSUM  16
#define UDP_CHECKSUM  6
#define ICMP_CHECKSUM 2

static uint32_t change_address(unsigned char *ip, enum gate_side side, struct in_addr to)
{
	const uint32_t value = ntohl(to.s_addr);
	unsigned char *field = ip + (side == GATE_SRC ? 12 : 16);

	return packet_change16(field, (uint16_t)(value >> 16)) +
	       packet_change16(field + 2, (uint16_t)value);
}

static uint32_t adjust_udp(unsigned char *checksum, uint32_t change)
{
	if (packet_get16(checksum) == 0)
		return 0; /* there is none */
	uint32_t own_change = packet_adjust(checksum, change);
	if (packet_get16(checksum) == 0)
		packet_put16(checksum, 0xffff); /* which is 0, too, in a sum over it */
	return own_change;
}

/* Returns what the sum over the whole packet has grown by. */
static uint32_t rewrite(const struct packet_view *view, enum gate_side side, struct packet_end to)
{
	uint32_t change = change_address(view->ip, side, to.ip);
	uint32_t total = packet_adjust(view->ip + IPV4_CHECKSUM, change);

	change += packet_change16(view->l4 + (side == GATE_SRC ? 0 : 2), to.port);
	if (view->proto == IPPROTO_UDP)
		total += adjust_udp(view->l4 + UDP_CHECKSUM, change);
	else if (view->l4_len >= TCP_CHECKSUM + 2) /* else a quote that ends before it */
		total += packet_adjust(view->l4 + TCP_CHECKSUM, change);
	return total + change;
}

void gate_rewrite(const struct packet_view *view, enum gate_side side, struct packet_end to)
{
	rewrite(view, side, to);
}

void gate_rewrite_address(const struct packet_view *view, enum gate_side side, struct in_addr to)
{
	packet_adjust(view->ip + IPV4_CHECKSUM, change_address(view->ip, side, to));
}

void gate_rewrite_quote(const struct packet_view *error, const struct packet_view *quote,
	enum gate_side side, struct packet_end to)
{
	packet_adjust(error->l4 + ICMP_CHECKSUM, rewrite(quote, side, to));
}
