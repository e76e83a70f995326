/* SPDX-License-Identifier: Apache-2.0 */
/* test_http_login - who a request says its client is */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <glib.h>
#include <stdio.h>

#include "proxy/http_login.h"

static char user[] = "ann", password[] = "a:b\xc3\xa4";
static const struct access ann = {.user = user, .password = password};
static const struct access anybody;

/* With that value of Proxy-Authorization; NULL: without. */
static bool is_known(const char *value, const struct access *as)
{
	static struct http_head head;
	struct http_fault fault;
	char bytes[2000];
	size_t len = (size_t)snprintf(bytes, sizeof(bytes),
		"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YW5uOmE6Yg==\r\n%s%s%s\r\n",
		value ? "proxy-authorization: " : "", value ? value : "", value ? "\r\n" : "");

	assert_int_equal(http_head_read_request(bytes, len, &head, &fault), 0);
	return http_login_is_known(&head, as);
}

static bool is_basic(const char *text)
{
	char value[1000];
	char *code = g_base64_encode((const guchar *)text, strlen(text));

	snprintf(value, sizeof(value), "Basic %s", code);
	g_free(code);
	return is_known(value, &ann);
}

static void test_known(void **state)
{
	(void)state;
	assert_true(is_basic("ann:a:b\xc3\xa4"));
	assert_true(is_known("bAsIC   YW5uOmE6YsOk", &ann));
	assert_true(is_known(NULL, &anybody));
	assert_true(is_known("Basic x", &anybody));
}

static void test_unknown(void **state)
{
	char long_one[1000] = "ann:a:b\xc3\xa4";

	(void)state;
	assert_false(is_known(NULL, &ann));
	assert_false(is_known("", &ann));
	assert_false(is_known("Basic", &ann));
	assert_false(is_known("Basic ", &ann));
	assert_false(is_known("Basic x", &ann));
	assert_false(is_known("Basic !!!", &ann));
	assert_false(is_known("Bearer YW5uOmE6YsOk", &ann));
	assert_false(is_known("YW5uOmE6YsOk", &ann));
	assert_false(is_basic(""));
	assert_false(is_basic("ann"));
	assert_false(is_basic("ann:"));
	assert_false(is_basic(":a:b\xc3\xa4"));
	assert_false(is_basic("anna:a:b\xc3\xa4"));
	assert_false(is_basic("ann:a:b"));
	assert_false(is_basic("ann:a:b\xc3\xa4 "));
	memset(long_one + 9, 'a', 600);
	assert_false(is_basic(long_one));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_unknown),
	};

	g_log_set_always_fatal(G_LOG_LEVEL_CRITICAL);
	return cmocka_run_group_tests_name("proxy/http_login", tests, NULL, NULL);
}
