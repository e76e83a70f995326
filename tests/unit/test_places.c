/* SPDX-License-Identifier: Apache-2.0 */
/* test_places - private directories, whatever stands where they should be */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/places.h"

#define STRANGER 4321 /* the uid of somebody else */

struct bed {
	char tmp[64], hub[96], xdg[96], run_user[96];
	struct places_roots roots;
	struct places places;
};

static int set_up(void **state)
{
	struct bed *bed = calloc(1, sizeof(*bed));
	char login[128];

	strcpy(bed->tmp, "/tmp/test_places.XXXXXX");
	assert_non_null(mkdtemp(bed->tmp));
	snprintf(bed->hub, sizeof(bed->hub), "%s/nswrap-%u", bed->tmp, (unsigned)geteuid());
	snprintf(bed->xdg, sizeof(bed->xdg), "%s/xdg", bed->tmp);
	snprintf(bed->run_user, sizeof(bed->run_user), "%s/run", bed->tmp);
	snprintf(login, sizeof(login), "%s/%u", bed->run_user, (unsigned)geteuid());
	assert_int_equal(mkdir(bed->xdg, 0700), 0);
	bed->roots = (struct places_roots){NULL, bed->run_user, bed->tmp};
	*state = bed;
	return 0;
}

static int tear_down(void **state)
{
	struct bed *bed = *state;
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", bed->tmp);
	int result = system(command);
	free(bed);
	return result;
}

/* Opens and closes: paths and numbers stay. */
static void look(struct bed *bed, const char *xdg)
{
	struct err err = {0};

	bed->roots.xdg = xdg;
	assert_int_equal(places_open(&bed->roots, &bed->places, &err), 0);
	for (size_t i = 0; i < bed->places.total; i++) {
		struct stat info;

		assert_int_equal(fstat(bed->places.items[i].dir_fd, &info), 0);
		assert_int_equal(info.st_mode, S_IFDIR | 0700);
		assert_int_equal(info.st_uid, geteuid());
	}
	places_close(&bed->places);
	assert_int_equal(bed->places.items[0].dir_fd, -1);
}

static void the_usual_ones(void **state)
{
	struct bed *bed = *state;
	char expected[PATH_MAX];

	look(bed, NULL);
	assert_int_equal(bed->places.count, 1);
	assert_string_equal(bed->places.items[0].path, bed->hub);
	look(bed, bed->xdg);
	snprintf(expected, sizeof(expected), "%s/nswrap", bed->xdg);
	assert_string_equal(bed->places.items[0].path, expected);
	assert_string_equal(bed->places.items[1].path, bed->hub);
	assert_int_equal(bed->places.count, 2);
	assert_int_equal(bed->places.total, 2);
	assert_int_equal(bed->places.hub, 1);
}

/* Values of XDG_RUNTIME_DIR that do not count */
static void odd_parents(void **state)
{
	struct bed *bed = *state;
	char missing[PATH_MAX], file[PATH_MAX];
	const char *const parents[] = {"", "tmp", "../tmp", missing, file, NULL};

	snprintf(missing, sizeof(missing), "%s/missing", bed->tmp);
	snprintf(file, sizeof(file), "%s/file", bed->tmp);
	close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	for (size_t i = 0; i < sizeof(parents) / sizeof(parents[0]); i++) {
		look(bed, parents[i]);
		assert_int_equal(bed->places.count, 1);
		assert_string_equal(bed->places.items[0].path, bed->hub);
	}
	if (geteuid() != 0)
		return;
	assert_int_equal(chown(bed->xdg, STRANGER, STRANGER), 0);
	look(bed, bed->xdg);
	assert_string_equal(bed->places.items[0].path, bed->hub);
}

/* Put something at @path that is no place: the @n-th kind of it. Returns 0 when there is no more.
 */
