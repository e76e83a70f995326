/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/gate_answers - what was sent by UDP, so that answers can be told from the rest */
#include "mesh/agent/gate_answers.h"

static uint64_t make_key(uint16_t port, struct gate_end peer)
{
	return (uint64_t)peer.ip.s_addr << 32 | (uint64_t)peer.port << 16 | port;
}

static unsigned int find_bucket(uint64_t key)
{
	return (unsigned int)(gate_hash(key) >> (64 - GATE_ANSWERS_BITS));
}

void gate_answers_await(
	struct gate_answers *answers, uint16_t port, struct gate_end peer, uint64_t now_ns)
{
	const uint64_t key = make_key(port, peer);
	struct gate_awaited *bucket = answers->buckets[find_bucket(key)];
	struct gate_awaited *entry = &bucket[0];

	for (unsigned int i = 0; i < GATE_ANSWERS_WAYS; i++) {
		if (bucket[i].key == key) {
			entry = &bucket[i];
			break;
		}
		if (bucket[i].end_ns < entry->end_ns)
			entry = &bucket[i];
	}
	*entry = (struct gate_awaited){.key = key, .end_ns = now_ns + GATE_ANSWERS_TIME_NS};
}

bool gate_answers_has(
	const struct gate_answers *answers, uint16_t port, struct gate_end peer, uint64_t now_ns)
{
	const uint64_t key = make_key(port, peer);
	const struct gate_awaited *bucket = answers->buckets[find_bucket(key)];

	for (unsigned int i = 0; i < GATE_ANSWERS_WAYS; i++)
		if (bucket[i].key == key && now_ns < bucket[i].end_ns)
			return true;
	return false;
}
