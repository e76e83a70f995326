/* SPDX-License-Identifier: Apache-2.0 */
/* test_clerk - what a tunnel's server grants its clients, and what it says to the others */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <stdio.h>

#include "util/fd.h"
#include "util/log.h"

#include "tunnel_bed.h"

#include "tunnel/clerk.h"

struct bed {
	struct tunnel_bed under;
	struct lane_house house;
	struct rota rota;
	struct errands errands;
	struct permits listen, reach;
	struct clerk clerk;
	struct lane *lane; /* of messages, and then of one to be used */
	int fd;            /* the client's end */
	struct hail_reader reader;
};

static bool on_new(struct lane *lane)
{
	struct bed *bed = lane->house->owner;

	lane->caller = rota_add_lane(&bed->rota, lane->id);
	assert_non_null(lane->caller);
	list_add_last(&lane->caller->waiting, &lane->at);
	bed->lane = lane;
	return true;
}

static void on_lane(struct lane *lane)
{
	(void)lane;
	fail();
}

static int on_message(struct lane *lane, const struct hail *hail)
{
	struct bed *bed = lane->house->owner;

	return hail->type == HAIL_ORDER ? clerk_order(&bed->clerk, lane, hail)
					: clerk_reach(&bed->clerk, lane, hail);
}

static void on_over(struct lane *lane)
{
	struct bed *bed = lane->house->owner;

	bed->lane = NULL;
	rota_lose_lane(lane->caller);
}

static const struct lane_ops ops = {on_new, on_lane, on_lane, on_message, on_lane, on_over};

static void on_news(struct rota *rota)
{
	(void)rota;
}

static void on_given_up(struct inbound *inbound)
{
	(void)inbound;
}

static void on_closing(struct gate *gate)
{
	(void)gate;
}

static void allow(struct permits *permits, const char *text)
{
	struct err err;

	if (text)
		assert_int_equal(permit_add(permits, text, &err), 0);
}

/* A server that allows that much (NULL: no option was given), and a client of it. */
static void bed_open(struct bed *bed, const char *listen, const char *reach, bool are_known)
{
	struct addr peer = addr_of4((struct in_addr){htonl(INADDR_LOOPBACK)}, 1);
	int fds[2];

	*bed = (struct bed){.fd = -1};
	tunnel_bed_open(&bed->under, 4000);
	allow(&bed->listen, listen);
	allow(&bed->reach, reach);
	bed->rota = (struct rota){.on_news = on_news,
		.gates = {.context = &bed->under.context,
			.hold_ms = 1000,
			.on_given_up = on_given_up,
			.on_closing = on_closing,
			.owner = bed}};
	assert_int_equal(rota_init(&bed->rota), 0);
	bed->errands =
		(struct errands){.context = &bed->under.context, .passage = &bed->under.passage};
	errands_init(&bed->errands);
	bed->clerk = (struct clerk){.gates = &bed->rota.gates,
		.errands = &bed->errands,
		.listen = &bed->listen,
		.reach = &bed->reach,
		.are_known = are_known};
	bed->house = (struct lane_house){
		.ops = &ops, .owner = bed, .context = &bed->under.context, .beat_ms = 600000};
	lane_house_init(&bed->house);
	tunnel_pair(fds);
	bed->fd = fds[1];
	lane_add(&bed->house, fds[0], &peer, false);
	assert_int_equal(
		hail_send_hello(bed->fd, (const unsigned char *)"client-1", HAIL_CONTROL), 0);
	assert_int_equal(tunnel_hail(&bed->under, &bed->reader, bed->fd).type, HAIL_WELCOME);
	assert_non_null(bed->lane);
}

static void bed_close(struct bed *bed)
{
	errands_fini(&bed->errands);
	lane_house_fini(&bed->house);
	rota_fini(&bed->rota);
	close(bed->fd);
	tunnel_bed_close(&bed->under);
}

static void ask(struct bed *bed, enum hail_type type, const char *text, bool is_reverse)
{
	unsigned char bytes[HAIL_TEXT_MAX];
	struct order order;
	struct err err;

	assert_int_equal(order_parse(text, is_reverse, &order, &err), 0);
	assert_int_equal(hail_send(bed->fd, type, bytes, order_encode(&order, bytes)), 0);
}

