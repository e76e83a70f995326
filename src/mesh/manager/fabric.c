/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/fabric - the way of packets from one host to the others */
#include "mesh/manager/fabric.h"

#include <errno.h>

#include "net/packet.h"
#include "stream/ferry.h"
#include "util/clock.h"
#include "util/list.h"

#define IPV4_PROTO_AT 9

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

/* @frame is one from @from, or an answer to that; it stays where it is until it is flushed. */
static void add_part(
	struct fabric *fabric, int from, struct fabric_port *to, unsigned char *frame, size_t len)
{
	fabric->from = from;
	if (to->nparts == 0) {
		if (fabric->ndirty == FABRIC_PARTS_MAX)
			fabric_flush(fabric);
		fabric->dirty[fabric->ndirty++] = to;
	}
	to->parts[to->nparts++] = (struct iovec){frame, len};
	if (to->nparts == FABRIC_PARTS_MAX)
		fabric_flush(fabric);
}

/* --- packets that go no further ----------------------------------------------------------- */

/* Returns the frame's size, or 0. */
static size_t answer(struct fabric *fabric, const struct fabric_port *from,
	const struct packet_view *view, uint8_t code, uint64_t now_ns, unsigned char *frame)
{
	/* who is asked for speaks: an agent believes nobody else of a member */
	const struct answer answer = {view->dst.ip, code, !from->knows_icmp};

	return answer_make(&fabric->answered, &answer, view, now_ns, frame);
}

static void arm_timer(struct fabric *fabric, uint64_t now_ns)
{
	const uint64_t end_ns = early_end_ns(&fabric->early);

	if (end_ns != 0 && !loop_timer_is_armed(&fabric->early_timer))
		loop_timer_set(fabric->loop, &fabric->early_timer, clock_ms_until(end_ns, now_ns));
}

static void send_answer(struct fabric *fabric, struct early_packet *packet, uint8_t code,
	unsigned char *frame, uint64_t now_ns)
{
	const struct fabric_port *from = packet->from;
	struct packet_view view;

	if (!from->wire || !packet_parse(packet->bytes + EARLY_FRAME_ROOM, packet->len, &view))
		return;
	size_t len = answer(fabric, from, &view, code, now_ns, frame);
	if (len > 0)
		wire_send(from->wire, (uint32_t)from->number, &(struct iovec){frame, len}, 1);
}

/* Is it a packet of streams for an agent that does not know them? It never sees one. */
static bool is_strange(const struct fabric_port *to, const unsigned char *packet)
{
	return !to->knows_streams && packet[IPV4_PROTO_AT] == FERRY_PROTO;
}

static void on_early_end(struct loop_timer *timer)
{
	struct fabric *fabric = container_of(timer, struct fabric, early_timer);
	uint64_t now_ns = loop_now_ns(fabric->loop);
	unsigned char frame[ANSWER_FRAME_BYTES];

	for (size_t i = 0; i < EARLY_MAX; i++) {
		struct early_packet *packet = &fabric->early.packets[i];

		if (!packet->to || packet->end_ns > now_ns)
			continue;
		((struct fabric_port *)packet->to)->drops.not_ready++;
		send_answer(fabric, packet, ICMP_HOST_UNREACH, frame, now_ns);
		early_drop(&fabric->early, packet);
	}
	arm_timer(fabric, now_ns);
}

void fabric_settle(struct fabric *fabric, const struct fabric_port *port)
{
	uint64_t now_ns = loop_now_ns(fabric->loop);
	unsigned char frame[ANSWER_FRAME_BYTES];

	for (size_t i = 0; fabric->early.count > 0 && i < EARLY_MAX; i++) {
		struct early_packet *packet = &fabric->early.packets[i];
		struct fabric_port *to = packet->to;
		const struct fabric_port *from = packet->from;

		if (!to)
			continue;
		if (to == port && to->wire && is_strange(to, packet->bytes + EARLY_FRAME_ROOM)) {
			send_answer(fabric, packet, ICMP_PROT_UNREACH, frame, now_ns);
		} else if (to == port && to->wire) {
			frame_encode_header(packet->bytes, FRAME_PACKET, packet->len);
			to->drops.queue_full += wire_send(to->wire, (uint32_t)from->number,
				&(struct iovec){packet->bytes, EARLY_FRAME_ROOM + packet->len}, 1);
		} else if (to == port && !to->is_starting) {
			to->drops.not_ready++;
			send_answer(fabric, packet, ICMP_HOST_UNREACH, frame, now_ns);
		} else if (from != port || from->wire) {
			continue;
		}
		early_drop(&fabric->early, packet);
	}
}

