/* SPDX-License-Identifier: Apache-2.0 */
/* test_udp_relay - a relay whose owner opens, refuses, delays and frees as each test likes */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "clock_ahead.h"
#include "conn/relay.h"
#include "conn/udp_relay.h"
#include "count_fds.h"
#include "net/netdev.h"
#include "netns.h"
#include "util/fd.h"

#define RELAY_PORT  5300
#define SERVER_PORT 53
#define WAIT_MS     5000 /* far above what anything here takes */
#define HOLD_MS     1000
#define NS_PER_S    1000000000ULL
#define COUNT(a)    (sizeof(a) / sizeof((a)[0]))

enum callback { NONE, OPEN, IS_ALLOWED, ON_REFUSED, ON_CLIENTS, ON_ANSWER, CALLBACKS };

struct bed {
	struct loop *loop;
	int listener;
	struct udp_relay *relay; /* NULL once it is freed */
	struct udp_relay_ops ops;
	struct budget budget;
	int fds_before;

	/* how the owner behaves */
	int open_error;       /* returned by open, unless 0 */
	uint16_t server_port; /* where it connects to */
	bool is_closed;       /* is_allowed says no */
	bool moves;           /* on_refused says so... */
	int move_error;       /* ...and sets open_error to this */
	enum callback frees, retries;
	bool keeps_listener; /* when it frees the relay */

	unsigned calls[CALLBACKS], calls_when_freed;
	uint16_t last_client; /* that open was asked about */
};

/* Sends to targets that succeed before the next one meets a refusal; -1: no refusal */
static int refuse_after = -1;

/* The same: when exactly ICMP comes back is up to the kernel */
int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
	if (!messages->msg_hdr.msg_name && refuse_after >= 0 && refuse_after-- == 0) {
		errno = ECONNREFUSED;
		return -1;
	}
	return (int)syscall(SYS_sendmmsg, fd, messages, count, flags);
}

static void jump(uint64_t ms)
{
	clock_ahead_ns += ms * 1000000;
}

/* A socket bound to @own (NULL: not) and connected to @peer (NULL: not). */
static int udp(const char *own, uint16_t own_port, const char *peer, uint16_t peer_port)
{
	const char *texts[] = {own, peer};
	uint16_t ports[] = {own_port, peer_port};
	int fd = -1, on = 1;

	for (int i = 0; i < 2; i++) {
		struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(ports[i])};
		struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(ports[i])};
		bool is_v6 = texts[i] && strchr(texts[i], ':');
		struct sockaddr *addr = is_v6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4;
		socklen_t len = is_v6 ? sizeof(v6) : sizeof(v4);

		if (!texts[i])
			continue;
		assert_int_equal(inet_pton(addr->sa_family, texts[i],
					 is_v6 ? (void *)&v6.sin6_addr : (void *)&v4.sin_addr),
			1);
		if (fd < 0)
			fd = socket(addr->sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (is_v6)
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
		assert_int_equal((i == 0 ? bind : connect)(fd, addr, len), 0);
	}
	return fd;
}

static int server_at(uint16_t port)
{
	return udp("127.0.0.1", port, NULL, 0);
}

static int new_client(void)
{
	return udp(NULL, 0, "127.0.0.1", RELAY_PORT);
}

static uint16_t port_of(int fd)
{
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	return ntohs(addr.sin_port);
}

/* --- the owner ----------------------------------------------------------------------------- */

static void called(struct bed *bed, enum callback callback)
{
	bed->calls[callback]++;
	if (!bed->relay)
		bed->calls_when_freed++;
	if (bed->retries == callback) {
		bed->open_error = 0;
		udp_relay_retry(bed->relay);
	}
	if (bed->frees != callback)
		return;
	udp_relay_free(bed->relay);
	bed->relay = NULL;
	if (!bed->keeps_listener)
		fd_close(&bed->listener);
}

