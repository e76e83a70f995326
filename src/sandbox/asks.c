/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/asks - a frame with a SYN that asks whether its connection may be */
#include "sandbox/asks.h"

#include <net/ethernet.h>
#include <string.h>

#include "net/packet.h"

#define IPV6_BYTES 40

static struct addr end4(const uint8_t *ip, const uint8_t *port)
{
	struct in_addr four;

	memcpy(&four, ip, sizeof(four));
	return addr_of4(four, packet_get16(port));
}

static struct addr end6(const uint8_t *ip, const uint8_t *port)
{
	struct in6_addr six;

	memcpy(&six, ip, sizeof(six));
	return addr_of6(&six, packet_get16(port));
}

/* Between whom is it, and where does its TCP header begin? 0: no TCP, or too short. */
static size_t read_ends(const uint8_t *frame, size_t len, struct syns_packet *out)
{
	const uint8_t *ip = frame + ETH_HLEN;
	const bool is_six = len > ETH_HLEN && ip[0] >> 4 == 6;
	const size_t tcp_at = ETH_HLEN + (is_six ? IPV6_BYTES : PACKET_IPV4_BYTES);
	const uint8_t *tcp = frame + tcp_at;

	if (len < tcp_at + PACKET_TCP_BYTES)
		return 0;
	if (packet_get16(frame + 12) == ETHERTYPE_IP && ip[0] == 0x45 && ip[9] == IPPROTO_TCP) {
		out->peer = end4(ip + 12, tcp);
		out->own = end4(ip + 16, tcp + 2);
		return tcp_at;
	}
	if (packet_get16(frame + 12) == ETHERTYPE_IPV6 && is_six && ip[6] == IPPROTO_TCP) {
		out->peer = end6(ip + 8, tcp);
		out->own = end6(ip + 24, tcp + 2);
		return tcp_at;
	}
	return 0;
}

/* Returns the size of the frame then. */
static size_t cut_data(uint8_t *frame, size_t tcp_at, size_t tcp_len)
{
	uint8_t *ip = frame + ETH_HLEN;
	const size_t len = tcp_at + tcp_len;

	if (ip[0] >> 4 == 6) {
		packet_put16(ip + 4, (uint16_t)tcp_len);
		return len;
	}
	packet_put16(ip + 2, (uint16_t)(len - ETH_HLEN));
	packet_put16(ip + 10, 0);
	packet_put16(ip + 10, packet_checksum(ip, PACKET_IPV4_BYTES));
	return len;
}

size_t asks_read(uint8_t *frame, size_t len, struct syns_packet *out)
{
	*out = (struct syns_packet){.bytes = frame};
	const size_t tcp_at = read_ends(frame, len, out);

	if (tcp_at == 0 || (frame[tcp_at + 13] & (PACKET_SYN | PACKET_ACK)) != PACKET_SYN)
		return 0;
	const size_t tcp_len = (size_t)(frame[tcp_at + 12] >> 4) * 4;
	if (tcp_len < PACKET_TCP_BYTES || tcp_at + tcp_len > len)
		return 0;
	memcpy(&out->number, frame + tcp_at + 4, sizeof(out->number));
	out->len = cut_data(frame, tcp_at, tcp_len);
	return tcp_at;
}
