/* SPDX-License-Identifier: Apache-2.0 */
/* exit/sixfour - IPv6 packets as IPv4 ones, and back: what comes between knows one of both */
#include "exit/sixfour.h"

#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "net/packet.h"
#include "util/mix.h"

#define IPV6_BYTES  40
#define BUCKETS     4096
#define FIRST_ALIAS 0xf0000100U /* those before are set aside, such as the resolver's */
#define LAST_ALIAS  0xfffffff0U
#define QUOTE_MAX   1232 /* of ICMPv6: 1280 in all, RFC 4443 2.4 (c) */

struct alias {
	struct in6_addr ip6;
	uint32_t alias;          /* host order; 0: none */
	uint32_t next_ip;        /* in the bucket of its address; index + 1 */
	uint32_t older, younger; /* in order of use; index + 1, 0: none */
};

struct sixfour {
	uint64_t seed;
	uint32_t next_alias;
	uint32_t oldest, youngest;
	size_t count;
	uint32_t by_ip[BUCKETS];            /* index + 1 */
	uint32_t by_alias[SIXFOUR_ALIASES]; /* by the lower bits, which do not repeat: index + 1 */
	struct alias aliases[SIXFOUR_ALIASES];
};

struct sixfour *sixfour_new(void)
{
	struct sixfour *sixfour = calloc(1, sizeof(*sixfour));

	if (!sixfour)
		return NULL;
	if (getrandom(&sixfour->seed, sizeof(sixfour->seed), GRND_NONBLOCK) < 0)
		sixfour->seed = (uint64_t)(uintptr_t)sixfour;
	sixfour->next_alias = FIRST_ALIAS;
	return sixfour;
}

void sixfour_free(struct sixfour *sixfour)
{
	free(sixfour);
}

/* --- aliases ------------------------------------------------------------------------------ */

static uint32_t *bucket_of(struct sixfour *sixfour, const struct in6_addr *ip6)
{
	uint64_t words[2];

	memcpy(words, ip6, sizeof(words));
	return &sixfour->by_ip[mix_bits(mix_bits(words[0] ^ sixfour->seed) ^ words[1]) >> 52];
}

static void unlink_use(struct sixfour *sixfour, struct alias *entry)
{
	if (entry->older)
		sixfour->aliases[entry->older - 1].younger = entry->younger;
	else
		sixfour->oldest = entry->younger;
	if (entry->younger)
		sixfour->aliases[entry->younger - 1].older = entry->older;
	else
		sixfour->youngest = entry->older;
}

static void link_use(struct sixfour *sixfour, struct alias *entry, uint32_t number)
{
	entry->older = sixfour->youngest;
	entry->younger = 0;
	if (sixfour->youngest)
		sixfour->aliases[sixfour->youngest - 1].younger = number;
	else
		sixfour->oldest = number;
	sixfour->youngest = number;
}

static void use(struct sixfour *sixfour, uint32_t number)
{
	struct alias *entry = &sixfour->aliases[number - 1];

	if (sixfour->youngest == number)
		return;
	unlink_use(sixfour, entry);
	link_use(sixfour, entry, number);
}

static void forget(struct sixfour *sixfour, uint32_t number)
{
	struct alias *entry = &sixfour->aliases[number - 1];
	uint32_t *at = bucket_of(sixfour, &entry->ip6);

	while (*at != number)
		at = &sixfour->aliases[*at - 1].next_ip;
	*at = entry->next_ip;
	at = &sixfour->by_alias[entry->alias % SIXFOUR_ALIASES];
	if (*at == number)
		*at = 0;
	unlink_use(sixfour, entry);
}

/* An alias whose place in by_alias is free: there is one, as there are as many places as entries.
 */
static uint32_t choose(struct sixfour *sixfour)
{
	do {
		if (sixfour->next_alias == LAST_ALIAS)
			sixfour->next_alias = FIRST_ALIAS;
		sixfour->next_alias++;
	} while (sixfour->by_alias[sixfour->next_alias % SIXFOUR_ALIASES] != 0);
	return sixfour->next_alias;
}

