/* SPDX-License-Identifier: Apache-2.0 */
/* unit/test_sshconf - which files ssh would include, and which of them are copied */
#include "sandbox/sshconf.h"

#include <errno.h>
#include <ftw.h>
#include <glib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void put(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	assert_int_equal(chmod(path, 0644), 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

/* In a directory with what ssh looks at: system/ssh_config and user/config. */
static int enter_directory(void **state)
{
	char *dir = strdup("/tmp/nswrap-test-XXXXXX");

	*state = dir;
	if (!mkdtemp(dir) || chdir(dir) < 0 || mkdir("system", 0755) < 0 || mkdir("user", 0755) < 0)
		return -1;
	setenv("HOME", dir, 1);
	return 0;
}

static int leave_directory(void **state)
{
	int result = chdir("/") + nftw(*state, remove_one, 8, FTW_DEPTH | FTW_PHYS);

	free(*state);
	return result;
}

/* The paths of all copies below here, "a b c" in the order they were read. */
static const char *copies(uid_t owner)
{
	static char text[8192];
	char cwd[256], system[300];
	struct sshconf conf;
	size_t at = 0;

	assert_non_null(getcwd(cwd, sizeof(cwd)));
	snprintf(system, sizeof(system), "%s/system", cwd);
	sshconf_read(&(struct sshconf_roots){system, "~/user", owner}, &conf);
	text[0] = '\0';
	for (size_t i = 0; i < conf.count; i++) {
		const char *path = conf.files[i].path;

		if (path)
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", at ? " " : "",
				strncmp(path, cwd, strlen(cwd)) == 0 ? path + strlen(cwd) + 1
								     : path);
	}
	sshconf_free(&conf);
	return text;
}

static void test_follows_includes_as_ssh_does(void **state)
{
	char text[512];

	snprintf(text, sizeof(text), "# Include no\nInclude system.d/*.conf\n");
	put("system/ssh_config", text);
	assert_int_equal(mkdir("system/system.d", 0755), 0);
	assert_int_equal(mkdir("elsewhere", 0755), 0);
	put("system/system.d/a.conf", "Host x\n");
	put("elsewhere/b", "  iNcLuDe=\"system.d/with space\"\n");
	put("system/system.d/with space", "Include ssh_config\n"); /* around */
	assert_int_equal(symlink("../../elsewhere/b", "system/system.d/b.conf"), 0);
	put("system/system.d/no.txt", "");
	snprintf(text, sizeof(text),
		"Match all\n\tInclude own ~/tilde %s/absolute # no\nIncluded x\n", (char *)*state);
	put("user/config", text);
	put("user/own", "");
	put("tilde", "Include deeper");
	put("user/deeper", "");
	put("absolute", "");
	put("user/no", "");
	assert_string_equal(copies(geteuid()),
		"user/config user/own tilde user/deeper absolute system/ssh_config "
		"system/system.d/a.conf system/system.d/b.conf system/system.d/with space");
}

static void test_copies_of_one_owner_only(void **state)
{
	(void)state;
	put("system/ssh_config", "Include more");
	put("system/more", "");
	assert_string_equal(copies(geteuid() + 1), "");
}

static void test_what_a_copy_has(void **state)
{
	struct sshconf conf;

	(void)state;
	put("user/config", "Include group");
	put("user/group", "Host group\n");
	assert_int_equal(chmod("user/group", 0664), 0);
	sshconf_read(&(struct sshconf_roots){"/nowhere", "~/user", geteuid()}, &conf);
	assert_int_equal(conf.count, 2);
	assert_int_equal(conf.files[1].mode, 0664);
	assert_int_equal(conf.files[1].len, 11);
	assert_memory_equal(conf.files[1].text, "Host group\n", 11);
	sshconf_free(&conf);
}

static void test_odd_files_hold_up_nobody(void **state)
{
	char *large = malloc(SSHCONF_BYTES_MAX + 2);

	(void)state;
	assert_non_null(large);
	memset(large, '\n', SSHCONF_BYTES_MAX + 1);
	large[SSHCONF_BYTES_MAX + 1] = '\0';
	put("user/config", "Include fifo missing directory large link \"open ok\nInclude *\n");
	assert_int_equal(mkfifo("user/fifo", 0644), 0);
	assert_int_equal(mkdir("user/directory", 0755), 0);
	assert_int_equal(symlink("link", "user/link"), 0);
	put("user/large", large);
	put("user/ok", "");
	free(large);
	assert_string_equal(copies(geteuid()), "user/config user/ok");
}

static void test_is_bounded(void **state)
{
	char name[64];
	struct sshconf conf;

	(void)state;
	put("user/config", "Include many.*\n");
	for (int i = 0; i < 2 * SSHCONF_FILES_MAX; i++) {
		snprintf(name, sizeof(name), "user/many.%d", i);
		put(name, "Include many.*\n");
	}
	sshconf_read(&(struct sshconf_roots){"/nowhere", "~/user", geteuid()}, &conf);
	assert_int_equal(conf.count, SSHCONF_FILES_MAX);
	sshconf_free(&conf);
}

static void test_lines(void **state)
{
	static const struct {
		const char *line, *patterns;
	} cases[] = {
		{"Include a", "a"},
		{"\tINCLUDE\ta  b", "a|b"},
		{"include=a", "a"},
		{"include = a", "a"},
		{"Include\"a b\"", "a b"},
		{"Include a # b", "a"},
		{"Include a\r", "a"},
		{"Include", NULL},
		{"Include ", NULL},
		{"Include \"a", NULL},
		{"Includes a", NULL},
		{"# Include a", NULL},
		{"", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *line = strdup(cases[i].line);
		char **patterns = sshconf_include(line);
		char *joined = patterns ? g_strjoinv("|", patterns) : NULL;

		if (!cases[i].patterns)
			assert_null(joined);
		else
			assert_string_equal(joined, cases[i].patterns);
		g_free(joined);
		g_strfreev(patterns);
		free(line);
	}
}

#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, enter_directory, leave_directory)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIRECTORY(test_follows_includes_as_ssh_does),
		IN_DIRECTORY(test_copies_of_one_owner_only),
		IN_DIRECTORY(test_what_a_copy_has),
		IN_DIRECTORY(test_odd_files_hold_up_nobody),
		IN_DIRECTORY(test_is_bounded),
		cmocka_unit_test(test_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
