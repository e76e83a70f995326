/* SPDX-License-Identifier: Apache-2.0 */
/* test_registry - names of running sandboxes are taken once, found, and free again after death */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/registry.h"
#include "util/fd.h"

/* What the supervisor does in two steps. */
static int registry_claim(const struct registry *registry, const char *name, const char *base,
	struct registry_entry *out, struct err *err)
{
	int result = registry_reserve(registry, name, base, out, err);

	if (result < 0)
		return result;
	result = registry_publish(out, err);
	if (result < 0)
		registry_release(out);
	return result;
}

#define LONGEST  "0123456789012345678901234567890123456789012345678901234567890123"
#define STARTERS 8
#define ROUNDS   40

struct bed {
	char parent[64];
	struct places_roots roots;
	struct registry registry;
};

/* How it begins; where it was looked stands behind it. */
static void assert_said(const char *text, const char *beginning)
{
	if (strncmp(text, beginning, strlen(beginning)) != 0)
		assert_string_equal(text, beginning);
}

static int dir_of_registry(const struct registry *registry)
{
	return registry->places.items[0].dir_fd;
}

static int dir_of(const struct bed *bed)
{
	return bed->registry.places.items[0].dir_fd;
}

static int set_up(void **state)
{
	struct bed *bed = calloc(1, sizeof(*bed));
	struct err err;

	strcpy(bed->parent, "/tmp/test_registry.XXXXXX");
	assert_non_null(mkdtemp(bed->parent));
	bed->roots = (struct places_roots){NULL, "/nowhere", bed->parent};
	assert_int_equal(registry_open_in(&bed->roots, REGISTRY_SANDBOX, &bed->registry, &err), 0);
	assert_true(dir_of(bed) >= 0);
	*state = bed;
	return 0;
}

static int tear_down(void **state)
{
	struct bed *bed = *state;
	char command[128];

	registry_close(&bed->registry);
	snprintf(command, sizeof(command), "rm -rf '%s'", bed->parent);
	int result = system(command);
	free(bed);
	return result;
}

static void names(void **state)
{
	static const char *const good[] = {
		"a", "A-1", "_x", "9", "+", "@home", "a.b+c@d-e", LONGEST};
	static const char *const bad[] = {
		"", ".", "..", ".a", "-a", "a/b", "/", "a b", "a\n", "\xc3\xa4", LONGEST "x"};
	struct bed *bed = *state;
	struct registry_entry entry;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(registry_check_name(REGISTRY_SANDBOX, good[i], NULL), 0);
		assert_int_equal(registry_claim(&bed->registry, good[i], "x", &entry, NULL), 0);
		assert_string_equal(entry.name, good[i]);
		registry_release(&entry);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = {0};

		assert_int_equal(registry_check_name(REGISTRY_SANDBOX, bad[i], &err), -EINVAL);
		assert_int_equal(
			registry_claim(&bed->registry, bad[i], "x", &entry, &err), -EINVAL);
		assert_non_null(strstr(err.text, "is no sandbox name: expected"));
		assert_int_equal(registry_connect(&bed->registry, bad[i], &err), -EINVAL);
	}
}

