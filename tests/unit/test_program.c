/* SPDX-License-Identifier: Apache-2.0 */
/* test_program - arguments and environment of COMMAND */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sandbox/program.h"

static char *command[] = {"serve", "--port={guest-port}", "{host-port}", NULL};
static char *plain[] = {"serve", NULL};
static char *environment[] = {"A=1", "B=", NULL};

static void expect(char *const *list, const char *const *expected)
{
	for (; *expected; expected++, list++) {
		assert_non_null(*list);
		assert_string_equal(*list, *expected);
	}
	assert_null(*list);
}

static void with_rules(void **state)
{
	const char *const argv[] = {"serve", "--port=80", "8080", NULL};
	const char *const env[] = {"A=1", "B=", "NSWRAP_NAME=box", "NSWRAP_GUEST_PORT=80",
		"NSWRAP_HOST_PORT=8080", NULL};
	const struct sandbox_config config = {.command = command, .env = environment};
	struct forward_list list = {0};
	struct program program = {0};
	struct err err;

	(void)state;
	assert_int_equal(spec_list_parse(&list, "8080:80", NULL, &err), 0);
	assert_int_equal(spec_list_parse(&list, "8081:81", NULL, &err), 0);
	assert_int_equal(program_make(&program, &config, "box", &list, &err), 0);
	expect(program.argv, argv);
	expect(program.env, env);
	program_free(&program);
	assert_null(program.env);
	spec_list_free(&list);
}

static void with_a_path(void **state)
{
	const char *const env[] = {"A=1", "B=", "NSWRAP_NAME=box", "NSWRAP_GUEST_PORT=80",
		"NSWRAP_HOST_PORT=/tmp/s", NULL};
	const struct sandbox_config config = {.command = plain, .env = environment};
	struct forward_list list = {0};
	struct program program = {0};
	struct err err;

	(void)state;
	assert_int_equal(spec_list_parse(&list, "unix:/tmp/s:80", NULL, &err), 0);
	assert_int_equal(program_make(&program, &config, "box", &list, &err), 0);
	expect(program.env, env);
	program_free(&program);
	spec_list_free(&list);
}

static void without_rules(void **state)
{
	const char *const env[] = {"A=1", "B=", "NSWRAP_NAME=a%sb", NULL};
	struct sandbox_config config = {.command = plain, .env = environment};
	struct forward_list list = {0};
	struct program program = {0};
	struct err err;

	(void)state;
	assert_int_equal(program_make(&program, &config, "a%sb", &list, &err), 0);
	expect(program.argv, (const char *const *)plain);
	expect(program.env, env);
	program_free(&program);
	config.command = command;
	assert_int_equal(program_make(&program, &config, "box", &list, &err), -EINVAL);
	assert_non_null(strstr(err.text, "there is no forward"));
	program_free(&program);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(with_rules),
		cmocka_unit_test(with_a_path),
		cmocka_unit_test(without_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
