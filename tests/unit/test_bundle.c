/* SPDX-License-Identifier: Apache-2.0 */
/* test_bundle - many connections over one stream: bytes, ends, windows, and a hostile other end */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tunnel/bundle.h"
#include "util/clock.h"
#include "util/fd.h"

enum { ROUNDS = 300, STRANDS_MAX = BUNDLE_MAX + 8 };

struct end {
	struct bundle bundle;
	int fds[STRANDS_MAX]; /* begun by the other end */
	size_t nfds;
	unsigned ends, ups;
	const char *why;
};

struct bed {
	struct loop *loop;
	struct budget budget;
	struct end asker, other;
	int raw; /* in the place of the asker */
};

static void on_up(struct bundle *bundle)
{
	container_of(bundle, struct end, bundle)->ups++;
}

static void on_strand(struct bundle *bundle, int fd)
{
	struct end *end = container_of(bundle, struct end, bundle);

	assert_true(end->nfds < STRANDS_MAX);
	end->fds[end->nfds++] = fd;
}

static void on_end(struct bundle *bundle, const char *why)
{
	struct end *end = container_of(bundle, struct end, bundle);

	end->ends++;
	end->why = why;
}

static const struct bundle_ops ops = {on_up, on_strand, on_end};

static void open_end(struct bed *bed, struct end *end, bool is_asker, int in_fd, int out_fd)
{
	end->bundle = (struct bundle){
		.ops = &ops, .loop = bed->loop, .budget = &bed->budget, .is_asker = is_asker};
	assert_int_equal(bundle_open(&end->bundle, in_fd, out_fd), 0);
}

static void bed_start(struct bed *bed)
{
	*bed = (struct bed){.loop = loop_new(), .budget = {.max = 60000}, .raw = -1};
}

static void bed_open(struct bed *bed)
{
	int there[2], back[2];

	bed_start(bed);
	assert_int_equal(pipe2(there, O_NONBLOCK | O_CLOEXEC), 0);
	assert_int_equal(pipe2(back, O_NONBLOCK | O_CLOEXEC), 0);
	open_end(bed, &bed->asker, true, back[0], there[1]);
	open_end(bed, &bed->other, false, there[0], back[1]);
}

/* One end, the other one is the test's. */
static void bed_open_raw(struct bed *bed)
{
	int pair[2];

	bed_start(bed);
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	open_end(bed, &bed->other, false, pair[0], pair[0]);
	bed->raw = pair[1];
}

static void bed_run(struct bed *bed)
{
	for (int i = 0; i < ROUNDS; i++)
		assert_int_equal(loop_run_once(bed->loop, 0), 0);
}

static void bed_close(struct bed *bed)
{
	struct end *ends[] = {&bed->asker, &bed->other};

	for (size_t i = 0; i < 2; i++) {
		if (ends[i]->bundle.ops)
			bundle_close(&ends[i]->bundle);
		for (size_t j = 0; j < ends[i]->nfds; j++)
			close(ends[i]->fds[j]);
	}
	if (bed->raw >= 0)
		close(bed->raw);
	assert_int_equal(bed->budget.used, 0);
	loop_free(bed->loop);
}

static int dial(struct bed *bed)
{
	int fd = bundle_dial(&bed->asker.bundle);

	assert_true(fd >= 0);
	bed_run(bed);
	return fd;
}

static void assert_reads(int fd, const char *expected)
{
	char text[64];
	ssize_t got = recv(fd, text, sizeof(text), 0);

	assert_int_equal(got, strlen(expected));
	assert_memory_equal(text, expected, strlen(expected));
}

static void both_ends_begin(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	int one = dial(&bed), two = dial(&bed), back = bundle_dial(&bed.other.bundle);
	assert_true(back >= 0);
	bed_run(&bed);
	assert_int_equal(bed.asker.ups + bed.other.ups, 2);
	assert_int_equal(bed.other.nfds, 2);
	assert_int_equal(bed.asker.nfds, 1);
	send(two, "two", 3, 0);
	send(one, "one", 3, 0);
	send(bed.asker.fds[0], "back", 4, 0);
	bed_run(&bed);
	assert_reads(bed.other.fds[0], "one");
	assert_reads(bed.other.fds[1], "two");
	assert_reads(back, "back");
	close(one), close(two), close(back);
	bed_close(&bed);
}

