/* SPDX-License-Identifier: Apache-2.0 */
/* test_err - an error keeps its code and always fits */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util/err.h"

static void test_text_and_code(void **state)
{
	struct err err = {0};
	char expected[128];

	(void)state;
	assert_int_equal(err_set(&err, EINVAL, "port %d of '%s'", 7, "x"), -EINVAL);
	assert_int_equal(err.code, EINVAL);
	assert_string_equal(err.text, "port 7 of 'x'");
	assert_int_equal(err_sys(&err, ENOENT, "cannot open %s", "a"), -ENOENT);
	assert_int_equal(err.code, ENOENT);
	snprintf(expected, sizeof(expected), "cannot open a: %s", strerror(ENOENT));
	assert_string_equal(err.text, expected);
}

static void test_nobody_listens(void **state)
{
	(void)state;
	assert_int_equal(err_set(NULL, EINVAL, "x"), -EINVAL);
	assert_int_equal(err_sys(NULL, EPERM, "x"), -EPERM);
}

/* Every length around the end of the text, with a guard behind it. */
static void test_long_text(void **state)
{
	struct {
		struct err err;
		char guard[16];
	} room;
	char text[2 * sizeof(room.err.text)];

	(void)state;
	for (size_t len = sizeof(room.err.text) - 70; len < sizeof(room.err.text) + 70; len++) {
		memset(text, 'a', len);
		text[len] = '\0';
		memset(&room, '#', sizeof(room));
		assert_int_equal(err_sys(&room.err, EACCES, "%s", text), -EACCES);
		assert_memory_equal(room.guard, "################", 16);
		size_t got = strnlen(room.err.text, sizeof(room.err.text));
		assert_in_range(got, len < 511 ? len : 511, sizeof(room.err.text) - 1);
		assert_memory_equal(room.err.text, text, len < got ? len : got);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_and_code),
		cmocka_unit_test(test_nobody_listens),
		cmocka_unit_test(test_long_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
