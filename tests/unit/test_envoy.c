/* SPDX-License-Identifier: Apache-2.0 */
/* test_envoy - what a client asks its server for: granted, denied for now or for ever, asked anew
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

#include "tunnel/envoy.h"

struct bed {
	struct tunnel_server_bed under;
	struct envoy envoy;
	struct order orders[3];
	unsigned answers;
	const struct wish *last;
};

static void on_answer(void *owner, struct wish *wish)
{
	struct bed *bed = owner;

	bed->answers++;
	bed->last = wish;
}

/* The server is there, has been asked for all of it, and not for more. */
static void assert_asked(struct bed *bed)
{
	for (size_t i = 0; i < 3; i++) {
		struct hail hail = server_hail(&bed->under, 0);
		struct order order;

		assert_int_equal(hail.type, HAIL_ORDER);
		assert_int_equal(order_decode(hail.text, hail.len, &order), 0);
		assert_string_equal(order.name, bed->orders[i].name);
		assert_int_equal(order.is_reverse, bed->orders[i].is_reverse);
		assert_int_equal(bed->envoy.wishes[i].state, WISH_ASKED);
	}
	server_says_nothing(&bed->under, 0);
}

static void bed_open(struct bed *bed)
{
	struct err err;

	*bed = (struct bed){.answers = 0};
	server_bed_open(&bed->under, HAIL_CONTROL);
	assert_int_equal(order_parse("web=127.0.0.1:0:here:80", false, &bed->orders[0], &err), 0);
	assert_int_equal(order_parse("dns=[::1]:53:here:53/udp", false, &bed->orders[1], &err), 0);
	assert_int_equal(order_parse("db=127.0.0.1:0:there:5432", true, &bed->orders[2], &err), 0);
	bed->envoy = (struct envoy){.house = &bed->under.house,
		.on_answer = on_answer,
		.owner = bed,
		.server = "gw:3001"};
	envoy_init(&bed->envoy, bed->orders, 3);
	envoy_up(&bed->envoy);
	server_welcomes(&bed->under, 0);
	assert_asked(bed);
}

static void bed_close(struct bed *bed)
{
	envoy_fini(&bed->envoy);
	server_bed_close(&bed->under);
}

static void answer(struct bed *bed, enum hail_type type, const char *name, const char *text)
{
	server_answers(&bed->under, 0, type, name, text);
}

static void assert_told(
	struct bed *bed, const char *name, const char *state, const char *from, const char *why)
{
	json_t *all = envoy_tell(&bed->envoy), *told;
	size_t at;
	bool is_there = false;

	json_array_foreach(all, at, told)
	{
		if (strcmp(json_string_value(json_object_get(told, "name")), name) != 0)
			continue;
		const char *said = json_string_value(json_object_get(told, "why"));
		is_there = true;
		assert_string_equal(json_string_value(json_object_get(told, "state")), state);
		assert_string_equal(json_string_value(json_object_get(told, "from")), from);
		assert_string_equal(said ? said : "-", why);
	}
	assert_true(is_there);
	json_decref(all);
}

static void each_is_answered_by_its_name(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	answer(&bed, HAIL_GRANTED, "dns", "[::1]:53");
	assert_true(bed.answers == 1 && bed.last == envoy_find(&bed.envoy, "dns", false));
	answer(&bed, HAIL_GRANTED, "web", "127.0.0.1:4\033711"); /* as it may be shown */
	answer(&bed, HAIL_GRANTED, "db", "");
	assert_int_equal(bed.answers, 3);
	assert_null(envoy_find(&bed.envoy, "db", false));
	assert_told(&bed, "web", "up", "127.0.0.1:4\\x1b711", "-");
	assert_told(&bed, "dns", "up", "[::1]:53", "-");
	assert_told(&bed, "db", "up", "127.0.0.1:0", "-"); /* the listener is ours */
	assert_int_equal(bed.under.count, 1);
	bed_close(&bed);
}

