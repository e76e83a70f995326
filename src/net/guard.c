/* SPDX-License-Identifier: Apache-2.0 */
/* net/guard - which frames of the guest may reach libslirp */
#include "net/guard.h"

#include <string.h>

/* Sizes and offsets on the wire: fields are read as bytes, so alignment does not matter. */
#define ETH_BYTES         14
#define ARP_BYTES         28
#define IPV4_BYTES        20
#define IPV6_BYTES        40
#define TCP_BYTES         20
#define UDP_BYTES         8
#define ICMP_BYTES        8
#define ND_ADVERT_BYTES   24 /* neighbour solicitation and advertisement: with target */
#define ETHERTYPE_IPV4    0x0800
#define ETHERTYPE_ARP     0x0806
#define ETHERTYPE_IPV6    0x86dd
#define IPV4_DONT_FRAG    0x4000
#define TCP_FIN           0x01
#define TCP_SYN           0x02
#define TCP_RST           0x04
#define TCP_ACK           0x10
#define TCP_URG           0x20
#define TCP_OPTION_END    0
#define TCP_OPTION_NOP    1
#define PORT_DNS          53
#define PORT_BOOTP        67
#define PORT_TFTP         69
#define PORT_DHCPV6       547
#define ICMP4_UNREACHABLE 3
#define ICMP4_ECHO        8
#define ICMP6_UNREACHABLE 1
#define ICMP6_ECHO        128
#define ND_ROUTER_SOLICIT 133
#define ND_SOLICIT        135
#define ND_ADVERT         136
#define ND_HOP_LIMIT      255
#define ND_OPTION_UNIT    8 /* bytes that one unit of an option's length stands for */

enum source {
	FROM_GUEST,
	FROM_LOOPBACK,    /* 127.0.0.1: the guest answers a forward */
	FROM_LINK_LOCAL,  /* IPv6 */
	FROM_UNSPECIFIED, /* IPv6 :: */
};

enum place {
	TO_OUTSIDE,
	TO_HOST,
	TO_DNS,
	TO_LINK_LOCAL, /* IPv6, site-local too */
	TO_MULTICAST,  /* IPv6 */
};

/* One IP packet behind its header */
struct packet {
	const struct net_plan *plan;
	enum source source;
	enum place place;
	uint8_t hop_limit;
	uint8_t *payload;
	size_t len;
};

static uint16_t read16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static void write16(uint8_t *bytes, uint16_t value)
{
	bytes[0] = (uint8_t)(value >> 8);
	bytes[1] = (uint8_t)value;
}

static bool is_v4(const uint8_t *bytes, struct in_addr addr)
{
	return memcmp(bytes, &addr, sizeof(addr)) == 0;
}

static bool is_v6(const uint8_t *bytes, const struct in6_addr *addr)
{
	return memcmp(bytes, addr, sizeof(*addr)) == 0;
}

static enum guard_verdict check_arp(const struct net_plan *plan, const uint8_t *arp, size_t len)
{
	static const uint8_t ethernet_ipv4[] = {0, 1, 8, 0, 6, 4};
	static const uint8_t probe[4];

	if (len < ARP_BYTES || memcmp(arp, ethernet_ipv4, sizeof(ethernet_ipv4)) != 0)
		return GUARD_DROP_ARP_SHAPE;
	uint16_t op = read16(arp + 6);
	const uint8_t *sender = arp + 14;
	if (op != 1 && op != 2)
		return GUARD_DROP_ARP_SHAPE;
	/*
	 * 127/8: with route_localnet the guest answers for its loopback; it also asks in that name,
	 * since arp_announce=0 puts the waiting packet's source into the request (net/ipv4/arp.c).
	 */
	if (is_v4(sender, plan->guest) || sender[0] == 127)
		return GUARD_PASS;
	if (op == 1 && memcmp(sender, probe, sizeof(probe)) == 0)
		return GUARD_PASS;
	return GUARD_DROP_ARP_SENDER;
}

