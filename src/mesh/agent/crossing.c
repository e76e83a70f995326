/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/crossing - the way of packets between the link and the stack, through the gate */
#include "mesh/agent/crossing.h"

#include <string.h>

#include "util/log.h"

static void let_in(void *owner, const struct packet_view *packet)
{
	struct stack *stack = ((const struct crossing *)owner)->stack;
	int result = stack->ops->deliver(stack, packet->ip, packet->len);

	/* what it does not take is lost, as on any network */
	if (result < 0)
		log_debug("a packet was lost: %s", strerror(-result));
}

/* Returns the size of a frame, or 0. */
static size_t answer(struct crossing *crossing, const struct packet_view *packet,
	struct in_addr from, uint8_t code, unsigned char *frame)
{
	const struct answer answer = {.from = from, .code = code};

	return answer_make(&crossing->answers, &answer, packet, loop_now_ns(crossing->loop), frame);
}

static void answer_mesh(struct crossing *crossing, const struct packet_view *packet,
	struct in_addr from, uint8_t code)
{
	unsigned char frame[ANSWER_FRAME_BYTES];
	size_t len = answer(crossing, packet, from, code, frame);

	if (len > 0)
		wire_send(crossing->wire, 0, &(struct iovec){frame, len}, 1);
}

static void refuse(void *owner, const struct packet_view *packet)
{
	answer_mesh(owner, packet, packet->dst.ip, ICMP_PORT_UNREACH);
}

const struct syns_ops crossing_syns_ops = {.let_in = let_in, .refuse = refuse};

bool crossing_in(struct crossing *crossing, struct frame *frame, struct packet_view *view)
{
	switch (gate_in(
		crossing->gate, frame->payload, frame->len, loop_now_ns(crossing->loop), view)) {
	case GATE_PASS:
		let_in(crossing, view);
		break;
	case GATE_HOLD:
		return true;
	case GATE_REFUSE:
		refuse(crossing, view);
		break;
	case GATE_NO_PROTOCOL:
		answer_mesh(crossing, view, view->dst.ip, ICMP_PROT_UNREACH);
		break;
	case GATE_NO_HOST:
		answer_mesh(crossing, view, gate_self(crossing->gate), ICMP_HOST_UNREACH);
		break;
	case GATE_DROP:
		break;
	}
	return false;
}

/* A packet of the stack's own that cannot leave is answered there, as if by who it is for. */
static void answer_stack(struct crossing *crossing, unsigned char *packet, size_t len)
{
	struct stack *stack = crossing->stack;
	unsigned char frame[ANSWER_FRAME_BYTES];
	struct packet_view view;

	if (!packet_parse(packet, len, &view))
		return;
	len = answer(crossing, &view, view.dst.ip, ICMP_HOST_UNREACH, frame);
	if (len > 0)
		stack->ops->deliver(stack, frame + FRAME_HEADER_BYTES, len - FRAME_HEADER_BYTES);
}

/* Returns the frame's size, 0 for a packet that may not leave, or -errno. */
static ssize_t take_frame(struct crossing *crossing, unsigned char *frame)
{
	struct stack *stack = crossing->stack;
	unsigned char *packet = frame + FRAME_HEADER_BYTES;
	ssize_t got = stack->ops->take(stack, packet, FRAME_PACKET_MAX);

	if (got <= 0)
		return got;
	size_t len = (size_t)got;
	enum gate_verdict verdict =
		gate_out(crossing->gate, packet, len, loop_now_ns(crossing->loop));
	if (verdict == GATE_NO_HOST)
		answer_stack(crossing, packet, len);
	if (verdict != GATE_PASS)
		return 0;
	frame_encode_header(frame, FRAME_PACKET, len);
	return (ssize_t)(FRAME_HEADER_BYTES + len);
}

static void rest(struct crossing *crossing, bool is_resting)
{
	if (crossing->is_resting == is_resting)
		return;
	crossing->is_resting = is_resting;
	crossing->stack->ops->rest(crossing->stack, is_resting);
}

void crossing_out(struct crossing *crossing)
{
	size_t used = 0, count = 0;

	for (size_t reads = 0; used < CROSSING_BATCH_BYTES && reads < WIRE_PARTS_MAX; reads++) {
		ssize_t size = take_frame(crossing, crossing->batch + used);
		if (size < 0)
			break;
		if (size == 0)
			continue;
		crossing->frames[count++] = (struct iovec){crossing->batch + used, (size_t)size};
		used += (size_t)size;
	}
	if (count > 0)
		wire_send(crossing->wire, 0, crossing->frames, count);
	if (!wire_wants_packets(crossing->wire))
		rest(crossing, true);
}

void crossing_resume(struct crossing *crossing)
{
	rest(crossing, false);
}
