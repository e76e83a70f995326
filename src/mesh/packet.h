/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/packet - IPv4 packets: checked, looked into, answered */
#ifndef NSWRAP_MESH_PACKET_H
#define NSWRAP_MESH_PACKET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where the parts of a packet are. Addresses in network order, ports in host order. */
struct packet_view {
	struct in_addr src, dst;
	uint8_t proto; /* IPPROTO_ */
	bool is_fragment;
	unsigned char *l4; /* behind the IPv4 header and its options */
	size_t l4_len;
	uint16_t src_port, dst_port; /* TCP and UDP */
	uint8_t tcp_flags;           /* as in the header: 2 SYN, 4 RST, 16 ACK */
};

/*
 * Look into @packet. False if it is no well-formed IPv4 packet: shorter than its headers, another
 * version, a total length other than @len. TCP and UDP headers must be there whole unless it is a
 * fragment.
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

#endif
