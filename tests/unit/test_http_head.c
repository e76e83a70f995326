/* SPDX-License-Identifier: Apache-2.0 */
/* test_http_head - heads of requests, answers and trailers: what is taken, what is refused, and how
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "proxy/http_head.h"

#define FIRST "GET http://a/ HTTP/1.1\r\nHost: a\r\n"

static struct http_head head;
static struct http_fault fault;

/* Found however it is cut, and only when it is whole. Returns its length, or -1. */
static ssize_t find(const char *bytes, size_t len)
{
	size_t seen = 0;

	for (size_t part = 0; part <= len; part++) {
		char *copy = malloc(part ? part : 1); /* its end is the end: ASan sees more */
		memcpy(copy, bytes, part);
		ssize_t found = http_head_find(copy, part, &seen, &fault);
		free(copy);
		if (found != 0)
			return found;
	}
	return 0;
}

/* The status that refuses the request, or 0. */
static int request(const char *bytes)
{
	size_t len = strlen(bytes);
	ssize_t found = find(bytes, len);

	fault = found < 0 ? fault : (struct http_fault){0};
	if (found < 0)
		return fault.status;
	assert_int_equal(found, len);
	return http_head_read_request(bytes, len, &head, &fault) < 0 ? fault.status : 0;
}

static int answer(const char *bytes)
{
	size_t len = strlen(bytes);

	fault = (struct http_fault){0};
	if (find(bytes, len) != (ssize_t)len)
		return 502;
	return http_head_read_answer(bytes, len, &head, &fault) < 0 ? fault.status : 0;
}

static void test_request(void **state)
{
	(void)state;
	assert_int_equal(request("POST http://a/b?c HTTP/1.1\r\nHost: a\r\nX-Empty:\r\n"
				 "x:  two  words\t\r\nContent-Length: 007\r\n\r\n"),
		0);
	assert_true(http_text_equals(head.method, "POST"));
	assert_true(http_text_equals(head.target, "http://a/b?c"));
	assert_int_equal(head.minor, 1);
	assert_true(head.keeps_alive && head.has_length && !head.is_chunked);
	assert_int_equal(head.length, 7);
	assert_int_equal(head.field_count, 4);
	assert_true(http_text_equals(head.fields[0].name, "Host"));
	assert_int_equal(http_head_field(&head, "x-empty", NULL)->value.len, 0);
	assert_true(http_text_equals(http_head_field(&head, "X", NULL)->value, "two  words"));
	assert_null(http_head_field(&head, "Hos", NULL));
}

static void test_any_method(void **state)
{
	static const char *const methods[] = {
		"GET", "PROPFIND", "BREW", "get", "M-SEARCH", "SOURCE", "X!#$%&'*+-.^_`|~9", "PRI"};
	char bytes[100];

	(void)state;
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		snprintf(bytes, sizeof(bytes), "%s http://a/ HTTP/1.0\r\n\r\n", methods[i]);
		assert_int_equal(request(bytes), 0);
		assert_true(http_text_equals(head.method, methods[i]));
		assert_false(head.keeps_alive);
		assert_int_equal(head.minor, 0);
	}
	assert_int_equal(request("CONNECT a:1 HTTP/1.1\r\n\r\n"), 0);
	assert_int_equal(
		request("ABCDEFGHABCDEFGHABCDEFGHABCDEFGHI http://a/ HTTP/1.1\r\n\r\n"), 400);
}

