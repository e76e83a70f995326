/* SPDX-License-Identifier: Apache-2.0 */
/* wire/fq - packets that wait, shared fairly between sources and between the flows of each */
#include "wire/fq.h"

#include <stdlib.h>
#include <string.h>

#define WAYS       8 /* places where a flow may be */
#define KEPT       2 /* packets of a flow that are not dropped for having waited */
#define ROOT_SHIFT 10

/* Who takes turns in a ring; linked while it does. */
struct turn {
	struct list link;
	ssize_t left_bytes;
};

struct fq_flow {
	struct turn turn;
	struct list packets;
	uint32_t hash;
	size_t bytes, count;
	size_t largest; /* packet that it had, since it began to wait */
	/* CoDel, the names of RFC 8289 */
	uint64_t first_above_ns, drop_next_ns;
	unsigned drops, last_drops;
	bool is_dropping;
};

struct fq_source {
	struct turn turn;
	struct fq_ring turns; /* of its flows */
	struct fq_source *next;
	uint32_t key;
	size_t bytes;
	struct fq_flow flows[FQ_FLOWS];
};

/* --- turns -------------------------------------------------------------------------------- */

static void ring_init(struct fq_ring *ring)
{
	list_init(&ring->fresh);
	list_init(&ring->old);
}

static void ring_join(struct fq_ring *ring, struct turn *turn)
{
	turn->left_bytes = FQ_QUANTUM_BYTES;
	list_add_last(&ring->fresh, &turn->link);
}

/* Whose turn it is; NULL: the ring is empty. */
static struct turn *ring_next(struct fq_ring *ring)
{
	for (;;) {
		struct list *from = list_is_empty(&ring->fresh) ? &ring->old : &ring->fresh;

		if (list_is_empty(from))
			return NULL;
		struct turn *turn = list_first(from, struct turn, link);
		if (turn->left_bytes > 0)
			return turn;
		turn->left_bytes += FQ_QUANTUM_BYTES;
		list_del(&turn->link);
		list_add_last(&ring->old, &turn->link);
	}
}

/*
 * It has nothing. Fresh ones stay for one more round, or who sends a packet at a time would always
 * be one of them (RFC 8290 4.2). Returns whether it has left the ring.
 */
static bool ring_leave(struct fq_ring *ring, struct turn *turn)
{
	bool is_fresh = ring->fresh.next == &turn->link;

	list_del(&turn->link);
	if (is_fresh && !list_is_empty(&ring->old))
		list_add_last(&ring->old, &turn->link);
	return !list_is_linked(&turn->link);
}

/* --- sources and flows -------------------------------------------------------------------- */

static struct fq_source **source_place(struct fq *fq, uint32_t key)
{
	struct fq_source **at = &fq->sources[key % FQ_SOURCE_CHAINS];

	while (*at && (*at)->key != key)
		at = &(*at)->next;
	return at;
}

/* NULL: no memory. */
static struct fq_source *find_source(struct fq *fq, uint32_t key)
{
	struct fq_source **place = source_place(fq, key), *source = *place;

	if (source)
		return source;
	source = calloc(1, sizeof(*source));
	if (!source)
		return NULL;
	source->key = key;
	ring_init(&source->turns);
	ring_join(&fq->turns, &source->turn);
	*place = source;
	return source;
}

static void free_source(struct fq *fq, struct fq_source *source)
{
	*source_place(fq, source->key) = source->next;
	if (fq->fattest_source == source)
		fq->fattest = NULL;
	free(source);
}

static struct fq_flow *find_flow(struct fq_source *source, uint32_t hash)
{
	struct fq_flow *flow = NULL;

	for (uint32_t i = 0; i < WAYS; i++) {
		struct fq_flow *at = &source->flows[(hash + i) % FQ_FLOWS];

		if (list_is_linked(&at->turn.link) && at->hash == hash)
			return at;
		if (!list_is_linked(&at->turn.link) && !flow)
			flow = at;
	}
	if (!flow) /* shared */
		return &source->flows[hash % FQ_FLOWS];
	*flow = (struct fq_flow){.hash = hash};
	list_init(&flow->packets);
	ring_join(&source->turns, &flow->turn);
	return flow;
}

/* --- packets ------------------------------------------------------------------------------ */