static void an_end_leaves_the_other_direction(void **state)
{
	struct bed bed;
	char byte;

	(void)state;
	bed_open(&bed);
	int fd = dial(&bed), there = bed.other.fds[0];
	send(fd, "question", 8, 0);
	shutdown(fd, SHUT_WR);
	bed_run(&bed);
	assert_reads(there, "question");
	assert_int_equal(recv(there, &byte, 1, 0), 0);
	assert_int_equal(send(there, "answer", 6, MSG_NOSIGNAL), 6);
	shutdown(there, SHUT_WR);
	bed_run(&bed);
	assert_reads(fd, "answer");
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	bed_run(&bed);
	assert_int_equal(bed.asker.bundle.count + bed.other.bundle.count, 0);
	assert_false(fd_was_reset(fd) || fd_was_reset(there));
	close(fd);
	bed_close(&bed);
}

/* The end of its own direction is no end of the other one. */
static void who_resets_after_the_other_ones_end_breaks_it(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	int fd = dial(&bed), there = bed.other.fds[0];
	shutdown(fd, SHUT_WR);
	bed_run(&bed);
	assert_int_equal(send(there, "part", 4, MSG_NOSIGNAL), 4);
	fd_reset(&bed.other.fds[--bed.other.nfds]);
	bed_run(&bed);
	assert_true(fd_was_reset(fd));
	close(fd);
	bed_close(&bed);
}

static void who_closes_breaks_it(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	int fd = dial(&bed);
	close(fd);
	bed_run(&bed);
	assert_int_equal(bed.asker.bundle.count + bed.other.bundle.count, 0);
	assert_true(send(bed.other.fds[0], "x", 1, MSG_NOSIGNAL) < 0);
	assert_true(fd_was_reset(bed.other.fds[0]));
	bed_close(&bed);
}

/* Send without an end; returns how much was taken. */
static size_t fill(struct bed *bed, int fd)
{
	static const char bytes[65536];
	size_t total = 0;

	for (ssize_t sent; (sent = send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL)) > 0;) {
		total += (size_t)sent;
		bed_run(bed);
	}
	return total;
}

static void who_does_not_read_keeps_nobody_up(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	int slow = dial(&bed), quick = dial(&bed);
	size_t taken = fill(&bed, slow), got = 0;
	/* the window, and what both socket pairs hold */
	assert_in_range(taken, BUNDLE_WINDOW, BUNDLE_WINDOW + (2U << 20));
	send(quick, "quick", 5, 0);
	bed_run(&bed);
	assert_reads(bed.other.fds[1], "quick");
	for (ssize_t n; got < taken; got += (size_t)n) {
		static char bytes[65536];
		n = recv(bed.other.fds[0], bytes, sizeof(bytes), 0);
		assert_true(n > 0);
		bed_run(&bed);
	}
	close(slow), close(quick);
	bed_close(&bed);
}

static void bytes_arrive_as_they_were(void **state)
{
	enum { TOTAL = 8 << 20 };
	unsigned char *bytes = malloc(TOTAL), *there = malloc(TOTAL);
	size_t sent = 0, got = 0;
	struct bed bed;

	(void)state;
	srandom(7);
	for (size_t i = 0; i < TOTAL; i++)
		bytes[i] = (unsigned char)random();
	bed_open(&bed);
	int fd = dial(&bed);
	while (got < TOTAL) {
		ssize_t n = sent < TOTAL ? send(fd, bytes + sent,
						   1 + (size_t)random() % (TOTAL - sent), 0)
					 : 0;
		sent += n > 0 ? (size_t)n : 0;
		if (sent == TOTAL)
			shutdown(fd, SHUT_WR);
		for (int i = 0; i < 4; i++)
			loop_run_once(bed.loop, 0);
		n = recv(bed.other.fds[0], there + got, 1 + (size_t)random() % 300000, 0);
		got += n > 0 ? (size_t)n : 0;
		assert_int_not_equal(n, 0);
	}
	assert_memory_equal(bytes, there, TOTAL);
	close(fd);
	bed_close(&bed);
	free(bytes), free(there);
}