static struct in_addr alias_of(struct sixfour *sixfour, const struct in6_addr *ip6)
{
	uint32_t *bucket = bucket_of(sixfour, ip6), number = *bucket;

	while (number && !IN6_ARE_ADDR_EQUAL(&sixfour->aliases[number - 1].ip6, ip6))
		number = sixfour->aliases[number - 1].next_ip;
	if (number) {
		use(sixfour, number);
		return (struct in_addr){htonl(sixfour->aliases[number - 1].alias)};
	}
	if (sixfour->count < SIXFOUR_ALIASES) {
		number = (uint32_t)++sixfour->count;
	} else {
		number = sixfour->oldest;
		forget(sixfour, number);
		bucket = bucket_of(sixfour, ip6);
	}
	struct alias *entry = &sixfour->aliases[number - 1];
	*entry = (struct alias){.ip6 = *ip6, .alias = choose(sixfour), .next_ip = *bucket};
	*bucket = number;
	sixfour->by_alias[entry->alias % SIXFOUR_ALIASES] = number;
	link_use(sixfour, entry, number);
	return (struct in_addr){htonl(entry->alias)};
}

bool sixfour_is_alias(struct in_addr ip)
{
	return ntohl(ip.s_addr) >= FIRST_ALIAS;
}

bool sixfour_find(const struct sixfour *sixfour, struct in_addr alias, struct in6_addr *out)
{
	const uint32_t ip = ntohl(alias.s_addr), number = sixfour->by_alias[ip % SIXFOUR_ALIASES];

	if (number == 0 || sixfour->aliases[number - 1].alias != ip)
		return false;
	*out = sixfour->aliases[number - 1].ip6;
	return true;
}

/* --- in ----------------------------------------------------------------------------------- */

size_t sixfour_in(struct sixfour *sixfour, unsigned char *packet, size_t len)
{
	struct ip6_hdr ip6;
	unsigned char *head = packet + SIXFOUR_GROWTH, *l4 = packet + IPV6_BYTES;

	if (len < IPV6_BYTES || packet[0] >> 4 != 6)
		return 0;
	memcpy(&ip6, packet, sizeof(ip6));
	const size_t payload = ntohs(ip6.ip6_plen), total = payload + PACKET_IPV4_BYTES;
	uint8_t proto = ip6.ip6_nxt;
	if (payload != len - IPV6_BYTES || total > UINT16_MAX)
		return 0;
	if (IN6_IS_ADDR_MULTICAST(&ip6.ip6_dst) || IN6_IS_ADDR_MULTICAST(&ip6.ip6_src))
		return 0;
	if (proto == IPPROTO_ICMPV6) {
		if (payload < PACKET_ICMP_BYTES || l4[0] != ICMP6_ECHO_REQUEST || l4[1] != 0)
			return 0;
		l4[0] = ICMP_ECHO;
		proto = IPPROTO_ICMP;
	} else if (proto != IPPROTO_TCP && proto != IPPROTO_UDP) {
		return 0;
	}
	const struct in_addr src = alias_of(sixfour, &ip6.ip6_src),
			     dst = alias_of(sixfour, &ip6.ip6_dst);
	memset(head, 0, PACKET_IPV4_BYTES);
	head[0] = 0x45;
	packet_put16(head + 2, (uint16_t)total);
	head[6] = 0x40; /* not to be cut */
	head[8] = ip6.ip6_hlim;
	head[9] = proto;
	memcpy(head + 12, &src, 4);
	memcpy(head + 16, &dst, 4);
	packet_put16(head + 10, packet_checksum(head, PACKET_IPV4_BYTES));
	return total;
}

/* --- out ---------------------------------------------------------------------------------- */

static void put_head(unsigned char *head, const struct in6_addr *src, const struct in6_addr *dst,
	size_t payload, uint8_t proto)
{
	memset(head, 0, IPV6_BYTES);
	head[0] = 0x60;
	packet_put16(head + 4, (uint16_t)payload);
	head[6] = proto;
	head[7] = 64;
	memcpy(head + 8, src, 16);
	memcpy(head + 24, dst, 16);
}

