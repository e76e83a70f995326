/* SPDX-License-Identifier: Apache-2.0 */
/* conn/udp_flows - who talks through a UDP relay: a table of flows that forgets */
#include "conn/udp_flows.h"

#include <stdlib.h>
#include <string.h>

#include "util/clock.h"

#define BUCKETS 1024
#define SETTLED 2 /* datagrams each way */

enum ring { RING_FRESH, RING_SETTLED, RINGS };

static const uint64_t idle_ns[RINGS] = {UDP_FRESH_S * NS_PER_S, UDP_SETTLED_S *NS_PER_S};

struct udp_flows {
	void (*on_forget)(struct udp_flow *flow);
	void *owner;
	struct budget *budget;
	struct shares_part part;
	bool is_pinned;
	size_t count, held_bytes;
	uint16_t by_source[RINGS][SHARES_SOURCES];
	size_t held_by[SHARES_SOURCES]; /* bytes */
	struct list rings[RINGS];       /* the one used longest ago comes first */
	struct list buckets[BUCKETS];
};

static struct udp_flow *flow_of(struct list *use_link)
{
	return container_of(use_link, struct udp_flow, use_link);
}

static size_t bucket_of(const struct udp_key *key)
{
	const unsigned char *bytes = (const unsigned char *)key;
	uint64_t hash = 0;

	for (size_t i = 0; i < sizeof(*key); i++)
		hash = (hash ^ bytes[i]) * 0x9e3779b97f4a7c15ULL;
	return (hash >> 32) % BUCKETS;
}

static struct addr peer_of(const struct udp_key *key)
{
	struct addr peer = {0};

	memcpy(&peer, &key->peer, sizeof(key->peer));
	return peer;
}

static void link_in(struct udp_flows *flows, struct udp_flow *flow, enum ring ring)
{
	list_add_last(&flows->rings[ring], &flow->use_link);
	flow->ring = ring;
	flows->by_source[ring][flow->source]++;
}

static void unlink_from(struct udp_flows *flows, struct udp_flow *flow)
{
	list_del(&flow->use_link);
	flows->by_source[flow->ring][flow->source]--;
}

static bool yield(struct shares_part *part, unsigned source);

struct udp_flows *udp_flows_new(
	struct budget *budget, void (*on_forget)(struct udp_flow *flow), void *owner)
{
	struct udp_flows *flows = calloc(1, sizeof(*flows));

	if (!flows)
		return NULL;
	flows->on_forget = on_forget;
	flows->owner = owner;
	flows->budget = budget;
	flows->part = (struct shares_part){.kind = SHARES_FLOWS, .yield = yield};
	shares_join(&budget->shares, &flows->part);
	for (enum ring ring = 0; ring < RINGS; ring++)
		list_init(&flows->rings[ring]);
	for (size_t i = 0; i < BUCKETS; i++)
		list_init(&flows->buckets[i]);
	return flows;
}

void udp_flows_free(struct udp_flows *flows)
{
	if (!flows)
		return;
	for (enum ring ring = 0; ring < RINGS; ring++)
		while (!list_is_empty(&flows->rings[ring]))
			udp_flows_forget(flows, flow_of(flows->rings[ring].next));
	shares_leave(&flows->budget->shares, &flows->part);
	free(flows);
}

size_t udp_flows_count(const struct udp_flows *flows)
{
	return flows->count;
}

struct udp_flow *udp_flows_find(const struct udp_flows *flows, const struct udp_key *key)
{
	list_each (at, &flows->buckets[bucket_of(key)]) {
		struct udp_flow *flow = container_of(at, struct udp_flow, hash_link);

		if (memcmp(&flow->key, key, sizeof(*key)) == 0)
			return flow;
	}
	return NULL;
}

/* The one of @source in @ring that was used longest ago; with a target, if @has_target. */
static struct udp_flow *find_oldest(
	const struct udp_flows *flows, enum ring ring, unsigned source, bool has_target)
{
	list_each (at, &flows->rings[ring]) {
		struct udp_flow *flow = flow_of(at);

		if (flow->source == source && (!has_target || flow->io.fd >= 0))
			return flow;
	}
	return NULL;
}

static void make_room(struct udp_flows *flows)
{
	const enum ring ring = list_is_empty(&flows->rings[RING_FRESH]) ? RING_SETTLED : RING_FRESH;
	const uint16_t *counts = flows->by_source[ring];
	unsigned most = 0;

	for (unsigned source = 1; source < SHARES_SOURCES; source++)
		if (counts[source] > counts[most])
			most = source;
	udp_flows_forget(flows, find_oldest(flows, ring, most, false));
}

static bool yield(struct shares_part *part, unsigned source)
{
	struct udp_flows *flows = container_of(part, struct udp_flows, part);
	struct udp_flow *flow = NULL;

	for (enum ring ring = 0; !flow && !flows->is_pinned && ring < RINGS; ring++)
		flow = find_oldest(flows, ring, source, true);
	if (flow)
		udp_flows_forget(flows, flow);
	return flow;
}

