/* SPDX-License-Identifier: Apache-2.0 */
/* exit/sixfour - IPv6 packets as IPv4 ones, and back: what comes between knows one of both */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * How it works
 *
 * Each IPv6 address that is met gets an alias, an address of 240.0.0.0/4, which is nobody's (RFC
 * 1112); headers are changed as by RFC 7915 and nothing else is. So an exit's stack, what waits for
 * its target and its flows know IPv4 only. Aliases are handed out in turn, and the one that was
 * used longest ago is forgotten: it means nobody then, never somebody else.
 *
 * TCP, UDP and pings (echo, and errors on the way back) have a counterpart; what has none is
 * dropped, as are extension headers, and so fragments, and datagrams that would be longer as IPv6
 * than a packet may be. The sums of TCP and UDP are not touched: both ends' kernels are told not to
 * look (tap_write).
 */
#define SIXFOUR_ALIASES 4096
#define SIXFOUR_GROWTH  20 /* an IPv6 header is so much longer than the other one */

struct sixfour;

/* Returns NULL with errno set. */
struct sixfour *sixfour_new(void);
void sixfour_free(struct sixfour *sixfour); /* NULL is allowed */

/*
 * Make an IPv4 packet of the IPv6 packet in @packet, in place: it begins SIXFOUR_GROWTH bytes
 * later. Returns its size, or 0: it has no counterpart.
 */
size_t sixfour_in(struct sixfour *sixfour, unsigned char *packet, size_t len);

/*
 * The other way: an IPv4 packet between two aliases, in front of which SIXFOUR_GROWTH bytes are
 * free; it begins there then. (An error in ICMP grows by as much again behind it: @cap_bytes is
 * where it has to end.) Returns its size, or 0.
 */
size_t sixfour_out(struct sixfour *sixfour, unsigned char *packet, size_t len, size_t cap_bytes);

bool sixfour_is_alias(struct in_addr ip);

/* Whose alias is it? False: nobody's, any more. */
bool sixfour_find(const struct sixfour *sixfour, struct in_addr alias, struct in6_addr *out);
