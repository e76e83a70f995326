/* SPDX-License-Identifier: Apache-2.0 */
/* test_http - the HTTP proxy between clients and servers of the test */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include "proxy/http.h"
#include "proxy_bed.h"

#define URL       "http://127.0.0.1:4311/"
#define HOST      "Host: 127.0.0.1:4311\r\n"
#define GET       "GET " URL "a HTTP/1.1\r\n" HOST "\r\n"
#define GOT       "GET /a HTTP/1.1\r\n" HOST "Via: 1.1 nswrap\r\n\r\n"
#define DATE      "Date: x\r\n"
#define OK        "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 2\r\n\r\nok"
#define GOT_OK    "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 2\r\nVia: 1.1 nswrap\r\n\r\nok"
#define WEBSOCKET "Connection: Upgrade\r\nUpgrade: websocket\r\n"

static char heard[20000];

/* Exactly that, and nothing more for the moment. */
static void expect(struct proxy_bed *bed, int fd, const char *text)
{
	size_t len = strlen(text), have = 0;
	ssize_t got = 0;

	while (have < len) {
		bool is_there = false;
		for (int ms = 0; ms < BED_WAIT_MS && !is_there; ms++) {
			bed_round(&bed->bed);
			got = recv(fd, heard + have, sizeof(heard) - 1 - have, MSG_DONTWAIT);
			is_there = got >= 0 || errno != EAGAIN;
		}
		if (!is_there || got <= 0) {
			heard[have] = '\0';
			fail_msg("after '%s' nothing more: expected '%s'", heard, text);
		}
		have += (size_t)got;
		heard[have] = '\0';
	}
	assert_string_equal(heard, text);
}

/* All up to the end. */
static const char *hear_end(struct proxy_bed *bed, int fd)
{
	size_t have = 0;
	ssize_t got = 0;

	do {
		run_until(&bed->bed, (got = recv(fd, heard + have, sizeof(heard) - 1 - have,
					      MSG_DONTWAIT)) >= 0 ||
					     errno != EAGAIN);
		assert_true(got >= 0);
		have += (size_t)got;
	} while (got > 0);
	heard[have] = '\0';
	return heard;
}

/* An answer of the proxy's own with @status and @words; its connection goes on, or ends. */
static void expect_reply(
	struct proxy_bed *bed, int client, const char *status, const char *words, bool ends)
{
	char first[20];
	size_t have = 0;
	ssize_t got = 0;

	heard[0] = '\0';
	while (!strstr(heard, "\r\n\r\nnswrap: ") ||
		!strstr(strstr(heard, "\r\n\r\nnswrap: ") + 4, "\n")) {
		run_until(&bed->bed, (got = recv(client, heard + have, sizeof(heard) - 1 - have,
					      MSG_DONTWAIT)) >= 0 ||
					     errno != EAGAIN);
		assert_true(got > 0);
		have += (size_t)got;
		heard[have] = '\0';
	}
	snprintf(first, sizeof(first), "HTTP/1.1 %s ", status);
	if (!strstr(heard, first) || !strstr(heard, words))
		fail_msg("%s, expected %s with '%s'", heard, status, words);
	assert_non_null(strstr(heard, "Proxy-Status: nswrap; "));
	assert_int_equal(strstr(heard, "Connection: close") != NULL, ends);
	if (!ends)
		return;
	assert_int_equal(wait_end(&bed->bed, client), 0);
	close(client);
}

static void over(struct proxy_bed *bed)
{
	run_until(&bed->bed, front_guests(bed->front) == 0 && bed->bed.budget.used == 0);
	proxy_close(bed);
}

/* The client asks for GET, which comes over a connection of its own: the server's end of that. */
static int asked(struct proxy_bed *bed, int client)
{
	SAY(client, GET);
	int server = proxy_accept(bed);
	expect(bed, server, GOT);
	return server;
}

