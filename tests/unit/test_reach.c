/* SPDX-License-Identifier: Apache-2.0 */
/* test_reach - a tunnel's client: how many connections wait, what they lead to, and a server that
 * goes */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <netdb.h>
#include <stdatomic.h>
#include <stdio.h>

#include "util/fd.h"
#include "util/log.h"

#include "clock_ahead.h"
#include "tunnel_server_bed.h"

#include "tunnel/reach.h"

struct bed {
	struct tunnel_server_bed server; /* the first: it is what connects */
	struct reach_start start;
	struct reach *reach;
	struct order orders[2];
	unsigned ups, downs;
	bool is_lennut;
	char why[100];
	int target; /* it listens */
	struct addr at;
};

static atomic_bool are_names_known;

/* Stands before the one of the C library: there is no such name, which takes as long as it is told
 * to. */
int getaddrinfo(
	const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
	(void)name, (void)service, (void)hints, (void)out;
	while (!are_names_known)
		usleep(1000);
	return EAI_NONAME;
}

static void on_up(void *owner, bool is_lennut)
{
	struct bed *bed = owner;

	bed->ups++;
	bed->is_lennut = is_lennut;
}

static void on_down(void *owner, const char *why)
{
	struct bed *bed = owner;

	bed->downs++;
	snprintf(bed->why, sizeof(bed->why), "%s", why);
}

static int listen_here(struct addr *at)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	*at = addr_loopback4(0);
	assert_return_code(bind(fd, &at->any, addr_len(at)), errno);
	assert_return_code(listen(fd, 64), errno);
	assert_int_equal(addr_get_own(fd, at), 0);
	return fd;
}

static void bed_prepare(struct bed *bed)
{
	*bed = (struct bed){.reach = NULL};
	server_bed_open(&bed->server, HAIL_ANY);
	bed->target = listen_here(&bed->at);
	bed->start = (struct reach_start){.context = &bed->server.under.context,
		.passage = &bed->server.under.passage,
		.target = {.addr = bed->at},
		.has_target = true,
		.orders = bed->orders,
		.server_text = "gw",
		.connect = server_bed_connect,
		.on_up = on_up,
		.on_down = on_down,
		.owner = bed};
}

static void bed_start(struct bed *bed)
{
	struct err err;

	bed->reach = reach_new(&bed->start, &err);
	assert_non_null(bed->reach);
	tunnel_bed_settle(&bed->server.under);
}

/* The server is there, and as many wait as do without being asked for more. */
static void come_up(struct bed *bed)
{
	reach_pause(bed->reach, false);
	for (size_t i = 0; i < REACH_WAITING_MIN; i++)
		server_welcomes(&bed->server, i);
	assert_int_equal(bed->server.count, REACH_WAITING_MIN);
	assert_int_equal(bed->ups, 1);
}

static void bed_open(struct bed *bed)
{
	bed_prepare(bed);
	bed_start(bed);
	come_up(bed);
}

static void bed_close(struct bed *bed)
{
	reach_free(bed->reach);
	fd_close(&bed->target);
	server_bed_close(&bed->server);
}

static struct reach_counts counts(struct bed *bed)
{
	tunnel_bed_settle(&bed->server.under);
	return reach_counts(bed->reach);
}

static void pass(struct bed *bed, uint64_t ms)
{
	server_bed_pass(&bed->server, ms);
}

/* Somebody has come in at the server: "PEER", or "NAME", a NUL and that. */
static void use(struct bed *bed, size_t at, const char *text, size_t len)
{
	assert_int_equal(hail_send(bed->server.fds[at], HAIL_OPEN, text, len), 0);
	assert_int_equal(server_hail(&bed->server, at).type, HAIL_TAKEN);
}

static int accept_target(struct bed *bed)
{
	tunnel_bed_settle(&bed->server.under);
	int fd = accept(bed->target, NULL, NULL);
	assert_return_code(fd, errno);
	return fd;
}

