/* SPDX-License-Identifier: Apache-2.0 */
/* test_naming - what agents know a host by is the same at each start, and no other host's */
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

#include "mesh/manager/naming.h"

static char directory[] = "/tmp/test_naming.XXXXXX";

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(directory) || chdir(directory) < 0 || mkdir("there", 0700) < 0)
		return -1;
	for (const char *const *path = (const char *const[]){"a.yaml", "there/a.yaml", NULL}; *path;
		path++)
		if (close(open(*path, O_CREAT | O_WRONLY, 0600)) < 0)
			return -1;
	return symlink("a.yaml", "link.yaml");
}

static int tear_down(void **state)
{
	(void)state;
	unlink("link.yaml");
	unlink("a.yaml");
	unlink("there/a.yaml");
	rmdir("there");
	return rmdir(directory);
}

static char *identity(const char *path, const char *mesh, const char *host)
{
	char *scope = naming_scope(path, mesh);

	assert_non_null(scope);
	char *out = naming_identity(scope, host);
	assert_non_null(out);
	free(scope);
	return out;
}

static void it_is_one_host_of_one_mesh(void **state)
{
	static const struct {
		const char *path, *mesh, *host;
		bool is_same, is_same_mesh;
	} rows[] = {
		{"a.yaml", "site", "one", true, true},
		{"./there/../a.yaml", "site", "one", true, true},
		{"link.yaml", "site", "one", true, true},
		{"a.yaml", "site", "two", false, true},
		{"a.yaml", "site-2", "one", false, false},
		/* of the same name at another place */
		{"there/a.yaml", "site", "one", false, false},
		{"-", "site", "one", false, false},
	};
	char *first = identity("a.yaml", "site", "one");

	(void)state;
	/* what agents take (mesh/configure) */
	assert_int_equal(strspn(first, "0123456789abcdef"), 32);
	assert_int_equal(strlen(first), 32);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *found = identity(rows[i].path, rows[i].mesh, rows[i].host);

		/* either half says one thing (control/tenant) */
		if ((strcmp(found, first) == 0) != rows[i].is_same ||
			(strncmp(found, first, 16) == 0) != rows[i].is_same_mesh ||
			(strcmp(found + 16, first + 16) == 0) != rows[i].is_same)
			fail_msg("row %zu", i);
		free(found);
	}
	free(first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_one_host_of_one_mesh),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
