/* SPDX-License-Identifier: Apache-2.0 */
/* exit/answer - what is said at once about a packet that nobody will ever answer */
#pragma once

#include <netinet/ip_icmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/icmp.h"
#include "net/packet.h"
#include "wire/frame.h"

/*
 * How it works
 *
 * A packet that begins a TCP connection to a host that cannot be reached is told so in ICMP, which
 * ends the attempt with the true reason. All other TCP is told by a RST, as errors in ICMP end no
 * connection that is there (RFC 5461). What is no TCP is told in ICMP.
 *
 * ICMP is sent to one address ANSWERS_PER_S times a second, as many at once (RFC 1812 4.3.2.8); a
 * packet of TCP beyond that has its RST, which is no larger than the packet. No answer is answered.
 */
#define ANSWERS_PER_S 100
#define ANSWERS_SLOTS 64 /* some addresses have one in common */

#define ANSWER_FRAME_BYTES (FRAME_HEADER_BYTES + ICMP_ERROR_BYTES)

/* What was sent; starts as all zero. */
struct answers {
	uint64_t paid_ns[ANSWERS_SLOTS];
};

struct answer {
	struct in_addr from; /* who speaks in ICMP */
	uint8_t code;        /* ICMP_HOST_UNREACH: no connection can begin; ICMP_PORT_UNREACH... */
	bool is_tcp_only;    /* who asks does not know ICMP */
};

/*
 * Make a whole frame that answers @view, which is no such frame's part. Returns its size, or 0: it
 * is not answered, or not now.
 */
size_t answer_make(struct answers *answers, const struct answer *answer,
	const struct packet_view *view, uint64_t now_ns, unsigned char frame[ANSWER_FRAME_BYTES]);