static void claims_and_lists(void **state)
{
	struct bed *bed = *state;
	struct registry_entry b, a, again, numbered[3];
	struct registry_found listed[8];
	struct err err = {0};

	assert_int_equal(registry_list(&bed->registry, listed, 8), 0);
	assert_int_equal(registry_claim(&bed->registry, "b", NULL, &b, &err), 0);
	assert_int_equal(registry_claim(&bed->registry, "a", NULL, &a, &err), 0);
	assert_int_equal(registry_claim(&bed->registry, "a", NULL, &again, &err), -EEXIST);
	assert_string_equal(err.text, "a sandbox \"a\" is running already: choose another name");
	for (int i = 0; i < 3; i++)
		assert_int_equal(
			registry_claim(&bed->registry, NULL, ".my prog/x", &numbered[i], &err), 0);
	assert_string_equal(numbered[0].name, "_my_prog_x-1");
	assert_string_equal(numbered[2].name, "_my_prog_x-3");
	assert_int_equal(registry_list(&bed->registry, listed, 8), 5);
	assert_string_equal(listed[0].name, "_my_prog_x-1");
	assert_string_equal(listed[3].name, "a");
	assert_string_equal(listed[4].name, "b");
	assert_int_equal(registry_list(&bed->registry, listed, 2), 2);
	assert_string_equal(listed[1].name, "_my_prog_x-2");

	/* free again, by release and by death */
	registry_release(&numbered[0]);
	assert_int_equal(numbered[0].listen_fd, -1);
	assert_int_equal(numbered[0].dir_fd, -1);
	registry_release(&numbered[0]);
	close(numbered[1].listen_fd);
	assert_int_equal(registry_list(&bed->registry, listed, 8), 3);
	assert_int_equal(faccessat(dir_of(bed), "_my_prog_x-2.sock", F_OK, 0), -1);
	assert_int_equal(registry_claim(&bed->registry, NULL, ".my prog/x", &numbered[0], &err), 0);
	assert_string_equal(numbered[0].name, "_my_prog_x-1");
	close(a.listen_fd);
	assert_int_equal(registry_claim(&bed->registry, "a", NULL, &again, &err), 0);
	registry_release(&a); /* is not a's any more */
	assert_int_equal(unixsock_check(dir_of(bed), "a.sock", NULL), 1);
}

static void connects_or_explains(void **state)
{
	struct bed *bed = *state;
	struct registry_entry entries[7];
	struct err err = {0};
	char name[8];

	assert_int_equal(registry_connect(&bed->registry, "x", &err), -ENOENT);
	assert_said(err.text, "no sandbox \"x\" is running (none is running); looked in ");
	setenv("NSWRAP_NAME", "y", 1);
	assert_int_equal(registry_connect(&bed->registry, "x", &err), -ENOENT);
	assert_said(err.text,
		"no sandbox \"x\" is running (none is running, as seen from inside of the sandbox "
		"\"y\"; ask from outside); looked in ");
	unsetenv("NSWRAP_NAME");
	for (int i = 0; i < 7; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		assert_int_equal(registry_claim(&bed->registry, name, NULL, &entries[i], &err), 0);
		if (i != 1)
			continue;
		assert_int_equal(registry_connect(&bed->registry, "x", &err), -ENOENT);
		assert_said(err.text, "no sandbox \"x\" is running (running: s0, s1); looked in ");
	}
	close(entries[6].listen_fd);
	assert_int_equal(registry_connect(&bed->registry, "s6", &err), -ENOENT);
	assert_said(err.text,
		"no sandbox \"s6\" is running (running: s0, s1, s2, s3, s4 and more); looked in ");
	int client = registry_connect(&bed->registry, "s3", &err);
	assert_true(client >= 0);
	int server = accept(entries[3].listen_fd, NULL, NULL), type = 0;
	socklen_t len = sizeof(type);
	assert_true(server >= 0);
	assert_int_equal(getsockopt(server, SOL_SOCKET, SO_TYPE, &type, &len), 0);
	assert_int_equal(type, SOCK_SEQPACKET);
}

