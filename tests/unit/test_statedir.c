/* SPDX-License-Identifier: Apache-2.0 */
/* test_statedir - where it is, who has lines in it, and what is nobody's business */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mesh/agent/author.h"
#include "mesh/agent/statedir.h"
#include "netns.h"
#include "util/fd.h"

struct bed {
	char top[64], path[96];
	struct marked_author self;
};

static int set_up(void **state)
{
	static struct bed bed;

	bed = (struct bed){.top = "/tmp/nswrap-statedir-XXXXXX"};
	assert_non_null(mkdtemp(bed.top));
	snprintf(bed.path, sizeof(bed.path), "%s/a", bed.top);
	bed.self = author_self((struct in_addr){0x0100007f});
	*state = &bed;
	return 0;
}

static int tear_down(void **state)
{
	struct bed *bed = *state;

	rmdir(bed->path);
	return rmdir(bed->top);
}

static const char *read_name(const struct bed *bed, const char *name)
{
	static char text[65536];
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", bed->path, name);
	return fd_read_file(path, text, sizeof(text)) < 0 ? NULL : text;
}

static void write_name(const struct bed *bed, const char *name, const char *text)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", bed->path, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
	close(fd);
}

static void remove_name(const struct bed *bed, const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", bed->path, name);
	assert_int_equal(unlink(path), 0);
}

static void a_path_is_expanded(void **state)
{
	const struct bed *bed = *state;
	char expected[128];
	struct err err;
	static const char *const forms[] = {"~/a", "$HOME/a", "${HOME}/a", "${TOP}$SUB"};

	setenv("HOME", bed->top, 1);
	setenv("TOP", bed->top, 1);
	setenv("SUB", "/a", 1);
	unsetenv("NONE");
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		char *path = statedir_expand(forms[i], &err);

		assert_string_equal(path, bed->path);
		free(path);
	}
	snprintf(expected, sizeof(expected), "%s/.nswrap/agent", bed->top);
	char *path = statedir_expand(NULL, &err);
	assert_string_equal(path, expected);
	free(path);
	/* of another user, as sudo may leave it */
	setenv("HOME", geteuid() == 0 ? "/nonexistent" : "/", 1);
	path = statedir_expand("~", &err);
	assert_true(!path || strcmp(path, getenv("HOME")) != 0);
	free(path);
	setenv("HOME", bed->top, 1);
	assert_null(statedir_expand("~root/a", &err));
	assert_non_null(strstr(err.text, "\"~root/a\": expected ~/"));
	assert_null(statedir_expand("/a/${NONE}/b", &err));
	assert_non_null(strstr(err.text, "NONE is not set"));
	assert_null(statedir_expand("/a/$/b", &err));
	assert_null(statedir_expand("${HOME/b", &err));
	assert_null(statedir_expand("$1", &err));
	assert_non_null(strstr(err.text, "expected $VAR or ${VAR}"));
}

static void they_come_and_go(void **state)
{
	const struct bed *bed = *state;
	struct statedir dir = {NULL};
	struct err err;

	assert_int_equal(statedir_write(&dir, bed->path, &bed->self, "127.0.0.1 lab\n",
				 "lab 127.0.0.1.nip.io\n", &err),
		0);
	assert_non_null(strstr(read_name(bed, "hosts"), "\n127.0.0.1 lab\n"));
	assert_non_null(strstr(read_name(bed, "hosts"), "localhost")); /* of /etc/hosts */
	assert_non_null(strstr(read_name(bed, "hostaliases"), "\nlab 127.0.0.1.nip.io\n"));
	assert_non_null(strstr(read_name(bed, "README.md"), "nswrap"));
	/* others instead */
	assert_int_equal(statedir_write(&dir, bed->path, &bed->self, "127.0.0.1 x\n", "", &err), 0);
	assert_null(strstr(read_name(bed, "hosts"), "lab"));
	assert_null(strstr(read_name(bed, "hostaliases"), "lab"));
	statedir_remove(&dir, &bed->self);
	assert_int_equal(access(bed->path, F_OK), -1);
}

