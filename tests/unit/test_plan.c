/* SPDX-License-Identifier: Apache-2.0 */
/* test_plan - the addresses of a sandbox's network, and which driver leads where */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>

#include "forward/driver.h"
#include "net/plan.h"

static void assert_address(int family, const void *addr, const char *expected)
{
	char text[INET6_ADDRSTRLEN];

	assert_string_equal(inet_ntop(family, addr, text, sizeof(text)), expected);
}

static void defaults_are_those_of_slirp4netns(void **state)
{
	struct net_plan plan;

	(void)state;
	plan_init(&plan);
	assert_address(AF_INET, &plan.network, "10.0.2.0");
	assert_address(AF_INET, &plan.netmask, "255.255.255.0");
	assert_address(AF_INET, &plan.host, "10.0.2.2");
	assert_address(AF_INET, &plan.dns, "10.0.2.3");
	assert_address(AF_INET, &plan.guest, "10.0.2.100");
	assert_address(AF_INET6, &plan.prefix6, "fd00::");
	assert_address(AF_INET6, &plan.host6, "fd00::2");
	assert_address(AF_INET6, &plan.dns6, "fd00::3");
	assert_address(AF_INET6, &plan.guest6, "fd00::100");
	assert_address(AF_INET6, &plan.link6, "fe80::100");
	assert_int_equal(plan.mtu, 65520);
	assert_true(plan.has_outbound && plan.has_dns && plan.has_ipv6);
	assert_false(plan.allows_host_loopback);
}

static void network_moves_all_addresses(void **state)
{
	struct net_plan plan;
	struct in_addr network;

	(void)state;
	plan_init(&plan);
	inet_pton(AF_INET, "192.168.255.128", &network);
	plan_set_network(&plan, network, 25);
	assert_address(AF_INET, &plan.netmask, "255.255.255.128");
	assert_address(AF_INET, &plan.host, "192.168.255.130");
	assert_address(AF_INET, &plan.guest, "192.168.255.228");
}

struct resolve_row {
	const char *rule;
	enum forward_driver_choice choice;
	bool has_outbound, checks_user;
	enum forward_driver_choice expected;
};

static void drivers_are_chosen_by_the_client(void **state)
{
	const enum forward_driver_choice any = FORWARD_DRIVER_AUTO, splice = FORWARD_DRIVER_SPLICE,
					 slirp = FORWARD_DRIVER_SLIRP;
	const struct resolve_row rows[] = {
		{"127.0.0.1:80:80", any, true, false, splice},
		{"127.9.0.1:80:80", any, true, false, splice},
		{"[::1]:80:80", any, true, false, splice},
		{"unix:/x:80", any, true, false, splice},
		{"0.0.0.0:80:80", any, true, false, slirp},
		{"192.0.2.1:80:80/udp", any, true, false, slirp},
		{"[::]:80:80", any, true, false, splice},
		/* on request */
		{"127.0.0.1:80:80", slirp, true, false, slirp},
		{"0.0.0.0:80:80", splice, true, false, splice},
		{"[::]:80:80", slirp, true, false, slirp},
		/* what libslirp cannot do */
		{"unix:/x:80", slirp, true, false, splice},
		{"127.0.0.1:80:80/udp", slirp, true, false, splice},
		{"127.0.0.1:80:80", slirp, true, true, splice},
		{"0.0.0.0:80:80", slirp, false, false, splice},
		{"0.0.0.0:80:80", slirp, true, true, slirp},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct forward_list list = {0};

		assert_int_equal(spec_list_parse(&list, rows[i].rule, NULL, NULL), 0);
		assert_int_equal(driver_resolve(&list.items[0], rows[i].choice,
					 rows[i].has_outbound, rows[i].checks_user),
			rows[i].expected);
		spec_list_free(&list);
	}
	assert_string_equal(driver_name(splice), "splice");
	assert_string_equal(driver_name(slirp), "slirp");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_those_of_slirp4netns),
		cmocka_unit_test(network_moves_all_addresses),
		cmocka_unit_test(drivers_are_chosen_by_the_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