/* Names of their own, in a directory of their own, with errors that speak of meshes. */
static void meshes_are_no_sandboxes(void **state)
{
	struct bed *bed = *state;
	struct registry meshes;
	struct registry_entry sandbox, entries[3], again;
	struct registry_found listed[4];
	char expected[PATH_MAX + 8];
	char running[REGISTRY_DESCRIPTION_BYTES];
	struct err err = {0};

	assert_int_equal(registry_open_in(&bed->roots, REGISTRY_MESH, &meshes, &err), 0);
	snprintf(expected, sizeof(expected), "%s/mesh", bed->registry.places.items[0].path);
	assert_string_equal(meshes.places.items[0].path, expected);
	assert_int_equal(registry_claim(&bed->registry, "site", NULL, &sandbox, &err), 0);
	assert_int_equal(registry_connect(&meshes, "site", &err), -ENOENT);
	assert_said(err.text, "no mesh \"site\" is running (none is running); looked in ");
	for (int i = 0; i < 3; i++)
		assert_int_equal(registry_claim(&meshes, NULL, "-site", &entries[i], &err), 0);
	assert_string_equal(entries[0].name, "_site");
	assert_string_equal(entries[1].name, "_site-2");
	assert_string_equal(entries[2].name, "_site-3");
	assert_int_equal(registry_list(&meshes, listed, 4), 3);
	assert_int_equal(registry_list(&bed->registry, listed, 4), 1);
	registry_describe(&meshes, running, sizeof(running));
	assert_string_equal(running, "running: _site, _site-2, _site-3");
	assert_int_equal(registry_claim(&meshes, "_site", NULL, &again, &err), -EEXIST);
	assert_string_equal(
		err.text, "a mesh \"_site\" is running already: -n gives this one another name");
	assert_int_equal(registry_connect(&meshes, "a/b", &err), -EINVAL);
	assert_non_null(strstr(err.text, "is no mesh name: expected"));
	for (int i = 0; i < 3; i++)
		registry_release(&entries[i]);
	assert_int_equal(registry_claim(&meshes, NULL, "", &entries[0], &err), 0);
	assert_string_equal(entries[0].name, "mesh");
	registry_release(&entries[0]);
	registry_release(&sandbox);
	registry_close(&meshes);
	assert_int_equal(chmod(expected, 0770), 0);
	assert_int_equal(registry_open_in(&bed->roots, REGISTRY_MESH, &meshes, &err), -EPERM);
	assert_int_equal(meshes.places.items[0].dir_fd, -1);
}

