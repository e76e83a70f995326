/* SPDX-License-Identifier: Apache-2.0 */
/* test_capture - what a command prints, when that counts, and when it is not waited for */
#include "proc/capture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "clock_ahead.h"
#include "util/list.h"

struct bed {
	struct loop *loop;
	struct children children;
	struct capture capture;
	unsigned done;
	char *text, *why;
	bool again;
};

static char *const once_more[] = {"sh", "-c", "echo more", NULL};

static void on_done(struct capture *capture, const char *why)
{
	struct bed *bed = container_of(capture, struct bed, capture);
	struct err err;

	bed->done++;
	free(bed->text);
	free(bed->why);
	bed->text = why || !capture->text ? NULL : strndup(capture->text, capture->len);
	bed->why = why ? strdup(why) : NULL;
	if (!bed->again)
		return;
	bed->again = false;
	assert_int_equal(capture_start(capture, once_more, &err), 0);
}

static struct bed *bed_new(void)
{
	struct bed *bed = calloc(1, sizeof(*bed));

	bed->loop = loop_new();
	children_init(&bed->children, bed->loop);
	bed->capture = (struct capture){.loop = bed->loop,
		.children = &bed->children,
		.nofile = {1024, 1024},
		.patience_ms = 5000,
		.max_bytes = 10000,
		.expected = "less",
		.on_done = on_done};
	capture_init(&bed->capture);
	return bed;
}

static void bed_free(struct bed *bed)
{
	capture_stop(&bed->capture);
	assert_int_equal(children_end(&bed->children, 5000), 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	free(bed->text);
	free(bed->why);
	loop_free(bed->loop);
	free(bed);
}

static void start(struct bed *bed, const char *script)
{
	char *const argv[] = {"sh", "-c", (char *)script, NULL};
	struct err err = {0};

	assert_false(capture_is_running(&bed->capture));
	if (capture_start(&bed->capture, argv, &err) < 0)
		fail_msg("%s", err.text);
	assert_true(capture_is_running(&bed->capture));
}

static void wait_until(struct bed *bed, unsigned done)
{
	for (int i = 0; i < 20000 && bed->done < done; i++) {
		loop_run_once(bed->loop, 1);
		children_reap(&bed->children);
	}
	assert_int_equal(bed->done, done);
}

static void run(struct bed *bed, const char *script)
{
	const unsigned done = bed->done;

	start(bed, script);
	wait_until(bed, done + 1);
}

static void test_what_it_prints(void **state)
{
	struct bed *bed = bed_new();

	(void)state;
	run(bed, "echo a; cat; echo warning >&2; echo b");
	assert_null(bed->why);
	assert_string_equal(bed->text, "a\nb\n");
	/* one that prints nothing has done so; and from there it may be started again */
	bed->again = true;
	start(bed, ":");
	wait_until(bed, 3);
	assert_string_equal(bed->text, "more\n");
	run(bed, "head -c 10000 /dev/zero | tr '\\0' x");
	assert_int_equal(strlen(bed->text), 10000);
	bed_free(bed);
}

static void test_what_does_not_count(void **state)
{
	struct bed *bed = bed_new();
	char *const nothing[] = {"/nonexistent/program", NULL};
	struct err err = {0};

	(void)state;
	run(bed, "echo a; echo first >&2; echo no such thing >&2; exit 3");
	assert_string_equal(bed->why, "ended with status 3: no such thing");
	run(bed, "exit 4");
	assert_string_equal(bed->why, "ended with status 4");
	run(bed, "head -c 10001 /dev/zero; sleep 1000");
	assert_string_equal(bed->why, "it says more than 10000 bytes: expected less");
	if (capture_start(&bed->capture, nothing, &err) == 0)
		wait_until(bed, 4);
	assert_false(capture_is_running(&bed->capture));
	bed_free(bed);
}

static void test_what_is_not_waited_for(void **state)
{
	struct bed *bed = bed_new();

	(void)state;
	/* what it has left behind has its pipes */
	run(bed, "sleep 1000 & echo a");
	assert_string_equal(bed->text, "a\n");
	start(bed, "echo a; exec sleep 1000");
	loop_run_once(bed->loop, 1);
	clock_ahead_ns += 6 * NS_PER_S;
	wait_until(bed, 2);
	assert_string_equal(bed->why, "it has not ended in 5 s");
	/* nobody is told of one that is stopped */
	start(bed, "exec sleep 1000");
	capture_stop(&bed->capture);
	assert_false(capture_is_running(&bed->capture));
	for (int i = 0; i < 50; i++)
		loop_run_once(bed->loop, 1);
	assert_int_equal(bed->done, 2);
	bed_free(bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_it_prints),
		cmocka_unit_test(test_what_does_not_count),
		cmocka_unit_test(test_what_is_not_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
