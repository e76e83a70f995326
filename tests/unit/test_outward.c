/* SPDX-License-Identifier: Apache-2.0 */
/* test_outward - rules that lead outwards: what they say, and what is wrong with others */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "forward/outward.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void rules_read_back(void **state)
{
	/* what is written, and what it is */
	static const char *const rows[][2] = {
		{"5432", "127.0.0.1:5432:localhost:5432/tcp"},
		{"53/udp", "127.0.0.1:53:localhost:53/udp"},
		{"5432:5433", "127.0.0.1:5432:localhost:5433/tcp"},
		{"5432:5433/udp", "127.0.0.1:5432:localhost:5433/udp"},
		{"5432:db:5433", "127.0.0.1:5432:db:5433/tcp"},
		{"5432:192.0.2.1:5433", "127.0.0.1:5432:192.0.2.1:5433/tcp"},
		{"5432:[2001:db8::1]:1/tcp", "127.0.0.1:5432:[2001:db8::1]:1/tcp"},
		{"127.0.0.2:1:2", "127.0.0.2:1:localhost:2/tcp"},
		{"127.0.0.2:1:db.example.com:2", "127.0.0.2:1:db.example.com:2/tcp"},
		{"[::1]:1:2", "[::1]:1:localhost:2/tcp"},
		{"[::1]:1:[::1]:2", "[::1]:1:[::1]:2/tcp"},
		{"0.0.0.0:1:2", "0.0.0.0:1:localhost:2/tcp"},
		{"5432:unix:/run/a:b/c", "127.0.0.1:5432:unix:/run/a:b/c"},
		{"unix:/run/s:5432", "unix:/run/s:localhost:5432/tcp"},
		{"unix:s:db:5432", "unix:s:db:5432/tcp"},
		{"unix:a:unix:b", "unix:a:unix:b"},
		/* as ssh -R has them */
		{"localhost:5432:localhost:5434", "127.0.0.1:5432:localhost:5434/tcp"},
		{"*:5432:5433", "0.0.0.0:5432:localhost:5433/tcp"},
		{":5432:db:5433", "0.0.0.0:5432:db:5433/tcp"},
		{"/run/s:5433", "unix:/run/s:localhost:5433/tcp"},
		{"/run/s:/run/t", "unix:/run/s:unix:/run/t"},
		{"5432:/run/a:b", "127.0.0.1:5432:unix:/run/a:b"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct outward_spec spec, again;
		char text[OUTWARD_TEXT_BYTES];
		struct err err;

		if (outward_parse(rows[i][0], &spec, &err) < 0)
			fail_msg("%s: %s", rows[i][0], err.text);
		assert_string_equal(outward_format(&spec, text, sizeof(text)), rows[i][1]);
		assert_int_equal(outward_parse(text, &again, &err), 0);
		assert_true(outward_equal(&spec, &again));
		assert_true(outward_clash(&spec, &again));
		for (size_t j = 0; j < i; j++) {
			assert_int_equal(outward_parse(rows[j][0], &again, &err), 0);
			assert_false(outward_equal(&spec, &again));
		}
	}
}

static void others_are_refused(void **state)
{
	/* and a word of what is said */
	static const char *const rows[][2] = {
		{"", "guest port"},
		{"x", "guest port"},
		{"0", "guest port"},
		{"65536:1", "guest port"},
		{"8000-8010:9000-9010", "\"8000-8010\" is no guest port"},
		{"80/tcp:1", "\"80/tcp\" is no guest port"},
		{"1:0", "host port"},
		{"1:", "host port"},
		{":1", "leads no port outwards"},
		{"*", "guest port"},
		{"localhost:1", "leads no port outwards"},
		{"*a:1:2", "*a"},
		{"/a", "leads no port outwards"},
		{"1:2:3:4", "leads no port outwards"},
		{"127.0.0.1:5", "leads no port outwards"},
		{"db:5:6", "db"},
		{"[::1:5:6", "leads no port outwards"},
		{"1:d b:2", "no host"},
		{"1:1.2.3:2", "no host"},
		{"1:0.0.0.0:2", "no address of a host"},
		{"1:::1:2", "leads no port outwards"},
		{"1:2/sctp", "sctp"},
		{"unix:/a", "leads no port outwards"},
		{"unix::5", "empty"},
		{"5:unix:", "empty"},
		{"unix:/a:5/udp", "TCP only"},
		{"/a:5/udp", "TCP only"},
		{"/a:b", "host port"},
	};
	char longer[OUTWARD_TEXT_BYTES + 8], path[160] = "5:unix:/";

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct outward_spec spec;
		struct err err = {0};

		assert_int_equal(outward_parse(rows[i][0], &spec, &err), -EINVAL);
		if (!strstr(err.text, rows[i][1]))
			fail_msg("%s: %s", rows[i][0], err.text);
	}
	struct outward_spec spec;
	struct err err;
	memset(longer, '1', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(outward_parse(longer, &spec, &err), -EINVAL);
	memset(path + strlen(path), 'x', 120);
	assert_int_equal(outward_parse(path, &spec, &err), -EINVAL);
	assert_non_null(strstr(err.text, "at most"));
}

static bool do_clash(const char *a, const char *b)
{
	struct outward_spec one, two;
	struct err err;

	assert_int_equal(outward_parse(a, &one, &err), 0);
	assert_int_equal(outward_parse(b, &two, &err), 0);
	return outward_clash(&one, &two);
}

static void what_cannot_be_together(void **state)
{
	(void)state;
	assert_true(do_clash("1:2", "1:db:3"));
	assert_true(do_clash("0.0.0.0:1:2", "1:3"));
	assert_true(do_clash("unix:a:1", "unix:a:2"));
	assert_false(do_clash("1:2", "1:2/udp"));
	assert_false(do_clash("1:2", "127.0.0.2:1:2"));
	assert_false(do_clash("1:2", "[::1]:1:2"));
	assert_false(do_clash("1:2", "2:2"));
	assert_false(do_clash("unix:a:1", "unix:b:1"));
}

/* Rules of -R and of -p. */
static bool are_circle(const char *outwards, const char *inwards)
{
	struct forward_list list = {0};
	struct outward_spec out;
	struct err err = {0};

	assert_int_equal(outward_parse(outwards, &out, &err), 0);
	assert_int_equal(spec_list_parse(&list, inwards, NULL, &err), 0);
	int result = outward_check_circle(&out, &list.items[0], &err);
	spec_list_free(&list);
	assert_int_equal(result, result < 0 ? -EINVAL : 0);
	assert_true(result == 0 || strstr(err.text, "lead to one another"));
	return result < 0;
}

static void what_leads_to_one_another(void **state)
{
	(void)state;
	assert_true(are_circle("8099", "8099:8099"));
	assert_true(are_circle("80:8080", "*:8080:80"));
	assert_true(are_circle("80:127.0.0.2:8080", "*:8080:80"));
	assert_true(are_circle("80:192.0.2.1:8080", "192.0.2.1:8080:80"));
	/* localhost is both, where there are connections */
	assert_true(are_circle("8099", "[::1]:8099:8099"));
	assert_true(are_circle("80:8080", "[::]:8080:80"));
	assert_true(are_circle("53/udp", "53:53/udp"));
	assert_false(are_circle("53/udp", "[::1]:53:53/udp"));
	/* a wildcard is of its own family */
	assert_true(are_circle("80:[::1]:8080", "[::]:8080:80"));
	assert_false(are_circle("80:127.0.0.1:8080", "[::]:8080:80"));
	assert_false(are_circle("80:[::1]:8080", "*:8080:80"));
	assert_false(are_circle("80:192.0.2.1:8080", "*:8080:80"));
	assert_false(are_circle("80:127.0.0.2:8080", "8080:80"));
	assert_false(are_circle("80:8080", "8081:80"));
	assert_false(are_circle("80:8080", "8080:81"));
	assert_false(are_circle("80:8080", "8080:80/udp"));
	assert_false(are_circle("80:db:8080", "8080:80"));
	assert_false(are_circle("80:unix:s", "unix:s:80"));
}

static void names_are_told_from_addresses(void **state)
{
	static const char *const named[] = {"1:db:2", "1:a.b:2"};
	static const char *const plain[] = {
		"1", "1:LOCALHOST:2", "1:192.0.2.1:2", "1:[::1]:2", "1:unix:db"};
	struct outward_spec spec;
	struct err err;

	(void)state;
	for (size_t i = 0; i < COUNT(named); i++) {
		assert_int_equal(outward_parse(named[i], &spec, &err), 0);
		assert_true(outward_has_name(&spec));
	}
	for (size_t i = 0; i < COUNT(plain); i++) {
		assert_int_equal(outward_parse(plain[i], &spec, &err), 0);
		assert_false(outward_has_name(&spec));
	}
}

static void a_list_has_its_end(void **state)
{
	struct outward_list list = {NULL};
	struct outward_spec spec;
	struct err err;

	(void)state;
	assert_int_equal(outward_parse("1:db:2", &spec, &err), 0);
	for (unsigned i = 0; i < OUTWARD_MAX; i++) {
		spec.port = (uint16_t)i;
		assert_int_equal(outward_list_add(&list, &spec, &err), 0);
	}
	assert_int_equal(outward_list_add(&list, &spec, &err), -EINVAL);
	assert_string_equal(err.text, "too many ports lead outwards: expected at most 64");
	assert_int_equal(list.count, OUTWARD_MAX);
	for (unsigned i = 0; i < OUTWARD_MAX; i++)
		assert_int_equal(list.items[i].port, i);
	outward_list_free(&list);
	assert_int_equal(list.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_read_back),
		cmocka_unit_test(others_are_refused),
		cmocka_unit_test(what_cannot_be_together),
		cmocka_unit_test(what_leads_to_one_another),
		cmocka_unit_test(names_are_told_from_addresses),
		cmocka_unit_test(a_list_has_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