static int open_target(void *owner, struct udp_flow *flow)
{
	struct bed *bed = owner;

	bed->last_client = ntohs(flow->key.peer.sin6_port);
	flow->where = bed->server_port;
	called(bed, OPEN);
	if (bed->open_error)
		return bed->open_error;
	return udp(NULL, 0, "127.0.0.1", bed->server_port);
}

static bool is_allowed(void *owner, const struct udp_key *key)
{
	struct bed *bed = owner;

	assert_int_equal(key->peer.sin6_family, AF_INET);
	called(bed, IS_ALLOWED);
	return !bed->is_closed;
}

static bool on_refused(void *owner, const struct udp_flow *flow)
{
	struct bed *bed = owner;

	assert_true(flow->io.fd >= 0 && flow->where > 0);
	called(bed, ON_REFUSED);
	if (bed->moves)
		bed->open_error = bed->move_error;
	return bed->moves;
}

static void on_clients(void *owner)
{
	called(owner, ON_CLIENTS);
}

static void on_answer(void *owner)
{
	called(owner, ON_ANSWER);
}

static struct bed *bed_open(const char *host, bool has_all_ops)
{
	struct bed *bed = calloc(1, sizeof(*bed));

	bed->fds_before = count_fds();
	bed->loop = loop_new();
	bed->budget.max = 1000;
	bed->server_port = SERVER_PORT;
	bed->listener = udp(host, RELAY_PORT, NULL, 0);
	bed->ops.open = open_target;
	if (has_all_ops)
		bed->ops = (struct udp_relay_ops){
			open_target, is_allowed, on_refused, on_clients, on_answer};
	bed->relay = udp_relay_new(bed->loop, &bed->budget, bed->listener, &bed->ops, bed);
	assert_non_null(bed->relay);
	udp_relay_set_hold_ms(bed->relay, HOLD_MS);
	return bed;
}

/* The clients and servers have been closed before. */
static void bed_close(struct bed *bed)
{
	udp_relay_free(bed->relay);
	fd_close(&bed->listener);
	loop_free(bed->loop);
	assert_int_equal(count_fds(), bed->fds_before);
	assert_int_equal(bed->calls_when_freed, 0);
	free(bed);
}

/* --- datagrams of one number each ---------------------------------------------------------- */

static void say(int fd, int number)
{
	assert_int_equal(send(fd, &number, sizeof(number), 0), sizeof(number));
}

/* The next number at @fd, with the loop running meanwhile. */
static int hear_from(struct bed *bed, int fd, struct sockaddr_in *from)
{
	socklen_t len = sizeof(*from);
	int number;

	for (int i = 0; i < WAIT_MS; i++) {
		ssize_t got = recvfrom(fd, &number, sizeof(number), 0, (struct sockaddr *)from,
			from ? &len : NULL);

		if (got == sizeof(number))
			return number;
		assert_int_equal(errno, EAGAIN);
		assert_int_equal(loop_run_once(bed->loop, 1), 0);
	}
	fail_msg("nothing came");
	return -1;
}

static int hear(struct bed *bed, int fd)
{
	return hear_from(bed, fd, NULL);
}

/* Everything that is under way arrives; nothing is expected at @fd (-1: wherever). */
static void expect_nothing(struct bed *bed, int fd)
{
	int number;

	for (int i = 0; i < 40; i++)
		assert_int_equal(loop_run_once(bed->loop, i % 20 ? 0 : 1), 0);
	if (fd < 0)
		return;
	assert_int_equal(recv(fd, &number, sizeof(number), 0), -1);
	assert_int_equal(errno, EAGAIN);
}

/* @client asks, @server answers. Returns the port that the server saw. */
static uint16_t exchange(struct bed *bed, int client, int server)
{
	struct sockaddr_in from;

	say(client, 7);
	assert_int_equal(hear_from(bed, server, &from), 7);
	int number = 8;
	sendto(server, &number, sizeof(number), 0, (struct sockaddr *)&from, sizeof(from));
	assert_int_equal(hear(bed, client), 8);
	return ntohs(from.sin_port);
}

/* --- tests --------------------------------------------------------------------------------- */

