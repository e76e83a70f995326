/* SPDX-License-Identifier: Apache-2.0 */
/* test_crossing - packets between a link and a stack that is made up */
#include "packets.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "mesh/agent/crossing.h"
#include "util/list.h"

#define SELF  "127.0.42.1"
#define PEER  "127.0.42.2"
#define LARGE 60000

/* It has packets with numbers, each @len bytes long; every third one may not leave. */
struct fake {
	struct stack stack;
	unsigned next, end;
	size_t len;
	bool is_resting;
	unsigned taken;     /* since the last look */
	struct pkt arrived; /* the last one */
	unsigned count;
	/* connections: of port n with peer n % 4, the first of them a member */
	unsigned connections, syns, resets;
	unsigned asked[512], nasked; /* their ports, whose answers come before other packets */
};

static struct fake *fake_of(struct stack *stack)
{
	return container_of(stack, struct fake, stack);
}

static const char *peer_of(unsigned port)
{
	static const char *const peers[] = {PEER, "127.0.42.3", "10.1.2.3", "127.0.42.5"};

	return peers[port % 4];
}

static int connections(struct stack *stack,
	int (*on_connection)(void *owner, const struct addr *own, const struct addr *peer),
	void *owner)
{
	for (unsigned port = 1; port <= fake_of(stack)->connections; port++) {
		const struct addr own = addr_of4(pkt_addr(SELF), (uint16_t)port);
		const struct addr peer = addr_of4(pkt_addr(peer_of(port)), 9);

		assert_int_equal(on_connection(owner, &own, &peer), 0);
	}
	return 0;
}

static ssize_t take(struct stack *stack, void *packet, size_t cap_bytes)
{
	struct fake *fake = fake_of(stack);
	bool may_leave = fake->next % 3 != 2;
	struct pkt head = pkt_udp(may_leave ? SELF : "10.9.9.9", 1, PEER, 2);
	uint8_t *bytes = packet;

	assert_true(cap_bytes >= FRAME_PACKET_MAX);
	assert_false(fake->is_resting);
	if (fake->nasked > 0) {
		unsigned port = fake->asked[--fake->nasked];
		struct pkt ack = pkt_tcp(SELF, port, peer_of(port), 9, PACKET_ACK);

		pkt_put16(ack.bytes + 28, port); /* the number that is acknowledged */
		memcpy(packet, ack.bytes, ack.len);
		return (ssize_t)ack.len;
	}
	if (fake->next == fake->end)
		return -EAGAIN;
	fake->taken++;
	if (fake->next % 7 == 6) {
		fake->next++;
		return 0;
	}
	memset(bytes, 0, fake->len);
	memcpy(bytes, head.bytes, 28);
	pkt_put16(bytes + 2, (unsigned)fake->len);
	pkt_put16(bytes + 24, (unsigned)fake->len - 20);
	pkt_put16(bytes + 28, fake->next++);
	return (ssize_t)fake->len;
}

static void rest(struct stack *stack, bool is_resting)
{
	assert_int_not_equal(fake_of(stack)->is_resting, is_resting);
	fake_of(stack)->is_resting = is_resting;
}

static int deliver(struct stack *stack, const void *packet, size_t len)
{
	struct fake *fake = fake_of(stack);

	assert_in_range(len, 1, PKT_CAP);
	memcpy(fake->arrived.bytes, packet, len);
	fake->arrived.len = len;
	if (fake->connections > 0) {
		struct packet_view view;
		assert_true(packet_parse(fake->arrived.bytes, len, &view));
		const unsigned port = view.dst.port;

		assert_int_equal(view.src.ip.s_addr, pkt_addr(peer_of(port)).s_addr);
		assert_int_equal(view.src.port, 9);
		if (view.tcp_flags == PACKET_SYN) {
			assert_in_range(fake->nasked, 0, 500 - 1); /* as a TUN device */
			fake->asked[fake->nasked++] = port;
			fake->syns++;
		} else {
			assert_int_equal(view.tcp_flags, PACKET_RST);
			assert_int_equal(pkt_get16(view.l4 + 4), port);
			fake->resets++;
		}
	}
	return fake->count++ % 2 ? -ENOBUFS : 0; /* which is nobody's business */
}

