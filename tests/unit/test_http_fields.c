/* SPDX-License-Identifier: Apache-2.0 */
/* test_http_fields - which fields do not go on */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include "proxy/http_fields.h"

static struct http_text text(const char *word)
{
	return (struct http_text){word, strlen(word)};
}

static void test_stays(void **state)
{
	static const char head_bytes[] =
		"GET http://a/ HTTP/1.1\r\nHost: a\r\nConnection: x-mine, X-Other\r\n"
		"connection: cookie\r\n\r\n";
	static struct http_head head, plain;
	struct http_fault fault;

	(void)state;
	assert_int_equal(
		http_head_read_request(head_bytes, sizeof(head_bytes) - 1, &head, &fault), 0);
	assert_true(http_fields_stays(&head, text("X-Mine")));
	assert_true(http_fields_stays(&head, text("x-other")));
	assert_true(http_fields_stays(&head, text("Cookie")));
	assert_false(http_fields_stays(&head, text("X-Mine2")));
	assert_false(http_fields_stays(&plain, text("X-Mine")));
	assert_true(http_fields_stays(&plain, text("PROXY-authorization")));
	assert_true(http_fields_stays(&plain, text("Upgrade")));
	assert_true(http_fields_stays(&plain, text("Host")));
	assert_false(http_fields_stays(&plain, text("Trailer")));
	assert_false(http_fields_stays(&plain, text("Via")));
}

static void test_trailing(void **state)
{
	(void)state;
	assert_true(http_fields_may_trail(text("X-Checksum")));
	assert_true(http_fields_may_trail(text("Server-Timing")));
	assert_false(http_fields_may_trail(text("content-length")));
	assert_false(http_fields_may_trail(text("Transfer-Encoding")));
	assert_false(http_fields_may_trail(text("Host")));
	assert_false(http_fields_may_trail(text("Set-Cookie")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stays),
		cmocka_unit_test(test_trailing),
	};

	return cmocka_run_group_tests_name("proxy/http_fields", tests, NULL, NULL);
}
