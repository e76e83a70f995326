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
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/registry.h"

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

struct place {
	char parent[64];
	struct registry registry;
};

static int set_up(void **state)
{
	struct place *place = calloc(1, sizeof(*place));
	struct err err;

	strcpy(place->parent, "/tmp/test_registry.XXXXXX");
	assert_non_null(mkdtemp(place->parent));
	setenv("XDG_RUNTIME_DIR", place->parent, 1);
	assert_int_equal(registry_open(REGISTRY_SANDBOX, &place->registry, &err), 0);
	assert_true(place->registry.dir_fd >= 0);
	*state = place;
	return 0;
}

static int tear_down(void **state)
{
	struct place *place = *state;
	char command[128];

	registry_close(&place->registry);
	snprintf(command, sizeof(command), "rm -rf '%s'", place->parent);
	int result = system(command);
	free(place);
	return result;
}

static void names(void **state)
{
	static const char *const good[] = {
		"a", "A-1", "_x", "9", "+", "@home", "a.b+c@d-e", LONGEST};
	static const char *const bad[] = {
		"", ".", "..", ".a", "-a", "a/b", "/", "a b", "a\n", "\xc3\xa4", LONGEST "x"};
	struct place *place = *state;
	struct registry_entry entry;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(registry_check_name(REGISTRY_SANDBOX, good[i], NULL), 0);
		assert_int_equal(registry_claim(&place->registry, good[i], "x", &entry, NULL), 0);
		assert_string_equal(entry.name, good[i]);
		registry_release(&entry);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = {0};

		assert_int_equal(registry_check_name(REGISTRY_SANDBOX, bad[i], &err), -EINVAL);
		assert_int_equal(
			registry_claim(&place->registry, bad[i], "x", &entry, &err), -EINVAL);
		assert_non_null(strstr(err.text, "is no sandbox name: expected"));
		assert_int_equal(registry_connect(&place->registry, bad[i], &err), -EINVAL);
	}
}

static void directory_is_private(void **state)
{
	struct place *place = *state;
	char expected[PATH_MAX];
	struct registry other;
	struct err err = {0};
	struct stat info;

	snprintf(expected, sizeof(expected), "%s/nswrap", place->parent);
	assert_string_equal(place->registry.path, expected);
	assert_int_equal(stat(expected, &info), 0);
	assert_int_equal(info.st_mode, S_IFDIR | 0700);

	mode_t modes[] = {0701, 0710, 0704, 0777, 0720};
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		assert_int_equal(chmod(expected, modes[i]), 0);
		assert_int_equal(registry_open(REGISTRY_SANDBOX, &other, &err), -EPERM);
		assert_non_null(strstr(err.text, expected));
		assert_non_null(strstr(err.text, "chmod 700"));
	}
	assert_int_equal(rmdir(expected), 0);
	assert_int_equal(symlink("/tmp", expected), 0);
	assert_int_equal(registry_open(REGISTRY_SANDBOX, &other, &err), -ENOTDIR);
	assert_non_null(strstr(err.text, expected));
	unlink(expected);
	int file = open(expected, O_CREAT | O_WRONLY, 0600);
	close(file);
	assert_int_equal(registry_open(REGISTRY_SANDBOX, &other, &err), -ENOTDIR);
	unlink(expected);

	if (geteuid() == 0) { /* somebody else's */
		assert_int_equal(mkdir(expected, 0700), 0);
		assert_int_equal(chown(expected, 4321, 4321), 0);
		assert_int_equal(registry_open(REGISTRY_SANDBOX, &other, &err), -EPERM);
		assert_non_null(strstr(err.text, "another user (uid 4321)"));
		assert_int_equal(rmdir(expected), 0);
	}
}

/* The parents that do not count; in a child, because the place may be one in real use */
static void falls_back_to_tmp(void **state)
{
	struct place *place = *state;
	struct registry other;
	char fallback[64], missing[96], file[96];
	const char *const parents[] = {"", "tmp", "../tmp", missing, file, NULL};

	snprintf(fallback, sizeof(fallback), "/tmp/nswrap-%u", (unsigned)geteuid());
	snprintf(missing, sizeof(missing), "%s/missing", place->parent);
	snprintf(file, sizeof(file), "%s/file", place->parent);
	close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	bool was_there = access(fallback, F_OK) == 0;
	for (size_t i = 0; i < sizeof(parents) / sizeof(parents[0]); i++) {
		struct err err;

		if (parents[i])
			setenv("XDG_RUNTIME_DIR", parents[i], 1);
		else
			unsetenv("XDG_RUNTIME_DIR");
		int result = registry_open(REGISTRY_SANDBOX, &other, &err);
		assert_string_equal(other.path, fallback);
		registry_close(&other);
		if (result < 0)
			assert_true(was_there); /* and is not as it should be */
	}
	if (!was_there)
		rmdir(fallback);
	if (geteuid() == 0) { /* a directory of somebody else's */
		assert_int_equal(mkdir(missing, 0777), 0);
		assert_int_equal(chown(missing, 4321, 4321), 0);
		setenv("XDG_RUNTIME_DIR", missing, 1);
		registry_open(REGISTRY_SANDBOX, &other, NULL);
		assert_string_equal(other.path, fallback);
		registry_close(&other);
		if (!was_there)
			rmdir(fallback);
	}
}

