/* SPDX-License-Identifier: Apache-2.0 */
/* test_apart - which hosts cannot connect to each other, and what is said of them */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <string.h>

#include "mesh/manager/apart.h"

static const struct mesh_agent_info kernel = {
	.features = FEATURE_TCP | FEATURE_STREAMS, .stack = "kernel", .version = "1"};
static const struct mesh_agent_info streams = {.features = FEATURE_TCP | FEATURE_STREAMS,
	.stack = "streams",
	.stack_why = "no namespaces",
	.version = "1"};
static const struct mesh_agent_info theirs = {.features = FEATURE_TCP, .version = "0.6.5"};

static void test_who_is(void **state)
{
	const struct mesh_agent_info *all[] = {&kernel, &streams, &theirs};

	(void)state;
	for (size_t i = 0; i < 3; i++)
		for (size_t j = 0; j < 3; j++)
			assert_int_equal(apart_are(all[i], all[j]), i + j == 3 && i != j);
	assert_true(apart_is_foreign(&theirs));
	assert_false(apart_is_foreign(&streams));
}

static void test_it_names_all(void **state)
{
	struct mesh_agent_info nameless = theirs;
	char text[400];

	(void)state;
	apart_format(&theirs, "pod", &streams, text, sizeof(text));
	assert_non_null(strstr(text, "it and pod:"));
	assert_non_null(strstr(text, "(no namespaces)"));
	assert_non_null(strstr(text, "version 0.6.5"));
	nameless.version[0] = '\0';
	apart_format(&nameless, "pod", &streams, text, sizeof(text));
	assert_non_null(strstr(text, "version (none)"));
	assert_int_equal(strlen(apart_format(&theirs, "pod", &streams, text, 10)), 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_is),
		cmocka_unit_test(test_it_names_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
