/* SPDX-License-Identifier: Apache-2.0 */
/* test_handshakes - connections over a bare link begin a few at a time */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <string.h>

#include "clock_ahead.h"

#include "exit/handshakes.h"

struct bed {
	struct loop *loop;
	struct handshakes handshakes;
	uint16_t sent[400]; /* from these ports */
	size_t count;
};

static void take(struct bed *bed, const struct packet_view *packet)
{
	bed->sent[bed->count++] = packet->src.port;
}

static void on_send(void *owner, unsigned char *packet, size_t len)
{
	struct packet_view view;

	assert_true(packet_parse(packet, len, &view));
	take(owner, &view);
}

static void bed_open(struct bed *bed)
{
	*bed = (struct bed){.loop = loop_new()};
	bed->handshakes = (struct handshakes){.loop = bed->loop, .send = on_send, .owner = bed};
	handshakes_begin(&bed->handshakes);
}

static void bed_close(struct bed *bed)
{
	handshakes_fini(&bed->handshakes);
	loop_free(bed->loop);
}

static struct packet_end end_of(uint32_t ip, uint16_t port)
{
	return (struct packet_end){{htonl(ip)}, port};
}

/* A segment between the ends of the connection from @port, with these options in its header. */
static void segment(unsigned char bytes[200], bool is_answer, uint16_t port, uint8_t flags,
	const char *options, size_t len, struct packet_view *out)
{
	struct packet_end here = end_of(0x647fffff, port), there = end_of(0x0a630001, 80);

	packet_make_syn(is_answer ? there : here, is_answer ? here : there, bytes);
	memcpy(bytes + PACKET_RST_BYTES, options, len);
	bytes[3] = (unsigned char)(PACKET_RST_BYTES + len);
	bytes[PACKET_IPV4_BYTES + 12] = (unsigned char)((PACKET_TCP_BYTES + len) / 4 << 4);
	bytes[PACKET_IPV4_BYTES + 13] = flags;
	assert_true(packet_parse(bytes, PACKET_RST_BYTES + len, out));
}

/* A program of the sandbox's sends that. */
static void out(struct bed *bed, uint16_t port, uint8_t flags)
{
	unsigned char bytes[200];
	struct packet_view view;

	segment(bytes, false, port, flags, "", 0, &view);
	if (handshakes_out(&bed->handshakes, &view))
		take(bed, &view);
	handshakes_next(&bed->handshakes);
}

static void in(struct bed *bed, uint16_t port, uint8_t flags, const char *options, size_t len)
{
	unsigned char bytes[200];
	struct packet_view view;

	segment(bytes, true, port, flags, options, len, &view);
	handshakes_in(&bed->handshakes, &view);
}

static void begin(struct bed *bed, uint16_t first, uint16_t count)
{
	for (uint16_t i = 0; i < count; i++)
		out(bed, first + i, PACKET_SYN);
}

static void pass(struct bed *bed, uint64_t ms)
{
	clock_ahead_ns += ms * NS_PER_MS;
	for (int i = 0; i < 5; i++)
		assert_int_equal(loop_run_once(bed->loop, 0), 0);
}

/* MSS, a window's scale, timestamps: as RemoteNetstack's stack answers */
static const char gvisors[] = "\2\4\5\264\3\3\5\1\1\1\10\12\0\0\0\0\0\0\0\0";
/* and a kernel's */
static const char kernels[] = "\2\4\5\264\4\2\10\12\0\0\0\0\0\0\0\0\1\3\3\7";

static void a_few_at_a_time(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	begin(&bed, 1, 20);
	assert_int_equal(bed.count, HANDSHAKES_MAX);
	for (uint16_t port = 1; port <= 20; port++) {
		in(&bed, port, PACKET_SYN | PACKET_ACK, gvisors, sizeof(gvisors) - 1);
		assert_int_equal(bed.sent[bed.count - 1] <= 20, 1);
		size_t before = bed.count;
		out(&bed, port, PACKET_ACK); /* it goes before who waits for it */
		assert_int_equal(bed.sent[before], port);
		assert_int_equal(bed.count, before + 1 + (port <= 20 - HANDSHAKES_MAX));
		out(&bed, port, PACKET_ACK | PACKET_PSH); /* and what follows frees no more */
	}
	assert_int_equal(bed.count, 60);
	/* in the order in which they came */
	for (size_t i = 0, port = 0; i < bed.count; i++)
		if (bed.sent[i] > port)
			assert_int_equal(bed.sent[i], ++port);
	bed_close(&bed);
}

static void what_comes_again_is_the_same(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	begin(&bed, 1, 6);
	begin(&bed, 1, 6);
	assert_int_equal(bed.count, 2 * HANDSHAKES_MAX);
	for (uint16_t port = 1; port <= 4; port++)
		in(&bed, port, PACKET_RST | PACKET_ACK, "", 0);
	assert_int_equal(bed.count, 2 * HANDSHAKES_MAX + 2);
	bed_close(&bed);
}

static void who_is_not_answered_holds_nobody_for_long(void **state)
{
	struct bed bed;

	(void)state;
	clock_stop();
	bed_open(&bed);
	begin(&bed, 1, 10);
	pass(&bed, HANDSHAKES_MS / 2);
	assert_int_equal(bed.count, 4);
	pass(&bed, HANDSHAKES_MS / 2 + 50);
	assert_int_equal(bed.count, 8);
	pass(&bed, HANDSHAKES_MS + 50);
	assert_int_equal(bed.count, 10);
	pass(&bed, HANDSHAKES_MS + 50);
	begin(&bed, 100, 4);
	assert_int_equal(bed.count, 14);
	bed_close(&bed);
	clock_go_on();
}

static void a_kernel_takes_all_at_once(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	begin(&bed, 1, 20);
	in(&bed, 2, PACKET_SYN | PACKET_ACK, kernels, sizeof(kernels) - 1);
	assert_int_equal(bed.count, 20);
	begin(&bed, 100, 50);
	assert_int_equal(bed.count, 70);
	/* of this link only */
	handshakes_begin(&bed.handshakes);
	begin(&bed, 200, 50);
	assert_int_equal(bed.count, 74);
	bed_close(&bed);
}

static void not_without_end(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	begin(&bed, 1, HANDSHAKES_MAX + HANDSHAKES_HELD + 10);
	in(&bed, 1, PACKET_SYN | PACKET_ACK, kernels, sizeof(kernels) - 1);
	assert_int_equal(bed.count, HANDSHAKES_MAX + HANDSHAKES_HELD);
	bed_close(&bed);
}

/* Options that say nothing true of their length. */
static void bad_options(void **state)
{
	static const char *const bad[] = {
		"\4\0\1\1", "\4\1\1\1", "\2\377\4\2", "\0\1\4\2", "\1\1\1\4", "\4\5\1\1"};
	struct bed bed;

	(void)state;
	bed_open(&bed);
	begin(&bed, 1, 6);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		in(&bed, 1, PACKET_SYN | PACKET_ACK, bad[i], 4);
	assert_false(bed.handshakes.is_free);
	assert_int_equal(bed.count, HANDSHAKES_MAX);
	bed_close(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_few_at_a_time),
		cmocka_unit_test(what_comes_again_is_the_same),
		cmocka_unit_test(who_is_not_answered_holds_nobody_for_long),
		cmocka_unit_test(a_kernel_takes_all_at_once),
		cmocka_unit_test(not_without_end),
		cmocka_unit_test(bad_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
