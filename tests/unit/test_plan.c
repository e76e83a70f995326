/* SPDX-License-Identifier: Apache-2.0 */
/* test_plan - the addresses of a sandbox's network */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_those_of_slirp4netns),
		cmocka_unit_test(network_moves_all_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
