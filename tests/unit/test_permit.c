/* SPDX-License-Identifier: Apache-2.0 */
/* test_permit - what is allowed, and what is not */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "tunnel/permit.h"

static bool allows(const char *permit, const char *place)
{
	struct permits permits = {.count = 0};
	struct endpoint endpoint;
	struct addr own;
	struct err err;

	if (permit && permit_add(&permits, permit, &err) < 0)
		fail_msg("%s: %s", permit, err.text);
	if (endpoint_parse(place, &endpoint, &err) < 0) { /* port 0 */
		assert_int_equal(endpoint_parse_own(place, &own, &err), 0);
		endpoint = (struct endpoint){.addr = own};
	}
	return permit_allows(&permits, &endpoint);
}

static void what_matches(void **state)
{
	static const struct {
		const char *permit, *place;
		bool is;
	} cases[] = {
		{NULL, "127.0.0.1:1", false},
		{"127.0.0.1:80", "127.0.0.1:80", true},
		{"127.0.0.1:80", "127.0.0.1:81", false},
		{"127.0.0.1:80", "127.0.0.2:80", false},
		{"127.0.0.1:80", "localhost:80", false}, /* a name, which leads where it likes */
		{"localhost:80", "127.0.0.1:80", true},
		{"LOCALHOST:80", "127.0.0.1:80", true},
		{"web.example:80", "WEB.example:80", true},
		{"web.example:80", "web.example.com:80", false},
		{"web.example:80", "10.0.0.1:80", false},
		{"10.0.0.1:8000-8010", "10.0.0.1:7999", false},
		{"10.0.0.1:8000-8010", "10.0.0.1:8000", true},
		{"10.0.0.1:8000-8010", "10.0.0.1:8010", true},
		{"10.0.0.1:8000-8010", "10.0.0.1:8011", false},
		{"10.0.0.1:*", "10.0.0.1:1", true},
		{"10.0.0.1:*", "10.0.0.1:0", true},
		{"10.0.0.1:1-65535", "10.0.0.1:0", false},
		{"*:22", "anything:22", true},
		{"*:22", "[2001:db8::1]:22", true},
		{"*:22", "anything:23", false},
		{"*:*", "anything:23", true},
		{"*:*", "unix:/run/x", false},
		{"[::1]:5", "[::1]:5", true},
		{"[::1]:5", "[::2]:5", false},
		{"0.0.0.0:5", "127.0.0.1:5", false},
		{"unix:/run/x", "unix:/run/x", true},
		{"unix:/run/x", "unix:/run/xy", false},
		{"unix:/run/x", "127.0.0.1:1", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (allows(cases[i].permit, cases[i].place) != cases[i].is)
			fail_msg("%s and %s", cases[i].permit ? cases[i].permit : "nothing",
				cases[i].place);
}

static void what_is_none(void **state)
{
	static const char *const texts[] = {"", "80", "host", ":80", "host:", "host:x", "host:0",
		"host:2-1", "host:1-", "host:-1", "host:1-2-3", "host:1-99999", "::1:80", "[::1]",
		"a b:1", "unix:", "host:**", "host:1000000000000000001"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		struct permits permits = {.count = 0};
		struct err err = {0};

		if (permit_add(&permits, texts[i], &err) != -EINVAL || permits.count)
			fail_msg("%s is taken", texts[i]);
		assert_true(err.text[0] && !strchr(err.text, '\n'));
	}
}

static void as_many_as_there_may_be(void **state)
{
	struct permits permits = {.count = 0};
	struct err err;

	(void)state;
	for (int i = 0; i < PERMITS_MAX; i++)
		assert_int_equal(permit_add(&permits, "a:1", &err), 0);
	assert_int_equal(permit_add(&permits, "a:1", &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_matches),
		cmocka_unit_test(what_is_none),
		cmocka_unit_test(as_many_as_there_may_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
