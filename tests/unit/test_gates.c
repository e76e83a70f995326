/* SPDX-License-Identifier: Apache-2.0 */
/* test_gates - places that clients ask for by name: whose they are, and that nobody has them all */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <stdio.h>

#include "util/fd.h"
#include "util/log.h"

#include "clock_ahead.h"
#include "tunnel_bed.h"

#include "tunnel/gates.h"

enum { MAX = 48, FDS = MAX * GATES_SHARE, HOLD_MS = 5000 };

struct bed {
	struct tunnel_bed under;
	struct gates gates;
	unsigned held, closing;
	struct list members[MAX]; /* each stands for a client */
	size_t asked, served;
};

static void on_held(struct door *door)
{
	struct gate *gate = container_of(door, struct gate, door);

	((struct bed *)gate->gates->owner)->held++;
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
	*bed = (struct bed){.held = 0};
	tunnel_bed_open(&bed->under, FDS);
	bed->gates = (struct gates){.context = &bed->under.context,
		.hold_ms = HOLD_MS,
		.on_held = on_held,
		.on_given_up = on_given_up,
		.on_closing = on_closing,
		.owner = bed};
	gates_init(&bed->gates);
}

static void bed_close(struct bed *bed)
{
	gates_fini(&bed->gates);
	tunnel_bed_close(&bed->under);
}

static void pass(struct bed *bed, uint64_t ms)
{
	clock_ahead_ns += ms * NS_PER_MS;
	tunnel_bed_settle(&bed->under);
}

static struct addr source(uint32_t number)
{
	return addr_of4((struct in_addr){htonl(0x0a000000 + number)}, (uint16_t)(1000 + number));
}

/* Returns 0 or -errno. */
static int ask(struct bed *bed, const char *text, uint32_t number, struct gate **out)
{
	struct order order = tunnel_order(text);
	struct addr from = source(number);
	struct err err;

	return gates_open(&bed->gates, &order, &from, out, &err);
}

/* As many as @number may have. */
static size_t ask_for_all(struct bed *bed, uint32_t number)
{
	char text[100];
	size_t count = 0;
	struct gate *gate;

	while (true) {
		snprintf(text, sizeof(text), "g%zu=127.0.0.1:0:127.0.0.1:1", bed->asked++);
		if (ask(bed, text, number, &gate) < 0)
			return count;
		count++;
		list_add_last(&gate->members, &bed->members[bed->served++]);
	}
}

static void who_asks_for_the_same_has_the_same(void **state)
{
	struct gate *one, *same, *other, *udp;
	struct bed bed;
	char text[ADDR_TEXT_BYTES], again[200];

	(void)state;
	bed_open(&bed);
	assert_int_equal(ask(&bed, "web=127.0.0.1:0:127.0.0.1:1", 1, &one), 0);
	assert_int_equal(ask(&bed, "web=127.0.0.1:0:127.0.0.1:2", 2, &same), 0);
	assert_ptr_equal(one, same);
	assert_int_equal(ask(&bed, "db=127.0.0.1:0:127.0.0.1:1", 1, &other), 0);
	assert_ptr_not_equal(one, other);
	assert_int_equal(ask(&bed, "web=127.0.0.1:0:127.0.0.1:1/udp", 1, &udp), 0);
	assert_ptr_not_equal(one, udp);
	/* where one is */
	snprintf(again, sizeof(again), "web2=%s:127.0.0.1:1",
		addr_format(&one->addr, text, sizeof(text)));
	assert_int_equal(ask(&bed, again, 3, &same), -EADDRINUSE);
	int fd = tunnel_connect(&one->addr);
	tunnel_bed_settle(&bed.under);
	assert_int_equal(bed.held, 1);
	assert_int_equal(one->door.nheld, 1);
	json_t *told = gates_tell(&bed.gates);
	assert_int_equal(json_array_size(told), 3);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(told, 0), "held")), 1);
	json_decref(told);
	close(fd);
	bed_close(&bed);
}

static void it_stays_for_a_while(void **state)
{
	struct gate *gate, *again;
	struct bed bed;

	(void)state;
	clock_stop();
	bed_open(&bed);
	assert_int_equal(ask(&bed, "web=127.0.0.1:0:127.0.0.1:1", 1, &gate), 0);
	gates_leave(gate, true);
	pass(&bed, HOLD_MS - 1);
	assert_int_equal(bed.closing, 0);
	assert_int_equal(ask(&bed, "web=127.0.0.1:0:127.0.0.1:1", 2, &again), 0);
	assert_ptr_equal(gate, again);
	gates_stay(gate);
	pass(&bed, 3 * HOLD_MS);
	assert_int_equal(bed.closing, 0);
	gates_leave(gate, true);
	pass(&bed, HOLD_MS);
	assert_int_equal(bed.closing, 1);
	bed_close(&bed);
	clock_go_on();
}

static void nobody_has_them_all(void **state)
{
	struct gate *gate;
	struct bed bed;

	(void)state;
	bed_open(&bed);
	size_t total = ask_for_all(&bed, 1);
	assert_int_equal(total, MAX / 2);
	assert_int_equal(ask_for_all(&bed, 1), 0);
	for (uint32_t number = 2; number < 6; number++) {
		size_t count = ask_for_all(&bed, number);
		assert_int_equal(count, (MAX - total + 1) / 2);
		total += count;
	}
	assert_true(total < MAX);
	assert_int_equal(ask(&bed, "web=127.0.0.1:0:127.0.0.1:1", 7, &gate), 0);
	assert_true(bed.gates.count <= MAX);
	bed_close(&bed);
}

static void who_is_only_held_gives_way(void **state)
{
	struct gate *gate;
	struct bed bed;
	uint32_t number = 1;

	(void)state;
	bed_open(&bed);
	while (bed.gates.count < MAX)
		assert_true(ask_for_all(&bed, number++) > 0);
	assert_int_equal(ask(&bed, "web=127.0.0.1:0:127.0.0.1:1", 90, &gate), -ENFILE);
	list_del(&bed.members[5]);
	assert_int_equal(ask(&bed, "web=127.0.0.1:0:127.0.0.1:1", 90, &gate), 0);
	assert_int_equal(bed.closing, 1);
	bed_close(&bed);
}

static void who_asks_all_the_time_waits(void **state)
{
	struct gate *gate, *other;
	struct bed bed;
	char taken[200], text[ADDR_TEXT_BYTES];
	int result = 0;

	(void)state;
	bed_open(&bed);
	assert_int_equal(ask(&bed, "web=127.0.0.1:0:127.0.0.1:1", 1, &gate), 0);
	snprintf(taken, sizeof(taken), "x=%s:127.0.0.1:1",
		addr_format(&gate->addr, text, sizeof(text)));
	gates_leave(gate, true);
	gate->order.at = (struct addr){.family = AF_UNSPEC}; /* somebody else's port */
	for (int i = 0; i < GATES_TRIES_MAX; i++)
		result = ask(&bed, taken, 2, &other);
	assert_int_equal(result, -EAGAIN);
	bed_close(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_asks_for_the_same_has_the_same),
		cmocka_unit_test(it_stays_for_a_while),
		cmocka_unit_test(nobody_has_them_all),
		cmocka_unit_test(who_is_only_held_gives_way),
		cmocka_unit_test(who_asks_all_the_time_waits),
	};

	log_set_level(LOG_WARNING);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