static void requests_go_over_one_connection(void **state)
{
	struct proxy_bed *bed = proxy_open(&http_protocol);
	int client = proxy_client(bed), server;

	(void)state;
	SAY(client, GET);
	server = proxy_accept(bed);
	assert_string_equal(bed->host, "127.0.0.1");
	for (int i = 0; i < 3; i++) {
		expect(bed, server, GOT);
		SAY(server, OK);
		expect(bed, client, GOT_OK);
		SAY(client, "\r\n" GET); /* an empty line before it does not count */
	}
	expect(bed, server, GOT);
	SAY(server, "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 2\r\nConnection: close\r\n\r\nok");
	expect(bed, client, GOT_OK);
	assert_int_equal(wait_end(&bed->bed, server), 0);
	close(server);
	server = asked(bed, client);
	fd_reset(&client);
	assert_int_equal(wait_end(&bed->bed, server), ECONNRESET);
	close(server);
	over(bed);
}

static void another_host_is_another_connection(void **state)
{
	struct proxy_bed *bed = proxy_open(&http_protocol);
	int client = proxy_client(bed), server, other;

	(void)state;
	server = asked(bed, client);
	SAY(server, OK);
	expect(bed, client, GOT_OK);
	SAY(client, "GET http://Web:4311 HTTP/1.1\r\nHost: evil\r\n\r\n");
	other = proxy_accept(bed);
	assert_string_equal(bed->host, "Web");
	assert_int_equal(wait_end(&bed->bed, server), 0);
	expect(bed, other, "GET / HTTP/1.1\r\nHost: Web:4311\r\nVia: 1.1 nswrap\r\n\r\n");
	SAY(other, OK);
	expect(bed, client, GOT_OK);
	close(client);
	assert_int_equal(wait_end(&bed->bed, other), 0);
	close(server);
	close(other);
	over(bed);
}

/* However it is cut: bytes come one by one, and more than one request at once. */
static void bytes_one_by_one(void **state)
{
	static const char post[] =
		"POST " URL " HTTP/1.1\r\n" HOST
		"Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\n";
	static const char answer[] =
		"HTTP/1.1 200 OK\r\n" DATE
		"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nC: d\r\n\r\n";
	struct proxy_bed *bed = proxy_open(&http_protocol);
	int client = proxy_client(bed), server;

	(void)state;
	for (size_t i = 0; i < sizeof(post) - 1; i++) {
		say(client, post + i, 1);
		bed_round(&bed->bed);
	}
	server = proxy_accept(bed);
	expect(bed, server,
		"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nVia: 1.1 nswrap\r\n\r\n"
		"3\r\nabc\r\n0\r\nA:b\r\n\r\n");
	for (size_t i = 0; i < sizeof(answer) - 1; i++) {
		say(server, answer + i, 1);
		bed_round(&bed->bed);
	}
	expect(bed, client,
		"HTTP/1.1 200 OK\r\n" DATE "Transfer-Encoding: chunked\r\nVia: 1.1 nswrap\r\n\r\n"
		"2\r\nok\r\n0\r\nC:d\r\n\r\n");
	SAY(client, GET GET);
	expect(bed, server, GOT); /* the second one waits for the first answer */
	SAY(server, OK);
	expect(bed, client, GOT_OK);
	expect(bed, server, GOT);
	SAY(server, OK);
	expect(bed, client, GOT_OK);
	close(client);
	close(server);
	over(bed);
}

/* recv(2) stops in front of an urgent byte. */
static void an_urgent_byte_is_one_like_others(void **state)
{
	static const char get[] = GET;
	struct proxy_bed *bed = proxy_open(&http_protocol);
	int client = proxy_client(bed), server = asked(bed, client);

	(void)state;
	SAY(server, OK);
	expect(bed, client, GOT_OK);
	say(client, get, 9);
	assert_int_equal(send(client, get + 9, 1, MSG_OOB), 1);
	say(client, get + 10, sizeof(get) - 1 - 10);
	expect(bed, server, GOT);
	SAY(server, OK);
	expect(bed, client, GOT_OK);
	close(client);
	close(server);
	over(bed);
}