/* RFC 1624, equation 3: HC' = ~(~HC + ~m + m') */
static void replace16(uint8_t *field, uint8_t *checksum, uint16_t value)
{
	uint32_t sum = (uint16_t)~read16(checksum);

	sum += (uint16_t)~read16(field);
	sum += value;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	write16(checksum, (uint16_t)~sum);
	write16(field, value);
}

static bool has_valid_tcp_options(const uint8_t *options, size_t len)
{
	size_t at = 0;

	while (at < len && options[at] != TCP_OPTION_END) {
		if (options[at] == TCP_OPTION_NOP) {
			at++;
			continue;
		}
		if (len - at < 2 || options[at + 1] < 2 || options[at + 1] > len - at)
			return false;
		at += options[at + 1];
	}
	return true;
}

/* May a TCP or UDP packet go to @port there? @opens: it would be the first of its flow. */
static enum guard_verdict check_place(const struct packet *packet, uint16_t port, bool opens)
{
	switch (packet->place) {
	case TO_OUTSIDE:
		return GUARD_PASS;
	case TO_HOST:
		if (opens && !packet->plan->allows_host_loopback)
			return GUARD_DROP_HOST_LOOPBACK;
		return GUARD_PASS;
	case TO_DNS:
		return port == PORT_DNS ? GUARD_PASS : GUARD_DROP_DNS_PORT;
	case TO_MULTICAST:
		return GUARD_DROP_MULTICAST;
	default:
		return GUARD_DROP_LINK_LOCAL;
	}
}

static enum guard_verdict check_tcp(const struct packet *packet)
{
	uint8_t *tcp = packet->payload;

	if (packet->len < TCP_BYTES)
		return GUARD_DROP_TCP_HEADER;
	size_t header_len = (size_t)(tcp[12] >> 4) * 4;
	uint8_t flags = tcp[13];
	if (header_len < TCP_BYTES || header_len > packet->len)
		return GUARD_DROP_TCP_HEADER;
	if (!(flags & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK)))
		return GUARD_DROP_TCP_FLAGS;
	if ((flags & TCP_SYN) && (flags & (TCP_FIN | TCP_RST)))
		return GUARD_DROP_TCP_FLAGS;
	if (!has_valid_tcp_options(tcp + TCP_BYTES, header_len - TCP_BYTES))
		return GUARD_DROP_TCP_OPTIONS;

	bool opens = (flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	if (opens && packet->source == FROM_LOOPBACK)
		return GUARD_DROP_SOURCE;
	enum guard_verdict verdict = check_place(packet, read16(tcp + 2), opens);
	if (verdict == GUARD_PASS && (flags & TCP_URG)) {
		replace16(tcp + 12, tcp + 16, (uint16_t)(read16(tcp + 12) & ~TCP_URG));
		replace16(tcp + 18, tcp + 16, 0);
	}
	return verdict;
}

static enum guard_verdict check_udp(const struct packet *packet)
{
	const uint8_t *udp = packet->payload;

	if (packet->len < UDP_BYTES || read16(udp + 4) != packet->len)
		return GUARD_DROP_UDP_LENGTH;
	uint16_t port = read16(udp + 2);
	bool is_service = port == PORT_BOOTP || port == PORT_TFTP || port == PORT_DHCPV6;
	if (is_service && packet->place != TO_OUTSIDE)
		return GUARD_DROP_UDP_SERVICE;
	return check_place(packet, port, false);
}

static enum guard_verdict check_icmp4(const struct packet *packet)
{
	if (packet->source != FROM_GUEST)
		return GUARD_DROP_SOURCE;
	if (packet->len < ICMP_BYTES)
		return GUARD_DROP_ICMP_HEADER;
	if (packet->payload[0] == ICMP4_UNREACHABLE)
		return GUARD_DROP_ICMP_UNREACHABLE;
	if (packet->payload[0] != ICMP4_ECHO || packet->payload[1] != 0)
		return GUARD_DROP_ICMP_TYPE;
	return GUARD_PASS;
}

static enum guard_verdict check_nd(const struct packet *packet, size_t header_len)
{
	const uint8_t *nd = packet->payload;

