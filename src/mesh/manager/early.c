/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/early - packets to hosts that are still starting, kept until they are ready */
#include "mesh/manager/early.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "util/clock.h"

static bool begins_something(const struct packet_view *view)
{
	const uint8_t kind = view->tcp_flags & (PACKET_SYN | PACKET_ACK | PACKET_RST);

	return !view->is_fragment && view->len <= EARLY_LEN_MAX &&
	       (view->proto != IPPROTO_TCP || kind == PACKET_SYN);
}

static struct early_packet *bucket_of(struct early *early, const struct packet_view *view)
{
	uint64_t hash = packet_flow(view->ip, view->len);

	while (early->seed == 0)
		if (getrandom(&early->seed, sizeof(early->seed), GRND_NONBLOCK) < 0)
			early->seed = clock_now_ns();
	hash = (hash ^ early->seed) * 0x9e3779b97f4a7c15;
	hash = (hash ^ hash >> 32) * 0x9e3779b97f4a7c15;
	return &early->packets[(hash >> 32) % EARLY_BUCKETS * EARLY_WAYS];
}

/* Does @packet begin the connection that @view begins? */
static bool is_same(const struct early_packet *packet, const struct packet_view *view)
{
	struct packet_view kept;

	return packet->to && view->proto == IPPROTO_TCP &&
	       packet_parse(packet->bytes + EARLY_FRAME_ROOM, packet->len, &kept) &&
	       kept.proto == IPPROTO_TCP && packet_is_same_end(kept.src, view->src) &&
	       packet_is_same_end(kept.dst, view->dst);
}

/* The place for @view, whose @count is its source's; NULL: there is none. It may be taken. */
static struct early_packet *find_place(
	struct early_packet *bucket, const struct packet_view *view, size_t count)
{
	struct early_packet *best = bucket;

	for (struct early_packet *at = bucket; at < bucket + EARLY_WAYS; at++) {
		if (is_same(at, view))
			return at;
		if (best->to && (!at->to || *at->count > *best->count))
			best = at;
	}
	return !best->to || *best->count > count + 1 ? best : NULL;
}

int early_keep(struct early *early, const struct packet_view *view, void *from, void *to,
	size_t *count, uint64_t now_ns)
{
	uint64_t end_ns = now_ns + EARLY_MS * NS_PER_MS;

	if (!begins_something(view))
		return -ENOTSUP;
	struct early_packet *place = find_place(bucket_of(early, view), view, *count);
	if (!place)
		return -ENOBUFS;
	if (is_same(place, view))
		end_ns = place->end_ns;
	else if (*count >= EARLY_MAX - early->count)
		return -ENOBUFS;
	unsigned char *bytes = malloc(EARLY_FRAME_ROOM + view->len);
	if (!bytes)
		return -ENOBUFS;
	early_drop(early, place);
	memcpy(bytes + EARLY_FRAME_ROOM, view->ip, view->len);
	*place = (struct early_packet){from, to, count, end_ns, view->len, .bytes = bytes};
	early->count++;
	++*count;
	return 0;
}

void early_drop(struct early *early, struct early_packet *packet)
{
	if (!packet->to)
		return;
	early->count--;
	--*packet->count;
	free(packet->bytes);
	*packet = (struct early_packet){.to = NULL};
}

uint64_t early_end_ns(const struct early *early)
{
	uint64_t first_ns = 0;

	for (size_t i = 0; early->count > 0 && i < EARLY_MAX; i++)
		if (early->packets[i].to && (first_ns == 0 || early->packets[i].end_ns < first_ns))
			first_ns = early->packets[i].end_ns;
	return first_ns;
}