/* Its answer: what is behind the name. */
static void assert_answer(struct bed *bed, enum hail_type type, const char *name, const char *text)
{
	char said_name[ORDER_NAME_MAX + 1], said[HAIL_TEXT_MAX + 1];
	struct hail hail = tunnel_hail(&bed->under, &bed->reader, bed->fd);

	assert_int_equal(hail.type, type);
	assert_true(order_read_label(&hail, said_name, said));
	assert_string_equal(said_name, name);
	assert_memory_equal(said, text, strlen(text));
}

static void where_it_listens(void **state)
{
	static const struct {
		const char *allowed;
		bool are_known;
		const char *asked;
		const char *answer; /* of a grant; or NULL */
	} cases[] = {
		{NULL, false, "web=127.0.0.1:0:here:80", "127.0.0.1:"},
		{NULL, false, "web=[::1]:0:here:80", "[::1]:"},
		{NULL, false, "web=0.0.0.0:0:here:80", NULL},
		{NULL, false, "web=[::]:0:here:80", NULL},
		{NULL, false, "web=unix:/nowhere:here:80", NULL},
		{NULL, true, "web=0.0.0.0:0:here:80", "0.0.0.0:"},
		{NULL, true, "web=unix:/nowhere:here:80", NULL},
		{"127.0.0.1:1-9", false, "web=127.0.0.1:0:here:80", NULL},
		{"127.0.0.1:1-9", true, "web=0.0.0.0:5:here:80", NULL},
		{"0.0.0.0:*", false, "web=0.0.0.0:0:here:80", "0.0.0.0:"},
		{"0.0.0.0:*", false, "web=127.0.0.1:0:here:80", NULL},
		{"*:*", false, "dns=127.0.0.1:0:here:53/udp", "127.0.0.1:"},
	};
	struct bed bed;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char name[4] = {0};

		bed_open(&bed, cases[i].allowed, NULL, cases[i].are_known);
		memcpy(name, cases[i].asked, 3);
		ask(&bed, HAIL_ORDER, cases[i].asked, false);
		if (cases[i].answer)
			assert_answer(&bed, HAIL_GRANTED, name, cases[i].answer);
		else
			assert_answer(&bed, HAIL_DENIED, name,
				"0the server does not allow it (--allow-forward)");
		assert_int_equal(rota_count_named(bed.lane->caller), cases[i].answer ? 1 : 0);
		bed_close(&bed);
	}
}

static void what_is_taken_may_be_asked_for_again(void **state)
{
	char asked[100];
	struct addr at = addr_of4((struct in_addr){htonl(INADDR_LOOPBACK)}, 0);
	socklen_t len = sizeof(at.v4);
	struct bed bed;

	(void)state;
	bed_open(&bed, NULL, NULL, false);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, &at.any, addr_len(&at)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, &at.any, &len), 0);
	snprintf(asked, sizeof(asked), "web=127.0.0.1:%d:here:80", addr_port(&at));
	ask(&bed, HAIL_ORDER, asked, false);
	assert_answer(&bed, HAIL_DENIED, "web", "1");
	close(fd);
	ask(&bed, HAIL_ORDER, asked, false);
	assert_answer(&bed, HAIL_GRANTED, "web", "127.0.0.1:");
	bed_close(&bed);
}

static void what_it_connects_to(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed, NULL, NULL, true);
	ask(&bed, HAIL_ORDER, "db=127.0.0.1:0:127.0.0.1:5432", true);
	assert_answer(&bed, HAIL_DENIED, "db", "0the server does not allow it (--allow-reverse)");
	bed_close(&bed);
	bed_open(&bed, NULL, "db.example:5432", true);
	ask(&bed, HAIL_ORDER, "db=127.0.0.1:0:db.example:5432", true);
	assert_answer(&bed, HAIL_GRANTED, "db", "");
	ask(&bed, HAIL_ORDER, "no=127.0.0.1:0:db.example:5433", true);
	assert_answer(&bed, HAIL_DENIED, "no", "0");
	assert_int_equal(rota_count_named(bed.lane->caller), 0); /* nobody listens here */
	bed_close(&bed);
}

