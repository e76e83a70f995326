/* SPDX-License-Identifier: Apache-2.0 */
/* test_response - answers of servers, honest ones and others */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <string.h>

#include "dns/response.h"

static const uint8_t asked[] = "\x12\x34\1\0\0\1\0\0\0\0\0\0\3LaB\0\0\1\0\1";
#define ASKED_BYTES (sizeof(asked) - 1)

/* CNAME lab -> x, x A 10.0.0.1, x AAAA fd00::1 */
static const uint8_t answer[] = "\x12\x34\x81\x80\0\1\0\3\0\0\0\0\3lab\0\0\1\0\1"
				"\xc0\x0c\0\5\0\1\0\0\0\5\0\3\1x\0"
				"\1x\0\0\1\0\1\0\0\0\5\0\4\x0a\0\0\1"
				"\1x\0\0\x1c\0\1\0\0\0\5\0\x10\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1";
#define ANSWER_BYTES (sizeof(answer) - 1)

static void test_fits(void **state)
{
	uint8_t bytes[ANSWER_BYTES];

	(void)state;
	assert_true(response_fits(answer, ANSWER_BYTES, asked, ASKED_BYTES));
	for (size_t len = 0; len < ASKED_BYTES; len++)
		assert_false(response_fits(answer, len, asked, ASKED_BYTES));
	/* every bit of id, QR, opcode, count of questions, and of the question counts, but for the
	 * case of its letters */
	for (size_t bit = 0; bit < ASKED_BYTES * 8; bit++) {
		size_t at = bit / 8;
		uint8_t mask = (uint8_t)(1U << bit % 8);

		memcpy(bytes, answer, sizeof(bytes));
		bytes[at] ^= mask;
		bool may_differ = (at == 2 && (mask & 0x07)) || at == 3 || (at >= 6 && at < 12) ||
				  (at >= 13 && at < 16 && mask == 0x20);
		assert_int_equal(
			response_fits(bytes, sizeof(bytes), asked, ASKED_BYTES), may_differ);
	}
}

static void test_addresses(void **state)
{
	struct addr addrs[4];
	char text[ADDR_TEXT_BYTES];

	(void)state;
	assert_int_equal(response_addresses(answer, ANSWER_BYTES, addrs, 4), 2);
	assert_string_equal(addr_format(&addrs[0], text, sizeof(text)), "10.0.0.1:0");
	assert_string_equal(addr_format(&addrs[1], text, sizeof(text)), "[fd00::1]:0");
	assert_int_equal(response_addresses(answer, ANSWER_BYTES, addrs, 1), 1);
	assert_int_equal(response_addresses(answer, ANSWER_BYTES - 1, addrs, 4), 1);
	assert_int_equal(response_addresses(answer, 11, addrs, 4), 0);
	assert_int_equal(response_rcode(answer), DNS_OK);
	assert_false(response_is_cut(answer));
}

/* A name that leads to itself; 20,000 records, of which each has thousands of pointers. */
static void test_loops(void **state)
{
	static uint8_t bytes[DNS_MESSAGE_MAX];
	struct addr addrs[4];
	size_t at = ASKED_BYTES;

	(void)state;
	memcpy(bytes, answer, ASKED_BYTES);
	bytes[6] = 0x4e;
	memcpy(bytes + at, "\xc0\x16\0\1\0\1\0\0\0\0\0\4\1\2\3\4", 16);
	bytes[at + 1] = (uint8_t)at;
	/* whose address it is, nobody looks: it is the answer's */
	assert_int_equal(response_addresses(bytes, at + 16, addrs, 4), 1);
	for (; at + 2 < 0x3ff0; at += 2) {
		bytes[at] = (uint8_t)(0xc0 | (at - 2) >> 8);
		bytes[at + 1] = (uint8_t)(at - 2);
	}
	response_addresses(bytes, sizeof(bytes), addrs, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fits),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_loops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
