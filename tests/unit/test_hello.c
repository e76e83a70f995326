/* SPDX-License-Identifier: Apache-2.0 */
/* test_hello - what ends of a link say to one another, and what is none of it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "exit/hello.h"

static void what_is_said_is_heard(void **state)
{
	static const struct hello said[] = {
		{.kind = HELLO_ENTRANCE, .features = HELLO_ACKNOWLEDGE, .version = "0.2.0"},
		{.kind = HELLO_EXIT,
			.features = HELLO_ACKNOWLEDGE | HELLO_IPV6 | HELLO_DNS,
			.version = "1"},
		{.kind = HELLO_EXIT, .features = 0, .version = ""},
		{.kind = HELLO_PING, .number = 1},
		{.kind = HELLO_PONG, .number = 123456789012},
	};
	char text[HELLO_TEXT_BYTES];
	struct hello heard;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
		size_t len = hello_encode(&said[i], text);

		assert_int_equal(hello_decode(text, len, &heard, &err), 0);
		assert_int_equal(heard.kind, said[i].kind);
		assert_int_equal(heard.features, said[i].features);
		assert_string_equal(heard.version, said[i].version);
		assert_int_equal(heard.number, said[i].number);
	}
}

static void newer_ends_are_understood(void **state)
{
	static const char newer[] = "{\"nswrap\": \"exit\", \"features\": [\"warp\", 3, \"dns\"], "
				    "\"version\": \"\\u001b[1m\", \"more\": {}}";
	static const char other[] = "{\"news\": 1}";
	struct hello heard;
	struct err err;

	(void)state;
	assert_int_equal(hello_decode(newer, strlen(newer), &heard, &err), 0);
	assert_int_equal(heard.kind, HELLO_EXIT);
	assert_int_equal(heard.features, HELLO_DNS);
	assert_null(strchr(heard.version, '\x1b'));
	assert_int_equal(hello_decode(other, strlen(other), &heard, &err), 0);
	assert_int_equal(heard.kind, HELLO_OTHER);
}

static void the_rest_is_said_to_be_wrong(void **state)
{
	static const char *const wrong[] = {"", "[]", "3", "{", "{\"nswrap\": 3}",
		"{\"nswrap\": \"exit\", \"features\": 3}",
		"{\"nswrap\": \"exit\", \"version\": []}", "{\"ping\": \"1\"}", "{\"pong\": 1.5}"};
	struct hello heard;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_true(hello_decode(wrong[i], strlen(wrong[i]), &heard, &err) < 0);
		assert_non_null(strstr(err.text, "expected who the other end is"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_said_is_heard),
		cmocka_unit_test(newer_ends_are_understood),
		cmocka_unit_test(the_rest_is_said_to_be_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