static void what_is_denied_for_now_is_asked_for_again(void **state)
{
	struct bed bed;

	(void)state;
	clock_stop();
	bed_open(&bed);
	answer(&bed, HAIL_GRANTED, "db", "");
	answer(&bed, HAIL_DENIED, "web", "1it is taken");
	answer(&bed, HAIL_DENIED, "dns", "0not for you");
	assert_told(&bed, "web", "denied", "127.0.0.1:0", "it is taken");
	assert_told(&bed, "dns", "denied", "[::1]:53", "not for you");
	server_bed_pass(&bed.under, ENVOY_AGAIN_MS / 2);
	server_says_nothing(&bed.under, 0);
	for (int i = 0; i < 3; i++) {
		struct order order;

		server_bed_pass(&bed.under, ENVOY_AGAIN_MS + 1);
		struct hail hail = server_hail(&bed.under, 0);
		assert_true(
			hail.type == HAIL_ORDER && order_decode(hail.text, hail.len, &order) == 0);
		assert_string_equal(order.name, "web");
		server_says_nothing(&bed.under, 0);
		answer(&bed, i < 2 ? HAIL_DENIED : HAIL_GRANTED, "web",
			i < 2 ? "1it is taken" : "127.0.0.1:80");
	}
	assert_told(&bed, "web", "up", "127.0.0.1:80", "-");
	server_bed_pass(&bed.under, 10 * ENVOY_AGAIN_MS);
	server_says_nothing(&bed.under, 0);
	bed_close(&bed);
	clock_go_on();
}

/* What was granted over a connection ends with it. */
static void all_is_asked_for_anew(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	answer(&bed, HAIL_GRANTED, "web", "127.0.0.1:80");
	server_closes(&bed.under, 0);
	assert_told(&bed, "web", "asked", "127.0.0.1:80", "-");
	assert_int_equal(bed.under.count, 0);
	server_bed_pass(&bed.under, ENVOY_AGAIN_MS + 1);
	server_welcomes(&bed.under, 0);
	assert_asked(&bed);
	envoy_down(&bed.envoy);
	assert_true(server_was_left(&bed.under, 0));
	server_closes(&bed.under, 0);
	server_bed_pass(&bed.under, 10 * ENVOY_AGAIN_MS); /* until the server is there again */
	assert_int_equal(bed.under.count, 0);
	envoy_up(&bed.envoy);
	server_welcomes(&bed.under, 0);
	assert_asked(&bed);
	bed_close(&bed);
}

static void what_nobody_asked_for_is_the_end(void **state)
{
	static const struct {
		enum hail_type type;
		const char *name;
	} bad[] = {
		{HAIL_GRANTED, "other"}, {HAIL_GRANTED, ""}, {HAIL_DENIED, "webb"},
		{HAIL_OPEN, "web"}, {HAIL_GRANTED, "a_name_of_more_than_thirty_two_bytes"},
		{HAIL_GRANTED, "db"}, /* twice */
	};
	struct bed bed;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		bed_open(&bed);
		answer(&bed, HAIL_GRANTED, "db", "");
		answer(&bed, bad[i].type, bad[i].name, "127.0.0.1:80");
		assert_int_equal(bed.answers, 1);
		assert_true(server_was_left(&bed.under, 0));
		bed_close(&bed);
	}
}

static void who_leaves_says_so(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	answer(&bed, HAIL_GRANTED, "web", "127.0.0.1:80");
	envoy_leave(&bed.envoy);
	assert_int_equal(server_hail(&bed.under, 0).type, HAIL_LEAVE);
	assert_true(server_was_left(&bed.under, 0));
	bed_close(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_is_answered_by_its_name),
		cmocka_unit_test(what_is_denied_for_now_is_asked_for_again),
		cmocka_unit_test(all_is_asked_for_anew),
		cmocka_unit_test(what_nobody_asked_for_is_the_end),
		cmocka_unit_test(who_leaves_says_so),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
