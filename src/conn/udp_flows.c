/* SPDX-License-Identifier: Apache-2.0 */
/* conn/udp_flows - who talks through a UDP relay: a table of flows that forgets */
#include "conn/udp_flows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS  1024
#define NS_PER_S 1000000000ULL
#define SETTLED  2 /* datagrams each way */

enum ring { RING_FRESH, RING_SETTLED, RINGS };

static const uint64_t idle_ns[RINGS] = {UDP_FRESH_S * NS_PER_S, UDP_SETTLED_S *NS_PER_S};

struct udp_flows {
	void (*on_forget)(struct udp_flow *flow);
	void *owner;
	size_t count, held_bytes;
	struct udp_flow rings[RINGS]; /* heads; the one used longest ago comes first */
	struct udp_flow *buckets[BUCKETS];
};

static size_t bucket_of(const struct udp_key *key)
{
	const unsigned char *bytes = (const unsigned char *)key;
	uint64_t hash = 0;

	for (size_t i = 0; i < sizeof(*key); i++)
		hash = (hash ^ bytes[i]) * 0x9e3779b97f4a7c15ULL;
	return (hash >> 32) % BUCKETS;
}

struct udp_flows *udp_flows_new(void (*on_forget)(struct udp_flow *flow), void *owner)
{
	struct udp_flows *flows = calloc(1, sizeof(*flows));

	if (!flows)
		return NULL;
	flows->on_forget = on_forget;
	flows->owner = owner;
	for (enum ring ring = 0; ring < RINGS; ring++)
		flows->rings[ring].prev = flows->rings[ring].next = &flows->rings[ring];
	return flows;
}

void udp_flows_free(struct udp_flows *flows)
{
	for (enum ring ring = 0; flows && ring < RINGS; ring++)
		while (flows->rings[ring].next != &flows->rings[ring])
			udp_flows_forget(flows, flows->rings[ring].next);
	free(flows);
}

size_t udp_flows_count(const struct udp_flows *flows)
{
	return flows->count;
}

struct udp_flow *udp_flows_find(const struct udp_flows *flows, const struct udp_key *key)
{
	struct udp_flow *flow = flows->buckets[bucket_of(key)];

	while (flow && memcmp(&flow->key, key, sizeof(*key)) != 0)
		flow = flow->hash_next;
	return flow;
}

static void ring_remove(struct udp_flow *flow)
{
	flow->prev->next = flow->next;
	flow->next->prev = flow->prev;
}

static void ring_append(struct udp_flow *head, struct udp_flow *flow)
{
	flow->prev = head->prev;
	flow->next = head;
	flow->prev->next = flow->next->prev = flow;
}

static void make_room(struct udp_flows *flows)
{
	for (enum ring ring = 0; ring < RINGS; ring++)
		if (flows->rings[ring].next != &flows->rings[ring]) {
			udp_flows_forget(flows, flows->rings[ring].next);
			return;
		}
}

struct udp_flow *udp_flows_add(struct udp_flows *flows, const struct udp_key *key, uint64_t now_ns)
{
	struct udp_flow *flow = calloc(1, sizeof(*flow)),
			**bucket = &flows->buckets[bucket_of(key)];

	if (!flow)
		return NULL;
	if (flows->count >= UDP_FLOWS_MAX)
		make_room(flows);
	flow->owner = flows->owner;
	flow->io.fd = -1;
	flow->key = *key;
	flow->made_ns = flow->used_ns = now_ns;
	flow->held_end = &flow->held;
	flow->hash_next = *bucket;
	*bucket = flow;
	ring_append(&flows->rings[RING_FRESH], flow);
	flows->count++;
	return flow;
}

void udp_flows_forget(struct udp_flows *flows, struct udp_flow *flow)
{
	struct udp_flow **at = &flows->buckets[bucket_of(&flow->key)];
	struct udp_held *held;

	flows->on_forget(flow);
	while (*at != flow)
		at = &(*at)->hash_next;
	*at = flow->hash_next;
	ring_remove(flow);
	while ((held = udp_flows_take_held(flows, flow)))
		free(held);
	flows->count--;
	free(flow);
}

void udp_flows_use(
	struct udp_flows *flows, struct udp_flow *flow, bool is_out, size_t count, uint64_t now_ns)
{
	unsigned *said = is_out ? &flow->said_out : &flow->said_in;

	*said = *said + count < SETTLED ? *said + (unsigned)count : SETTLED;
	flow->used_ns = now_ns;
	bool is_settled = flow->said_in == SETTLED && flow->said_out == SETTLED;
	ring_remove(flow);
	ring_append(&flows->rings[is_settled ? RING_SETTLED : RING_FRESH], flow);
}

bool udp_flows_hold(struct udp_flows *flows, struct udp_flow *flow, const void *bytes, size_t len,
	uint64_t deadline_ns)
{
	if (flow->held_count >= UDP_HELD_MAX || flow->held_bytes + len > UDP_HELD_BYTES ||
		flows->held_bytes + len > UDP_HELD_ALL_BYTES)
		return false;
	struct udp_held *held = malloc(sizeof(*held) + len);
	if (!held)
		return false;
	held->next = NULL;
	held->deadline_ns = deadline_ns;
	held->len = len;
	memcpy(held->bytes, bytes, len);
	*flow->held_end = held;
	flow->held_end = &held->next;
	flow->held_count++;
	flow->held_bytes += len;
	flows->held_bytes += len;
	return true;
}

struct udp_held *udp_flows_take_held(struct udp_flows *flows, struct udp_flow *flow)
{
	struct udp_held *held = flow->held;

	if (!held)
		return NULL;
	flow->held = held->next;
	if (!flow->held)
		flow->held_end = &flow->held;
	flow->held_count--;
	flow->held_bytes -= held->len;
	flows->held_bytes -= held->len;
	return held;
}

uint64_t udp_flows_sweep(struct udp_flows *flows, uint64_t now_ns)
{
	uint64_t next_ns = UINT64_MAX;

	for (enum ring ring = 0; ring < RINGS; ring++) {
		struct udp_flow *head = &flows->rings[ring];

		while (head->next != head && head->next->used_ns + idle_ns[ring] <= now_ns)
			udp_flows_forget(flows, head->next);
		if (head->next != head && head->next->used_ns + idle_ns[ring] < next_ns)
			next_ns = head->next->used_ns + idle_ns[ring];
		for (struct udp_flow *flow = head->next; flow != head; flow = flow->next) {
			while (flow->held && flow->held->deadline_ns <= now_ns)
				free(udp_flows_take_held(flows, flow));
			if (flow->held && flow->held->deadline_ns < next_ns)
				next_ns = flow->held->deadline_ns;
		}
	}
	return next_ns;
}

void udp_flows_each_held(struct udp_flows *flows, bool (*serve)(struct udp_flow *flow))
{
	for (enum ring ring = 0; ring < RINGS; ring++) {
		struct udp_flow *head = &flows->rings[ring];

		for (struct udp_flow *flow = head->next; flow != head; flow = flow->next)
			if (flow->held && !serve(flow))
				return;
	}
}
