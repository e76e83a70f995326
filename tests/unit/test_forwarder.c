/* SPDX-License-Identifier: Apache-2.0 */
/* test_forwarder - servers that answer, refuse, are silent or lie */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock_ahead.h"
#include "dns/forwarder.h"
#include "dns/query.h"
#include "util/clock.h"

#define WAIT_MS 15000

struct answered {
	struct forwarder_query query;
	int result, calls;
	uint8_t answer[DNS_MESSAGE_MAX];
	size_t len;
};

static struct {
	struct loop *loop;
	struct budget budget;
	struct forwarder *forwarder;
	int servers[3]; /* UDP */
	struct addr addrs[3];
	uint8_t message[512];
	size_t len, question_end;
	struct answered answered;
} now;

/* What a server was asked. */
struct asked {
	uint8_t bytes[600];
	size_t len;
	struct addr peer;
};

static void on_answer(struct forwarder_query *query, int result, const uint8_t *answer, size_t len)
{
	struct answered *answered = (struct answered *)query; /* its first member */

	answered->calls++;
	answered->result = result;
	answered->len = len;
	if (answer)
		memcpy(answered->answer, answer, len);
}

static int setup(void **state)
{
	struct query query;

	(void)state;
	memset(&now, 0, sizeof(now));
	now.loop = loop_new();
	now.budget.max = 2000;
	now.forwarder = forwarder_new(now.loop, &now.budget);
	for (int i = 0; i < 3; i++) {
		now.addrs[i] = addr_loopback4(0);
		now.servers[i] = socket(AF_INET, SOCK_DGRAM, 0);
		assert_int_equal(
			bind(now.servers[i], &now.addrs[i].any, sizeof(now.addrs[i].v4)), 0);
		assert_int_equal(addr_get_own(now.servers[i], &now.addrs[i]), 0);
	}
	now.len = (size_t)query_make("Lab", QUERY_A, now.message, sizeof(now.message));
	assert_int_equal(query_parse(now.message, now.len, &query), DNS_OK);
	now.question_end = query.question_end;
	now.answered.query.on_answer = on_answer;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(now.budget.used, 0);
	forwarder_free(now.forwarder);
	for (int i = 0; i < 3; i++)
		if (now.servers[i] >= 0)
			close(now.servers[i]);
	loop_free(now.loop);
	return 0;
}

static void start(size_t servers, bool is_tcp)
{
	forwarder_set_servers(now.forwarder, now.addrs, servers);
	now.answered.calls = 0;
	assert_int_equal(forwarder_start(now.forwarder, &now.answered.query, now.message, now.len,
				 now.question_end, is_tcp),
		0);
}

/* Run until server @i has been asked. */
static struct asked take(int i)
{
	struct clock_wait wait = clock_wait_start(WAIT_MS);
	struct pollfd poll_fd = {.fd = now.servers[i], .events = POLLIN};
	struct asked asked = {0};
	socklen_t len = sizeof(asked.peer);

	while (poll(&poll_fd, 1, 0) == 0) {
		assert_int_equal(loop_run_once(now.loop, 10), 0);
		assert_true(clock_now_ns() < wait.deadline_ns);
	}
	ssize_t got = recvfrom(
		now.servers[i], asked.bytes, sizeof(asked.bytes), 0, &asked.peer.any, &len);
	assert_true(got > 12);
	asked.len = (size_t)got;
	assert_int_equal(asked.len, now.len);
	assert_memory_equal(asked.bytes + 2, now.message + 2, now.len - 2);
	return asked;
}

static void answer(int i, struct asked *asked, unsigned rcode)
{
	asked->bytes[2] |= 0x80;
	asked->bytes[3] = (uint8_t)rcode;
	assert_int_equal(sendto(now.servers[i], asked->bytes, asked->len, 0, &asked->peer.any,
				 sizeof(asked->peer.v4)),
		asked->len);
}