static void two_agents_have_one(void **state)
{
	const struct bed *bed = *state;
	struct statedir dir = {NULL}, second = {NULL};
	struct marked_author other = bed->self, dead = bed->self;
	struct err err;

	/* this process for both: who is at another address is another one */
	other.vip.s_addr = 0x0200007f;
	dead.vip.s_addr = 0x0300007f;
	dead.started = 1;
	assert_int_equal(statedir_write(&dir, bed->path, &dead, "1.1.1.1 gone\n", "", &err), 0);
	assert_int_equal(
		statedir_write(&second, bed->path, &other, "1.1.1.1 theirs\n", "", &err), 0);
	assert_null(strstr(read_name(bed, "hosts"), "gone"));
	assert_int_equal(
		statedir_write(&dir, bed->path, &bed->self, "1.1.1.1 ours\n", "", &err), 0);
	assert_non_null(strstr(read_name(bed, "hosts"), "theirs"));
	assert_non_null(strstr(read_name(bed, "hosts"), "ours"));
	statedir_remove(&dir, &bed->self);
	assert_null(strstr(read_name(bed, "hosts"), "ours"));
	assert_non_null(strstr(read_name(bed, "hosts"), "theirs"));
	statedir_remove(&second, &other);
	assert_null(read_name(bed, "hosts"));
	assert_null(read_name(bed, "README.md"));
}

/* A manager may name any directory: what is there is left alone. */
static void what_is_not_ours(void **state)
{
	const struct bed *bed = *state;
	struct statedir dir = {NULL};
	struct err err;

	assert_int_equal(mkdir(bed->path, 0755), 0);
	write_name(bed, "hosts", "my own\n");
	write_name(bed, "README.md", "# My own\n");
	assert_int_equal(
		statedir_write(&dir, bed->path, &bed->self, "x y\n", "a b\n", &err), -EEXIST);
	assert_non_null(strstr(err.text, "a/hosts is a file of somebody else's"));
	remove_name(bed, "hosts");
	write_name(bed, "hostaliases", ""); /* that one, too */
	assert_int_equal(
		statedir_write(&dir, bed->path, &bed->self, "x y\n", "a b\n", &err), -EEXIST);
	assert_non_null(strstr(err.text, "a/hostaliases is a file of somebody else's"));
	statedir_remove(&dir, &bed->self);
	assert_string_equal(read_name(bed, "hostaliases"), "");
	remove_name(bed, "hostaliases");
	assert_int_equal(statedir_write(&dir, bed->path, &bed->self, "x y\n", "a b\n", &err), 0);
	assert_string_equal(read_name(bed, "README.md"), "# My own\n");
	remove_name(bed, "hosts");
	write_name(bed, "hosts", "my own\n");
	statedir_remove(&dir, &bed->self);
	assert_string_equal(read_name(bed, "hosts"), "my own\n");
	assert_string_equal(read_name(bed, "README.md"), "# My own\n");
	assert_null(read_name(bed, "hostaliases"));
	remove_name(bed, "hosts");
	remove_name(bed, "README.md");
}

/* The directory of /etc/hosts, where mesh/agent/hostfiles has a block in that: it stays. */
static void etc_hosts_itself(void **state)
{
	const struct bed *bed = *state;
	struct marked_text text = {NULL, 0};
	struct statedir dir = {NULL};
	char path[160];
	struct err err;

	if (netns_enter() < 0 || unshare(CLONE_NEWNS) < 0 ||
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		assert_null(getenv("NSWRAP_TEST_NO_SKIP"));
		skip();
	}
	assert_int_equal(mkdir(bed->path, 0755), 0);
	assert_int_equal(marked_add(&text, &bed->self, "127.0.0.1 lab\n"), 0);
	text.bytes[text.len] = '\0';
	write_name(bed, "hosts", text.bytes);
	snprintf(path, sizeof(path), "%s/hosts", bed->path);
	assert_int_equal(mount(path, "/etc/hosts", NULL, MS_BIND, NULL), 0);
	assert_int_equal(
		statedir_write(&dir, bed->path, &bed->self, "x y\n", "a b\n", &err), -EEXIST);
	assert_non_null(strstr(err.text, "a/hosts is a file of somebody else's"));
	statedir_remove(&dir, &bed->self);
	assert_string_equal(read_name(bed, "hosts"), text.bytes);
	assert_null(read_name(bed, "hostaliases"));
	assert_int_equal(umount2("/etc/hosts", MNT_DETACH), 0);
	remove_name(bed, "hosts");
	free(text.bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_path_is_expanded, set_up, tear_down),
		cmocka_unit_test_setup_teardown(they_come_and_go, set_up, tear_down),
		cmocka_unit_test_setup_teardown(two_agents_have_one, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_not_ours, set_up, tear_down),
		/* in namespaces from there on */
		cmocka_unit_test_setup_teardown(etc_hosts_itself, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
