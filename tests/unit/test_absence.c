/* SPDX-License-Identifier: Apache-2.0 */
/* test_absence - who is there counts, who only asks does not, and nobody for too long is the end */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "clock_ahead.h"
#include "sandbox/absence.h"
#include "util/clock.h"

#define MAX_MS 20000
#define PART   (MAX_MS / ABSENCE_LOOKS)

struct bed {
	struct absence absence;
	struct server server;
	struct server_client asks, is_in;
	unsigned ends;
};

static void on_long(void *owner)
{
	((struct bed *)owner)->ends++;
}

static void open_bed(struct bed *bed, uint64_t max_ms)
{
	*bed = (struct bed){.is_in.is_marked = true};
	list_init(&bed->server.clients);
	list_add_last(&bed->server.clients, &bed->asks.at);
	bed->absence = (struct absence){.loop = loop_new(),
		.server = &bed->server,
		.max_ms = max_ms,
		.on_long = on_long,
		.owner = bed};
	assert_non_null(bed->absence.loop);
	absence_begin(&bed->absence);
}

static void close_bed(struct bed *bed)
{
	absence_end(&bed->absence);
	absence_end(&bed->absence);
	loop_free(bed->absence.loop);
}

/* @looks later. */
static void pass(struct bed *bed, unsigned looks)
{
	for (unsigned i = 0; i < looks; i++) {
		clock_ahead_ns += PART * NS_PER_MS;
		assert_int_equal(loop_run_once(bed->absence.loop, 0), 0);
	}
}

static void nobody_for_too_long(void **state)
{
	struct bed bed;

	(void)state;
	open_bed(&bed, MAX_MS);
	pass(&bed, ABSENCE_LOOKS - 1);
	assert_int_equal(bed.ends, 0);
	pass(&bed, 1);
	assert_int_equal(bed.ends, 1);
	/* once */
	pass(&bed, 3 * ABSENCE_LOOKS);
	assert_int_equal(bed.ends, 1);
	close_bed(&bed);
}

static void who_joins_stays_as_long_as_it_likes(void **state)
{
	struct bed bed;

	(void)state;
	open_bed(&bed, MAX_MS);
	pass(&bed, ABSENCE_LOOKS - 1);
	list_add_last(&bed.server.clients, &bed.is_in.at);
	pass(&bed, 5 * ABSENCE_LOOKS);
	assert_int_equal(bed.ends, 0);
	/* and the time begins again when it leaves */
	list_del(&bed.is_in.at);
	pass(&bed, ABSENCE_LOOKS - 1);
	assert_int_equal(bed.ends, 0);
	pass(&bed, 1);
	assert_int_equal(bed.ends, 1);
	close_bed(&bed);
}

static void without_an_end(void **state)
{
	struct bed bed;

	(void)state;
	open_bed(&bed, 0);
	pass(&bed, 3 * ABSENCE_LOOKS);
	assert_int_equal(bed.ends, 0);
	close_bed(&bed);
	absence_end(&(struct absence){.max_ms = 0});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_for_too_long),
		cmocka_unit_test(who_joins_stays_as_long_as_it_likes),
		cmocka_unit_test(without_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
