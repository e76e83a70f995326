/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/vip - which addresses no host can have in a mesh, wherever it is */
#include "mesh/vip.h"

#include <stddef.h>

struct fault {
	in_addr_t first, last; /* host order */
	const char *text;
};

/* The narrower first. */
static const struct fault faults[] = {
	{0x7f000001, 0x7f000001, "is each host's own loopback address"},
	/* who took them would be asked for names, or by hosts that ask for themselves: Docker's
	 * and systemd-resolved's name servers; Debian's /etc/hosts has the host's own name there */
	{0x7f00000b, 0x7f00000b, "is where Docker's name server listens"},
	{0x7f000035, 0x7f000036, "is where systemd-resolved listens"},
	{0x7f000101, 0x7f000101, "is a host's own address by Debian's /etc/hosts"},
	{0x7f000000, 0x7f000000,
		"is no host of the loopback network, but its first or last address"},
	{0x7fffffff, 0x7fffffff,
		"is no host of the loopback network, but its first or last address"},
	{0x00000000, 0x00ffffff, "stands for no host"},
	{0xa9fe0000, 0xa9feffff, "is a link-local address"},
	{0xe0000000, 0xefffffff, "is a multicast address"},
	{0xffffffff, 0xffffffff, "is the broadcast address"},
	{0xf0000000, 0xfffffffe, "is reserved (class E)"},
};

const char *vip_fault(struct in_addr ip)
{
	in_addr_t addr = ntohl(ip.s_addr);

	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		if (addr >= faults[i].first && addr <= faults[i].last)
			return faults[i].text;
	return NULL;
}
