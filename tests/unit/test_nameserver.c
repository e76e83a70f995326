/* SPDX-License-Identifier: Apache-2.0 */
/* test_nameserver - who asks over UDP and TCP, what the owner says, and what others say */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dns/nameserver.h"
#include "dns/response.h"

static struct {
	struct loop *loop;
	struct budget budget;
	struct forwarder *forwarder;
	struct nameserver *nameserver;
	int udp, client, upstream;
	struct nameserver_question *later[4];
	unsigned nlater;
	uint8_t got[DNS_MESSAGE_MAX];
} now;

/* "lab" is known, "later..." will be, "down" fails, the rest is the forwarder's. */
static int on_query(void *owner, struct nameserver_question *question, const struct query *query,
	struct reply *out)
{
	assert_ptr_equal(owner, &now);
	if (strcmp(query->name, "lab") == 0) {
		*out = (struct reply){.count = 1, .addrs = {addr_loopback4(0)}};
		return 0;
	}
	if (strncmp(query->name, "later", 5) == 0) {
		now.later[now.nlater++] = question;
		return -EINPROGRESS;
	}
	return strcmp(query->name, "down") == 0 ? -EIO : -ENOENT;
}

static const struct nameserver_ops ops = {.on_query = on_query};

static int new_udp(struct addr *addr)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	*addr = addr_loopback4(0);
	assert_int_equal(bind(fd, &addr->any, sizeof(addr->v4)), 0);
	assert_int_equal(addr_get_own(fd, addr), 0);
	return fd;
}

static int setup(void **state)
{
	struct addr addr, upstream;

	(void)state;
	memset(&now, 0, sizeof(now));
	now.loop = loop_new();
	now.budget.max = 2000;
	now.forwarder = forwarder_new(now.loop, &now.budget);
	now.upstream = new_udp(&upstream);
	forwarder_set_servers(now.forwarder, &upstream, 1);
	now.nameserver = nameserver_new(now.loop, &now.budget, now.forwarder, &ops, &now);
	now.udp = new_udp(&addr);
	assert_int_equal(nameserver_add_udp(now.nameserver, now.udp), 0);
	now.client = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_int_equal(connect(now.client, &addr.any, sizeof(addr.v4)), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	nameserver_free(now.nameserver);
	assert_int_equal(now.budget.used, 0);
	forwarder_free(now.forwarder);
	close(now.udp);
	close(now.client);
	close(now.upstream);
	loop_free(now.loop);
	return 0;
}

/* Run until there is something at @fd; returns its bytes, in now.got. */
static size_t receive(int fd, struct addr *peer)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	socklen_t len = sizeof(*peer);

	for (int i = 0; poll(&poll_fd, 1, 0) == 0; i++) {
		assert_true(i < 1000);
		assert_int_equal(loop_run_once(now.loop, 10), 0);
	}
	ssize_t got = recvfrom(
		fd, now.got, sizeof(now.got), 0, peer ? &peer->any : NULL, peer ? &len : NULL);
	assert_true(got >= 0);
	return (size_t)got;
}

static void expect_nothing(int fd)
{
	for (int i = 0; i < 5; i++)
		assert_int_equal(loop_run_once(now.loop, 1), 0);
	assert_int_equal(recv(fd, now.got, sizeof(now.got), MSG_DONTWAIT), -1);
}

static size_t make(const char *name, uint8_t out[512])
{
	ssize_t len = query_make(name, QUERY_A, out, 512);

	assert_true(len > 0);
	return (size_t)len;
}

/* Returns the rcode. */
static unsigned ask(const char *name)
{
	uint8_t query[512];
	size_t len = make(name, query);

	assert_int_equal(send(now.client, query, len, 0), len);
	size_t got = receive(now.client, NULL);
	assert_true(got > 12);
	assert_memory_equal(now.got, query, 2);
	return response_rcode(now.got);
}

