/* SPDX-License-Identifier: Apache-2.0 */
/* net/awaited - what was sent by UDP, so that answers can be told from the rest */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/packet.h"

/*
 * Buckets of a few entries each; the entry of a full bucket that would be forgotten first makes
 * room. Only what the host itself sends is put in. Starts as all zero.
 */
#define AWAITED_BITS    10
#define AWAITED_WAYS    4
#define AWAITED_TIME_NS (180ULL * 1000 * 1000 * 1000)

struct awaited {
	struct awaited_flow {
		uint64_t ips[2]; /* both, or the peer's alone */
		uint64_t end_ns; /* answers are let in before */
		uint32_t ports;
		uint8_t stage; /* the caller's */
	} buckets[1 << AWAITED_BITS][AWAITED_WAYS];
};

/* A packet went from @own to @peer. */
void awaited_note(struct awaited *answers, const struct packet_end *own,
	const struct packet_end *peer, uint64_t now_ns);

/* May one come from @peer to @own? */
bool awaited_has(const struct awaited *answers, const struct packet_end *own,
	const struct packet_end *peer, uint64_t now_ns);

/*
 * The same for a flow whose ips and ports its caller has filled, as it likes: have it, with its
 * end_ns, in place of what was there of it; and find it, NULL if it is not there or over.
 */
void awaited_put(struct awaited *answers, const struct awaited_flow *flow);
const struct awaited_flow *awaited_find(
	const struct awaited *answers, const struct awaited_flow *wanted, uint64_t now_ns);
