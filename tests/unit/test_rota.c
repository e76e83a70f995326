/* SPDX-License-Identifier: Apache-2.0 */
/* test_rota - clients that take turns, each for what it serves, and are forgotten */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include "util/fd.h"
#include "util/log.h"

#include "tunnel_bed.h"

#include "tunnel/rota.h"

enum { LANES = 8 };

struct bed {
	struct tunnel_bed under;
	struct rota rota;
	struct lane lanes[LANES]; /* nothing but places in lists */
	struct caller *served[32];
	size_t nserved;
	unsigned news, closing;
};

static struct bed *the_bed; /* what rota_match calls has no owner */

static void on_news(struct rota *rota)
{
	container_of(rota, struct bed, rota)->news++;
}

static void on_given_up(struct inbound *inbound)
{
	(void)inbound;
}

static void on_closing(struct gate *gate)
{
	((struct bed *)gate->gates->owner)->closing++;
}

static void bed_open(struct bed *bed)
{
	*bed = (struct bed){.nserved = 0};
	the_bed = bed;
	tunnel_bed_open(&bed->under, 1000);
	bed->rota = (struct rota){.on_news = on_news,
		.gates = {.context = &bed->under.context,
			.hold_ms = 60000,
			.on_given_up = on_given_up,
			.on_closing = on_closing,
			.owner = bed}};
	assert_int_equal(rota_init(&bed->rota), 0);
}

static void bed_close(struct bed *bed)
{
	rota_fini(&bed->rota);
	tunnel_bed_close(&bed->under);
}

/* A client with one lane, which waits. */
static struct caller *add(struct bed *bed, int number)
{
	unsigned char id[HAIL_ID_BYTES] = {(unsigned char)number};
	struct caller *caller = rota_add_lane(&bed->rota, id);

	assert_non_null(caller);
	bed->lanes[number].caller = caller;
	list_add_last(&caller->waiting, &bed->lanes[number].at);
	return caller;
}

static struct gate *open_gate(struct bed *bed, const char *text)
{
	struct order order = tunnel_order(text);
	struct addr from = {.family = AF_UNIX};
	struct gate *gate;
	struct err err;

	assert_int_equal(gates_open(&bed->rota.gates, &order, &from, &gate, &err), 0);
	return gate;
}

static void serve(struct lane *lane, struct inbound *inbound)
{
	struct bed *bed = the_bed;

	bed->served[bed->nserved++] = lane->caller;
	list_del(&lane->at);
	list_add_last(&lane->caller->waiting, &lane->at); /* its client has another one at once */
	close(door_release(inbound));
}

static bool has_news(void *owner)
{
	return ((struct bed *)owner)->news > 0;
}

/* @count come in, one after the other. */
static void come_in(struct bed *bed, const struct gate *gate, int count)
{
	for (int i = 0; i < count; i++) {
		bed->news = 0;
		int fd = tunnel_connect(&gate->addr);
		tunnel_bed_until(&bed->under, has_news, bed);
		rota_match(&bed->rota, serve);
		close(fd);
	}
}

static void they_take_turns(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	struct gate *gate = open_gate(&bed, "web=127.0.0.1:0:127.0.0.1:1");
	struct caller *all[3];
	for (int i = 0; i < 3; i++) {
		all[i] = add(&bed, i);
		assert_int_equal(rota_join(all[i], gate), 0);
		assert_int_equal(rota_join(all[i], gate), 0); /* again is nothing */
		assert_int_equal(rota_count_named(all[i]), 1);
	}
	come_in(&bed, gate, 9);
	assert_int_equal(bed.nserved, 9);
	for (size_t i = 0; i < 9; i++) {
		assert_ptr_equal(bed.served[i], bed.served[i % 3]);
		assert_true(i % 3 == 0 || bed.served[i] != bed.served[i - 1]);
	}
	/* who has none that waits is passed over */
	list_del(&bed.lanes[1].at);
	bed.nserved = 0;
	come_in(&bed, gate, 4);
	for (size_t i = 0; i < 4; i++)
		assert_ptr_not_equal(bed.served[i], all[1]);
	bed_close(&bed);
}

static void each_serves_its_own(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	struct gate *one = open_gate(&bed, "one=127.0.0.1:0:127.0.0.1:1");
	struct gate *two = open_gate(&bed, "two=127.0.0.1:0:127.0.0.1:1");
	struct caller *first = add(&bed, 1), *second = add(&bed, 2);
	rota_join(first, one);
	rota_join(second, two);
	rota_join(second, &bed.rota.proxies);
	assert_int_equal(rota_count_named(second), 1);
	come_in(&bed, one, 3);
	come_in(&bed, two, 3);
	for (size_t i = 0; i < 6; i++)
		assert_ptr_equal(bed.served[i], i < 3 ? first : second);
	bed_close(&bed);
}

static void who_is_held_waits_for_somebody(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	struct gate *gate = open_gate(&bed, "web=127.0.0.1:0:127.0.0.1:1");
	come_in(&bed, gate, 1);
	assert_true(bed.nserved == 0 && gate->door.nheld <= 1);
	int fd = tunnel_connect(&gate->addr);
	tunnel_bed_settle(&bed.under);
	uint64_t lulls = bed.rota.lulls;
	rota_match(&bed.rota, serve);
	assert_int_equal(bed.rota.lulls, lulls); /* somebody is held */
	bed.news = 0;
	rota_join(add(&bed, 1), gate);
	assert_true(bed.news > 0);
	rota_match(&bed.rota, serve);
	assert_true(bed.nserved > 0 && gate->door.nheld == 0);
	assert_int_equal(bed.rota.lulls, lulls + 1);
	close(fd);
	bed_close(&bed);
}

static void clients_are_known_by_their_id(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	struct gate *gate = open_gate(&bed, "web=127.0.0.1:0:127.0.0.1:1");
	struct caller *one = add(&bed, 1);
	assert_ptr_equal(rota_add_lane(&bed.rota, one->id), one);
	assert_ptr_not_equal(add(&bed, 2), one);
	rota_join(one, gate);
	rota_lose_lane(one);
	assert_int_equal(rota_count_named(one), 1); /* there is another one */
	list_del(&bed.lanes[1].at);
	rota_lose_lane(one);
	assert_true(list_is_empty(&gate->members));
	tunnel_bed_settle(&bed.under);
	assert_int_equal(bed.closing, 0); /* it is held */
	struct caller *again = add(&bed, 3);
	rota_join(again, gate);
	rota_leave_named(again, false);
	for (int i = 0; i < 50 && bed.closing == 0; i++)
		loop_run_once(bed.under.loop, 20);
	assert_int_equal(bed.closing, 1); /* nobody need be held */
	bed_close(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(they_take_turns),
		cmocka_unit_test(each_serves_its_own),
		cmocka_unit_test(who_is_held_waits_for_somebody),
		cmocka_unit_test(clients_are_known_by_their_id),
	};

	log_set_level(LOG_WARNING);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
