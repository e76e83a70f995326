/* SPDX-License-Identifier: Apache-2.0 */
/* test_http_body - bodies of known length, in chunks, until the end; cut anywhere */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "proxy/http_body.h"

static char out[70000];
static size_t out_len, taken;
static struct http_fault fault;

/* @bytes in pieces of @step, as a connection gives them: what is not taken stands in front of what
 * comes. Returns whether they were fine; then out and taken say what became of them. */
static bool feed(struct http_body body, const char *bytes, size_t len, size_t step)
{
	static char buffer[70000];
	size_t have = 0, given = 0;

	out_len = taken = 0;
	fault = (struct http_fault){0};
	for (;;) {
		size_t piece = step < len - given ? step : len - given, goes_on;

		memcpy(buffer + have, bytes + given, piece);
		given += piece;
		have += piece;
		ssize_t some = http_body_feed(&body, buffer, have, &goes_on, &fault);
		if (some < 0)
			return false;
		assert_true((size_t)some <= have && goes_on <= (size_t)some);
		memcpy(out + out_len, buffer, goes_on);
		out_len += goes_on;
		taken += (size_t)some;
		have -= (size_t)some;
		memmove(buffer, buffer + some, have);
		if (http_body_is_done(&body) || given == len)
			break;
	}
	out[out_len] = '\0';
	return http_body_is_done(&body);
}

static struct http_body chunked(bool drops_chunks)
{
	struct http_body body;

	http_body_init_chunked(&body, drops_chunks);
	return body;
}

static void check(const char *bytes, const char *goes_on, const char *content)
{
	size_t len = strlen(bytes);
	char more[2000];

	snprintf(more, sizeof(more), "%sGET ", bytes);
	for (size_t step = 1; step <= len + 4; step++) {
		assert_true(feed(chunked(false), more, len + 4, step));
		assert_int_equal(taken, len);
		assert_string_equal(out, goes_on);
		assert_true(feed(chunked(true), more, len + 4, step));
		assert_int_equal(taken, len);
		assert_string_equal(out, content);
	}
	for (size_t part = 0; part < len; part++)
		assert_false(feed(chunked(false), bytes, part, 3)); /* not whole yet */
}

static void test_chunks(void **state)
{
	(void)state;
	check("0\r\n\r\n", "0\r\n\r\n", "");
	check("3\r\nabc\r\n0\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n", "abc");
	check("00000000000000000000003\r\nabc\r\nA\r\n0123456789\r\n000\r\n\r\n",
		"3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n", "abc0123456789");
	check("3;a=b;c=\"d\"\r\nabc\r\n1 ; \t\xc3\xa4\r\n\n\r\n0;x\r\n\r\n",
		"3\r\nabc\r\n1\r\n\n\r\n0\r\n\r\n", "abc\n");
}

static void test_trailers(void **state)
{
	(void)state;
	check("1\r\na\r\n0\r\nX-Sum: 12\r\nY:  z \r\n\r\n",
		"1\r\na\r\n0\r\nX-Sum:12\r\nY:z\r\n\r\n", "a");
	check("1\r\na\r\n0\r\nContent-Length: 5\r\nHost: evil\r\nX: y\r\nTransfer-Encoding: chunked\r\n"
	      "Authorization: z\r\nConnection: close\r\nSet-Cookie: c\r\n\r\n",
		"1\r\na\r\n0\r\nX:y\r\n\r\n", "a");
}

static void test_refused(void **state)
{
	static const char *const cases[] = {"\r\n", "\n", "g\r\n", " 3\r\nabc\r\n0\r\n\r\n",
		"3 \r\nabc\r\n0\r\n\r\n", "3\nabc\r\n0\r\n\r\n", "0x3\r\nabc\r\n0\r\n\r\n",
		"+3\r\nabc\r\n0\r\n\r\n", "-3\r\nabc\r\n", "3\r\nabcd\r\n0\r\n\r\n",
		"3\r\nabc\n0\r\n\r\n", "3\r\nabc\r0\r\n\r\n", "3\r\nab\r\n0\r\n\r\n",
		"3;a\x01\r\nabc\r\n0\r\n\r\n", "3;a\rb\r\nabc\r\n0\r\n\r\n", "1000000000000000\r\n",
		"ffffffffffffffffffffff\r\n", "10000000000000003\r\nabc\r\n0\r\n\r\n", "0\r\n\n",
		"0\r\nA: b\n\r\n", "0\r\nA : b\r\n\r\n", "0\r\nA: b\r\n c\r\n\r\n",
		"0\r\nGET / HTTP/1.1\r\n\r\n", "0\r\n: b\r\n\r\n", "3,4\r\nabc\r\n0\r\n\r\n"};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (size_t step = 1; step <= strlen(cases[i]); step++) {
			if (feed(chunked(false), cases[i], strlen(cases[i]), step))
				fail_msg("case %zu is taken", i);
			if (fault.status != 400 || !fault.why)
				fail_msg("case %zu, step %zu: nothing is said", i, step);
		}
	assert_false(feed(chunked(false), "1\0\r\na\r\n0\r\n\r\n", 13, 13));
	assert_int_equal(fault.status, 400);
	/* 15 digits are fine, and wait for what they say */
	assert_false(feed(chunked(false), "fffffffffffffff\r\nabc", 20, 1));
	assert_int_equal(fault.status, 0);
}

