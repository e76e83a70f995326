/* SPDX-License-Identifier: Apache-2.0 */
/* test_splice_tcp - streams between real sockets of one namespace, with a clock that can jump */
#include "forward_bed.h"

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>

#include "forward/splice_tcp.h"
#include "net/netdev.h"
#include "netns.h"
#include "util/fd.h"

#define WAIT_MS 5000 /* far above what anything here takes */
#define HOLD_MS 3000
#define CROWD   300

#define OWN4 "127.0.0.7" /* the guest's own addresses */
#define OWN6 "fd00::7"

static struct bed *tcp_bed(const char *host, uint64_t wait_ms, bool has_listened)
{
	return bed_open(&splice_tcp_driver, PROTO_TCP, host, wait_ms, has_listened);
}

static int server_with_backlog(const char *host, int backlog)
{
	int one = 1;
	struct addr addr;

	assert_int_equal(addr_parse(host, &addr, NULL), 0);
	addr_set_port(&addr, GUEST_PORT);
	int fd = socket(addr.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	assert_int_equal(bind(fd, &addr.any, addr_len(&addr)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static int server_at(const char *host)
{
	return server_with_backlog(host, 1000);
}

static int client_of(const struct bed *bed)
{
	const struct addr *addr = &bed->forward.spec.host;
	int fd = socket(addr->family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, &addr->any, addr_len(addr)), 0);
	fd_set_nonblock(fd, 1);
	return fd;
}

/* The loop runs until there is something to read at @fd: bytes, an end, a client or an error. */
static void wait_for(struct bed *bed, int fd)
{
	struct pollfd ready = {fd, POLLIN, 0};

	for (int i = 0; i < WAIT_MS && poll(&ready, 1, 0) == 0; i++)
		assert_int_equal(loop_run_once(bed->loop, 1), 0);
	assert_true(ready.revents);
}

/* Everything that is under way arrives; nothing at @fd is expected. */
static void expect_nothing(struct bed *bed, int fd)
{
	struct pollfd ready = {fd, POLLIN, 0};

	for (int i = 0; i < 3; i++) {
		for (int j = 0; j < 20; j++)
			assert_int_equal(loop_run_once(bed->loop, 0), 0);
		assert_int_equal(loop_run_once(bed->loop, 1), 0);
	}
	assert_int_equal(poll(&ready, 1, 0), 0);
}

static int accepted(struct bed *bed, int server)
{
	wait_for(bed, server);
	int fd = accept4(server, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void send_text(struct bed *bed, int from, int to, const char *text)
{
	char got[64];

	assert_int_equal(send(from, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	wait_for(bed, to);
	assert_int_equal(recv(to, got, sizeof(got), 0), strlen(text));
	assert_memory_equal(got, text, strlen(text));
}

/* They are the two ends of one connection; closes both. */
static void expect_connected(struct bed *bed, int client, int inside)
{
	char byte;

	send_text(bed, client, inside, "ask");
	send_text(bed, inside, client, "tell");
	shutdown(client, SHUT_WR);
	wait_for(bed, inside);
	assert_int_equal(recv(inside, &byte, 1, 0), 0);
	send_text(bed, inside, client, "more"); /* the other way goes on */
	close(inside);
	wait_for(bed, client);
	assert_int_equal(recv(client, &byte, 1, 0), 0);
	close(client);
}

/* A client comes through to @server. */
static void expect_service(struct bed *bed, int server)
{
	int client = client_of(bed);

	expect_connected(bed, client, accepted(bed, server));
}

static void expect_reset(struct bed *bed, int client)
{
	char byte;

	wait_for(bed, client);
	assert_int_equal(recv(client, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	close(client);
}

/* What the table's look-out does */
static void look(struct bed *bed)
{
	if (!bed->forward.has_listened)
		driver_find_target(&bed->forward);
	assert_int_equal(loop_run_once(bed->loop, 0), 0);
}

static void serves_every_kind_of_listener(void **state)
{
	static const char *const hosts[] = {"127.0.0.1", "::1", "0.0.0.0", "@"};
	char dir[] = "/tmp/test_splice_tcp.XXXXXX", path[64];

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/sock", dir);
	for (size_t i = 0; i < 4; i++) {
		struct bed *bed = tcp_bed(hosts[i][0] == '@' ? path : hosts[i], HOLD_MS, false);
		int server = server_at("127.0.0.1");

		for (int n = 0; n < 3; n++)
			expect_service(bed, server);
		assert_int_equal(bed->told, 1); /* nobody looked: it found out by itself */
		close(server);
		bed_close(bed);
	}
	unlink(path);
	rmdir(dir);
}

/* What is over leaves its socket to the next one: nobody asks for others. */
static void clients_take_turns_at_a_socket(void **state)
{
	struct bed *bed = tcp_bed("127.0.0.1", HOLD_MS, false);
	int server = server_at("127.0.0.1");

	(void)state;
	expect_service(bed, server);
	shut_door(bed, true);
	for (int n = 0; n < CROWD; n++)
		expect_service(bed, server);
	close(server);
	bed_close(bed);
}

/* The order in which they came is kept. */
static void holds_until_guest_listens(void **state)
{
	static int clients[CROWD];
	struct bed *bed = tcp_bed("127.0.0.1", HOLD_MS, false);
	char number[16];

	(void)state;
	for (int i = 0; i < CROWD; i++) {
		clients[i] = client_of(bed);
		snprintf(number, sizeof(number), "%d", i);
		assert_int_equal(send(clients[i], number, strlen(number), 0), strlen(number));
		assert_int_equal(loop_run_once(bed->loop, 0), 0);
	}
	expect_nothing(bed, clients[0]);
	look(bed);
	assert_false(bed->forward.has_listened);
	close(clients[1]); /* no reset: what it has said is for the guest */

	int server = server_at("::1");
	assert_int_equal(bed->told, 0);
	look(bed);
	assert_int_equal(bed->told, 1);
	for (int i = 0; i < CROWD; i++) {
		int inside = accepted(bed, server);
		char got[16];

		wait_for(bed, inside);
		ssize_t len = recv(inside, got, sizeof(got), 0);
		snprintf(number, sizeof(number), "%d", i);
		assert_int_equal(len, strlen(number));
		assert_memory_equal(got, number, (size_t)len);
		if (i == 1)
			close(inside);
		else
			expect_connected(bed, clients[i], inside);
	}
	expect_service(bed, server);
	assert_int_equal(bed->told, 1);
	close(server);
	bed_close(bed);
}

static void does_not_hold_for_ever(void **state)
{
	struct bed *bed = tcp_bed("127.0.0.1", HOLD_MS, false);
	int early = client_of(bed);

	(void)state;
	expect_nothing(bed, early);
	jump(HOLD_MS * 2 / 3);
	int late = client_of(bed);
	expect_nothing(bed, late);
	jump(HOLD_MS * 2 / 3);
	expect_reset(bed, early);
	expect_nothing(bed, late);
	/* one that goes away by itself is not served */
	int gone = client_of(bed);
	expect_nothing(bed, gone);
	fd_reset(&gone);
	expect_nothing(bed, late);

	int server = server_at("127.0.0.1");
	look(bed);
	expect_connected(bed, late, accepted(bed, server));
	expect_nothing(bed, server);
	close(server);
	/* it has listened once: its refusal is passed on at once */
	expect_reset(bed, client_of(bed));
	assert_int_equal(bed->told, 1);
	bed_close(bed);
}

static void refuses_when_not_to_wait(void **state)
{
	struct bed *bed = tcp_bed("127.0.0.1", 0, false);

	(void)state;
	expect_reset(bed, client_of(bed));
	int server = server_at("127.0.0.1");
	expect_service(bed, server);
	assert_int_equal(bed->told, 1);
	close(server);
	bed_close(bed);
}

static void set_own_addresses(struct bed *bed)
{
	bed->plan.has_outbound = bed->plan.has_ipv6 = true;
	inet_pton(AF_INET, OWN4, &bed->plan.guest);
	inet_pton(AF_INET6, OWN6, &bed->plan.guest6);
}

/* The server comes back elsewhere; no client notices, but one that comes while it is away. */
static void follows_the_server(void **state)
{
	static const char *const homes[] = {
		"127.0.0.1", "::1", OWN4, OWN6, "127.0.0.1", OWN6, OWN4, "::", "0.0.0.0"};
	struct bed *bed = tcp_bed("127.0.0.1", HOLD_MS, false);

	(void)state;
	set_own_addresses(bed);
	for (size_t i = 0; i < sizeof(homes) / sizeof(homes[0]); i++) {
		int server = server_at(homes[i]);

		expect_service(bed, server);
		expect_service(bed, server);
		close(server);
		expect_reset(bed, client_of(bed));
	}
	bed_close(bed);
}

/* init does not answer for a while. */
static void waits_for_sockets(void **state)
{
	struct bed *bed = tcp_bed("127.0.0.1", 0, true);
	int server = server_at("127.0.0.1");

	(void)state;
	shut_door(bed, true);
	int first = client_of(bed), second = client_of(bed);
	expect_nothing(bed, server);
	jump(2000); /* they are in the backlog, where no time is over */
	expect_nothing(bed, first);
	shut_door(bed, false);
	expect_connected(bed, first, accepted(bed, server));
	expect_connected(bed, second, accepted(bed, server));
	close(server);

	/* the refused one needs a socket of another kind, of which there are none yet */
	server = server_at("::1");
	shut_door(bed, true);
	first = client_of(bed);
	expect_nothing(bed, server);
	jump(600);
	expect_nothing(bed, first);
	second = client_of(bed); /* for IPv6 the pool is empty: waits in the backlog */
	jump(600);
	expect_reset(bed, first);
	expect_nothing(bed, second);
	shut_door(bed, false);
	expect_connected(bed, second, accepted(bed, server));
	close(server);
	bed_close(bed);
}

static void held_for_a_socket_is_served(void **state)
{
	struct bed *bed = tcp_bed("127.0.0.1", 0, true);
	int server = server_at("127.0.0.1");

	(void)state;
	expect_service(bed, server); /* fills the pool for IPv4 */
	close(server);
	server = server_at("::1");
	shut_door(bed, true);
	int client = client_of(bed);
	expect_nothing(bed, server);
	assert_int_equal(bed->budget.used, 1);
	shut_door(bed, false);
	expect_connected(bed, client, accepted(bed, server));
	close(server);
	bed_close(bed);
}

/* No descriptors to spare: clients wait in the backlog, those that are served go on. */
static void stops_when_descriptors_are_short(void **state)
{
	struct bed *bed = tcp_bed("127.0.0.1", HOLD_MS, true);
	int server = server_at("127.0.0.1"), old = client_of(bed), inside = accepted(bed, server);
	struct rlimit before, low;

	(void)state;
	send_text(bed, old, inside, "x");
	bed->budget.max = BUDGET_RESERVED + bed->budget.used + 1;
	int client = client_of(bed);
	expect_nothing(bed, server);
	uint64_t start_ns = clock_now_ns();
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_run_once(bed->loop, 15), 0);
	assert_true(clock_now_ns() - start_ns > 10 * NS_PER_MS); /* it does not spin */
	jump(1000); /* it asks again, and rests again */
	expect_nothing(bed, server);
	send_text(bed, inside, old, "y");
	bed->budget.max = 1000;
	jump(1000);
	expect_connected(bed, client, accepted(bed, server));

	/* the kernel says so */
	client = client_of(bed);
	getrlimit(RLIMIT_NOFILE, &before);
	low = before;
	low.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	expect_nothing(bed, server);
	jump(1000);
	expect_nothing(bed, server);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	jump(1000);
	expect_connected(bed, client, accepted(bed, server));
	expect_connected(bed, old, inside);
	close(server);
	bed_close(bed);
}

/*
 * The backlog of the guest is full: connect(2) takes until there is room, or it refuses. That is
 * found out by the kernel's next SYN, after a second.
 */
static void connects_slowly(void **state)
{
	struct bed *bed = tcp_bed("127.0.0.1", HOLD_MS, true);
	int server = server_with_backlog("127.0.0.1", 0);

	(void)state;
	int first = client_of(bed), second = client_of(bed);
	expect_nothing(bed, second);
	assert_int_equal(bed->budget.used, 4); /* a relay, and one that connects */
	int inside = accepted(bed, server);
	expect_connected(bed, first, inside);
	inside = accepted(bed, server);
	expect_connected(bed, second, inside);

	first = client_of(bed);
	second = client_of(bed);
	expect_nothing(bed, second);
	close(server);
	expect_reset(bed, first);
	server = server_at("::1");
	expect_connected(bed, second, accepted(bed, server));
	close(server);
	bed_close(bed);
}

static void refuses_other_users(void **state)
{
	struct bed *bed = tcp_bed("127.0.0.1", HOLD_MS, true);
	int server = server_at("127.0.0.1");

	(void)state;
	bed->context.checks_user = true;
	bed->users[0] = geteuid() + 1;
	for (int i = 0; i < 3; i++)
		expect_reset(bed, client_of(bed));
	assert_int_equal(bed->forward.refused, 3);
	expect_nothing(bed, server);
	bed->users[0] = geteuid();
	expect_service(bed, server);
	close(server);
	bed_close(bed);
}

static void reopen(struct bed *bed, bool has_listened)
{
	struct err err;

	driver_close(&bed->forward);
	bed->forward.has_listened = has_listened;
	assert_int_equal(driver_open(&bed->forward, &err), 0);
}

/* Whoever waits when the forward goes sees a reset, whatever it waits for. */
static void closes_in_every_state(void **state)
{
	struct bed *bed = tcp_bed("127.0.0.1", HOLD_MS, false);
	int client = client_of(bed);

	(void)state;
	expect_nothing(bed, client);
	assert_int_equal(bed->budget.used, 1);
	reopen(bed, true);
	expect_reset(bed, client);

	int server = server_with_backlog("127.0.0.1", 0), related = client_of(bed);
	client = client_of(bed);
	expect_nothing(bed, client);
	assert_int_equal(bed->budget.used, 4);
	reopen(bed, false);
	expect_reset(bed, client);
	expect_connected(bed, related, accepted(bed, server)); /* goes on to its end */
	close(server);

	/* it was found out a moment ago, and nobody has been told */
	client = client_of(bed);
	expect_nothing(bed, client);
	server = server_at("127.0.0.1");
	assert_true(driver_find_target(&bed->forward));
	reopen(bed, true);
	expect_reset(bed, client);
	expect_service(bed, server);
	assert_int_equal(bed->told, 0);
	close(server);

	/* what it waits for comes after that: IPv6 has had no sockets yet */
	server = server_at("::1");
	shut_door(bed, true);
	client = client_of(bed);
	expect_nothing(bed, client);
	driver_close(&bed->forward);
	expect_reset(bed, client);
	shut_door(bed, false);
	expect_nothing(bed, server);
	struct err err;
	assert_int_equal(driver_open(&bed->forward, &err), 0);
	expect_service(bed, server);
	close(server);
	bed_close(bed);
}

static int set_lo_up(void **state)
{
	struct in6_addr own6;
	int nl = netdev_open(), lo = netdev_index(nl, "lo");

	(void)state;
	inet_pton(AF_INET6, OWN6, &own6);
	int result = netdev_set_up(nl, lo, 0);
	if (result == 0)
		result = netdev_add_addr(nl, lo, AF_INET6, &own6, 128);
	close(nl);
	signal(SIGPIPE, SIG_IGN);
	return result;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(serves_every_kind_of_listener),
		cmocka_unit_test(clients_take_turns_at_a_socket),
		cmocka_unit_test(holds_until_guest_listens),
		cmocka_unit_test(does_not_hold_for_ever),
		cmocka_unit_test(refuses_when_not_to_wait),
		cmocka_unit_test(follows_the_server),
		cmocka_unit_test(waits_for_sockets),
		cmocka_unit_test(held_for_a_socket_is_served),
		cmocka_unit_test(stops_when_descriptors_are_short),
		cmocka_unit_test(connects_slowly),
		cmocka_unit_test(refuses_other_users),
		cmocka_unit_test(closes_in_every_state),
	};

	netns_enter_or_skip();
	return cmocka_run_group_tests(tests, set_lo_up, NULL);
}
