/* SPDX-License-Identifier: Apache-2.0 */
/* test_fabric - packets arrive where they are meant to, in order, each crowd with one system call
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mesh/manager/fabric.h"
#include "net/packet.h"
#include "stream/ferry.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"

#define HOSTS       5
#define ROUNDS      3000
#define ROUND_MAX   600 /* frames; some of them are more than there is room for parts */
#define FRAME_BYTES (FRAME_HEADER_BYTES + PACKET_IPV4_BYTES + 4)

static size_t writes;

/* Stands before the one of the C library: system calls are counted. */
ssize_t writev(int fd, const struct iovec *parts, int count)
{
	writes++;
	return syscall(SYS_writev, fd, parts, count);
}

struct bed {
	struct loop *loop;
	struct wire_hub *hub;
	struct manifest manifest;
	struct router *router;
	struct fabric fabric;
	struct fabric_port ports[HOSTS], *by_number[HOSTS];
	struct wire wires[HOSTS];
	int far[HOSTS][2]; /* what comes out, what is held open */
	size_t lost_told;
	struct in_addr lost_dst;
	struct loop_timer timer;
	uint64_t seed;
};

static uint32_t random_below(struct bed *bed, uint32_t limit)
{
	bed->seed = bed->seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(bed->seed >> 33) % limit;
}

static struct in_addr vip(size_t host)
{
	return (struct in_addr){htonl(0x7f002a01U + (uint32_t)host)};
}

static void on_lost_route(struct fabric *fabric, const struct fabric_port *from, struct in_addr dst)
{
	struct bed *bed = container_of(fabric, struct bed, fabric);

	assert_ptr_equal(from, bed->by_number[from->number]);
	bed->lost_told++;
	bed->lost_dst = dst;
}

static void on_broken(struct wire *wire, const struct err *err)
{
	(void)wire;
	fail_msg("broken: %s", err->text);
}

static const struct wire_ops wire_ops = {.on_broken = on_broken};

static struct bed *bed_new(void)
{
	static struct manifest_host hosts[HOSTS];
	struct bed *bed = calloc(1, sizeof(*bed));

	bed->seed = 11;
	bed->loop = loop_new();
	bed->hub = wire_hub_new(bed->loop);
	for (size_t i = 0; i < HOSTS; i++)
		hosts[i].vip = vip(i);
	bed->manifest = (struct manifest){.hosts = hosts, .nhosts = HOSTS};
	bed->router = router_new(&bed->manifest);
	bed->fabric.loop = bed->loop;
	bed->fabric.router = bed->router;
	bed->fabric.ports = bed->by_number;
	bed->fabric.on_lost_route = on_lost_route;
	for (size_t i = 0; i < HOSTS; i++) {
		int in[2], out[2];

		assert_int_equal(pipe2(in, O_CLOEXEC), 0);
		assert_int_equal(pipe2(out, O_CLOEXEC | O_NONBLOCK), 0);
		assert_int_equal(wire_open(&bed->wires[i], bed->hub, &wire_ops, in[0], out[1]), 0);
		bed->far[i][0] = out[0];
		bed->far[i][1] = in[1];
		bed->ports[i].number = (int)i;
		bed->by_number[i] = &bed->ports[i];
		bed->ports[i].wire = &bed->wires[i];
	}
	return bed;
}

static void bed_free(struct bed *bed)
{
	fabric_forget(&bed->fabric);
	for (size_t i = 0; i < HOSTS; i++) {
		bed->ports[i].wire = NULL;
		wire_close(&bed->wires[i]);
		fd_close(&bed->far[i][0]);
		fd_close(&bed->far[i][1]);
	}
	router_free(bed->router);
	wire_hub_free(bed->hub);
	loop_free(bed->loop);
	free(bed);
}

