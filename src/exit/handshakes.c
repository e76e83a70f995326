/* SPDX-License-Identifier: Apache-2.0 */
/* exit/handshakes - how many TCP connections begin at once over a bare link */
#include "exit/handshakes.h"

#include <stdlib.h>
#include <string.h>

#include "util/clock.h"
#include "util/list.h"

/* RFC 2018 2 */
#define OPTION_SACK_PERMITTED 4

static bool begins(const struct packet_view *packet)
{
	return (packet->tcp_flags & (PACKET_SYN | PACKET_ACK)) == PACKET_SYN;
}

/* Of the connection between these ends; NULL: none. */
static struct handshakes_one *find(
	struct handshakes *handshakes, struct packet_end src, struct packet_end dst)
{
	for (size_t i = 0; i < HANDSHAKES_MAX; i++) {
		struct handshakes_one *one = &handshakes->going[i];

		if (one->end_ns && packet_is_same_end(one->src, src) &&
			packet_is_same_end(one->dst, dst))
			return one;
	}
	return NULL;
}

static struct handshakes_one *find_place(struct handshakes *handshakes)
{
	for (size_t i = 0; i < HANDSHAKES_MAX; i++)
		if (handshakes->going[i].end_ns <= loop_now_ns(handshakes->loop))
			return &handshakes->going[i];
	return NULL;
}

static bool is_held(
	const struct handshakes *handshakes, struct packet_end src, struct packet_end dst)
{
	for (size_t i = 0; i < handshakes->count; i++) {
		const struct handshakes_held *held =
			&handshakes->held[(handshakes->first + i) % HANDSHAKES_HELD];

		if (packet_is_same_end(held->src, src) && packet_is_same_end(held->dst, dst))
			return true;
	}
	return false;
}

/* When the next one of those under way is given up. */
static void set_timer(struct handshakes *handshakes)
{
	uint64_t now_ns = loop_now_ns(handshakes->loop), end_ns = UINT64_MAX;

	if (handshakes->count == 0)
		return;
	for (size_t i = 0; i < HANDSHAKES_MAX; i++)
		if (handshakes->going[i].end_ns < end_ns)
			end_ns = handshakes->going[i].end_ns;
	loop_timer_set(handshakes->loop, &handshakes->timer,
		end_ns <= now_ns ? 0 : (end_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS);
}

static void go(struct handshakes *handshakes, struct handshakes_one *one, struct packet_end src,
	struct packet_end dst)
{
	*one = (struct handshakes_one){
		src, dst, loop_now_ns(handshakes->loop) + HANDSHAKES_MS * (uint64_t)NS_PER_MS};
}

static void hold(struct handshakes *handshakes, const struct packet_view *packet)
{
	if (handshakes->count == HANDSHAKES_HELD || is_held(handshakes, packet->src, packet->dst))
		return;
	struct handshakes_held *held =
		&handshakes->held[(handshakes->first + handshakes->count++) % HANDSHAKES_HELD];
	held->src = packet->src;
	held->dst = packet->dst;
	held->len = packet->len;
	memcpy(held->bytes, packet->ip, packet->len);
	set_timer(handshakes);
}

bool handshakes_out(struct handshakes *handshakes, const struct packet_view *packet)
{
	if (handshakes->is_free || packet->proto != IPPROTO_TCP)
		return true;
	struct handshakes_one *one = find(handshakes, packet->src, packet->dst);
	if (!begins(packet)) {
		if (one)
			one->end_ns = 0;
		return true;
	}
	if (!one && handshakes->count == 0)
		one = find_place(handshakes);
	if (one)
		go(handshakes, one, packet->src, packet->dst);
	else if (packet->len <= HANDSHAKES_PACKET_BYTES && handshakes->held)
		hold(handshakes, packet);
	else
		return true;
	return one != NULL;
}

void handshakes_next(struct handshakes *handshakes)
{
	while (handshakes->count > 0) {
		struct handshakes_held *held = &handshakes->held[handshakes->first];
		struct handshakes_one *one = find_place(handshakes);

		if (!one && !handshakes->is_free)
			break;
		if (one)
			go(handshakes, one, held->src, held->dst);
		handshakes->first = (handshakes->first + 1) % HANDSHAKES_HELD;
		handshakes->count--;
		handshakes->send(handshakes->owner, held->bytes, held->len);
	}
	set_timer(handshakes);
}

static void on_timer(struct loop_timer *timer)
{
	handshakes_next(container_of(timer, struct handshakes, timer));
}

void handshakes_in(struct handshakes *handshakes, const struct packet_view *packet)
{
	if (handshakes->is_free || packet->proto != IPPROTO_TCP)
		return;
	struct handshakes_one *one = find(handshakes, packet->dst, packet->src);
	if (one && packet->tcp_flags & PACKET_RST)
		one->end_ns = 0;
	else if (one && packet->tcp_flags & PACKET_SYN &&
		 packet_tcp_option(packet, OPTION_SACK_PERMITTED))
		handshakes->is_free = true;
	else
		return;
	handshakes_next(handshakes);
}

void handshakes_begin(struct handshakes *handshakes)
{
	memset(handshakes->going, 0, sizeof(handshakes->going));
	handshakes->is_free = false;
	handshakes->first = handshakes->count = 0;
	handshakes->timer.on_expired = on_timer;
	loop_timer_cancel(handshakes->loop, &handshakes->timer);
	/* without memory nothing is held */
	if (!handshakes->held)
		handshakes->held = calloc(HANDSHAKES_HELD, sizeof(*handshakes->held));
}

void handshakes_fini(struct handshakes *handshakes)
{
	if (handshakes->loop)
		loop_timer_cancel(handshakes->loop, &handshakes->timer);
	free(handshakes->held);
	handshakes->held = NULL;
}