static void answers_go_to_who_asked(void **state)
{
	enum { CLIENTS = 5, ROUNDS = 20 };
	struct bed *bed = bed_open("127.0.0.1", false);
	int server = server_at(SERVER_PORT), clients[CLIENTS], next[CLIENTS] = {0};
	uint16_t ports[CLIENTS] = {0};
	struct sockaddr_in from;

	(void)state;
	for (int c = 0; c < CLIENTS; c++)
		clients[c] = new_client();
	for (int i = 0; i < ROUNDS; i++)
		for (int c = 0; c < CLIENTS; c++)
			say(clients[c], c * ROUNDS + i);
	for (int i = 0; i < ROUNDS * CLIENTS; i++) {
		int number = hear_from(bed, server, &from), c = number / ROUNDS;

		assert_int_equal(number % ROUNDS, next[c]++); /* in order */
		if (!ports[c])
			ports[c] = from.sin_port;
		assert_int_equal(from.sin_port, ports[c]);
		for (int other = 0; other < CLIENTS; other++)
			assert_true(other == c || ports[other] != ports[c]);
		sendto(server, &number, sizeof(number), 0, (struct sockaddr *)&from, sizeof(from));
	}
	for (int c = 0; c < CLIENTS; c++) {
		for (int i = 0; i < ROUNDS; i++)
			assert_int_equal(hear(bed, clients[c]), c * ROUNDS + i);
		expect_nothing(bed, clients[c]);
		close(clients[c]);
	}
	assert_int_equal(bed->calls[OPEN], CLIENTS);
	close(server);
	bed_close(bed);
}