static void there_are_not_too_many(void **state)
{
	struct bed bed;
	int fds[BUNDLE_MAX];
	struct rlimit limit;

	(void)state;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	/* two pairs of sockets each */
	assert_true(limit.rlim_max >= 5UL * BUNDLE_MAX);
	bed_open(&bed);
	for (size_t i = 0; i < BUNDLE_MAX; i++)
		assert_true((fds[i] = bundle_dial(&bed.asker.bundle)) >= 0);
	assert_int_equal(bundle_dial(&bed.asker.bundle), -ENFILE);
	bed_run(&bed);
	assert_int_equal(bed.other.nfds, BUNDLE_MAX);
	for (size_t i = 0; i < BUNDLE_MAX; i++)
		close(fds[i]);
	bed_run(&bed);
	assert_int_equal(bed.other.bundle.count, 0);
	bed_close(&bed);
}

static void its_end_is_told(void **state)
{
	struct bed bed;
	char byte;

	(void)state;
	bed_open(&bed);
	int fd = dial(&bed);
	bundle_close(&bed.other.bundle);
	bed_run(&bed);
	assert_int_equal(bed.asker.ends, 1);
	assert_string_equal(bed.asker.why, "it has ended");
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	assert_true(fd_was_reset(fd));
	assert_int_equal(bundle_dial(&bed.asker.bundle), -EPIPE);
	close(fd);
	bed_close(&bed);
}

static void silence_is_death(void **state)
{
	struct bed bed;
	char magic[8 + 1] = {0};

	(void)state;
	bed_open_raw(&bed);
	bundle_close(&bed.other.bundle);
	close(bed.raw);
	int pair[2];
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	bed.raw = pair[1];
	bed.other.bundle = (struct bundle){
		.ops = &ops, .loop = bed.loop, .budget = &bed.budget, .alive_ms = 90};
	assert_int_equal(bundle_open(&bed.other.bundle, pair[0], pair[0]), 0);
	const uint64_t start_ns = clock_now_ns();
	send(bed.raw, BUNDLE_MAGIC, 8, 0);
	while (bed.other.ends == 0)
		loop_run_once(bed.loop, 10);
	assert_in_range((clock_now_ns() - start_ns) / NS_PER_MS, 89, 10000);
	assert_string_equal(bed.other.why, "its other end gives no sign of life");
	assert_int_equal(recv(bed.raw, magic, 8, 0), 8);
	assert_string_equal(magic, BUNDLE_MAGIC);
	assert_int_equal(recv(bed.raw, magic, 1, 0), 1);
	assert_int_equal(magic[0], 'P');
	bed_close(&bed);
}

/* What the other end says, and why the bundle ends by it; NULL: it does not. */
static void says(const void *bytes, size_t len, const char *why)
{
	struct bed bed;

	bed_open_raw(&bed);
	assert_int_equal(send(bed.raw, bytes, len, 0), len);
	bed_run(&bed);
	assert_int_equal(bed.other.ends, why ? 1 : 0);
	if (why)
		assert_string_equal(bed.other.why, why);
	bed_close(&bed);
}
#define SAYS(text, why) says(text, sizeof(text) - 1, why)

