/* SPDX-License-Identifier: Apache-2.0 */
/* test_program - arguments and environment of COMMAND */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox/program.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

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

/* 1: 127.0.0.1:9876:8888, 2: [::1]:53:5353/udp, 3: unix:/run/web.sock:80 */
static int make_forwards(void **state)
{
	static struct forward_list list;
	struct err err;

	*state = &list;
	return spec_list_parse(&list, "9876:8888", NULL, &err) < 0 ||
	       spec_list_parse(&list, "[::1]:53:5353/udp", NULL, &err) < 0 ||
	       spec_list_parse(&list, "unix:/run/web.sock:80", NULL, &err) < 0;
}

static int free_forwards(void **state)
{
	spec_list_free(*state);
	return 0;
}

static int make(
	struct program *program, char **texts, const struct forward_list *forwards, struct err *err)
{
	const struct sandbox_config config = {.command = texts, .env = environment};

	*program = (struct program){0};
	return program_make(program, &config, "box", forwards, err);
}

/* Of one text; the caller frees it. */
static char *expand(const char *text, const struct forward_list *forwards, struct err *err)
{
	char *texts[] = {(char *)text, NULL};
	struct program program;
	char *out = make(&program, texts, forwards, err) == 0 ? strdup(program.argv[0]) : NULL;

	program_free(&program);
	return out;
}

static const char *const replaced[][2] = {
	{"", ""},
	{"plain", "plain"},
	{"{guest-port}", "8888"},
	{"{host-port}", "9876"},
	{"<guest-port>", "8888"},
	{"<host-port>", "9876"},
	{"--port={guest-port}", "--port=8888"},
	{"{guest-port}{guest-port}", "88888888"},
	{"a{guest-port}b<host-port>c", "a8888b9876c"},
	{"{guest-port:1}", "8888"},
	{"{guest-port:2}", "5353"},
	{"{host-port:2}", "53"},
	{"<guest-port:02>", "5353"},
	{"{host-port:3}", "/run/web.sock"},
	{"{guest-port:3}", "80"},
	{"{{guest-port}}", "{8888}"},
	/* other words in braces are the command's own */
	{"{guest-port>", "{guest-port>"},
	{"<guest-port}", "<guest-port}"},
	{"{guest-port", "{guest-port"},
	{"{guest-port:}", "{guest-port:}"},
	{"{guest-port:x}", "{guest-port:x}"},
	{"{guest-port:1x}", "{guest-port:1x}"},
	{"{guest-port:-1}", "{guest-port:-1}"},
	{"{guest-port:12345678901234567890}", "{guest-port:12345678901234567890}"},
	{"{guest_port}", "{guest_port}"},
	{"{Guest-Port}", "{Guest-Port}"},
	{"{port}", "{port}"},
	{"{}", "{}"},
	{"{", "{"},
	{"<", "<"},
	{"{guest-port \xff}", "{guest-port \xff}"},
};

static void replaces(void **state)
{
	for (size_t i = 0; i < COUNT(replaced); i++) {
		struct err err;
		char *out = expand(replaced[i][0], *state, &err);

		assert_non_null(out);
		assert_string_equal(out, replaced[i][1]);
		free(out);
	}
}

/* Nothing that is found fit by the check fails afterwards, and the other way round. */
static void check_agrees(void **state)
{
	const struct forward_list *list = *state;
	struct err err;

	for (size_t i = 0; i < COUNT(replaced); i++) {
		char *const texts[] = {"x", (char *)replaced[i][0], NULL};

		assert_int_equal(program_check(texts, list->count, 0, &err), 0);
	}
}

static void refuses_what_is_not_there(void **state)
{
	static const char *const rows[] = {
		"{guest-port:4}", "{host-port:0}", "a<host-port:1000>b", "{guest-port:9999999}"};

	for (size_t i = 0; i < COUNT(rows); i++) {
		char *texts[] = {"x", (char *)rows[i], NULL};
		struct program program;
		struct err err = {0};

		assert_int_equal(program_check(texts, 3, 0, &err), -EINVAL);
		assert_non_null(strstr(err.text, "-port:"));
		err.code = 0;
		assert_null(expand(rows[i], *state, &err));
		assert_int_equal(err.code, EINVAL);
		assert_int_equal(make(&program, texts, *state, &err), -EINVAL);
		assert_null(program.argv);
		program_free(&program);
	}
}

