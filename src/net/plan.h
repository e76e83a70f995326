/* SPDX-License-Identifier: Apache-2.0 */
/* net/plan - the addresses and limits of a sandbox's network, as slirp4netns users know them */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/addr.h"

#define NET_TAP_NAME    "tap0"
#define NET_MTU_DEFAULT 65520 /* libslirp's IF_MTU_MAX is 65521 */
#define NET_MTU_MIN     1280  /* IPv6 needs that much, RFC 8200 section 5 */

/* Who carries the TCP that leaves. */
enum plan_carrier {
	PLAN_CARRIER_AUTO,   /* the kernel if it can, else libslirp */
	PLAN_CARRIER_KERNEL, /* sandbox/carry */
	PLAN_CARRIER_SLIRP,
};

struct net_plan {
	bool has_outbound; /* false: no TAP at all */
	enum plan_carrier carrier;
	bool has_ipv6;
	bool has_dns;
	bool allows_host_loopback;
	unsigned mtu;

	bool is_given4, is_given6; /* the user's choice: not changed */
	bool is_taken4, is_taken6; /* this host has addresses of it, or routes to there */
	bool has_routes;           /* of --route, they count as this host's */

	int prefix_len;
	struct in_addr network, netmask;
	struct in_addr host, dns, ask, guest; /* network + 2, + 3, + 4, + 100 */

	int prefix6_len;
	struct in6_addr prefix6, host6, dns6, ask6, guest6; /* ::2, ::3, ::4, ::100 */
	struct in6_addr link6;                              /* the guest's fe80::100 */

	/* source addresses of outbound sockets; none: the system's choice */
	struct addr outbound4, outbound6;
};

/* Where a connection that begins is asked for, instead of being sent anywhere (sandbox/carry): the
 * Ethernet address of ask and ask6. */
extern const uint8_t plan_ask_mac[6];

/* "auto", "kernel", "slirp" */
const char *plan_carrier_name(enum plan_carrier carrier);

/* Fill in the defaults: 10.0.2.0/24, fd00::/64, outbound, IPv6 and DNS on. */
void plan_init(struct net_plan *plan);

/* Put the IPv4 addresses into @network/@prefix_len (1..25: there must be a host number 100). */
void plan_set_network(struct net_plan *plan, struct in_addr network, int prefix_len);

/* The IPv6 ones into @prefix/@prefix_len (1..112), whose last 16 bits are 0. */
void plan_set_prefix6(struct net_plan *plan, const struct in6_addr *prefix, int prefix_len);

/* "10.0.2.0/24" and "fd00::/64" into @out, which they return. */
#define NET_TEXT_BYTES (INET6_ADDRSTRLEN + 4)
char *plan_format4(const struct net_plan *plan, char out[NET_TEXT_BYTES]);
char *plan_format6(const struct net_plan *plan, char out[NET_TEXT_BYTES]);

/*
 * "10.162.2.0/24, as this host uses 10.0.2.0/24 itself" (with routes: "this host or a --route
 * uses"), the same of IPv6, or both. False if the
 * plan has the usual networks or those that were given.
 */
#define NET_MOVED_BYTES 256
bool plan_tell_moved(const struct net_plan *plan, char out[NET_MOVED_BYTES]);

struct occupied;

/*
 * What this host has in the networks inside could not be reached from there: choose others, of a
 * few, unless they were given. is_taken4 and is_taken6 tell whether that was in vain.
 */
void plan_avoid(struct net_plan *plan, const struct occupied *occupied);