static void run_until_answered(int result)
{
	struct clock_wait wait = clock_wait_start(WAIT_MS);

	while (now.answered.calls == 0) {
		assert_int_equal(loop_run_once(now.loop, 10), 0);
		assert_true(clock_now_ns() < wait.deadline_ns);
	}
	assert_int_equal(now.answered.calls, 1);
	assert_int_equal(now.answered.result, result);
	assert_null(now.answered.query.forwarder);
	if (result == 0) /* its own id, its own letters */
		assert_memory_equal(now.answered.answer, now.message, 2);
	if (result == 0)
		assert_memory_equal(
			now.answered.answer + 12, now.message + 12, now.question_end - 12);
}

static void test_answered(void **state)
{
	(void)state;
	start(1, false);
	struct asked asked = take(0);
	asked.bytes[13] ^= 0x20; /* a server that changes letters */
	answer(0, &asked, DNS_NXDOMAIN);
	run_until_answered(0);
	assert_int_equal(now.answered.len, now.len);
	assert_int_equal(now.answered.answer[3], DNS_NXDOMAIN);
}

/* Ids and ports are not the query's, nor the same again. */
static void test_nobody_guesses(void **state)
{
	int same_ids = 0, same_ports = 0;
	uint16_t port = 0;

	(void)state;
	for (int i = 0; i < 8; i++) {
		start(1, false);
		struct asked asked = take(0);
		same_ids += memcmp(asked.bytes, now.message, 2) == 0;
		same_ports += addr_port(&asked.peer) == port;
		port = addr_port(&asked.peer);
		answer(0, &asked, 0);
		run_until_answered(0);
	}
	assert_true(same_ids < 2 && same_ports < 2);
}

/* Wrong id, wrong question, another sender, a query, a part: none is the answer. */
static void test_lies(void **state)
{
	(void)state;
	start(1, false);
	struct asked asked = take(0), lie = asked;
	lie.bytes[0] ^= 1;
	answer(0, &lie, 0);
	lie = asked;
	lie.bytes[14] ^= 1;
	answer(0, &lie, 0);
	lie = asked;
	answer(1, &lie, 0);
	lie = asked;
	lie.len = 14;
	answer(0, &lie, 0);
	for (int i = 0; i < 20; i++)
		assert_int_equal(loop_run_once(now.loop, 5), 0);
	assert_int_equal(now.answered.calls, 0);
	answer(0, &asked, 0);
	run_until_answered(0);
}

/* A refusal and a closed port give way at once; who answered last is asked first. */
static void test_in_turn(void **state)
{
	(void)state;
	clock_stop();
	close(now.servers[0]);
	now.servers[0] = -1;
	start(3, false);
	struct asked asked = take(1);
	answer(1, &asked, DNS_SERVFAIL);
	asked = take(2);
	answer(2, &asked, DNS_OK);
	run_until_answered(0);
	assert_int_equal(now.answered.answer[3], DNS_OK);
	clock_go_on();
}

static void test_all_refuse(void **state)
{
	(void)state;
	start(2, false);
	struct asked asked = take(0);
	answer(0, &asked, DNS_REFUSED);
	asked = take(1);
	answer(1, &asked, DNS_SERVFAIL);
	run_until_answered(0);
	assert_int_equal(now.answered.answer[3], DNS_SERVFAIL);
	close(now.servers[0]);
	now.servers[0] = -1;
	start(1, false);
	run_until_answered(-ECONNREFUSED);
}

/* The second is asked after a while, and first from then on. */
static void test_silent(void **state)
{
	uint64_t start_ns = clock_now_ns();

	(void)state;
	start(2, false);
	take(0);
	struct asked asked = take(1);
	assert_true(clock_now_ns() - start_ns >= (FORWARDER_TRY_MS - 1) * NS_PER_MS);
	answer(1, &asked, 0);
	run_until_answered(0);
	now.answered.calls = 0;
	assert_int_equal(forwarder_start(now.forwarder, &now.answered.query, now.message, now.len,
				 now.question_end, false),
		0);
	asked = take(1);
	answer(1, &asked, 0);
	run_until_answered(0);
	/* other servers while one is asked: a new round */
	start(1, false);
	take(0);
	forwarder_set_servers(now.forwarder, &now.addrs[2], 1);
	asked = take(2);
	answer(2, &asked, 0);
	run_until_answered(0);
}

