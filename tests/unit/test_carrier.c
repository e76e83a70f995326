/* SPDX-License-Identifier: Apache-2.0 */
/* test_carrier - a tunnel's connections over one link: it comes up, is lost, and comes again */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "count_fds.h"
#include "util/fd.h"
#include "util/log.h"

#include "clock_ahead.h"
#include "tunnel_bed.h"

#include "tunnel/carrier.h"

enum { FDS_MAX = 8, DEAD_MS = 15000 };

static const struct keyfile one_key = {"one key that is secret", 22};
static const struct keyfile other_key = {"another one, as secret", 22};

/* One end. */
struct side {
	struct carrier carrier;
	struct linkspec spec;
	struct children children;
	unsigned ups, downs, closes, lasts;
	bool was_down_first;
	int fds[FDS_MAX]; /* that the other end has begun */
	size_t nfds;
	char text[64], why[LINKEND_WHY_BYTES];
};

struct bed {
	struct tunnel_bed under;
	struct side here, there; /* here asks */
	const struct keyfile *key_here, *key_there;
	char directory[32], path[48];
	int fds_before;
};

static void on_up(void *owner)
{
	((struct side *)owner)->ups++;
}

static void on_connection(void *owner, int fd)
{
	struct side *side = owner;

	assert_true(side->nfds < FDS_MAX);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	side->fds[side->nfds++] = fd;
}

static void on_down(void *owner)
{
	struct side *side = owner;

	side->downs++;
	side->was_down_first = side->closes < side->downs;
}

static void on_closed(void *owner, const char *why, bool is_last)
{
	struct side *side = owner;

	side->closes++;
	side->lasts += is_last;
	snprintf(side->why, sizeof(side->why), "%s", why);
}

static const struct carrier_ops ops = {on_up, on_connection, on_down, on_closed};

static void bed_open(struct bed *bed)
{
	*bed = (struct bed){.directory = "/tmp/test_carrier.XXXXXX", .fds_before = count_fds()};
	tunnel_bed_open(&bed->under, 1000);
	assert_non_null(mkdtemp(bed->directory));
	snprintf(bed->path, sizeof(bed->path), "%s/s", bed->directory);
}

static int open_side(
	struct bed *bed, struct side *side, const char *text, bool is_asker, struct err *err)
{
	*side = (struct side){.carrier = {.ops = &ops,
				      .owner = side,
				      .is_asker = is_asker,
				      .dead_ms = DEAD_MS,
				      .end = {.context = &bed->under.context,
					      .spec = &side->spec,
					      .children = &side->children,
					      .nofile = {256, 256},
					      .key = is_asker ? bed->key_here : bed->key_there,
					      .role = is_asker ? PROOF_ASKER : PROOF_ANSWERER,
					      .purpose = "test"}}};
	snprintf(side->text, sizeof(side->text), "%s", text);
	assert_int_equal(linkspec_parse(side->text, &side->spec, NULL), 0);
	children_init(&side->children, bed->under.loop);
	return carrier_open(&side->carrier, err);
}

static void close_side(struct side *side)
{
	if (!side->spec.text)
		return;
	carrier_close(&side->carrier);
	for (size_t i = 0; i < side->nfds; i++)
		close(side->fds[i]);
	children_end(&side->children, 2000);
	linkspec_fini(&side->spec);
	*side = (struct side){.nfds = 0};
}

/* With nothing left. */
static void bed_close(struct bed *bed)
{
	close_side(&bed->here);
	close_side(&bed->there);
	tunnel_bed_close(&bed->under);
	assert_int_equal(rmdir(bed->directory), 0);
	assert_int_equal(count_fds(), bed->fds_before);
}

/* Both ends of a link over a path. */
static void open_there(struct bed *bed)
{
	char text[64];

	snprintf(text, sizeof(text), "listen-unix:%s", bed->path);
	assert_int_equal(open_side(bed, &bed->there, text, false, NULL), 0);
}

static void open_here(struct bed *bed)
{
	char text[64];

	snprintf(text, sizeof(text), "unix:%s", bed->path);
	assert_int_equal(open_side(bed, &bed->here, text, true, NULL), 0);
}

/* One end, here, over a pair of sockets; returns the other one's. */
static int open_over_pair(struct bed *bed)
{
	char text[32];
	int fds[2];

	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), errno);
	snprintf(text, sizeof(text), "fd:%d", fds[0]);
	assert_int_equal(open_side(bed, &bed->here, text, true, NULL), 0);
	return fds[1];
}