static void assert_carries(struct bed *bed, int from, int to, const char *text)
{
	const size_t len = strlen(text);
	char got[128];

	assert_int_equal(send(from, text, len, MSG_NOSIGNAL), len);
	tunnel_bed_settle(&bed->server.under);
	assert_int_equal(recv(to, got, sizeof(got), MSG_DONTWAIT), len);
	assert_memory_equal(got, text, len);
}

/* Nothing listens there any more, but the place is kept. */
static void lose_target(struct bed *bed)
{
	shutdown(bed->target, SHUT_RDWR);
}

/* --- what waits ------------------------------------------------------------------------------ */

static void the_servers_side_comes_and_goes(void **state)
{
	struct bed bed;

	(void)state;
	bed_prepare(&bed);
	bed_start(&bed);
	pass(&bed, 10 * REACH_PAUSE_MAX_MS);
	assert_int_equal(bed.server.count, 0); /* it is not there yet */
	assert_false(counts(&bed).is_up);
	reach_pause(bed.reach, false);
	tunnel_bed_settle(&bed.server.under);
	assert_int_equal(bed.server.count, 1); /* one, as long as nobody has answered */
	assert_int_equal(bed.ups, 0);
	server_welcomes(&bed.server, 0);
	assert_int_equal(bed.ups, 1);
	assert_false(bed.is_lennut);
	server_welcomes(&bed.server, 1);
	assert_int_equal(bed.ups, 1);
	assert_true(counts(&bed).is_up);
	assert_int_equal(counts(&bed).waiting, REACH_WAITING_MIN);
	use(&bed, 0, "who", 3);
	assert_int_equal(close(accept_target(&bed)), 0);
	reach_pause(bed.reach, true);
	assert_true(server_was_left(&bed.server, 1));
	assert_false(counts(&bed).is_up);
	assert_int_equal(counts(&bed).waiting, 0);
	size_t count = bed.server.count;
	pass(&bed, 10 * REACH_PAUSE_MAX_MS);
	assert_int_equal(bed.server.count, count);
	reach_pause(bed.reach, false);
	tunnel_bed_settle(&bed.server.under);
	assert_int_equal(bed.server.count, count + 1);
	server_welcomes(&bed.server, count);
	assert_int_equal(bed.ups, 2);
	assert_int_equal(bed.downs, 0); /* its owner knew */
	bed_close(&bed);
}

static void one_that_is_used_is_replaced(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	for (size_t i = 0; i < 5; i++) {
		use(&bed, i, "192.0.2.1:9", 11);
		server_welcomes(&bed.server, i + REACH_WAITING_MIN);
		int fd = accept_target(&bed);
		assert_int_equal(server_hail(&bed.server, i).type, HAIL_OPENED);
		assert_carries(&bed, fd, bed.server.fds[i], "there");
		assert_carries(&bed, bed.server.fds[i], fd, "and back");
		close(fd);
		struct reach_counts now = counts(&bed);
		assert_int_equal(now.served, i + 1);
		assert_int_equal(now.waiting, REACH_WAITING_MIN);
		assert_int_equal(now.connecting + now.refused, 0);
	}
	bed_close(&bed);
}

static void ask_more(struct bed *bed, size_t at, uint32_t more)
{
	assert_int_equal(hail_send_number(bed->server.fds[at], HAIL_MORE, more), 0);
	tunnel_bed_settle(&bed->server.under);
}

static void more_are_asked_for_and_go(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	ask_more(&bed, 0, 3);
	assert_int_equal(counts(&bed).waiting, REACH_WAITING_MIN + 3);
	for (size_t i = 2; i < 5; i++)
		server_welcomes(&bed.server, i);
	use(&bed, 4, "who", 3);
	server_welcomes(&bed.server, 5); /* it is replaced, as more are wanted */
	pass(&bed, REACH_SURPLUS_MS);    /* there was use for them */
	assert_int_equal(counts(&bed).waiting, REACH_WAITING_MIN + 3);
	pass(&bed, REACH_SURPLUS_MS);
	assert_int_equal(counts(&bed).waiting, REACH_WAITING_MIN);
	size_t left = 0;
	for (size_t i = 0; i < 6; i++)
		left += i != 4 && server_was_left(&bed.server, i);
	assert_int_equal(left, 3);
	pass(&bed, 4 * REACH_SURPLUS_MS);
	assert_int_equal(counts(&bed).waiting, REACH_WAITING_MIN); /* no fewer */
	bed_close(&bed);
}

