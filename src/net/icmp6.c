/* SPDX-License-Identifier: Apache-2.0 */
/* net/icmp6 - answers to an IPv6 packet that goes no further */
#include "net/icmp6.h"

#include <netinet/icmp6.h>
#include <string.h>

#include "net/packet.h"

#define ETHER_BYTES 14
#define HOP_LIMIT   255

/* RFC 4443 2.3 and RFC 8200 8.1: over the addresses, the length, the protocol and the message */
static uint16_t checksum(const uint8_t *ip, size_t message_len)
{
	uint32_t sum = (uint32_t)message_len + ip[6];
	const uint8_t *bytes = ip + 8;
	size_t len = PACKET_IPV6_BYTES - 8 + message_len;

	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* The headers of an answer of @proto from @from, @len bytes behind them. */
static void make_heads(
	const uint8_t *frame, const void *from, uint8_t proto, size_t len, uint8_t *out)
{
	uint8_t *ip = out + ETHER_BYTES;

	memcpy(out, frame + 6, 6);
	memcpy(out + 6, frame, 6);
	memcpy(out + 12, frame + 12, 2);
	memset(ip, 0, PACKET_IPV6_BYTES);
	ip[0] = 6 << 4;
	packet_put16(ip + 4, (uint16_t)len);
	ip[6] = proto;
	ip[7] = HOP_LIMIT;
	memcpy(ip + 8, from, sizeof(struct in6_addr));
	memcpy(ip + 24, frame + ETHER_BYTES + 8, sizeof(struct in6_addr));
}

size_t icmp6_make_unreachable(const struct in6_addr *from, uint8_t code, const uint8_t *frame,
	size_t len, uint8_t out[ICMP6_FRAME_BYTES])
{
	const size_t overhead = ETHER_BYTES + PACKET_IPV6_BYTES + sizeof(struct icmp6_hdr);
	size_t quoted = len - ETHER_BYTES;
	uint8_t *ip = out + ETHER_BYTES, *message = ip + PACKET_IPV6_BYTES;

	if (quoted > ICMP6_FRAME_BYTES - overhead)
		quoted = ICMP6_FRAME_BYTES - overhead;
	size_t message_len = sizeof(struct icmp6_hdr) + quoted;
	make_heads(frame, from, IPPROTO_ICMPV6, message_len, out);
	memset(message, 0, sizeof(struct icmp6_hdr));
	message[0] = ICMP6_DST_UNREACH;
	message[1] = code;
	memcpy(message + sizeof(struct icmp6_hdr), frame + ETHER_BYTES, quoted);
	packet_put16(message + 2, checksum(ip, message_len));
	return overhead + quoted;
}

size_t icmp6_make_rst(const uint8_t *frame, size_t len, uint8_t out[ICMP6_FRAME_BYTES])
{
	const uint8_t *asked = frame + ETHER_BYTES, *syn = asked + PACKET_IPV6_BYTES;
	uint8_t *ip = out + ETHER_BYTES, *tcp = ip + PACKET_IPV6_BYTES;
	uint32_t number;

	/* a SYN counts as one byte, in front of its data */
	memcpy(&number, syn + 4, sizeof(number));
	number = htonl(
		ntohl(number) + 1 +
		(uint32_t)(len - ETHER_BYTES - PACKET_IPV6_BYTES - (size_t)(syn[12] >> 4) * 4));
	make_heads(frame, asked + 24, IPPROTO_TCP, PACKET_TCP_BYTES, out);
	memset(tcp, 0, PACKET_TCP_BYTES);
	memcpy(tcp, syn + 2, 2);
	memcpy(tcp + 2, syn, 2);
	memcpy(tcp + 8, &number, sizeof(number));
	tcp[12] = PACKET_TCP_BYTES / 4 << 4;
	tcp[13] = PACKET_RST | PACKET_ACK;
	packet_put16(tcp + 16, checksum(ip, PACKET_TCP_BYTES));
	return ETHER_BYTES + PACKET_IPV6_BYTES + PACKET_TCP_BYTES;
}