static void test_owner_answers(void **state)
{
	struct addr addr;

	(void)state;
	assert_int_equal(ask("LAB"), DNS_OK);
	assert_int_equal(response_addresses(now.got, 100, &addr, 1), 1);
	assert_int_equal(ask("down"), DNS_SERVFAIL);
	/* no query: no answer; a bad one: refused */
	assert_int_equal(send(now.client, "\1\2\x80\0\0\0\0\0\0\0\0\0", 12, 0), 12);
	assert_int_equal(send(now.client, "", 0, 0), 0);
	expect_nothing(now.client);
	assert_int_equal(send(now.client, "\1\2\0\0\0\0\0\0\0\0\0\0", 12, 0), 12);
	assert_int_equal(receive(now.client, NULL), 12);
	assert_int_equal(response_rcode(now.got), DNS_FORMERR);
}

/* What is asked again meanwhile is asked once. */
static void test_later(void **state)
{
	uint8_t query[512];
	size_t len = make("later", query), asked_len;
	struct reply reply = {.rcode = DNS_NXDOMAIN};

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(send(now.client, query, len, 0), len);
	expect_nothing(now.client);
	assert_int_equal(now.nlater, 1);
	assert_memory_equal(nameserver_message(now.later[0], &asked_len), query, len);
	assert_int_equal(asked_len, len);
	nameserver_answer(now.later[0], &reply);
	receive(now.client, NULL);
	assert_int_equal(response_rcode(now.got), DNS_NXDOMAIN);
	expect_nothing(now.client);
	/* who has asked is gone, or the socket is, before the answer is there */
	assert_int_equal(send(now.client, query, len, 0), len);
	expect_nothing(now.client);
	nameserver_del_udp(now.nameserver, now.udp);
	nameserver_answer(now.later[1], &reply);
	expect_nothing(now.client);
}

static void test_forwarded(void **state)
{
	uint8_t query[512];
	size_t len = make("example.com", query);
	struct addr peer;

	(void)state;
	assert_int_equal(send(now.client, query, len, 0), len);
	assert_int_equal(receive(now.upstream, &peer), len);
	assert_memory_equal(now.got + 2, query + 2, len - 2);
	now.got[2] |= 0x80;
	assert_int_equal(sendto(now.upstream, now.got, len, 0, &peer.any, sizeof(peer.v4)), len);
	assert_int_equal(receive(now.client, NULL), len);
	assert_memory_equal(now.got, query, 2);
	/* larger than the client takes: cut */
	assert_int_equal(send(now.client, query, len, 0), len);
	assert_int_equal(receive(now.upstream, &peer), len);
	now.got[2] |= 0x80;
	assert_int_equal(sendto(now.upstream, now.got, 1300, 0, &peer.any, sizeof(peer.v4)), 1300);
	size_t got = receive(now.client, NULL);
	assert_true(got < len);
	assert_true(response_is_cut(now.got));
	/* no servers: refused */
	forwarder_set_servers(now.forwarder, NULL, 0);
	assert_int_equal(ask("example.com"), DNS_REFUSED);
}

static void test_pipelined(void **state)
{
	int ends[2];
	uint8_t bytes[2048], query[512];
	static const char *const names[] = {"later1", "lab", "later2", "down"};
	size_t len = 0;
	struct reply reply = {.rcode = DNS_NXDOMAIN};

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	nameserver_add_client(now.nameserver, ends[1], &(struct addr){0});
	assert_int_equal(now.budget.used, 1);
	for (size_t i = 0; i < 4; i++) {
		size_t one = make(names[i], query);
		query[0] = (uint8_t)i;
		bytes[len++] = (uint8_t)(one >> 8);
		bytes[len++] = (uint8_t)one;
		memcpy(bytes + len, query, one);
		len += one;
	}
	assert_int_equal(write(ends[0], bytes, len), len);
	/* as they are there: 1, 3 at once, then 2 and 0 */
	size_t got = receive(ends[0], NULL);
	size_t second = 2U + (size_t)(now.got[0] << 8 | now.got[1]);
	assert_true(second < got);
	assert_int_equal(now.got[2], 1);
	assert_int_equal(now.got[second + 2], 3);
	assert_int_equal(now.nlater, 2);
	nameserver_answer(now.later[1], &reply);
	receive(ends[0], NULL);
	assert_int_equal(now.got[2], 2);
	/* it goes before the last one is there */
	close(ends[0]);
	expect_nothing(now.client);
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_run_once(now.loop, 1), 0);
	nameserver_answer(now.later[0], &reply);
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_run_once(now.loop, 1), 0);
	assert_int_equal(now.budget.used, 0);
}