/* Who runs, under any name, is found by what it is made of; who has ended is not. */
static void what_they_are_made_of(void **state)
{
	struct bed *bed = *state;
	struct origin one = {.digest = 1}, two = {.digest = 2}, of;
	struct registry_entry a, b, c;
	struct registry_found found;
	struct stat info;

	assert_int_equal(registry_find_same(&bed->registry, &one, &found, &of), ORIGIN_OTHER);
	assert_int_equal(registry_reserve(&bed->registry, "a", NULL, &a, NULL), 0);
	registry_note(&a, &one);
	/* only reserved: not yet */
	assert_int_equal(registry_find_same(&bed->registry, &one, &found, &of), ORIGIN_OTHER);
	assert_int_equal(registry_publish(&a, NULL), 0);
	assert_int_equal(registry_claim(&bed->registry, "b", NULL, &b, NULL), 0);
	assert_int_equal(registry_reserve(&bed->registry, "c", NULL, &c, NULL), 0);
	assert_int_equal(registry_find_same(&bed->registry, &one, &found, &of), ORIGIN_SAME_TEXT);
	assert_string_equal(found.name, "a");
	assert_int_equal(found.place, 0);
	assert_true(of.digest == 1);
	assert_int_equal(registry_find_same(&bed->registry, &two, &found, &of), ORIGIN_OTHER);
	registry_note(&b, &two);
	assert_int_equal(registry_find_same(&bed->registry, &two, &found, &of), ORIGIN_SAME_TEXT);
	assert_string_equal(found.name, "b");
	registry_release(&c);

	registry_release(&a);
	assert_int_equal(registry_find_same(&bed->registry, &one, &found, &of), ORIGIN_OTHER);
	assert_int_equal(fstatat(dir_of(bed), "a.of", &info, AT_SYMLINK_NOFOLLOW), -1);
	fd_close(&b.listen_fd); /* as if it was killed */
	assert_int_equal(registry_find_same(&bed->registry, &two, &found, &of), ORIGIN_OTHER);
	assert_int_equal(fstatat(dir_of(bed), "b.of", &info, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(registry_list(&bed->registry, &found, 1), 0);
	assert_int_equal(fstatat(dir_of(bed), "b.of", &info, AT_SYMLINK_NOFOLLOW), -1);
	registry_release(&b);
}

/* What a killed one had started has its sockets until the exec: it runs no more. */
static void left_by_who_was_killed(void **state)
{
	struct bed *bed = *state;
	struct registry_entry entry;
	int go[2], report[2], status;
	struct err err;
	char byte;

	assert_true(pipe(go) == 0 && pipe(report) == 0);
	pid_t maker = fork();
	if (maker == 0) {
		byte = registry_claim(&bed->registry, "a", NULL, &entry, NULL) == 0 ? 'y' : 'n';
		if (fork() == 0) {
			close(go[1]);
			if (read(go[0], &byte, 1) == 1) /* the end never comes before that */
				_exit(read(go[0], &byte, 1) != 0);
		}
		if (write(report[1], &byte, 1) == 1)
			pause();
		_exit(0);
	}
	close(report[1]);
	assert_int_equal(read(report[0], &byte, 1), 1);
	assert_int_equal(byte, 'y');
	assert_false(registry_is_orphaned(&bed->registry, "a"));
	assert_int_equal(write(go[1], "", 1), 1);
	kill(maker, SIGKILL);
	/* dead and not reaped */
	assert_int_equal(waitid(P_PID, (id_t)maker, &(siginfo_t){0}, WEXITED | WNOWAIT), 0);
	assert_true(registry_is_orphaned(&bed->registry, "a"));
	assert_int_equal(waitpid(maker, &status, 0), maker);
	assert_true(registry_is_orphaned(&bed->registry, "a"));
	assert_int_equal(registry_reserve(&bed->registry, "a", NULL, &entry, NULL), -EEXIST);
	/* nobody is there to be asked, as when the sockets are gone */
	assert_int_equal(registry_connect(&bed->registry, "a", &err), -ENOENT);
	assert_said(err.text, "no sandbox \"a\" is running");
	close(go[1]);
	assert_int_equal(read(report[0], &byte, 1), 0);
	assert_false(registry_is_orphaned(&bed->registry, "a"));
	assert_false(registry_is_orphaned(&bed->registry, "b"));
	assert_int_equal(registry_reserve(&bed->registry, "a", NULL, &entry, NULL), 0);
	registry_release(&entry);
	close(go[0]);
	close(report[0]);
}

/* Opens it with XDG_RUNTIME_DIR @xdg, or without. */
static void open_with(struct bed *bed, const char *xdg, struct registry *out)
{
	struct places_roots roots = bed->roots;
	struct err err;

	roots.xdg = xdg;
	if (xdg)
		mkdir(xdg, 0700);
	assert_int_equal(registry_open_in(&roots, REGISTRY_SANDBOX, out, &err), 0);
}

/* With XDG_RUNTIME_DIR and without, they find one another; names are taken in all of them. */
static void several_places(void **state)
{
	struct bed *bed = *state;
	struct registry plain = bed->registry, one, other, late;
	struct registry_entry entries[4], again;
	struct registry_found listed[8];
	struct err err = {0};
	char xdg[2][80];

	snprintf(xdg[0], sizeof(xdg[0]), "%s/one", bed->parent);
	snprintf(xdg[1], sizeof(xdg[1]), "%s/other", bed->parent);
	open_with(bed, xdg[0], &one);
	open_with(bed, xdg[1], &other);
	assert_int_equal(registry_claim(&plain, "p", NULL, &entries[0], &err), 0);
	assert_int_equal(registry_claim(&one, "x", NULL, &entries[1], &err), 0);
	assert_int_equal(registry_claim(&other, "x", NULL, &entries[2], &err), 0);
	assert_int_equal(registry_claim(&other, "p", NULL, &again, &err), -EEXIST);
	assert_int_equal(registry_claim(&other, NULL, "p", &entries[3], &err), 0);
	assert_string_equal(entries[3].name, "p-1");

	assert_int_equal(registry_list(&one, listed, 8), 2);
	assert_string_equal(listed[0].name, "p");
	assert_string_equal(listed[1].name, "x");
	open_with(bed, NULL, &late);
	/* one in which nothing can be locked takes nothing away from the others */
	assert_int_equal(unlinkat(dir_of_registry(&one), ".lock", 0), 0);
	assert_int_equal(mkdirat(dir_of_registry(&one), ".lock", 0700), 0);
	assert_int_equal(registry_list(&late, listed, 8), 4);
	assert_string_equal(listed[3].name, "x");
	assert_int_equal(registry_claim(&late, "p-1", NULL, &again, &err), -EEXIST);
	int client = registry_connect(&late, "p-1", &err);
	assert_true(client >= 0);
	close(client);
	assert_int_equal(registry_connect(&late, "x", &err), -EEXIST);
	assert_non_null(strstr(err.text, xdg[0]));
	assert_non_null(strstr(err.text, xdg[1]));
	client = registry_connect(&one, "x", &err);
	assert_true(client >= 0);
	close(client);
	assert_int_equal(registry_connect(&one, "nobody", &err), -ENOENT);
	assert_non_null(strstr(err.text, xdg[0]));
	assert_non_null(strstr(err.text, plain.places.items[0].path));
	for (int i = 0; i < 4; i++)
		registry_release(&entries[i]);
	registry_close(&one);
	registry_close(&other);
	registry_close(&late);
}

static void long_bases_fit(void **state)
{
	struct bed *bed = *state;
	struct registry_entry entry;

	assert_int_equal(registry_claim(&bed->registry, NULL, LONGEST LONGEST, &entry, NULL), 0);
	assert_int_equal(registry_check_name(REGISTRY_SANDBOX, entry.name, NULL), 0);
	registry_release(&entry);
	assert_int_equal(registry_claim(&bed->registry, NULL, "", &entry, NULL), 0);
	assert_string_equal(entry.name, "sandbox-1");
	registry_release(&entry);
}

/* Starters of the same base at the same time all get a name, no two the same one. */
static void starters_take_turns(void **state)
{
	struct bed *bed = *state;
	struct registry_found listed[2 * STARTERS];

	for (int round = 0; round < ROUNDS; round++) {
		int go[2], report[2], done[2], status;
		char byte;

		assert_true(pipe(go) == 0 && pipe(report) == 0 && pipe(done) == 0);
		for (int i = 0; i < STARTERS; i++) {
			struct registry_entry entry;

			if (fork() != 0)
				continue;
			close(go[1]);
			close(done[1]);
			if (read(go[0], &byte, 1) != 0)
				_exit(1);
			int result = registry_claim(&bed->registry, NULL, "s", &entry, NULL);
			byte = result == 0 ? 'y' : 'n';
			if (write(report[1], &byte, 1) != 1 || read(done[0], &byte, 1) != 0)
				_exit(1);
			_exit(0); /* as if killed */
		}
		close(go[0]);
		close(go[1]);
		for (int i = 0; i < STARTERS; i++) {
			assert_int_equal(read(report[0], &byte, 1), 1);
			assert_int_equal(byte, 'y');
		}
		assert_int_equal(registry_list(&bed->registry, listed, 2 * STARTERS), STARTERS);
		for (int i = 0; i < STARTERS; i++) {
			char expected[16];

			snprintf(expected, sizeof(expected), "s-%d", i + 1);
			assert_string_equal(listed[i].name, expected);
		}
		close(done[1]);
		for (int i = 0; i < STARTERS; i++) {
			assert_true(wait(&status) > 0);
			assert_int_equal(status, 0);
		}
		close(done[0]);
		close(report[0]);
		close(report[1]);
	}
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(names),
		TEST(several_places),
		TEST(claims_and_lists),
		TEST(connects_or_explains),
		TEST(meshes_are_no_sandboxes),
		TEST(what_they_are_made_of),
		TEST(left_by_who_was_killed),
		TEST(long_bases_fit),
		TEST(starters_take_turns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