static const struct stack_ops ops = {
	.take = take, .rest = rest, .deliver = deliver, .connections = connections};

struct world {
	struct fake fake;
	struct loop *loop;
	struct wire_hub *hub;
	struct wire wire;
	struct gate *gate;
	struct crossing crossing;
	int far; /* the manager's end */
};

static void on_room(struct wire *wire)
{
	crossing_resume(&container_of(wire, struct world, wire)->crossing);
}

static void on_frame(struct wire *wire, struct frame *frame)
{
	(void)wire;
	(void)frame;
}

static int set_up(void **state)
{
	static const struct wire_ops wire_ops = {.on_frame = on_frame, .on_room = on_room};
	struct world *world = *state = calloc(1, sizeof(*world));
	const struct in_addr peer = pkt_addr(PEER);
	const struct gate_port ports[] = {
		{PROTO_TCP, 80, GATE_HOLD_SYN, {0}, 0}, {PROTO_TCP, 81, GATE_OPEN, {0}, 0}};
	const struct gate_rules rules = {
		pkt_addr(SELF), &peer, 1, ports, 2, false, NULL, 0, {0}, false, false};
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	world->far = pair[1];
	world->fake = (struct fake){.stack = {.ops = &ops, .door = -1}, .len = 100};
	world->loop = loop_new();
	world->hub = wire_hub_new(world->loop);
	world->gate = gate_new();
	assert_int_equal(gate_configure(world->gate, &rules), 0);
	assert_int_equal(wire_open(&world->wire, world->hub, &wire_ops, pair[0], pair[0]), 0);
	world->crossing.loop = world->loop;
	world->crossing.gate = world->gate;
	world->crossing.stack = &world->fake.stack;
	world->crossing.wire = &world->wire;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;

	gate_free(world->gate);
	wire_close(&world->wire);
	wire_hub_free(world->hub);
	loop_free(world->loop);
	close(world->far);
	free(world);
	return 0;
}

static void read_all(int fd, void *out, size_t len)
{
	assert_int_equal(recv(fd, out, len, MSG_WAITALL), len);
}

/* One packet frame; returns the length of the packet. */
static size_t read_frame(int fd, uint8_t packet[FRAME_PACKET_MAX])
{
	uint8_t head[FRAME_HEADER_BYTES];

	read_all(fd, head, sizeof(head));
	size_t len = pkt_get16(head + 2) - 4;
	assert_int_equal(head[0], 0x42);
	assert_int_equal(pkt_get16(head + 4), FRAME_PACKET);
	read_all(fd, packet, len);
	return len;
}

static bool leaves(unsigned number)
{
	return number % 3 != 2 && number % 7 != 6;
}

static void what_may_leave_leaves_in_order(void **state)
{
	struct world *world = *state;
	static uint8_t packet[FRAME_PACKET_MAX];

	world->fake.end = 300;
	crossing_out(&world->crossing);
	assert_int_equal(world->fake.taken, 300);
	for (unsigned i = 0; i < 300; i++) {
		if (!leaves(i))
			continue;
		assert_int_equal(read_frame(world->far, packet), 100);
		assert_int_equal(pkt_get16(packet + 28), i);
	}
	assert_int_equal(recv(world->far, packet, 1, MSG_DONTWAIT), -1);
	assert_false(world->fake.is_resting);
	/* so many at a time, and others get their turn */
	world->fake.taken = 0;
	world->fake.end = 3000;
	crossing_out(&world->crossing);
	assert_int_equal(world->fake.taken, 512);
}