#define run_until(bed, condition)                                                 \
	do {                                                                      \
		uint64_t end_ns_ = clock_now_ns() + TUNNEL_WAIT_MS * NS_PER_MS;   \
		while (!(condition)) {                                            \
			if (clock_now_ns() > end_ns_)                             \
				fail_msg("in vain: %s", #condition);              \
			assert_int_equal(loop_run_once((bed)->under.loop, 1), 0); \
			children_reap(&(bed)->here.children);                     \
		}                                                                 \
	} while (0)

static void pass(struct bed *bed, uint64_t ms)
{
	clock_ahead_ns += ms * NS_PER_MS;
	tunnel_bed_settle(&bed->under);
}

static void both_up(struct bed *bed)
{
	open_there(bed);
	open_here(bed);
	run_until(bed, bed->here.ups == 1 && bed->there.ups == 1);
}

static void assert_carries(struct bed *bed, int from, int to)
{
	char text[8] = {0};

	assert_int_equal(send(from, "bytes", 5, MSG_NOSIGNAL), 5);
	run_until(bed, recv(to, text, sizeof(text), MSG_DONTWAIT) == 5);
	assert_memory_equal(text, "bytes", 5);
}

static void both_ends_begin(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	open_there(&bed);
	open_here(&bed);
	assert_int_equal(carrier_dial(&bed.here.carrier), -EPIPE); /* it is not open yet */
	assert_int_equal(bed.here.ups + bed.here.closes, 0);
	run_until(&bed, bed.here.ups == 1 && bed.there.ups == 1);
	int one = carrier_dial(&bed.here.carrier), back = carrier_dial(&bed.there.carrier);
	assert_true(one >= 0 && fcntl(one, F_GETFL) & O_NONBLOCK);
	assert_true(back >= 0);
	run_until(&bed, bed.there.nfds == 1 && bed.here.nfds == 1);
	assert_carries(&bed, one, bed.there.fds[0]);
	assert_carries(&bed, bed.there.fds[0], one);
	assert_carries(&bed, back, bed.here.fds[0]);
	for (int i = 0; i < 30; i++)
		pass(&bed, DEAD_MS / 3); /* nobody has anything to say, and both are alive */
	assert_carries(&bed, bed.here.fds[0], back);
	assert_int_equal(bed.here.downs + bed.here.closes + bed.there.downs, 0);
	close(one);
	close(back);
	bed_close(&bed);
}

/* The link ends; what was carried ends with it; then it comes again, and again. */
static void it_is_lost_and_comes_again(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	both_up(&bed);
	for (unsigned round = 1; round <= 3; round++) {
		int fd = carrier_dial(&bed.here.carrier);
		assert_true(fd >= 0);
		run_until(&bed, bed.there.nfds == 1);
		close_side(&bed.there);
		run_until(&bed, bed.here.downs == round);
		tunnel_ends(&bed.under, fd);
		close(fd);
		assert_int_equal(carrier_dial(&bed.here.carrier), -EPIPE);
		run_until(&bed, bed.here.closes == round);
		assert_true(bed.here.was_down_first);
		assert_string_equal(bed.here.why, "it has ended");
		open_there(&bed);
		for (int i = 0; i < 100 && bed.here.ups == round; i++)
			pass(&bed, LINKEND_PAUSE_MIN_MS);
		run_until(&bed, bed.here.ups == round + 1 && bed.there.ups == 1);
		bed.here.closes = round; /* it may have come before the other end, once or twice */
	}
	assert_int_equal(bed.here.downs, 3);
	assert_int_equal(bed.here.lasts, 0);
	bed_close(&bed);
}

/* Who takes its place and is no tunnel: it does not come up, and does not go down again. */
static void another_one_is_there(void **state)
{
	struct addr at = {.local.sun_family = AF_UNIX};
	struct bed bed;

	(void)state;
	bed_open(&bed);
	both_up(&bed);
	close_side(&bed.there);
	run_until(&bed, bed.here.closes == 1);
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), fd = -1;
	strcpy(at.local.sun_path, bed.path);
	assert_return_code(bind(listener, &at.any, addr_len(&at)), errno);
	assert_return_code(listen(listener, 1), errno);
	for (int i = 0; i < 100 && fd < 0; i++) {
		pass(&bed, LINKEND_PAUSE_MIN_MS);
		fd = accept(listener, NULL, NULL);
	}
	assert_true(fd >= 0);
	unsigned closes = bed.here.closes;
	close(fd);
	run_until(&bed, bed.here.closes == closes + 1);
	assert_int_equal(bed.here.ups, 1);
	assert_int_equal(bed.here.downs, 1);
	close(listener);
	assert_int_equal(unlink(bed.path), 0);
	bed_close(&bed);
}

