/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/crossing - the way of packets between the link and the stack, through the gate */
#include "mesh/agent/crossing.h"

#include <stdlib.h>
#include <string.h>

#include "mesh/allow.h"
#include "util/log.h"

void crossing_let_in(struct crossing *crossing, const struct packet_view *packet)
{
	struct stack *stack = crossing->stack;
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

void crossing_answer(struct crossing *crossing, const struct packet_view *packet, uint8_t code)
{
	answer_mesh(crossing, packet, packet->dst.ip, code);
}

void crossing_answer_ping(struct crossing *crossing, const struct packet_view *ping)
{
	unsigned char frame[FRAME_HEADER_BYTES + FRAME_PACKET_MAX];
	unsigned char *packet = frame + FRAME_HEADER_BYTES, *icmp = packet + PACKET_IPV4_BYTES;

	memcpy(icmp, ping->l4, ping->l4_len);
	icmp[0] = ICMP_ECHOREPLY;
	size_t len = packet_make_icmp(packet, ping->dst.ip, ping->src.ip, ping->l4_len);
	frame_encode_header(frame, FRAME_PACKET, len);
	wire_send(crossing->wire, 0, &(struct iovec){frame, FRAME_HEADER_BYTES + len}, 1);
}

/* An offer is there or not, whatever keeps its target away; what keeps it from datagrams may pass,
 * and "port unreachable" would end their sockets. */
static void refuse(void *owner, const struct syns_packet *packet, int result)
{
	struct packet_view view;

	if (!packet_parse(packet->bytes, packet->len, &view))
		return;
	const bool may_pass = view.proto == IPPROTO_UDP && result != -ECONNREFUSED;
	crossing_answer(owner, &view, may_pass ? ICMP_HOST_UNREACH : ICMP_PORT_UNREACH);
}

/* What was held comes to where its port is served. */
static void let_in_held(void *owner, const struct syns_packet *packet)
{
	struct crossing *crossing = owner;
	struct packet_view view;

	if (!packet_parse(packet->bytes, packet->len, &view))
		return;
	gate_let_in(crossing->gate, &view);
	crossing_let_in(crossing, &view);
}

const struct syns_ops crossing_syns_ops = {.let_in = let_in_held, .refuse = refuse};

enum gate_verdict crossing_in(
	struct crossing *crossing, struct frame *frame, struct packet_view *view)
{
	enum gate_verdict verdict = gate_in(
		crossing->gate, frame->payload, frame->len, loop_now_ns(crossing->loop), view);

	switch (verdict) {
	case GATE_PASS:
		crossing_let_in(crossing, view);
		break;
	case GATE_REFUSE:
		crossing_answer(crossing, view, ICMP_PORT_UNREACH);
		break;
	case GATE_NOT_ALLOWED:
		answer_mesh(crossing, view, view->dst.ip, allow_code(view));
		break;
	case GATE_NO_PROTOCOL:
		answer_mesh(crossing, view, view->dst.ip, ICMP_PROT_UNREACH);
		break;
	case GATE_NO_HOST:
		answer_mesh(crossing, view, gate_self(crossing->gate), ICMP_HOST_UNREACH);
		break;
	case GATE_RETURN: /* out only */
	case GATE_HOLD:
	case GATE_TAKE:
	case GATE_DROP:
		break;
	}
	return verdict;
}

void crossing_answer_stack(
	struct crossing *crossing, const struct packet_view *packet, uint8_t code)
{
	struct stack *stack = crossing->stack;
	unsigned char frame[ANSWER_FRAME_BYTES];
	size_t len = answer(crossing, packet, packet->dst.ip, code, frame);

	if (len > 0)
		stack->ops->deliver(stack, frame + FRAME_HEADER_BYTES, len - FRAME_HEADER_BYTES);
}

/* Is not to go out as it is: it is held, or cannot leave. */
static void keep_back(
	struct crossing *crossing, unsigned char *packet, size_t len, enum gate_verdict verdict)
{
	struct packet_view view;

	if (!packet_parse(packet, len, &view))
		return;
	if (verdict == GATE_HOLD && crossing->on_held)
		crossing->on_held(crossing->owner, &view);
	else if (verdict == GATE_NO_HOST)
		crossing_answer_stack(crossing, &view, ICMP_HOST_UNREACH);
}

/* Make a frame of the packet of @len bytes in it; its size, 0: it may not leave. */
static ssize_t finish_frame(struct crossing *crossing, unsigned char *frame, size_t len)
{
	unsigned char *packet = frame + FRAME_HEADER_BYTES;
	enum gate_verdict verdict =
		gate_out(crossing->gate, packet, len, loop_now_ns(crossing->loop));

	if (verdict == GATE_NO_HOST || verdict == GATE_HOLD)
		keep_back(crossing, packet, len, verdict);
	if (verdict == GATE_RETURN)
		crossing->stack->ops->deliver(crossing->stack, packet, len);
	if (verdict != GATE_PASS)
		return 0;
	frame_encode_header(frame, FRAME_PACKET, len);
	return (ssize_t)(FRAME_HEADER_BYTES + len);
}

/* Returns the frame's size, 0 for a packet that may not leave, or -errno. */
static ssize_t take_frame(struct crossing *crossing, unsigned char *frame)
{
	struct stack *stack = crossing->stack;
	ssize_t got = stack->ops->take(stack, frame + FRAME_HEADER_BYTES, FRAME_PACKET_MAX);

	return got <= 0 ? got : finish_frame(crossing, frame, (size_t)got);
}

static void rest(struct crossing *crossing, bool is_resting)
{
	if (crossing->is_resting == is_resting)
		return;
	crossing->is_resting = is_resting;
	crossing->stack->ops->rest(crossing->stack, is_resting);
}

/* Packets of streams, as long as there is room for more. */
static void send_streams_too(struct crossing *crossing, size_t used, size_t count)
{
	const bool is_slow = window_is_slow(&crossing->wire->window);

	while (used < CROSSING_BATCH_BYTES && count < WIRE_PARTS_MAX) {
		unsigned char *frame = crossing->batch + used;
		size_t len = crossing->take_more(
			crossing->owner, frame + FRAME_HEADER_BYTES, FRAME_PACKET_MAX, is_slow);

		if (len == 0)
			break;
		frame_encode_header(frame, FRAME_PACKET, len);
		crossing->frames[count++] = (struct iovec){frame, FRAME_HEADER_BYTES + len};
		used += FRAME_HEADER_BYTES + len;
	}
	if (count > 0)
		wire_send(crossing->wire, 0, crossing->frames, count);
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
	if (crossing->take_more && !crossing->is_resting)
		send_streams_too(crossing, used, count);
	else if (count > 0)
		wire_send(crossing->wire, 0, crossing->frames, count);
	if (!wire_wants_packets(crossing->wire))
		rest(crossing, true);
}

void crossing_resume(struct crossing *crossing)
{
	rest(crossing, false);
}

/* --- ends that are told ------------------------------------------------------------------- */

/* The queue of a TUN device holds 500 packets. Not more are read: it may be filled all the time. */
#define RESETS_AT_ONCE 128
#define RESET_READS    512

struct reset {
	struct crossing *crossing;
	const struct in_addr *peers;
	size_t npeers;
	size_t asked; /* connections whose answer was not looked at yet */
};

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct in_addr));
}

