/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/idle - options that another one leaves nothing to do */
#include "cmd/idle.h"

#include "util/log.h"

#define BIT(name, is_given) ((is_given) ? 1u << (name) : 0)

enum name {
	HOST_LOOPBACK,
	PCAP,
	OUTBOUND_ADDR,
	OUTBOUND_ADDR6,
	OUTBOUND_KERNEL,
	CIDR6,
	MTU,
	DNS,
	PORT_DRIVER_SLIRP,
	NETWORK_NONE,
	VIA,
	VIA_FOR_ALL,
	NO_DNS,
	NO_IPV6,
	ONLY_USER,
};

static const char *const names[] = {
	[HOST_LOOPBACK] = "--host-loopback",
	[PCAP] = "--pcap",
	[OUTBOUND_ADDR] = "--outbound-addr",
	[OUTBOUND_ADDR6] = "--outbound-addr of IPv6",
	[OUTBOUND_KERNEL] = "--outbound kernel",
	[CIDR6] = "--cidr6",
	[MTU] = "--mtu",
	[DNS] = "--dns",
	[PORT_DRIVER_SLIRP] = "--port-driver slirp",
	[NETWORK_NONE] = "--network none",
	[VIA] = "--via",
	[VIA_FOR_ALL] = "--via",
	[NO_DNS] = "--no-dns",
	[NO_IPV6] = "--no-ipv6",
	[ONLY_USER] = "--only-user",
};

static const struct {
	enum name by;
	unsigned idle; /* what it leaves nothing to do */
} rules[] = {
	{NETWORK_NONE, 1u << HOST_LOOPBACK | 1u << PCAP | 1u << OUTBOUND_ADDR |
			       1u << OUTBOUND_ADDR6 | 1u << OUTBOUND_KERNEL | 1u << CIDR6 |
			       1u << MTU | 1u << DNS | 1u << PORT_DRIVER_SLIRP},
	/* cmd/run refuses the rest */
	{VIA_FOR_ALL, 1u << OUTBOUND_KERNEL | 1u << CIDR6},
	{VIA, 1u << PORT_DRIVER_SLIRP},
	{NO_DNS, 1u << DNS},
	{NO_IPV6, 1u << CIDR6 | 1u << OUTBOUND_ADDR6},
	{ONLY_USER, 1u << PORT_DRIVER_SLIRP},
};

unsigned idle_given(const struct sandbox_config *config)
{
	const struct net_plan *plan = &config->net;
	const struct sandbox_via *via = &config->via;

	return BIT(HOST_LOOPBACK, plan->allows_host_loopback) | BIT(PCAP, config->pcap_path) |
	       BIT(OUTBOUND_ADDR, plan->outbound4.family) |
	       BIT(OUTBOUND_ADDR6, plan->outbound6.family) |
	       BIT(OUTBOUND_KERNEL, plan->carrier == PLAN_CARRIER_KERNEL) |
	       BIT(CIDR6, plan->is_given6) | BIT(MTU, plan->mtu != NET_MTU_DEFAULT) |
	       BIT(DNS, config->dns_override.family) |
	       BIT(PORT_DRIVER_SLIRP, config->driver == FORWARD_DRIVER_SLIRP) |
	       BIT(NETWORK_NONE, !plan->has_outbound && !via->is_on) | BIT(VIA, via->is_on) |
	       BIT(VIA_FOR_ALL, via->is_on && via->nnets == 0) | BIT(NO_DNS, !plan->has_dns) |
	       BIT(NO_IPV6, !plan->has_ipv6) | BIT(ONLY_USER, config->checks_user);
}

void idle_tell(const struct sandbox_config *config, unsigned typed)
{
	const unsigned all = idle_given(config);

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		for (unsigned idle = all & 1u << rules[i].by ? rules[i].idle & typed : 0; idle != 0;
			idle &= idle - 1)
			log_warning("%s does nothing with %s", names[__builtin_ctz(idle)],
				names[rules[i].by]);
}