/* Each line of a head in the form that other readers might take. */
static void test_refused(void **state)
{
	static const struct {
		const char *bytes;
		int status;
	} cases[] = {
		{"\x16\x03\x01", 400},
		{"\x05\x01", 400},
		{" GET http://a/ HTTP/1.1\r\n\r\n", 400},
		{"GET http://a/ HTTP/1.1\n\n", 400},
		{FIRST "B: a\n\r\n", 400},
		{FIRST "A: b\r\n\n", 400},
		{FIRST "A: b\rC: d\r\n\r\n", 400},
		{FIRST "A: b\r\n c\r\n\r\n", 400},
		{FIRST "A: b\r\n\tc\r\n\r\n", 400},
		{FIRST "A : b\r\n\r\n", 400},
		{FIRST "A\t: b\r\n\r\n", 400},
		{FIRST "Content-Length : 5\r\n\r\n", 400},
		{FIRST ": b\r\n\r\n", 400},
		{FIRST "A B: c\r\n\r\n", 400},
		{FIRST "A\xc3\xa4: c\r\n\r\n", 400},
		{FIRST "A(: c\r\n\r\n", 400},
		{FIRST "A\r\n\r\n", 400},
		{FIRST "A: b\x01\r\n\r\n", 400},
		{FIRST "A: b\x7f\r\n\r\n", 400},
		{"GET http://a/ HTTP/2.0\r\n\r\n", 505},
		{"GET http://a/ HTTP/1.2\r\n\r\n", 505},
		{"GET http://a/ HTTP/0.9\r\n\r\n", 505},
		{"GET http://a/ http/1.1\r\n\r\n", 400},
		{"GET http://a/ HTTP/1.1 \r\n\r\n", 400},
		{"GET http://a/ HTTP/11\r\n\r\n", 400},
		{"GET http://a/\r\n\r\n", 400},
		{"GET  http://a/ HTTP/1.1\r\n\r\n", 400},
		{"GET http://a/ x HTTP/1.1\r\n\r\n", 400},
		{"GET\thttp://a/ HTTP/1.1\r\n\r\n", 400},
		{"GET http://a/\x01 HTTP/1.1\r\n\r\n", 400},
		{"GET http://a/\t HTTP/1.1\r\n\r\n", 400},
		{"G(T http://a/ HTTP/1.1\r\n\r\n", 400},
		{FIRST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400},
		{FIRST "Content-Length: 5\r\ncontent-length: 6\r\n\r\n", 400},
		{FIRST "Content-Length: 5, 5\r\n\r\n", 400},
		{FIRST "Content-Length: +5\r\n\r\n", 400},
		{FIRST "Content-Length: -5\r\n\r\n", 400},
		{FIRST "Content-Length: 0x5\r\n\r\n", 400},
		{FIRST "Content-Length: 5 5\r\n\r\n", 400},
		{FIRST "Content-Length:\r\n\r\n", 400},
		{FIRST "Content-Length: 18446744073709551616\r\n\r\n", 400},
		{FIRST "Content-Length: 99999999999999999999999\r\n\r\n", 400},
		{FIRST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{FIRST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400},
		{FIRST "Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\n", 400},
		{FIRST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{FIRST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", 400},
		{FIRST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
		{FIRST "Transfer-Encoding: chunked, chunked\r\n\r\n", 501},
		{FIRST "Transfer-Encoding: xchunked\r\n\r\n", 501},
		{FIRST "Transfer-Encoding: \"chunked\"\r\n\r\n", 501},
		{FIRST "Transfer-Encoding: chunked;q=1\r\n\r\n", 501},
		{FIRST "Transfer-Encoding:\r\n\r\n", 501},
		{FIRST "Transfer-Encoding: \x0b"
		       "chunked\r\n\r\n",
			400},
		{"POST http://a/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{FIRST "host: b\r\n\r\n", 400},
		{"GET http://a/ HTTP/1.1\r\n\r\n", 400},
		{"GET http://a/ HTTP/1.1\r\nHos: a\r\n\r\n", 400},
		{"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (request(cases[i].bytes) != cases[i].status)
			fail_msg("%s: %d, expected %d", cases[i].bytes, fault.status,
				cases[i].status);
		assert_true(fault.why && strlen(fault.why) > 10);
	}
	/* a NUL ends no text */
	static const char nul[] = FIRST "A: b\0c\r\n\r\n",
			  in_target[] = "GET http://a/\0 HTTP/1.1\r\n\r\n";
	assert_int_equal(http_head_read_request(nul, sizeof(nul) - 1, &head, &fault), -1);
	assert_int_equal(
		http_head_read_request(in_target, sizeof(in_target) - 1, &head, &fault), -1);
	/* one line too many behind the head is none of it */
	assert_int_equal(
		http_head_read_request(FIRST "\r\nX", sizeof(FIRST "\r\nX") - 1, &head, &fault),
		-1);
}

static void test_lengths(void **state)
{
	(void)state;
	assert_int_equal(request(FIRST "Transfer-Encoding: Chunked \r\n\r\n"), 0);
	assert_true(head.is_chunked && !head.has_length);
	assert_int_equal(request(FIRST "Content-Length: 9223372036854775807\r\n\r\n"), 0);
	assert_int_equal(head.length, INT64_MAX);
	assert_int_equal(request(FIRST "Content-Length: 0\r\n\r\n"), 0);
	assert_true(head.has_length && head.length == 0);
	assert_int_equal(request(FIRST "\r\n"), 0);
	assert_true(!head.has_length && !head.is_chunked);
}

static void test_keeps_alive(void **state)
{
	(void)state;
	assert_int_equal(request(FIRST "Connection: close\r\n\r\n"), 0);
	assert_false(head.keeps_alive);
	assert_int_equal(request(FIRST "Connection: keep-alive, Close\r\n\r\n"), 0);
	assert_false(head.keeps_alive);
	assert_int_equal(request(FIRST "Proxy-Connection: close\r\n\r\n"), 0);
	assert_false(head.keeps_alive);
	assert_int_equal(answer("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n"), 0);
	assert_true(head.keeps_alive);
	assert_int_equal(answer("HTTP/1.0 200 OK\r\n\r\n"), 0);
	assert_false(head.keeps_alive);
}

static void test_lists(void **state)
{
	(void)state;
	assert_int_equal(request(FIRST "Connection: ,a , Upgrade\r\nConnection:b\r\n\r\n"), 0);
	assert_true(http_head_lists(&head, "connection", "upgrade"));
	assert_true(http_head_lists(&head, "Connection", "a"));
	assert_true(http_head_lists(&head, "Connection", "b"));
	assert_false(http_head_lists(&head, "Connection", "upgrad"));
	assert_false(http_head_lists(&head, "TE", "a"));
}

static void test_answers(void **state)
{
	static const char *const refused[] = {"HTTP/1.1 99 OK\r\n\r\n", "HTTP/1.1 099 OK\r\n\r\n",
		"HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1  200 OK\r\n\r\n", "HTTP/1.1 20x OK\r\n\r\n",
		"HTTP/2.0 200 OK\r\n\r\n", "ICY 200 OK\r\n\r\n", "HTTP/1.1\r\n\r\n",
		"HTTP/1.1 200 O\x01K\r\n\r\n", "HTTP/1.1 200 OK\r\n A: b\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "HTTP/1.1 200 OK\nA: b\n\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
		"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"};

	(void)state;
	assert_int_equal(answer("HTTP/1.1 404 Not here \xc3\xa4\r\nContent-Length: 3\r\n\r\n"), 0);
	assert_int_equal(head.status, 404);
	assert_true(http_text_equals(head.reason, "Not here \xc3\xa4"));
	assert_int_equal(answer("HTTP/1.1 200\r\n\r\n"), 0);
	assert_int_equal(answer("HTTP/1.1 999 \r\n\r\n"), 0);
	assert_int_equal(head.reason.len, 0);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		if (answer(refused[i]) != 502)
			fail_msg("%s: %d", refused[i], fault.status);
}

/* The largest that is taken, and one byte and one field more. */
static void test_limits(void **state)
{
	static char bytes[HTTP_HEAD_MAX + 64];
	size_t seen = 0, len = sizeof(FIRST) - 1;

	(void)state;
	memset(bytes, 'a', sizeof(bytes));
	memcpy(bytes, FIRST "A: ", len + 3);
	memcpy(bytes + HTTP_HEAD_MAX - 4, "\r\n\r\n", 4);
	assert_int_equal(http_head_find(bytes, HTTP_HEAD_MAX, &seen, &fault), HTTP_HEAD_MAX);
	assert_int_equal(http_head_read_request(bytes, HTTP_HEAD_MAX, &head, &fault), 0);
	memcpy(bytes + HTTP_HEAD_MAX - 4, "aaa\r\n\r\n", 7);
	seen = 0;
	assert_int_equal(http_head_find(bytes, HTTP_HEAD_MAX - 1, &seen, &fault), 0);
	assert_int_equal(http_head_find(bytes, HTTP_HEAD_MAX + 3, &seen, &fault), -1);
	assert_int_equal(fault.status, 431);
	for (int more = 0; more < 2; more++) {
		len = (size_t)sprintf(bytes, FIRST);
		for (int i = 0; i < HTTP_FIELDS_MAX - 1 + more; i++)
			len += (size_t)sprintf(bytes + len, "A: b\r\n");
		len += (size_t)sprintf(bytes + len, "\r\n");
		assert_int_equal(http_head_read_request(bytes, len, &head, &fault), -more);
	}
	assert_int_equal(fault.status, 431);
}

static void test_trailer(void **state)
{
	static const char good[] = "A: b\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";

	(void)state;
	assert_int_equal(http_head_read_trailer(good, sizeof(good) - 1, &head, &fault), 0);
	assert_int_equal(head.field_count, 3);
	assert_true(http_text_equals(head.fields[2].value, "2"));
	assert_int_equal(http_head_read_trailer("A: b\r\n c\r\n\r\n", 12, &head, &fault), -1);
	assert_int_equal(http_head_read_trailer("A: b\r\n", 6, &head, &fault), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_any_method),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_keeps_alive),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_trailer),
	};

	return cmocka_run_group_tests_name("proxy/http_head", tests, NULL, NULL);
}
