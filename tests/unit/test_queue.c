/* SPDX-License-Identifier: Apache-2.0 */
/* test_queue - all that is said comes, in its order, however late it is read */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/queue.h"

#define MANY 2000 /* the pair holds fewer */

struct bed {
	struct loop *loop;
	struct loop_io io;
	struct queue queue;
	int far;
	unsigned wakes;
};

/* Large ones, as those that go between processes of a sandbox. */
struct message {
	unsigned number;
	char rest[500];
};

static void on_ready(struct loop_io *io, uint32_t events)
{
	struct bed *bed = container_of(io, struct bed, io);

	bed->wakes++;
	if (events & EPOLLOUT)
		queue_go_on(&bed->queue);
}

static void open_bed(struct bed *bed)
{
	struct err err;
	int ends[2];

	assert_int_equal(fd_pair(ends, SOCK_NONBLOCK, &err), 0);
	*bed = (struct bed){.loop = loop_new(), .io = {ends[0], on_ready}, .far = ends[1]};
	assert_int_equal(loop_io_add(bed->loop, &bed->io, EPOLLIN), 0);
	queue_init(&bed->queue, bed->loop, &bed->io);
}

static void close_bed(struct bed *bed)
{
	queue_drop(&bed->queue);
	loop_io_del(bed->loop, &bed->io);
	loop_free(bed->loop);
	close(bed->io.fd);
	close(bed->far);
}

static int say(struct bed *bed, unsigned number, int fd)
{
	struct message message = {.number = number};

	return queue_send(&bed->queue, &message, sizeof(message), fd);
}

/* Read what is there: @next is the number that is to come. */
static unsigned hear(struct bed *bed, unsigned next)
{
	struct message message;
	int fd;

	for (; fd_recv_one(bed->far, &message, sizeof(message), &fd) == 0; next++) {
		assert_int_equal(message.number, next);
		/* each tenth has a descriptor */
		assert_int_equal(fd >= 0, next % 10 == 0);
		fd_close(&fd);
	}
	return next;
}

static void nothing_is_lost(void **state)
{
	struct bed bed;
	unsigned next, said;

	(void)state;
	open_bed(&bed);
	for (said = 0; said < MANY; said++) {
		int fd = said % 10 == 0 ? open("/dev/null", O_RDONLY | O_CLOEXEC) : -1;

		assert_int_equal(say(&bed, said, fd), 0);
		fd_close(&fd);
	}
	assert_true(bed.queue.count > 0);
	next = hear(&bed, 0);
	assert_in_range(next, 1, MANY - 1);
	/* what is said meanwhile comes behind the rest */
	assert_int_equal(say(&bed, said++, bed.far), 0);
	while (next < said && loop_run_once(bed.loop, 1000) == 0)
		next = hear(&bed, next);
	assert_int_equal(bed.queue.count, 0);
	/* and nothing wakes any more */
	loop_run_once(bed.loop, 0);
	bed.wakes = 0;
	loop_run_once(bed.loop, 0);
	assert_int_equal(bed.wakes, 0);
	close_bed(&bed);
}

static void there_is_an_end(void **state)
{
	struct bed bed;
	unsigned said = 1;
	int result;

	(void)state;
	open_bed(&bed);
	while ((result = say(&bed, said, -1)) == 0 && said < 3 * QUEUE_MAX)
		said++;
	assert_int_equal(result, -ENOBUFS);
	assert_int_equal(bed.queue.count, QUEUE_MAX);
	queue_drop(&bed.queue);
	assert_int_equal(bed.queue.count, 0);
	close_bed(&bed);
}

static void nobody_is_there(void **state)
{
	struct bed bed;

	(void)state;
	open_bed(&bed);
	for (unsigned i = 1; i < MANY; i++)
		say(&bed, i, -1);
	fd_close(&bed.far);
	loop_run_once(bed.loop, 1000);
	assert_int_equal(bed.queue.count, 0);
	assert_int_equal(say(&bed, 1, -1), -EPIPE);
	close_bed(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_lost),
		cmocka_unit_test(there_is_an_end),
		cmocka_unit_test(nobody_is_there),
	};

	return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
