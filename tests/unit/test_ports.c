/* SPDX-License-Identifier: Apache-2.0 */
/* test_ports - which offers are mapped, which are served, and what is known of them afterwards */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/agent/ports.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct mesh_offer offers[] = {
	{8080, "127.0.0.1", 80, PROTO_TCP},
	{8081, "localhost", 80, PROTO_TCP}, /* ::1 may be it */
	{8082, "::1", 80, PROTO_TCP},
	{8083, "192.0.2.7", 80, PROTO_TCP}, /* somebody else's */
	{8083, "127.0.0.9", 53, PROTO_UDP},
	{8084, "server.example", 53, PROTO_UDP},
	{8085, "0.0.0.0", 80, PROTO_TCP},
};

static struct mesh_config config_of(const char *self)
{
	struct mesh_config config = {.offers = offers, .noffers = COUNT(offers)};

	inet_pton(AF_INET, self, &config.me);
	return config;
}

static size_t served(const struct ports *ports)
{
	size_t count;
	struct gate_port *list = ports_served(ports, &count);

	assert_non_null(list);
	free(list);
	return count;
}

static void in_a_sandbox(void **state)
{
	struct mesh_config config = config_of("127.0.42.1");
	struct ports ports = {.is_sandbox = true};
	char text[64];

	(void)state;
	assert_int_equal(ports_plan(&ports, &config), 0);
	for (size_t i = 0; i < COUNT(offers); i++) {
		const struct gate_port *port =
			ports_find(&ports, offers[i].proto, offers[i].listen_port);

		assert_non_null(port);
		assert_int_equal(port->action == GATE_MAP, i == 0 || i == 4);
		assert_int_equal(port->target_port, i == 0 ? 80 : i == 4 ? 53 : 0);
	}
	assert_null(ports_find(&ports, PROTO_UDP, 8080));
	assert_int_equal(served(&ports), 2); /* until they are bound */
	ports_find(&ports, PROTO_TCP, 8081)->target_port = 40000;
	assert_int_equal(served(&ports), 3);
	ports_reserved(&ports, text, sizeof(text));
	assert_string_equal(text, "8080,8081,8082,8083,8083,8084,8085");
	ports_reserved(&ports, text, 16);
	assert_string_equal(text, "8080,8081");
	/* it stays bound, but not at another address */
	assert_int_equal(ports_plan(&ports, &config), 0);
	assert_int_equal(ports_find(&ports, PROTO_TCP, 8081)->target_port, 40000);
	config = config_of("127.0.42.2");
	assert_int_equal(ports_plan(&ports, &config), 0);
	assert_int_equal(ports_find(&ports, PROTO_TCP, 8081)->target_port, 0);
	config.noffers = 0;
	assert_int_equal(ports_plan(&ports, &config), 0);
	assert_int_equal(served(&ports), 0);
	ports_fini(&ports);
}

static void on_a_plain_host(void **state)
{
	const struct mesh_config config = config_of("127.0.42.1");
	struct ports ports = {.is_sandbox = false};
	char text[64];

	(void)state;
	assert_int_equal(ports_plan(&ports, &config), 0);
	assert_int_equal(served(&ports), COUNT(offers));
	for (size_t i = 0; i < COUNT(offers); i++) {
		assert_int_equal(ports.list[i].action,
			offers[i].proto == PROTO_TCP ? GATE_HOLD_SYN : GATE_OPEN);
		assert_int_equal(ports.list[i].target_port, 0);
	}
	ports_reserved(&ports, text, sizeof(text));
	assert_string_equal(text, "");
	ports_fini(&ports);
}

/* Behind the offers, and each protocol once. */
static void name_servers(void **state)
{
	struct mesh_config config = config_of("127.0.42.1"), other = config_of("127.0.42.2");
	struct mesh_port servers[] = {{other.me, 10053, PROTO_TCP}, {config.me, 10053, PROTO_TCP},
		{config.me, 10053, PROTO_UDP}, {config.me, 10054, PROTO_TCP}};
	struct ports plain = {.is_sandbox = false}, box = {.is_sandbox = true};

	(void)state;
	config.name_servers = servers;
	config.nname_servers = COUNT(servers);
	assert_int_equal(ports_plan(&plain, &config), 0);
	assert_int_equal(plain.count, COUNT(offers) + 2);
	for (enum proto proto = PROTO_TCP; proto <= PROTO_UDP; proto++) {
		const struct gate_port *port = ports_find(&plain, proto, 10053);

		assert_non_null(port);
		assert_int_equal(port->action, GATE_OPEN);
		assert_int_equal(port->target_port, 0);
	}
	assert_int_equal(served(&plain), COUNT(offers) + 2);
	assert_null(ports_find(&plain, PROTO_TCP, 10054));
	/* where it is bound is known afterwards, and stays */
	assert_int_equal(ports_plan(&box, &config), 0);
	size_t before = served(&box);
	ports_find(&box, PROTO_UDP, 10053)->target_port = 4000;
	assert_int_equal(served(&box), before + 1);
	assert_int_equal(ports_plan(&box, &config), 0);
	assert_int_equal(ports_find(&box, PROTO_UDP, 10053)->target_port, 4000);
	ports_fini(&plain);
	ports_fini(&box);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(name_servers),
		cmocka_unit_test(in_a_sandbox),
		cmocka_unit_test(on_a_plain_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
