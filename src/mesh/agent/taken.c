/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/taken - addresses that are this host's own, and no host's of a mesh */
#include "mesh/agent/taken.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <string.h>

#include "mesh/vip.h"

#define DEVICE_PREFIX "mesh" /* exit/holder */
#define EXPECTED      "expected another one, such as 127.0.42.101"

static in_addr_t ip_of(const struct sockaddr *addr)
{
	return ((const struct sockaddr_in *)(const void *)addr)->sin_addr.s_addr;
}

static bool counts(bool is_sandbox, const struct ifaddrs *at)
{
	return at->ifa_addr && at->ifa_addr->sa_family == AF_INET && at->ifa_netmask &&
	       !(is_sandbox && strncmp(at->ifa_name, DEVICE_PREFIX, strlen(DEVICE_PREFIX)) == 0);
}

/* All of 127.0.0.0/8 is lo's, and hosts of a mesh have addresses of it all the same. */
static bool is_in(bool is_sandbox, const struct ifaddrs *at, struct in_addr vip)
{
	in_addr_t mask = is_sandbox && !(at->ifa_flags & IFF_LOOPBACK) ? ip_of(at->ifa_netmask)
								       : INADDR_NONE;

	return ((ip_of(at->ifa_addr) ^ vip.s_addr) & mask) == 0;
}

static int check(bool is_sandbox, const struct ifaddrs *all, struct in_addr vip, struct err *err)
{
	const char *fault = vip_fault(vip);
	char text[INET_ADDRSTRLEN], own[INET_ADDRSTRLEN];
	struct in_addr ip;

	inet_ntop(AF_INET, &vip, text, sizeof(text));
	if (fault)
		return err_set(err, EINVAL, "%s %s: " EXPECTED, text, fault);
	for (const struct ifaddrs *at = all; at; at = at->ifa_next) {
		if (!counts(is_sandbox, at) || !is_in(is_sandbox, at, vip))
			continue;
		ip.s_addr = ip_of(at->ifa_addr);
		if (ip.s_addr == vip.s_addr)
			return err_set(err, EADDRINUSE,
				"%s is an address of this host (%s): " EXPECTED, text,
				at->ifa_name);
		return err_set(err, EADDRINUSE,
			"%s is in a network of this sandbox (%s, %s): " EXPECTED, text,
			at->ifa_name, inet_ntop(AF_INET, &ip, own, sizeof(own)));
	}
	return 0;
}

int taken_check(bool is_sandbox, const struct in_addr *vips, size_t count,
	void (*on_taken)(void *owner, size_t place, const struct err *err), void *owner,
	struct err *err)
{
	struct ifaddrs *all;
	struct err fault;

	if (getifaddrs(&all) < 0)
		return err_sys(err, errno, "cannot list the addresses of this host");
	for (size_t i = 0; i < count; i++)
		if (check(is_sandbox, all, vips[i], &fault) < 0)
			on_taken(owner, i, &fault);
	freeifaddrs(all);
	return 0;
}
