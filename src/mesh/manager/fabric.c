/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/fabric - the way of packets from one host to the others */
#include "mesh/manager/fabric.h"

#include "net/packet.h"
#include "util/clock.h"

#define TOLD_NS (60 * NS_PER_S)

static void tell_lost_route(
	struct fabric *fabric, const struct fabric_port *from, struct in_addr dst, uint64_t now_ns)
{
	struct fabric_lost_route *oldest = &fabric->lost_routes[0];

	for (struct fabric_lost_route *at = fabric->lost_routes;
		at < fabric->lost_routes + FABRIC_LOST_ROUTES_MAX; at++) {
		if (at->dst.s_addr == dst.s_addr) {
			oldest = at;
			break;
		}
		if (at->told_ns < oldest->told_ns)
			oldest = at;
	}
	if (oldest->told_ns != 0 && now_ns - oldest->told_ns < TOLD_NS)
		return;
	*oldest = (struct fabric_lost_route){dst, now_ns};
	fabric->on_lost_route(fabric, from, dst);
}

void fabric_take(
	struct fabric *fabric, struct fabric_port *from, const struct frame *frame, uint64_t now_ns)
{
	struct in_addr src, dst;

	if (!packet_addresses(frame->payload, frame->len, &src, &dst)) {
		from->drops.malformed++;
		return;
	}
	if (!router_may_send(fabric->router, from->number, src)) {
		from->drops.wrong_source++;
		return;
	}
	int number = router_find(fabric->router, dst);
	if (number == ROUTER_NOBODY) {
		from->drops.no_route++;
		tell_lost_route(fabric, from, dst, now_ns);
		return;
	}
	struct fabric_port *to = fabric->ports[number];
	if (!to->wire) {
		to->drops.not_ready++;
		return;
	}
	fabric->from = from->number;
	if (to->nparts == 0) {
		if (fabric->ndirty == FABRIC_PARTS_MAX)
			fabric_flush(fabric);
		fabric->dirty[fabric->ndirty++] = to;
	}
	to->parts[to->nparts++] =
		(struct iovec){frame->start, (size_t)(frame->payload - frame->start) + frame->len};
	if (to->nparts == FABRIC_PARTS_MAX)
		fabric_flush(fabric);
}

void fabric_flush(struct fabric *fabric)
{
	for (size_t i = 0; i < fabric->ndirty; i++) {
		struct fabric_port *to = fabric->dirty[i];

		if (to->nparts > 0)
			to->drops.queue_full +=
				wire_send(to->wire, (uint32_t)fabric->from, to->parts, to->nparts);
		to->nparts = 0;
	}
	fabric->ndirty = 0;
}
