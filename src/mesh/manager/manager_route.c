/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/manager_route - the way of packets from one host to another */
#include <arpa/inet.h>

#include "mesh/manager/manager_parts.h"
#include "mesh/packet.h"

#define TOLD_NS (60 * 1000000000ULL)

/* Once for each address and minute; not at all when too many addresses were told of. */
static void warn_of_no_route(struct manager *manager, const struct peer *from, struct in_addr dst)
{
	uint64_t now_ns = loop_now_ns(manager->loop);
	struct lost_route *oldest = &manager->lost_routes[0];
	char text[INET_ADDRSTRLEN];

	for (struct lost_route *at = manager->lost_routes;
		at < manager->lost_routes + LOST_ROUTES_MAX; at++) {
		if (at->told_ns != 0 && at->dst.s_addr == dst.s_addr) {
			oldest = at;
			break;
		}
		if (at->told_ns < oldest->told_ns)
			oldest = at;
	}
	if (oldest->told_ns != 0 && now_ns - oldest->told_ns < TOLD_NS)
		return;
	*oldest = (struct lost_route){dst, now_ns};
	manager_say(manager, LOG_WARNING, "%s: sends packets to %s, which is nobody's", from->name,
		inet_ntop(AF_INET, &dst, text, sizeof(text)));
}

static void send_parts(struct peer *peer)
{
	size_t count = peer->nparts;

	peer->nparts = 0;
	if (count > 0)
		peer->drops.queue_full += wire_send(&peer->wire, peer->parts, count);
}

void route_packet(struct peer *from, struct frame *frame)
{
	struct manager *manager = from->context->owner;
	struct in_addr src, dst;

	if (!packet_addresses(frame->payload, frame->len, &src, &dst)) {
		from->drops.malformed++;
		return;
	}
	if (!router_may_send(manager->router, from->number, src)) {
		from->drops.wrong_source++;
		return;
	}
	int number = router_find(manager->router, dst);
	if (number == ROUTER_NOBODY) {
		from->drops.no_route++;
		warn_of_no_route(manager, from, dst);
		return;
	}
	struct peer *to = manager->peers[number];
	if (to->state != PEER_READY) {
		to->drops.not_ready++;
		return;
	}
	if (to->nparts == 0) {
		if (manager->ndirty == PEER_PARTS_MAX)
			route_round_end(from);
		manager->dirty[manager->ndirty++] = to;
	}
	to->parts[to->nparts++] =
		(struct iovec){frame->start, (size_t)(frame->payload - frame->start) + frame->len};
	if (to->nparts == PEER_PARTS_MAX)
		route_round_end(from);
}

/* Also when a link is closed within a round: the frames are still where they were. */
void route_round_end(struct peer *from)
{
	struct manager *manager = from->context->owner;

	for (size_t i = 0; i < manager->ndirty; i++)
		send_parts(manager->dirty[i]);
	manager->ndirty = 0;
}
