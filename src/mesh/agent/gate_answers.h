/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/gate_answers - what was sent by UDP, so that answers can be told from the rest */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "mesh/agent/gate_table.h"

/*
 * Buckets of a few entries each; the entry of a full bucket that would be forgotten first makes
 * room. Only the namespace's own programs put anything in. Starts as all zero.
 */
#define GATE_ANSWERS_BITS    10
#define GATE_ANSWERS_WAYS    4
#define GATE_ANSWERS_TIME_NS (180ULL * 1000 * 1000 * 1000)

struct gate_answers {
	struct gate_awaited {
		uint64_t ips;
		uint64_t end_ns; /* answers are let in before */
		uint32_t ports;
	} buckets[1 << GATE_ANSWERS_BITS][GATE_ANSWERS_WAYS];
};

/* A packet went from @own to @peer. */
void gate_answers_await(struct gate_answers *answers, const struct packet_end *own,
	const struct packet_end *peer, uint64_t now_ns);

/* May one come from @peer to @own? */
bool gate_answers_has(const struct gate_answers *answers, const struct packet_end *own,
	const struct packet_end *peer, uint64_t now_ns);
