/* SPDX-License-Identifier: Apache-2.0 */
/* test_hostfiles - an end whose file system does not answer; the rest: e2e/test_mesh_files.py */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mesh/agent/hostfiles.h"
#include "util/clock.h"
#include "util/log.h"

#define HUNG_MS  30000
#define ENOUGH_S 15

static atomic_bool hangs;

/* libc's, for which a server may be needed that is gone. */
int flock(int fd, int operation)
{
	const uint64_t until_ns = clock_now_ns() + HUNG_MS * NS_PER_MS;

	while (hangs && clock_now_ns() < until_ns)
		clock_pause_ms(1);
	return (int)syscall(SYS_flock, fd, operation);
}

static void run_until_there(struct hostfiles *files, const char *path)
{
	const uint64_t until_ns = clock_now_ns() + ENOUGH_S * NS_PER_S;

	while (!files->has_begun || files->is_working || access(path, F_OK) < 0) {
		assert_true(clock_now_ns() < until_ns);
		assert_int_equal(loop_run_once(files->loop, 10), 0);
	}
}

/* @is_working: the thread hangs in work that was begun before, and not in that of the end. */
static void end_hung(bool is_working)
{
	char top[] = "/tmp/nswrap-hostfiles-XXXXXX", path[64], readme[96];
	const struct mesh_config config = {.me = {0x0100007f}, .state_dir_path = path};
	struct hostfiles files = {.loop = loop_new()};

	assert_non_null(mkdtemp(top));
	snprintf(path, sizeof(path), "%s/a", top);
	snprintf(readme, sizeof(readme), "%s/README.md", path);
	hostfiles_configure(&files, &config);
	run_until_there(&files, readme);
	hangs = true;
	if (is_working)
		hostfiles_configure(&files, &config);
	while (is_working && !files.is_working)
		assert_int_equal(loop_run_once(files.loop, 10), 0);
	uint64_t began_ns = clock_now_ns();
	hostfiles_end(&files);
	assert_true(clock_now_ns() - began_ns < ENOUGH_S * NS_PER_S);
	hostfiles_end(&files); /* once more is fine */
	hangs = false;
	assert_int_equal(pthread_join(files.thread, NULL), 0);
	config_free(&files.job);
	free(files.dir.path);
	/* another one, whose files they are, removes them */
	files = (struct hostfiles){.loop = files.loop};
	hostfiles_configure(&files, &config);
	run_until_there(&files, readme);
	hostfiles_end(&files);
	loop_free(files.loop);
	assert_int_equal(rmdir(top), 0);
}

static void the_end_hangs(void **state)
{
	(void)state;
	end_hung(false);
}

static void what_was_before_hangs(void **state)
{
	(void)state;
	end_hung(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_end_hangs),
		cmocka_unit_test(what_was_before_hangs),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
