/* SPDX-License-Identifier: Apache-2.0 */
/* test_env - the caller's variables, those of the sandbox, and the changes, in that order */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/env.h"

/* env_make as one text, each variable with a blank behind it. */
static const char *made(const struct env_changes *changes, char *const *more)
{
	static char out[512];
	char **env = env_make(changes, more);

	assert_non_null(env);
	out[0] = '\0';
	for (char **item = env; *item; item++) {
		strcat(out, *item);
		strcat(out, " ");
	}
	free(env);
	return out;
}

static void test_order(void **state)
{
	char *caller[] = {"A=1", "NSWRAP_NAME=x", "NSWRAP=y", "B=2", "NOTIFY_SOCKET=/s",
		"NOTIFY_SOCKETS=z", "AB=3", NULL};
	char *more[] = {"B=4", "NSWRAP_NAME=box", NULL}, **before = environ;
	struct env_changes changes = {.count = 0};
	struct err err;

	(void)state;
	environ = caller;
	assert_string_equal(made(&changes, NULL), "A=1 NSWRAP=y B=2 NOTIFY_SOCKETS=z AB=3 ");
	assert_string_equal(
		made(&changes, more), "A=1 NSWRAP=y NOTIFY_SOCKETS=z AB=3 B=4 NSWRAP_NAME=box ");
	assert_int_equal(env_set(&changes, "A=5", &err), 0);
	assert_int_equal(env_set(&changes, "AB", &err), 0); /* the caller's, there anyway */
	assert_int_equal(env_unset(&changes, "B", &err), 0);
	assert_int_equal(env_unset(&changes, "C", &err), 0);
	assert_int_equal(env_set(&changes, "E==", &err), 0);
	assert_string_equal(
		made(&changes, more), "NSWRAP=y NOTIFY_SOCKETS=z AB=3 NSWRAP_NAME=box A=5 E== ");
	assert_int_equal(env_set(&changes, "B=6", &err), 0);
	assert_int_equal(env_unset(&changes, "A", &err), 0);
	assert_string_equal(made(&changes, NULL), "NSWRAP=y NOTIFY_SOCKETS=z AB=3 E== B=6 ");
	environ = before;
}

static void test_wrong(void **state)
{
	struct env_changes changes = {.count = 0};
	struct err err;

	(void)state;
	assert_int_equal(env_set(&changes, "=x", &err), -EINVAL);
	assert_string_equal(err.text, "\"=x\" names no variable: expected NAME or NAME=VALUE");
	assert_int_equal(env_set(&changes, "", &err), -EINVAL);
	assert_int_equal(env_unset(&changes, "A=x", &err), -EINVAL);
	assert_string_equal(err.text, "\"A=x\" is no name of a variable: expected NAME");
	assert_int_equal(env_unset(&changes, "", &err), -EINVAL);
	assert_int_equal(changes.count, 0);
	for (int i = 0; i < ENV_CHANGES_MAX; i++)
		assert_int_equal(env_unset(&changes, "A", &err), 0);
	assert_int_equal(env_set(&changes, "A=1", &err), -EINVAL);
	assert_string_equal(err.text, "given too often: expected at most 1024 times");
	assert_int_equal(changes.count, ENV_CHANGES_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_wrong),
	};

	return cmocka_run_group_tests_name("env", tests, NULL, NULL);
}
