/* SPDX-License-Identifier: Apache-2.0 */
/* test_behind - of the routes of a mesh, the networks behind this host */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <arpa/inet.h>

#include "mesh/agent/behind.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct in_addr ip(const char *text)
{
	struct in_addr addr;

	assert_int_equal(inet_pton(AF_INET, text, &addr), 1);
	return addr;
}

static void its_own_networks_and_no_others(void **state)
{
	char *mine[] = {"10.0.0.0/8", "192.0.2.7/32", NULL}, *others[] = {"172.16.0.0/12", NULL};
	struct mesh_route list[] = {{.cidrs = mine, .via = ip("127.0.42.1")},
		{.cidrs = others, .via = ip("127.0.42.2")}};
	const struct mesh_config config = {
		.me = ip("127.0.42.1"), .routes = list, .nroutes = COUNT(list)};
	struct behind behind = {.list = NULL};

	(void)state;
	assert_int_equal(behind_plan(&behind, &config), 0);
	assert_int_equal(behind.count, 2);
	assert_int_equal(behind.list[0].ip.s_addr, ip("10.0.0.0").s_addr);
	assert_int_equal(behind.list[0].mask.s_addr, ip("255.0.0.0").s_addr);
	assert_int_equal(behind.list[1].ip.s_addr, ip("192.0.2.7").s_addr);
	assert_int_equal(behind.list[1].mask.s_addr, ip("255.255.255.255").s_addr);
	/* other routes take their place */
	list[0].via = ip("127.0.42.3");
	assert_int_equal(behind_plan(&behind, &config), 0);
	assert_int_equal(behind.count, 0);
	behind_fini(&behind);
}

static void a_name_may_be_anywhere(void **state)
{
	char *cidrs[] = {"10.0.0.0/8", NULL}, *globs[] = {"*.cloud.test", NULL};
	struct mesh_route list[] = {{.cidrs = cidrs, .globs = globs, .via = ip("127.0.42.1")}};
	const struct mesh_config config = {.me = ip("127.0.42.1"), .routes = list, .nroutes = 1};
	struct behind behind = {.list = NULL};

	(void)state;
	assert_int_equal(behind_plan(&behind, &config), 0);
	assert_int_equal(behind.count, 1);
	assert_int_equal(behind.list[0].mask.s_addr, 0);
	behind_fini(&behind);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(its_own_networks_and_no_others),
		cmocka_unit_test(a_name_may_be_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
