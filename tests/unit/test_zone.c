/* SPDX-License-Identifier: Apache-2.0 */
/* test_zone - names that are known, and those that would tell others of them */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dns/zone.h"

static struct zone *zone;

static struct addr address(const char *text)
{
	struct addr addr;
	struct err err;

	assert_int_equal(addr_parse(text, &addr, &err), 0);
	return addr;
}

static int setup(void **state)
{
	struct addr lab = address("127.0.42.101"), web = address("127.0.42.102"),
		    box = address("10.0.2.100"), second = address("fd00::1");

	(void)state;
	zone = zone_new();
	assert_int_equal(zone_add(zone, "Lab", &lab), 0);
	assert_int_equal(zone_add(zone, "lab", &lab), 0);
	assert_int_equal(zone_add(zone, "db.example.com.", &lab), 0);
	assert_int_equal(zone_add(zone, "web", &web), 0);
	assert_int_equal(zone_add(zone, "web", &second), 0);
	assert_int_equal(zone_add(zone, "box", &box), 0);
	assert_int_equal(zone_add_pattern(zone, "*.Cloud1.example.com", &web), 0);
	assert_int_equal(zone_add_search(zone, "corp.example"), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	zone_free(zone);
	return 0;
}

/* What becomes of it, in a word: addresses, a name, "none", "refused", a server or "outside". */
static const char *find_in(const char *name, bool is_inet)
{
	static char text[512];
	struct query query = {.type = QUERY_A, .is_inet = is_inet};
	struct reply reply = {0};
	struct addr server;

	snprintf(query.name, sizeof(query.name), "%s", name);
	int result = zone_find(zone, &query, &reply, &server);
	if (result == -ENOENT)
		return "outside";
	if (result == -EREMOTE) {
		text[0] = '@';
		addr_format_ip(&server, text + 1, sizeof(text) - 1);
		return text;
	}
	assert_int_equal(result, 0);
	if (reply.rcode == DNS_REFUSED)
		return "refused";
	if (reply.rcode == DNS_NXDOMAIN)
		return "none";
	if (reply.target)
		return reply.target;
	text[0] = '\0';
	for (size_t i = 0; i < reply.count; i++) {
		size_t len = strlen(text);

		if (i > 0)
			text[len++] = ' ';
		addr_format_ip(&reply.addrs[i], text + len, sizeof(text) - len);
	}
	return text;
}

static const char *find(const char *name)
{
	return find_in(name, true);
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(find("lab"), "127.0.42.101");
	assert_string_equal(find("web"), "127.0.42.102 fd00::1");
	assert_string_equal(find("db.example.com"), "127.0.42.101");
	assert_string_equal(find("localhost"), "127.0.0.1 ::1");
	assert_string_equal(find("app.localhost"), "127.0.0.1 ::1");
	assert_string_equal(find("example.com"), "outside");
	assert_string_equal(find("label"), "outside");
	assert_string_equal(find(""), "outside");
}

static void test_addresses(void **state)
{
	(void)state;
	assert_string_equal(find("101.42.0.127.in-addr.arpa"), "lab");
	assert_string_equal(find("100.2.0.10.in-addr.arpa"), "box");
	assert_string_equal(find("1.0.0.127.in-addr.arpa"), "localhost");
	assert_string_equal(find("9.42.0.127.in-addr.arpa"), "none");
	assert_string_equal(find("1.2.0.10.in-addr.arpa"), "outside");
}

static void test_patterns(void **state)
{
	(void)state;
	assert_string_equal(find("a.cloud1.example.com"), "@127.0.42.102");
	assert_string_equal(find("a.b.cloud1.example.com"), "@127.0.42.102");
	assert_string_equal(find("cloud1.example.com"), "outside");
	assert_string_equal(find("a.cloud1.example.com.corp.example"), "none");
}

/* Names of ours are not told to others, and others' names are not kept from anybody. */
static void test_ours(void **state)
{
	(void)state;
	assert_string_equal(find("x.lab"), "none");
	assert_string_equal(find("_http._tcp.lab"), "none");
	assert_string_equal(find("_8443._https.db.example.com"), "none");
	assert_string_equal(find("x.db.example.com"), "outside");
	assert_string_equal(find("_dmarc.example.com"), "outside");
	assert_string_equal(find("lab.corp.example"), "none");
	assert_string_equal(find("_http._tcp.lab.corp.example"), "none");
	assert_string_equal(find("db.example.com.corp.example"), "none");
	assert_string_equal(find("x.corp.example"), "outside");
	assert_string_equal(find("x.lab.corp.example"), "outside");
	assert_string_equal(find("corp.example"), "outside");
	assert_string_equal(find("_"), "outside");
	assert_string_equal(find("_._"), "outside");
}

/* dig CH TXT lab */
static void test_other_classes(void **state)
{
	static const char *const ours[] = {"lab", "localhost", "x.lab", "lab.corp.example",
		"101.42.0.127.in-addr.arpa", "9.42.0.127.in-addr.arpa", "a.cloud1.example.com"};

	(void)state;
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		assert_string_equal(find_in(ours[i], false), "refused");
	assert_string_equal(find_in("version.bind", false), "outside");
	assert_string_equal(find_in("1.2.0.10.in-addr.arpa", false), "outside");
}

static void test_refused(void **state)
{
	struct addr addr = address("10.0.0.1");
	char longest[256];

	(void)state;
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(zone_add(zone, "", &addr), -EINVAL);
	assert_int_equal(zone_add(zone, ".", &addr), -EINVAL);
	assert_int_equal(zone_add(zone, "a b", &addr), -EINVAL);
	assert_int_equal(zone_add(zone, longest, &addr), -EINVAL);
	assert_int_equal(zone_add_pattern(zone, "a\\b", &addr), -EINVAL);
	assert_int_equal(zone_add_search(zone, "\xff"), -EINVAL);
	for (unsigned i = 0; i < REPLY_ADDRS_MAX; i++) {
		addr.v4.sin_addr.s_addr = htonl(0x0a000001 + i);
		assert_int_equal(zone_add(zone, "many", &addr), 0);
	}
	addr.v4.sin_addr.s_addr = htonl(0x0b000000);
	assert_int_equal(zone_add(zone, "many", &addr), -ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_addresses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_patterns, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ours, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_classes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
