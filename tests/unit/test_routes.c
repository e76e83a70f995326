/* SPDX-License-Identifier: Apache-2.0 */
/* test_routes - patterns of names, the last network that matches, what is learnt and forgotten */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/routes.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct in_addr ip(const char *text)
{
	struct in_addr addr;

	assert_int_equal(inet_pton(AF_INET, text, &addr), 1);
	return addr;
}

static struct in_addr numbered(unsigned i)
{
	return (struct in_addr){htonl(0xcb007100U + i)};
}

/* What is behind whom: the VIP's last number, 0 for nobody. */
static unsigned behind(const struct routes *routes, const char *text)
{
	struct in_addr via;

	return routes_find(routes, ip(text), &via) ? ntohl(via.s_addr) & 0xff : 0;
}

static unsigned name_behind(const struct routes *routes, const char *name)
{
	struct in_addr via;

	return routes_find_name(routes, name, &via) ? ntohl(via.s_addr) & 0xff : 0;
}

static void patterns_match(void **state)
{
	static const struct {
		const char *pattern, *name;
		bool matches;
	} cases[] = {
		{"*.cloud1.example.com", "db.cloud1.example.com", true},
		{"*.cloud1.example.com", "a.b.cloud1.example.com", true},
		{"*.cloud1.example.com", "DB.Cloud1.Example.Com.", true},
		{"*.Cloud1.example.com.", "db.cloud1.example.com", true},
		{"*.cloud1.example.com", "cloud1.example.com", false},
		{"*.cloud1.example.com", ".cloud1.example.com", true},
		{"*.cloud1.example.com", "db.cloud1.example.com.evil", false},
		{"*.cloud1.example.com", "db.cloud1xexample.com", false},
		{"*", "anything.at.all", true},
		{"*", "x", true},
		{"**", "x", true},
		{"db", "db", true},
		{"db", "db.", true},
		{"db", "db2", false},
		{"db*", "db2", true},
		{"*db*", "the-db-of.mine", true},
		{"*a*b*c", "xaxxbxxbcxc", true},
		{"*a*b*c", "xaxxcxxbx", false},
		{"a*a", "a", false},
		{"a*a", "aa", true},
		{"", "x", false},
		{"", "", true},
		{"x", "", false},
		{"*", "", true},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		if (routes_matches(cases[i].pattern, cases[i].name) != cases[i].matches)
			fail_msg("\"%s\", \"%s\"", cases[i].pattern, cases[i].name);
}

/* Slow and right. */
static bool matches_simply(const char *pattern, const char *name)
{
	if (*pattern == '\0')
		return *name == '\0';
	if (*pattern == '*')
		return matches_simply(pattern + 1, name) ||
		       (*name && matches_simply(pattern, name + 1));
	return *pattern == *name && matches_simply(pattern + 1, name + 1);
}

static void patterns_match_as_a_model(void **state)
{
	char pattern[8], name[10];

	(void)state;
	for (int round = 0; round < 50000; round++) {
		size_t pattern_len = (size_t)random() % 8, name_len = (size_t)random() % 10;

		for (size_t i = 0; i < pattern_len; i++)
			pattern[i] = "ab*"[random() % 3];
		for (size_t i = 0; i < name_len; i++)
			name[i] = "ab"[random() % 2];
		pattern[pattern_len] = name[name_len] = '\0';
		if (routes_matches(pattern, name) != matches_simply(pattern, name))
			fail_msg("\"%s\", \"%s\"", pattern, name);
	}
}

static struct routes *make(void)
{
	static char *wide[] = {"10.0.0.0/8", "no network", "fd00::/8", NULL},
		    *narrow[] = {"10.1.2.3/16", NULL}, *clouds[] = {"*.cloud.test", NULL},
		    *one[] = {"db.cloud.test", NULL};
	const struct mesh_route list[] = {
		{.cidrs = wide, .globs = clouds, .via = ip("127.0.42.1")},
		{.cidrs = narrow, .globs = one, .via = ip("127.0.42.2")},
	};
	struct routes *routes = routes_new(list, COUNT(list));

	assert_non_null(routes);
	return routes;
}

static void the_last_route_counts(void **state)
{
	struct routes *routes = make();

	(void)state;
	assert_true(routes_have_networks(routes));
	assert_int_equal(behind(routes, "10.2.0.1"), 1);
	assert_int_equal(behind(routes, "10.1.0.1"), 2); /* bits behind the prefix do not count */
	assert_int_equal(behind(routes, "11.0.0.1"), 0);
	assert_int_equal(name_behind(routes, "web.cloud.test"), 1);
	assert_int_equal(name_behind(routes, "DB.cloud.test."), 2);
	assert_int_equal(name_behind(routes, "cloud.test"), 0);
	routes_free(routes);
}

static void none_is_fine(void **state)
{
	struct routes *routes = routes_new(NULL, 0);

	(void)state;
	assert_false(routes_have_networks(routes));
	assert_int_equal(behind(routes, "10.2.0.1"), 0);
	assert_int_equal(name_behind(routes, "x"), 0);
	routes_free(routes);
	routes_free(NULL);
}

static void what_is_learnt_comes_first_and_the_oldest_goes(void **state)
{
	struct routes *routes = make();
	struct in_addr gone, via = ip("127.0.42.9"), other = ip("127.0.42.8");

	(void)state;
	assert_true(routes_learn(routes, ip("10.1.0.1"), via, &gone));
	assert_false(routes_learn(routes, ip("10.1.0.1"), via, &gone));
	assert_int_equal(behind(routes, "10.1.0.1"), 9);
	assert_true(routes_learn(routes, ip("10.1.0.1"), other, &gone));
	assert_int_equal(behind(routes, "10.1.0.1"), 8);
	for (unsigned i = 0; i < ROUTES_LEARNT_MAX - 1; i++) {
		assert_true(routes_learn(routes, numbered(i), via, &gone));
		assert_int_equal(gone.s_addr, 0);
	}
	/* told again: it is the newest one now */
	assert_false(routes_learn(routes, ip("10.1.0.1"), other, &gone));
	assert_true(routes_learn(routes, numbered(1000), via, &gone));
	assert_int_equal(gone.s_addr, numbered(0).s_addr);
	assert_false(routes_find(routes, numbered(0), &via));
	assert_int_equal(behind(routes, "10.1.0.1"), 8);
	assert_true(routes_find(routes, numbered(1), &via));
	routes_free(routes);
}

static bool is_not_8(void *owner, struct in_addr ip_, struct in_addr via)
{
	(void)ip_;
	++*(int *)owner;
	return (ntohl(via.s_addr) & 0xff) != 8;
}

static void what_is_wanted_is_inherited(void **state)
{
	struct routes *old = make(), *routes = make();
	struct in_addr gone;
	int asked = 0;

	(void)state;
	routes_learn(old, ip("192.0.2.1"), ip("127.0.42.8"), &gone);
	routes_learn(old, ip("192.0.2.2"), ip("127.0.42.9"), &gone);
	routes_inherit(routes, old, is_not_8, &asked);
	routes_free(old);
	assert_int_equal(asked, 2);
	assert_int_equal(behind(routes, "192.0.2.1"), 0);
	assert_int_equal(behind(routes, "192.0.2.2"), 9);
	routes_free(routes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(patterns_match),
		cmocka_unit_test(patterns_match_as_a_model),
		cmocka_unit_test(the_last_route_counts),
		cmocka_unit_test(none_is_fine),
		cmocka_unit_test(what_is_learnt_comes_first_and_the_oldest_goes),
		cmocka_unit_test(what_is_wanted_is_inherited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
