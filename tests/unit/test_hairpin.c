/* SPDX-License-Identifier: Apache-2.0 */
/* test_hairpin - frames that turn round, and those that do not */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "net/hairpin.h"

#define FRAME_BYTES 42

static const struct hairpin hairpin = {.outer_port = 53, .tcp_port = 0x1234, .udp_port = 0x5678};

/* UDP from 10.0.2.100 port 0xabcd to 10.0.2.3 port 53; 8 bytes behind the IPv4 header */
static const uint8_t query[FRAME_BYTES] =
	"\x52\x55\x0a\0\2\3\x02\1\2\3\4\5\x08\0"
	"\x45\0\0\x1c\0\1\x40\0\x40\x11\xab\xcd\x0a\0\2\x64\x0a\0\2\3"
	"\xab\xcd\0\x35\0\x08\xff\xee";

static bool turn(uint8_t frame[FRAME_BYTES], size_t len)
{
	struct hairpin with = hairpin;

	memcpy(&with.outer, "\x0a\0\2\3", 4);
	uint8_t *exact = malloc(len + 1); /* nothing behind it is touched */
	assert_non_null(exact);
	memcpy(exact + 1, frame, len);
	bool turns = hairpin_turn(&with, exact + 1, len);
	memcpy(frame, exact + 1, len);
	free(exact);
	return turns;
}

static void test_there_and_back(void **state)
{
	uint8_t frame[FRAME_BYTES];

	(void)state;
	memcpy(frame, query, sizeof(frame));
	assert_true(turn(frame, sizeof(frame)));
	assert_memory_equal(frame, "\x02\1\2\3\4\5\x52\x55\x0a\0\2\3\x08\0", 14);
	assert_memory_equal(frame + 24, "\xab\xcd\x0a\0\2\3\x0a\0\2\x64", 10); /* the sum stays */
	assert_memory_equal(frame + 34, "\xab\xcd\x56\x78\0\x08\xff\xee", 8);
	/* the answer */
	memcpy(frame + 26, "\x0a\0\2\x64\x0a\0\2\3\x56\x78\xab\xcd", 12);
	assert_true(turn(frame, sizeof(frame)));
	assert_memory_equal(frame + 26, "\x0a\0\2\3\x0a\0\2\x64\0\x35\xab\xcd", 12);
	/* TCP has a port of its own */
	memcpy(frame, query, sizeof(frame));
	frame[23] = 6;
	assert_true(turn(frame, sizeof(frame)));
	assert_memory_equal(frame + 34, "\xab\xcd\x12\x34", 4);
}

static void test_others(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} changes[] = {{12, 0x86}, {14, 0x46}, {14, 0x65}, {20, 0x20}, {21, 1}, {23, 1}, {33, 4},
		{37, 54}, {36, 1}};
	uint8_t frame[FRAME_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		uint8_t before[FRAME_BYTES];

		memcpy(frame, query, sizeof(frame));
		frame[changes[i].at] = changes[i].value;
		memcpy(before, frame, sizeof(frame));
		assert_false(turn(frame, sizeof(frame)));
		assert_memory_equal(frame, before, sizeof(frame));
	}
	for (size_t len = 0; len < 38; len++) {
		memcpy(frame, query, sizeof(frame));
		assert_false(turn(frame, len));
	}
	struct hairpin none = {.outer_port = 0};
	memcpy(frame, query, sizeof(frame));
	memset(frame + 30, 0, 8);
	assert_false(hairpin_turn(&none, frame, sizeof(frame)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