static void bodies_are_not_gathered(void **state)
{
	struct proxy_bed *bed = proxy_open(&http_protocol);
	int client = proxy_client(bed), server;

	(void)state;
	SAY(client, "POST " URL " HTTP/1.1\r\n" HOST
		    "Content-Length: 6\r\nExpect: 100-continue\r\n\r\n");
	server = proxy_accept(bed);
	expect(bed, server,
		"POST / HTTP/1.1\r\n" HOST
		"Expect: 100-continue\r\nContent-Length: 6\r\nVia: 1.1 nswrap\r\n\r\n");
	SAY(server, "HTTP/1.1 100 Continue\r\n\r\n");
	expect(bed, client, "HTTP/1.1 100 Continue\r\nVia: 1.1 nswrap\r\n\r\n");
	SAY(client, "abc");
	expect(bed, server, "abc");
	SAY(client, "def" GET);
	expect(bed, server, "def");
	SAY(server, "HTTP/1.1 200 OK\r\n" DATE "Transfer-Encoding: chunked\r\n\r\n9\r\nevent");
	expect(bed, client,
		"HTTP/1.1 200 OK\r\n" DATE
		"Transfer-Encoding: chunked\r\nVia: 1.1 nswrap\r\n\r\n9\r\nevent");
	SAY(server, " one\r\n");
	expect(bed, client, " one\r\n");
	SAY(server, "0\r\n\r\n");
	expect(bed, client, "0\r\n\r\n");
	expect(bed, server, GOT);
	/* until the end, which is the client's as well; it may have ended its own way before */
	SAY(server, "HTTP/1.0 200 OK\r\n" DATE "\r\nall");
	shutdown(client, SHUT_WR);
	expect(bed, client,
		"HTTP/1.1 200 OK\r\n" DATE "Connection: close\r\nVia: 1.0 nswrap\r\n\r\nall");
	SAY(server, " of it");
	close(server);
	assert_string_equal(hear_end(bed, client), " of it");
	close(client);
	over(bed);
}