static void test_tcp(void **state)
{
	static uint8_t bytes[2 + 60000];
	struct addr addr = addr_loopback4(0);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	struct pollfd poll_fd = {.fd = listener, .events = POLLIN};

	(void)state;
	assert_int_equal(bind(listener, &addr.any, sizeof(addr.v4)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(addr_get_own(listener, &now.addrs[0]), 0);
	start(1, true);
	while (poll(&poll_fd, 1, 0) == 0)
		assert_int_equal(loop_run_once(now.loop, 10), 0);
	int client = accept(listener, NULL, NULL);
	poll_fd.fd = client;
	while (poll(&poll_fd, 1, 0) == 0)
		assert_int_equal(loop_run_once(now.loop, 10), 0);
	assert_int_equal(read(client, bytes, sizeof(bytes)), now.len + 2);
	bytes[0] = 60000 >> 8;
	bytes[1] = 60000 & 0xff;
	bytes[4] |= 0x80;
	assert_int_equal(write(client, bytes, sizeof(bytes)), sizeof(bytes));
	run_until_answered(0);
	assert_int_equal(now.answered.len, 60000);
	close(client);
	close(listener);
	start(1, true);
	run_until_answered(-ECONNREFUSED);
}

/* Nobody takes connections: an answer over UDP, whole or not at all. */
static void test_tcp_is_refused(void **state)
{
	(void)state;
	start(2, true);
	struct asked asked = take(0);
	asked.bytes[2] |= 0x02;
	answer(0, &asked, DNS_OK);
	asked = take(1);
	answer(1, &asked, DNS_OK);
	run_until_answered(0);
	assert_int_equal(now.answered.answer[2] & 0x02, 0);
	start(1, true);
	asked = take(0);
	asked.bytes[2] |= 0x02;
	answer(0, &asked, DNS_OK);
	run_until_answered(-EMSGSIZE);
	/* who asks over UDP asks again over TCP */
	start(1, false);
	asked = take(0);
	asked.bytes[2] |= 0x02;
	answer(0, &asked, DNS_OK);
	run_until_answered(0);
	assert_int_equal(now.answered.answer[2] & 0x02, 0x02);
}

static void test_limits(void **state)
{
	static struct answered many[FORWARDER_QUERIES_MAX];
	struct answered one = {0};

	(void)state;
	assert_int_equal(forwarder_start(now.forwarder, &one.query, now.message, now.len,
				 now.question_end, false),
		-ENOENT);
	forwarder_set_servers(now.forwarder, now.addrs, 1);
	for (size_t i = 0; i < FORWARDER_QUERIES_MAX; i++)
		assert_int_equal(forwarder_start(now.forwarder, &many[i].query, now.message,
					 now.len, now.question_end, false),
			0);
	assert_int_equal(forwarder_start(now.forwarder, &one.query, now.message, now.len,
				 now.question_end, false),
		-EAGAIN);
	assert_int_equal(loop_run_once(now.loop, 0), 0);
	assert_int_equal(now.budget.used, FORWARDER_QUERIES_MAX);
	for (size_t i = 0; i < FORWARDER_QUERIES_MAX; i++)
		forwarder_cancel(&many[i].query);
	forwarder_cancel(&one.query);
	now.budget.used = now.budget.max;
	assert_int_equal(forwarder_start(now.forwarder, &one.query, now.message, now.len,
				 now.question_end, false),
		-EAGAIN);
	now.budget.used = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answered, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nobody_guesses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_in_turn, setup, teardown),
		cmocka_unit_test_setup_teardown(test_all_refuse, setup, teardown),
		cmocka_unit_test_setup_teardown(test_silent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tcp, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tcp_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