/* What the link does not take waits in the stack, and nothing is lost. */
static void the_stack_rests_while_the_link_is_full(void **state)
{
	struct world *world = *state;
	static uint8_t packet[FRAME_PACKET_MAX];
	unsigned seen = 0, rests = 0;

	world->fake.len = LARGE;
	world->fake.end = 1000;
	for (int round = 0; seen < 1000; round++) {
		assert_in_range(round, 0, 10000);
		world->fake.taken = 0;
		if (!world->fake.is_resting)
			crossing_out(&world->crossing);
		assert_in_range(world->fake.taken, 0, 8); /* 128 KiB and what is dropped */
		rests += world->fake.is_resting;
		if (!world->fake.is_resting && world->fake.next < 1000)
			continue;
		while (seen < world->fake.next) {
			if (leaves(seen)) {
				assert_int_equal(loop_run_once(world->loop, 0), 0);
				assert_int_equal(read_frame(world->far, packet), LARGE);
				assert_int_equal(pkt_get16(packet + 28), seen);
			}
			seen++;
		}
		assert_int_equal(loop_run_once(world->loop, 0), 0);
	}
	assert_true(rests > 10);
	assert_int_equal(world->wire.dropped, 0);
}

static bool come(struct world *world, struct pkt *pkt, struct packet_view *view)
{
	struct frame frame = {.type = FRAME_PACKET, .payload = pkt->bytes, .len = pkt->len};

	return crossing_in(&world->crossing, &frame, view) == GATE_HOLD;
}

static void what_comes_is_let_in_held_or_refused(void **state)
{
	struct world *world = *state;
	struct pkt open = pkt_tcp(PEER, 9, SELF, 81, PACKET_SYN);
	struct pkt held = pkt_tcp(PEER, 9, SELF, 80, PACKET_SYN);
	struct pkt closed = pkt_tcp(PEER, 9, SELF, 82, PACKET_SYN);
	struct pkt forged = pkt_tcp(SELF, 9, SELF, 81, PACKET_SYN);
	uint8_t packet[FRAME_PACKET_MAX];
	struct packet_view view, answer;

	for (unsigned i = 1; i <= 4; i++) {
		assert_false(come(world, &open, &view));
		assert_int_equal(world->fake.count, i);
		assert_int_equal(world->fake.arrived.len, open.len);
		assert_memory_equal(world->fake.arrived.bytes, open.bytes, open.len);
	}
	assert_false(come(world, &forged, &view));
	assert_true(come(world, &held, &view));
	assert_int_equal(view.dst.port, 80);
	assert_int_equal(world->fake.count, 4);
	assert_int_equal(recv(world->far, packet, 1, MSG_DONTWAIT), -1);
	const struct syns_packet syn = syns_packet_of(&view);
	crossing_syns_ops.let_in(&world->crossing, &syn);
	assert_memory_equal(world->fake.arrived.bytes, held.bytes, held.len);
	crossing_syns_ops.refuse(&world->crossing, &syn, -ECONNREFUSED);
	assert_false(come(world, &closed, &view));
	for (uint16_t port = 80; port <= 82; port += 2) {
		assert_int_equal(read_frame(world->far, packet), PACKET_RST_BYTES);
		assert_true(packet_parse(packet, PACKET_RST_BYTES, &answer));
		assert_int_equal(answer.src.port, port);
		assert_int_equal(answer.dst.port, 9);
		assert_true(answer.tcp_flags & PACKET_RST);
	}
	assert_int_equal(world->fake.count, 5);
	assert_int_equal(recv(world->far, packet, 1, MSG_DONTWAIT), -1);
}

/* Nobody is there; or it may be there the next time. */
static void datagrams_are_refused_for_what_it_was(void **state)
{
	struct world *world = *state;
	struct pkt sent = pkt_udp(PEER, 9, SELF, 53);
	uint8_t packet[FRAME_PACKET_MAX];
	struct packet_view view, answer;

	assert_true(packet_parse(sent.bytes, sent.len, &view));
	const struct syns_packet datagram = syns_packet_of(&view);
	for (int code = 1; code <= 3; code += 2) {
		crossing_syns_ops.refuse(
			&world->crossing, &datagram, code == 3 ? -ECONNREFUSED : -EHOSTUNREACH);
		size_t len = read_frame(world->far, packet);
		assert_true(packet_parse(packet, len, &answer));
		assert_int_equal(answer.proto, IPPROTO_ICMP);
		assert_int_equal(answer.l4[1], code);
	}
}

