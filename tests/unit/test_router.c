/* SPDX-License-Identifier: Apache-2.0 */
/* test_router - VIPs, then suggestions, then networks; and who may send what */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/manager/router.h"

#define HOSTS 5

/* Hosts 127.0.42.1 to 127.0.42.5; routes by way of number 1 and 2, which overlap. */
static char *wide[] = {"192.0.2.0/24", "10.0.0.0/8", "fd00::/8", NULL};
static char *narrow[] = {"10.1.0.0/16", "127.0.42.0/24", NULL};
static char *nobody[] = {"198.51.100.0/24", NULL};

static struct in_addr ip(const char *text)
{
	struct in_addr addr;

	assert_int_equal(inet_pton(AF_INET, text, &addr), 1);
	return addr;
}

static struct in_addr vip(int host)
{
	return (struct in_addr){htonl(0x7f002a01U + (unsigned)host)};
}

static struct router *make(size_t nhosts, struct mesh_route *routes, size_t nroutes)
{
	struct manifest_host *hosts = calloc(nhosts, sizeof(*hosts));
	struct manifest manifest = {
		.hosts = hosts, .nhosts = nhosts, .routes = routes, .nroutes = nroutes};

	for (size_t i = 0; i < nhosts; i++)
		hosts[i].vip = vip((int)i);
	struct router *router = router_new(&manifest);
	assert_non_null(router);
	free(hosts);
	return router;
}

static struct router *make_usual(void)
{
	struct mesh_route routes[] = {
		{.cidrs = wide, .via = vip(1)}, {.cidrs = narrow, .via = vip(2)},
		{.cidrs = nobody, .via = ip("127.0.9.9")}, {.via = vip(3)}, /* names only */
	};

	return make(HOSTS, routes, sizeof(routes) / sizeof(routes[0]));
}

static void vips_are_found(void **state)
{
	(void)state;
	for (size_t count = 1; count < 600; count = count * 3 + 1) {
		struct router *router = make(count, NULL, 0);

		for (size_t i = 0; i < count; i++)
			assert_int_equal(router_find(router, vip((int)i)), (int)i);
		assert_int_equal(router_find(router, vip((int)count)), ROUTER_NOBODY);
		assert_int_equal(router_find(router, ip("0.0.0.0")), ROUTER_NOBODY);
		router_free(router);
	}
}

static void last_network_counts(void **state)
{
	struct router *router = make_usual();

	(void)state;
	assert_int_equal(router_find(router, ip("192.0.2.255")), 1);
	assert_int_equal(router_find(router, ip("192.0.3.0")), ROUTER_NOBODY);
	assert_int_equal(router_find(router, ip("10.2.0.1")), 1);
	assert_int_equal(router_find(router, ip("10.1.255.255")), 2);
	/* a VIP before any network; the rest of that network goes where it says */
	assert_int_equal(router_find(router, vip(4)), 4);
	assert_int_equal(router_find(router, ip("127.0.42.77")), 2);
	/* by way of somebody who is not in the mesh */
	assert_int_equal(router_find(router, ip("198.51.100.1")), ROUTER_NOBODY);
	router_free(router);
}

static void everything_is_a_network(void **state)
{
	char *all[] = {"0.0.0.0/0", NULL}, *one[] = {"203.0.113.7/32", NULL};
	struct mesh_route routes[] = {{.cidrs = all, .via = vip(0)}, {.cidrs = one, .via = vip(1)}};
	struct router *router = make(2, routes, 2);

	(void)state;
	assert_int_equal(router_find(router, ip("203.0.113.8")), 0);
	assert_int_equal(router_find(router, ip("203.0.113.7")), 1);
	assert_int_equal(router_find(router, ip("255.255.255.255")), 0);
	router_free(router);
}

static void suggestions_come_before_networks(void **state)
{
	struct router *router = make_usual();

	(void)state;
	router_suggest(router, ip("10.1.2.3"), vip(3));
	assert_int_equal(router_find(router, ip("10.1.2.3")), 3);
	router_suggest(router, ip("10.1.2.3"), vip(4));
	assert_int_equal(router_find(router, ip("10.1.2.3")), 4);
	assert_int_equal(router_find(router, ip("10.1.2.4")), 2);
	/* a VIP stays where it is, and nobody leads nowhere */
	router_suggest(router, vip(0), vip(3));
	assert_int_equal(router_find(router, vip(0)), 0);
	router_suggest(router, ip("10.1.2.3"), ip("127.0.9.9"));
	assert_int_equal(router_find(router, ip("10.1.2.3")), 4);
	router_free(router);
}

