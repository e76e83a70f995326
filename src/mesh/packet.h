/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/packet - IPv4 packets: checked, looked into, answered */
#ifndef NSWRAP_MESH_PACKET_H
#define NSWRAP_MESH_PACKET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACKET_IPV4_BYTES 20
#define PACKET_TCP_BYTES  20
#define PACKET_UDP_BYTES  8
#define PACKET_ICMP_BYTES 8
#define PACKET_FIN        0x01
#define PACKET_SYN        0x02
#define PACKET_RST        0x04
#define PACKET_ACK        0x10

/* Where the parts of a packet are. Addresses in network order, ports in host order. */
struct packet_view {
	struct in_addr src, dst;
	uint8_t proto; /* IPPROTO_ */
	bool is_fragment;
	unsigned char *l4; /* behind the IPv4 header and its options */
	size_t l4_len;
	uint16_t src_port, dst_port; /* TCP and UDP */
	uint8_t tcp_flags;           /* PACKET_SYN... */
};

/*
 * Look into @packet. False if it is no well-formed IPv4 packet: shorter than its headers, another
 * version, a total length other than @len. TCP and UDP headers must be there whole, with lengths
 * that fit, unless it is a fragment: then ports and flags are 0. Changes nothing.
 */
bool packet_parse(void *packet, size_t len, struct packet_view *out);

/* Just the addresses; false unless @len has room for an IPv4 header of version 4 whose total
 * length is @len. For a router, which looks at nothing else. */
bool packet_addresses(const void *packet, size_t len, struct in_addr *src, struct in_addr *dst);

#define PACKET_RST_BYTES 40

/*
 * The answer of a host where nobody listens to the TCP packet @packet (RFC 9293 3.10.7.1), with
 * complete checksums. False if it must not be answered (no TCP, has RST itself).
 */
bool packet_make_rst(const void *packet, size_t len, unsigned char out[PACKET_RST_BYTES]);

static inline uint16_t packet_get16(const unsigned char *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static inline void packet_put16(unsigned char *bytes, uint16_t value)
{
	bytes[0] = (unsigned char)(value >> 8);
	bytes[1] = (unsigned char)value;
}

#endif
