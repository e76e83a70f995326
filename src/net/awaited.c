/* SPDX-License-Identifier: Apache-2.0 */
/* net/awaited - what was sent by UDP, so that answers can be told from the rest */
#include "net/awaited.h"

#include "util/mix.h"

static struct awaited_flow make_entry(const struct packet_end *own, const struct packet_end *peer)
{
	return (struct awaited_flow){
		.ips = {(uint64_t)own->ip.s_addr << 32 | peer->ip.s_addr},
		.ports = (uint32_t)own->port << 16 | peer->port,
	};
}

static bool is_same(const struct awaited_flow *a, const struct awaited_flow *b)
{
	return a->ips[0] == b->ips[0] && a->ips[1] == b->ips[1] && a->ports == b->ports;
}

static unsigned int find_bucket(const struct awaited_flow *entry)
{
	const uint64_t key = mix_bits(mix_bits(entry->ips[0]) ^ entry->ips[1]) ^ entry->ports;

	return (unsigned int)(mix_bits(key) >> (64 - AWAITED_BITS));
}

void awaited_put(struct awaited *answers, const struct awaited_flow *flow)
{
	struct awaited_flow *bucket = answers->buckets[find_bucket(flow)];
	struct awaited_flow *entry = &bucket[0];

	for (unsigned int i = 0; i < AWAITED_WAYS; i++) {
		if (is_same(&bucket[i], flow)) {
			entry = &bucket[i];
			break;
		}
		if (bucket[i].end_ns < entry->end_ns)
			entry = &bucket[i];
	}
	*entry = *flow;
}

const struct awaited_flow *awaited_find(
	const struct awaited *answers, const struct awaited_flow *wanted, uint64_t now_ns)
{
	const struct awaited_flow *bucket = answers->buckets[find_bucket(wanted)];

	for (unsigned int i = 0; i < AWAITED_WAYS; i++)
		if (is_same(&bucket[i], wanted) && now_ns < bucket[i].end_ns)
			return &bucket[i];
	return NULL;
}

void awaited_note(struct awaited *answers, const struct packet_end *own,
	const struct packet_end *peer, uint64_t now_ns)
{
	struct awaited_flow flow = make_entry(own, peer);

	flow.end_ns = now_ns + AWAITED_TIME_NS;
	awaited_put(answers, &flow);
}

bool awaited_has(const struct awaited *answers, const struct packet_end *own,
	const struct packet_end *peer, uint64_t now_ns)
{
	const struct awaited_flow wanted = make_entry(own, peer);

	return awaited_find(answers, &wanted, now_ns);
}