static struct in_addr numbered(unsigned i)
{
	return (struct in_addr){htonl(0xcb007100U + i)};
}

static void oldest_suggestion_is_forgotten(void **state)
{
	struct router *router = make_usual();

	(void)state;
	for (unsigned i = 0; i < ROUTES_LEARNT_MAX; i++)
		router_suggest(router, numbered(i), vip(3));
	/* once more: now it is the newest one */
	router_suggest(router, numbered(0), vip(4));
	assert_int_equal(router_find(router, numbered(1)), 3);
	router_suggest(router, numbered(ROUTES_LEARNT_MAX), vip(3));
	assert_int_equal(router_find(router, numbered(0)), 4);
	assert_int_equal(router_find(router, numbered(1)), ROUTER_NOBODY);
	assert_int_equal(router_find(router, numbered(2)), 3);
	router_free(router);
}

static void nobody_sends_for_another(void **state)
{
	struct router *router = make_usual();

	(void)state;
	router_suggest(router, ip("203.0.113.5"), vip(3));
	for (int host = 0; host < HOSTS; host++)
		for (int other = 0; other < HOSTS; other++)
			assert_int_equal(router_may_send(router, host, vip(other)), host == other);
	assert_true(router_may_send(router, 3, ip("203.0.113.5")));
	assert_false(router_may_send(router, 2, ip("203.0.113.5")));
	assert_true(router_may_send(router, 1, ip("192.0.2.9")));
	assert_false(router_may_send(router, 2, ip("192.0.2.9")));
	assert_true(router_may_send(router, 2, ip("10.1.0.9")));
	assert_false(router_may_send(router, 1, ip("10.1.0.9")));
	assert_false(router_may_send(router, 0, ip("8.8.8.8")));
	router_free(router);
}

static void learnt_things_are_inherited(void **state)
{
	struct router *old = make_usual(), *router = make(4, NULL, 0);

	(void)state;
	router_suggest(old, ip("203.0.113.1"), vip(2));
	router_suggest(old, ip("203.0.113.2"), vip(4)); /* which is gone */
	router_suggest(old, ip("203.0.113.3"), vip(1));
	router_inherit(router, old);
	router_free(old);
	assert_int_equal(router_find(router, ip("203.0.113.1")), 2);
	assert_int_equal(router_find(router, ip("203.0.113.2")), ROUTER_NOBODY);
	assert_int_equal(router_find(router, ip("203.0.113.3")), 1);
	router_free(router);
}

/* Against the plainest model: a list of all that was suggested, newest last. */
static void random_suggestions(void **state)
{
	struct router *router = make_usual();
	struct {
		unsigned address;
		int host;
	} model[ROUTES_LEARNT_MAX];
	size_t count = 0;

	(void)state;
	srandom(42);
	for (int round = 0; round < 20000; round++) {
		unsigned address = (unsigned)random() % 700;
		int host = (int)(random() % HOSTS), expected = ROUTER_NOBODY;
		size_t at = 0;

		while (at < count && model[at].address != address)
			at++;
		if (at == count && count == ROUTES_LEARNT_MAX)
			at = 0;
		if (at < count)
			memmove(&model[at], &model[at + 1], (--count - at) * sizeof(model[0]));
		model[count].address = address;
		model[count++].host = host;
		router_suggest(router, numbered(address), vip(host));

		address = (unsigned)random() % 700;
		for (size_t i = 0; i < count; i++)
			if (model[i].address == address)
				expected = model[i].host;
		assert_int_equal(router_find(router, numbered(address)), expected);
	}
	router_free(router);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vips_are_found),
		cmocka_unit_test(last_network_counts),
		cmocka_unit_test(everything_is_a_network),
		cmocka_unit_test(suggestions_come_before_networks),
		cmocka_unit_test(oldest_suggestion_is_forgotten),
		cmocka_unit_test(nobody_sends_for_another),
		cmocka_unit_test(learnt_things_are_inherited),
		cmocka_unit_test(random_suggestions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