struct fq_packet *fq_packet_new(const void *bytes, size_t len)
{
	struct fq_packet *packet = malloc(sizeof(*packet) + len);

	if (!packet)
		return NULL;
	*packet = (struct fq_packet){.start = packet->bytes, .len = len};
	memcpy(packet->bytes, bytes, len);
	return packet;
}

static struct fq_packet *packet_at(struct list *link)
{
	return container_of(link, struct fq_packet, link);
}

static void count(struct fq *fq, struct fq_source *source, struct fq_flow *flow, ssize_t bytes)
{
	fq->bytes += (size_t)bytes;
	source->bytes += (size_t)bytes;
	flow->bytes += (size_t)bytes;
}

static void unlink_packet(
	struct fq *fq, struct fq_source *source, struct fq_flow *flow, struct fq_packet *packet)
{
	list_del(&packet->link);
	count(fq, source, flow, -(ssize_t)(packet->len + FQ_OVERHEAD_BYTES));
	flow->count--;
	fq->packets--;
}

static void drop(
	struct fq *fq, struct fq_source *source, struct fq_flow *flow, struct fq_packet *packet)
{
	unlink_packet(fq, source, flow, packet);
	free(packet);
	fq->dropped++;
}

static struct fq_flow *fatter(struct list *flows, struct fq_flow *fattest)
{
	list_each (at, flows) {
		struct fq_flow *flow = container_of(at, struct fq_flow, turn.link);

		if (!fattest || flow->bytes > fattest->bytes)
			fattest = flow;
	}
	return fattest;
}

/* Looked for again when it has lost a quarter, not for each packet of a flood. */
static void find_fattest(struct fq *fq)
{
	struct fq_source *fattest = NULL;

	if (fq->fattest && fq->fattest->bytes >= fq->fattest_bytes / 4 * 3)
		return;
	for (size_t i = 0; i < FQ_SOURCE_CHAINS; i++)
		for (struct fq_source *at = fq->sources[i]; at; at = at->next)
			if (!fattest || at->bytes > fattest->bytes)
				fattest = at;
	fq->fattest_source = fattest;
	fq->fattest = fatter(&fattest->turns.old, fatter(&fattest->turns.fresh, NULL));
	fq->fattest_bytes = fq->fattest->bytes;
}

void fq_put(struct fq *fq, struct fq_packet *packet, uint32_t source_key, uint32_t hash,
	uint64_t now_ns)
{
	struct fq_source *source = find_source(fq, source_key);

	if (!source) {
		free(packet);
		fq->dropped++;
		return;
	}
	struct fq_flow *flow = find_flow(source, hash);
	packet->since_ns = now_ns;
	list_add_last(&flow->packets, &packet->link);
	count(fq, source, flow, (ssize_t)(packet->len + FQ_OVERHEAD_BYTES));
	flow->count++;
	fq->packets++;
	if (packet->len > flow->largest)
		flow->largest = packet->len;
	while (fq->bytes > fq->max_bytes) {
		find_fattest(fq);
		struct list *first = fq->fattest->packets.next;
		/* of one that is begun the rest is wanted */
		if (packet_at(first)->is_begun && first->next != &fq->fattest->packets)
			first = first->next;
		drop(fq, fq->fattest_source, fq->fattest, packet_at(first));
	}
}

/* --- CoDel -------------------------------------------------------------------------------- */

static uint64_t square_root(uint64_t x)
{
	uint64_t root = 0;

	for (uint64_t bit = 1ULL << 31; bit > 0; bit >>= 1)
		if ((root | bit) * (root | bit) <= x)
			root |= bit;
	return root;
}

static uint64_t next_drop(uint64_t from_ns, unsigned drops)
{
	uint64_t root = square_root((uint64_t)drops << (2 * ROOT_SHIFT));

	return from_ns + (FQ_INTERVAL_NS << ROOT_SHIFT) / root;
}

/* Has the first packet waited for too long, and for long enough? RFC 8289 5.4, dodequeue. */
static bool has_waited(struct fq_flow *flow, const struct fq_packet *packet, uint64_t now_ns)
{
	if (now_ns - packet->since_ns < FQ_TARGET_NS || flow->count <= KEPT || packet->is_begun) {
		flow->first_above_ns = 0;
		return false;
	}
	if (flow->first_above_ns == 0)
		flow->first_above_ns = now_ns + FQ_INTERVAL_NS;
	return now_ns >= flow->first_above_ns;
}

