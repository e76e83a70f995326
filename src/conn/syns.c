/* SPDX-License-Identifier: Apache-2.0 */
/* conn/syns - connections of another stack, let in when their target has accepted */
#include "conn/syns.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "conn/relay.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

#define BUCKETS  1024 /* a power of two */
#define FDS_EACH 2    /* a target, and a peer soon */
#define SHARES   4    /* one address has no more than this part of what there is */

enum syn_state { SYN_DIALLING, SYN_LET_IN, SYN_RELAYED, SYN_STATES };

struct syn {
	struct syns *syns;
	enum syn_state state;
	struct addr peer, own;
	struct syn *hash_next;
	struct list link; /* in the ring of its state */
	struct dial dial; /* DIALLING */
	void *bytes;      /* DIALLING: of its packet */
	size_t len;
	uint32_t number;      /* of its packet */
	int target_fd;        /* LET_IN */
	uint64_t deadline_ns; /* LET_IN; DIALLING: when its peer is looked for */
	struct relay *relay;  /* RELAYED */
};

struct syns {
	const struct conn_context *context;
	const struct syns_ops *ops;
	void *owner;
	uint64_t seed;
	struct syn *buckets[BUCKETS];
	struct list rings[SYN_STATES]; /* DIALLING and LET_IN in order of deadlines */
	size_t pending;
	unsigned short pending_from[SHARES_SOURCES];
	struct loop_timer timer;
};

static struct syn *first_of(const struct syns *syns, enum syn_state state)
{
	const struct list *ring = &syns->rings[state];

	return list_is_empty(ring) ? NULL : list_first(ring, struct syn, link);
}

