/* SPDX-License-Identifier: Apache-2.0 */
/* test_linkend - links of every kind: opened, ended by either side, opened again */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "link/linkend.h"
#include "mesh_bed.h"

static const struct keyfile key = {"one key that is secret", 22};

struct side {
	struct mesh_bed *bed;
	struct linkend end;
	struct linkspec spec;
	struct children children;
	int in_fd, out_fd;
	int opened, over, closed;
	char why[LINKEND_WHY_BYTES];
};

static void on_open(struct linkend *end, int in_fd, int out_fd)
{
	struct side *side = container_of(end, struct side, end);

	assert_int_equal(end->state, LINKEND_OPEN);
	side->opened++;
	side->in_fd = in_fd;
	side->out_fd = out_fd;
}

static void drop(struct side *side)
{
	if (side->out_fd != side->in_fd)
		fd_close(&side->out_fd);
	fd_close(&side->in_fd);
	side->out_fd = -1;
}

static void on_over(struct linkend *end)
{
	container_of(end, struct side, end)->over++;
}

static void on_closed(struct linkend *end, const char *why)
{
	struct side *side = container_of(end, struct side, end);

	assert_int_equal(end->state, LINKEND_IDLE);
	side->closed++;
	snprintf(side->why, sizeof(side->why), "%s", why);
}

static const struct linkend_ops ops = {on_open, on_over, on_closed};

static int prepare(struct side *side, struct mesh_bed *bed, const char *text, struct err *err)
{
	*side = (struct side){.bed = bed, .in_fd = -1, .out_fd = -1};
	assert_int_equal(linkspec_parse(text, &side->spec, NULL), 0);
	children_init(&side->children, bed->context.loop);
	side->end = (struct linkend){.ops = &ops,
		.context = &bed->context,
		.spec = &side->spec,
		.children = &side->children,
		.nofile = {256, 256}};
	return linkend_init(&side->end, err);
}

static void begin(struct side *side, struct mesh_bed *bed, const char *text)
{
	assert_int_equal(prepare(side, bed, text, NULL), 0);
	linkend_start(&side->end);
	assert_int_equal(side->opened + side->closed, 0);
}

static void finish(struct side *side)
{
	linkend_fini(&side->end);
	drop(side);
	children_end(&side->children, 2000);
	linkspec_fini(&side->spec);
}

static void expect_echo(struct side *side, const char *said, const char *heard)
{
	char text[64] = {0};
	ssize_t len = -1;

	assert_int_equal(write(side->out_fd, said, strlen(said)), strlen(said));
	run_until(side->bed, (len = read(side->in_fd, text, sizeof(text) - 1)) > 0);
	assert_string_equal(text, heard);
}

static void a_command_is_started_and_ends(void **state)
{
	struct mesh_bed bed;
	struct side side;
	(void)state;

	bed_open(&bed);
	begin(&side, &bed, "exec:sed -u s/a/b/");
	run_until(&bed, side.opened == 1);
	fcntl(side.in_fd, F_SETFL, O_NONBLOCK);
	expect_echo(&side, "cat\n", "cbt\n");
	drop(&side);
	linkend_close(&side.end, "enough");
	linkend_close(&side.end, "ignored");
	assert_int_equal(side.closed, 0);
	run_until(&bed, side.closed == 1);
	assert_string_equal(side.why, "enough");
	finish(&side);
	bed_close(&bed);
}

static void a_command_that_does_not_end_is_killed(void **state)
{
	struct mesh_bed bed;
	struct side side;
	(void)state;

	bed_open(&bed);
	begin(&side, &bed, "exec:sleep 1000");
	run_until(&bed, side.opened == 1);
	pid_t pid = side.end.child.pid;
	drop(&side);
	linkend_close(&side.end, NULL);
	settle(&bed);
	assert_int_equal(side.closed, 0);
	jump(&bed, LINKEND_END_MS);
	run_until(&bed, side.closed == 1);
	assert_int_equal(kill(pid, 0), -1);
	assert_string_equal(side.why, "");
	finish(&side);
	bed_close(&bed);
}

