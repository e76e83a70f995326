/* SPDX-License-Identifier: Apache-2.0 */
/* test_detach - a name or a status for who waits, and a log that outlives all of its writers */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandbox/detach.h"
#include "util/clock.h"
#include "util/fd.h"

#define TEXT_BYTES 8192
#define LOOK_MS    10
#define LOOKS      2000
#define MANY_KEPT  1158 /* as many as a command line can name */

static char directory[] = "/tmp/test_detach.XXXXXX";

enum way { GOOD, FAILS, KILLED, LOSES_WRITER };

/* All of the log of @name once it says @last. */
static const char *wait_log(const char *name, const char *last)
{
	static _Thread_local char text[TEXT_BYTES];
	char path[PATH_MAX];

	for (int i = 0; i < LOOKS; i++) {
		_cleanup_fd_ int old = -1, now = -1, dir_fd = -1;

		snprintf(path, sizeof(path), "%s/nswrap/logs/%s", directory, name);
		dir_fd = logfile_open(path);
		ssize_t got = dir_fd >= 0 && logfile_open_both(dir_fd, &old, &now) >= 0
				      ? read(now, text, sizeof(text) - 1)
				      : 0;
		text[got > 0 ? got : 0] = '\0';
		if (strstr(text, last))
			return text;
		usleep(LOOK_MS * 1000);
	}
	fail_msg("the log of %s is \"%s\"", name, text);
	return NULL;
}

static void say(const char *text)
{
	fd_write_all(STDOUT_FILENO, text, strlen(text));
}

/* Its writer is killed when it has written what there was, and what is said after that is written
 * here. */
static void lose_writer(struct detach *detach, const char *name)
{
	struct loop *loop = loop_new();

	if (!loop || detach_watch(detach, loop) < 0)
		_exit(99);
	wait_log(name, "to stderr\n"); /* what it has read and not written is lost with it */
	kill(getppid(), SIGKILL);
	for (int i = 0; i < LOOKS && !detach->is_alone; i++)
		loop_run_once(loop, LOOK_MS);
	say("said alone\n");
	for (int i = 0; i < 5; i++)
		loop_run_once(loop, LOOK_MS);
	detach_unwatch(detach);
	detach_unwatch(detach);
}

__attribute__((noreturn)) static void supervise(
	struct detach *detach, const char *name, enum way way, int kept_fd)
{
	struct err err;

	prctl(PR_SET_DUMPABLE, 1);
	if (way == FAILS)
		_exit(7);
	if (detach_open_log(detach, name, &err) < 0)
		_exit(98);
	if (detach_ready(detach, name) < 0)
		_exit(97);
	say("to stdout\n");
	fd_write_all(STDERR_FILENO, "to stderr\n", 10);
	if (kept_fd >= 0 && write(kept_fd, "kept", 4) != 4)
		_exit(96);
	if (way == LOSES_WRITER)
		lose_writer(detach, name);
	if (way == KILLED)
		raise(SIGKILL);
	detach_finish(detach, 3);
	_exit(3);
}

/* Returns what detach_start does on the caller's side. With @kept_fd there are many to be kept. */
static int start(struct detach *detach, const char *name, enum way way, int kept_fd, int *status)
{
	int keep[MANY_KEPT];
	struct err err;

	for (size_t i = 0; i < MANY_KEPT; i++)
		keep[i] = kept_fd;
	int result = detach_start(detach, keep, kept_fd >= 0 ? MANY_KEPT : 0, status, &err);

	if (result == DETACH_SUPERVISOR)
		supervise(detach, name, way, kept_fd);
	return result;
}

static void the_name_is_told_and_all_is_logged(void **state)
{
	struct detach detach = {.is_kept = false};
	int kept[2], status = 99;
	char text[5] = "";

	(void)state;
	assert_int_equal(pipe(kept), 0);
	assert_int_equal(start(&detach, "web", GOOD, kept[1], &status), DETACH_CALLER);
	assert_string_equal(detach.name, "web");
	assert_int_equal(status, 0);
	const char *log = wait_log("web", "ended with status 3");
	assert_non_null(strstr(log, "to stdout\n"));
	assert_non_null(strstr(log, "to stderr\n"));
	assert_int_equal(read(kept[0], text, 4), 4);
	assert_string_equal(text, "kept");
	close(kept[0]);
	close(kept[1]);
}

/* Before there is a name its status is the caller's, and there is no log. */
static void who_ends_at_once_is_known(void **state)
{
	struct detach detach = {.is_kept = false};
	char path[PATH_MAX];
	struct stat st;
	int status = 99;

	(void)state;
	assert_int_equal(start(&detach, "none", FAILS, -1, &status), DETACH_CALLER);
	assert_string_equal(detach.name, "");
	assert_int_equal(status, 7);
	snprintf(path, sizeof(path), "%s/nswrap/logs/none", directory);
	assert_int_equal(stat(path, &st), -1);
}

static void a_kill_is_written_down(void **state)
{
	struct detach detach = {.is_kept = true};
	int status = 99;

	(void)state;
	assert_int_equal(start(&detach, "gone", KILLED, -1, &status), DETACH_CALLER);
	assert_int_equal(status, 0);
	assert_true(detach.is_kept);
	assert_non_null(strstr(wait_log("gone", "ended by signal 9"), "to stdout\n"));
}

static void the_log_goes_on_without_its_writer(void **state)
{
	struct detach detach = {.is_kept = false};
	int status = 99;

	(void)state;
	assert_int_equal(start(&detach, "alone", LOSES_WRITER, -1, &status), DETACH_CALLER);
	const char *log = wait_log("alone", "ended with status 3");
	const char *before = strstr(log, "to stdout\n"), *after = strstr(log, "said alone\n");
	assert_non_null(strstr(log, "it goes on"));
	assert_true(before && after && before < after);
	/* once */
	assert_null(strstr(before + 1, "to stdout\n"));
}

static int set_up(void **state)
{
	(void)state;
	return mkdtemp(directory) && setenv("XDG_STATE_HOME", directory, 1) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", directory);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_name_is_told_and_all_is_logged),
		cmocka_unit_test(who_ends_at_once_is_known),
		cmocka_unit_test(a_kill_is_written_down),
		cmocka_unit_test(the_log_goes_on_without_its_writer),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
