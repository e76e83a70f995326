/* SPDX-License-Identifier: Apache-2.0 */
/* test_trickle - crumbs gather, and what is worth reading is not held up */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/list.h"
#include "util/trickle.h"

struct bed {
	struct loop_io io;
	struct loop *loop;
	struct trickle trickle;
	bool is_worth_it; /* what is read */
	size_t reads;
	int far;
};

static void on_ready(struct loop_io *io, uint32_t events)
{
	struct bed *bed = container_of(io, struct bed, io);
	char byte;

	(void)events;
	bed->reads++;
	if (read(io->fd, &byte, 1) == 1)
		trickle_note(&bed->trickle, bed->is_worth_it);
}

static void bed_open(struct bed *bed, size_t bytes)
{
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	*bed = (struct bed){.io = {ends[0], on_ready}, .loop = loop_new(), .far = ends[1]};
	assert_int_equal(loop_io_add(bed->loop, &bed->io, EPOLLIN), 0);
	trickle_begin(&bed->trickle, bed->loop, &bed->io);
	for (size_t i = 0; i < bytes; i++)
		assert_int_equal(write(bed->far, "x", 1), 1);
}

static void bed_close(struct bed *bed)
{
	trickle_end(&bed->trickle);
	trickle_end(&bed->trickle);
	loop_io_del(bed->loop, &bed->io);
	loop_free(bed->loop);
	fd_close(&bed->io.fd);
	fd_close(&bed->far);
}

static void test_crumbs_wait(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed, 100);
	for (size_t i = 0; i < TRICKLE_FREE; i++) {
		loop_run_once(bed.loop, 0);
		assert_false(loop_timer_is_armed(&bed.trickle.timer));
	}
	loop_run_once(bed.loop, 0);
	assert_int_equal(bed.reads, TRICKLE_FREE + 1);
	assert_true(loop_timer_is_armed(&bed.trickle.timer));
	/* and goes on by itself */
	while (bed.reads < TRICKLE_FREE + 3)
		loop_run_once(bed.loop, 1000);
	bed_close(&bed);
}

static void test_worth_it(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed, 100);
	bed.is_worth_it = true;
	for (size_t i = 0; i < 50; i++)
		loop_run_once(bed.loop, 0);
	assert_int_equal(bed.reads, 50);
	/* one of them pays for one crumb */
	for (size_t i = 0; i < 40; i++) {
		bed.is_worth_it = i % 2 == 0;
		loop_run_once(bed.loop, 0);
	}
	assert_int_equal(bed.reads, 90);
	assert_false(loop_timer_is_armed(&bed.trickle.timer));
	bed_close(&bed);
}

static void test_never_begun(void **state)
{
	struct trickle trickle = {0};

	(void)state;
	trickle_end(&trickle);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crumbs_wait),
		cmocka_unit_test(test_worth_it),
		cmocka_unit_test(test_never_begun),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