static void old_clients_get_no_chunks(void **state)
{
	struct proxy_bed *bed = proxy_open(&http_protocol);
	int client = proxy_client(bed), server;

	(void)state;
	SAY(client, "GET " URL " HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	server = proxy_accept(bed);
	expect(bed, server, "GET / HTTP/1.1\r\n" HOST "Via: 1.0 nswrap\r\n\r\n");
	SAY(server, "HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\n" DATE
		    "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\n");
	assert_string_equal(hear_end(bed, client),
		"HTTP/1.1 200 OK\r\n" DATE "Connection: close\r\nVia: 1.1 nswrap\r\n\r\nabcde");
	close(client);
	close(server);
	over(bed);
}

static void tunnels(void **state)
{
	struct proxy_bed *bed = proxy_open(&http_protocol);
	int client = proxy_client(bed), server;

	(void)state;
	bed->is_slow = true;
	SAY(client, "CONNECT localhost:4311 HTTP/1.1\r\n\r\nearly");
	server = proxy_accept(bed);
	expect(bed, server, "early");
	expect(bed, client, "HTTP/1.1 200 Connection established\r\n\r\n");
	expect_joined(&bed->bed, client, server);
	/* after another request, and with bytes that come after */
	client = proxy_client(bed);
	bed->is_slow = false;
	server = asked(bed, client);
	SAY(server, OK);
	expect(bed, client, GOT_OK);
	close(server);
	SAY(client, "CONNECT 127.0.0.1:4311 HTTP/1.0\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
	server = proxy_accept(bed);
	expect(bed, client, "HTTP/1.1 200 Connection established\r\n\r\n");
	expect_joined(&bed->bed, server, client);
	client = proxy_client(bed);
	SAY(client, "CONNECT 127.0.0.1:4311 HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcde");
	expect_reply(bed, client, "400", "CONNECT has no body", true);
	over(bed);
}

static void an_upgrade_is_left_to_both(void **state)
{
	struct proxy_bed *bed = proxy_open(&http_protocol);
	int client = proxy_client(bed), server;

	(void)state;
	SAY(client, "GET " URL " HTTP/1.1\r\n" HOST WEBSOCKET "\r\nearly");
	server = proxy_accept(bed);
	expect(bed, server,
		"GET / HTTP/1.1\r\n" HOST
		"Upgrade: websocket\r\nConnection: upgrade\r\nVia: 1.1 nswrap\r\n\r\n");
	SAY(server, "HTTP/1.1 101 Go\r\n" WEBSOCKET "\r\nhello");
	expect(bed, client,
		"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: upgrade\r\nVia: 1.1 nswrap\r\n\r\n"
		"hello");
	expect(bed, server, "early");
	expect_joined(&bed->bed, client, server);
	/* who has not asked for it does not get it */
	client = proxy_client(bed);
	SAY(client, GET);
	server = proxy_accept(bed);
	SAY(server, "HTTP/1.1 101 Go\r\n" WEBSOCKET "\r\nhello");
	expect_reply(bed, client, "502", "nobody asked for", false);
	close(client);
	close(server);
	over(bed);
}

/* Requests in which two readers may see two, or none, get 400 and the end. */
static void bad_requests_end_their_connection(void **state)
{
	static const struct {
		const char *bytes, *status, *words;
	} cases[] = {
		{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "400", "this is a proxy"},
		{"GET " URL " HTTP/1.1\nHost: a\n\n", "400", "bare LF"},
		{"GET " URL " HTTP/1.1\r\nHost : a\r\n\r\n", "400", "a blank behind it"},
		{"GET " URL " HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
			"400", "two lengths"},
		{"POST " URL " HTTP/1.1\r\n" HOST
		 "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n",
			"400", "two lengths"},
		{"POST " URL " HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n", "501",
			"chunked"},
		{"GET " URL " HTTP/3.0\r\n\r\n", "505", "version"},
		{"GET http://u:p@127.0.0.1/ HTTP/1.1\r\nHost: a\r\n\r\n", "400", "a user in it"},
		{"\x16\x03\x01\x02", "400", "no HTTP"},
	};
	struct proxy_bed *bed = proxy_open(&http_protocol);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int client = proxy_client(bed);
		say(client, cases[i].bytes, strlen(cases[i].bytes));
		say(client, GET, strlen(GET)); /* which is not looked at any more */
		expect_reply(bed, client, cases[i].status, cases[i].words, true);
	}
	/* a head without end */
	int client = proxy_client(bed);
	SAY(client, "GET " URL " HTTP/1.1\r\nA: ");
	memset(heard, 'a', sizeof(heard));
	for (int i = 0; i < 4; i++) {
		say(client, heard, 16000);
		settle(&bed->bed);
	}
	expect_reply(bed, client, "431", "too large", true);
	assert_int_equal(accept(bed->target, NULL, NULL), -1);
	over(bed);
}

/* A fault in its body, when the head has gone already. */
static void a_bad_body_ends_both(void **state)
{
	struct proxy_bed *bed = proxy_open(&http_protocol);
	int client = proxy_client(bed), server;

	(void)state;
	SAY(client, "POST " URL " HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd");
	server = proxy_accept(bed);
	expect_reply(bed, client, "400", "a chunk does not end", true);
	run_until(&bed->bed, front_guests(bed->front) == 0);
	assert_int_equal(shutdown(server, SHUT_RD), -1); /* reset */
	close(server);
	/* half a body is none */
	client = proxy_client(bed);
	SAY(client, "POST " URL " HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nab");
	server = proxy_accept(bed);
	expect(bed, server,
		"POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nVia: 1.1 nswrap\r\n\r\nab");
	shutdown(client, SHUT_WR);
	assert_int_equal(wait_end(&bed->bed, server), ECONNRESET);
	close(client);
	close(server);
	over(bed);
}

static void who_cannot_be_reached_is_said(void **state)
{
	static const struct {
		int error;
		const char *status, *words;
	} cases[] = {
		{-ENOENT, "502", "error:4311: cannot connect: there is no such name"},
		{-EAGAIN, "504", "its name cannot be looked up now"},
		{-ECONNREFUSED, "502", "error=connection_refused"},
		{-ETIMEDOUT, "504", "timed out"},
		{-EHOSTUNREACH, "502", "No route to host"},
		{-ENETUNREACH, "502", "error=destination_ip_unroutable"},
		{-EACCES, "403", "error=destination_ip_prohibited"},
		{-EMFILE, "503", "error=connection_limit_reached"},
		{-EIO, "502", "Input/output error"},
	};
	struct proxy_bed *bed = proxy_open(&http_protocol);
	int client = proxy_client(bed);

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
		bed->is_slow = i % 2;
		bed->error = cases[i / 2].error;
		SAY(client, "GET http://error:4311/ HTTP/1.1\r\nHost: x\r\n\r\n");
		expect_reply(bed, client, cases[i / 2].status, cases[i / 2].words, false);
		SAY(client, "CONNECT error:4311 HTTP/1.1\r\n\r\n");
		expect_reply(bed, client, cases[i / 2].status, cases[i / 2].words, false);
	}
	SAY(client, "OPTIONS http://error:4311/ HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\n\r\n");
	expect_reply(bed, client, "200", "Max-Forwards is 0", false);
	SAY(client, "POST http://error:4311/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab");
	expect_reply(bed, client, "502", "cannot connect", true);
	over(bed);
}

