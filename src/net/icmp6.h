/* SPDX-License-Identifier: Apache-2.0 */
/* net/icmp6 - the ICMPv6 error for a packet that goes no further */
#pragma once

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

/* Ethernet, IPv6 and ICMPv6 headers, and as much of the packet as RFC 4443 lets be quoted. */
#define ICMP6_FRAME_BYTES (14 + 1280)

/*
 * Answer the Ethernet frame @frame of @len bytes, which has an IPv6 packet in it (its header is
 * there whole), in the name of the router @from: "destination unreachable, administratively
 * prohibited" (type 1, code 1). Returns the bytes of the answer in @out.
 */
size_t icmp6_make_prohibited(const struct in6_addr *from, const uint8_t *frame, size_t len,
	uint8_t out[ICMP6_FRAME_BYTES]);
