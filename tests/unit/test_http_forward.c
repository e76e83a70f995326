/* SPDX-License-Identifier: Apache-2.0 */
/* test_http_forward - what goes on to the server, and to the client */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "proxy/http_forward.h"

static struct http_exchange exchange;
static struct http_answer answer;
static struct http_fault fault;
static char text[4000];

/* @line is the first one without its version, @fields end with CR LF each. */
static const char *forward(const char *line, int minor, const char *fields)
{
	static struct http_head head;
	struct http_target target;
	char bytes[2000];
	size_t len = (size_t)snprintf(bytes, sizeof(bytes), "%s HTTP/1.%d\r\n%s%s\r\n", line, minor,
		minor == 1 && !strstr(fields, "Host: ") ? "Host: other\r\n" : "", fields);

	assert_int_equal(http_head_read_request(bytes, len, &head, &fault), 0);
	assert_int_equal(http_target_read(head.method, head.target, &target, &fault), 0);
	http_forward_begin(&exchange, &head);
	char *out = http_forward_request(&head, &target, &exchange, &len);
	assert_non_null(out);
	snprintf(text, sizeof(text), "%.*s", (int)len, out);
	free(out);
	return text;
}

static void test_request(void **state)
{
	(void)state;
	assert_string_equal(
		forward("GET http://Web:8080/a?b=c", 1,
			"Host: other\r\nAccept: */*\r\nVia: 1.0 x\r\n"
			"Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic x\r\n"
			"Connection: keep-alive, X-Hop\r\nKeep-Alive: 5\r\nx-hop: y\r\n"
			"Trailer: z\r\n"),
		"GET /a?b=c HTTP/1.1\r\nHost: Web:8080\r\nAccept: */*\r\nVia: 1.0 x\r\n"
		"Trailer: z\r\nVia: 1.1 nswrap\r\n\r\n");
	assert_true(exchange.is_safe && exchange.keeps_client && !exchange.is_head);
	assert_string_equal(forward("GET http://a", 0, ""),
		"GET / HTTP/1.1\r\nHost: a\r\nVia: 1.0 nswrap\r\n\r\n");
	assert_false(exchange.keeps_client);
	assert_string_equal(forward("BREW http://a?b", 1, "Expect: 100-continue\r\n"),
		"BREW /?b HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nVia: 1.1 nswrap\r\n\r\n");
	assert_false(exchange.is_safe);
	assert_string_equal(forward("OPTIONS http://a:1", 0, "Expect: 100-continue\r\n"),
		"OPTIONS * HTTP/1.1\r\nHost: a:1\r\nVia: 1.0 nswrap\r\n\r\n");
	assert_string_equal(forward("TRACE http://a:1/", 1, "Max-Forwards: 10\r\n"),
		"TRACE / HTTP/1.1\r\nHost: a:1\r\nMax-Forwards: 9\r\nVia: 1.1 nswrap\r\n\r\n");
	assert_string_equal(forward("GET http://a:1/", 1, "Max-Forwards: 0\r\n"),
		"GET / HTTP/1.1\r\nHost: a:1\r\nMax-Forwards: 0\r\nVia: 1.1 nswrap\r\n\r\n");
	assert_string_equal(forward("OPTIONS http://a:1/", 1, ""),
		"OPTIONS / HTTP/1.1\r\nHost: a:1\r\nVia: 1.1 nswrap\r\n\r\n");
}

