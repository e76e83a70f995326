/* SPDX-License-Identifier: Apache-2.0 */
/* test_parse - what the strict readers take, refuse and say */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "util/parse.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define UNTOUCHED    4242

static void test_uint(void **state)
{
	static const struct {
		const char *text;
		unsigned long max;
		int rc;
		unsigned long value;
	} rows[] = {
		{"0", 0, 0, 0}, {"7", 7, 0, 7}, {"8", 7, -ERANGE, 0}, {"007", 7, 0, 7},
		{"18446744073709551615", ULONG_MAX, 0, ULONG_MAX},
		{"18446744073709551616", ULONG_MAX, -ERANGE, 0},
		{"99999999999999999999999999999999", ULONG_MAX, -ERANGE, 0},
		{"99999999999999999999999999999999x", ULONG_MAX, -EINVAL, 0}, {"", 9, -EINVAL, 0},
		{" 1", 9, -EINVAL, 0}, {"1 ", 9, -EINVAL, 0}, {"1\n", 9, -EINVAL, 0},
		{"+1", 9, -EINVAL, 0}, {"-1", 9, -EINVAL, 0}, {"0x1", 9, -EINVAL, 0},
		{"1e1", 99, -EINVAL, 0}, {"\xd9\xa1", 9, -EINVAL, 0}, /* ARABIC-INDIC DIGIT ONE */
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		unsigned long value = UNTOUCHED;
		assert_int_equal(parse_uint(rows[i].text, rows[i].max, &value), rows[i].rc);
		assert_true(value == (rows[i].rc ? UNTOUCHED : rows[i].value));
	}
}

static void test_port(void **state)
{
	static const char *const wrong[] = {"", "65536", "80x", "-1", "+80", " 80", "0x50", "http",
		"99999999999999999999", "80\n"};
	struct err err = {0};
	uint16_t port = UNTOUCHED;

	(void)state;
	for (size_t i = 0; i < COUNT(wrong); i++) {
		err.code = 0;
		assert_int_equal(parse_port(wrong[i], true, &port, &err), -EINVAL);
		assert_int_equal(err.code, EINVAL);
		assert_null(strchr(err.text, '\n'));
		assert_int_equal(port, UNTOUCHED);
	}
	assert_int_equal(parse_port("80x", false, &port, &err), -EINVAL);
	assert_string_equal(err.text, "\"80x\" is no port: expected a number from 1 to 65535");
	assert_int_equal(parse_port("80x", true, &port, NULL), -EINVAL);
	assert_int_equal(parse_port("0", false, &port, &err), -EINVAL);
	assert_int_equal(port, UNTOUCHED);
	assert_int_equal(parse_port("0", true, &port, &err), 0);
	assert_int_equal(port, 0);
	assert_int_equal(parse_port("1", false, &port, &err), 0);
	assert_int_equal(port, 1);
	assert_int_equal(parse_port("65535", false, &port, &err), 0);
	assert_int_equal(port, 65535);
}

static void test_seconds(void **state)
{
	static const struct {
		const char *text;
		int rc;
		uint64_t ms;
	} rows[] = {
		{"0", 0, 0},
		{"30", 0, 30000},
		{"1.5", 0, 1500},
		{"0.001", 0, 1},
		{"0.05", 0, 50},
		{"2.000", 0, 2000},
		{"1000000", 0, 1000000000},
		{"1000000.0", 0, 1000000000},
		{"1000000.001", -EINVAL, 0},
		{"1000001", -EINVAL, 0},
		{"0.0001", -EINVAL, 0},
		{"", -EINVAL, 0},
		{".", -EINVAL, 0},
		{".5", -EINVAL, 0},
		{"5.", -EINVAL, 0},
		{"1.5.5", -EINVAL, 0},
		{"1,5", -EINVAL, 0},
		{"-1", -EINVAL, 0},
		{"1e3", -EINVAL, 0},
		{"inf", -EINVAL, 0},
		{"nan", -EINVAL, 0},
		{"30s", -EINVAL, 0},
		{"1.-5", -EINVAL, 0},
		{"000000000000000000000000000000000000000000001", -EINVAL, 0},
	};
	struct err err;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t ms = UNTOUCHED;
		assert_int_equal(parse_seconds(rows[i].text, &ms, &err), rows[i].rc);
		assert_true(ms == (rows[i].rc ? UNTOUCHED : rows[i].ms));
	}
	assert_string_equal(err.text,
		"\"000000000000000000000000000000000000000000001\" is no time: "
		"expected seconds from 0 to 1000000, such as 30 or 1.5");
}

static void test_quote(void **state)
{
	char out[PARSE_QUOTE_BYTES], longest[1000];

	(void)state;
	assert_string_equal(parse_quote("", out, sizeof(out)), "\"\"");
	assert_string_equal(parse_quote("a\nb\x1b[m", out, sizeof(out)), "\"a\\x0ab\\x1b[m\"");
	assert_string_equal(parse_shown("a b", out, sizeof(out)), "a b");
	assert_string_equal(parse_quote("12345", out, 8), "\"12345\"");
	assert_string_equal(parse_quote("123456", out, 8), "\"12...\"");
	assert_string_equal(parse_quote("\n123456", out, 8), "\"...\"");
	assert_string_equal(parse_shown("1234567", out, 8), "1234567");
	assert_string_equal(parse_shown("12345678", out, 8), "1234...");
	memset(longest, '\x01', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	for (size_t cap = 8; cap <= sizeof(out); cap++) {
		parse_quote(longest, out, cap);
		assert_true(strlen(out) < cap);
		assert_string_equal(out + strlen(out) - 4, "...\"");
	}
	char big[2000];
	parse_quote(longest, big, sizeof(big));
	assert_string_equal(big + strlen(big) - 4, "...\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uint),
		cmocka_unit_test(test_port),
		cmocka_unit_test(test_seconds),
		cmocka_unit_test(test_quote),
	};

	return cmocka_run_group_tests_name("parse", tests, NULL, NULL);
}
