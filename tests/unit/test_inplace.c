/* SPDX-License-Identifier: Apache-2.0 */
/* test_inplace - a file stays the same one, and what others write to it meanwhile is kept */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mesh/agent/inplace.h"
#include "util/fd.h"

struct bed {
	char dir[64], path[96], other[96];
	const char *new; /* what it becomes; NULL: itself with "+" behind it */
	unsigned calls;
	unsigned disturbs; /* so many times another one writes just then */
	bool replaces;     /* by another file */
};

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
	close(fd);
}

static void assert_file(const char *path, const char *expected)
{
	char text[256];

	assert_int_equal(fd_read_file(path, text, sizeof(text)), (ssize_t)strlen(expected));
	assert_string_equal(text, expected);
}

static int change(void *owner, const struct marked_text *old, struct marked_text *new)
{
	struct bed *bed = owner;

	bed->calls++;
	if (bed->disturbs > 0) {
		bed->disturbs--;
		write_file(bed->replaces ? bed->other : bed->path, "of others\n");
		if (bed->replaces)
			assert_int_equal(rename(bed->other, bed->path), 0);
	}
	char *text = malloc(old->len + 2);
	if (bed->new) {
		free(text);
		text = strdup(bed->new);
	} else {
		memcpy(text, old->bytes, old->len);
		strcpy(text + old->len, "+");
	}
	*new = (struct marked_text){text, strlen(text)};
	return 0;
}

static int set_up(void **state)
{
	static struct bed bed;

	bed = (struct bed){.dir = "/tmp/nswrap-inplace-XXXXXX"};
	assert_non_null(mkdtemp(bed.dir));
	snprintf(bed.path, sizeof(bed.path), "%s/hosts", bed.dir);
	snprintf(bed.other, sizeof(bed.other), "%s/other", bed.dir);
	*state = &bed;
	return 0;
}

static int tear_down(void **state)
{
	struct bed *bed = *state;

	unlink(bed->path);
	unlink(bed->other);
	return rmdir(bed->dir);
}

static void it_stays_the_same_file(void **state)
{
	static const char *const texts[] = {"ab\ncd\n", "ab\nx\ncd\n", "", "ab\n", "ab\ncd", "cd"};
	struct bed *bed = *state;
	struct stat before, after;
	struct err err;

	write_file(bed->path, "ab\n");
	assert_int_equal(chmod(bed->path, 0604), 0);
	assert_int_equal(stat(bed->path, &before), 0);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		bed->new = texts[i];
		assert_int_equal(inplace_edit(bed->path, change, bed, &err), 1);
		assert_file(bed->path, texts[i]);
		assert_int_equal(inplace_edit(bed->path, change, bed, &err), 0);
	}
	assert_int_equal(stat(bed->path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(before.st_mode, after.st_mode);
}

static void others_are_faster(void **state)
{
	struct bed *bed = *state;
	struct err err;

	for (int i = 0; i < 2; i++) {
		write_file(bed->path, "ours\n");
		bed->calls = 0;
		bed->disturbs = 2;
		bed->replaces = i;
		assert_int_equal(inplace_edit(bed->path, change, bed, &err), 1);
		assert_int_equal(bed->calls, 3);
		assert_file(bed->path, "of others\n+");
	}
	bed->disturbs = 1000;
	assert_int_equal(inplace_edit(bed->path, change, bed, &err), -EAGAIN);
	assert_non_null(strstr(err.text, "others write it all the time"));
	assert_file(bed->path, "of others\n");
}

/* As on a full disk: what there was is there. */
static void it_cannot_grow(void **state)
{
	struct bed *bed = *state;
	struct rlimit old, small = {8, 8};
	struct err err;

	write_file(bed->path, "ab\ncd\n");
	getrlimit(RLIMIT_FSIZE, &old);
	small.rlim_max = old.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	bed->new = "ab\nxxxxxxxxxxxxxxxxxx\n";
	int result = inplace_edit(bed->path, change, bed, &err);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_int_equal(result, -EFBIG);
	assert_file(bed->path, "ab\ncd\n");
}

/* Agents take turns; who keeps it for ever is not waited for. */
static void it_is_locked(void **state)
{
	struct bed *bed = *state;
	struct err err;

	write_file(bed->path, "ab\n");
	int fd = open(bed->path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_int_equal(inplace_edit(bed->path, change, bed, &err), 1);
	assert_file(bed->path, "ab\n+");
	close(fd);
}

static void what_is_no_file(void **state)
{
	struct bed *bed = *state;
	struct err err;

	assert_int_equal(inplace_edit(bed->path, change, bed, &err), -ENOENT);
	assert_non_null(strstr(err.text, bed->path));
	assert_int_equal(mkfifo(bed->path, 0600), 0);
	assert_int_equal(inplace_edit(bed->path, change, bed, &err), -ENOTSUP);
	assert_non_null(strstr(err.text, "no regular file"));
	assert_int_equal(inplace_edit("/tmp", change, bed, &err), -EISDIR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_stays_the_same_file, set_up, tear_down),
		cmocka_unit_test_setup_teardown(others_are_faster, set_up, tear_down),
		cmocka_unit_test_setup_teardown(it_cannot_grow, set_up, tear_down),
		cmocka_unit_test_setup_teardown(it_is_locked, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_no_file, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
