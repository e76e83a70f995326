/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/gate_answers - what was sent by UDP, so that answers can be told from the rest */
#include "mesh/agent/gate_answers.h"

static struct gate_awaited make_entry(const struct packet_end *own, const struct packet_end *peer)
{
	return (struct gate_awaited){
		.ips = (uint64_t)own->ip.s_addr << 32 | peer->ip.s_addr,
		.ports = (uint32_t)own->port << 16 | peer->port,
	};
}

static bool is_same(const struct gate_awaited *a, const struct gate_awaited *b)
{
	return a->ips == b->ips && a->ports == b->ports;
}

static unsigned int find_bucket(const struct gate_awaited *entry)
{
	const uint64_t key = gate_table_hash(entry->ips) ^ entry->ports;

	return (unsigned int)(gate_table_hash(key) >> (64 - GATE_ANSWERS_BITS));
}

void gate_answers_await(struct gate_answers *answers, const struct packet_end *own,
	const struct packet_end *peer, uint64_t now_ns)
{
	struct gate_awaited awaited = make_entry(own, peer);
	struct gate_awaited *bucket = answers->buckets[find_bucket(&awaited)];
	struct gate_awaited *entry = &bucket[0];

	for (unsigned int i = 0; i < GATE_ANSWERS_WAYS; i++) {
		if (is_same(&bucket[i], &awaited)) {
			entry = &bucket[i];
			break;
		}
		if (bucket[i].end_ns < entry->end_ns)
			entry = &bucket[i];
	}
	*entry = awaited;
	entry->end_ns = now_ns + GATE_ANSWERS_TIME_NS;
}

bool gate_answers_has(const struct gate_answers *answers, const struct packet_end *own,
	const struct packet_end *peer, uint64_t now_ns)
{
	const struct gate_awaited wanted = make_entry(own, peer);
	const struct gate_awaited *bucket = answers->buckets[find_bucket(&wanted)];

	for (unsigned int i = 0; i < GATE_ANSWERS_WAYS; i++)
		if (is_same(&bucket[i], &wanted) && now_ns < bucket[i].end_ns)
			return true;
	return false;
}
