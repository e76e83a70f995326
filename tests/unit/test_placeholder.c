/* SPDX-License-Identifier: Apache-2.0 */
/* test_placeholder - ports in the arguments of COMMAND */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox/placeholder.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

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

/* Of one text; the caller frees it. */
static char *expand(const char *text, const struct forward_list *forwards, struct err *err)
{
	char *const texts[] = {(char *)text, NULL};
	char **list = placeholder_expand_list(texts, forwards, err);
	char *out = list ? list[0] : NULL;

	free(list);
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

		assert_int_equal(placeholder_check(texts, list->count, &err), 0);
	}
}

static void refuses_what_is_not_there(void **state)
{
	static const char *const rows[] = {
		"{guest-port:4}", "{host-port:0}", "a<host-port:1000>b", "{guest-port:9999999}"};

	for (size_t i = 0; i < COUNT(rows); i++) {
		char *const texts[] = {"x", (char *)rows[i], NULL};
		struct err err = {0};

		assert_int_equal(placeholder_check(texts, 3, &err), -EINVAL);
		assert_non_null(strstr(err.text, "-port:"));
		err.code = 0;
		assert_null(expand(rows[i], *state, &err));
		assert_int_equal(err.code, EINVAL);
		assert_null(placeholder_expand_list(texts, *state, &err));
	}
}

static void refuses_without_forwards(void **state)
{
	char *const texts[] = {"--port={guest-port}", NULL};
	struct err err;

	(void)state;
	assert_int_equal(placeholder_check(texts, 0, &err), -EINVAL);
	assert_non_null(strstr(err.text, "{guest-port}"));
}

static void expands_lists(void **state)
{
	char *const texts[] = {"web", "{guest-port}", "", NULL};
	struct err err;
	char **out = placeholder_expand_list(texts, *state, &err);

	assert_non_null(out);
	assert_string_equal(out[0], "web");
	assert_string_equal(out[1], "8888");
	assert_string_equal(out[2], "");
	assert_null(out[3]);
	placeholder_free_list(out);
	placeholder_free_list(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replaces),
		cmocka_unit_test(check_agrees),
		cmocka_unit_test(refuses_what_is_not_there),
		cmocka_unit_test(refuses_without_forwards),
		cmocka_unit_test(expands_lists),
	};

	return cmocka_run_group_tests(tests, make_forwards, free_forwards);
}
