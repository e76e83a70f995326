/* SPDX-License-Identifier: Apache-2.0 */
/* test_ready - one line, once, whenever there is room for it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/ready.h"

#define LINE "READY=1\n"

struct bed {
	struct ready ready;
	int read_fd, write_fd; /* the latter is shared: it blocks */
	char text[1 << 17];
};

static void open_bed(struct bed *bed, bool is_full)
{
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	*bed = (struct bed){.ready = {.loop = loop_new(), .io.fd = ends[1]},
		.read_fd = ends[0],
		.write_fd = fcntl(ends[1], F_DUPFD_CLOEXEC, 0)};
	fd_set_nonblock(ends[1], 1);
	while (is_full && write(ends[1], bed->text, 4096) > 0)
		;
	fd_set_nonblock(ends[1], 0);
	fd_set_nonblock(ends[0], 1);
}

static void close_bed(struct bed *bed)
{
	ready_end(&bed->ready, 0);
	assert_int_equal(bed->ready.io.fd, -1);
	loop_free(bed->ready.loop);
	fd_close(&bed->read_fd);
	fd_close(&bed->write_fd);
}

/* The last eight bytes of what is there. */
static const char *hear(struct bed *bed)
{
	ssize_t got = read(bed->read_fd, bed->text, sizeof(bed->text) - 1);

	if (got < 8)
		return "";
	bed->text[got] = '\0';
	return bed->text + got - 8;
}

static void told_at_once(void **state)
{
	static struct bed bed;

	(void)state;
	open_bed(&bed, false);
	ready_tell(&bed.ready);
	assert_int_equal(bed.ready.io.fd, -1);
	ready_tell(&bed.ready);
	assert_string_equal(hear(&bed), LINE);
	assert_string_equal(hear(&bed), "");
	close_bed(&bed);
}

static void told_when_there_is_room(void **state)
{
	static struct bed bed;

	(void)state;
	open_bed(&bed, true);
	ready_tell(&bed.ready);
	ready_tell(&bed.ready);
	loop_run_once(bed.ready.loop, 0);
	assert_string_not_equal(hear(&bed), LINE);
	loop_run_once(bed.ready.loop, 1000);
	assert_int_equal(bed.ready.io.fd, -1);
	assert_string_equal(hear(&bed), LINE);
	close_bed(&bed);
}

static void told_at_the_end(void **state)
{
	static struct bed bed;

	(void)state;
	open_bed(&bed, true);
	ready_tell(&bed.ready);
	hear(&bed);
	ready_end(&bed.ready, 5000);
	assert_string_equal(hear(&bed), LINE);
	close_bed(&bed);
	/* who does not read is not waited for, and who was told nothing hears nothing */
	open_bed(&bed, true);
	ready_tell(&bed.ready);
	ready_end(&bed.ready, 20);
	close_bed(&bed);
	open_bed(&bed, false);
	ready_end(&bed.ready, 5000);
	assert_string_equal(hear(&bed), "");
	close_bed(&bed);
}

static void nobody_reads(void **state)
{
	static struct bed bed;

	(void)state;
	open_bed(&bed, true);
	ready_tell(&bed.ready);
	fd_close(&bed.read_fd);
	loop_run_once(bed.ready.loop, 1000);
	assert_int_equal(bed.ready.io.fd, -1);
	close_bed(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(told_at_once),
		cmocka_unit_test(told_when_there_is_room),
		cmocka_unit_test(told_at_the_end),
		cmocka_unit_test(nobody_reads),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("ready", tests, NULL, NULL);
}
