/* SPDX-License-Identifier: Apache-2.0 */
/* net/icmp - the ICMP error for an IPv4 packet that goes no further */
#include "net/icmp.h"

#include <netinet/ip_icmp.h>
#include <stdbool.h>
#include <string.h>

#define TTL         64
#define PRECEDENCE  0xc0 /* internetwork control (RFC 1812 4.3.2.5) */
#define OFFSET_BITS 0x1fff
#define HEAD_BYTES  (PACKET_IPV4_BYTES + PACKET_ICMP_BYTES)

static bool is_one_host(struct in_addr ip)
{
	const unsigned int first = ntohl(ip.s_addr) >> 24;

	/* a host's alias may be of 240.0.0.0/4 */
	return first != 0 && (first < 224 || (first >= 240 && first != 255));
}

static bool may_be_answered(const struct packet_view *view)
{
	return is_one_host(view->src.ip) && is_one_host(view->dst.ip) &&
	       (packet_get16(view->ip + 6) & OFFSET_BITS) == 0 &&
	       (view->proto != IPPROTO_ICMP || (view->l4_len > 0 && view->l4[0] == ICMP_ECHO));
}

size_t icmp_make_unreachable(const struct packet_view *view, struct in_addr from, uint8_t code,
	unsigned char out[ICMP_ERROR_BYTES])
{
	const size_t quoted = view->len < ICMP_ERROR_BYTES - HEAD_BYTES
				      ? view->len
				      : ICMP_ERROR_BYTES - HEAD_BYTES;
	unsigned char *icmp = out + PACKET_IPV4_BYTES;

	if (!may_be_answered(view))
		return 0;
	memset(out, 0, HEAD_BYTES);
	out[0] = 0x45;
	out[1] = PRECEDENCE;
	packet_put16(out + 2, (uint16_t)(HEAD_BYTES + quoted));
	out[8] = TTL;
	out[9] = IPPROTO_ICMP;
	memcpy(out + 12, &from, sizeof(from));
	memcpy(out + 16, &view->src.ip, sizeof(view->src.ip));
	packet_put16(out + 10, packet_checksum(out, PACKET_IPV4_BYTES));
	icmp[0] = ICMP_DEST_UNREACH;
	icmp[1] = code;
	memcpy(icmp + PACKET_ICMP_BYTES, view->ip, quoted);
	packet_put16(icmp + 2, packet_checksum(icmp, PACKET_ICMP_BYTES + quoted));
	return HEAD_BYTES + quoted;
}