/* One that COMMAND listens at, though nothing of the host leads there. */
static void a_guest_port_needs_no_forward(void **state)
{
	char *words[] = {"{guest-port}", "<guest-port:1>", "x{guest-port}y", NULL};
	char *wrong[] = {"{host-port}", NULL}, *second[] = {"{guest-port:2}", NULL};
	char *env[] = {"A=b", NULL};
	const struct forward_list none = {0};
	struct sandbox_config config = {.command = words, .guest_port = 8888, .env = env};
	struct program program = {0};
	struct err err;

	(void)state;
	assert_int_equal(program_make(&program, &config, "box", &none, &err), 0);
	assert_string_equal(program.argv[0], "8888");
	assert_string_equal(program.argv[1], "8888");
	assert_string_equal(program.argv[2], "x8888y");
	assert_string_equal(program.env[2], "NSWRAP_GUEST_PORT=8888");
	assert_null(program.env[3]);
	program_free(&program);
	assert_int_equal(program_check(wrong, 0, 8888, &err), -EINVAL);
	assert_int_equal(program_check(second, 0, 8888, &err), -EINVAL);
}

static void a_service(void **state)
{
	const char *const expected[] = {"A=b", "WATCHDOG_USEC=1", "NSWRAP_NAME=box",
		"NOTIFY_SOCKET=/run/notify", "WATCHDOG_PID=", NULL};
	const struct sandbox_service service = {.watchdog_usec = "7", .is_watchdog_named = true};
	char *env[] = {"A=b", "WATCHDOG_USEC=1", NULL}, *words[] = {"serve", NULL};
	const struct sandbox_config config = {.command = words, .env = env};
	const struct forward_list none = {0};
	struct program program = {0};
	struct err err;

	(void)state;
	assert_int_equal(program_make(&program, &config, "box", &none, &err), 0);
	assert_int_equal(program_add_service(&program, &service, "/run/notify", &err), 0);
	expect(program.env, expected);
	assert_ptr_equal(program.pid_variables[0], program.env[4]);
	assert_null(program.pid_variables[1]);
	program_free(&program);

	/* no manager, no watchdog */
	assert_int_equal(program_make(&program, &config, "box", &none, &err), 0);
	assert_int_equal(program_add_service(&program, &service, "", &err), 0);
	assert_null(program.env[3]);
	program_free(&program);
}

static void refuses_without_forwards(void **state)
{
	char *const texts[] = {"--port={guest-port}", NULL};
	struct err err;

	(void)state;
	assert_int_equal(program_check(texts, 0, 0, &err), -EINVAL);
	assert_non_null(strstr(err.text, "{guest-port}"));
	assert_int_equal(program_check(texts, 0, 80, &err), 0);
}

static void expands_lists(void **state)
{
	char *texts[] = {"web", "{guest-port}", "", NULL};
	const char *const expected[] = {"web", "8888", "", NULL};
	struct program program;
	struct err err;

	assert_int_equal(make(&program, texts, *state, &err), 0);
	expect(program.argv, expected);
	program_free(&program);
	assert_null(program.argv);
	program_free(&program);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(with_rules),
		cmocka_unit_test(with_a_path),
		cmocka_unit_test(without_rules),
		cmocka_unit_test(replaces),
		cmocka_unit_test(check_agrees),
		cmocka_unit_test(refuses_what_is_not_there),
		cmocka_unit_test(a_guest_port_needs_no_forward),
		cmocka_unit_test(a_service),
		cmocka_unit_test(refuses_without_forwards),
		cmocka_unit_test(expands_lists),
	};

	return cmocka_run_group_tests(tests, make_forwards, free_forwards);
}