bool udp_flows_take_from_others(struct budget *budget, const struct addr *peer, size_t count)
{
	do {
		bool is_flows_only =
			budget->shares.totals[SHARES_FLOWS] >= budget_part_of_flows(budget);
		if (!shares_yield(&budget->shares, peer, 0, is_flows_only))
			return false;
	} while (!budget_has_room(budget, count));
	return true;
}

bool udp_flows_take_target(struct udp_flows *flows, const struct udp_flow *flow)
{
	const struct addr peer = peer_of(&flow->key);

	if (!budget_has_room_for_flow(flows->budget) &&
		!udp_flows_take_from_others(flows->budget, &peer, 1))
		return false;
	budget_take(flows->budget, 1);
	shares_take(&flows->budget->shares, SHARES_FLOWS, flow->source);
	return true;
}

void udp_flows_give_target(struct udp_flows *flows, const struct udp_flow *flow)
{
	budget_give(flows->budget, 1);
	shares_give(&flows->budget->shares, SHARES_FLOWS, flow->source);
}

void udp_flows_pin(struct udp_flows *flows, bool is_pinned)
{
	flows->is_pinned = is_pinned;
}

struct udp_flow *udp_flows_add(struct udp_flows *flows, const struct udp_key *key, uint64_t now_ns)
{
	const struct addr peer = peer_of(key);
	struct udp_flow *flow = calloc(1, sizeof(*flow));

	if (!flow)
		return NULL;
	if (flows->count >= UDP_FLOWS_MAX)
		make_room(flows);
	flow->owner = flows->owner;
	flow->io.fd = -1;
	flow->key = *key;
	flow->source = shares_source(&flows->budget->shares, &peer);
	flow->made_ns = flow->used_ns = now_ns;
	flow->held_end = &flow->held;
	list_add_first(&flows->buckets[bucket_of(key)], &flow->hash_link);
	link_in(flows, flow, RING_FRESH);
	flows->count++;
	return flow;
}

void udp_flows_forget(struct udp_flows *flows, struct udp_flow *flow)
{
	struct udp_held *held;

	flows->on_forget(flow);
	list_del(&flow->hash_link);
	unlink_from(flows, flow);
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
	unlink_from(flows, flow);
	link_in(flows, flow, is_settled ? RING_SETTLED : RING_FRESH);
}

/* The flow of @source, with datagrams that are held, that was used longest ago. */
static struct udp_flow *find_holder(const struct udp_flows *flows, unsigned source)
{
	for (enum ring ring = 0; ring < RINGS; ring++)
		list_each (at, &flows->rings[ring])
			if (flow_of(at)->source == source && flow_of(at)->held)
				return flow_of(at);
	return NULL;
}

/* Who has more than @source, with @len more, loses some. Returns whether there is room. */
static bool make_room_to_hold(struct udp_flows *flows, unsigned source, size_t len)
{
	while (flows->held_bytes + len > UDP_HELD_ALL_BYTES) {
		unsigned most = 0;

		for (unsigned i = 1; i < SHARES_SOURCES; i++)
			if (flows->held_by[i] > flows->held_by[most])
				most = i;
		if (flows->held_by[most] <= flows->held_by[source] + len)
			return false;
		free(udp_flows_take_held(flows, find_holder(flows, most)));
	}
	return true;
}

bool udp_flows_hold(struct udp_flows *flows, struct udp_flow *flow, const void *bytes, size_t len,
	uint64_t deadline_ns)
{
	if (flow->held_count >= UDP_HELD_MAX || flow->held_bytes + len > UDP_HELD_BYTES ||
		!make_room_to_hold(flows, flow->source, len))
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
	flows->held_by[flow->source] += len;
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
	flows->held_by[flow->source] -= held->len;
	return held;
}

uint64_t udp_flows_sweep(struct udp_flows *flows, uint64_t now_ns)
{
	uint64_t next_ns = UINT64_MAX;

	for (enum ring ring = 0; ring < RINGS; ring++) {
		list_each_safe (at, following, &flows->rings[ring]) {
			struct udp_flow *flow = flow_of(at);
			uint64_t idle_at_ns = flow->used_ns + idle_ns[ring];

			if (idle_at_ns <= now_ns) {
				udp_flows_forget(flows, flow);
				continue;
			}
			while (flow->held && flow->held->deadline_ns <= now_ns)
				free(udp_flows_take_held(flows, flow));
			if (flow->held && flow->held->deadline_ns < next_ns)
				next_ns = flow->held->deadline_ns;
			if (idle_at_ns < next_ns)
				next_ns = idle_at_ns;
		}
	}
	return next_ns;
}

void udp_flows_each_held(struct udp_flows *flows, bool (*serve)(struct udp_flow *flow))
{
	for (enum ring ring = 0; ring < RINGS; ring++)
		list_each (at, &flows->rings[ring])
			if (flow_of(at)->held && !serve(flow_of(at)))
				return;
}
