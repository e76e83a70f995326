/* SPDX-License-Identifier: Apache-2.0 */
/* conn/expose - which addresses and ports others may have this host connect to */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/err.h"

/*
 * How it works
 *
 * A rule is a network with ports, or with all of them. Without any rule everything is exposed but
 * what is meant for this host alone: its loopback device, link-local addresses, and those at which
 * clouds tell a machine its secrets. These are exposed only by a rule that names them: one whose
 * network is within theirs, as 0.0.0.0/0 is not. Of 127.0.0.0/8 a rule has to have 127.0.0.1, which
 * is the one that is led to. 0.0.0.0/8, multicast and class E are never exposed.
 *
 * IPv6 is the same: never ::/96 (with ::1), those that stand for IPv4 addresses (mapped),
 * multicast; link-local ones (RFC 4291), site-local ones and fd00:ec2::254 (AWS) by a rule that
 * names them. 64:ff9b::/96 leads to IPv4 addresses (RFC 6052): what may not be reached as such may
 * not be reached so.
 */
struct expose_rule;

/* Starts as all zero: no rules. */
struct expose {
	struct expose_rule *rules;
	size_t nrules;
	bool has_rules; /* none of which may be left */
	/* the owner sets them: nothing leads there, a rule for it is refused */
	bool has_no_loopback, has_no_ipv6;
};

/*
 * Add a rule: "10.0.0.0/8", "10.1.2.3", "10.0.0.0/8:80,8000-8100"; "fd00::/8", "[fd00::/8]:80"; or
 * "none", which exposes nothing and does not take away what others expose. Returns 0, -EINVAL with
 * @err naming what is wrong, or -ENOMEM.
 */
int expose_add(struct expose *expose, const char *text, struct err *err);
void expose_fini(struct expose *expose);

/* Is @port (host order) of @ip exposed? With 0: is any port of it? */
bool expose_allows(const struct expose *expose, struct in_addr ip, uint16_t port);
bool expose_allows6(const struct expose *expose, const struct in6_addr *ip, uint16_t port);
