/* SPDX-License-Identifier: Apache-2.0 */
/* test_http_target - targets of requests to a proxy */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "proxy/http_target.h"

static struct http_target target;
static struct http_fault fault;

static struct http_text text(const char *word)
{
	return (struct http_text){word, strlen(word)};
}

/* 0, or the status; nothing behind the target is looked at. */
static int read_target(const char *method, const char *word)
{
	size_t len = strlen(word);
	static char copy[1000];

	memcpy(copy, word, len);
	memcpy(copy + len, ":99/", 4);
	return http_target_read(text(method), (struct http_text){copy, len}, &target, &fault) < 0
		       ? fault.status
		       : 0;
}

static void test_urls(void **state)
{
	static const struct {
		const char *url, *host, *authority, *path;
		uint16_t port;
	} cases[] = {
		{"http://a", "a", "a", "", 80},
		{"http://a/", "a", "a", "/", 80},
		{"HTTP://A_b.c-d.:8080/e?f=http://u@g/", "A_b.c-d.", "A_b.c-d.:8080",
			"/e?f=http://u@g/", 8080},
		{"http://a?b", "a", "a", "?b", 80},
		{"http://a:/b", "a", "a", "/b", 80},
		{"http://[::1]:81/b", "::1", "[::1]:81", "/b", 81},
		{"http://127.0.42.101:65535/|\xc3\xa4{}", "127.0.42.101", "127.0.42.101:65535",
			"/|\xc3\xa4{}", 65535},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(read_target("GET", cases[i].url), 0);
		assert_string_equal(target.host, cases[i].host);
		assert_int_equal(target.port, cases[i].port);
		assert_false(target.is_tunnel);
		assert_true(http_text_equals(target.authority, cases[i].authority));
		assert_true(http_text_equals(target.path, cases[i].path));
	}
}

static void test_tunnels(void **state)
{
	(void)state;
	assert_int_equal(read_target("CONNECT", "a.b:443"), 0);
	assert_true(target.is_tunnel && target.port == 443);
	assert_string_equal(target.host, "a.b");
	assert_int_equal(read_target("CONNECT", "[fd00::2]:22"), 0);
	assert_string_equal(target.host, "fd00::2");
	assert_int_equal(target.path.len, 0);
}

static void test_refused(void **state)
{
	static const char *const urls[] = {"/", "/a", "*", "http://", "http:///a", "http://:80/",
		"http://u@a/", "http://u:p@a/", "http://@a/", "http://a:0/", "http://a:65536/",
		"http://a:99999999999/", "http://a:8a/", "http://a b/", "http://a%41/",
		"http://a,b/", "http://[::1/", "http://[::1]x/", "http://::1/",
		"http://[fe80::1%25eth0]/", "http://a\\b/", "http://\xc3\xa4/", "http://a/#b",
		"http://a#b", "https://a/", "ftp://a/", "a", "a:80", "http:a", "http:/a/", "://a/"};
	static const char *const tunnels[] = {"a", "a:", "a:0", "a:65536", ":443", "a:443/",
		"u@a:443", "http://a:443/", "/", "[::1]", "::1:443", "a:443?b", "a:4 4",
		"[::1%25a]:1"};
	char long_url[300] = "http://";

	(void)state;
	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++)
		if (read_target("GET", urls[i]) != 400)
			fail_msg("%s is taken", urls[i]);
	for (size_t i = 0; i < sizeof(tunnels) / sizeof(tunnels[0]); i++)
		if (read_target("CONNECT", tunnels[i]) != 400)
			fail_msg("CONNECT %s is taken", tunnels[i]);
	assert_int_equal(read_target("connect", "a:443"), 400);
	memset(long_url + 7, 'a', HTTP_HOST_MAX);
	assert_int_equal(read_target("GET", long_url), 0);
	assert_int_equal(strlen(target.host), HTTP_HOST_MAX);
	memset(long_url + 7, 'a', HTTP_HOST_MAX + 1);
	assert_int_equal(read_target("GET", long_url), 400);
}

/* Who takes it for a server is told what it is. */
static void test_words(void **state)
{
	(void)state;
	assert_int_equal(read_target("GET", "/index.html"), 400);
	assert_non_null(strstr(fault.why, "this is a proxy"));
	assert_int_equal(read_target("GET", "https://a/"), 400);
	assert_non_null(strstr(fault.why, "CONNECT"));
	assert_int_equal(read_target("GET", "http://u@a/"), 400);
	assert_non_null(strstr(fault.why, "user"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_urls),
		cmocka_unit_test(test_tunnels),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests_name("proxy/http_target", tests, NULL, NULL);
}