/* One that was never up does not go down, but is tried again after pauses that grow. */
static void nobody_is_there(void **state)
{
	uint64_t longest_ms = 0;
	struct bed bed;

	(void)state;
	bed_open(&bed);
	open_here(&bed);
	for (unsigned i = 1; i <= 12; i++) {
		uint64_t ms = 0;

		for (; bed.here.closes < i; ms += 100)
			pass(&bed, 100);
		assert_true(ms <= 2 * LINKEND_PAUSE_MAX_MS);
		longest_ms = ms > longest_ms ? ms : longest_ms;
		assert_string_equal(bed.here.why, "cannot connect: No such file or directory");
	}
	assert_true(longest_ms > 20 * LINKEND_PAUSE_MIN_MS);
	assert_int_equal(bed.here.ups + bed.here.downs + bed.here.lasts, 0);
	bed_close(&bed);
}

static void what_was_inherited_is_once(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	int fds[2], backs[2];
	char text[32];
	assert_return_code(pipe2(fds, O_CLOEXEC), errno);
	assert_return_code(pipe2(backs, O_CLOEXEC), errno);
	snprintf(text, sizeof(text), "fd:%d,%d", fds[0], backs[1]);
	assert_int_equal(open_side(&bed, &bed.here, text, true, NULL), 0);
	assert_int_equal(write(fds[1], BUNDLE_MAGIC, strlen(BUNDLE_MAGIC)), strlen(BUNDLE_MAGIC));
	tunnel_bed_settle(&bed.under);
	/* whatever they were: nobody waits for the other end */
	assert_true(fcntl(fds[0], F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(backs[1], F_GETFL) & O_NONBLOCK);
	run_until(&bed, bed.here.ups == 1);
	close(fds[1]);
	run_until(&bed, bed.here.closes == 1);
	char said[64];
	assert_int_equal(fd_set_nonblock(backs[0], 1), 0);
	assert_int_equal(read(backs[0], said, sizeof(said)), strlen(BUNDLE_MAGIC));
	assert_int_equal(read(backs[0], said, sizeof(said)), 0);
	close(backs[0]);
	assert_int_equal(bed.here.downs, 1);
	assert_int_equal(bed.here.lasts, 1);
	for (int i = 0; i < 10; i++)
		pass(&bed, LINKEND_PAUSE_MAX_MS);
	assert_int_equal(bed.here.closes, 1);
	assert_int_equal(carrier_dial(&bed.here.carrier), -EPIPE);
	bed_close(&bed);
}

static void who_is_silent_is_dead(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	int fd = open_over_pair(&bed);
	assert_int_equal(send(fd, BUNDLE_MAGIC, strlen(BUNDLE_MAGIC), 0), strlen(BUNDLE_MAGIC));
	run_until(&bed, bed.here.ups == 1);
	pass(&bed, DEAD_MS / 2);
	assert_int_equal(bed.here.downs, 0);
	for (int i = 0; i < 4; i++)
		pass(&bed, DEAD_MS / 3 + 2);
	run_until(&bed, bed.here.closes == 1);
	assert_int_equal(bed.here.downs, 1);
	assert_string_equal(bed.here.why, "its other end gives no sign of life");
	tunnel_ends(&bed.under, fd);
	close(fd);
	bed_close(&bed);
}

static void who_is_no_tunnel(void **state)
{
	static const char banner[] = "welcome to this machine, which is not what you want\r\n";
	struct bed bed;

	(void)state;
	bed_open(&bed);
	int fd = open_over_pair(&bed);
	for (size_t said = 0; said <= BUNDLE_NOISE_MAX && bed.here.closes == 0;) {
		ssize_t sent = send(fd, banner, sizeof(banner), MSG_DONTWAIT | MSG_NOSIGNAL);
		said += sent > 0 ? (size_t)sent : 0;
		tunnel_bed_settle(&bed.under);
	}
	run_until(&bed, bed.here.closes == 1);
	assert_string_equal(bed.here.why, "its other end is no nswrap tunnel");
	assert_int_equal(bed.here.ups + bed.here.downs, 0);
	tunnel_ends(&bed.under, fd);
	close(fd);
	bed_close(&bed);
}

/* A command: what it has written before its end is read, and how it ended is told. */
static void a_command_that_ends(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	assert_int_equal(open_side(&bed, &bed.here, "exec:sh -c 'printf " BUNDLE_MAGIC "; exit 3'",
				 true, NULL),
		0);
	run_until(&bed, bed.here.ups == 1);
	run_until(&bed, bed.here.downs == 1);
	for (int i = 0; i < 100 && bed.here.closes == 0; i++) {
		children_reap(&bed.here.children);
		loop_run_once(bed.under.loop, 20);
	}
	assert_non_null(strstr(bed.here.why, "its command ended with status 3"));
	assert_int_equal(bed.here.lasts, 0);
	bed_close(&bed);
}

/* Or nothing is carried, and nobody is told that it was up. */
static void both_have_the_key(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	bed.key_here = bed.key_there = &one_key;
	both_up(&bed);
	int fd = carrier_dial(&bed.here.carrier);
	run_until(&bed, bed.there.nfds == 1);
	assert_carries(&bed, fd, bed.there.fds[0]);
	close(fd);
	bed_close(&bed);

	bed_open(&bed);
	bed.key_here = &one_key;
	bed.key_there = &other_key;
	open_there(&bed);
	open_here(&bed);
	run_until(&bed, bed.here.closes == 1);
	assert_int_equal(carrier_dial(&bed.here.carrier), -EPIPE);
	assert_int_equal(bed.here.ups + bed.here.downs + bed.there.ups, 0);
	assert_true(strlen(bed.here.why) > 0);
	bed_close(&bed);
}

static void what_cannot_be_opened_says_so(void **state)
{
	struct bed bed;
	struct err err;

	(void)state;
	bed_open(&bed);
	assert_int_equal(open_side(&bed, &bed.here, "fd:1000,1001", true, &err), -EINVAL);
	assert_string_equal(err.text, "fd:1000,1001: descriptor 1000 is not open");
	assert_int_equal(
		open_side(&bed, &bed.there, "listen-unix:/nowhere/s", false, &err), -ENOENT);
	assert_true(strlen(err.text) > 0);
	tunnel_bed_settle(&bed.under);
	assert_int_equal(bed.here.closes + bed.there.closes, 0);
	bed_close(&bed);
	struct carrier none = {.ops = NULL};
	carrier_close(&none);
}

/* Closed after any number of rounds: nothing is left, and no callback comes. */
static void it_ends_at_any_moment(void **state)
{
	struct bed bed;

	(void)state;
	for (int rounds = 0; rounds < 40; rounds++) {
		bed_open(&bed);
		open_there(&bed);
		open_here(&bed);
		int fd = -1;
		for (int i = 0; i < rounds; i++) {
			assert_int_equal(loop_run_once(bed.under.loop, 0), 0);
			if (fd < 0 && rounds % 2)
				fd = carrier_dial(&bed.here.carrier);
		}
		carrier_close(&bed.here.carrier);
		unsigned ups = bed.here.ups;
		for (int i = 0; i < 20; i++)
			pass(&bed, LINKEND_PAUSE_MAX_MS);
		assert_int_equal(bed.here.downs + bed.here.closes, 0);
		assert_int_equal(bed.here.ups, ups);
		assert_int_equal(bed.there.downs, bed.there.ups); /* it has noticed */
		if (fd >= 0)
			close(fd);
		bed_close(&bed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ends_begin),
		cmocka_unit_test(it_is_lost_and_comes_again),
		cmocka_unit_test(another_one_is_there),
		cmocka_unit_test(nobody_is_there),
		cmocka_unit_test(what_was_inherited_is_once),
		cmocka_unit_test(who_is_silent_is_dead),
		cmocka_unit_test(who_is_no_tunnel),
		cmocka_unit_test(a_command_that_ends),
		cmocka_unit_test(both_have_the_key),
		cmocka_unit_test(what_cannot_be_opened_says_so),
		cmocka_unit_test(it_ends_at_any_moment),
	};

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_WARNING);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