/* Lengths are written anew, and cannot be taken away by a Connection that names them. */
static void test_request_lengths(void **state)
{
	(void)state;
	assert_string_equal(forward("POST http://a/", 1,
				    "Connection: content-length\r\nContent-Length: 007\r\n"),
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\nVia: 1.1 nswrap\r\n\r\n");
	assert_string_equal(
		forward("PUT http://a/", 1,
			"Connection: Transfer-Encoding, Host\r\ntransfer-encoding: CHUNKED\r\n"),
		"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nVia: 1.1 nswrap\r\n\r\n");
	assert_false(exchange.is_safe); /* its body is gone when it fails */
	assert_string_equal(forward("PUT http://a/", 1, "Content-Length: 0\r\n"),
		"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nVia: 1.1 nswrap\r\n\r\n");
	assert_true(exchange.is_safe);
}

static void test_request_upgrade(void **state)
{
	(void)state;
	assert_string_equal(forward("GET http://a/", 1,
				    "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
				    "Sec-WebSocket-Key: k\r\nTE: trailers, deflate\r\n"),
		"GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: k\r\nUpgrade: websocket\r\n"
		"TE: trailers\r\nConnection: upgrade, TE\r\nVia: 1.1 nswrap\r\n\r\n");
	assert_true(exchange.wants_upgrade && !exchange.is_safe);
	/* only if both fields say so, in HTTP/1.1, and never to HTTP/2 */
	static const char alone[] = "GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 nswrap\r\n\r\n";
	assert_string_equal(forward("GET http://a/", 1, "Upgrade: websocket\r\n"), alone);
	assert_string_equal(forward("GET http://a/", 1, "Connection: upgrade\r\n"), alone);
	assert_string_equal(forward("GET http://a/", 1,
				    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
				    "HTTP2-Settings: x\r\n"),
		alone);
	forward("GET http://a/", 0, "Connection: upgrade\r\nUpgrade: websocket\r\n");
	assert_false(exchange.wants_upgrade);
}

/* The answer @head_text to the last request, as its client gets it; NULL: refused. */
static const char *reply(const char *head_text)
{
	static struct http_head head;
	size_t len = strlen(head_text);

	assert_int_equal(http_head_read_answer(head_text, len, &head, &fault), 0);
	if (http_forward_answer(&head, &exchange, &answer, &fault) < 0)
		return NULL;
	char *out = http_forward_answer_head(&head, &answer, 784111777, &len);
	assert_non_null(out);
	snprintf(text, sizeof(text), "%.*s", (int)len, out);
	free(out);
	return text;
}

#define DATE "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"

static void test_answer(void **state)
{
	(void)state;
	forward("GET http://a/", 1, "");
	assert_string_equal(
		reply("HTTP/1.1 200 Fine\r\nContent-Length: 03\r\nKeep-Alive: 5\r\n"
		      "Connection: X\r\nx: y\r\nDate: now\r\nProxy-Authenticate: Basic\r\n"
		      "Upgrade: h2c\r\n\r\n"),
		"HTTP/1.1 200 Fine\r\nDate: now\r\nContent-Length: 3\r\nVia: 1.1 nswrap\r\n\r\n");
	assert_true(answer.keeps_client && answer.keeps_server);
	assert_int_equal(answer.body.left, 3);
	reply("HTTP/1.1 200 Fine\r\nContent-Length: 3\r\nConnection: close\r\n\r\n");
	assert_true(answer.keeps_client && !answer.keeps_server);
	assert_string_equal(reply("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" DATE "Via: 1.1 nswrap\r\n\r\n");
	assert_int_equal(answer.body.state, HTTP_BODY_SIZE);
	/* without a length: its end is the end */
	assert_string_equal(reply("HTTP/1.0 200 \r\n\r\n"),
		"HTTP/1.1 200 \r\nConnection: close\r\n" DATE "Via: 1.0 nswrap\r\n\r\n");
	assert_int_equal(answer.body.state, HTTP_BODY_UNTIL_END);
	assert_true(!answer.keeps_client && !answer.keeps_server);
	assert_string_equal(
		reply("HTTP/1.1 426 No\r\nUpgrade: TLS/1.0\r\nContent-Length: 0\r\n\r\n"),
		"HTTP/1.1 426 No\r\nContent-Length: 0\r\nUpgrade: TLS/1.0\r\nConnection: upgrade\r\n" DATE
		"Via: 1.1 nswrap\r\n\r\n");
}

static void test_answer_without_body(void **state)
{
	(void)state;
	forward("HEAD http://a/", 1, "");
	assert_non_null(strstr(
		reply("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), "Content-Length: 5\r\n"));
	assert_true(http_body_is_done(&answer.body) && answer.keeps_client && answer.keeps_server);
	reply("HTTP/1.1 200 OK\r\n\r\n");
	assert_true(http_body_is_done(&answer.body) && answer.keeps_client);
	forward("GET http://a/", 1, "");
	assert_non_null(strstr(
		reply("HTTP/1.1 304 OK\r\nContent-Length: 5\r\n\r\n"), "Content-Length: 5\r\n"));
	assert_true(http_body_is_done(&answer.body));
	assert_null(
		strstr(reply("HTTP/1.1 204 OK\r\nContent-Length: 5\r\n\r\n"), "Content-Length"));
	assert_true(http_body_is_done(&answer.body));
	assert_null(
		strstr(reply("HTTP/1.1 304 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), "chunked"));
	assert_true(http_body_is_done(&answer.body));
}

/* Who asked with HTTP/1.0 gets no chunks, no 1xx, and the end. */
static void test_answer_for_old_client(void **state)
{
	(void)state;
	forward("GET http://a/", 0, "Connection: keep-alive\r\n");
	assert_string_equal(reply("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
		"HTTP/1.1 200 OK\r\nConnection: close\r\n" DATE "Via: 1.1 nswrap\r\n\r\n");
	assert_true(answer.body.drops_chunks && answer.keeps_server && !answer.keeps_client);
	reply("HTTP/1.1 100 Continue\r\n\r\n");
	assert_int_equal(answer.kind, HTTP_ANSWER_HIDDEN);
}

static void test_answer_interim(void **state)
{
	(void)state;
	forward("GET http://a/", 1, "Connection: close\r\n");
	assert_string_equal(reply("HTTP/1.1 103 Early\r\nLink: x\r\nContent-Length: 5\r\n\r\n"),
		"HTTP/1.1 103 Early\r\nLink: x\r\nVia: 1.1 nswrap\r\n\r\n");
	assert_int_equal(answer.kind, HTTP_ANSWER_INTERIM);
	assert_true(http_body_is_done(&answer.body));
	assert_null(reply("HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"));
	assert_int_equal(fault.status, 502);
	forward("GET http://a/", 1, "Connection: upgrade\r\nUpgrade: websocket\r\n");
	assert_string_equal(
		reply("HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nA: b\r\n\r\n"),
		"HTTP/1.1 101 Go\r\nA: b\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
		"Via: 1.1 nswrap\r\n\r\n");
	assert_int_equal(answer.kind, HTTP_ANSWER_UPGRADE);
	assert_null(reply("HTTP/1.1 101 Go\r\n\r\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_request_lengths),
		cmocka_unit_test(test_request_upgrade),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_answer_without_body),
		cmocka_unit_test(test_answer_for_old_client),
		cmocka_unit_test(test_answer_interim),
	};

	return cmocka_run_group_tests_name("proxy/http_forward", tests, NULL, NULL);
}