static void how_a_command_ends_is_told(void **state)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
		{"exec:sh -c 'exit 3'", "its command ended with status 3"},
		{"exec:/nowhere/x y", "its command cannot be started: /nowhere/x: No such file"},
		{"exec:sh -c 'kill -9 $$'", "its command was ended by signal 9"},
		{"exec:true", "its command ended with status 0"},
	};
	struct mesh_bed bed;
	struct side side;
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bed_open(&bed);
		begin(&side, &bed, rows[i].text);
		run_until(&bed, side.over == 1);
		drop(&side);
		linkend_close(&side.end, NULL);
		run_until(&bed, side.closed == 1);
		if (strncmp(side.why, rows[i].why, strlen(rows[i].why)) != 0)
			fail_msg("%s", side.why);
		finish(&side);
		bed_close(&bed);
	}
}

/* Two ends in one loop: tcp, unix, with and without a key; again after each has ended. */
static void expect_pair(const char *listens, const char *dials, const struct keyfile *with)
{
	struct mesh_bed bed;
	struct side there, here;

	bed_open(&bed);
	assert_int_equal(prepare(&there, &bed, listens, NULL), 0);
	assert_int_equal(prepare(&here, &bed, dials, NULL), 0);
	there.end.key = there.end.port.key = here.end.key = with;
	there.end.role = there.end.port.role = PROOF_ANSWERER;
	there.end.purpose = there.end.port.purpose = here.end.purpose = "test";
	here.end.role = PROOF_ASKER;
	for (int round = 1; round <= 3; round++) {
		linkend_again(&there.end);
		linkend_again(&here.end);
		run_until(&bed, there.closed == 0 && there.opened == round && here.opened == round);
		assert_int_equal(write(here.out_fd, "to", 2), 2);
		char text[8] = {0};
		run_until(&bed, read(there.in_fd, text, sizeof(text)) == 2);
		assert_string_equal(text, "to");
		drop(&there);
		drop(&here);
		linkend_close(&there.end, NULL);
		linkend_close(&here.end, "it is over");
		run_until(&bed, there.closed == 1 && here.closed == 1);
		assert_string_equal(here.why, "it is over");
		there.closed = here.closed = 0;
	}
	finish(&here);
	finish(&there);
	bed_close(&bed);
}

static void both_ends_meet(void **state)
{
	char directory[] = "/tmp/nswrap-linkend-XXXXXX", listens[64], dials[64];

	(void)state;
	expect_pair("listen-tcp:127.0.0.1:4710", "tcp:localhost:4710", NULL);
	expect_pair("listen-tcp:127.0.0.1:4710", "tcp:127.0.0.1:4710", &key);
	assert_non_null(mkdtemp(directory));
	snprintf(listens, sizeof(listens), "listen-unix:%s/s", directory);
	snprintf(dials, sizeof(dials), "unix:%s/s", directory);
	expect_pair(listens, dials, NULL);
	expect_pair(listens, dials, &key);
	assert_int_equal(rmdir(directory), 0);
}

static void what_cannot_be_opened_says_so(void **state)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
		{"tcp:gone:1", "cannot connect: there is no such name"},
		{"tcp:127.0.0.1:4711", "cannot connect: Connection refused"},
		{"unix:/nowhere/s", "cannot connect: No such file or directory"},
	};
	struct mesh_bed bed;
	struct side side;
	struct err err;
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bed_open(&bed);
		begin(&side, &bed, rows[i].text);
		run_until(&bed, side.closed == 1);
		assert_string_equal(side.why, rows[i].why);
		assert_int_equal(side.opened, 0);
		finish(&side);
		bed_close(&bed);
	}
	bed_open(&bed);
	assert_int_equal(prepare(&side, &bed, "fd:1000,1001", &err), -EINVAL);
	assert_string_equal(err.text, "fd:1000,1001: descriptor 1000 is not open");
	finish(&side);
	assert_int_equal(prepare(&side, &bed, "listen-unix:/nowhere/s", &err), -ENOENT);
	finish(&side);
	bed_close(&bed);
}

