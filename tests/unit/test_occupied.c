/* SPDX-License-Identifier: Apache-2.0 */
/* test_occupied - addresses and routes are found, default routes in any shape are not */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <linux/rtnetlink.h>
#include <unistd.h>

#include "frames.h"
#include "net/netdev.h"
#include "net/occupied.h"
#include "netns.h"

static bool is_taken(const char *text, int prefix_len)
{
	struct in6_addr v6 = frame_v6(text);
	struct in_addr v4 = frame_v4(text);
	bool is_v6 = strchr(text, ':') != NULL;
	struct occupied occupied;

	assert_int_equal(occupied_read(&occupied), 0);
	bool answer = occupied_overlaps(&occupied, is_v6 ? AF_INET6 : AF_INET,
		is_v6 ? (void *)&v6 : (void *)&v4, prefix_len);
	occupied_free(&occupied);
	return answer;
}

static void route(int nl, int lo, const char *text, int prefix_len)
{
	struct in6_addr v6 = frame_v6(text);
	struct in_addr v4 = frame_v4(text);
	bool is_v6 = strchr(text, ':') != NULL;
	struct netdev_route route = {
		.family = is_v6 ? AF_INET6 : AF_INET,
		.dst = prefix_len == 0 ? NULL
		       : is_v6         ? (void *)&v6
				       : (void *)&v4,
		.prefix_len = prefix_len,
		.table = RT_TABLE_MAIN,
	};

	assert_int_equal(netdev_add_route(nl, lo, &route), 0);
}

static void what_the_host_has(void **state)
{
	struct in_addr v4 = frame_v4("10.0.2.15");
	struct in6_addr v6 = frame_v6("fd00::15");
	int nl = netdev_open(), lo = netdev_index(nl, "lo");

	(void)state;
	assert_false(is_taken("10.0.2.0", 24));
	assert_false(is_taken("fd00::", 64));
	assert_int_equal(netdev_set_up(nl, lo, 0), 0);
	assert_true(is_taken("127.0.0.0", 8));
	assert_false(is_taken("10.0.2.0", 24));
	assert_int_equal(netdev_add_addr(nl, lo, AF_INET, &v4, 28), 0);
	assert_int_equal(netdev_add_addr(nl, lo, AF_INET6, &v6, 124), 0);
	/* smaller, larger, beside it */
	assert_true(
		is_taken("10.0.2.0", 24) && is_taken("10.0.2.0", 30) && is_taken("10.0.0.0", 9));
	assert_false(is_taken("10.0.2.16", 28) || is_taken("10.0.3.0", 24));
	assert_true(is_taken("fd00::", 64) && is_taken("fd00::10", 126));
	assert_false(is_taken("fd00::20", 124) || is_taken("fd00:0:0:1::", 64));
	route(nl, lo, "0.0.0.0", 0);
	route(nl, lo, "128.0.0.0", 1);
	route(nl, lo, "8000::", 1);
	assert_false(is_taken("172.16.0.0", 12) || is_taken("fd01::", 64));
	route(nl, lo, "172.16.0.0", 12);
	route(nl, lo, "fd01::", 16);
	assert_true(is_taken("172.29.2.0", 24) && is_taken("fd01:2:3:4::", 64));
	close(nl);
}

/* As routes of the kernel, and all of a family is no network. */
static void what_is_added(void **state)
{
	struct in_addr v4 = frame_v4("10.9.0.0"), none = {0};
	struct in6_addr v6 = frame_v6("fd77::");
	struct occupied occupied = {0};

	(void)state;
	assert_int_equal(occupied_add(&occupied, AF_INET, &none, 0), 0);
	assert_int_equal(occupied_add(&occupied, AF_INET6, &in6addr_any, 0), 0);
	assert_int_equal(occupied.count, 0);
	assert_int_equal(occupied_add(&occupied, AF_INET, &v4, 16), 0);
	assert_int_equal(occupied_add(&occupied, AF_INET6, &v6, 16), 0);
	v4 = frame_v4("10.9.3.0");
	v6 = frame_v6("fd77:1::");
	assert_true(occupied_overlaps(&occupied, AF_INET, &v4, 24));
	assert_true(occupied_overlaps(&occupied, AF_INET6, &v6, 64));
	v4 = frame_v4("10.10.0.0");
	assert_false(occupied_overlaps(&occupied, AF_INET, &v4, 24));
	occupied_free(&occupied);
}

/* More than one datagram of the kernel has room for. */
static void many_routes(void **state)
{
	int nl = netdev_open(), lo = netdev_index(nl, "lo");
	char text[INET_ADDRSTRLEN];

	(void)state;
	for (int i = 0; i < 2000; i++) {
		snprintf(text, sizeof(text), "44.%d.%d.0", i / 250, i % 250);
		route(nl, lo, text, 24);
	}
	assert_true(is_taken("44.7.249.0", 24) && is_taken("44.0.0.0", 24));
	assert_false(is_taken("44.7.250.0", 24));
	close(nl);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_host_has),
		cmocka_unit_test(what_is_added),
		cmocka_unit_test(many_routes),
	};

	netns_enter_or_skip();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