/* Whatever the server asks for: there is an end, and some descriptors are left for targets. */
static void not_as_many_as_anybody_wants(void **state)
{
	static const uint32_t numbers[] = {1000, 65536, UINT32_MAX};
	struct bed bed;

	(void)state;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		bed_open(&bed);
		struct budget *budget = &bed.server.under.budget;
		budget->max = budget->used + budget_reserve(budget) + 2 * 10;
		ask_more(&bed, 0, numbers[i]);
		assert_in_range(bed.server.count, 7, SERVER_MAX - 1);
		assert_true(budget_has_room(budget, 2));
		use(&bed, 0, "who", 3); /* and they are of use */
		close(accept_target(&bed));
		bed_close(&bed);
	}
}

/* --- what they lead to ----------------------------------------------------------------------- */

static void a_refusal_is_passed_on(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	lose_target(&bed);
	for (unsigned i = 1; i <= 3; i++) { /* the same one waits again */
		use(&bed, 0, "who", 3);
		assert_int_equal(server_hail(&bed.server, 0).type, HAIL_REFUSED);
		assert_int_equal(counts(&bed).refused, i);
		assert_int_equal(counts(&bed).served + counts(&bed).connecting, 0);
		/* with the one that took its place meanwhile */
		assert_int_equal(counts(&bed).waiting, REACH_WAITING_MIN + 1);
	}
	assert_int_equal(bed.server.count, REACH_WAITING_MIN + 1);
	bed_close(&bed);
}

/* It is being connected to until are_names_known, and then not to be had. */
static struct dial_target slow_target(void)
{
	are_names_known = false;
	return (struct dial_target){.host = "name.invalid", .port = 1};
}

/* Its end may have more places than this one. */
static void an_address_with_too_many_is_refused(void **state)
{
	static const char with_most[] = "[fe80::1]:999", other[] = "192.0.2.2:999";
	struct bed bed;

	(void)state;
	bed_open(&bed);
	bed.server.under.budget.places = 2;
	use(&bed, 0, with_most, sizeof(with_most) - 1);
	int fd = accept_target(&bed);
	assert_int_equal(server_hail(&bed.server, 0).type, HAIL_OPENED);
	use(&bed, 1, with_most, sizeof(with_most) - 1);
	assert_int_equal(server_hail(&bed.server, 1).type, HAIL_REFUSED);
	assert_int_equal(counts(&bed).refused, 1);
	use(&bed, 1, other, sizeof(other) - 1);
	close(accept_target(&bed));
	assert_int_equal(server_hail(&bed.server, 1).type, HAIL_OPENED);
	close(fd);
	bed_close(&bed);
}

/* What is being connected counts as well, until that has come to nothing. */
static void an_address_with_too_many_under_way_is_refused(void **state)
{
	struct bed bed;

	(void)state;
	bed_prepare(&bed);
	bed.start.target = slow_target();
	bed.server.under.budget.places = 2;
	bed_start(&bed);
	come_up(&bed);
	use(&bed, 0, "192.0.2.1:999", 13);
	server_welcomes(&bed.server, 2);
	use(&bed, 1, "192.0.2.1:999", 13);
	assert_int_equal(counts(&bed).connecting, 1);
	assert_int_equal(server_hail(&bed.server, 1).type, HAIL_REFUSED);
	are_names_known = true;
	assert_int_equal(server_hail(&bed.server, 0).type, HAIL_REFUSED);
	are_names_known = false;
	use(&bed, 1, "192.0.2.1:999", 13);
	assert_int_equal(counts(&bed).connecting, 1);
	are_names_known = true;
	assert_int_equal(server_hail(&bed.server, 1).type, HAIL_REFUSED);
	bed_close(&bed);
}