/* Each with what is true of it; and what is no packet of anybody's, or an answer itself, is not. */
static void what_nobody_will_answer_is_answered(void **state)
{
	struct world *world = *state;
	struct {
		struct pkt pkt;
		const char *from;
		int code; /* of ICMP; -1: a RST, -2: nothing */
	} rows[] = {
		{pkt_udp(PEER, 9, SELF, 53), SELF, 3},
		{pkt_ip((struct pkt_head){PEER, SELF, NULL, 0}, 132, "12345678", 8), SELF, 2},
		{pkt_udp(PEER, 9, "127.0.42.9", 53), SELF, 1},
		{pkt_icmp(PEER, "127.0.42.9", 8, "", 0), SELF, 1},
		{pkt_tcp(PEER, 9, "127.0.42.9", 80, PACKET_SYN), SELF, 1},
		{pkt_tcp(PEER, 9, "10.1.2.3", 80, PACKET_ACK), "10.1.2.3", -1},
		{pkt_tcp(PEER, 9, "10.1.2.3", 80, PACKET_RST), NULL, -2},
		{pkt_icmp(PEER, "127.0.42.9", 3, "12345678901234567890123456789", 28), NULL, -2},
		{pkt_udp(PEER, 9, "224.0.0.1", 53), NULL, -2},
		{pkt_udp("127.0.42.9", 9, SELF, 53), NULL, -2},
	};
	uint8_t packet[FRAME_PACKET_MAX];
	struct packet_view view;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_false(come(world, &rows[i].pkt, &view));
		if (rows[i].code == -2)
			continue;
		size_t len = read_frame(world->far, packet);
		assert_true(packet_parse(packet, len, &view));
		assert_int_equal(view.src.ip.s_addr, pkt_addr(rows[i].from).s_addr);
		assert_int_equal(view.dst.ip.s_addr, pkt_addr(PEER).s_addr);
		assert_int_equal(view.proto, rows[i].code < 0 ? IPPROTO_TCP : IPPROTO_ICMP);
		if (rows[i].code >= 0)
			assert_int_equal(view.l4[1], rows[i].code);
	}
	assert_int_equal(recv(world->far, packet, 1, MSG_DONTWAIT), -1);
	assert_int_equal(world->fake.count, 0);
}

/* The stack hears of what it sent from an address that the mesh does not know. */
static void what_cannot_leave_is_answered(void **state)
{
	struct world *world = *state;
	struct packet_view view;

	world->fake.next = 2;
	world->fake.end = 3;
	crossing_out(&world->crossing);
	assert_int_equal(world->fake.count, 1);
	assert_true(packet_parse(world->fake.arrived.bytes, world->fake.arrived.len, &view));
	assert_int_equal(view.proto, IPPROTO_ICMP);
	assert_int_equal(view.src.ip.s_addr, pkt_addr(PEER).s_addr);
	assert_int_equal(view.dst.ip.s_addr, pkt_addr("10.9.9.9").s_addr);
}

/* Connections with some of them get the very RST that counts, and what else leaves leaves. */
static void the_gone_are_answered_for(void **state)
{
	struct world *world = *state;
	struct in_addr gone[] = {pkt_addr(PEER), pkt_addr("127.0.42.5")};
	uint8_t packet[FRAME_PACKET_MAX];

	world->fake.connections = 4000;
	crossing_reset(&world->crossing, gone, 0);
	assert_int_equal(world->fake.syns, 0);
	world->fake.end = 2;
	crossing_reset(&world->crossing, gone, 2);
	assert_int_equal(world->fake.syns, 2000);
	assert_int_equal(world->fake.resets, 2000);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(read_frame(world->far, packet), 100);
		assert_int_equal(pkt_get16(packet + 28), i);
	}
	assert_int_equal(recv(world->far, packet, 1, MSG_DONTWAIT), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_may_leave_leaves_in_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			the_stack_rests_while_the_link_is_full, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			what_comes_is_let_in_held_or_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			datagrams_are_refused_for_what_it_was, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			what_nobody_will_answer_is_answered, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_gone_are_answered_for, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_cannot_leave_is_answered, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