static void pauses_grow_until_it_was_good(void **state)
{
	struct mesh_bed bed;
	struct side side;
	unsigned pause_ms = 0;
	(void)state;

	bed_open(&bed);
	assert_int_equal(prepare(&side, &bed, "tcp:127.0.0.1:4712", NULL), 0);
	for (unsigned i = 0, wanted = LINKEND_PAUSE_MIN_MS; i < 10; i++) {
		pause_ms = linkend_again(&side.end);
		assert_in_range(pause_ms, wanted * 4 / 5, wanted * 6 / 5);
		bed_round(&bed);
		assert_int_equal(side.closed, 0);
		jump(&bed, pause_ms);
		run_until(&bed, side.closed == 1);
		side.closed = 0;
		wanted = wanted * 2 < LINKEND_PAUSE_MAX_MS ? wanted * 2 : LINKEND_PAUSE_MAX_MS;
	}
	int listener = tcp_listen("127.0.0.1", 4712, 5);
	for (int is_good = 0; is_good < 2; is_good++) {
		linkend_start(&side.end);
		run_until(&bed, side.opened == 1 + is_good);
		if (is_good)
			jump(&bed, LINKEND_GOOD_MS);
		drop(&side);
		linkend_close(&side.end, NULL);
		run_until(&bed, side.closed == 1 + is_good);
		pause_ms = linkend_again(&side.end);
		if (is_good)
			assert_in_range(pause_ms, 0, LINKEND_PAUSE_MIN_MS * 6 / 5);
		else
			assert_in_range(pause_ms, LINKEND_PAUSE_MAX_MS * 4 / 5,
				LINKEND_PAUSE_MAX_MS * 6 / 5);
	}
	linkend_close(&side.end, NULL); /* it waits no more */
	jump(&bed, LINKEND_PAUSE_MAX_MS);
	assert_int_equal(side.opened, 2);
	close(listener);
	finish(&side);
	bed_close(&bed);
}

static void what_was_inherited_is_used_once(void **state)
{
	struct mesh_bed bed;
	struct side side;
	int pair[2];
	char text[32];
	(void)state;

	bed_open(&bed);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	snprintf(text, sizeof(text), "fd:%d", pair[0]);
	begin(&side, &bed, text);
	assert_int_equal(fcntl(pair[0], F_GETFD), FD_CLOEXEC);
	run_until(&bed, side.opened == 1);
	assert_int_equal(side.in_fd, pair[0]);
	assert_int_equal(side.out_fd, pair[0]);
	drop(&side);
	linkend_close(&side.end, NULL);
	run_until(&bed, side.closed == 1);
	linkend_start(&side.end);
	run_until(&bed, side.closed == 2);
	assert_string_equal(side.why, "what was inherited cannot be opened again");
	close(pair[1]);
	finish(&side);
	bed_close(&bed);
}

/* Ended at each moment: nothing is left, no callback comes. */
static void it_can_be_ended_at_any_moment(void **state)
{
	static const char *const texts[] = {"exec:cat", "tcp:hang:1", "tcp:127.0.0.1:4713",
		"listen-tcp:127.0.0.1:4714", "exec:sleep 100"};
	struct mesh_bed bed;
	struct side side;
	(void)state;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		for (int rounds = 0; rounds < 6; rounds++) {
			bed_open(&bed);
			assert_int_equal(prepare(&side, &bed, texts[i], NULL), 0);
			if (i == 4) {
				side.end.key = &key;
				side.end.role = PROOF_ASKER;
				side.end.purpose = "test";
			}
			linkend_start(&side.end);
			for (int at = 0; at < rounds; at++)
				bed_round(&bed);
			if (rounds == 5) {
				drop(&side);
				linkend_close(&side.end, NULL);
			}
			int so_far = side.opened + side.closed;
			finish(&side);
			settle(&bed);
			assert_int_equal(side.opened + side.closed, so_far);
			bed_close(&bed);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_command_is_started_and_ends),
		cmocka_unit_test(a_command_that_does_not_end_is_killed),
		cmocka_unit_test(how_a_command_ends_is_told),
		cmocka_unit_test(both_ends_meet),
		cmocka_unit_test(what_cannot_be_opened_says_so),
		cmocka_unit_test(pauses_grow_until_it_was_good),
		cmocka_unit_test(what_was_inherited_is_used_once),
		cmocka_unit_test(it_can_be_ended_at_any_moment),
	};

	signal(SIGPIPE, SIG_IGN);
	bed_enter_namespace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
