/* SPDX-License-Identifier: Apache-2.0 */
/* unit/test_origin - what a name is made of is noted, and known again by any name of its file */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/origin.h"

struct bed {
	char path[64];
	int dir_fd;
};

static int set_up(void **state)
{
	struct bed *bed = calloc(1, sizeof(*bed));

	strcpy(bed->path, "/tmp/test-origin-XXXXXX");
	assert_non_null(mkdtemp(bed->path));
	bed->dir_fd = open(bed->path, O_RDONLY | O_DIRECTORY);
	*state = bed;
	return 0;
}

static int tear_down(void **state)
{
	struct bed *bed = *state;
	static const char *const files[] = {"a", "b", "soft", "hard", "new", "x.of"};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		unlinkat(bed->dir_fd, files[i], 0);
	close(bed->dir_fd);
	assert_int_equal(rmdir(bed->path), 0);
	free(bed);
	return 0;
}

static void make_file(struct bed *bed, const char *name)
{
	int fd = openat(bed->dir_fd, name, O_CREAT | O_WRONLY, 0600);

	assert_true(fd >= 0);
	close(fd);
}

static struct origin of_file(struct bed *bed, const char *name, uint64_t digest)
{
	struct origin origin = {.digest = digest};
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", bed->path, name);
	origin_set_path(&origin, path, -1);
	return origin;
}

static enum origin_likeness compare(struct bed *bed, struct origin origin)
{
	struct origin found;

	return origin_compare(bed->dir_fd, "x", &origin, &found);
}

static void a_file_is_known_by_all_its_names(void **state)
{
	struct bed *bed = *state;

	make_file(bed, "a");
	make_file(bed, "b");
	assert_int_equal(symlinkat("a", bed->dir_fd, "soft"), 0);
	assert_int_equal(linkat(bed->dir_fd, "a", bed->dir_fd, "hard", 0), 0);
	struct origin a = of_file(bed, "a", 1);
	assert_int_equal(compare(bed, a), ORIGIN_OTHER);
	assert_int_equal(origin_write(bed->dir_fd, "x", &a), 0);

	assert_int_equal(compare(bed, of_file(bed, "a", 2)), ORIGIN_SAME_FILE);
	assert_int_equal(compare(bed, of_file(bed, "soft", 2)), ORIGIN_SAME_FILE);
	assert_int_equal(compare(bed, of_file(bed, "hard", 2)), ORIGIN_SAME_FILE);
	assert_int_equal(compare(bed, of_file(bed, "b", 2)), ORIGIN_OTHER);
	assert_int_equal(compare(bed, of_file(bed, "b", 1)), ORIGIN_SAME_TEXT);

	/* an editor has saved it, and the number of the old file is another one's */
	assert_int_equal(renameat(bed->dir_fd, "a", bed->dir_fd, "new"), 0);
	make_file(bed, "a");
	assert_int_equal(compare(bed, of_file(bed, "a", 2)), ORIGIN_SAME_FILE);
	assert_int_equal(compare(bed, of_file(bed, "new", 2)), ORIGIN_OTHER);

	struct origin b = of_file(bed, "b", UINT64_MAX), found;
	assert_int_equal(origin_write(bed->dir_fd, "x", &b), 0);
	assert_int_equal(origin_compare(bed->dir_fd, "x", &b, &found), ORIGIN_SAME_FILE);
	assert_string_equal(found.path, b.path);
	assert_true(found.digest == UINT64_MAX);
	assert_int_equal(compare(bed, of_file(bed, "a", 1)), ORIGIN_OTHER);
	origin_remove(bed->dir_fd, "x");
	assert_int_equal(compare(bed, b), ORIGIN_OTHER);
}

static void what_is_no_file_is_known_by_its_text(void **state)
{
	struct bed *bed = *state;
	struct origin origin = {.digest = 5};
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	origin_set_path(&origin, NULL, fds[0]);
	assert_string_equal(origin.path, "");
	origin_set_path(&origin, "/dev/null", -1);
	assert_string_equal(origin.path, "");
	assert_int_equal(origin_write(bed->dir_fd, "x", &origin), 0);
	assert_int_equal(compare(bed, origin), ORIGIN_SAME_TEXT);
	origin.digest = 6;
	assert_int_equal(compare(bed, origin), ORIGIN_OTHER);
	close(fds[0]);
	close(fds[1]);

	make_file(bed, "a");
	int fd = openat(bed->dir_fd, "a", O_RDONLY);
	origin_set_path(&origin, NULL, fd);
	assert_string_equal(origin.path, of_file(bed, "a", 0).path);
	close(fd);
}

static void what_is_no_note_is_none(void **state)
{
	static const char *const texts[] = {"x", "5 /a", "000000000000000g /a", "0000000000000005",
		"00000000000000050 /a", "-000000000000005 /a"};
	struct bed *bed = *state;
	struct origin origin = {.digest = 5};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(symlinkat(texts[i], bed->dir_fd, "x.of"), 0);
		assert_int_equal(compare(bed, origin), ORIGIN_OTHER);
		origin_remove(bed->dir_fd, "x");
	}
	make_file(bed, "x.of");
	assert_int_equal(compare(bed, origin), ORIGIN_OTHER);
	assert_int_equal(origin_write(bed->dir_fd, "x", &origin), 0);
	assert_int_equal(compare(bed, origin), ORIGIN_SAME_TEXT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_file_is_known_by_all_its_names, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			what_is_no_file_is_known_by_its_text, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_no_note_is_none, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