/* Of a connection that was kept; a new one that ends so is an error. */
static void a_request_goes_again_if_it_may(void **state)
{
	struct proxy_bed *bed = proxy_open(&http_protocol);
	int client = proxy_client(bed), server;

	(void)state;
	for (int i = 0; i < 2; i++) { /* ends before the request, and on it */
		SAY(client, GET);
		server = proxy_accept(bed);
		expect(bed, server, GOT);
		SAY(server, OK);
		expect(bed, client, GOT_OK);
		if (i == 1) {
			SAY(client, GET);
			expect(bed, server, GOT);
		}
		close(server);
		settle(&bed->bed);
		if (i == 0)
			SAY(client, GET);
		server = proxy_accept(bed);
		expect(bed, server, GOT);
		SAY(server, OK);
		expect(bed, client, GOT_OK);
		close(server);
		settle(&bed->bed);
	}
	server = asked(bed, client);
	close(server);
	expect_reply(bed, client, "502", "ended without an answer", false);
	/* POST: nobody knows what it has done */
	server = asked(bed, client);
	SAY(server, OK);
	expect(bed, client, GOT_OK);
	SAY(client, "POST " URL " HTTP/1.1\r\n" HOST "\r\n");
	expect(bed, server, "POST / HTTP/1.1\r\n" HOST "Via: 1.1 nswrap\r\n\r\n");
	close(server);
	expect_reply(bed, client, "502", "ended without an answer", false);
	assert_int_equal(accept(bed->target, NULL, NULL), -1);
	/* so it takes a connection that was just used, or a new one */
	server = asked(bed, client);
	SAY(server, OK);
	expect(bed, client, GOT_OK);
	jump(&bed->bed, HTTP_FRESH_MS + 1);
	SAY(client, "POST " URL " HTTP/1.1\r\n" HOST "\r\n");
	assert_int_equal(wait_end(&bed->bed, server), 0);
	close(server);
	server = proxy_accept(bed);
	expect(bed, server, "POST / HTTP/1.1\r\n" HOST "Via: 1.1 nswrap\r\n\r\n");
	close(client);
	close(server);
	over(bed);
}

/* What a server says unasked is no answer to the next request. */
static void unasked_answers_are_nobodys(void **state)
{
	struct proxy_bed *bed = proxy_open(&http_protocol);
	int client = proxy_client(bed), server;

	(void)state;
	server = asked(bed, client);
	SAY(server, OK "HTTP/1.1 200 Evil\r\nContent-Length: 0\r\n\r\n");
	expect(bed, client, GOT_OK);
	SAY(client, GET);
	assert_int_equal(wait_end(&bed->bed, server), 0);
	close(server);
	server = proxy_accept(bed);
	expect(bed, server, GOT);
	SAY(server, OK);
	expect(bed, client, GOT_OK);
	SAY(client, GET); /* both come in one round, the request first */
	SAY(server, "HTTP/1.1 200 Evil\r\nContent-Length: 0\r\n\r\n");
	assert_int_equal(wait_end(&bed->bed, server), ECONNRESET);
	close(server);
	server = proxy_accept(bed);
	expect(bed, server, GOT);
	SAY(server, OK);
	expect(bed, client, GOT_OK);
	SAY(server, "x"); /* and nobody waits for a request to see that */
	assert_int_equal(wait_end(&bed->bed, server), ECONNRESET);
	close(client);
	close(server);
	over(bed);
}

