/* SPDX-License-Identifier: Apache-2.0 */
/* net/icmp6 - answers to an IPv6 packet that goes no further */
#pragma once

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

/* Ethernet, IPv6 and ICMPv6 headers, and as much of the packet as RFC 4443 lets be quoted. */
#define ICMP6_FRAME_BYTES (14 + 1280)

/*
 * Answer the Ethernet frame @frame of @len bytes, which has an IPv6 packet in it (its header is
 * there whole), in the name of the router @from: "destination unreachable" with @code
 * (ICMP6_DST_UNREACH_ADMIN...). Returns the bytes of the answer in @out.
 */
size_t icmp6_make_unreachable(const struct in6_addr *from, uint8_t code, const uint8_t *frame,
	size_t len, uint8_t out[ICMP6_FRAME_BYTES]);

/* The same for one with a TCP packet in it (whose header is there whole) that begins a connection:
 * a RST in the name of who was asked (RFC 9293 3.10.7.1). */
size_t icmp6_make_rst(const uint8_t *frame, size_t len, uint8_t out[ICMP6_FRAME_BYTES]);