static bool is_gone(const struct reset *reset, struct in_addr ip)
{
	return bsearch(&ip, reset->peers, reset->npeers, sizeof(ip), compare) != NULL;
}

/* Answer what the stack says to those who are gone; the rest of what it has to say goes its way. */
static void answer_for_the_gone(struct reset *reset)
{
	struct crossing *crossing = reset->crossing;
	struct stack *stack = crossing->stack;
	unsigned char *frame = crossing->batch, *packet = frame + FRAME_HEADER_BYTES;
	unsigned char rst[PACKET_RST_BYTES];
	struct packet_view view;

	reset->asked = 0;
	for (unsigned reads = 0; reads < RESET_READS; reads++) {
		ssize_t got = stack->ops->take(stack, packet, FRAME_PACKET_MAX);
		if (got < 0)
			break;
		if (packet_parse(packet, (size_t)got, &view) && is_gone(reset, view.dst.ip) &&
			(view.tcp_flags & PACKET_ACK) && packet_make_rst(&view, rst)) {
			stack->ops->deliver(stack, rst, sizeof(rst));
			continue;
		}
		got = got > 0 ? finish_frame(crossing, frame, (size_t)got) : 0;
		if (got > 0)
			wire_send(crossing->wire, 0, &(struct iovec){frame, (size_t)got}, 1);
	}
}

/*
 * A RST counts only with the number that is expected next, which only the stack knows. It tells
 * that in answer to a SYN (RFC 5961 4.2), whatever the number of that is.
 */
static int on_connection(void *owner, const struct addr *own, const struct addr *peer)
{
	struct reset *reset = owner;
	struct stack *stack = reset->crossing->stack;

	if (peer->family != AF_INET)
		return 0;
	const struct packet_end ends[] = {
		{peer->v4.sin_addr, addr_port(peer)}, {own->v4.sin_addr, addr_port(own)}};
	unsigned char syn[PACKET_RST_BYTES];

	if (!is_gone(reset, ends[0].ip))
		return 0;
	packet_make_syn(ends[0], ends[1], syn);
	stack->ops->deliver(stack, syn, sizeof(syn));
	if (++reset->asked == RESETS_AT_ONCE)
		answer_for_the_gone(reset);
	return 0;
}

void crossing_reset(struct crossing *crossing, const struct in_addr *peers, size_t npeers)
{
	struct reset reset = {crossing, peers, npeers, 0};

	if (npeers == 0)
		return;
	int result = crossing->stack->ops->connections(crossing->stack, on_connection, &reset);
	if (reset.asked > 0)
		answer_for_the_gone(&reset);
	if (result < 0)
		log_info("cannot look for connections that have lost their other end: %s",
			strerror(-result));
}