static void who_it_is_is_told(void **state)
{
	struct bed bed;
	char text[128] = {0};

	(void)state;
	bed_prepare(&bed);
	bed.start.proxy_version = 1;
	bed_start(&bed);
	come_up(&bed);
	use(&bed, 0, "\000192.0.2.1:999\000192.0.2.9:80", 27);
	int fd = accept_target(&bed);
	assert_int_equal(server_hail(&bed.server, 0).type, HAIL_OPENED);
	assert_true(recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT) > 0);
	assert_string_equal(text, "PROXY TCP4 192.0.2.1 192.0.2.9 999 80\r\n");
	assert_carries(&bed, bed.server.fds[0], fd, "bytes");
	close(fd);
	bed_close(&bed);
}

/* A connection for messages, and those for what it has asked for. */
static void what_is_led_through_by_name(void **state)
{
	struct bed bed;

	(void)state;
	for (int has_target = 0; has_target < 2; has_target++) {
		bed_prepare(&bed);
		char text[64], place[ADDR_TEXT_BYTES];
		snprintf(text, sizeof(text), "web=127.0.0.1:0:%s",
			addr_format(&bed.at, place, sizeof(place)));
		bed.orders[0] = tunnel_order(text);
		bed.start.norders = 1;
		bed.start.has_target = has_target;
		bed_start(&bed);
		bed.server.kind = has_target ? HAIL_ANY : HAIL_NAMED;
		reach_pause(bed.reach, false);
		server_welcomes(&bed.server, 0);
		size_t at = 0;
		for (size_t i = 1; i < 3; i++) { /* in whatever order */
			char peeked[HAIL_BYTES + HAIL_HEADER_BYTES + HAIL_ID_BYTES + 1];
			tunnel_bed_settle(&bed.server.under);
			assert_int_equal(recv(bed.server.fds[i], peeked, sizeof(peeked),
						 MSG_DONTWAIT | MSG_PEEK),
				sizeof(peeked));
			bool is_control = peeked[sizeof(peeked) - 1] == HAIL_CONTROL;
			at = is_control ? i : at;
			bed.server.kind = is_control   ? HAIL_CONTROL
					  : has_target ? HAIL_ANY
						       : HAIL_NAMED;
			server_welcomes(&bed.server, i);
		}
		assert_true(at > 0);
		assert_int_equal(server_hail(&bed.server, at).type, HAIL_ORDER);
		server_answers(&bed.server, at, HAIL_GRANTED, "web", "127.0.0.1:8000");
		json_t *all = reach_tell_forwards(bed.reach);
		assert_string_equal(
			json_string_value(json_object_get(json_array_get(all, 0), "from")),
			"127.0.0.1:8000");
		json_decref(all);
		use(&bed, 0, "web\0who", 7);
		int fd = accept_target(&bed);
		assert_int_equal(server_hail(&bed.server, 0).type, HAIL_OPENED);
		assert_carries(&bed, bed.server.fds[0], fd, "bytes");
		close(fd);
		/* for a name that nobody has asked for is nothing connected; without one it is the
		 * target, if there is one */
		size_t other = at == 1 ? 2 : 1;
		use(&bed, other, "db\0who", 6);
		assert_int_equal(server_hail(&bed.server, other).type, HAIL_REFUSED);
		use(&bed, other, "who", 3);
		assert_int_equal(server_hail(&bed.server, other).type,
			has_target ? HAIL_OPENED : HAIL_REFUSED);
		assert_int_equal(counts(&bed).served, 1 + has_target);
		assert_int_equal(counts(&bed).refused, 2 - has_target);
		reach_drain(bed.reach); /* nobody need be held for it */
		assert_int_equal(server_hail(&bed.server, at).type, HAIL_LEAVE);
		assert_true(server_was_left(&bed.server, at));
		bed_close(&bed);
	}
}

