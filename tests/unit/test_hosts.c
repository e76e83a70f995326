/* SPDX-License-Identifier: Apache-2.0 */
/* test_hosts - hosts files and nsswitch.conf, ordinary ones and others */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "sandbox/hosts.h"

#define LOCAL "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"

static void check_own(const char *text, const char *nodename, const char *wanted)
{
	char *names[8], joined[256] = "";
	size_t count = hosts_own_names(text, nodename, names, 8);

	for (size_t i = 0; i < count; i++) {
		strcat(strcat(joined, i > 0 ? " " : ""), names[i]);
		free(names[i]);
	}
	assert_string_equal(joined, wanted);
}

static void test_own_names(void **state)
{
	(void)state;
	check_own("", "box", "box");
	check_own("", "box.corp.example", "box.corp.example box");
	check_own("127.0.1.1\tbox.corp.example box # it\n10.0.0.1 other\n", "box",
		"box box.corp.example");
	check_own("127.0.0.1 localhost box localhost.localdomain\n", "BOX", "BOX");
	check_own("#127.0.1.1 a box\n1.1.1.1 # box\nbox a\n", "box", "box");
	check_own("1.1.1.1 b c d e f g h i j k box", "box", "box b c d e f g h");
	check_own("1.1.1.1 x", "localhost", "");
	check_own("1.1.1.1 x", "", "");
}

static void check_hosts(const char *text, const char *wanted)
{
	const struct hosts_name names[] = {
		{"box", addr_loopback4(0)}, {"lab", addr_of6(&in6addr_loopback, 0)}};
	char *made = hosts_format(text, names, 2);

	assert_string_equal(made, wanted);
	free(made);
}

static void test_hosts(void **state)
{
	static const char ours[] = LOCAL "127.0.0.1 box\n::1 lab\n";
	char wanted[512];

	(void)state;
	check_hosts("", ours);
	check_hosts("127.0.0.1 localhost\n::1\tlocalhost ip6-loopback\n127.0.1.1 BOX Lab", ours);
	strcat(strcpy(wanted, ours), "127.0.0.1 localhost.localdomain localhost4\n");
	check_hosts("127.0.0.1 localhost localhost.localdomain localhost4\n", wanted);
	strcat(strcpy(wanted, ours), "10.0.0.1 db db.example\n10.0.0.2 last\n");
	check_hosts("# one\n10.0.0.1\tdb lab db.example # two\n\n10.0.0.3\n10.0.0.2 last", wanted);
}

static void check_switch(const char *text, bool is_alone, const char *wanted)
{
	char *made = hosts_format_switch(text, is_alone);

	assert_string_equal(made, wanted);
	free(made);
}

static void test_switch(void **state)
{
	(void)state;
	check_switch("", false, "hosts: files dns\n");
	check_switch(
		"passwd: files\nhosts: files mymachines resolve [!UNAVAIL=return] myhostname dns\n",
		false, "passwd: files\nhosts: files mymachines dns\n");
	check_switch("hosts:\tdns files # x\nhosts: nis\nx: y", false, "hosts: files dns\nx: y\n");
	check_switch("hosts: files mdns4_minimal [NOTFOUND=return] dns\n", false,
		"hosts: files mdns4_minimal [NOTFOUND=return] dns\n");
	check_switch(
		"hosts: files mdns4_minimal [NOTFOUND=return] dns\n", true, "hosts: files dns\n");
	check_switch("hosts: [x] files [SUCCESS=continue] resolve\n", false, "hosts: files dns\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own_names),
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_switch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
