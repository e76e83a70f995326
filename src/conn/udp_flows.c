/* SPDX-License-Identifier: Apache-2.0 */
/* conn/udp_flows - who talks through a UDP relay: a table of flows that forgets */
#include "conn/udp_flows.h"

#include <stdlib.h>
#include <string.h>

#include "util/clock.h"

#define BUCKETS 1024
#define SOURCES 1024 /* some addresses have one in common */
#define SETTLED 2    /* datagrams each way */

enum ring { RING_FRESH, RING_SETTLED, RINGS };

static const uint64_t idle_ns[RINGS] = {UDP_FRESH_S * NS_PER_S, UDP_SETTLED_S *NS_PER_S};

struct udp_flows {
	void (*on_forget)(struct udp_flow *flow);
	void *owner;
	size_t count, held_bytes;
	uint16_t by_source[RINGS][SOURCES];
	struct list rings[RINGS]; /* the one used longest ago comes first */
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

/* Its address, whatever the port; of IPv6 the network, which has addresses for everything. */
static size_t source_of(const struct udp_key *key)
{
	const size_t words = IN6_IS_ADDR_V4MAPPED(&key->peer.sin6_addr) ? 4 : 2;
	struct sockaddr_in v4;
	uint64_t hash = 0;
	uint32_t word;

	memcpy(&v4, &key->peer, sizeof(v4));
	if (key->peer.sin6_family == AF_INET)
		hash = v4.sin_addr.s_addr * 0x9e3779b97f4a7c15ULL;
	for (size_t i = 0; key->peer.sin6_family != AF_INET && i < words; i++) {
		memcpy(&word, &key->peer.sin6_addr.s6_addr[4 * i], sizeof(word));
		hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
	}
	return (hash >> 32) % SOURCES;
}

static void link_in(struct udp_flows *flows, struct udp_flow *flow, enum ring ring)
{
	list_add_last(&flows->rings[ring], &flow->use_link);
	flow->ring = ring;
	flows->by_source[ring][source_of(&flow->key)]++;
}

static void unlink_from(struct udp_flows *flows, struct udp_flow *flow)
{
	list_del(&flow->use_link);
	flows->by_source[flow->ring][source_of(&flow->key)]--;
}

struct udp_flows *udp_flows_new(void (*on_forget)(struct udp_flow *flow), void *owner)
{
	struct udp_flows *flows = calloc(1, sizeof(*flows));

	if (!flows)
		return NULL;
	flows->on_forget = on_forget;
	flows->owner = owner;
	for (enum ring ring = 0; ring < RINGS; ring++)
		list_init(&flows->rings[ring]);
	for (size_t i = 0; i < BUCKETS; i++)
		list_init(&flows->buckets[i]);
	return flows;
}

void udp_flows_free(struct udp_flows *flows)
{
	for (enum ring ring = 0; flows && ring < RINGS; ring++)
		while (!list_is_empty(&flows->rings[ring]))
			udp_flows_forget(flows, flow_of(flows->rings[ring].next));
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

/* Who has most of them in the rings from @first to @last. */
static size_t find_most(
	const struct udp_flows *flows, enum ring first, enum ring last, size_t *count)
{
	size_t most = 0;

	*count = 0;
	for (size_t source = 0; source < SOURCES; source++) {
		size_t has = 0;

		for (enum ring ring = first; ring <= last; ring++)
			has += flows->by_source[ring][source];
		most = has > *count ? source : most;
		*count = has > *count ? has : *count;
	}
	return most;
}

/* The one of @source in @ring that was used longest ago; with a target, if @has_target. */
static struct udp_flow *find_oldest(
	const struct udp_flows *flows, enum ring ring, size_t source, bool has_target)
{
	list_each (at, &flows->rings[ring]) {
		struct udp_flow *flow = flow_of(at);

		if (source_of(&flow->key) == source && (!has_target || flow->io.fd >= 0))
			return flow;
	}
	return NULL;
}

static void make_room(struct udp_flows *flows)
{
	size_t count = 0, most;

	for (enum ring ring = 0; ring < RINGS && count == 0; ring++) {
		most = find_most(flows, ring, ring, &count);
		if (count > 0)
			udp_flows_forget(flows, find_oldest(flows, ring, most, false));
	}
}

bool udp_flows_yield(struct udp_flows *flows, const struct udp_key *key, size_t lacking)
{
	const size_t source = source_of(key);
	const size_t own =
		flows->by_source[RING_FRESH][source] + flows->by_source[RING_SETTLED][source];
	struct udp_flow *flow = NULL;
	size_t count, most = find_most(flows, RING_FRESH, RING_SETTLED, &count);

	for (enum ring ring = 0; !flow && count > own + lacking && ring < RINGS; ring++)
		flow = find_oldest(flows, ring, most, true);
	if (flow)
		udp_flows_forget(flows, flow);
	return flow;
}

struct udp_flow *udp_flows_add(struct udp_flows *flows, const struct udp_key *key, uint64_t now_ns)
{
	struct udp_flow *flow = calloc(1, sizeof(*flow));

	if (!flow)
		return NULL;
	if (flows->count >= UDP_FLOWS_MAX)
		make_room(flows);
	flow->owner = flows->owner;
	flow->io.fd = -1;
	flow->key = *key;
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