static void make_packet(unsigned char *frame, struct in_addr src, struct in_addr dst, uint32_t mark)
{
	unsigned char *ip = frame + FRAME_HEADER_BYTES;
	size_t len = FRAME_BYTES - FRAME_HEADER_BYTES;

	frame_encode_header(frame, FRAME_PACKET, len);
	memset(ip, 0, len);
	ip[0] = 0x45;
	packet_put16(ip + 2, (uint16_t)len);
	memcpy(ip + 12, &src, sizeof(src));
	memcpy(ip + 16, &dst, sizeof(dst));
	memcpy(ip + PACKET_IPV4_BYTES, &mark, sizeof(mark));
}

static void take(struct bed *bed, size_t from, unsigned char *bytes, uint64_t now_ns)
{
	struct frame frame;
	struct err err;

	assert_int_equal(frame_decode(bytes, FRAME_BYTES, &frame, &err), FRAME_BYTES);
	fabric_take(&bed->fabric, &bed->ports[from], &frame, now_ns);
}

/* What has come out at @host is just the @count marks. */
static void expect_marks(struct bed *bed, size_t host, const uint32_t *marks, size_t count)
{
	unsigned char frame[FRAME_BYTES];
	uint32_t mark;

	for (size_t i = 0; i < count; i++) {
		assert_int_equal(read(bed->far[host][0], frame, sizeof(frame)), FRAME_BYTES);
		memcpy(&mark, frame + FRAME_BYTES - sizeof(mark), sizeof(mark));
		assert_int_equal(mark, marks[i]);
	}
	assert_int_equal(read(bed->far[host][0], frame, sizeof(frame)), -1);
}

/* Rounds of one host at a time, against what is to arrive and why the rest does not. */
static void against_a_model(void **state)
{
	static unsigned char bytes[ROUND_MAX][FRAME_BYTES];
	static uint32_t marks[HOSTS][ROUND_MAX];
	struct bed *bed = bed_new();
	struct fabric_drops model[HOSTS] = {0};
	uint32_t mark = 0;

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		size_t from = random_below(bed, HOSTS), counts[HOSTS] = {0}, fewest = 0;
		size_t only = random_below(bed, 3) ? HOSTS : random_below(bed, HOSTS);
		size_t count = random_below(bed, 10) ? random_below(bed, 20)
						     : random_below(bed, ROUND_MAX);
		bool is_simple = count < FABRIC_PARTS_MAX;

		for (size_t i = 0; i < HOSTS; i++) {
			if (random_below(bed, 20) != 0)
				continue;
			if (bed->ports[i].wire)
				bed->ports[i].wire = NULL;
			else
				bed->ports[i].wire = &bed->wires[i];
		}
		writes = 0;
		for (size_t i = 0; i < count; i++) {
			size_t to = only < HOSTS ? only : random_below(bed, HOSTS);
			uint32_t trouble = random_below(bed, 30);
			struct in_addr src = vip(trouble == 1 ? (from + 1) % HOSTS : from);
			struct in_addr dst = trouble == 2 ? vip(HOSTS + 7) : vip(to);

			make_packet(bytes[i], src, dst, ++mark);
			if (trouble == 0)
				bytes[i][FRAME_HEADER_BYTES] = 0x60;
			take(bed, from, bytes[i], NS_PER_S);
			if (trouble == 0)
				model[from].malformed++;
			else if (trouble == 1)
				model[from].wrong_source++;
			else if (trouble == 2)
				model[from].no_route++;
			else if (!bed->ports[to].wire)
				model[to].not_ready++;
			else
				marks[to][counts[to]++] = mark;
		}
		if (is_simple)
			assert_int_equal(writes, 0);
		fabric_flush(&bed->fabric);
		for (size_t i = 0; i < HOSTS; i++)
			fewest += (counts[i] + FABRIC_PARTS_MAX - 1) / FABRIC_PARTS_MAX;
		if (is_simple)
			assert_int_equal(writes, fewest);
		else
			assert_true(writes >= fewest && writes <= 3 * HOSTS);
		fabric_flush(&bed->fabric); /* nothing is left */
		for (size_t i = 0; i < HOSTS; i++)
			expect_marks(bed, i, marks[i], counts[i]);
	}
	for (size_t i = 0; i < HOSTS; i++)
		assert_memory_equal(&bed->ports[i].drops, &model[i], sizeof(model[i]));
	assert_int_equal(bed->lost_told, 1);
	bed_free(bed);
}