static int spoil(const char *path, int n)
{
	static const mode_t modes[] = {0777, 0720, 0702, 01777};

	if (n < 4) {
		assert_int_equal(mkdir(path, 0700), 0);
		assert_int_equal(chmod(path, modes[n]), 0);
	} else if (n == 4) {
		assert_int_equal(symlink("/usr", path), 0);
	} else if (n == 5) {
		assert_int_equal(symlink("nowhere", path), 0);
	} else if (n == 6) {
		int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

		assert_true(fd >= 0);
		close(fd);
	} else if (n == 7 && geteuid() == 0) {
		assert_int_equal(mkdir(path, 0700), 0);
		assert_int_equal(chown(path, STRANGER, STRANGER), 0);
	} else {
		return 0;
	}
	return 1;
}

/* A fallback, the same one for everybody, which stays when the right place is free again. */
static void fallback(void **state)
{
	struct bed *bed = *state;
	char chosen[PATH_MAX];

	for (int n = 0; spoil(bed->hub, n); n++) {
		look(bed, NULL);
		assert_int_equal(bed->places.count, 1);
		strcpy(chosen, bed->places.items[0].path);
		assert_int_equal(strncmp(chosen, bed->hub, strlen(bed->hub)), 0);
		assert_int_equal(chosen[strlen(bed->hub)], '-');
		look(bed, bed->xdg);
		assert_string_equal(bed->places.items[1].path, chosen);
		assert_int_equal(remove(bed->hub), 0);
		look(bed, NULL);
		assert_string_equal(bed->places.items[0].path, chosen);
		assert_int_equal(bed->places.count, 1);
		assert_int_equal(access(bed->hub, F_OK), -1);
		assert_int_equal(rmdir(chosen), 0);
	}
}

static void a_bad_place_below_xdg(void **state)
{
	struct bed *bed = *state;
	char bad[PATH_MAX];

	snprintf(bad, sizeof(bad), "%s/nswrap", bed->xdg);
	for (int n = 0; spoil(bad, n); n++) {
		look(bed, bed->xdg);
		assert_int_equal(bed->places.count, 1);
		assert_string_equal(bed->places.items[0].path, bed->hub);
		assert_int_equal(remove(bad), 0);
	}
}

/* Fallbacks of somebody else's are none; what others could only read is closed to them. */
static void look_alikes(void **state)
{
	struct bed *bed = *state;
	char path[PATH_MAX];

	spoil(bed->hub, 0);
	for (int n = 0; n < 9; n++) {
		snprintf(path, sizeof(path), "%s-AAAAA%d", bed->hub, n);
		spoil(path, n);
	}
	snprintf(path, sizeof(path), "%s9-AAAAAA", bed->hub); /* of uid UID9 */
	assert_int_equal(mkdir(path, 0700), 0);
	look(bed, NULL);
	assert_int_equal(bed->places.count, 1);
	assert_null(strstr(bed->places.items[0].path, "AAAAA"));
	snprintf(path, sizeof(path), "%s-000000", bed->hub);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(chmod(path, 0755), 0);
	look(bed, NULL);
	assert_int_equal(bed->places.count, 2);
	assert_string_equal(bed->places.items[0].path, path);
}

/* The login's directory is looked at without XDG_RUNTIME_DIR, and hidden in any case. */
static void the_logins_directory(void **state)
{
	struct bed *bed = *state;
	char login[256], expected[PATH_MAX];

	assert_int_equal(mkdir(bed->run_user, 0755), 0);
	snprintf(login, sizeof(login), "%s/%u", bed->run_user, (unsigned)geteuid());
	assert_int_equal(mkdir(login, 0700), 0);
	snprintf(expected, sizeof(expected), "%s/nswrap", login);
	look(bed, NULL);
	assert_int_equal(bed->places.count, 2);
	assert_string_equal(bed->places.items[0].path, bed->hub);
	assert_string_equal(bed->places.items[1].path, expected);
	look(bed, bed->xdg);
	assert_int_equal(bed->places.count, 2);
	assert_int_equal(bed->places.total, 3);
	assert_string_equal(bed->places.items[2].path, expected);
	look(bed, login);
	assert_int_equal(bed->places.total, 2);
}