static void begin_dropping(struct fq_flow *flow, uint64_t now_ns)
{
	/* as fast as it was, if that was a short time ago (RFC 8289 5.5) */
	unsigned since = flow->drops - flow->last_drops;
	bool is_again = since > 1 && now_ns < flow->drop_next_ns + 16 * FQ_INTERVAL_NS;

	flow->is_dropping = true;
	flow->drops = is_again ? since : 1;
	flow->last_drops = flow->drops;
	flow->drop_next_ns = next_drop(now_ns, flow->drops);
}

/* Is @packet, the first one of the flow, to be dropped? */
static bool is_dropped(struct fq_flow *flow, const struct fq_packet *packet, uint64_t now_ns)
{
	bool is_late = has_waited(flow, packet, now_ns);

	if (now_ns - packet->since_ns >= FQ_OLD_NS && flow->count > KEPT && !packet->is_begun)
		return true;
	if (!is_late) {
		flow->is_dropping = false;
		return false;
	}
	if (!flow->is_dropping) {
		begin_dropping(flow, now_ns);
		return true;
	}
	if (now_ns < flow->drop_next_ns)
		return false;
	flow->drops++;
	flow->drop_next_ns = next_drop(flow->drop_next_ns, flow->drops);
	return true;
}

/* --- taking ------------------------------------------------------------------------------- */

static struct fq_packet *take_from_flow(struct fq *fq, struct fq_source *source,
	struct fq_flow *flow, uint64_t now_ns, fq_cut *cut, size_t cut_bytes)
{
	struct fq_packet *packet, *part = NULL;

	if (list_is_empty(&flow->packets))
		return NULL;
	while (packet = packet_at(flow->packets.next), is_dropped(flow, packet, now_ns))
		drop(fq, source, flow, packet);
	size_t len = packet->len;
	if (cut && len > cut_bytes)
		part = cut(packet, cut_bytes);
	if (!part) {
		unlink_packet(fq, source, flow, packet);
		return packet;
	}
	count(fq, source, flow, (ssize_t)packet->len - (ssize_t)len);
	return part;
}

/* NULL: none of its flows has anything. */
static struct fq_packet *take_from_source(
	struct fq *fq, struct fq_source *source, uint64_t now_ns, fq_cut *cut, size_t cut_bytes)
{
	struct turn *turn;

	while ((turn = ring_next(&source->turns))) {
		struct fq_flow *flow = container_of(turn, struct fq_flow, turn);
		struct fq_packet *packet = take_from_flow(fq, source, flow, now_ns, cut, cut_bytes);

		if (packet) {
			turn->left_bytes -= (ssize_t)packet->len;
			return packet;
		}
		if (ring_leave(&source->turns, turn) && fq->fattest == flow)
			fq->fattest = NULL;
	}
	return NULL;
}

struct fq_packet *fq_take(struct fq *fq, uint64_t now_ns, fq_cut *cut, size_t cut_bytes)
{
	struct turn *turn;

	while ((turn = ring_next(&fq->turns))) {
		struct fq_source *source = container_of(turn, struct fq_source, turn);
		struct fq_packet *packet = take_from_source(fq, source, now_ns, cut, cut_bytes);

		if (packet) {
			turn->left_bytes -= (ssize_t)packet->len;
			return packet;
		}
		if (ring_leave(&fq->turns, turn))
			free_source(fq, source);
	}
	return NULL;
}

/* --- begin and end ------------------------------------------------------------------------ */

void fq_init(struct fq *fq, size_t max_bytes)
{
	*fq = (struct fq){.max_bytes = max_bytes};
	ring_init(&fq->turns);
}

static void free_packets(struct list *flows)
{
	list_each (at, flows) {
		struct fq_flow *flow = container_of(at, struct fq_flow, turn.link);

		list_each_safe (link, following, &flow->packets)
			free(packet_at(link));
	}
}

void fq_clear(struct fq *fq)
{
	for (size_t i = 0; i < FQ_SOURCE_CHAINS; i++) {
		for (struct fq_source *at = fq->sources[i], *next; at; at = next) {
			next = at->next;
			free_packets(&at->turns.fresh);
			free_packets(&at->turns.old);
			free(at);
		}
	}
	fq_init(fq, fq->max_bytes);
}