/* What the far side does not read is counted when there is no room for it. */
static void a_full_queue(void **state)
{
	struct bed *bed = bed_new();
	unsigned char bytes[FRAME_BYTES];
	size_t count = (1U << 20) / FRAME_BYTES + 2 * WIRE_QUEUE_BYTES / FRAME_BYTES;

	(void)state;
	make_packet(bytes, vip(0), vip(1), 1);
	for (size_t i = 0; i < count; i++) {
		take(bed, 0, bytes, NS_PER_S);
		fabric_flush(&bed->fabric);
	}
	assert_true(bed->ports[1].drops.queue_full > WIRE_QUEUE_BYTES / FRAME_BYTES / 2);
	assert_int_equal(bed->ports[1].drops.queue_full, bed->wires[1].dropped);
	bed_free(bed);
}

/* Each address once a minute, and only so many of them. */
static void lost_routes_are_told(void **state)
{
	struct bed *bed = bed_new();
	unsigned char bytes[FRAME_BYTES];
	uint64_t now_ns = NS_PER_S;

	(void)state;
	for (int i = 0; i < 130; i++, now_ns += NS_PER_S) {
		make_packet(bytes, vip(0), vip(100), 1);
		take(bed, 0, bytes, now_ns);
	}
	assert_int_equal(bed->lost_told, 3);
	assert_int_equal(bed->lost_dst.s_addr, vip(100).s_addr);
	for (size_t i = 0; i < 3 * FABRIC_LOST_ROUTES_MAX; i++) {
		make_packet(bytes, vip(0), vip(101 + i), 1);
		take(bed, 0, bytes, now_ns);
	}
	assert_int_equal(bed->lost_told, 3 + FABRIC_LOST_ROUTES_MAX - 1);
	bed_free(bed);
}

/* One of @proto, from host @from. */
static void send_of(struct bed *bed, size_t from, struct in_addr dst, uint16_t port,
	uint8_t tcp_flags, uint8_t proto)
{
	static unsigned char frames[FABRIC_PARTS_MAX][FRAME_HEADER_BYTES + 40];
	static size_t next;
	unsigned char *bytes = frames[next++ % FABRIC_PARTS_MAX], *ip = bytes + FRAME_HEADER_BYTES;
	size_t len = tcp_flags ? 40 : 28;
	struct in_addr src = vip(from);
	struct frame frame;
	struct err err;

	frame_encode_header(bytes, FRAME_PACKET, len);
	memset(ip, 0, len);
	ip[0] = 0x45;
	packet_put16(ip + 2, (uint16_t)len);
	ip[9] = proto;
	memcpy(ip + 12, &src, sizeof(src));
	memcpy(ip + 16, &dst, sizeof(dst));
	packet_put16(ip + 20, port);
	packet_put16(ip + 22, 80);
	if (tcp_flags)
		ip[32] = 0x50;
	else
		packet_put16(ip + 24, 8);
	ip[33] = tcp_flags;
	assert_int_equal(frame_decode(bytes, FRAME_HEADER_BYTES + len, &frame, &err),
		FRAME_HEADER_BYTES + len);
	fabric_take(&bed->fabric, &bed->ports[from], &frame, loop_now_ns(bed->loop));
}

/* A datagram or, with flags, a TCP packet. */
static void send_one(
	struct bed *bed, size_t from, struct in_addr dst, uint16_t port, uint8_t tcp_flags)
{
	send_of(bed, from, dst, port, tcp_flags, tcp_flags ? IPPROTO_TCP : IPPROTO_UDP);
}