static void test_limits(void **state)
{
	static char bytes[70000];
	size_t len = HTTP_BODY_LINE_MAX;

	(void)state;
	for (int more = 0; more < 2; more++) {
		memset(bytes, 'x', sizeof(bytes));
		memcpy(bytes, "0;", 2);
		memcpy(bytes + len - 2 + more, "\r\n\r\n", 4);
		assert_int_equal(feed(chunked(false), bytes, len + 2 + (size_t)more, 700), !more);
	}
	len = HTTP_BODY_TRAILER_MAX;
	for (int more = 0; more < 2; more++) {
		memset(bytes, 'x', sizeof(bytes));
		memcpy(bytes, "0\r\nA: ", 6);
		memcpy(bytes + 3 + len - 4 + more, "\r\n\r\n", 4);
		assert_int_equal(feed(chunked(false), bytes, len + 3 + (size_t)more, 700), !more);
	}
	/* more fields than a head may have */
	len = (size_t)sprintf(bytes, "0\r\n");
	for (int i = 0; i < 300; i++)
		len += (size_t)sprintf(bytes + len, "A: b\r\n");
	len += (size_t)sprintf(bytes + len, "\r\n");
	assert_false(feed(chunked(false), bytes, len, len));
	assert_int_equal(fault.status, 400);
	/* without end, too */
	memset(bytes, 'x', sizeof(bytes));
	memcpy(bytes, "0\r\nA: ", 6);
	assert_false(feed(chunked(false), bytes, sizeof(bytes) / 2, 100));
	assert_int_equal(fault.status, 400);
}

static void test_length(void **state)
{
	struct http_body body;

	(void)state;
	http_body_init_length(&body, 0);
	assert_true(http_body_is_done(&body) && http_body_may_end(&body));
	assert_true(feed(body, "abc", 3, 1));
	assert_int_equal(taken, 0);
	http_body_init_length(&body, 5);
	assert_false(http_body_may_end(&body));
	for (size_t step = 1; step < 9; step++) {
		assert_true(feed(body, "a\r\n\0bGET", 8, step));
		assert_int_equal(taken, 5);
		assert_memory_equal(out, "a\r\n\0b", 5);
	}
	assert_false(feed(body, "abcd", 4, 4));
	http_body_init_length(&body, UINT64_MAX - 1);
	assert_false(feed(body, "abcd", 4, 4));
	assert_int_equal(out_len, 4);
}

static void test_until_end(void **state)
{
	struct http_body body;

	(void)state;
	http_body_init_until_end(&body);
	assert_true(http_body_may_end(&body));
	assert_false(feed(body, "5\r\nab", 5, 2));
	assert_string_equal(out, "5\r\nab");
	struct http_body in_chunks = chunked(false);
	assert_false(http_body_may_end(&in_chunks));
}

/* Random chunks with random extensions, cut at random: what is in them arrives. */
static void test_random(void **state)
{
	static char bytes[60000], content[30000];
	unsigned seed = 1;

	(void)state;
	for (int round = 0; round < 300; round++) {
		size_t len = 0, content_len = 0;
		int chunks = rand_r(&seed) % 20;

		for (int i = 0; i < chunks; i++) {
			size_t size = 1 + (size_t)rand_r(&seed) % (rand_r(&seed) % 2 ? 5 : 1000);
			len += (size_t)sprintf(bytes + len, "%0*zX%s\r\n", rand_r(&seed) % 20, size,
				rand_r(&seed) % 3 ? "" : ";some=thing");
			for (size_t at = 0; at < size; at++)
				bytes[len++] = content[content_len++] = (char)rand_r(&seed);
			len += (size_t)sprintf(bytes + len, "\r\n");
		}
		len += (size_t)sprintf(bytes + len, "0\r\n%s\r\n", round % 2 ? "A: b\r\n" : "");
		assert_true(feed(chunked(true), bytes, len, 1 + (size_t)rand_r(&seed) % 300));
		assert_int_equal(taken, len);
		assert_int_equal(out_len, content_len);
		assert_memory_equal(out, content, content_len);
		/* and what goes on in chunks is the same again */
		assert_true(feed(chunked(false), bytes, len, 1 + (size_t)rand_r(&seed) % 300));
		memcpy(bytes, out, out_len);
		len = out_len;
		assert_true(feed(chunked(false), bytes, len, 1 + (size_t)rand_r(&seed) % 300));
		assert_int_equal(out_len, len);
		assert_memory_equal(out, bytes, len);
		assert_true(feed(chunked(true), bytes, len, len));
		assert_memory_equal(out, content, content_len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chunks),
		cmocka_unit_test(test_trailers),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_length),
		cmocka_unit_test(test_until_end),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests_name("proxy/http_body", tests, NULL, NULL);
}
