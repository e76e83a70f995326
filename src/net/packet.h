/* SPDX-License-Identifier: Apache-2.0 */
/* net/packet - IPv4 packets: checked, looked into, answered */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACKET_IPV4_BYTES 20
#define PACKET_IPV6_BYTES 40
#define PACKET_TCP_BYTES  20
#define PACKET_UDP_BYTES  8
#define PACKET_ICMP_BYTES 8
#define PACKET_FIN        0x01
#define PACKET_SYN        0x02
#define PACKET_RST        0x04
#define PACKET_PSH        0x08
#define PACKET_ACK        0x10
#define PACKET_URG        0x20
#define PACKET_CWR        0x80

/* One end of a flow. */
struct packet_end {
	struct in_addr ip;
	uint16_t port; /* host order; 0 unless it is TCP or UDP */
};

/* Where the parts of a packet are. */
struct packet_view {
	unsigned char *ip; /* where it begins */
	size_t len;
	struct packet_end src, dst;
	uint8_t proto; /* IPPROTO_ */
	bool is_fragment;
	unsigned char *l4; /* behind the IPv4 header and its options */
	size_t l4_len;
	uint8_t tcp_flags; /* PACKET_SYN... */
};

/*
 * Look into @packet. False if it is no well-formed IPv4 packet: shorter than its headers, another
 * version, a total length other than @len. TCP and UDP headers must be there whole, with lengths
 * that fit, unless it is a fragment: then ports and flags are 0. Changes nothing.
 */
bool packet_parse(void *packet, size_t len, struct packet_view *out);

/*
 * The beginning of the packet that the ICMP error @error is about. False if it is none, a fragment
 * or has less than 8 bytes behind its header. The lengths are of what is there of it, and it has
 * no flags.
 */
bool packet_parse_quote(const struct packet_view *error, struct packet_view *out);

/* A view of a copy; free(3) @out->ip. False for want of memory. */
bool packet_copy(const struct packet_view *view, struct packet_view *out);

/* Just the addresses; false unless @len has room for an IPv4 header of version 4 whose total
 * length is @len. For a router, which looks at nothing else. */
bool packet_addresses(const void *packet, size_t len, struct in_addr *src, struct in_addr *dst);

/*
 * A hash of what flow the packet is of, also of IPv6: addresses, protocol, and the ports of TCP and
 * UDP. 0 for what is no packet.
 */
uint32_t packet_flow(const void *packet, size_t len);

/*
 * Cut a TCP packet in two that say the same as it did: @front has the first of its bytes, as many
 * as @cap_bytes have room for; what is left of it begins at the place in @packet that is returned.
 * Both have complete checksums. 0: it is short enough, or cannot be cut (no TCP, or no plain data).
 */
size_t packet_cut(unsigned char *packet, size_t len, unsigned char *front, size_t cap_bytes);

/*
 * The first option of that kind in the header of a TCP packet that is no fragment: where it begins,
 * whole. NULL: it has none.
 */
unsigned char *packet_tcp_option(const struct packet_view *view, uint8_t kind);

/* A SYN that allows larger segments than @mss allows those from now on. */
void packet_limit_mss(unsigned char *packet, size_t len, uint16_t mss);

/* The checksum of @len bytes, in which its own place is 0 (RFC 1071). */
uint16_t packet_checksum(const unsigned char *bytes, size_t len);

#define PACKET_RST_BYTES 40

/*
 * The answer of a host where nobody listens to the TCP packet @view (RFC 9293 3.10.7.1), with
 * complete checksums. False if it must not be answered (no TCP, a fragment, has RST itself).
 */
bool packet_make_rst(const struct packet_view *view, unsigned char out[PACKET_RST_BYTES]);

/* A packet from @src that begins a TCP connection to @dst, with a complete checksum. */
void packet_make_syn(
	struct packet_end src, struct packet_end dst, unsigned char out[PACKET_RST_BYTES]);

/*
 * Put the headers of a datagram in front of its @payload_len bytes, which are at @packet +
 * PACKET_DATAGRAM_BYTES already, with complete checksums. Returns the packet's size.
 */
#define PACKET_DATAGRAM_BYTES (PACKET_IPV4_BYTES + PACKET_UDP_BYTES)
#define PACKET_DATAGRAM_MAX   (65535 - PACKET_DATAGRAM_BYTES) /* of its payload */
size_t packet_make_udp(
	unsigned char *packet, struct packet_end src, struct packet_end dst, size_t payload_len);

/* The same for the header of IPv4 in front of an ICMP message of @icmp_len bytes, at @packet +
 * PACKET_IPV4_BYTES, whose checksum is put in. */
size_t packet_make_icmp(
	unsigned char *packet, struct in_addr src, struct in_addr dst, size_t icmp_len);

/* The same for whatever protocol, of which nothing is looked at. */
size_t packet_make_ipv4(unsigned char *packet, uint8_t proto, struct in_addr src,
	struct in_addr dst, size_t payload_len);

static inline bool packet_is_same_ip(struct in_addr a, struct in_addr b)
{
	return a.s_addr == b.s_addr;
}

static inline bool packet_is_same_end(struct packet_end a, struct packet_end b)
{
	return packet_is_same_ip(a.ip, b.ip) && a.port == b.port;
}

static inline uint16_t packet_get16(const unsigned char *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static inline void packet_put16(unsigned char *bytes, uint16_t value)
{
	bytes[0] = (unsigned char)(value >> 8);
	bytes[1] = (unsigned char)value;
}

/* Set @field. Returns what the sum of a checksum that covers it grows by (RFC 1624: ~m + m'). */
static inline uint32_t packet_change16(unsigned char *field, uint16_t value)
{
	uint16_t old = packet_get16(field);

	packet_put16(field, value);
	return (uint32_t)(uint16_t)~old + value;
}

/* The words under @checksum have changed by @change; returns what it has itself changed by. */
static inline uint32_t packet_adjust(unsigned char *checksum, uint32_t change)
{
	uint32_t sum = (uint16_t)~packet_get16(checksum) + change;

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return packet_change16(checksum, (uint16_t)~sum);
}
