/* SPDX-License-Identifier: Apache-2.0 */
/* test_expose - what is exposed by which rules, and rules that are none */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "conn/expose.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static bool allows(const struct expose *expose, const char *ip, uint16_t port)
{
	struct in_addr addr;

	assert_int_equal(inet_pton(AF_INET, ip, &addr), 1);
	return expose_allows(expose, addr, port);
}

static void add(struct expose *expose, const char *text)
{
	struct err err = {0};

	if (expose_add(expose, text, &err) < 0)
		fail_msg("%s: %s", text, err.text);
}

static const char *const own[] = {
	"0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "240.0.0.1"};
static const char *const special[] = {"127.0.0.1", "127.9.9.9", "169.254.169.254", "169.254.0.1",
	"100.100.100.200", "168.63.129.16", "192.0.0.192"};
static const char *const usual[] = {"10.1.2.3", "192.0.2.1", "169.253.255.255", "169.255.0.0",
	"100.100.100.201", "168.63.129.17", "223.255.255.255", "1.0.0.0"};

static void without_rules_all_but_the_hosts_own(void **state)
{
	const struct expose expose = {0};

	(void)state;
	for (size_t i = 0; i < COUNT(own); i++)
		assert_false(allows(&expose, own[i], 80));
	for (size_t i = 0; i < COUNT(special); i++)
		assert_false(allows(&expose, special[i], 80));
	for (size_t i = 0; i < COUNT(usual); i++) {
		assert_true(allows(&expose, usual[i], 80));
		assert_true(allows(&expose, usual[i], 0));
	}
}

static void only_what_is_named(void **state)
{
	struct expose expose = {0};

	(void)state;
	add(&expose, "10.0.0.0/8:22,8000-8100");
	add(&expose, "192.0.2.1");
	assert_true(allows(&expose, "10.1.2.3", 22));
	assert_true(allows(&expose, "10.1.2.3", 8000));
	assert_true(allows(&expose, "10.1.2.3", 8100));
	assert_true(allows(&expose, "10.1.2.3", 0)); /* ping */
	assert_false(allows(&expose, "10.1.2.3", 23));
	assert_false(allows(&expose, "10.1.2.3", 7999));
	assert_false(allows(&expose, "10.1.2.3", 8101));
	assert_false(allows(&expose, "11.1.2.3", 22));
	assert_true(allows(&expose, "192.0.2.1", 1));
	assert_true(allows(&expose, "192.0.2.1", 65535));
	assert_false(allows(&expose, "192.0.2.2", 1));
	assert_false(allows(&expose, "192.0.2.2", 0));
	expose_fini(&expose);
	assert_true(allows(&expose, "192.0.2.2", 1));
}

static void everything_does_not_name_what_is_special(void **state)
{
	struct expose expose = {0};

	(void)state;
	add(&expose, "0.0.0.0/0");
	add(&expose, "169.0.0.0/8");
	for (size_t i = 0; i < COUNT(own); i++)
		assert_false(allows(&expose, own[i], 80));
	for (size_t i = 0; i < COUNT(special); i++)
		assert_false(allows(&expose, special[i], 80));
	for (size_t i = 0; i < COUNT(usual); i++)
		assert_true(allows(&expose, usual[i], 80));
	add(&expose, "169.254.169.254:80");
	assert_true(allows(&expose, "169.254.169.254", 80));
	assert_false(allows(&expose, "169.254.169.254", 81));
	assert_false(allows(&expose, "169.254.169.253", 80));
	add(&expose, "100.100.100.200");
	assert_true(allows(&expose, "100.100.100.200", 80));
	expose_fini(&expose);
}

static void a_mesh_has_no_ipv6(void **state)
{
	struct expose mesh = {.has_no_ipv6 = true};
	struct err err;

	(void)state;
	assert_int_equal(expose_add(&mesh, "fd00::/8", &err), -EINVAL);
	assert_non_null(strstr(err.text, "a mesh has no IPv6"));
	assert_false(mesh.has_rules);
	add(&mesh, "0.0.0.0/0");
	expose_fini(&mesh);
}

/* By 127.0.0.1, or what has it; not by what is wider, nor where nothing leads there. */
static void loopback_is_to_be_named(void **state)
{
	struct expose expose = {0}, none = {.has_no_loopback = true};
	struct err err;

	(void)state;
	add(&expose, "127.0.0.1:5432");
	assert_true(allows(&expose, "127.0.0.1", 5432));
	assert_true(allows(&expose, "127.0.0.1", 0));
	assert_false(allows(&expose, "127.0.0.1", 5433));
	assert_false(allows(&expose, "127.0.0.2", 5432));
	assert_false(allows(&expose, "192.0.2.1", 5432));
	expose_fini(&expose);
	add(&expose, "126.0.0.0/7");
	assert_false(allows(&expose, "127.0.0.1", 80));
	add(&expose, "127.0.0.0/8:80");
	assert_true(allows(&expose, "127.0.0.1", 80));
	assert_false(allows(&expose, "127.0.0.1", 81));
	expose_fini(&expose);
	assert_int_equal(expose_add(&none, "127.0.0.1", &err), -EINVAL);
	assert_non_null(strstr(err.text, "nothing leads to this host's loopback"));
	add(&none, "10.0.0.0/8");
	expose_fini(&none);
}

static void nothing(void **state)
{
	struct expose expose = {0};

	(void)state;
	add(&expose, "none");
	for (size_t i = 0; i < COUNT(usual); i++)
		assert_false(allows(&expose, usual[i], 80));
	add(&expose, "10.1.0.0/16");
	assert_true(allows(&expose, "10.1.2.3", 80));
	assert_false(allows(&expose, "10.2.2.3", 80));
	expose_fini(&expose);
}

static void wrong_ones_are_refused_in_words(void **state)
{
	static const char *const wrong[][2] = {
		{"", "\"\" is no IPv4 network"},
		{"10.0.0.0/33", "/33"},
		{"10.0.0.1/8", "10.0.0.1/8"},
		{"10.0.0", "\"10.0.0\" is no IPv4 network"},
		{"fd00::1/8", "fd00::1/8"},
		{"fd00:/8", "fd00:/8"},
		{"fd00::g", "is no IPv6 network"},
		{"[fd00::/8]:", "has wrong ports"},
		{"[fd00::/8]80", "is no IPv6 network"},
		{"[::1]", "cannot be exposed"},
		{"::ffff:0:0/96", "cannot be exposed"},
		{"host", "is no IPv4 network"},
		{"10.0.0.0/8:", "has wrong ports"},
		{"10.0.0.0/8:0", "has wrong ports"},
		{"10.0.0.0/8:80,", "has wrong ports"},
		{"10.0.0.0/8:80-", "has wrong ports"},
		{"10.0.0.0/8:90-80", "has wrong ports"},
		{"10.0.0.0/8:65536", "has wrong ports"},
		{"10.0.0.0/8:http", "has wrong ports"},
		{"10.0.0.0/8:80:81", "has wrong ports"},
		{"10.0.0.0/8:1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "at most 16"},
		{"127.0.0.2", "expected 127.0.0.1"},
		{"127.1.0.0/16:80", "expected 127.0.0.1"},
		{"0.0.0.0", "cannot be exposed"},
		{"224.0.0.0/4", "cannot be exposed"},
		{"none,", "is no IPv4 network"},
	};
	char far[300];

	(void)state;
	for (size_t i = 0; i < COUNT(wrong); i++) {
		struct expose expose = {0};
		struct err err = {0};

		assert_int_equal(expose_add(&expose, wrong[i][0], &err), -EINVAL);
		if (!strstr(err.text, wrong[i][1]))
			fail_msg("%s: %s", wrong[i][0], err.text);
		assert_false(expose.has_rules);
	}
	struct expose expose = {0};
	struct err err = {0};
	memset(far, '1', sizeof(far) - 1);
	far[sizeof(far) - 1] = '\0';
	assert_int_equal(expose_add(&expose, far, &err), -EINVAL);
	assert_non_null(strstr(err.text, "too long"));
}

static bool allows6(const struct expose *expose, const char *text, uint16_t port)
{
	struct in6_addr ip;

	assert_int_equal(inet_pton(AF_INET6, text, &ip), 1);
	return expose_allows6(expose, &ip, port);
}

static void ipv6_is_the_same(void **state)
{
	static const char *const own6[] = {"::", "::1", "::127.0.0.1", "::ffff:127.0.0.1",
		"::ffff:192.0.2.1", "ff02::1", "64:ff9b::127.0.0.1"};
	static const char *const special6[] = {
		"fe80::1", "fec0::1", "fd00:ec2::254", "64:ff9b::169.254.169.254"};
	static const char *const usual6[] = {
		"2001:db8::1", "fd00:ec2::255", "64:ff9b::192.0.2.1", "fd00::1"};
	struct expose none = {0}, some = {0};

	(void)state;
	for (size_t i = 0; i < COUNT(own6); i++)
		assert_false(allows6(&none, own6[i], 80));
	for (size_t i = 0; i < COUNT(special6); i++)
		assert_false(allows6(&none, special6[i], 80));
	for (size_t i = 0; i < COUNT(usual6); i++)
		assert_true(allows6(&none, usual6[i], 80));
	add(&some, "[2001:db8::/33]:22,8000-8001");
	add(&some, "fd00::7");
	add(&some, "fe80::/64");
	add(&some, "0.0.0.0/0");
	assert_true(allows6(&some, "2001:db8:7fff::1", 22));
	assert_false(allows6(&some, "2001:db8:8000::1", 22));
	assert_false(allows6(&some, "2001:db8::1", 23));
	assert_true(allows6(&some, "fd00::7", 1));
	assert_false(allows6(&some, "fd00::8", 1));
	assert_true(allows6(&some, "fe80::1", 1));
	assert_false(allows6(&some, "fe80:0:0:1::1", 1));
	assert_true(allows(&some, "192.0.2.1", 80)); /* beside one another */
	expose_fini(&some);
	add(&some, "::/0");
	assert_false(allows(&some, "10.1.2.3", 80));
	assert_true(allows6(&some, "2001:db8::1", 80));
	for (size_t i = 0; i < COUNT(own6); i++)
		assert_false(allows6(&some, own6[i], 80));
	for (size_t i = 0; i < COUNT(special6); i++)
		assert_false(allows6(&some, special6[i], 80));
	expose_fini(&some);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_rules_all_but_the_hosts_own),
		cmocka_unit_test(only_what_is_named),
		cmocka_unit_test(everything_does_not_name_what_is_special),
		cmocka_unit_test(loopback_is_to_be_named),
		cmocka_unit_test(a_mesh_has_no_ipv6),
		cmocka_unit_test(nothing),
		cmocka_unit_test(wrong_ones_are_refused_in_words),
		cmocka_unit_test(ipv6_is_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
