/* SPDX-License-Identifier: Apache-2.0 */
/* test_endpoint - places that are written well or not */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "tunnel/endpoint.h"

static void what_is_one(void **state)
{
	static const char *const texts[] = {
		"127.0.0.1:80", "[::1]:8080", "web:1", "a-b.example.com:65535", "unix:/run/a b"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		struct endpoint endpoint;
		char text[ENDPOINT_TEXT_BYTES];
		struct err err;

		assert_int_equal(endpoint_parse(texts[i], &endpoint, &err), 0);
		assert_string_equal(endpoint_format(&endpoint, text, sizeof(text)), texts[i]);
		struct dial_target target = endpoint_target(&endpoint);
		assert_int_equal(target.where, DIAL_OUTSIDE);
		assert_true((target.host == NULL) == (i != 2 && i != 3));
	}
}

static void what_is_none(void **state)
{
	static const char *const texts[] = {"", ":", "80", "host", "host:", ":80", "host:0",
		"host:65536", "host:-1", "host: 1", "::1:80", "[::1]", "[web]:80", "[127.0.0.1]:80",
		"a b:80", "-x:1", "a/b:1", "unix:", "[::ffff:1.2.3.4]:80"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		struct endpoint endpoint;
		struct err err = {0};

		if (endpoint_parse(texts[i], &endpoint, &err) != -EINVAL)
			fail_msg("%s is taken", texts[i]);
		assert_true(err.text[0]);
	}
}

static void what_is_listened_at(void **state)
{
	static const char *const texts[][2] = {{"localhost:1", "127.0.0.1:1"},
		{":80", "0.0.0.0:80"}, {"*:80", "0.0.0.0:80"}, {"[::]:0", "[::]:0"},
		{"10.1.2.3:0", "10.1.2.3:0"}, {"unix:s", "unix:s"}};
	static const char *const wrong[] = {"web:80", "[::1]", "*", "", "[*]:1", "300.1.1.1:1"};
	char text[ADDR_TEXT_BYTES];
	struct addr addr;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		assert_int_equal(endpoint_parse_own(texts[i][0], &addr, &err), 0);
		assert_string_equal(addr_format(&addr, text, sizeof(text)), texts[i][1]);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_int_equal(endpoint_parse_own(wrong[i], &addr, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_one),
		cmocka_unit_test(what_is_none),
		cmocka_unit_test(what_is_listened_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