void fabric_forget(struct fabric *fabric)
{
	for (size_t i = 0; i < EARLY_MAX; i++)
		early_drop(&fabric->early, &fabric->early.packets[i]);
	if (fabric->loop)
		loop_timer_cancel(fabric->loop, &fabric->early_timer);
}

/* With this round. */
static void answer_now(struct fabric *fabric, struct fabric_port *from,
	const struct packet_view *view, uint8_t code, uint64_t now_ns)
{
	bool goes_on = view->proto == IPPROTO_TCP && (view->tcp_flags & PACKET_ACK);

	/* the last bytes of a connection may still be waiting for @from's link */
	if (!from->wire || (goes_on && !wire_has_room(from->wire)))
		return;
	/* nothing is flushed between here and the answer's place among the parts */
	if (fabric->nanswers == FABRIC_ANSWERS_MAX || fabric->ndirty == FABRIC_PARTS_MAX)
		fabric_flush(fabric);
	unsigned char *frame = fabric->answers[fabric->nanswers];
	size_t len = answer(fabric, from, view, code, now_ns, frame);
	if (len == 0)
		return;
	fabric->nanswers++;
	add_part(fabric, from->number, from, frame, len);
}

/* A packet from @from for which there is no wire; @to may be NULL. */
static void go_nowhere(struct fabric *fabric, struct fabric_port *from, struct fabric_port *to,
	const struct frame *frame, uint64_t now_ns)
{
	struct packet_view view;
	bool is_packet = packet_parse(frame->payload, frame->len, &view);
	int kept = -ENOTSUP;

	if (is_packet && to && to->is_starting)
		kept = early_keep(&fabric->early, &view, from, to, &from->early, now_ns);
	if (kept == 0) {
		fabric->early_timer.on_expired = on_early_end;
		if (!loop_timer_is_armed(&fabric->early_timer))
			arm_timer(fabric, now_ns);
		return;
	}
	if (is_packet && kept == -ENOTSUP)
		answer_now(fabric, from, &view, ICMP_HOST_UNREACH, now_ns);
	if (to)
		to->drops.not_ready++;
}

static bool is_allowed(struct fabric *fabric, struct fabric_port *from, struct fabric_port *to,
	const struct frame *frame, uint64_t now_ns)
{
	struct packet_view view;

	if (!packet_parse(frame->payload, frame->len, &view)) {
		from->drops.malformed++;
		return false;
	}
	const enum allow_verdict verdict = allow_judge(to->allow, to->awaited, &view, now_ns);
	if (verdict == ALLOW_REFUSE)
		answer_now(fabric, from, &view, allow_code(&view), now_ns);
	if (verdict != ALLOW_PASS)
		to->drops.not_allowed++;
	return verdict == ALLOW_PASS;
}

static void refuse_streams(
	struct fabric *fabric, struct fabric_port *from, const struct frame *frame, uint64_t now_ns)
{
	struct packet_view view;

	if (packet_parse(frame->payload, frame->len, &view))
		answer_now(fabric, from, &view, ICMP_PROT_UNREACH, now_ns);
}

/* What comes back to it is an answer. */
static void note_sent(const struct fabric_port *from, const struct frame *frame, uint64_t now_ns)
{
	struct packet_view view;

	if (packet_parse(frame->payload, frame->len, &view))
		allow_note(from->awaited, &view, now_ns);
}

/* --- rounds ------------------------------------------------------------------------------- */

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
		go_nowhere(fabric, from, NULL, frame, now_ns);
		return;
	}
	struct fabric_port *to = fabric->ports[number];
	if (from->allow)
		note_sent(from, frame, now_ns);
	if (to->allow && !is_allowed(fabric, from, to, frame, now_ns))
		return;
	if (to->wire && is_strange(to, frame->payload))
		refuse_streams(fabric, from, frame, now_ns);
	else if (to->wire)
		add_part(fabric, from->number, to, frame->start,
			(size_t)(frame->payload - frame->start) + frame->len);
	else
		go_nowhere(fabric, from, to, frame, now_ns);
}

void fabric_flush(struct fabric *fabric)
{
	for (size_t i = 0; i < fabric->ndirty; i++) {
		struct fabric_port *to = fabric->dirty[i];

		if (to->nparts > 0 && to->wire)
			to->drops.queue_full +=
				wire_send(to->wire, (uint32_t)fabric->from, to->parts, to->nparts);
		to->nparts = 0;
	}
	fabric->ndirty = 0;
	fabric->nanswers = 0;
}