/* Who came in has gone before the target was there: nothing is told, nothing is left. */
static void who_asked_has_gone(void **state)
{
	struct bed bed;

	(void)state;
	bed_prepare(&bed);
	bed.start.target = slow_target();
	bed_start(&bed);
	come_up(&bed);
	use(&bed, 0, "who", 3);
	server_welcomes(&bed.server, 2);
	assert_int_equal(counts(&bed).connecting, 1);
	shutdown(bed.server.fds[0], SHUT_RDWR);
	struct reach_counts now = counts(&bed);
	assert_true(now.is_up);
	assert_int_equal(now.served + now.refused + now.connecting, 0);
	assert_int_equal(now.waiting, REACH_WAITING_MIN);
	are_names_known = true;
	pass(&bed, 100);
	assert_int_equal(counts(&bed).refused + bed.downs, 0);
	bed_close(&bed);
}

#define TEN          "1234567890"
#define LONG_DIALLED "\0who\0" TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

static void what_is_no_message_costs_the_connection(void **state)
{
	static const struct {
		enum hail_type type;
		const char *text;
		size_t len;
	} bad[] = {{HAIL_MORE, "ab", 2}, {HAIL_MORE, "abcde", 5}, {HAIL_MORE, "", 0},
		{HAIL_GRANTED, "web\0a", 5}, {HAIL_TAKEN, "", 0}, {HAIL_OPENED, "", 0},
		{HAIL_OPEN, "a-name-that-is-longer-than-one-may-be\0who", 41},
		{HAIL_OPEN, LONG_DIALLED, sizeof(LONG_DIALLED) - 1}, {HAIL_WELCOME, "\0\0\1\0", 4}};
	char peer[ADDR_TEXT_BYTES];
	struct bed bed;

	(void)state;
	memset(peer, '1', sizeof(peer));
	for (size_t i = 0; i <= sizeof(bad) / sizeof(bad[0]); i++) {
		bed_open(&bed);
		if (i == sizeof(bad) / sizeof(bad[0])) /* an address that none is */
			assert_int_equal(
				hail_send(bed.server.fds[0], HAIL_OPEN, peer, sizeof(peer)), 0);
		else
			assert_int_equal(
				hail_send(bed.server.fds[0], bad[i].type, bad[i].text, bad[i].len),
				0);
		assert_true(server_was_left(&bed.server, 0));
		assert_true(counts(&bed).is_up); /* the other one waits */
		pass(&bed, 2 * REACH_PAUSE_MS);  /* and there is one in its place */
		assert_int_equal(counts(&bed).waiting, REACH_WAITING_MIN);
		assert_int_equal(accept(bed.target, NULL, NULL), -1);
		assert_int_equal(bed.downs, 0);
		bed_close(&bed);
	}
}

/* --- a server that goes ---------------------------------------------------------------------- */

static void a_server_that_goes(void **state)
{
	uint64_t longest_ms = 0;
	struct bed bed;

	(void)state;
	bed_open(&bed);
	server_closes(&bed.server, 0);
	assert_int_equal(bed.downs, 0);
	server_closes(&bed.server, 0);
	assert_int_equal(bed.downs, 1);
	assert_string_equal(bed.why, "it closed the connection");
	assert_false(counts(&bed).is_up);
	for (int i = 0; i < 12; i++) { /* one is tried, again and again */
		uint64_t ms = 0;

		for (; bed.server.count == 0; ms += 50) {
			assert_true(ms < 2 * REACH_PAUSE_MAX_MS);
			pass(&bed, 50);
		}
		longest_ms = ms > longest_ms ? ms : longest_ms;
		assert_int_equal(bed.server.count, 1);
		server_closes(&bed.server, 0);
	}
	assert_in_range(longest_ms, REACH_PAUSE_MAX_MS * 3 / 4, REACH_PAUSE_MAX_MS * 5 / 4 + 100);
	assert_int_equal(bed.downs, 1); /* told once */
	for (int i = 0; i < 1000 && bed.server.count == 0; i++)
		pass(&bed, 50);
	server_welcomes(&bed.server, 0);
	server_welcomes(&bed.server, 1);
	assert_int_equal(bed.ups, 2);
	/* and it is tried as soon as at first, the next time */
	server_closes(&bed.server, 0);
	server_closes(&bed.server, 0);
	assert_int_equal(bed.downs, 2);
	pass(&bed, REACH_PAUSE_MS * 5 / 4 + 1);
	assert_int_equal(bed.server.count, 1);
	bed_close(&bed);
}

