/* SPDX-License-Identifier: Apache-2.0 */
/* net/icmp - the ICMP error for an IPv4 packet that goes no further */
#pragma once

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#include "net/packet.h"

/* Its headers and as much of the packet as there is room for (RFC 1812 4.3.2.3). */
#define ICMP_ERROR_BYTES 576

/*
 * Answer @view, which may be a fragment, in the name of @from: "destination unreachable" with
 * @code (ICMP_HOST_UNREACH...). Returns the size of the answer in @out. 0: it must not be answered
 * (RFC 1122 3.2.2): it is not the first fragment, says nothing that asks for an answer in ICMP, or
 * one of its ends is not one host's.
 */
size_t icmp_make_unreachable(const struct packet_view *view, struct in_addr from, uint8_t code,
	unsigned char out[ICMP_ERROR_BYTES]);