	/* no code but 0 is defined, and only a neighbour's packet arrives with 255 (RFC 4861) */
	if (packet->hop_limit != ND_HOP_LIMIT || nd[1] != 0 || packet->len < header_len ||
		packet->place == TO_OUTSIDE)
		return GUARD_DROP_ND;
	for (size_t at = header_len; at < packet->len;) {
		if (packet->len - at < ND_OPTION_UNIT)
			return GUARD_DROP_ND_OPTIONS;
		size_t option_len = (size_t)nd[at + 1] * ND_OPTION_UNIT;
		if (option_len == 0 || option_len > packet->len - at)
			return GUARD_DROP_ND_OPTIONS;
		at += option_len;
	}
	return GUARD_PASS;
}

static enum guard_verdict check_icmp6(const struct packet *packet)
{
	if (packet->len < ICMP_BYTES)
		return GUARD_DROP_ICMP_HEADER;
	switch (packet->payload[0]) {
	case ND_ROUTER_SOLICIT:
		return check_nd(packet, ICMP_BYTES);
	case ND_SOLICIT:
		return check_nd(packet, ND_ADVERT_BYTES);
	case ND_ADVERT:
		if (packet->source == FROM_UNSPECIFIED)
			return GUARD_DROP_SOURCE;
		return check_nd(packet, ND_ADVERT_BYTES);
	case ICMP6_ECHO:
		if (packet->source != FROM_GUEST)
			return GUARD_DROP_SOURCE;
		if (packet->place == TO_MULTICAST)
			return GUARD_DROP_MULTICAST;
		if (packet->place == TO_LINK_LOCAL)
			return GUARD_DROP_LINK_LOCAL;
		return packet->payload[1] == 0 ? GUARD_PASS : GUARD_DROP_ICMP_TYPE;
	case ICMP6_UNREACHABLE:
		return GUARD_DROP_ICMP_UNREACHABLE;
	default:
		return GUARD_DROP_ICMP_TYPE;
	}
}

static enum guard_verdict place_v4(
	const struct net_plan *plan, const uint8_t *bytes, enum place *place)
{
	struct in_addr addr;

	memcpy(&addr, bytes, sizeof(addr));
	if (addr.s_addr == INADDR_BROADCAST ||
		addr.s_addr == (plan->network.s_addr | ~plan->netmask.s_addr))
		return GUARD_DROP_BROADCAST;
	if (bytes[0] == 0 || bytes[0] == 127 || bytes[0] >= 240)
		return GUARD_DROP_DESTINATION;
	if (bytes[0] >= 224)
		return GUARD_DROP_MULTICAST;
	*place = TO_OUTSIDE;
	if (addr.s_addr == plan->host.s_addr)
		*place = TO_HOST;
	else if (addr.s_addr == plan->dns.s_addr)
		*place = TO_DNS;
	else if ((addr.s_addr & plan->netmask.s_addr) == plan->network.s_addr)
		return GUARD_DROP_NEIGHBOUR;
	if (*place == TO_DNS && !plan->has_dns)
		return GUARD_DROP_DNS_OFF;
	return GUARD_PASS;
}

static enum guard_verdict check_ipv4(const struct net_plan *plan, uint8_t *ip, size_t len)
{
	struct packet packet = {.plan = plan, .source = FROM_GUEST};

	if (len < IPV4_BYTES || ip[0] >> 4 != 4)
		return GUARD_DROP_IP_HEADER;
	size_t header_len = (size_t)(ip[0] & 0xf) * 4;
	size_t total_len = read16(ip + 2);
	uint8_t ttl = ip[8];
	if (header_len < IPV4_BYTES || header_len > len || ttl == 0)
		return GUARD_DROP_IP_HEADER;
	if (header_len > IPV4_BYTES)
		return GUARD_DROP_IP_OPTIONS;
	if (total_len < header_len || total_len > len)
		return GUARD_DROP_IP_LENGTH;
	/* libslirp reassembles whatever has any of these bits but DF, the reserved one included */
	if (read16(ip + 6) & ~IPV4_DONT_FRAG)
		return GUARD_DROP_FRAGMENT;

