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

static void test_table(void **state)
{
	output_cell rows[][3] = {{"NAME", "PID", "AGE"}, {"box", "1234567", "5s"},
		{"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80xyz", "", "2d"}}; /* six characters */
	struct output_table table = {.count = 3};
	FILE *real = stdout;
	char *text = NULL;
	size_t len;

	(void)state;
	assert_int_equal(output_indent(&table), 6);
	for (size_t i = 0; i < 3; i++)
		output_fit(&table, rows[i]);
	assert_int_equal(output_indent(&table), 6 + 7 + 3 + 6);
	stdout = open_memstream(&text, &len);
	output_row(&table, rows[0], "COMMAND");
	output_row(&table, rows[1], "");
	output_row(&table, rows[2], "a b");
	fclose(stdout);
	stdout = real;
	assert_string_equal(text, "NAME    PID      AGE  COMMAND\n"
				  "box     1234567  5s   \n"
				  "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80xyz           2d   a b\n");
	free(text);
}

static void test_age(void **state)
{
	static const struct {
		long long seconds;
		const char *text;
	} rows[] = {{-1, "0s"}, {0, "0s"}, {99, "99s"}, {100, "1m"}, {5999, "99m"}, {6000, "1h"},
		{172799, "47h"}, {172800, "2d"}, {259199, "2d"}, {31536000, "365d"}};
	output_cell cell;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		output_age(rows[i].seconds, cell);
		assert_string_equal(cell, rows[i].text);
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
		cmocka_unit_test(test_age),
		cmocka_unit_test(test_json),
	};

	return cmocka_run_group_tests_name("output", tests, NULL, NULL);
}