static void claims_and_lists(void **state)
{
	struct place *place = *state;
	struct registry_entry b, a, again, numbered[3];
	char listed[8][REGISTRY_NAME_MAX + 1];
	struct err err = {0};

	assert_int_equal(registry_list(&place->registry, listed, 8), 0);
	assert_int_equal(registry_claim(&place->registry, "b", NULL, &b, &err), 0);
	assert_int_equal(registry_claim(&place->registry, "a", NULL, &a, &err), 0);
	assert_int_equal(registry_claim(&place->registry, "a", NULL, &again, &err), -EEXIST);
	assert_string_equal(err.text, "a sandbox \"a\" is running already: choose another name");
	for (int i = 0; i < 3; i++)
		assert_int_equal(
			registry_claim(&place->registry, NULL, ".my prog/x", &numbered[i], &err),
			0);
	assert_string_equal(numbered[0].name, "_my_prog_x-1");
	assert_string_equal(numbered[2].name, "_my_prog_x-3");
	assert_int_equal(registry_list(&place->registry, listed, 8), 5);
	assert_string_equal(listed[0], "_my_prog_x-1");
	assert_string_equal(listed[3], "a");
	assert_string_equal(listed[4], "b");
	assert_int_equal(registry_list(&place->registry, listed, 2), 2);
	assert_string_equal(listed[1], "_my_prog_x-2");

	/* free again, by release and by death */
	registry_release(&numbered[0]);
	assert_int_equal(numbered[0].listen_fd, -1);
	assert_int_equal(numbered[0].dir_fd, -1);
	registry_release(&numbered[0]);
	close(numbered[1].listen_fd);
	assert_int_equal(registry_list(&place->registry, listed, 8), 3);
	assert_int_equal(faccessat(place->registry.dir_fd, "_my_prog_x-2.sock", F_OK, 0), -1);
	assert_int_equal(
		registry_claim(&place->registry, NULL, ".my prog/x", &numbered[0], &err), 0);
	assert_string_equal(numbered[0].name, "_my_prog_x-1");
	close(a.listen_fd);
	assert_int_equal(registry_claim(&place->registry, "a", NULL, &again, &err), 0);
	registry_release(&a); /* is not a's any more */
	assert_int_equal(unixsock_check(place->registry.dir_fd, "a.sock", NULL), 1);
}

static void connects_or_explains(void **state)
{
	struct place *place = *state;
	struct registry_entry entries[7];
	struct err err = {0};
	char name[8];

	assert_int_equal(registry_connect(&place->registry, "x", &err), -ENOENT);
	assert_string_equal(err.text, "no sandbox \"x\" is running (none is running)");
	for (int i = 0; i < 7; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		assert_int_equal(
			registry_claim(&place->registry, name, NULL, &entries[i], &err), 0);
		if (i != 1)
			continue;
		assert_int_equal(registry_connect(&place->registry, "x", &err), -ENOENT);
		assert_string_equal(err.text, "no sandbox \"x\" is running (running: s0, s1)");
	}
	close(entries[6].listen_fd);
	assert_int_equal(registry_connect(&place->registry, "s6", &err), -ENOENT);
	assert_string_equal(
		err.text, "no sandbox \"s6\" is running (running: s0, s1, s2, s3, s4 and more)");
	int client = registry_connect(&place->registry, "s3", &err);
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
	struct place *place = *state;
	struct registry meshes;
	struct registry_entry sandbox, entries[3], again;
	char expected[PATH_MAX + 8], listed[4][REGISTRY_NAME_MAX + 1];
	char running[REGISTRY_DESCRIPTION_BYTES];
	struct err err = {0};

	assert_int_equal(registry_open(REGISTRY_MESH, &meshes, &err), 0);
	snprintf(expected, sizeof(expected), "%s/mesh", place->registry.path);
	assert_string_equal(meshes.path, expected);
	assert_int_equal(registry_claim(&place->registry, "site", NULL, &sandbox, &err), 0);
	assert_int_equal(registry_connect(&meshes, "site", &err), -ENOENT);
	assert_string_equal(err.text, "no mesh \"site\" is running (none is running)");
	for (int i = 0; i < 3; i++)
		assert_int_equal(registry_claim(&meshes, NULL, "-site", &entries[i], &err), 0);
	assert_string_equal(entries[0].name, "_site");
	assert_string_equal(entries[1].name, "_site-2");
	assert_string_equal(entries[2].name, "_site-3");
	assert_int_equal(registry_list(&meshes, listed, 4), 3);
	assert_int_equal(registry_list(&place->registry, listed, 4), 1);
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
	assert_int_equal(chmod(expected, 0750), 0);
	assert_int_equal(registry_open(REGISTRY_MESH, &meshes, &err), -EPERM);
	assert_int_equal(meshes.dir_fd, -1);
}

static void long_bases_fit(void **state)
{
	struct place *place = *state;
	struct registry_entry entry;

	assert_int_equal(registry_claim(&place->registry, NULL, LONGEST LONGEST, &entry, NULL), 0);
	assert_int_equal(registry_check_name(REGISTRY_SANDBOX, entry.name, NULL), 0);
	registry_release(&entry);
	assert_int_equal(registry_claim(&place->registry, NULL, "", &entry, NULL), 0);
	assert_string_equal(entry.name, "sandbox-1");
	registry_release(&entry);
}

/* Starters of the same base at the same time all get a name, no two the same one. */
static void starters_take_turns(void **state)
{
	struct place *place = *state;
	char listed[2 * STARTERS][REGISTRY_NAME_MAX + 1];

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
			int result = registry_claim(&place->registry, NULL, "s", &entry, NULL);
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
		assert_int_equal(registry_list(&place->registry, listed, 2 * STARTERS), STARTERS);
		for (int i = 0; i < STARTERS; i++) {
			char expected[16];

			snprintf(expected, sizeof(expected), "s-%d", i + 1);
			assert_string_equal(listed[i], expected);
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
		TEST(directory_is_private),
		TEST(falls_back_to_tmp),
		TEST(claims_and_lists),
		TEST(connects_or_explains),
		TEST(meshes_are_no_sandboxes),
		TEST(long_bases_fit),
		TEST(starters_take_turns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