	if (is_v4(ip + 12, (struct in_addr){htonl(INADDR_LOOPBACK)}))
		packet.source = FROM_LOOPBACK;
	else if (!is_v4(ip + 12, plan->guest))
		return GUARD_DROP_SOURCE;
	enum guard_verdict verdict = place_v4(plan, ip + 16, &packet.place);
	if (verdict != GUARD_PASS)
		return verdict;

	packet.payload = ip + header_len;
	packet.len = total_len - header_len;
	switch (ip[9]) {
	case IPPROTO_TCP:
		return check_tcp(&packet);
	case IPPROTO_UDP:
		return check_udp(&packet);
	case IPPROTO_ICMP:
		return check_icmp4(&packet);
	default:
		return GUARD_DROP_PROTOCOL;
	}
}

static bool is_in_prefix(const uint8_t *bytes, const struct in6_addr *prefix, int bits)
{
	size_t whole = (size_t)bits / 8;
	uint8_t mask = (uint8_t)(0xff00 >> bits % 8);

	if (bits > 128 || memcmp(bytes, prefix, whole) != 0)
		return false;
	return mask == 0 || !((bytes[whole] ^ prefix->s6_addr[whole]) & mask);
}

static bool is_link_local(const uint8_t *bytes)
{
	return bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80;
}

static bool is_site_local(const uint8_t *bytes)
{
	return bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0xc0;
}

static enum guard_verdict place_v6(
	const struct net_plan *plan, const uint8_t *bytes, enum place *place)
{
	static const struct in6_addr mapped = {{{[10] = 0xff, [11] = 0xff}}};

	/* ::/96 has ::, ::1 and the v4-compatible addresses in it */
	if (is_in_prefix(bytes, &in6addr_any, 96) || is_in_prefix(bytes, &mapped, 96))
		return GUARD_DROP_DESTINATION;
	if (bytes[0] == 0xff)
		*place = TO_MULTICAST;
	else if (is_v6(bytes, &plan->host6))
		*place = TO_HOST;
	else if (is_v6(bytes, &plan->dns6))
		*place = TO_DNS;
	else if (is_in_prefix(bytes, &plan->prefix6, plan->prefix6_len))
		return GUARD_DROP_NEIGHBOUR;
	else if (is_link_local(bytes) || is_site_local(bytes))
		*place = TO_LINK_LOCAL;
	else
		*place = TO_OUTSIDE;
	if (*place == TO_DNS && !plan->has_dns)
		return GUARD_DROP_DNS_OFF;
	return GUARD_PASS;
}

static enum guard_verdict check_ipv6(const struct net_plan *plan, uint8_t *ip, size_t len)
{
	struct packet packet = {.plan = plan, .source = FROM_GUEST};

	if (len < IPV6_BYTES || ip[0] >> 4 != 6)
		return GUARD_DROP_IP_HEADER;
	packet.payload = ip + IPV6_BYTES;
	packet.len = read16(ip + 4);
	packet.hop_limit = ip[7];
	if (packet.hop_limit == 0)
		return GUARD_DROP_IP_HEADER;
	/* exactly: libslirp takes the rest of the buffer for payload in places */
	if (packet.len != len - IPV6_BYTES)
		return GUARD_DROP_IP_LENGTH;
	if (ip[6] != IPPROTO_TCP && ip[6] != IPPROTO_UDP && ip[6] != IPPROTO_ICMPV6)
		return GUARD_DROP_PROTOCOL;

	if (is_link_local(ip + 8))
		packet.source = FROM_LINK_LOCAL;
	else if (is_v6(ip + 8, &in6addr_any))
		packet.source = FROM_UNSPECIFIED;
	else if (!is_v6(ip + 8, &plan->guest6))
		return GUARD_DROP_SOURCE;
	if (packet.source != FROM_GUEST && ip[6] != IPPROTO_ICMPV6)
		return GUARD_DROP_SOURCE;
	enum guard_verdict verdict = place_v6(plan, ip + 24, &packet.place);
	if (verdict != GUARD_PASS)
		return verdict;

