/* SPDX-License-Identifier: Apache-2.0 */
/* test_output - tables that people read, and JSON, on stdout */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd/output.h"

static void check_table(json_t *rows, int width, const char *wanted)
{
	FILE *real = stdout;
	char *text = NULL;
	size_t len;

	stdout = open_memstream(&text, &len);
	output_table(rows, width);
	fclose(stdout);
	stdout = real;
	assert_string_equal(text, wanted);
	free(text);
}

static void test_table(void **state)
{
	json_t *rows = json_pack("[[s, s, s, s]]", "NAME", "PID", "AGE", "COMMAND");

	(void)state;
	check_table(rows, 0, "NAME  PID  AGE  COMMAND\n");
	json_array_append_new(rows, json_pack("[s, s, s, s]", "box", "1234567", "5s", ""));
	json_array_append_new(
		rows, json_pack("[s, s, s, s]", /* seven columns: one is wide */
			      "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80xyz", "", "2d", "a b"));
	check_table(rows, 0,
		"NAME     PID      AGE  COMMAND\n"
		"box      1234567  5s   \n"
		"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80xyz           2d   a b\n");
	json_decref(rows);
}

/* The last column gives way first, then the widest; what was cut is seen. */
static void test_fit(void **state)
{
	json_t *rows = json_pack("[[s, s, s], [s, s, s]]", "NAME", "WIDE", "COMMAND",
		"a-name-of-20-letters", "12345678", "a command of some words");

	(void)state;
	check_table(rows, 60,
		"NAME                  WIDE      COMMAND\n"
		"a-name-of-20-letters  12345678  a command of some words\n");
	check_table(rows, 50,
		"NAME                  WIDE      COMMAND\n"
		"a-name-of-20-letters  12345678  a command of some+\n");
	check_table(rows, 36,
		"NAME            WIDE      COMMAND\n"
		"a-name-of-20-+  12345678  a command+\n");
	check_table(rows, 5,
		"NAME    WIDE    COMMAND\n"
		"a-nam+  12345+  a command+\n");
	json_decref(rows);
}

/* Whoever made the rows: no cell writes more than itself. */
static void test_strangers(void **state)
{
	json_t *rows = json_pack("[[s, s], [s, s]]", "A", "B", "\x1b[2J", "x\xe2\x80\xaey\nz");

	(void)state;
	check_table(rows, 0, "A        B\n\\x1b[2J  x\\xe2\\x80\\xaey\\x0az\n");
	json_decref(rows);
}

/* The last column begins behind "A" and its gap. */
static void test_cut(void **state)
{
	json_t *rows = json_pack("[[s, s], [s, s]]", "A",
		"ab\xc3\xa4"
		"defghij\xe2\x82\xac"
		"lm",
		"", "0123456789");

	(void)state;
	check_table(rows, 0,
		"A  ab\xc3\xa4"
		"defghij\xe2\x82\xac"
		"lm\n   0123456789\n");
	check_table(rows, 16,
		"A  ab\xc3\xa4"
		"defghij\xe2\x82\xac"
		"lm\n   0123456789\n");
	check_table(rows, 14,
		"A  ab\xc3\xa4"
		"defghij+\n   0123456789\n");
	for (int width = 1; width <= 13; width++) /* ten columns stay */
		check_table(rows, width,
			"A  ab\xc3\xa4"
			"defghi+\n   0123456789\n");
	json_decref(rows);
}

static void test_age(void **state)
{
	static const struct {
		long long seconds;
		const char *text;
	} rows[] = {{-1, "0s"}, {0, "0s"}, {99, "99s"}, {100, "1m"}, {5999, "99m"}, {6000, "1h"},
		{172799, "47h"}, {172800, "2d"}, {259199, "2d"}, {31536000, "365d"}};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_t *age = output_age(rows[i].seconds);

		assert_string_equal(json_string_value(age), rows[i].text);
		json_decref(age);
	}
}

static void test_json(void **state)
{
	json_t *json = json_pack("{s:[s, f]}", "a", "\xc3\xa4", 0.1);
	FILE *real = stdout;
	struct err err = {0};
	char *text = NULL;
	size_t len;

	(void)state;
	stdout = open_memstream(&text, &len);
	output_json(json);
	output_json(NULL);
	assert_int_equal(output_end(&err), 0);
	fclose(stdout);
	assert_string_equal(text, "{\n  \"a\": [\n    \"\\u00E4\",\n    0.1\n  ]\n}\n");
	free(text);

	stdout = fopen("/dev/full", "we");
	assert_non_null(stdout);
	output_json(json);
	assert_int_equal(output_end(&err), -ENOSPC);
	assert_string_equal(err.text, "cannot write to stdout: No space left on device");
	fclose(stdout);
	stdout = real;
	json_decref(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_fit),
		cmocka_unit_test(test_strangers),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_age),
		cmocka_unit_test(test_json),
	};

	return cmocka_run_group_tests_name("output", tests, NULL, NULL);
}