/* The next packet that has come out at @host; its protocol, 0: none. */
static int next_at(struct bed *bed, size_t host, struct packet_view *view)
{
	static unsigned char bytes[ANSWER_FRAME_BYTES];
	struct frame frame;
	struct err err;

	if (read(bed->far[host][0], bytes, FRAME_HEADER_BYTES) < 0)
		return 0;
	size_t len = packet_get16(bytes + 2) - 4U;
	assert_int_equal(read(bed->far[host][0], bytes + FRAME_HEADER_BYTES, len), len);
	assert_int_equal(frame_decode(bytes, FRAME_HEADER_BYTES + len, &frame, &err),
		FRAME_HEADER_BYTES + len);
	assert_true(packet_parse(frame.payload, frame.len, view));
	return view->proto;
}

static void expect_answer(struct bed *bed, int proto, struct in_addr asked)
{
	struct packet_view view;

	assert_int_equal(next_at(bed, 0, &view), proto);
	if (proto == 0)
		return;
	assert_int_equal(view.src.ip.s_addr, asked.s_addr);
	assert_int_equal(view.dst.ip.s_addr, vip(0).s_addr);
	if (proto == IPPROTO_ICMP) {
		assert_int_equal(view.l4[0], 3);
		assert_int_equal(view.l4[1], 1);
	} else {
		assert_true(view.tcp_flags & PACKET_RST);
	}
}

/* Of a host that is down, and of an address that is nobody's. */
static void nobody_is_there(void **state)
{
	struct bed *bed = bed_new();
	struct in_addr asked[] = {vip(1), vip(77)};

	(void)state;
	bed->ports[1].wire = NULL;
	for (size_t i = 0; i < 2; i++) {
		for (int knows = 0; knows < 2; knows++) {
			bed->ports[0].knows_icmp = knows;
			send_one(bed, 0, asked[i], 1, PACKET_SYN);
			send_one(bed, 0, asked[i], 1, PACKET_ACK);
			send_one(bed, 0, asked[i], 1, PACKET_RST);
			send_one(bed, 0, asked[i], 1, 0);
			fabric_flush(&bed->fabric);
			expect_answer(bed, knows ? IPPROTO_ICMP : IPPROTO_TCP, asked[i]);
			expect_answer(bed, IPPROTO_TCP, asked[i]);
			if (knows)
				expect_answer(bed, IPPROTO_ICMP, asked[i]);
			expect_answer(bed, 0, asked[i]);
		}
	}
	assert_int_equal(bed->ports[1].drops.not_ready, 8);
	assert_int_equal(bed->ports[0].drops.no_route, 8);
	/* a crowd of them, more than are collected */
	writes = 0;
	for (int i = 0; i < 3 * FABRIC_ANSWERS_MAX; i++)
		send_one(bed, 0, vip(1), 1, PACKET_ACK);
	fabric_flush(&bed->fabric);
	assert_int_equal(writes, 3);
	for (int i = 0; i < 3 * FABRIC_ANSWERS_MAX; i++)
		expect_answer(bed, IPPROTO_TCP, vip(1));
	expect_answer(bed, 0, vip(1));
	/* who is not ready itself is told nothing */
	bed->ports[0].wire = NULL;
	send_one(bed, 0, vip(1), 1, PACKET_ACK);
	fabric_flush(&bed->fabric);
	expect_answer(bed, 0, vip(1));
	bed_free(bed);
}

/* A connection is not ended before what waits for its other end is there; one may not begin. */
static void last_words_wait(void **state)
{
	struct bed *bed = bed_new();
	unsigned char bytes[FRAME_BYTES];
	static unsigned char out[1 << 16];
	struct packet_view view;

	(void)state;
	make_packet(bytes, vip(1), vip(0), 1);
	while (wire_has_room(&bed->wires[0])) {
		take(bed, 1, bytes, loop_now_ns(bed->loop));
		fabric_flush(&bed->fabric);
	}
	bed->ports[1].wire = NULL;
	size_t waiting = bed->wires[0].outbox.packets.packets;
	send_one(bed, 0, vip(1), 1, PACKET_ACK);
	fabric_flush(&bed->fabric);
	assert_int_equal(bed->wires[0].outbox.packets.packets, waiting);
	send_one(bed, 0, vip(1), 1, PACKET_SYN);
	fabric_flush(&bed->fabric);
	assert_int_equal(bed->wires[0].outbox.packets.packets, waiting + 1);
	for (int i = 0; !wire_has_room(&bed->wires[0]) && i < 1000; i++) {
		while (read(bed->far[0][0], out, sizeof(out)) > 0)
			;
		assert_int_equal(loop_run_once(bed->loop, 10), 0);
	}
	while (read(bed->far[0][0], out, sizeof(out)) > 0)
		;
	send_one(bed, 0, vip(1), 1, PACKET_ACK);
	fabric_flush(&bed->fabric);
	assert_int_equal(next_at(bed, 0, &view), IPPROTO_TCP);
	bed_free(bed);
}

