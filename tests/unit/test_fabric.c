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
#include "util/clock.h"
#include "util/fd.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(against_a_model),
		cmocka_unit_test(a_full_queue),
		cmocka_unit_test(lost_routes_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