	switch (ip[6]) {
	case IPPROTO_TCP:
		return check_tcp(&packet);
	case IPPROTO_UDP:
		return check_udp(&packet);
	default:
		return check_icmp6(&packet);
	}
}

enum guard_verdict guard_check(const struct net_plan *plan, uint8_t *frame, size_t len)
{
	if (len < ETH_BYTES)
		return GUARD_DROP_SHORT;
	uint8_t *body = frame + ETH_BYTES;
	size_t body_len = len - ETH_BYTES;
	if (body_len > plan->mtu)
		return GUARD_DROP_LONG;
	switch (read16(frame + 12)) {
	case ETHERTYPE_IPV4:
		return check_ipv4(plan, body, body_len);
	case ETHERTYPE_IPV6:
		return plan->has_ipv6 ? check_ipv6(plan, body, body_len) : GUARD_DROP_IPV6_OFF;
	case ETHERTYPE_ARP:
		return check_arp(plan, body, body_len);
	default:
		return GUARD_DROP_ETHERTYPE;
	}
}

const char *guard_reason(enum guard_verdict verdict)
{
	static const char *const reasons[GUARD_VERDICTS] = {
		[GUARD_PASS] = "passed",
		[GUARD_DROP_SHORT] = "short frame",
		[GUARD_DROP_LONG] = "over the MTU",
		[GUARD_DROP_ETHERTYPE] = "unknown ethertype",
		[GUARD_DROP_IPV6_OFF] = "IPv6 is off",
		[GUARD_DROP_ARP_SHAPE] = "bad ARP packet",
		[GUARD_DROP_ARP_SENDER] = "foreign ARP sender",
		[GUARD_DROP_IP_HEADER] = "bad IP header",
		[GUARD_DROP_IP_OPTIONS] = "IP options",
		[GUARD_DROP_IP_LENGTH] = "bad IP length",
		[GUARD_DROP_FRAGMENT] = "fragment",
		[GUARD_DROP_PROTOCOL] = "unknown protocol",
		[GUARD_DROP_SOURCE] = "foreign source",
		[GUARD_DROP_DESTINATION] = "forbidden destination",
		[GUARD_DROP_MULTICAST] = "multicast",
		[GUARD_DROP_BROADCAST] = "broadcast",
		[GUARD_DROP_NEIGHBOUR] = "no such neighbour",
		[GUARD_DROP_LINK_LOCAL] = "link-local destination",
		[GUARD_DROP_HOST_LOOPBACK] = "host loopback",
		[GUARD_DROP_DNS_OFF] = "DNS is off",
		[GUARD_DROP_DNS_PORT] = "not a DNS port",
		[GUARD_DROP_TCP_HEADER] = "bad TCP header",
		[GUARD_DROP_TCP_FLAGS] = "bad TCP flags",
		[GUARD_DROP_TCP_OPTIONS] = "bad TCP options",
		[GUARD_DROP_UDP_LENGTH] = "bad UDP length",
		[GUARD_DROP_UDP_SERVICE] = "BOOTP, TFTP or DHCPv6",
		[GUARD_DROP_ICMP_HEADER] = "bad ICMP header",
		[GUARD_DROP_ICMP_TYPE] = "unknown ICMP type",
		[GUARD_DROP_ICMP_UNREACHABLE] = "ICMP unreachable",
		[GUARD_DROP_ND] = "bad neighbour discovery",
		[GUARD_DROP_ND_OPTIONS] = "bad neighbour discovery options",
	};

	if ((unsigned int)verdict >= GUARD_VERDICTS || !reasons[verdict])
		return "unknown";
	return reasons[verdict];
}

bool guard_is_usual(enum guard_verdict verdict)
{
	switch (verdict) {
	case GUARD_PASS:
	case GUARD_DROP_IPV6_OFF:
	case GUARD_DROP_MULTICAST:
	case GUARD_DROP_BROADCAST:
	case GUARD_DROP_PROTOCOL: /* MLD reports come behind a hop-by-hop header */
	case GUARD_DROP_ICMP_UNREACHABLE:
		return true;
	default:
		return false;
	}
}