/* What begins something waits for a host that is starting; the rest is of another life. */
static void a_host_starts(void **state)
{
	struct bed *bed = bed_new();
	struct packet_view view;

	(void)state;
	for (int comes = 0; comes < 2; comes++) {
		bed->ports[0].knows_icmp = true;
		bed->ports[1].wire = NULL;
		bed->ports[1].is_starting = true;
		send_one(bed, 0, vip(1), 1, PACKET_SYN);
		send_one(bed, 0, vip(1), 1, PACKET_SYN);
		send_one(bed, 2, vip(1), 2, 0);
		send_one(bed, 0, vip(1), 3, PACKET_ACK);
		fabric_flush(&bed->fabric);
		expect_answer(bed, IPPROTO_TCP, vip(1));
		expect_answer(bed, 0, vip(1));
		fabric_settle(&bed->fabric, &bed->ports[1]); /* it still does */
		fabric_settle(&bed->fabric, &bed->ports[3]);
		expect_answer(bed, 0, vip(1));
		bed->ports[1].is_starting = false;
		bed->ports[1].wire = comes ? &bed->wires[1] : NULL;
		fabric_settle(&bed->fabric, &bed->ports[1]);
		if (comes) {
			int first = next_at(bed, 1, &view), second = next_at(bed, 1, &view);

			assert_int_equal(first + second, IPPROTO_TCP + IPPROTO_UDP);
		} else {
			expect_answer(bed, IPPROTO_ICMP, vip(1));
		}
		assert_int_equal(next_at(bed, 1, &view), 0);
		expect_answer(bed, 0, vip(1));
		assert_int_equal(bed->ports[0].early + bed->ports[2].early, 0);
	}
	/* who has gone meanwhile gets nothing, and leaves nothing */
	bed->ports[1].wire = NULL;
	bed->ports[1].is_starting = true;
	send_one(bed, 0, vip(1), 1, PACKET_SYN);
	bed->ports[0].wire = NULL;
	fabric_settle(&bed->fabric, &bed->ports[0]);
	assert_int_equal(bed->fabric.early.count, 0);
	bed_free(bed);
}

/* No agent sees a packet of streams that does not know them, not one that was kept for it either.
 */
static void streams_are_for_who_knows_them(void **state)
{
	struct bed *bed = bed_new();
	struct packet_view view;

	(void)state;
	bed->ports[0].knows_icmp = true;
	for (int kept = 0; kept < 2; kept++)
		for (int knows = 0; knows < 2; knows++) {
			bed->ports[1].is_starting = kept;
			bed->ports[1].wire = kept ? NULL : &bed->wires[1];
			bed->ports[1].knows_streams = knows;
			send_of(bed, 0, vip(1), 1, 0, FERRY_PROTO);
			fabric_flush(&bed->fabric);
			bed->ports[1].is_starting = false;
			bed->ports[1].wire = &bed->wires[1];
			fabric_settle(&bed->fabric, &bed->ports[1]);
			assert_int_equal(next_at(bed, 1, &view), knows ? FERRY_PROTO : 0);
			assert_int_equal(next_at(bed, 0, &view), knows ? 0 : IPPROTO_ICMP);
			assert_true(knows || (view.l4[0] == 3 && view.l4[1] == 2));
		}
	bed_free(bed);
}

static void stop(struct loop_timer *timer)
{
	loop_stop(container_of(timer, struct bed, timer)->loop, 0);
}

