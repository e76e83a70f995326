/* SPDX-License-Identifier: Apache-2.0 */
/* net/plan - the addresses and limits of a sandbox's network, as slirp4netns users know them */
#include "net/plan.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "net/occupied.h"

enum host_number { NUMBER_HOST = 2, NUMBER_DNS = 3, NUMBER_ASK = 4, NUMBER_GUEST = 100 };

const uint8_t plan_ask_mac[6] = {0x02, 'n', 's', 'a', 's', 'k'}; /* locally administered */

/*
 * Tried in this order. Those that people know; some of each private range that few have (RFC 1918,
 * RFC 4193: "nswrap" in ASCII); and for hosts that have routes to all of these, what is set aside
 * for benchmarks and so nobody's (RFC 2544, RFC 5180).
 */
static const char *const networks4[] = {
	"10.0.2.0", "10.162.2.0", "172.29.2.0", "192.168.162.0", "198.18.2.0"};
static const char *const networks6[] = {"fd00::", "fd6e:7377:7261:7000::", "2001:2:0:162::"};

#define PREFIX4 24
#define PREFIX6 64

static struct in_addr address4(struct in_addr network, uint32_t number)
{
	return (struct in_addr){htonl(ntohl(network.s_addr) + number)};
}

static struct in6_addr address6(struct in6_addr prefix, uint16_t number)
{
	prefix.s6_addr16[7] = htons(number);
	return prefix;
}

const char *plan_carrier_name(enum plan_carrier carrier)
{
	static const char *const names[] = {[PLAN_CARRIER_AUTO] = "auto",
		[PLAN_CARRIER_KERNEL] = "kernel",
		[PLAN_CARRIER_SLIRP] = "slirp"};

	return names[carrier];
}

void plan_set_network(struct net_plan *plan, struct in_addr network, int prefix_len)
{
	plan->network = network;
	plan->prefix_len = prefix_len;
	plan->netmask.s_addr = htonl(~0U << (32 - prefix_len));
	plan->host = address4(network, NUMBER_HOST);
	plan->dns = address4(network, NUMBER_DNS);
	plan->ask = address4(network, NUMBER_ASK);
	plan->guest = address4(network, NUMBER_GUEST);
}

void plan_set_prefix6(struct net_plan *plan, const struct in6_addr *prefix, int prefix_len)
{
	plan->prefix6 = *prefix;
	plan->prefix6_len = prefix_len;
	/* the numbers that libslirp's users know (hex 100, not 256) */
	plan->host6 = address6(*prefix, 0x2);
	plan->dns6 = address6(*prefix, 0x3);
	plan->ask6 = address6(*prefix, 0x4);
	plan->guest6 = address6(*prefix, 0x100);
}

static struct in_addr network4(size_t i)
{
	struct in_addr network = {0};

	inet_pton(AF_INET, networks4[i], &network);
	return network;
}

static struct in6_addr network6(size_t i)
{
	struct in6_addr network = {0};

	inet_pton(AF_INET6, networks6[i], &network);
	return network;
}

void plan_init(struct net_plan *plan)
{
	struct in6_addr prefix6 = network6(0);

	*plan = (struct net_plan){
		.has_outbound = true,
		.has_ipv6 = true,
		.has_dns = true,
		.mtu = NET_MTU_DEFAULT,
	};
	plan_set_network(plan, network4(0), PREFIX4);
	plan_set_prefix6(plan, &prefix6, PREFIX6);
	plan->link6 = address6((struct in6_addr){.s6_addr = {0xfe, 0x80}}, 0x100);
}

static char *format(int family, const void *addr, int prefix_len, char out[NET_TEXT_BYTES])
{
	inet_ntop(family, addr, out, NET_TEXT_BYTES);
	snprintf(out + strlen(out), NET_TEXT_BYTES - strlen(out), "/%d", prefix_len);
	return out;
}

char *plan_format4(const struct net_plan *plan, char out[NET_TEXT_BYTES])
{
	return format(AF_INET, &plan->network, plan->prefix_len, out);
}

char *plan_format6(const struct net_plan *plan, char out[NET_TEXT_BYTES])
{
	return format(AF_INET6, &plan->prefix6, plan->prefix6_len, out);
}

static bool is_taken4(const struct net_plan *plan, const struct occupied *occupied)
{
	return occupied_overlaps(occupied, AF_INET, &plan->network, plan->prefix_len);
}

static bool is_taken6(const struct net_plan *plan, const struct occupied *occupied)
{
	return occupied_overlaps(occupied, AF_INET6, &plan->prefix6, plan->prefix6_len);
}

/* The one that is free, or the first one again. */
static void choose4(struct net_plan *plan, const struct occupied *occupied)
{
	for (size_t i = 0; i < sizeof(networks4) / sizeof(networks4[0]); i++) {
		plan_set_network(plan, network4(i), PREFIX4);
		if (!is_taken4(plan, occupied))
			return;
	}
	plan_set_network(plan, network4(0), PREFIX4);
}

static void choose6(struct net_plan *plan, const struct occupied *occupied)
{
	struct in6_addr prefix;

	for (size_t i = 0; i < sizeof(networks6) / sizeof(networks6[0]); i++) {
		prefix = network6(i);
		plan_set_prefix6(plan, &prefix, PREFIX6);
		if (!is_taken6(plan, occupied))
			return;
	}
	prefix = network6(0);
	plan_set_prefix6(plan, &prefix, PREFIX6);
}

void plan_avoid(struct net_plan *plan, const struct occupied *occupied)
{
	if (!plan->is_given4)
		choose4(plan, occupied);
	if (!plan->is_given6)
		choose6(plan, occupied);
	plan->is_taken4 = is_taken4(plan, occupied);
	plan->is_taken6 = is_taken6(plan, occupied);
}

bool plan_tell_moved(const struct net_plan *plan, char out[NET_MOVED_BYTES])
{
	char text4[NET_TEXT_BYTES], text6[NET_TEXT_BYTES], usual4[NET_TEXT_BYTES],
		usual6[NET_TEXT_BYTES];
	struct net_plan usual;

	plan_init(&usual);
	plan_format4(plan, text4);
	plan_format6(plan, text6);
	plan_format4(&usual, usual4);
	plan_format6(&usual, usual6);
	bool is_moved4 = plan->has_outbound && !plan->is_given4 && strcmp(text4, usual4) != 0;
	bool is_moved6 = plan->has_outbound && plan->has_ipv6 && !plan->is_given6 &&
			 strcmp(text6, usual6) != 0;
	const char *and = is_moved4 && is_moved6 ? " and " : "";
	snprintf(out, NET_MOVED_BYTES, "%s%s%s, as this host %s %s%s%s itself",
		is_moved4 ? text4 : "", and, is_moved6 ? text6 : "",
		plan->has_routes ? "or a --route uses" : "uses", is_moved4 ? usual4 : "", and,
		is_moved6 ? usual6 : "");
	return is_moved4 || is_moved6;
}
