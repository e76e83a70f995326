/* SPDX-License-Identifier: Apache-2.0 */
/* test_listen - where a proxy listens, as text */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "conn/listen.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void texts_are_read(void **state)
{
	static const struct {
		const char *text, *host, *again;
		uint16_t port;
		bool is_local;
	} cases[] = {
		{"127.0.0.1:18080", "127.0.0.1", NULL, 18080, true},
		{"127.1.2.3:1", "127.1.2.3", NULL, 1, true},
		{"[::1]:65535", "::1", NULL, 65535, true},
		{"localhost:1080", "localhost", NULL, 1080, true},
		{"LocalHost:1080", "LocalHost", NULL, 1080, true},
		{":18080", "", NULL, 18080, false},
		{"0.0.0.0:80", "0.0.0.0", NULL, 80, false},
		{"[::]:80", "::", NULL, 80, false},
		{"192.0.2.1:80", "192.0.2.1", NULL, 80, false},
		{"box-1.example_x.com:80", "box-1.example_x.com", NULL, 80, false},
		{"127.0.0.1", "127.0.0.1", "127.0.0.1:18081", 18081, true},
		{"[::1]", "::1", "[::1]:18081", 18081, true},
		{"localhost", "localhost", "localhost:18081", 18081, true},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char text[LISTEN_TEXT_BYTES];
		struct listen listen;

		assert_int_equal(listen_parse(cases[i].text, LISTEN_SOCKS_PORT, &listen, NULL), 0);
		assert_string_equal(listen.host, cases[i].host);
		assert_int_equal(listen.port, cases[i].port);
		assert_int_equal(listen_is_local(&listen), cases[i].is_local);
		assert_string_equal(listen_format(&listen, text, sizeof(text)),
			cases[i].again ? cases[i].again : cases[i].text);
	}
}

static void others_are_refused(void **state)
{
	static const char *const texts[] = {"", "18080", "127.0.0.1:", "127.0.0.1:0",
		"127.0.0.1:65536", "127.0.0.1:x", "127.0.0.1:-1", "127.0.0.300:1", "127.1:1",
		"::1:80", "::1", "[::1", "[::1]80", "[127.0.0.1]:80", "[]:80", "[]", "a b:80",
		"a/b:80", "a\n:80", "a:b:80", "\xff:80", "unix:/tmp/s"};
	char longest[LISTEN_HOST_MAX + 8];
	struct listen listen = {.port = 7};
	struct err err;

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		err.text[0] = '\0';
		if (listen_parse(texts[i], 1, &listen, &err) != -EINVAL)
			fail_msg("%s is read", texts[i]);
		assert_non_null(strstr(err.text, "expected"));
		assert_null(strchr(err.text, '\n'));
		assert_int_equal(listen.port, 7);
	}
	memset(longest, 'a', LISTEN_HOST_MAX);
	strcpy(longest + LISTEN_HOST_MAX, ":80");
	assert_int_equal(listen_parse(longest, 1, &listen, &err), 0);
	assert_int_equal(strlen(listen.host), LISTEN_HOST_MAX);
	memset(longest, 'a', LISTEN_HOST_MAX + 1);
	strcpy(longest + LISTEN_HOST_MAX + 1, ":80");
	assert_int_equal(listen_parse(longest, 1, &listen, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_are_read),
		cmocka_unit_test(others_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