static void a_server_that_is_silent(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed); /* it said that it asks every 600 s */
	use(&bed, 0, "who", 3);
	server_welcomes(&bed.server, 2);
	int fd = accept_target(&bed);
	assert_int_equal(server_hail(&bed.server, 0).type, HAIL_OPENED);
	for (int i = 0; i < 4; i++)
		pass(&bed, 599 * 1000);
	assert_int_equal(bed.downs, 0);
	/* who is silent on one is on all of them */
	assert_int_equal(hail_send(bed.server.fds[2], HAIL_PING, NULL, 0), 0);
	assert_int_equal(server_hail(&bed.server, 2).type, HAIL_PONG);
	pass(&bed, 5000);
	assert_int_equal(bed.downs, 1);
	assert_string_equal(bed.why, "it does not answer");
	assert_true(server_was_left(&bed.server, 1) && server_was_left(&bed.server, 2));
	/* what is joined is not its own any more */
	assert_carries(&bed, bed.server.fds[0], fd, "bytes");
	close(fd);
	bed_close(&bed);
}

/* --- lennut's -------------------------------------------------------------------------------- */

static void a_server_of_lennuts(void **state)
{
	int fds[2 * REACH_LENNUT_READY], count = 0;
	char text[16];
	struct bed bed;

	(void)state;
	bed_prepare(&bed);
	int server = listen_here(&bed.start.server.addr);
	bed.start.connect = NULL;
	bed_start(&bed);
	fds[count++] = accept(server, NULL, NULL);
	assert_return_code(fds[0], errno);
	assert_int_equal(accept(server, NULL, NULL), -1); /* one at first */
	pass(&bed, SPOKE_SILENT_MS + 1);
	assert_true(bed.ups == 1 && bed.is_lennut && counts(&bed).is_lennut);
	while ((fds[count] = accept(server, NULL, NULL)) >= 0)
		count++;
	assert_int_equal(count, REACH_LENNUT_READY);
	assert_int_equal(counts(&bed).waiting, REACH_LENNUT_READY);
	assert_int_equal(send(fds[0], HAIL_LENNUT "bytes", HAIL_BYTES + 5, 0), HAIL_BYTES + 5);
	int fd = accept_target(&bed);
	tunnel_bed_settle(&bed.server.under);
	assert_int_equal(recv(fd, text, sizeof(text), MSG_DONTWAIT), 5);
	assert_carries(&bed, fd, fds[0], "back");
	assert_int_equal(counts(&bed).served, 1);
	assert_int_equal(counts(&bed).waiting, REACH_LENNUT_READY);
	close(fd);
	/* its wire has no word for a refusal */
	lose_target(&bed);
	assert_int_equal(send(fds[1], HAIL_LENNUT, HAIL_BYTES, 0), HAIL_BYTES);
	tunnel_ends(&bed.server.under, fds[1]);
	assert_int_equal(counts(&bed).refused, 1);
	pass(&bed, 4 * REACH_SURPLUS_MS); /* it has none that is too many */
	assert_int_equal(counts(&bed).waiting, REACH_LENNUT_READY);
	for (int i = 0; i < count; i++)
		close(fds[i]);
	close(server);
	bed_close(&bed);
}

/* --- ends ------------------------------------------------------------------------------------ */

static void nothing_new_while_it_drains(void **state)
{
	struct bed bed;

	(void)state;
	for (int is_refused = 0; is_refused < 2; is_refused++) {
		bed_prepare(&bed);
		if (is_refused)
			bed.start.target = slow_target();
		bed_start(&bed);
		come_up(&bed);
		use(&bed, 0, "who", 3);
		assert_int_equal(reach_counts(bed.reach).connecting, is_refused);
		server_welcomes(&bed.server, 2);
		reach_drain(bed.reach);
		for (size_t i = 1; i < 3; i++)
			assert_true(server_was_left(&bed.server, i));
		are_names_known = true;
		/* what is being connected goes on, and is not there for a next one */
		assert_int_equal(
			server_hail(&bed.server, 0).type, is_refused ? HAIL_REFUSED : HAIL_OPENED);
		if (is_refused)
			assert_true(server_was_left(&bed.server, 0));
		struct reach_counts now = counts(&bed);
		assert_int_equal(now.connecting + now.waiting, 0);
		size_t count = bed.server.count;
		pass(&bed, 10 * REACH_PAUSE_MAX_MS);
		assert_int_equal(bed.server.count, count);
		if (!is_refused) {
			int fd = accept_target(&bed);
			assert_carries(&bed, bed.server.fds[0], fd, "bytes");
			close(fd);
		}
		bed_close(&bed);
	}
}