static void bad_answers(void **state)
{
	static const char *const bad[] = {"SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 200 OK\n\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "HTTP/1.1 200 OK\r\nContent"};
	struct proxy_bed *bed = proxy_open(&http_protocol);
	int client = proxy_client(bed), server;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		SAY(client, GET);
		server = proxy_accept(bed);
		expect(bed, server, GOT);
		say(server, bad[i], strlen(bad[i]));
		shutdown(server, SHUT_WR);
		expect_reply(
			bed, client, "502", "127.0.0.1:4311: its answer is no good HTTP", false);
		close(server);
	}
	/* interim answers without end */
	server = asked(bed, client);
	for (int i = 0; i < 70; i++)
		SAY(server, "HTTP/1.1 102 Wait\r\n\r\n");
	expect_reply(bed, client, "502", "too many answers", false);
	close(server);
	/* a body that ends too early cannot be told any more */
	for (int i = 0; i < 2; i++) {
		int another = proxy_client(bed);
		SAY(another, GET);
		server = proxy_accept(bed);
		expect(bed, server, GOT);
		if (i == 0)
			SAY(server, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc");
		else
			SAY(server, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz");
		close(server);
		run_until(&bed->bed, front_guests(bed->front) == 1);
		close(another);
	}
	close(client);
	over(bed);
}

/* The server answers before it has the request: what it wants of the rest it gets, and that is all.
 */
static void an_early_answer_is_the_last(void **state)
{
	struct proxy_bed *bed = proxy_open(&http_protocol);
	int client = proxy_client(bed), server;

	(void)state;
	SAY(client, "POST " URL " HTTP/1.1\r\n" HOST "Content-Length: 6\r\n\r\nabc");
	server = proxy_accept(bed);
	expect(bed, server,
		"POST / HTTP/1.1\r\n" HOST "Content-Length: 6\r\nVia: 1.1 nswrap\r\n\r\nabc");
	SAY(server, OK);
	expect(bed, client,
		"HTTP/1.1 200 OK\r\n" DATE
		"Content-Length: 2\r\nConnection: close\r\nVia: 1.1 nswrap\r\n\r\nok");
	SAY(client, "def" GET);
	expect(bed, server, "def");
	assert_int_equal(wait_end(&bed->bed, client), 0);
	close(client);
	close(server);
	/* one that takes no more is heard all the same */
	client = proxy_client(bed);
	SAY(client, "POST " URL " HTTP/1.1\r\n" HOST "Content-Length: 60000\r\n\r\nabc");
	server = proxy_accept(bed);
	settle(&bed->bed);
	SAY(server, "HTTP/1.1 413 No\r\n" DATE "Content-Length: 2\r\n\r\nok");
	close(server);
	memset(heard, 'a', sizeof(heard));
	say(client, heard, 10000);
	settle(&bed->bed);
	assert_string_equal(hear_end(bed, client),
		"HTTP/1.1 413 No\r\n" DATE
		"Content-Length: 2\r\nConnection: close\r\nVia: 1.1 nswrap\r\n\r\nok");
	close(client);
	over(bed);
}

/* A reader that does not read stops the writer; nothing is lost, and little is held. */
static void a_slow_reader_slows_its_writer(void **state)
{
	enum { SIZE = 40000000 };
	static char bytes[65536];
	struct proxy_bed *bed = proxy_open(&http_protocol);
	int client = proxy_client(bed), server;
	size_t sent = 0, got = 0, last;

	(void)state;
	server = asked(bed, client);
	SAY(server, "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 40000000\r\n\r\n");
	expect(bed, client,
		"HTTP/1.1 200 OK\r\n" DATE "Content-Length: 40000000\r\nVia: 1.1 nswrap\r\n\r\n");
	do {
		last = sent;
		for (ssize_t len; (len = send(server, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0;)
			sent += (size_t)len;
		settle(&bed->bed);
	} while (sent > last);
	assert_true(sent < SIZE / 2); /* the kernel's buffers */
	while (got < SIZE) {
		if (sent < SIZE) {
			size_t left = SIZE - sent < sizeof(bytes) ? SIZE - sent : sizeof(bytes);
			ssize_t len = send(server, bytes, left, MSG_DONTWAIT);
			sent += len > 0 ? (size_t)len : 0;
		}
		bed_round(&bed->bed);
		for (ssize_t len; (len = recv(client, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0;)
			got += (size_t)len;
	}
	assert_int_equal(got, SIZE);
	SAY(client, GET); /* and it goes on */
	expect(bed, server, GOT);
	fd_reset(&client);
	close(server);
	over(bed);
}

static void who_does_not_read_is_reset(void **state)
{
	static char bytes[65536];
	struct proxy_bed *bed = proxy_open(&http_protocol);
	int client = proxy_client(bed), server, quiet = 0;

	(void)state;
	server = asked(bed, client);
	SAY(server, "HTTP/1.1 200 OK\r\n\r\n");
	while (quiet < 3) {
		quiet = send(server, bytes, sizeof(bytes), MSG_DONTWAIT) > 0 ? 0 : quiet + 1;
		settle(&bed->bed);
	}
	jump(&bed->bed, 5001);
	jump(&bed->bed, HTTP_READING_MS - 1000 - 5001);
	assert_int_equal(front_guests(bed->front), 1);
	jump(&bed->bed, 7000);
	assert_int_equal(front_guests(bed->front), 0);
	assert_int_equal(wait_end(&bed->bed, server), ECONNRESET);
	close(client);
	close(server);
	over(bed);
}

static void who_must_say_who_it_is(void **state)
{
	char user[] = "ann", password[] = "a:b";
	const struct access access = {.user = user, .password = password};
	struct proxy_bed *bed = proxy_open(&http_protocol);
	int client = proxy_client(bed), server;

	(void)state;
	assert_int_equal(front_set_access(bed->front, &access), 0);
	SAY(client, GET);
	expect_reply(bed, client, "407", "Proxy-Authenticate: Basic realm=\"nswrap\"", false);
	SAY(client,
		"GET " URL " HTTP/1.1\r\n" HOST "Proxy-Authorization: Basic YW5uOmE6Yw==\r\n\r\n");
	expect_reply(bed, client, "407", "user and password", false);
	SAY(client, "CONNECT 127.0.0.1:4311 HTTP/1.1\r\n\r\n");
	expect_reply(bed, client, "407", "user and password", false);
	SAY(client,
		"GET " URL "a HTTP/1.1\r\n" HOST "Proxy-Authorization: basic YW5uOmE6Yg==\r\n\r\n");
	server = proxy_accept(bed);
	expect(bed, server, GOT);
	SAY(server, OK);
	expect(bed, client, GOT_OK);
	close(server);
	SAY(client, "POST " URL " HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nabcd");
	expect_reply(bed, client, "407", "user and password", true);
	over(bed);
}

/* Its limits, each just before and just after. */
static void silence_ends(void **state)
{
	struct proxy_bed *bed = proxy_open(&http_protocol);
	int client = proxy_client(bed), server;

	(void)state;
	/* nothing at all, and a head that comes slowly */
	jump(&bed->bed, FRONT_WAIT_MS + 1);
	assert_int_equal(wait_end(&bed->bed, client), 0);
	close(client);
	client = proxy_client(bed);
	SAY(client, "GET ");
	settle(&bed->bed);
	for (int i = 0; i < 4; i++) {
		jump(&bed->bed, 5001);
		SAY(client, "a");
		settle(&bed->bed);
	}
	assert_int_equal(front_guests(bed->front), 1);
	jump(&bed->bed, HTTP_HEAD_MS - 4 * 5001 + 5000);
	expect_reply(bed, client, "408", "head of the request", true);
	/* between requests */
	client = proxy_client(bed);
	server = asked(bed, client);
	SAY(server, OK);
	expect(bed, client, GOT_OK);
	jump(&bed->bed, HTTP_IDLE_MS - 1000);
	assert_int_equal(front_guests(bed->front), 1);
	jump(&bed->bed, 7000);
	assert_int_equal(wait_end(&bed->bed, client), 0);
	assert_int_equal(wait_end(&bed->bed, server), 0);
	close(client);
	close(server);
	/* a body that does not come */
	client = proxy_client(bed);
	SAY(client, "POST " URL " HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nab");
	server = proxy_accept(bed);
	settle(&bed->bed);
	jump(&bed->bed, 5001);
	jump(&bed->bed, HTTP_BODY_MS - 1000 - 5001);
	assert_int_equal(front_guests(bed->front), 1);
	jump(&bed->bed, 7000);
	expect_reply(bed, client, "408", "rest of the request", true);
	close(server);
	over(bed);
}

static void a_silent_server_is_waited_for_long(void **state)
{
	struct proxy_bed *bed = proxy_open(&http_protocol);
	int client = proxy_client(bed), server;

	(void)state;
	server = asked(bed, client);
	jump(&bed->bed, 5001);
	jump(&bed->bed, HTTP_ANSWER_MS - 1000 - 5001);
	assert_int_equal(front_guests(bed->front), 1);
	jump(&bed->bed, 7000);
	expect_reply(bed, client, "504", "127.0.0.1:4311: no answer has come in 300 s", false);
	close(server);
	/* and as long as it likes, when it has begun */
	server = asked(bed, client);
	SAY(server, "HTTP/1.1 200 OK\r\n" DATE "\r\n");
	expect(bed, client,
		"HTTP/1.1 200 OK\r\n" DATE "Connection: close\r\nVia: 1.1 nswrap\r\n\r\n");
	for (int i = 0; i < 10; i++)
		jump(&bed->bed, HTTP_ANSWER_MS);
	SAY(server, "late");
	expect(bed, client, "late");
	close(server);
	assert_int_equal(wait_end(&bed->bed, client), 0);
	close(client);
	over(bed);
}

/* Whoever vanishes while a target is dialled takes the dial along. */
static void a_client_that_goes_ends_its_dial(void **state)
{
	struct proxy_bed *bed = proxy_open(&http_protocol);
	int client = proxy_client(bed);

	(void)state;
	SAY(client, "GET http://hang:4311/ HTTP/1.1\r\nHost: x\r\n\r\n");
	settle(&bed->bed);
	assert_string_equal(bed->host, "hang");
	fd_reset(&client);
	run_until(&bed->bed, front_guests(bed->front) == 0);
	assert_int_equal(bed->cancelled, 1);
	over(bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_go_over_one_connection),
		cmocka_unit_test(another_host_is_another_connection),
		cmocka_unit_test(bytes_one_by_one),
		cmocka_unit_test(an_urgent_byte_is_one_like_others),
		cmocka_unit_test(bodies_are_not_gathered),
		cmocka_unit_test(old_clients_get_no_chunks),
		cmocka_unit_test(tunnels),
		cmocka_unit_test(an_upgrade_is_left_to_both),
		cmocka_unit_test(bad_requests_end_their_connection),
		cmocka_unit_test(a_bad_body_ends_both),
		cmocka_unit_test(who_cannot_be_reached_is_said),
		cmocka_unit_test(a_request_goes_again_if_it_may),
		cmocka_unit_test(unasked_answers_are_nobodys),
		cmocka_unit_test(bad_answers),
		cmocka_unit_test(an_early_answer_is_the_last),
		cmocka_unit_test(a_slow_reader_slows_its_writer),
		cmocka_unit_test(who_does_not_read_is_reset),
		cmocka_unit_test(who_must_say_who_it_is),
		cmocka_unit_test(silence_ends),
		cmocka_unit_test(a_silent_server_is_waited_for_long),
		cmocka_unit_test(a_client_that_goes_ends_its_dial),
	};

	bed_enter_namespace();
	return cmocka_run_group_tests_name("proxy/http", tests, NULL, NULL);
}
