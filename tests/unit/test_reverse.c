/* SPDX-License-Identifier: Apache-2.0 */
/* test_reverse - who comes in at a tunnel's client: led on, refused, held while the server is away
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include "util/fd.h"
#include "util/log.h"

#include "clock_ahead.h"
#include "tunnel_server_bed.h"

#include "tunnel/reverse.h"

struct bed {
	struct tunnel_server_bed under;
	struct envoy envoy;
	struct reverse reverse;
	struct order orders[2]; /* one is led the other way */
	struct wish *wish;
	struct addr at;
};

static void set(struct bed *bed, enum wish_state state)
{
	bed->wish->state = state;
	reverse_answer(&bed->reverse, bed->wish);
	tunnel_bed_settle(&bed->under.under);
}

/* The server is there: REVERSE_READY connections wait, and one for each who is held. */
static void come_up(struct bed *bed, size_t held)
{
	set(bed, WISH_GRANTED);
	for (size_t i = 0; i < REVERSE_READY + held; i++)
		server_welcomes(&bed->under, i);
	assert_int_equal(bed->under.count, REVERSE_READY + held);
}

static void bed_open(struct bed *bed)
{
	struct err err;

	*bed = (struct bed){.wish = NULL};
	server_bed_open(&bed->under, HAIL_REVERSE);
	assert_int_equal(order_parse("db=127.0.0.1:0:here:1", false, &bed->orders[0], &err), 0);
	assert_int_equal(order_parse("db=127.0.0.1:0:there:5432", true, &bed->orders[1], &err), 0);
	bed->envoy = (struct envoy){.house = &bed->under.house, .server = "gw"};
	envoy_init(&bed->envoy, bed->orders, 2);
	bed->reverse = (struct reverse){.house = &bed->under.house,
		.passage = &bed->under.under.passage,
		.envoy = &bed->envoy};
	assert_int_equal(reverse_open(&bed->reverse, bed->orders, 2, &err), 0);
	bed->wish = envoy_find(&bed->envoy, "db", true);
	assert_int_equal(endpoint_parse_own(bed->wish->at, &bed->at, &err), 0);
	assert_true(addr_port(&bed->at) > 0);
	assert_int_equal(bed->under.count, 0);
}

static void bed_close(struct bed *bed)
{
	reverse_fini(&bed->reverse);
	envoy_fini(&bed->envoy);
	server_bed_close(&bed->under);
}

/* Somebody comes in, and one of the connections says what for. */
static int come_in(struct bed *bed, size_t at)
{
	int fd = tunnel_connect(&bed->at);
	struct order order;

	struct hail hail = server_hail(&bed->under, at);
	assert_int_equal(hail.type, HAIL_REACH);
	assert_int_equal(order_decode(hail.text, hail.len, &order), 0);
	assert_true(order.is_reverse && order.proto == PROTO_TCP);
	assert_string_equal(order.to.host, "there");
	assert_int_equal(order.to.port, 5432);
	return fd;
}

/* The server has connected for who came in by that connection. */
static void opened(struct bed *bed, size_t at)
{
	assert_int_equal(hail_send(bed->under.fds[at], HAIL_OPENED, NULL, 0), 0);
	tunnel_bed_settle(&bed->under.under);
}

/* What was said at @from comes out at @to. */
static void assert_carries(struct bed *bed, int from, int to, const char *text)
{
	const size_t len = strlen(text);
	char got[16];

	assert_int_equal(send(from, text, len, 0), len);
	tunnel_bed_settle(&bed->under.under);
	assert_int_equal(recv(to, got, sizeof(got), MSG_DONTWAIT), len);
	assert_memory_equal(got, text, len);
}

static void assert_reset(struct bed *bed, int fd)
{
	char byte;

	tunnel_bed_settle(&bed->under.under);
	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, ECONNRESET);
	close(fd);
}

static void they_are_led_on(void **state)
{
	struct bed bed;
	char text[8];

	(void)state;
	bed_open(&bed);
	come_up(&bed, 0);
	int fd = come_in(&bed, 0);
	assert_int_equal(send(fd, "early", 5, 0), 5);
	server_welcomes(&bed.under, 2); /* another one is ready in its place */
	assert_int_equal(reverse_connecting(&bed.reverse), 1);
	opened(&bed, 0);
	assert_int_equal(reverse_connecting(&bed.reverse), 0);
	assert_int_equal(bed.wish->served, 1);
	assert_int_equal(recv(bed.under.fds[0], text, sizeof(text), MSG_DONTWAIT), 5);
	assert_carries(&bed, bed.under.fds[0], fd, "late");
	close(fd);
	tunnel_bed_settle(&bed.under.under);
	assert_int_equal(bed.under.count, REVERSE_READY + 1);
	bed_close(&bed);
}

