/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/offers_syn - connections from the mesh, let in when their target has accepted */
#include "mesh/agent/offers_syn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "conn/relay.h"
#include "mesh/packet.h"
#include "util/fd.h"
#include "util/log.h"

#define BUCKETS   1024 /* a power of two */
#define FDS_EACH  2    /* a target, and a peer soon */
#define SHARES    4    /* one address has no more than this part of what there is */
#define NS_PER_MS 1000000ULL

enum syn_state { SYN_DIALLING, SYN_LET_IN, SYN_RELAYED };

struct syn {
	struct syns *syns;
	enum syn_state state;
	struct in_addr peer_ip;
	uint16_t peer_port_be, port;
	struct syn *hash_next;
	struct syn *prev, *next; /* ring of those that are pending, or of all relays */
	struct dial dial;        /* DIALLING */
	unsigned char *packet;
	size_t packet_len;
	int target_fd; /* LET_IN */
	uint64_t deadline_ns;
	struct relay *relay; /* RELAYED */
};

struct syns {
	const struct conn_context *context;
	struct dialer *dialer;
	uint64_t seed;
	struct syn *buckets[BUCKETS];
	struct syn dialling, let_in, relayed; /* rings; let_in in order of deadlines */
	size_t pending;
	unsigned short pending_from[BUCKETS]; /* by address; some have one in common */
	struct loop_timer timer;
};

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

static void ring_init(struct syn *ring)
{
	ring->prev = ring->next = ring;
}

static void enter_ring(struct syn *ring, struct syn *syn)
{
	syn->prev = ring->prev;
	syn->next = ring;
	syn->prev->next = syn->next->prev = syn;
}

static void leave_ring(struct syn *syn)
{
	syn->prev->next = syn->next;
	syn->next->prev = syn->prev;
}

/* A peer chooses its ports, so the seed is random. */
static size_t bucket_number(const struct syns *syns, in_addr_t ip, uint16_t port_be, uint16_t port)
{
	uint64_t x = ((uint64_t)ip << 32 | (uint64_t)port_be << 16 | port) ^ syns->seed;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return (x ^ (x >> 31)) % BUCKETS;
}

/* Where the chain of its bucket begins. */
static struct syn **bucket_of(struct syns *syns, const struct sockaddr_in *peer, uint16_t port)
{
	return &syns->buckets[bucket_number(syns, peer->sin_addr.s_addr, peer->sin_port, port)];
}

static unsigned short *pending_from(struct syns *syns, struct in_addr ip)
{
	return &syns->pending_from[bucket_number(syns, ip.s_addr, 0, 0)];
}

static void stop_pending(struct syn *syn)
{
	budget_give(syn->syns->context->budget, FDS_EACH);
	syn->syns->pending--;
	--*pending_from(syn->syns, syn->peer_ip);
}

static bool is_from(const struct syn *syn, const struct sockaddr_in *peer, uint16_t port)
{
	return syn->peer_ip.s_addr == peer->sin_addr.s_addr &&
	       syn->peer_port_be == peer->sin_port && syn->port == port;
}

static struct syn *find(struct syns *syns, const struct sockaddr_in *peer, uint16_t port)
{
	struct syn *syn = *bucket_of(syns, peer, port);

	while (syn && !is_from(syn, peer, port))
		syn = syn->hash_next;
	return syn;
}

/* Forget it; its descriptors are the caller's business. */
static void syn_free(struct syn *syn)
{
	const struct sockaddr_in peer = {.sin_addr = syn->peer_ip, .sin_port = syn->peer_port_be};
	struct syn **at = bucket_of(syn->syns, &peer, syn->port);

	while (*at != syn)
		at = &(*at)->hash_next;
	*at = syn->hash_next;
	leave_ring(syn);
	if (syn->state != SYN_RELAYED)
		stop_pending(syn);
	free(syn->packet);
	free(syn);
}

static void set_state(struct syn *syn, enum syn_state state)
{
	struct syns *syns = syn->syns;

	leave_ring(syn);
	enter_ring(state == SYN_LET_IN ? &syns->let_in : &syns->relayed, syn);
	if (state == SYN_RELAYED)
		stop_pending(syn);
	syn->state = state;
}

static void arm_timer(struct syns *syns)
{
	struct loop *loop = syns->context->loop;
	const struct syn *first = syns->let_in.next;
	uint64_t now_ns = loop_now_ns(loop);

	if (first == &syns->let_in || loop_timer_is_armed(&syns->timer))
		return;
	uint64_t left_ns = first->deadline_ns > now_ns ? first->deadline_ns - now_ns : 0;
	loop_timer_set(loop, &syns->timer, left_ns / NS_PER_MS + 1);
}

/* Nobody completed it, or its port is gone. */
static void give_up(struct syn *syn)
{
	int target_fd = syn->target_fd;

	syn_free(syn);
	fd_reset(&target_fd);
}

static void on_deadline(struct loop_timer *timer)
{
	struct syns *syns = container_of(timer, struct syns, timer);
	uint64_t now_ns = loop_now_ns(syns->context->loop);

	while (syns->let_in.next != &syns->let_in && syns->let_in.next->deadline_ns <= now_ns)
		give_up(syns->let_in.next);
	arm_timer(syns);
}

static void refuse(const struct conn_context *context, const void *packet, size_t len)
{
	unsigned char rst[PACKET_RST_BYTES];

	if (packet_make_rst(packet, len, rst))
		context->send_packet(context->told, rst, sizeof(rst));
}