/* Whatever was granted before: what is asked for is looked at when it is used. */
static void it_is_looked_at_again_when_it_is_used(void **state)
{
	struct addr at = addr_of4((struct in_addr){htonl(INADDR_LOOPBACK)}, 0);
	socklen_t len = sizeof(at.v4);
	char text[100];
	struct bed bed;

	(void)state;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, &at.any, addr_len(&at)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, &at.any, &len), 0);
	snprintf(text, sizeof(text), "127.0.0.1:%d", addr_port(&at));
	bed_open(&bed, NULL, text, false);
	snprintf(text, sizeof(text), "db=127.0.0.1:0:127.0.0.1:%d", addr_port(&at));
	ask(&bed, HAIL_REACH, text, true);
	assert_int_equal(tunnel_hail(&bed.under, &bed.reader, bed.fd).type, HAIL_OPENED);
	assert_int_equal(bed.house.count, 0); /* it is no lane any more */
	close(accept(fd, NULL, NULL));
	close(fd);
	bed_close(&bed);

	bed_open(&bed, NULL, "127.0.0.1:1", false);
	ask(&bed, HAIL_REACH, text, true);
	struct hail hail = tunnel_hail(&bed.under, &bed.reader, bed.fd);
	assert_int_equal(hail.type, HAIL_REFUSED);
	assert_true(hail.len > 10 && memcmp(hail.text, "the server", 10) == 0);
	tunnel_ends(&bed.under, bed.fd);
	assert_null(bed.lane);
	bed_close(&bed);
}

static void an_address_with_too_many_is_refused(void **state)
{
	const struct addr peer = addr_of4((struct in_addr){htonl(0xc0000201)}, 1);
	struct bed bed;

	(void)state;
	bed_open(&bed, NULL, "127.0.0.1:1", false);
	struct budget *budget = &bed.under.budget;
	unsigned source = shares_source(&budget->shares, &peer);
	bed.lane->peer = peer;
	budget->places = 2;
	shares_take(&budget->shares, SHARES_CONNECTIONS, source);
	ask(&bed, HAIL_REACH, "db=127.0.0.1:0:127.0.0.1:1", true);
	struct hail hail = tunnel_hail(&bed.under, &bed.reader, bed.fd);
	assert_int_equal(hail.type, HAIL_REFUSED);
	assert_true(hail.len > 18 && memcmp(hail.text, "the server has as ", 18) == 0);
	shares_give(&budget->shares, SHARES_CONNECTIONS, source);
	bed_close(&bed);
}

static void what_is_no_order_is_the_end(void **state)
{
	static const struct {
		enum hail_type type;
		const char *text;
		size_t len;
	} bad[] = {
		{HAIL_ORDER, "", 0},
		{HAIL_ORDER, "ft\000127.0.0.1:0", 14}, /* of no name */
		{HAIL_ORDER, "ftweb", 5},
		{HAIL_ORDER, "xtweb\000127.0.0.1:0", 17},
		{HAIL_ORDER, "ft../\000127.0.0.1:0", 17},
		{HAIL_ORDER, "ftweb\000nowhere", 13},
		{HAIL_ORDER, "fuweb\000unix:/a", 13},
		{HAIL_REACH, "ftweb\000127.0.0.1:0", 17},
		{HAIL_REACH, "rtweb\000", 6},
	};
	struct bed bed;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		bed_open(&bed, "*:*", "*:*", true);
		assert_int_equal(hail_send(bed.fd, bad[i].type, bad[i].text, bad[i].len), 0);
		tunnel_ends(&bed.under, bed.fd);
		assert_null(bed.lane);
		bed_close(&bed);
	}
}

static void nobody_asks_for_more_than_there_may_be(void **state)
{
	char text[100];
	struct bed bed;

	(void)state;
	bed_open(&bed, NULL, NULL, false);
	for (int i = 0; i < ORDERS_MAX; i++) {
		snprintf(text, sizeof(text), "w%d=127.0.0.1:0:here:80", i);
		ask(&bed, HAIL_ORDER, text, false);
		assert_int_equal(tunnel_hail(&bed.under, &bed.reader, bed.fd).type, HAIL_GRANTED);
	}
	ask(&bed, HAIL_ORDER, "more=127.0.0.1:0:here:80", false);
	tunnel_ends(&bed.under, bed.fd);
	bed_close(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(where_it_listens),
		cmocka_unit_test(what_is_taken_may_be_asked_for_again),
		cmocka_unit_test(what_it_connects_to),
		cmocka_unit_test(it_is_looked_at_again_when_it_is_used),
		cmocka_unit_test(an_address_with_too_many_is_refused),
		cmocka_unit_test(what_is_no_order_is_the_end),
		cmocka_unit_test(nobody_asks_for_more_than_there_may_be),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