static void the_other_end_is_hostile(void **state)
{
	static const char no_frame[] = "its other end sends what is no frame";
	static char noise[BUNDLE_NOISE_MAX + 100];

	(void)state;
	SAYS("login: " BUNDLE_MAGIC "O\0\0\0\0\0\0\2", NULL);
	SAYS(BUNDLE_MAGIC "X\0\0\0\0\0\0\2", no_frame);
	SAYS(BUNDLE_MAGIC "\0\0\0\0\0\0\0\2", no_frame);
	SAYS(BUNDLE_MAGIC "D\1\0\0\0\0\0\2", no_frame);
	SAYS(BUNDLE_MAGIC "D\0\377\377\0\0\0\2", no_frame);
	SAYS(BUNDLE_MAGIC "O\0\0\0\0\0\0\1", "its other end begins a connection that is there");
	SAYS(BUNDLE_MAGIC "O\0\0\0\0\0\0\2O\0\0\0\0\0\0\2",
		"its other end begins a connection that is there");
	/* more room than a window has */
	SAYS(BUNDLE_MAGIC "O\0\0\0\0\0\0\2W\0\0\4\0\0\0\2\0\0\0\1", no_frame);
	/* of strands that are not there, as they may have been */
	SAYS(BUNDLE_MAGIC "E\0\0\0\0\0\0\7R\0\0\0\0\0\0\7W\0\0\4\0\0\0\7\0\0\0\1", NULL);
	/* bytes behind the end */
	SAYS(BUNDLE_MAGIC "O\0\0\0\0\0\0\2E\0\0\0\0\0\0\2D\0\0\1\0\0\0\2x",
		"its other end sends more than it may");
	says(noise, sizeof(noise), "its other end is no nswrap tunnel");
}

/* The window is all that there is memory for. */
static void who_sends_too_much_ends_it(void **state)
{
	static unsigned char piece[8 + BUNDLE_PIECE] = {
		'D', 0, BUNDLE_PIECE >> 8, BUNDLE_PIECE & 0xff, 0, 0, 0, 2};
	struct bed bed;
	size_t total = 0, at = 0;

	(void)state;
	bed_open_raw(&bed);
	send(bed.raw, BUNDLE_MAGIC "O\0\0\0\0\0\0\2", 16, 0);
	while (bed.other.ends == 0 && total < 8 * BUNDLE_WINDOW) {
		ssize_t sent = send(bed.raw, piece + at, sizeof(piece) - at, MSG_NOSIGNAL);
		if (sent > 0) {
			total += (size_t)sent;
			at = (at + (size_t)sent) % sizeof(piece);
		}
		loop_run_once(bed.loop, 0);
	}
	assert_int_equal(bed.other.ends, 1);
	assert_string_equal(bed.other.why, "its other end sends more than it may");
	bed_close(&bed);
}

/* Its end was sent, and it does not wait for the other one's. */
static void who_closes_after_its_end_breaks_it(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	int fd = dial(&bed);
	shutdown(fd, SHUT_WR);
	bed_run(&bed);
	assert_int_equal(bed.asker.bundle.count, 1);
	close(fd);
	bed_run(&bed);
	assert_int_equal(bed.asker.bundle.count + bed.other.bundle.count, 0);
	assert_true(fd_was_reset(bed.other.fds[0]));
	bed_close(&bed);
}

static void who_asks_must_read(void **state)
{
	static const char ping[] = "P\0\0\0\0\0\0";
	struct bed bed;
	size_t total = 0;

	(void)state;
	bed_open_raw(&bed);
	send(bed.raw, BUNDLE_MAGIC, 8, 0);
	for (unsigned quiet = 0; quiet < 50;) {
		if (send(bed.raw, ping, sizeof(ping), 0) == (ssize_t)sizeof(ping))
			total += sizeof(ping), quiet = 0;
		else
			quiet++, bed_run(&bed);
	}
	/* it stops to read, and remembers no more than it has room for */
	assert_in_range(total, 1, 8U << 20);
	assert_int_equal(bed.other.ends, 0);
	bed_close(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ends_begin),
		cmocka_unit_test(an_end_leaves_the_other_direction),
		cmocka_unit_test(who_closes_breaks_it),
		cmocka_unit_test(who_resets_after_the_other_ones_end_breaks_it),
		cmocka_unit_test(who_does_not_read_keeps_nobody_up),
		cmocka_unit_test(bytes_arrive_as_they_were),
		cmocka_unit_test(there_are_not_too_many),
		cmocka_unit_test(its_end_is_told),
		cmocka_unit_test(silence_is_death),
		cmocka_unit_test(the_other_end_is_hostile),
		cmocka_unit_test(who_sends_too_much_ends_it),
		cmocka_unit_test(who_closes_after_its_end_breaks_it),
		cmocka_unit_test(who_asks_must_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