static void test_many_clients(void **state)
{
	int ends[NAMESERVER_CLIENTS_MAX + 2][2];
	char byte;

	(void)state;
	for (size_t i = 0; i < NAMESERVER_CLIENTS_MAX + 2; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends[i]), 0);
		nameserver_add_client(now.nameserver, ends[i][1], &(struct addr){0});
	}
	assert_int_equal(now.budget.used, NAMESERVER_CLIENTS_MAX);
	for (size_t i = 0; i < NAMESERVER_CLIENTS_MAX + 2; i++) {
		assert_int_equal(read(ends[i][0], &byte, 1), i < 2 ? 0 : -1);
		close(ends[i][0]);
	}
}

/* --- one who asks too much ---------------------------------------------------------------- */

static struct addr loopback(unsigned last)
{
	const struct in_addr ip = {htonl(INADDR_LOOPBACK - 1 + last)};

	return addr_of4(ip, 0);
}

/* How many of @count questions that nobody answers are passed on. */
static size_t flood(int client, size_t count)
{
	uint8_t query[512];
	char name[64];
	size_t passed = 0;

	for (size_t i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "name%zu.example.com", i);
		size_t len = make(name, query);
		assert_int_equal(send(client, query, len, 0), len);
		assert_int_equal(loop_run_once(now.loop, 10), 0);
		while (recv(now.upstream, now.got, sizeof(now.got), MSG_DONTWAIT) > 0)
			passed++;
	}
	return passed;
}

static void test_a_share_of_questions(void **state)
{
	struct addr server, own = loopback(2);
	int other = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	(void)state;
	assert_int_equal(addr_get_own(now.udp, &server), 0);
	assert_int_equal(bind(other, &own.any, sizeof(own.v4)), 0);
	assert_int_equal(connect(other, &server.any, sizeof(server.v4)), 0);
	assert_int_equal(flood(now.client, FORWARDER_QUERIES_MAX), FORWARDER_QUERIES_MAX / 2);
	assert_int_equal(flood(other, FORWARDER_QUERIES_MAX), FORWARDER_QUERIES_MAX / 4);
	/* what is known needs no share */
	assert_int_equal(ask("lab"), DNS_OK);
	close(other);
}

/* A connection to the name server that is @own's; returns the client's end. */
static int connect_from(struct addr own)
{
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	nameserver_add_client(now.nameserver, ends[1], &own);
	return ends[0];
}

/* It has a question that nobody answers. */
static void keep_busy(int fd)
{
	uint8_t bytes[514];
	size_t len = make("example.com", bytes + 2);

	bytes[0] = (uint8_t)(len >> 8);
	bytes[1] = (uint8_t)len;
	assert_int_equal(write(fd, bytes, len + 2), len + 2);
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_run_once(now.loop, 1), 0);
}

static bool is_closed(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT) == 0 || (errno != EAGAIN);
}

static void test_a_share_of_clients(void **state)
{
	int fds[NAMESERVER_CLIENTS_MAX];

	(void)state;
	for (size_t i = 0; i < NAMESERVER_CLIENTS_MAX; i++) {
		fds[i] = connect_from(loopback(1));
		keep_busy(fds[i]);
	}
	int one_more = connect_from(loopback(1));
	assert_true(is_closed(one_more));
	assert_false(is_closed(fds[0]));
	int other = connect_from(loopback(2));
	assert_false(is_closed(other));
	assert_true(is_closed(fds[0]));
	for (size_t i = 1; i < NAMESERVER_CLIENTS_MAX; i++)
		assert_false(is_closed(fds[i]));
	keep_busy(other);
	one_more = (close(one_more), connect_from(loopback(1)));
	assert_true(is_closed(one_more));
	assert_false(is_closed(other));
	close(other);
	close(one_more);
	for (size_t i = 0; i < NAMESERVER_CLIENTS_MAX; i++)
		close(fds[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_owner_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_later, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forwarded, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pipelined, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_clients, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_share_of_questions, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_share_of_clients, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