static void point(struct bed *bed, const char *xdg)
{
	struct place_pointer pointer;
	struct err err;

	bed->roots.xdg = xdg;
	assert_int_equal(places_open(&bed->roots, &bed->places, &err), 0);
	assert_int_equal(places_pointer(&bed->places, &pointer), 0);
	assert_int_equal(places_point(&pointer), 0);
	close(pointer.hub_fd);
	places_close(&bed->places);
}

static void touch(const char *directory, const char *file)
{
	char path[2 * PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", directory, file);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
}

static void pointers(void **state)
{
	struct bed *bed = *state;
	char other[80], sub[PATH_MAX + 16];

	/* a place that is the hub needs none */
	point(bed, NULL);
	look(bed, NULL);
	assert_int_equal(bed->places.total, 1);
	snprintf(other, sizeof(other), "%s/other", bed->tmp);
	assert_int_equal(mkdir(other, 0700), 0);
	point(bed, bed->xdg);
	touch(bed->places.items[0].path, "a.sock");
	point(bed, bed->xdg); /* again: nothing changes */
	point(bed, other);
	snprintf(sub, sizeof(sub), "%s/mesh", bed->places.items[0].path);
	assert_int_equal(mkdir(sub, 0700), 0);
	touch(sub, "b.sock");
	look(bed, NULL);
	assert_int_equal(bed->places.count, 3);
	look(bed, bed->xdg);
	assert_int_equal(bed->places.count, 2);
	assert_int_equal(bed->places.total, 3);
	/* those that lead to no socket go when the next one is made */
	snprintf(sub, sizeof(sub), "%s/nswrap/mesh/b.sock", other);
	assert_int_equal(unlink(sub), 0);
	point(bed, bed->xdg);
	look(bed, NULL);
	assert_int_equal(bed->places.count, 2);
	/* and none is followed to where others can write */
	snprintf(sub, sizeof(sub), "%s/nswrap", bed->xdg);
	assert_int_equal(chmod(sub, 0770), 0);
	look(bed, NULL);
	assert_int_equal(bed->places.count, 1);
}

/* One with a socket of any kind stays, whoever else makes pointers. */
static void what_is_pointed_to_stays(void **state)
{
	const char *const folders[] = {".", "mesh", "tunnel"};
	struct bed *bed = *state;
	char place[PATH_MAX], other[80], sub[PATH_MAX + 16];

	snprintf(other, sizeof(other), "%s/other", bed->tmp);
	assert_int_equal(mkdir(other, 0700), 0);
	point(bed, bed->xdg);
	strcpy(place, bed->places.items[0].path);
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		snprintf(sub, sizeof(sub), "%s/%s", place, folders[i]);
		assert_true(mkdir(sub, 0700) == 0 || errno == EEXIST);
		touch(sub, "a.sock");
		point(bed, bed->xdg);
		point(bed, other);
		look(bed, NULL);
		assert_int_equal(bed->places.count, 3);
		strcat(sub, "/a.sock");
		assert_int_equal(unlink(sub), 0);
		point(bed, other);
		look(bed, NULL);
		assert_int_equal(bed->places.count, 2);
	}
}

static void none_at_all(void **state)
{
	struct bed *bed = *state;
	struct err err = {0};

	bed->roots.tmp = "/nowhere";
	assert_int_equal(places_open(&bed->roots, &bed->places, &err), -ENOENT);
	assert_non_null(strstr(err.text, "set XDG_RUNTIME_DIR"));
	places_close(&bed->places);
	look(bed, bed->xdg);
	assert_int_equal(bed->places.total, 1);
	assert_int_equal(bed->places.hub, PLACES_MAX);
	point(bed, bed->xdg);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(the_usual_ones),
		TEST(odd_parents),
		TEST(fallback),
		TEST(a_bad_place_below_xdg),
		TEST(look_alikes),
		TEST(the_logins_directory),
		TEST(pointers),
		TEST(what_is_pointed_to_stays),
		TEST(none_at_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
