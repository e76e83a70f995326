/* SPDX-License-Identifier: Apache-2.0 */
/* net/guard - which frames of the guest may reach libslirp */
#include "net/guard.h"

#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <string.h>

#include "net/packet.h"

/* Sizes on the wire: fields are read as bytes, so alignment does not matter. */
#define ARP_BYTES       28
#define ND_ADVERT_BYTES 24 /* neighbour solicitation and advertisement: with target */
#define ND_OPTION_UNIT  8  /* bytes that one unit of an option's length stands for */
#define ND_HOP_LIMIT    255
#define PORT_BOOTP      67
#define PORT_TFTP       69
#define PORT_DHCPV6     547

enum source {
	FROM_GUEST,
	FROM_LOOPBACK,    /* 127.0.0.1: the guest answers a forward */
	FROM_BOUND,       /* the rest of 127/8: a socket that is bound to that */
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

static bool is_v4(const uint8_t *bytes, struct in_addr addr)
{
	return memcmp(bytes, &addr, sizeof(addr)) == 0;
}

static enum guard_verdict check_arp(const struct net_plan *plan, const uint8_t *arp, size_t len)
{
	static const uint8_t ethernet_ipv4[] = {0, 1, 8, 0, 6, 4};
	static const uint8_t probe[4];

	if (len < ARP_BYTES || memcmp(arp, ethernet_ipv4, sizeof(ethernet_ipv4)) != 0)
		return GUARD_DROP_ARP_SHAPE;
	uint16_t op = packet_get16(arp + 6);
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

static bool has_valid_tcp_options(const uint8_t *options, size_t len)
{
	size_t at = 0;

	while (at < len && options[at] != TCPOPT_EOL) {
		if (options[at] == TCPOPT_NOP) {
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
static enum guard_verdict check_place(const struct packet *packet, bool opens)
{
	switch (packet->place) {
	case TO_OUTSIDE:
		return GUARD_PASS;
	case TO_HOST:
		if (opens && !packet->plan->allows_host_loopback)
			return GUARD_DROP_HOST_LOOPBACK;
		return GUARD_PASS;
	case TO_DNS:
		return GUARD_DROP_DNS_PORT;
	case TO_MULTICAST:
		return GUARD_DROP_MULTICAST;
	default:
		return GUARD_DROP_LINK_LOCAL;
	}
}

static enum guard_verdict check_tcp(const struct packet *packet)
{
	uint8_t *tcp = packet->payload;

	if (packet->len < PACKET_TCP_BYTES)
		return GUARD_DROP_TCP_HEADER;
	size_t header_len = (size_t)(tcp[12] >> 4) * 4;
	uint8_t flags = tcp[13];
	if (header_len < PACKET_TCP_BYTES || header_len > packet->len)
		return GUARD_DROP_TCP_HEADER;
	if (!(flags & (TH_FIN | TH_SYN | TH_RST | TH_ACK)))
		return GUARD_DROP_TCP_FLAGS;
	if ((flags & TH_SYN) && (flags & (TH_FIN | TH_RST)))
		return GUARD_DROP_TCP_FLAGS;
	if (!has_valid_tcp_options(tcp + PACKET_TCP_BYTES, header_len - PACKET_TCP_BYTES))
		return GUARD_DROP_TCP_OPTIONS;

	bool opens = (flags & (TH_SYN | TH_ACK)) == TH_SYN;
	if (opens && (packet->source == FROM_LOOPBACK || packet->source == FROM_BOUND))
		return GUARD_DROP_BOUND;
	if (packet->source == FROM_BOUND)
		return GUARD_DROP_SOURCE;
	enum guard_verdict verdict = check_place(packet, opens);
	if (verdict == GUARD_PASS && (flags & TH_URG)) {
		uint16_t without = (uint16_t)(packet_get16(tcp + 12) & ~TH_URG);
		packet_adjust(tcp + 16,
			packet_change16(tcp + 12, without) + packet_change16(tcp + 18, 0));
	}
	return verdict;
}

static enum guard_verdict check_udp(const struct packet *packet)
{
	const uint8_t *udp = packet->payload;

	if (packet->len < PACKET_UDP_BYTES || packet_get16(udp + 4) != packet->len)
		return GUARD_DROP_UDP_LENGTH;
	uint16_t port = packet_get16(udp + 2);
	bool is_service = port == PORT_BOOTP || port == PORT_TFTP || port == PORT_DHCPV6;
	if (is_service && packet->place != TO_OUTSIDE)
		return GUARD_DROP_UDP_SERVICE;
	if (packet->source == FROM_LOOPBACK || packet->source == FROM_BOUND)
		return GUARD_DROP_BOUND_UDP;
	return check_place(packet, false);
}

static enum guard_verdict check_icmp4(const struct packet *packet)
{
	if (packet->source != FROM_GUEST)
		return GUARD_DROP_SOURCE;
	if (packet->len < PACKET_ICMP_BYTES)
		return GUARD_DROP_ICMP_HEADER;
	if (packet->payload[0] == ICMP_DEST_UNREACH)
		return GUARD_DROP_ICMP_UNREACHABLE;
	if (packet->payload[0] != ICMP_ECHO || packet->payload[1] != 0)
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
	if (packet->len < PACKET_ICMP_BYTES)
		return GUARD_DROP_ICMP_HEADER;
	switch (packet->payload[0]) {
	case ND_ROUTER_SOLICIT:
		return check_nd(packet, PACKET_ICMP_BYTES);
	case ND_NEIGHBOR_SOLICIT:
		return check_nd(packet, ND_ADVERT_BYTES);
	case ND_NEIGHBOR_ADVERT:
		if (packet->source == FROM_UNSPECIFIED)
			return GUARD_DROP_SOURCE;
		return check_nd(packet, ND_ADVERT_BYTES);
	case ICMP6_ECHO_REQUEST:
		if (packet->source != FROM_GUEST)
			return GUARD_DROP_SOURCE;
		if (packet->place == TO_MULTICAST)
			return GUARD_DROP_MULTICAST;
		if (packet->place == TO_LINK_LOCAL)
			return GUARD_DROP_LINK_LOCAL;
		if (packet->payload[1] != 0)
			return GUARD_DROP_ICMP_TYPE;
		return packet->place == TO_OUTSIDE ? GUARD_DROP_ECHO6 : GUARD_PASS;
	case ICMP6_DST_UNREACH:
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

	if (len < PACKET_IPV4_BYTES || ip[0] >> 4 != 4)
		return GUARD_DROP_IP_HEADER;
	size_t header_len = (size_t)(ip[0] & 0xf) * 4;
	size_t total_len = packet_get16(ip + 2);
	uint8_t ttl = ip[8];
	if (header_len < PACKET_IPV4_BYTES || header_len > len || ttl == 0)
		return GUARD_DROP_IP_HEADER;
	if (header_len > PACKET_IPV4_BYTES)
		return GUARD_DROP_IP_OPTIONS;
	if (total_len < header_len || total_len > len)
		return GUARD_DROP_IP_LENGTH;
	/* libslirp reassembles whatever has any of these bits but DF, the reserved one included */
	if (packet_get16(ip + 6) & ~IP_DF)
		return GUARD_DROP_FRAGMENT;

	if (is_v4(ip + 12, (struct in_addr){htonl(INADDR_LOOPBACK)}))
		packet.source = FROM_LOOPBACK;
	else if (ip[12] == 127)
		packet.source = FROM_BOUND;
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

static bool is_in_prefix(const struct in6_addr *addr, const struct in6_addr *prefix, int bits)
{
	int whole = bits / 8;
	uint8_t mask = (uint8_t)(0xff00 >> bits % 8);

	if (memcmp(addr, prefix, (size_t)whole) != 0)
		return false;
	return mask == 0 || !((addr->s6_addr[whole] ^ prefix->s6_addr[whole]) & mask);
}

static enum guard_verdict place_v6(
	const struct net_plan *plan, const uint8_t *bytes, enum place *place)
{
	struct in6_addr addr;

	memcpy(&addr, bytes, sizeof(addr));
	/* ::/96 has ::, ::1 and the v4-compatible addresses in it */
	if (is_in_prefix(&addr, &in6addr_any, 96) || IN6_IS_ADDR_V4MAPPED(&addr))
		return GUARD_DROP_DESTINATION;
	if (IN6_IS_ADDR_MULTICAST(&addr))
		*place = TO_MULTICAST;
	else if (IN6_ARE_ADDR_EQUAL(&addr, &plan->host6))
		*place = TO_HOST;
	else if (IN6_ARE_ADDR_EQUAL(&addr, &plan->dns6))
		*place = TO_DNS;
	else if (is_in_prefix(&addr, &plan->prefix6, plan->prefix6_len))
		return GUARD_DROP_NEIGHBOUR;
	else if (IN6_IS_ADDR_LINKLOCAL(&addr) || IN6_IS_ADDR_SITELOCAL(&addr))
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
	struct in6_addr source;

	if (len < PACKET_IPV6_BYTES || ip[0] >> 4 != 6)
		return GUARD_DROP_IP_HEADER;
	packet.payload = ip + PACKET_IPV6_BYTES;
	packet.len = packet_get16(ip + 4);
	packet.hop_limit = ip[7];
	if (packet.hop_limit == 0)
		return GUARD_DROP_IP_HEADER;
	/* exactly: libslirp takes the rest of the buffer for payload in places */
	if (packet.len != len - PACKET_IPV6_BYTES)
		return GUARD_DROP_IP_LENGTH;
	if (ip[6] != IPPROTO_TCP && ip[6] != IPPROTO_UDP && ip[6] != IPPROTO_ICMPV6)
		return GUARD_DROP_PROTOCOL;

	memcpy(&source, ip + 8, sizeof(source));
	if (IN6_IS_ADDR_LINKLOCAL(&source))
		packet.source = FROM_LINK_LOCAL;
	else if (IN6_IS_ADDR_UNSPECIFIED(&source))
		packet.source = FROM_UNSPECIFIED;
	else if (!IN6_ARE_ADDR_EQUAL(&source, &plan->guest6))
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
	if (len < ETH_HLEN)
		return GUARD_DROP_SHORT;
	uint8_t *body = frame + ETH_HLEN;
	size_t body_len = len - ETH_HLEN;
	if (body_len > plan->mtu)
		return GUARD_DROP_LONG;
	switch (packet_get16(frame + 12)) {
	case ETHERTYPE_IP:
		return check_ipv4(plan, body, body_len);
	case ETHERTYPE_IPV6:
		return plan->has_ipv6 ? check_ipv6(plan, body, body_len) : GUARD_DROP_IPV6_OFF;
	case ETHERTYPE_ARP:
		return check_arp(plan, body, body_len);
	default:
		return GUARD_DROP_ETHERTYPE;
	}
}

static const struct {
	bool is_usual;
	const char *reason;
} verdicts[GUARD_VERDICTS] = {
#define DROP(name, reason)  [GUARD_DROP_##name] = {false, reason},
#define USUAL(name, reason) [GUARD_DROP_##name] = {true, reason},
	[GUARD_PASS] = {true, "passed"}, GUARD_LIST(DROP, USUAL)};

const char *guard_reason(enum guard_verdict verdict)
{
	return (unsigned int)verdict < GUARD_VERDICTS ? verdicts[verdict].reason : "unknown";
}

bool guard_is_usual(enum guard_verdict verdict)
{
	return verdicts[verdict].is_usual;
}