static uint64_t stir(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static uint64_t stir_ip(uint64_t x, const struct addr *addr)
{
	uint64_t halves[2];

	if (addr->family == AF_INET)
		return stir(x ^ addr->v4.sin_addr.s_addr);
	memcpy(halves, &addr->v6.sin6_addr, sizeof(halves));
	return stir(stir(x ^ halves[0]) ^ halves[1]);
}

/* A peer chooses its end, so the seed is random. */
static size_t bucket_number(
	const struct syns *syns, const struct addr *peer, const struct addr *own)
{
	uint64_t x = stir_ip(stir_ip(syns->seed, peer), own);

	return stir(x ^ ((uint64_t)addr_port(peer) << 16 | addr_port(own))) % BUCKETS;
}

static unsigned short *pending_from(struct syns *syns, const struct addr *peer)
{
	return &syns->pending_from[shares_source(&syns->context->budget->shares, peer)];
}

static void stop_pending(struct syn *syn)
{
	budget_give(syn->syns->context->budget, FDS_EACH);
	syn->syns->pending--;
	--*pending_from(syn->syns, &syn->peer);
}

static struct syn *find(const struct syns *syns, const struct addr *peer, const struct addr *own)
{
	struct syn *syn = syns->buckets[bucket_number(syns, peer, own)];

	while (syn && !(addr_equal(&syn->peer, peer) && addr_equal(&syn->own, own)))
		syn = syn->hash_next;
	return syn;
}

/* Forget it; its descriptors are the caller's business. */
static void syn_free(struct syn *syn)
{
	struct syn **at = &syn->syns->buckets[bucket_number(syn->syns, &syn->peer, &syn->own)];

	while (*at != syn)
		at = &(*at)->hash_next;
	*at = syn->hash_next;
	list_del(&syn->link);
	if (syn->state != SYN_RELAYED)
		stop_pending(syn);
	free(syn->bytes);
	free(syn);
}

static void set_state(struct syn *syn, enum syn_state state)
{
	list_del(&syn->link);
	list_add_last(&syn->syns->rings[state], &syn->link);
	if (state == SYN_RELAYED)
		stop_pending(syn);
	syn->state = state;
}

static void arm_timer(struct syns *syns)
{
	struct loop *loop = syns->context->loop;
	const struct syn *first = first_of(syns, SYN_LET_IN);
	const struct syn *looked = syns->ops->is_waiting ? first_of(syns, SYN_DIALLING) : NULL;

	if (!first || (looked && looked->deadline_ns < first->deadline_ns))
		first = looked;
	if (first)
		loop_timer_set(
			loop, &syns->timer, clock_ms_until(first->deadline_ns, loop_now_ns(loop)));
}

static void set_deadline(struct syn *syn, uint64_t timeout_ms)
{
	const struct loop_timer *timer = &syn->syns->timer;

	syn->deadline_ns = loop_now_ns(syn->syns->context->loop) + timeout_ms * NS_PER_MS;
	if (!loop_timer_is_armed(timer) || timer->deadline_ns > syn->deadline_ns)
		arm_timer(syn->syns);
}

static bool is_waiting(const struct syn *syn)
{
	const struct syns *syns = syn->syns;

	return !syns->ops->is_waiting || syns->ops->is_waiting(syns->owner, &syn->peer, &syn->own);
}

/* Nobody completed it, or its port is gone. */
static void give_up(struct syn *syn)
{
	int target_fd = syn->target_fd;

	if (syn->state == SYN_DIALLING)
		dial_cancel(&syn->dial);
	syn_free(syn);
	fd_reset(&target_fd);
}

static void on_deadline(struct loop_timer *timer)
{
	struct syns *syns = container_of(timer, struct syns, timer);
	uint64_t now_ns = loop_now_ns(syns->context->loop);
	struct syn *first;

	while ((first = first_of(syns, SYN_LET_IN)) && first->deadline_ns <= now_ns)
		give_up(first);
	while (syns->ops->is_waiting && (first = first_of(syns, SYN_DIALLING)) &&
		first->deadline_ns <= now_ns) {
		if (!is_waiting(first)) {
			give_up(first);
			continue;
		}
		set_state(first, SYN_DIALLING); /* behind all others */
		first->deadline_ns = now_ns + SYNS_LOOK_MS * NS_PER_MS;
	}
	arm_timer(syns);
}

/* What came of dialling for @packet: a socket or -errno. */
static void on_result(struct syn *syn, int result, const struct syns_packet *packet)
{
	struct syns *syns = syn->syns;

	if (result < 0) {
		log_info("a connection to port %u was refused: %s", addr_port(&syn->own),
			dial_words(result));
		/* what runs out here may be there again when the peer asks again */
		if (!dial_is_short(result)) {
			if (syns->ops->failed)
				syns->ops->failed(syns->owner, &syn->own, result);
			syns->ops->refuse(syns->owner, packet, result);
		}
		syn_free(syn);
		return;
	}
	syn->target_fd = result;
	set_state(syn, SYN_LET_IN);
	set_deadline(syn, SYNS_LET_IN_MS);
	syns->ops->let_in(syns->owner, packet);
}

static void on_dialled(struct dial *dial, int result)
{
	struct syn *syn = container_of(dial, struct syn, dial);
	const struct syns_packet packet = {syn->peer, syn->own, syn->bytes, syn->len, syn->number};

	syn->bytes = NULL;
	if (result >= 0 && !is_waiting(syn)) {
		syn->target_fd = result;
		syn->state = SYN_LET_IN; /* there is no dial any more */
		give_up(syn);
	} else {
		on_result(syn, result, &packet);
	}
	free(packet.bytes);
}

static struct syn *add(struct syns *syns, const struct addr *peer, const struct addr *own)
{
	struct syn **bucket = &syns->buckets[bucket_number(syns, peer, own)];
	struct syn *syn = calloc(1, sizeof(*syn));

	if (!syn)
		return NULL;
	syn->syns = syns;
	syn->state = SYN_DIALLING;
	syn->peer = *peer;
	syn->own = *own;
	syn->target_fd = -1;
	syn->dial.on_done = on_dialled;
	syn->hash_next = *bucket;
	*bucket = syn;
	list_add_last(&syns->rings[SYN_DIALLING], &syn->link);
	budget_take(syns->context->budget, FDS_EACH);
	syns->pending++;
	++*pending_from(syns, peer);
	set_deadline(syn, SYNS_LOOK_MS);
	return syn;
}

/* Are there descriptors for one more than @own? Who never completes anything leaves some. */
static bool has_fds(const struct syns *syns, size_t own)
{
	const struct budget *budget = syns->context->budget;
	size_t fds = budget_left(budget) + syns->pending * FDS_EACH;

	return budget_has_room(budget, FDS_EACH) && (own + 1) * FDS_EACH * SHARES <= fds;
}

/* Room for another one from @peer? Who has more connections than that gives way, one at a time. */
static bool make_room(struct syns *syns, const struct addr *peer)
{
	size_t own = *pending_from(syns, peer);

	if (syns->ops->is_one_peer)
		return syns->pending < SYNS_MAX && budget_has_room(syns->context->budget, FDS_EACH);
	if (syns->pending >= SYNS_MAX || own >= SYNS_MAX / SHARES)
		return false;
	while (!has_fds(syns, own))
		if (!shares_yield(&syns->context->budget->shares, peer, own, false))
			return false;
	return true;
}

static bool keep_packet(struct syn *syn, const struct syns_packet *packet)
{
	void *bytes = malloc(packet->len);

	if (!bytes)
		return false;
	free(syn->bytes);
	memcpy(bytes, packet->bytes, packet->len);
	syn->bytes = bytes;
	syn->len = packet->len;
	syn->number = packet->number;
	return true;
}

/* @syn is there: is @packet of it? If it is, it is dealt with. */
static bool take_again(struct syn *syn, const struct syns_packet *packet)
{
	if (syn->state == SYN_RELAYED && packet->number != syn->number) {
		relay_stop(syn->relay);
		syn_free(syn);
		return false;
	}
	if (syn->state == SYN_DIALLING && packet->number != syn->number) {
		keep_packet(syn, packet);
	} else if (syn->state != SYN_DIALLING) {
		syn->number = packet->number;
		syn->syns->ops->let_in(syn->syns->owner, packet);
	}
	return true;
}

void syns_on_packet(
	struct syns *syns, const struct syns_packet *packet, const struct dial_target *target)
{
	struct syn *syn = find(syns, &packet->peer, &packet->own);

	if (syn && take_again(syn, packet))
		return;
	syn = NULL;
	if (packet->len <= SYNS_PACKET_BYTES && make_room(syns, &packet->peer))
		syn = add(syns, &packet->peer, &packet->own);
	if (!syn)
		return;
	syn->number = packet->number;
	int result = dial_start(&syn->dial, syns->context, target);
	if (result != -EINPROGRESS)
		on_result(syn, result, packet);
	else if (!keep_packet(syn, packet))
		give_up(syn);
}

bool syns_has(const struct syns *syns, const struct addr *peer, const struct addr *own)
{
	return find(syns, peer, own);
}

bool syns_is_asked(const struct syns *syns, const struct addr *own)
{
	for (enum syn_state state = 0; state < SYN_STATES; state++)
		list_each (at, &syns->rings[state])
			if (addr_equal(&container_of(at, struct syn, link)->own, own))
				return true;
	return false;
}

static void on_relay_done(struct relay *relay, void *owner)
{
	(void)relay;
	syn_free(owner);
}

bool syns_meet(struct syns *syns, const struct addr *peer, const struct addr *own, int fd)
{
	struct syn *syn = find(syns, peer, own);

	if (!syn || syn->state != SYN_LET_IN)
		return false;
	syn->relay = relay_start(syns->context->relays, fd, syn->target_fd, on_relay_done, syn);
	if (syn->relay) {
		relay_note_tcp(syn->relay, RELAY_A);
		if (syns->ops->is_one_peer)
			relay_note_source(syn->relay, SHARES_HERE);
		syn->target_fd = -1;
		set_state(syn, SYN_RELAYED);
		return true;
	}
	log_warning("a connection was dropped: %s", strerror(errno));
	fd_reset(&fd);
	give_up(syn);
	return true;
}

/* Does it come to who listens at @own, perhaps at all addresses? */
static bool is_for(const struct syn *syn, const struct addr *own)
{
	if (!addr_is_wildcard(own))
		return addr_equal(&syn->own, own);
	return syn->own.family == own->family && addr_port(&syn->own) == addr_port(own);
}

void syns_drop(struct syns *syns, const struct addr *own)
{
	for (enum syn_state state = SYN_DIALLING; state <= SYN_LET_IN; state++)
		list_each_safe (at, following, &syns->rings[state]) {
			struct syn *syn = container_of(at, struct syn, link);

			const struct syns_packet packet = {
				syn->peer, syn->own, syn->bytes, syn->len, syn->number};

			if (!is_for(syn, own))
				continue;
			if (state == SYN_DIALLING)
				syns->ops->refuse(syns->owner, &packet, -ECONNREFUSED);
			give_up(syn);
		}
}

struct syns *syns_new(const struct conn_context *context, const struct syns_ops *ops, void *owner)
{
	struct syns *syns = calloc(1, sizeof(*syns));

	if (!syns)
		return NULL;
	if (getrandom(&syns->seed, sizeof(syns->seed), GRND_NONBLOCK) < 0)
		syns->seed = loop_now_ns(context->loop);
	syns->context = context;
	syns->ops = ops;
	syns->owner = owner;
	syns->timer.on_expired = on_deadline;
	for (enum syn_state state = 0; state < SYN_STATES; state++)
		list_init(&syns->rings[state]);
	return syns;
}

void syns_free(struct syns *syns)
{
	struct syn *syn;

	if (!syns)
		return;
	while ((syn = first_of(syns, SYN_DIALLING)) || (syn = first_of(syns, SYN_LET_IN)))
		give_up(syn);
	while ((syn = first_of(syns, SYN_RELAYED))) {
		relay_stop(syn->relay);
		syn_free(syn);
	}
	loop_timer_cancel(syns->context->loop, &syns->timer);
	free(syns);
}
