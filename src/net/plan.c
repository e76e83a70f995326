/* SPDX-License-Identifier: Apache-2.0 */
/* net/plan - the addresses and limits of a sandbox's network, as slirp4netns users know them */
#include "net/plan.h"

#include <arpa/inet.h>
#include <stdint.h>

enum host_number { NUMBER_HOST = 2, NUMBER_DNS = 3, NUMBER_GUEST = 100 };

static struct in_addr address4(struct in_addr network, uint32_t number)
{
	return (struct in_addr){htonl(ntohl(network.s_addr) + number)};
}

static struct in6_addr address6(struct in6_addr prefix, uint16_t number)
{
	prefix.s6_addr16[7] = htons(number);
	return prefix;
}

void plan_set_network(struct net_plan *plan, struct in_addr network, int prefix_len)
{
	plan->network = network;
	plan->prefix_len = prefix_len;
	plan->netmask.s_addr = htonl(~0U << (32 - prefix_len));
	plan->host = address4(network, NUMBER_HOST);
	plan->dns = address4(network, NUMBER_DNS);
	plan->guest = address4(network, NUMBER_GUEST);
}

void plan_init(struct net_plan *plan)
{
	*plan = (struct net_plan){
		.has_outbound = true,
		.has_ipv6 = true,
		.has_dns = true,
		.mtu = NET_MTU_DEFAULT,
		.prefix6_len = 64,
		.prefix6 = {.s6_addr = {0xfd}},
	};
	plan_set_network(plan, (struct in_addr){htonl(0x0a000200)}, 24);
	/* RFC 4193's fd00::/8 by the numbers that libslirp's users know (hex 100, not 256) */
	plan->host6 = address6(plan->prefix6, 0x2);
	plan->dns6 = address6(plan->prefix6, 0x3);
	plan->guest6 = address6(plan->prefix6, 0x100);
	plan->link6 = address6((struct in6_addr){.s6_addr = {0xfe, 0x80}}, 0x100);
}