static void a_refusal_is_a_refusal(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	come_up(&bed, 0);
	int fd = come_in(&bed, 0);
	assert_int_equal(hail_send(bed.under.fds[0], HAIL_REFUSED, "no", 2), 0);
	assert_reset(&bed, fd);
	assert_true(server_was_left(&bed.under, 0));
	assert_true(bed.wish->refused == 1 && bed.wish->served == 0);
	/* nothing of the order is granted any more */
	set(&bed, WISH_DENIED);
	fd = tunnel_connect(&bed.at);
	assert_reset(&bed, fd);
	assert_int_equal(bed.wish->refused, 2);
	bed_close(&bed);
}

/* One that breaks before the server has connected costs its inbound nothing. */
static void another_one_leads_on(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	come_up(&bed, 0);
	int fd = come_in(&bed, 0);
	shutdown(bed.under.fds[0], SHUT_RDWR);
	tunnel_bed_settle(&bed.under.under);
	struct hail hail = server_hail(&bed.under, 1);
	assert_int_equal(hail.type, HAIL_REACH);
	opened(&bed, 1);
	assert_carries(&bed, bed.under.fds[1], fd, "hello");
	assert_true(bed.wish->served == 1 && bed.wish->refused == 0);
	close(fd);
	bed_close(&bed);
}

static void they_wait_for_the_server(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	int fds[2] = {tunnel_connect(&bed.at), -1};
	tunnel_bed_settle(&bed.under.under);
	assert_int_equal(bed.under.count, 0);
	come_up(&bed, 1);
	assert_int_equal(server_hail(&bed.under, 0).type, HAIL_REACH);
	/* it goes, and what is being connected with it; the server may yet answer */
	bed.wish->state = WISH_ASKED;
	reverse_down(&bed.reverse);
	assert_true(server_was_left(&bed.under, 1));
	assert_int_equal(reverse_connecting(&bed.reverse), 1);
	fds[1] = tunnel_connect(&bed.at);
	tunnel_bed_settle(&bed.under.under);
	server_bed_pass(&bed.under, REVERSE_HOLD_MS / 2);
	assert_int_equal(recv(fds[1], &(char){0}, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
	server_bed_pass(&bed.under, REVERSE_HOLD_MS / 2 + 100);
	for (int i = 0; i < 2; i++)
		assert_reset(&bed, fds[i]);
	assert_true(server_was_left(&bed.under, 0));
	bed_close(&bed);
}

static void what_is_no_answer_costs_the_connection(void **state)
{
	static const enum hail_type bad[] = {HAIL_OPEN, HAIL_GRANTED, HAIL_MORE};
	struct bed bed;

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(bad) / sizeof(bad[0]); i++) {
		int fd = -1;

		bed_open(&bed);
		come_up(&bed, 0);
		if (i % 2)
			fd = come_in(&bed, 0);
		assert_int_equal(hail_send(bed.under.fds[0], bad[i / 2], NULL, 0), 0);
		assert_true(server_was_left(&bed.under, 0));
		if (i % 2) {
			assert_int_equal(server_hail(&bed.under, 1).type, HAIL_REACH);
			close(fd);
		}
		bed_close(&bed);
	}
}

static void an_answer_before_the_question(void **state)
{
	static const enum hail_type early[] = {HAIL_OPENED, HAIL_REFUSED};
	struct bed bed;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		bed_open(&bed);
		come_up(&bed, 0);
		assert_int_equal(hail_send(bed.under.fds[0], early[i], NULL, 0), 0);
		assert_true(server_was_left(&bed.under, 0));
		close(come_in(&bed, 1));
		bed_close(&bed);
	}
}

static void nobody_new_comes_in_while_it_drains(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	come_up(&bed, 0);
	int fd = come_in(&bed, 0);
	opened(&bed, 0);
	reverse_drain(&bed.reverse);
	int late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(late, &bed.at.any, addr_len(&bed.at)), -1);
	assert_int_equal(errno, ECONNREFUSED);
	close(late);
	assert_carries(&bed, bed.under.fds[0], fd, "on");
	close(fd);
	bed_close(&bed);
}

/* Who has as many as the others leave him is turned away, and counted. */
static void an_address_with_too_many_is_refused(void **state)
{
	const struct addr own = addr_of4((struct in_addr){htonl(INADDR_LOOPBACK + 1)}, 0);
	struct bed bed;
	int fds[2];

	(void)state;
	bed_open(&bed);
	bed.under.under.budget.places = 2;
	for (int i = 0; i < 2; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_return_code(bind(fds[i], &own.any, addr_len(&own)), errno);
		assert_return_code(connect(fds[i], &bed.at.any, addr_len(&bed.at)), errno);
		tunnel_bed_settle(&bed.under.under);
	}
	assert_reset(&bed, fds[1]);
	assert_int_equal(bed.wish->refused, 1);
	close(fds[0]);
	bed_close(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(they_are_led_on),
		cmocka_unit_test(a_refusal_is_a_refusal),
		cmocka_unit_test(another_one_leads_on),
		cmocka_unit_test(they_wait_for_the_server),
		cmocka_unit_test(what_is_no_answer_costs_the_connection),
		cmocka_unit_test(an_answer_before_the_question),
		cmocka_unit_test(nobody_new_comes_in_while_it_drains),
		cmocka_unit_test(an_address_with_too_many_is_refused),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