static void where_it_cannot_listen(void **state)
{
	struct err err = {0};
	char text[64], place[ADDR_TEXT_BYTES];
	struct bed bed;

	(void)state;
	bed_prepare(&bed);
	snprintf(text, sizeof(text), "db=%s:there:1", addr_format(&bed.at, place, sizeof(place)));
	assert_int_equal(order_parse("web=127.0.0.1:0:here:1", true, &bed.orders[0], &err), 0);
	assert_int_equal(order_parse(text, true, &bed.orders[1], &err), 0);
	bed.start.norders = 2;
	assert_null(reach_new(&bed.start, &err));
	assert_int_equal(err.code, EADDRINUSE);
	assert_true(strlen(err.text) > 0);
	bed_close(&bed);
}

/* Freed after each number of rounds of a life: nothing is left, and nobody is told. */
static void it_ends_at_any_moment(void **state)
{
	struct bed bed;

	(void)state;
	for (int rounds = 0; rounds < 30; rounds++) {
		bed_prepare(&bed);
		bed.start.target = rounds % 2 ? slow_target() : bed.start.target;
		bed.reach = reach_new(&bed.start, NULL);
		assert_non_null(bed.reach);
		reach_pause(bed.reach, false);
		for (int i = 0; i < rounds; i++) {
			assert_int_equal(loop_run_once(bed.server.under.loop, 0), 0);
			if (bed.server.count == 0)
				continue;
			if (i == 4)
				hail_send_number(bed.server.fds[0], HAIL_WELCOME, 1000);
			if (i == 8)
				hail_send(bed.server.fds[0], HAIL_OPEN, "who", 3);
		}
		bool is_joined = reach_counts(bed.reach).served > 0; /* it goes on */
		reach_free(bed.reach);
		bed.reach = NULL;
		are_names_known = true;
		unsigned told = bed.ups + bed.downs;
		pass(&bed, 10 * REACH_PAUSE_MAX_MS);
		assert_int_equal(bed.ups + bed.downs, told);
		for (size_t i = is_joined; i < bed.server.count; i++)
			tunnel_ends(&bed.server.under, bed.server.fds[i]);
		if (is_joined) {
			int fd = accept_target(&bed);
			assert_carries(&bed, bed.server.fds[0], fd, "bytes");
			close(fd);
		}
		bed_close(&bed);
	}
	reach_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_servers_side_comes_and_goes),
		cmocka_unit_test(one_that_is_used_is_replaced),
		cmocka_unit_test(more_are_asked_for_and_go),
		cmocka_unit_test(not_as_many_as_anybody_wants),
		cmocka_unit_test(a_refusal_is_passed_on),
		cmocka_unit_test(an_address_with_too_many_is_refused),
		cmocka_unit_test(an_address_with_too_many_under_way_is_refused),
		cmocka_unit_test(who_it_is_is_told),
		cmocka_unit_test(what_is_led_through_by_name),
		cmocka_unit_test(who_asked_has_gone),
		cmocka_unit_test(what_is_no_message_costs_the_connection),
		cmocka_unit_test(a_server_that_goes),
		cmocka_unit_test(a_server_that_is_silent),
		cmocka_unit_test(a_server_of_lennuts),
		cmocka_unit_test(nothing_new_while_it_drains),
		cmocka_unit_test(where_it_cannot_listen),
		cmocka_unit_test(it_ends_at_any_moment),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