/* A connected client takes answers only from where it had sent to. */
static void wildcards_answer_from_where_they_were_asked(void **state)
{
	static const struct {
		const char *host, *own, *peer;
	} cases[] = {
		{"0.0.0.0", "127.0.0.1", "127.0.0.5"},
		{"0.0.0.0", "127.0.0.9", "127.0.0.1"},
		{"::", "::1", "fd00::5"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct bed *bed = bed_open(cases[i].host, false);
		int server = server_at(SERVER_PORT);
		int client = udp(cases[i].own, 40000, cases[i].peer, RELAY_PORT);
		uint16_t port = exchange(bed, client, server);

		assert_int_equal(exchange(bed, client, server), port);
		/* the same client to another of our addresses is another flow */
		close(client);
		client = udp(cases[i].own, 40000, cases[i].own, RELAY_PORT);
		assert_int_not_equal(exchange(bed, client, server), port);
		close(client);
		close(server);
		bed_close(bed);
	}
}

static void holds_until_retry(void **state)
{
	enum { CLIENTS = 3 };
	struct bed *bed = bed_open("127.0.0.1", true);
	int server = server_at(SERVER_PORT), clients[CLIENTS], next[CLIENTS] = {0};

	(void)state;
	bed->open_error = -EAGAIN;
	for (int c = 0; c < CLIENTS; c++)
		clients[c] = new_client();
	for (int i = 0; i < UDP_HELD_MAX + 3; i++) /* the last three are too many */
		for (int c = 0; c < CLIENTS; c++)
			say(clients[c], c * 100 + i);
	expect_nothing(bed, server);
	/* one answer counts for all */
	bed->calls[OPEN] = 0;
	udp_relay_retry(bed->relay);
	assert_int_equal(bed->calls[OPEN], 1);
	expect_nothing(bed, server);
	bed->open_error = 0;
	udp_relay_retry(bed->relay);
	assert_int_equal(bed->calls[OPEN], 1 + CLIENTS);
	for (int i = 0; i < UDP_HELD_MAX * CLIENTS; i++) {
		int number = hear(bed, server);

		assert_int_equal(number % 100, next[number / 100]++);
	}
	expect_nothing(bed, server);
	for (int c = 0; c < CLIENTS; c++) {
		exchange(bed, clients[c], server);
		close(clients[c]);
	}
	assert_int_equal(bed->calls[OPEN], 1 + CLIENTS);
	close(server);
	bed_close(bed);
}

/* Nobody calls retry: the next datagram finds out, and comes after those before it. */
static void the_next_datagram_asks_too(void **state)
{
	struct bed *bed = bed_open("127.0.0.1", false);
	int server = server_at(SERVER_PORT), client = new_client();

	(void)state;
	bed->open_error = -EAGAIN;
	say(client, 1);
	say(client, 2);
	expect_nothing(bed, server);
	bed->open_error = 0;
	say(client, 3);
	for (int i = 1; i <= 3; i++)
		assert_int_equal(hear(bed, server), i);
	close(client);
	close(server);
	bed_close(bed);
}

static void holds_as_long_as_it_is_told(void **state)
{
	struct bed *bed = bed_open("127.0.0.1", false);
	int server = server_at(SERVER_PORT), client = new_client();

	(void)state;
	clock_stop();
	bed->open_error = -EAGAIN;
	say(client, 1);
	expect_nothing(bed, -1);
	jump(HOLD_MS * 6 / 10);
	say(client, 2);
	expect_nothing(bed, -1);
	jump(HOLD_MS * 6 / 10);
	expect_nothing(bed, -1); /* the first one's time is over */
	udp_relay_set_hold_ms(bed->relay, 0);
	say(client, 3);
	expect_nothing(bed, -1);
	udp_relay_set_hold_ms(bed->relay, HOLD_MS);
	say(client, 4);
	expect_nothing(bed, -1);
	bed->open_error = 0;
	udp_relay_retry(bed->relay);
	assert_int_equal(hear(bed, server), 2);
	assert_int_equal(hear(bed, server), 4);
	expect_nothing(bed, server);
	close(client);
	close(server);
	bed_close(bed);
	clock_go_on();
}

/* A name that does not exist, no descriptors: what came is lost, what comes asks again. */
static void errors_of_open_drop(void **state)
{
	struct bed *bed = bed_open("127.0.0.1", false);
	int server = server_at(SERVER_PORT), client = new_client();

	(void)state;
	bed->open_error = -EAGAIN;
	say(client, 1);
	expect_nothing(bed, -1);
	bed->open_error = -EHOSTUNREACH;
	udp_relay_retry(bed->relay);
	say(client, 2);
	expect_nothing(bed, server);
	bed->open_error = 0;
	bed->calls[OPEN] = 0;
	udp_relay_retry(bed->relay); /* nothing waits */
	assert_int_equal(bed->calls[OPEN], 0);
	exchange(bed, client, server);
	/* descriptors are short: who has a target keeps it */
	int other = new_client();
	bed->budget.max = BUDGET_RESERVED + 1;
	say(other, 3);
	expect_nothing(bed, server);
	exchange(bed, client, server);
	bed->budget.max = 1000;
	exchange(bed, other, server);
	close(other);
	close(client);
	close(server);
	bed_close(bed);
}

static void a_refused_target_stays(void **state)
{
	for (int has_all_ops = 0; has_all_ops < 2; has_all_ops++) {
		struct bed *bed = bed_open("127.0.0.1", has_all_ops);
		int client = new_client();

		(void)state;
		for (unsigned i = 1; i <= 3; i++) {
			say(client, 1);
			expect_nothing(bed, client);
			assert_int_equal(bed->calls[ON_REFUSED], has_all_ops ? i : 0);
		}
		int server = server_at(SERVER_PORT);
		exchange(bed, client, server);
		assert_int_equal(bed->calls[OPEN], 1);
		close(server);
		close(client);
		bed_close(bed);
	}
}

static void a_refused_target_moves(void **state)
{
	struct bed *bed = bed_open("127.0.0.1", true);
	int server = server_at(SERVER_PORT), client = new_client();

	(void)state;
	exchange(bed, client, server);
	close(server);
	server = server_at(SERVER_PORT + 1);
	bed->moves = true;
	bed->server_port = SERVER_PORT + 1;
	say(client, 1); /* lost to find out */
	expect_nothing(bed, server);
	assert_int_equal(bed->calls[ON_REFUSED], 1);
	assert_int_equal(bed->calls[OPEN], 2);
	assert_int_equal(bed->last_client, port_of(client));
	exchange(bed, client, server);
	assert_int_equal(bed->calls[OPEN], 2);
	/* found out by sending: nothing is lost */
	close(server);
	server = server_at(SERVER_PORT);
	bed->server_port = SERVER_PORT;
	refuse_after = 0;
	for (int i = 1; i <= 3; i++)
		say(client, i);
	for (int i = 1; i <= 3; i++)
		assert_int_equal(hear(bed, server), i);
	assert_int_equal(bed->calls[OPEN], 3);
	/* a refusal of one before, the target stays: tried once more */
	bed->moves = false;
	refuse_after = 0;
	say(client, 4);
	assert_int_equal(hear(bed, server), 4);
	assert_int_equal(bed->calls[OPEN], 3);
	close(client);
	close(server);
	bed_close(bed);
}

/* The new place is not known yet when the old one refuses, in the middle of what was held. */
static void order_survives_a_refusal(void **state)
{
	struct bed *bed = bed_open("127.0.0.1", true);
	int server = server_at(SERVER_PORT), client = new_client();

	(void)state;
	bed->open_error = -EAGAIN;
	for (int i = 1; i <= 5; i++)
		say(client, i);
	expect_nothing(bed, -1);
	bed->moves = true;
	bed->move_error = -EAGAIN;
	bed->open_error = 0;
	refuse_after = 1;
	udp_relay_retry(bed->relay);
	assert_int_equal(hear(bed, server), 1);
	assert_int_equal(bed->calls[ON_REFUSED], 1);
	say(client, 6);
	expect_nothing(bed, server);
	bed->open_error = 0;
	udp_relay_retry(bed->relay);
	for (int i = 2; i <= 6; i++)
		assert_int_equal(hear(bed, server), i);
	expect_nothing(bed, server);
	close(client);
	close(server);
	bed_close(bed);
}

static void strangers_are_turned_away(void **state)
{
	struct bed *bed = bed_open("127.0.0.1", true);
	int server = server_at(SERVER_PORT), client = new_client();

	(void)state;
	bed->is_closed = true;
	for (int i = 0; i < 3; i++) {
		say(client, 1);
		expect_nothing(bed, server);
	}
	assert_int_equal(bed->calls[IS_ALLOWED], 1);
	bed->is_closed = false;
	say(client, 1); /* refused for a moment... */
	expect_nothing(bed, server);
	jump(1100); /* ...but not for good */
	exchange(bed, client, server);
	assert_int_equal(bed->calls[OPEN], 1);
	int fds = count_fds();
	bed->is_closed = true; /* the port is somebody else's now */
	say(client, 1);
	expect_nothing(bed, server);
	assert_int_equal(count_fds(), fds - 1);
	close(client);
	close(server);
	bed_close(bed);
}

static void idle_flows_are_forgotten(void **state)
{
	struct bed *bed = bed_open("127.0.0.1", false);
	int server = server_at(SERVER_PORT), settled = new_client(), fresh = new_client();

	(void)state;
	uint16_t port = exchange(bed, settled, server);
	exchange(bed, settled, server);
	exchange(bed, fresh, server);
	int fds = count_fds();
	jump((UDP_FRESH_S + 1) * 1000);
	expect_nothing(bed, -1);
	assert_int_equal(count_fds(), fds - 1);
	assert_int_equal(exchange(bed, settled, server), port);
	jump((UDP_SETTLED_S + 1) * 1000);
	expect_nothing(bed, -1);
	assert_int_equal(count_fds(), fds - 2);
	exchange(bed, fresh, server);
	close(fresh);
	close(settled);
	close(server);
	bed_close(bed);
}

/* Without descriptors the address that has most flows loses one to who has fewer. */
static void one_address_does_not_keep_others_out(void **state)
{
	struct bed *bed = bed_open("0.0.0.0", false);
	int server = server_at(SERVER_PORT), clients[8], others[2];
	uint16_t port = 0;

	(void)state;
	bed->budget.max = BUDGET_RESERVED + 5; /* one of which is for connections */
	for (size_t i = 0; i < COUNT(clients); i++)
		clients[i] = udp("127.0.0.2", 0, "127.0.0.1", RELAY_PORT);
	for (size_t i = 0; i < 4; i++)
		exchange(bed, clients[i], server);
	for (size_t i = 4; i < COUNT(clients); i++)
		say(clients[i], 1);
	expect_nothing(bed, server);
	for (size_t i = 0; i < COUNT(others); i++) {
		others[i] = udp(i ? "127.0.0.4" : "127.0.0.3", 0, "127.0.0.1", RELAY_PORT);
		port = exchange(bed, others[i], server);
		assert_int_equal(bed->budget.used, 4);
	}
	for (size_t i = 0; i < COUNT(clients); i++)
		say(clients[i], 1);
	/* those of them that have a target still have it */
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(hear(bed, server), 1);
	expect_nothing(bed, server);
	assert_int_equal(exchange(bed, others[1], server), port);
	for (size_t i = 0; i < COUNT(clients); i++)
		close(clients[i]);
	close(others[0]);
	close(others[1]);
	close(server);
	bed_close(bed);
}

/* Of a connection of @own's, at the end that is accepted. */
static int connection_from(const char *own, int *client)
{
	struct sockaddr_in at = {.sin_family = AF_INET}, from = {.sin_family = AF_INET};
	socklen_t len = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	from.sin_addr.s_addr = inet_addr(own);
	*client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
	assert_int_equal(bind(*client, (struct sockaddr *)&from, sizeof(from)), 0);
	connect(*client, (struct sockaddr *)&at, sizeof(at));
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	assert_true(fd >= 0);
	close(listener);
	return fd;
}

static bool is_open(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static size_t count_open(const int *fds, int count)
{
	size_t open = 0;

	for (int i = 0; i < count; i++)
		open += is_open(fds[i]);
	return open;
}

/* Nor do its connections, even where they are all there is room for; they lose one for each flow
 * that has a target, and to flows no more than a quarter of all. */
static void connections_do_not_keep_others_out(void **state)
{
	enum { CONNECTIONS = 10, MORE = 10, QUARTER = CONNECTIONS * 2 / 4 };
	struct bed *bed = bed_open("0.0.0.0", false);
	struct relay_pool *pool = relay_pool_new(bed->loop, &bed->budget);
	int server = server_at(SERVER_PORT), clients[CONNECTIONS], targets[CONNECTIONS], more[MORE];

	(void)state;
	bed->budget.max = BUDGET_RESERVED + 2 * CONNECTIONS;
	for (int i = 0; i < CONNECTIONS; i++) {
		int fd = connection_from("127.0.0.2", &clients[i]);
		assert_non_null(relay_start(
			pool, fd, connection_from("127.0.0.1", &targets[i]), NULL, NULL));
	}
	assert_false(budget_has_room(&bed->budget, 1));
	int same = udp("127.0.0.2", 0, "127.0.0.1", RELAY_PORT);
	say(same, 1);
	expect_nothing(bed, server);
	int others[] = {udp("127.0.0.3", 0, "127.0.0.1", RELAY_PORT),
		udp("127.0.0.3", 0, "127.0.0.1", RELAY_PORT)};
	bed->open_error = -EHOSTUNREACH;
	for (int i = 0; i < 20; i++) {
		say(others[i % 2], 1);
		expect_nothing(bed, server);
	}
	assert_int_equal(count_open(clients, CONNECTIONS), CONNECTIONS);
	bed->open_error = 0;
	exchange(bed, others[0], server);
	exchange(bed, others[1], server);
	assert_int_equal(count_open(clients, CONNECTIONS), CONNECTIONS - 2);
	assert_true(is_open(clients[CONNECTIONS - 1])); /* the oldest went */
	for (int i = 0; i < MORE; i++) {
		char ip[32];

		snprintf(ip, sizeof(ip), "127.0.0.%d", 10 + i);
		more[i] = udp(ip, 0, "127.0.0.1", RELAY_PORT);
		say(more[i], 1);
		for (int round = 0; round < 10; round++)
			assert_int_equal(loop_run_once(bed->loop, 1), 0);
	}
	assert_int_equal(count_open(clients, CONNECTIONS), CONNECTIONS - QUARTER);
	for (int i = 0; i < MORE; i++)
		close(more[i]);
	for (int i = 0; i < CONNECTIONS; i++)
		close(clients[i]), close(targets[i]);
	close(same);
	close(others[0]);
	close(others[1]);
	close(server);
	relay_pool_free(pool);
	bed_close(bed);
}

/* Both clients say much, more than a batch, taking turns. */
static void say_much(const int *clients)
{
	for (int i = 0; i < 80; i++)
		say(clients[i % 2], i);
}

/* Found out by an event, by sending, or by sending what was held. */
static void meet_a_refusal(struct bed *bed, const int *clients, int *server, int variant)
{
	if (variant == 0)
		fd_close(server);
	else if (variant == 1)
		refuse_after = 0;
	else
		bed->open_error = -EAGAIN;
	say_much(clients);
	if (variant != 2)
		return;
	expect_nothing(bed, -1);
	bed->open_error = 0;
	refuse_after = 0;
	udp_relay_retry(bed->relay);
}

static void answer_much(struct bed *bed, const int *clients, int server)
{
	struct sockaddr_in from;

	say_much(clients);
	for (int i = 0; i < 80; i++)
		hear_from(bed, server, &from);
	for (int i = 0; i < 80; i++)
		sendto(server, &i, sizeof(i), 0, (struct sockaddr *)&from, sizeof(from));
}

static void free_in(enum callback callback, int variant, bool keeps_listener)
{
	static const int open_errors[] = {0, -EAGAIN, -EMFILE};
	struct bed *bed = bed_open("127.0.0.1", true);
	int server = server_at(SERVER_PORT), clients[] = {new_client(), new_client()};

	bed->frees = callback;
	bed->keeps_listener = keeps_listener;
	bed->open_error = callback == OPEN ? open_errors[variant] : 0;
	bed->is_closed = callback == IS_ALLOWED && variant == 1;
	bed->moves = callback == ON_REFUSED && variant > 0;
	if (callback == ON_ANSWER)
		answer_much(bed, clients, server);
	else if (callback == ON_REFUSED)
		meet_a_refusal(bed, clients, &server, variant);
	else
		say_much(clients);
	expect_nothing(bed, -1);
	assert_null(bed->relay);
	assert_int_equal(bed->calls[callback], 1);
	if (keeps_listener && callback == ON_CLIENTS) /* nothing was taken from it any more */
		assert_int_equal(hear(bed, bed->listener), 0);
	if (keeps_listener)
		say(clients[0], 1);
	expect_nothing(bed, -1);
	fd_close(&server);
	close(clients[0]);
	close(clients[1]);
	refuse_after = -1;
	bed_close(bed);
}

static void may_be_freed_in_callbacks(void **state)
{
	(void)state;
	for (enum callback callback = OPEN; callback < CALLBACKS; callback++)
		for (int variant = 0; variant < 6; variant++)
			free_in(callback, variant % 3, variant >= 3);
}

/* While it goes from one flow to the next. */
static void may_be_freed_in_a_retry(void **state)
{
	(void)state;
	for (int error = -EMFILE; error <= 0; error += EMFILE) {
		struct bed *bed = bed_open("127.0.0.1", true);
		int clients[] = {new_client(), new_client()};

		bed->open_error = -EAGAIN;
		say_much(clients);
		expect_nothing(bed, -1);
		bed->open_error = error;
		bed->frees = OPEN;
		udp_relay_retry(bed->relay);
		assert_null(bed->relay);
		close(clients[0]);
		close(clients[1]);
		bed_close(bed);
	}
}

/* As the launcher does it when it sees that the guest listens. */
static void may_be_retried_in_callbacks(void **state)
{
	static const enum callback callbacks[] = {IS_ALLOWED, ON_CLIENTS, ON_ANSWER};

	(void)state;
	for (size_t i = 0; i < COUNT(callbacks); i++) {
		struct bed *bed = bed_open("127.0.0.1", true);
		int server = server_at(SERVER_PORT), early = new_client(), client = new_client();
		struct sockaddr_in from;

		exchange(bed, client, server);
		if (callbacks[i] == ON_ANSWER) {
			say(client, 0);
			assert_int_equal(hear_from(bed, server, &from), 0);
		}
		bed->open_error = -EAGAIN;
		say(early, 1);
		say(early, 2);
		expect_nothing(bed, server);
		bed->retries = callbacks[i];
		if (callbacks[i] == ON_ANSWER)
			sendto(server, &(int){4}, sizeof(int), 0, (struct sockaddr *)&from,
				sizeof(from));
		else
			say(client, 3);
		assert_int_equal(hear(bed, server), 1);
		assert_int_equal(hear(bed, server), 2);
		if (callbacks[i] == ON_ANSWER)
			assert_int_equal(hear(bed, client), 4);
		else
			assert_int_equal(hear(bed, server), 3);
		bed->retries = NONE;
		exchange(bed, early, server);
		exchange(bed, client, server);
		close(early);
		close(client);
		close(server);
		bed_close(bed);
	}
}

/* Within a retry: what is held has been served when it goes on. */
static void may_be_retried_in_a_refusal(void **state)
{
	struct bed *bed = bed_open("127.0.0.1", true);
	int server = server_at(SERVER_PORT), client = new_client(), sum = 0;

	(void)state;
	bed->open_error = -EAGAIN;
	for (int i = 1; i <= 4; i++)
		say(client, i);
	expect_nothing(bed, -1);
	bed->open_error = 0;
	bed->retries = ON_REFUSED;
	refuse_after = 1;
	udp_relay_retry(bed->relay);
	for (int i = 1; i <= 4; i++)
		sum += hear(bed, server);
	assert_int_equal(sum, 1 + 2 + 3 + 4);
	expect_nothing(bed, server);
	close(client);
	close(server);
	bed_close(bed);
}

static int set_lo_up(void **state)
{
	struct in6_addr addr;
	int rtnl = netdev_open(), lo = netdev_index(rtnl, "lo");

	(void)state;
	inet_pton(AF_INET6, "fd00::5", &addr);
	return netdev_set_up(rtnl, lo, 0) || netdev_add_addr(rtnl, lo, AF_INET6, &addr, 128) ||
	       close(rtnl);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_go_to_who_asked),
		cmocka_unit_test(wildcards_answer_from_where_they_were_asked),
		cmocka_unit_test(holds_until_retry),
		cmocka_unit_test(the_next_datagram_asks_too),
		cmocka_unit_test(holds_as_long_as_it_is_told),
		cmocka_unit_test(errors_of_open_drop),
		cmocka_unit_test(a_refused_target_stays),
		cmocka_unit_test(a_refused_target_moves),
		cmocka_unit_test(order_survives_a_refusal),
		cmocka_unit_test(strangers_are_turned_away),
		cmocka_unit_test(idle_flows_are_forgotten),
		cmocka_unit_test(one_address_does_not_keep_others_out),
		cmocka_unit_test(connections_do_not_keep_others_out),
		cmocka_unit_test(may_be_freed_in_callbacks),
		cmocka_unit_test(may_be_freed_in_a_retry),
		cmocka_unit_test(may_be_retried_in_callbacks),
		cmocka_unit_test(may_be_retried_in_a_refusal),
	};

	netns_enter_or_skip();
	return cmocka_run_group_tests(tests, set_lo_up, NULL);
}