/* Over the addresses and all that is behind the header, RFC 4443 2.3. */
static void put_sum(unsigned char *packet, size_t payload)
{
	unsigned char *icmp = packet + IPV6_BYTES;
	uint32_t sum = (uint32_t)payload + IPPROTO_ICMPV6;

	memset(icmp + 2, 0, 2);
	sum += (uint16_t)~packet_checksum(packet + 8, 32);
	sum += (uint16_t)~packet_checksum(icmp, payload);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	packet_put16(icmp + 2, (uint16_t)~sum);
}

static uint8_t code_of(uint8_t code)
{
	switch (code) {
	case ICMP_PORT_UNREACH:
		return ICMP6_DST_UNREACH_NOPORT;
	case ICMP_PKT_FILTERED:
	case ICMP_HOST_ANO:
	case ICMP_NET_ANO:
		return ICMP6_DST_UNREACH_ADMIN;
	case ICMP_NET_UNREACH:
		return ICMP6_DST_UNREACH_NOROUTE;
	default:
		return ICMP6_DST_UNREACH_ADDR;
	}
}

/* What the error quotes becomes what was sent, as far as it is there. Returns the size of all that
 * is behind the outer header, or 0. */
static size_t turn_error(
	const struct sixfour *sixfour, const struct packet_view *view, size_t cap_bytes)
{
	unsigned char *icmp = view->l4, *quote = icmp + PACKET_ICMP_BYTES;
	struct in6_addr src, dst;
	struct packet_view sent;

	if (icmp[0] != ICMP_DEST_UNREACH || !packet_parse_quote(view, &sent) ||
		!sixfour_find(sixfour, sent.src.ip, &src) ||
		!sixfour_find(sixfour, sent.dst.ip, &dst))
		return 0;
	size_t rest = sent.l4_len < QUOTE_MAX - IPV6_BYTES ? sent.l4_len : QUOTE_MAX - IPV6_BYTES;
	const size_t whole = (size_t)packet_get16(sent.ip + 2) - (size_t)(sent.l4 - sent.ip);
	const size_t all = PACKET_ICMP_BYTES + IPV6_BYTES + rest;
	const uint8_t proto = sent.proto == IPPROTO_ICMP ? IPPROTO_ICMPV6 : sent.proto;

	if (all > cap_bytes || whole > UINT16_MAX)
		return 0;
	memmove(quote + IPV6_BYTES, sent.l4, rest);
	put_head(quote, &src, &dst, whole, proto);
	if (proto == IPPROTO_ICMPV6 && rest > 0)
		quote[IPV6_BYTES] = ICMP6_ECHO_REQUEST;
	icmp[0] = ICMP6_DST_UNREACH;
	icmp[1] = code_of(icmp[1]);
	memset(icmp + 4, 0, 4);
	return all;
}

size_t sixfour_out(struct sixfour *sixfour, unsigned char *packet, size_t len, size_t cap_bytes)
{
	struct in6_addr src, dst;
	struct packet_view view;

	if (!packet_parse(packet, len, &view) || view.is_fragment ||
		view.l4 != packet + PACKET_IPV4_BYTES ||
		!sixfour_find(sixfour, view.src.ip, &src) ||
		!sixfour_find(sixfour, view.dst.ip, &dst))
		return 0;
	size_t payload = view.l4_len;
	uint8_t proto = view.proto;
	if (proto == IPPROTO_ICMP) {
		proto = IPPROTO_ICMPV6;
		if (payload >= PACKET_ICMP_BYTES && view.l4[0] == ICMP_ECHOREPLY)
			view.l4[0] = ICMP6_ECHO_REPLY;
		else
			payload =
				payload < PACKET_ICMP_BYTES || cap_bytes < PACKET_IPV4_BYTES
					? 0
					: turn_error(sixfour, &view, cap_bytes - PACKET_IPV4_BYTES);
		if (payload == 0)
			return 0;
	}
	if (IPV6_BYTES + payload > UINT16_MAX)
		return 0;
	unsigned char *head = packet - SIXFOUR_GROWTH;
	put_head(head, &src, &dst, payload, proto);
	if (proto == IPPROTO_ICMPV6)
		put_sum(head, payload);
	return IPV6_BYTES + payload;
}
