/* SPDX-License-Identifier: Apache-2.0 */
/* net/icmp6 - the ICMPv6 error for a packet that goes no further */
#include "net/icmp6.h"

#include <netinet/icmp6.h>
#include <string.h>

#include "net/packet.h"

#define ETHER_BYTES 14
#define IPV6_BYTES  40
#define HOP_LIMIT   255

/* RFC 4443 2.3 and RFC 8200 8.1: over the addresses, the length, the protocol and the message */
static uint16_t checksum(const uint8_t *ip, size_t message_len)
{
	uint32_t sum = (uint32_t)message_len + IPPROTO_ICMPV6;
	const uint8_t *bytes = ip + 8;
	size_t len = IPV6_BYTES - 8 + message_len;

	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

size_t icmp6_make_prohibited(const struct in6_addr *from, const uint8_t *frame, size_t len,
	uint8_t out[ICMP6_FRAME_BYTES])
{
	const size_t overhead = ETHER_BYTES + IPV6_BYTES + sizeof(struct icmp6_hdr);
	size_t quoted = len - ETHER_BYTES;
	uint8_t *ip = out + ETHER_BYTES, *message = ip + IPV6_BYTES;

	if (quoted > ICMP6_FRAME_BYTES - overhead)
		quoted = ICMP6_FRAME_BYTES - overhead;
	size_t message_len = sizeof(struct icmp6_hdr) + quoted;
	memset(out, 0, overhead);
	memcpy(out, frame + 6, 6);
	memcpy(out + 6, frame, 6);
	memcpy(out + 12, frame + 12, 2);
	ip[0] = 6 << 4;
	packet_put16(ip + 4, (uint16_t)message_len);
	ip[6] = IPPROTO_ICMPV6;
	ip[7] = HOP_LIMIT;
	memcpy(ip + 8, from, sizeof(*from));
	memcpy(ip + 24, frame + ETHER_BYTES + 8, sizeof(*from));
	message[0] = ICMP6_DST_UNREACH;
	message[1] = ICMP6_DST_UNREACH_ADMIN;
	memcpy(message + sizeof(struct icmp6_hdr), frame + ETHER_BYTES, quoted);
	packet_put16(message + 2, checksum(ip, message_len));
	return overhead + quoted;
}
