/* SPDX-License-Identifier: Apache-2.0 */
/* test_icmp6 - the error goes back where the packet came from, quotes it, and has a checksum */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include "frames.h"
#include "net/icmp6.h"

#define GUEST   "fd00::100"
#define HOST    "fd00::2"
#define OUTSIDE "2001:db8::9"

static void answers(size_t payload_len)
{
	static const uint8_t payload[FRAME_CAP - FRAME6_L4] = {128, 0, 1, 2, 3, 4};
	struct frame ask = frame_ip(GUEST, OUTSIDE, IPPROTO_ICMPV6, payload, payload_len);
	struct frame answer;
	struct in6_addr host = frame_v6(HOST), guest = frame_v6(GUEST);

	answer.len = icmp6_make_unreachable(&host, 1, ask.bytes, ask.len, answer.bytes);
	size_t quoted = answer.len - FRAME6_L4 - 8;
	assert_true(quoted == ask.len - FRAME_L3 || answer.len == ICMP6_FRAME_BYTES);
	assert_true(quoted <= ask.len - FRAME_L3);
	assert_memory_equal(answer.bytes, ask.bytes + 6, 6);
	assert_memory_equal(answer.bytes + 6, ask.bytes, 6);
	assert_int_equal(frame_get16(answer.bytes + 12), 0x86dd);
	const uint8_t *ip = answer.bytes + FRAME_L3;
	assert_int_equal(ip[0] >> 4, 6);
	assert_int_equal(frame_get16(ip + 4), answer.len - FRAME6_L4);
	assert_int_equal(ip[6], IPPROTO_ICMPV6);
	assert_memory_equal(ip + 8, &host, 16);
	assert_memory_equal(ip + 24, &guest, 16);
	assert_int_equal(ip[40], 1);
	assert_int_equal(ip[41], 1);
	assert_memory_equal(ip + 48, ask.bytes + FRAME_L3, quoted);
	assert_int_equal(frame_l4_sum(&answer), 0);
}

static void every_length(void **state)
{
	(void)state;
	for (size_t len = 8; len <= FRAME_CAP - FRAME6_L4; len++)
		answers(len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(every_length)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
