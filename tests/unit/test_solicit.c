/* SPDX-License-Identifier: Apache-2.0 */
/* test_solicit - the guest gets what it has asked for, from where it has asked, and no more */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>

#include "net/packet.h"
#include "net/solicit.h"
#include "util/clock.h"

#define V4_LEN (14 + 20 + 8)
#define V6_LEN (14 + 40 + 8)
#define NOW    (1000 * NS_PER_S)
#define GUEST4 "10.0.2.100"
#define GUEST6 "fd00::100"

static uint8_t frame[V6_LEN];

static size_t make(const char *src, uint16_t src_port, const char *dst, uint16_t dst_port)
{
	bool is_v6 = strchr(src, ':');
	uint8_t *ip = frame + 14, *udp = ip + (is_v6 ? 40 : 20);

	memset(frame, 0, sizeof(frame));
	packet_put16(frame + 12, is_v6 ? 0x86dd : 0x0800);
	ip[0] = is_v6 ? 0x60 : 0x45;
	ip[is_v6 ? 6 : 9] = IPPROTO_UDP;
	assert_int_equal(inet_pton(is_v6 ? AF_INET6 : AF_INET, src, ip + (is_v6 ? 8 : 12)), 1);
	assert_int_equal(inet_pton(is_v6 ? AF_INET6 : AF_INET, dst, ip + (is_v6 ? 24 : 16)), 1);
	packet_put16(udp, src_port);
	packet_put16(udp + 2, dst_port);
	return is_v6 ? V6_LEN : V4_LEN;
}

static bool comes(struct solicit *solicit, const char *src, uint16_t src_port, uint16_t dst_port)
{
	size_t len = make(src, src_port, strchr(src, ':') ? GUEST6 : GUEST4, dst_port);

	return solicit_has(solicit, frame, len, NOW);
}

static int open_world(void **state)
{
	struct solicit *solicit = calloc(1, sizeof(*solicit));

	*state = solicit;
	if (!solicit)
		return -1;
	solicit_note(solicit, frame, make(GUEST4, 5000, "192.0.2.1", 53), NOW);
	solicit_note(solicit, frame, make(GUEST6, 5000, "2001:db8::1", 53), NOW);
	return 0;
}

static int close_world(void **state)
{
	free(*state);
	return 0;
}

static void answers_come(void **state)
{
	assert_true(comes(*state, "192.0.2.1", 53, 5000));
	assert_true(comes(*state, "2001:db8::1", 53, 5000));
}

static void nothing_else_does(void **state)
{
	assert_false(comes(*state, "127.0.0.1", 53, 5000));
	assert_false(comes(*state, "192.0.2.1", 54, 5000));
	assert_false(comes(*state, "192.0.2.2", 53, 5000));
	assert_false(comes(*state, "192.0.2.1", 53, 5001));
	assert_false(comes(*state, "::1", 53, 5000));
	assert_false(comes(*state, "2001:db8::1", 54, 5000));
	assert_false(comes(*state, "2001:db8::2", 53, 5000));
	assert_false(comes(*state, "2001:db8:0:0:1::1", 53, 5000));
	assert_false(comes(*state, "2001:db8::1", 53, 5001));
}

/* Returns how long it was. */
static uint64_t lasts(struct solicit *solicit, uint64_t from_ns, uint64_t step_ns)
{
	size_t len = make("192.0.2.1", 53, GUEST4, 5000);

	for (int i = 0; i < 10; i++)
		assert_true(solicit_has(solicit, frame, len, from_ns + (uint64_t)i * step_ns / 2));
	const uint64_t last_ns = from_ns + 9 * step_ns / 2;
	struct solicit later = *solicit;
	assert_true(solicit_has(&later, frame, len, last_ns + step_ns - 1));
	assert_false(solicit_has(solicit, frame, len, last_ns + step_ns));
	return last_ns;
}

static void each_datagram_lets_the_next_one_in(void **state)
{
	uint64_t now_ns = lasts(*state, NOW, SOLICIT_FRESH_NS);

	/* asked and answered twice */
	solicit_note(*state, frame, make(GUEST4, 5000, "192.0.2.1", 53), now_ns);
	assert_true(solicit_has(*state, frame, make("192.0.2.1", 53, GUEST4, 5000), now_ns));
	solicit_note(*state, frame, make(GUEST4, 5000, "192.0.2.1", 53), now_ns);
	lasts(*state, now_ns, AWAITED_TIME_NS);
}

static void questions_do_not_push_out_who_speaks(void **state)
{
	const uint64_t step_ns = NS_PER_S / 1000;

	assert_true(comes(*state, "192.0.2.1", 53, 5000));
	solicit_note(*state, frame, make(GUEST4, 5000, "192.0.2.1", 53), NOW);
	for (uint16_t i = 0; i < 50000; i++)
		solicit_note(*state, frame, make(GUEST4, (uint16_t)(6000 + i), "192.0.2.9", 53),
			NOW + i * step_ns);
	assert_true(solicit_has(
		*state, frame, make("192.0.2.1", 53, GUEST4, 5000), NOW + 50000 * step_ns));
}

static void what_is_no_datagram_comes(void **state)
{
	size_t len = make("192.0.2.2", 53, GUEST4, 5000);

	frame[14 + 9] = IPPROTO_TCP;
	assert_true(solicit_has(*state, frame, len, NOW));
	frame[14 + 9] = IPPROTO_UDP;
	frame[14 + 6] = 0x20; /* the first fragment: it has the ports */
	assert_false(solicit_has(*state, frame, len, NOW));
	frame[14 + 7] = 1;
	assert_true(solicit_has(*state, frame, len, NOW));
	for (size_t cut = 0; cut < V4_LEN; cut++) {
		uint8_t *copy = memcpy(malloc(cut + 1), frame, cut);

		assert_true(solicit_has(*state, copy, cut, NOW));
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(answers_come, open_world, close_world),
		cmocka_unit_test_setup_teardown(nothing_else_does, open_world, close_world),
		cmocka_unit_test_setup_teardown(
			each_datagram_lets_the_next_one_in, open_world, close_world),
		cmocka_unit_test_setup_teardown(
			questions_do_not_push_out_who_speaks, open_world, close_world),
		cmocka_unit_test_setup_teardown(what_is_no_datagram_comes, open_world, close_world),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
