/* SPDX-License-Identifier: Apache-2.0 */
/* test_plan - the addresses of a sandbox's network */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>

#include "net/occupied.h"
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

/* Whichever of the usual networks the host has, none of them is chosen while one is free. */
static void taken_networks_are_avoided(void **state)
{
	static const struct occupied_network all[] = {
		{AF_INET, {10, 0, 2, 15}, 32},
		{AF_INET, {10}, 8},
		{AF_INET, {172, 16}, 12},
		{AF_INET, {192, 168}, 16},
		{AF_INET, {198, 18}, 15},
	};
	static const char *const chosen[] = {
		"10.0.2.0", "10.162.2.0", "172.29.2.0", "192.168.162.0", "198.18.2.0", "10.0.2.0"};
	static const struct occupied_network all6[] = {
		{AF_INET6, {0xfd}, 64}, {AF_INET6, {0xfc}, 7}, {AF_INET6, {0x20}, 3}};
	static const char *const chosen6[] = {
		"fd00::", "fd6e:7377:7261:7000::", "2001:2:0:162::", "fd00::"};
	struct net_plan plan;
	char text[NET_TEXT_BYTES], moved[NET_MOVED_BYTES];

	(void)state;
	for (size_t count = 0; count <= 5; count++) {
		plan_init(&plan);
		plan_avoid(&plan, &(struct occupied){(struct occupied_network *)all, count});
		assert_address(AF_INET, &plan.network, chosen[count]);
		assert_int_equal(plan.is_taken4, count == 5);
		assert_false(plan.is_taken6);
	}
	assert_false(plan_tell_moved(&plan, moved));
	for (size_t count = 0; count <= 3; count++) {
		plan_init(&plan);
		plan_avoid(&plan, &(struct occupied){(struct occupied_network *)all6, count});
		assert_address(AF_INET6, &plan.prefix6, chosen6[count]);
		assert_int_equal(plan.is_taken6, count == 3);
	}
	assert_false(plan_tell_moved(&plan, moved));
	plan_avoid(&plan, &(struct occupied){(struct occupied_network *)all6, 1});
	assert_true(plan_tell_moved(&plan, moved));
	assert_string_equal(moved, "fd6e:7377:7261:7000::/64, as this host uses fd00::/64 itself");
	plan.has_routes = true;
	assert_true(plan_tell_moved(&plan, moved));
	assert_string_equal(
		moved, "fd6e:7377:7261:7000::/64, as this host or a --route uses fd00::/64 itself");
	plan_init(&plan);
	plan.is_given4 = plan.is_given6 = true;
	plan_avoid(&plan, &(struct occupied){(struct occupied_network *)all, 1});
	assert_string_equal(plan_format4(&plan, text), "10.0.2.0/24");
	assert_string_equal(plan_format6(&plan, text), "fd00::/64");
	assert_true(plan.is_taken4 && !plan.is_taken6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_those_of_slirp4netns),
		cmocka_unit_test(network_moves_all_addresses),
		cmocka_unit_test(taken_networks_are_avoided),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