/* What came of dialling for @packet: a socket or -errno. */
static void on_result(struct syn *syn, int result, const void *packet, size_t len)
{
	struct syns *syns = syn->syns;

	if (result < 0) {
		log_info("a connection to port %u was refused: %s", syn->port, dial_words(result));
		/* what runs out here may be there again when the peer asks again */
		if (!dial_is_short(result))
			refuse(syns->context, packet, len);
		syn_free(syn);
		return;
	}
	syn->target_fd = result;
	syn->deadline_ns = loop_now_ns(syns->context->loop) + SYNS_LET_IN_MS * NS_PER_MS;
	set_state(syn, SYN_LET_IN);
	arm_timer(syns);
	syns->context->inject_packet(syns->context->told, packet, len);
}

static void on_dialled(struct dial *dial, int result)
{
	struct syn *syn = container_of(dial, struct syn, dial);
	unsigned char *packet = syn->packet;

	syn->packet = NULL;
	on_result(syn, result, packet, syn->packet_len);
	free(packet);
}

static struct syn *add(struct syns *syns, const struct sockaddr_in *peer, uint16_t port)
{
	struct syn **bucket = bucket_of(syns, peer, port);
	struct syn *syn = calloc(1, sizeof(*syn));

	if (!syn)
		return NULL;
	syn->syns = syns;
	syn->state = SYN_DIALLING;
	syn->peer_ip = peer->sin_addr;
	syn->peer_port_be = peer->sin_port;
	syn->port = port;
	syn->target_fd = -1;
	syn->dial.on_done = on_dialled;
	syn->hash_next = *bucket;
	*bucket = syn;
	enter_ring(&syns->dialling, syn);
	budget_take(syns->context->budget, FDS_EACH);
	syns->pending++;
	++*pending_from(syns, peer->sin_addr);
	return syn;
}

void syns_on_packet(struct syns *syns, const void *packet, size_t len,
	const struct sockaddr_in *peer, uint16_t port, const struct dial_target *target)
{
	const struct conn_context *context = syns->context;
	struct syn *syn = find(syns, peer, port);

	if (syn) {
		if (syn->state != SYN_DIALLING)
			context->inject_packet(context->told, packet, len);
		return;
	}
	if (syns->pending >= SYNS_MAX || !budget_has_room(context->budget, FDS_EACH))
		return;
	/* a host that never completes its connections leaves room for those of others */
	size_t own = *pending_from(syns, peer->sin_addr);
	size_t fds = budget_left(context->budget) + syns->pending * FDS_EACH;
	if (own >= SYNS_MAX / SHARES || (own + 1) * FDS_EACH * SHARES > fds)
		return;
	syn = add(syns, peer, port);
	if (!syn)
		return;
	int result = dial_start(&syn->dial, syns->dialer, target);
	if (result != -EINPROGRESS) {
		on_result(syn, result, packet, len);
		return;
	}
	syn->packet = malloc(len);
	if (syn->packet) {
		memcpy(syn->packet, packet, len);
		syn->packet_len = len;
	} else {
		dial_cancel(&syn->dial);
		syn_free(syn);
	}
}

static void on_relay_done(struct relay *relay, void *owner)
{
	log_debug("connection ended: %llu bytes in, %llu bytes out",
		(unsigned long long)relay_bytes_ab(relay),
		(unsigned long long)relay_bytes_ba(relay));
	syn_free(owner);
}

bool syns_meet(struct syns *syns, const struct sockaddr_in *peer, uint16_t port, int fd)
{
	struct syn *syn = find(syns, peer, port);

	if (!syn || syn->state != SYN_LET_IN)
		return false;
	syn->relay = relay_start(syns->context->relays, fd, syn->target_fd, on_relay_done, syn);
	if (syn->relay) {
		syn->target_fd = -1;
		set_state(syn, SYN_RELAYED);
		return true;
	}
	log_warning("a connection was dropped: %s", strerror(errno));
	fd_reset(&fd);
	give_up(syn);
	return true;
}

void syns_drop_port(struct syns *syns, uint16_t port)
{
	struct syn *rings[] = {&syns->dialling, &syns->let_in};

	for (size_t i = 0; i < sizeof(rings) / sizeof(rings[0]); i++) {
		struct syn *syn = rings[i]->next;

		while (syn != rings[i]) {
			struct syn *next = syn->next;

			if (syn->port == port && syn->state == SYN_DIALLING) {
				dial_cancel(&syn->dial);
				refuse(syns->context, syn->packet, syn->packet_len);
			}
			if (syn->port == port)
				give_up(syn);
			syn = next;
		}
	}
}

struct syns *syns_new(const struct conn_context *context, struct dialer *dialer)
{
	struct syns *syns = calloc(1, sizeof(*syns));

	if (!syns)
		return NULL;
	if (getrandom(&syns->seed, sizeof(syns->seed), GRND_NONBLOCK) < 0)
		syns->seed = loop_now_ns(context->loop);
	syns->context = context;
	syns->dialer = dialer;
	syns->timer.on_expired = on_deadline;
	ring_init(&syns->dialling);
	ring_init(&syns->let_in);
	ring_init(&syns->relayed);
	return syns;
}

void syns_free(struct syns *syns)
{
	if (!syns)
		return;
	while (syns->dialling.next != &syns->dialling) {
		dial_cancel(&syns->dialling.next->dial);
		give_up(syns->dialling.next);
	}
	while (syns->let_in.next != &syns->let_in)
		give_up(syns->let_in.next);
	while (syns->relayed.next != &syns->relayed) {
		relay_stop(syns->relayed.next->relay);
		syn_free(syns->relayed.next);
	}
	loop_timer_cancel(syns->context->loop, &syns->timer);
	free(syns);
}