/* A host that does not become ready in time. */
static void patience_ends(void **state)
{
	struct bed *bed = bed_new();
	uint64_t start_ns = clock_now_ns();

	(void)state;
	bed->ports[0].knows_icmp = true;
	bed->ports[1].wire = NULL;
	bed->ports[1].is_starting = true;
	send_one(bed, 0, vip(1), 1, PACKET_SYN);
	/* as if it had come nearly as long ago as it is kept */
	for (size_t i = 0; i < EARLY_MAX; i++)
		bed->fabric.early.packets[i].end_ns -= (EARLY_MS - 100) * NS_PER_MS;
	loop_timer_set(bed->loop, &bed->fabric.early_timer, 100);
	bed->timer.on_expired = stop;
	loop_timer_set(bed->loop, &bed->timer, 110);
	assert_int_equal(loop_run(bed->loop), 0);
	expect_answer(bed, IPPROTO_ICMP, vip(1));
	assert_int_equal(bed->fabric.early.count, 0);
	assert_true(clock_now_ns() - start_ns >= 100 * NS_PER_MS);
	bed_free(bed);
}

/* Who may not begin anything with a host is told so; the host's own questions are answered. */
static void not_everybody_is_allowed(void **state)
{
	const struct mesh_allowed list[] = {{vip(1), 0, PROTO_TCP}, {vip(2), 0, PROTO_TCP}};
	struct bed *bed = bed_new();
	struct packet_view view;

	(void)state;
	bed->ports[1].allow = allow_new(vip(1), list, 2);
	bed->ports[1].awaited = calloc(1, sizeof(*bed->ports[1].awaited));
	bed->ports[0].knows_icmp = true;
	send_one(bed, 0, vip(1), 1, PACKET_SYN);
	fabric_flush(&bed->fabric);
	expect_answer(bed, IPPROTO_TCP, vip(1));
	send_one(bed, 0, vip(1), 1, 0);
	fabric_flush(&bed->fabric);
	assert_int_equal(next_at(bed, 0, &view), IPPROTO_ICMP);
	assert_int_equal(view.l4[1], 3);
	assert_int_equal(next_at(bed, 1, &view), 0);
	assert_int_equal(bed->ports[1].drops.not_allowed, 2);
	/* a host that is starting is not asked either */
	bed->ports[1].wire = NULL;
	bed->ports[1].is_starting = true;
	send_one(bed, 0, vip(1), 1, PACKET_SYN);
	fabric_flush(&bed->fabric);
	expect_answer(bed, IPPROTO_TCP, vip(1));
	assert_int_equal(bed->fabric.early.count, 0);
	bed->ports[1].wire = &bed->wires[1];
	/* what goes on, and who may */
	send_one(bed, 0, vip(1), 1, PACKET_ACK);
	send_one(bed, 2, vip(1), 1, PACKET_SYN);
	fabric_flush(&bed->fabric);
	assert_int_equal(next_at(bed, 1, &view), IPPROTO_TCP);
	assert_int_equal(next_at(bed, 1, &view), IPPROTO_TCP);
	/* an answer to what it has sent */
	send_one(bed, 1, vip(0), 1, 0);
	fabric_flush(&bed->fabric);
	assert_int_equal(next_at(bed, 0, &view), IPPROTO_UDP);
	struct packet_end asked = view.src, asker = view.dst;
	assert_true(awaited_has(bed->ports[1].awaited, &asked, &asker, loop_now_ns(bed->loop)));
	allow_free(bed->ports[1].allow);
	free(bed->ports[1].awaited);
	bed_free(bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_is_there),
		cmocka_unit_test(last_words_wait),
		cmocka_unit_test(a_host_starts),
		cmocka_unit_test(streams_are_for_who_knows_them),
		cmocka_unit_test(patience_ends),
		cmocka_unit_test(against_a_model),
		cmocka_unit_test(a_full_queue),
		cmocka_unit_test(lost_routes_are_told),
		cmocka_unit_test(not_everybody_is_allowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
