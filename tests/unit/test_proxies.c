/* SPDX-License-Identifier: Apache-2.0 */
/* test_proxies - where an agent's proxies listen, as its configuration changes */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <stdio.h>

#include "mesh/agent/proxies.h"
#include "mesh/info.h"
#include "mesh_bed.h"

#define PORT 4340

struct world {
	struct mesh_bed bed;
	struct ways *ways;
	struct proxies *proxies;
	unsigned changes;
};

static void on_change(void *owner)
{
	((struct world *)owner)->changes++;
}

static struct world *world_open(void)
{
	struct world *world = calloc(1, sizeof(*world));

	bed_open(&world->bed);
	world->ways = ways_new(
		&(struct ways_start){.context = &world->bed.context, .stack = &world->bed.stack});
	world->proxies = proxies_new(&(struct proxies_start){
		.context = &world->bed.context,
		.ways = world->ways,
		.on_change = on_change,
		.owner = world,
	});
	assert_non_null(world->proxies);
	return world;
}

static void world_close(struct world *world)
{
	proxies_free(world->proxies);
	ways_free(world->ways);
	bed_close(&world->bed);
	free(world);
}

/* SOCKS at @listen; NULL: none. */
static void configure(struct world *world, const char *listen, const char *user)
{
	char text[64], name[64], password[] = "secret";
	struct mesh_config config = {.me = address("127.0.42.1", 0).sin_addr};
	struct err err = {.code = 0};

	snprintf(text, sizeof(text), "%s", listen ? listen : "");
	snprintf(name, sizeof(name), "%s", user ? user : "");
	config.socks_listen = listen ? text : NULL;
	config.socks_user = user ? name : NULL;
	config.socks_password = user ? password : NULL;
	assert_int_equal(proxies_configure(world->proxies, &config, &err), 0);
	assert_int_equal(ways_configure(world->ways, &config), 0);
}

/* Does a SOCKS proxy listen there? */
static bool answers(struct world *world, const char *ip, uint16_t port, const char *with)
{
	const struct addr at = addr_at(ip, port);
	int fd = connect_to(&at);
	char answer[2] = "";
	ssize_t len = -1;

	if (fd < 0)
		return false;
	settle(&world->bed);
	send(fd, "\5\1\0", 3, MSG_NOSIGNAL);
	for (int i = 0; i < 100 && len < 0; i++) {
		bed_round(&world->bed);
		len = recv(fd, answer, 2, 0);
		if (len < 0 && errno != EAGAIN)
			break;
	}
	close(fd);
	settle(&world->bed);
	return len == 2 && memcmp(answer, with, 2) == 0;
}

static const char *missing(struct world *world)
{
	static struct mesh_report report;

	report = (struct mesh_report){.nmissing = 0};
	proxies_report(world->proxies, &report);
	assert_true(report.nmissing <= 1);
	return report.nmissing == 0 ? "" : report.missing[0].why;
}

static void it_is_a_feature(void **state)
{
	(void)state;
	assert_true(proxies_features() & FEATURE_SOCKS);
	assert_true(proxies_features() & FEATURE_PROXY_ACCESS);
}

static void it_listens_as_configured(void **state)
{
	static const struct {
		const char *listen, *there[2], *not_there[2];
	} rows[] = {
		{"127.0.0.1:4340", {"127.0.0.1"}, {"127.0.0.2", "::1"}},
		{"[::1]:4340", {"::1"}, {"127.0.0.1"}},
		{"localhost:4340", {"127.0.0.1"}, {"127.0.0.2"}},
		{"two:4340", {"127.0.0.2"}, {"127.0.0.1"}},
		{":4340", {"127.0.0.7", "::1"}, {NULL}},
		{"0.0.0.0:4340", {"127.0.0.7"}, {"::1"}},
		{NULL, {NULL}, {"127.0.0.1"}},
	};
	struct world *world = world_open();

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		configure(world, rows[i].listen, NULL);
		settle(&world->bed);
		for (int k = 0; k < 2; k++) {
			if (rows[i].there[k])
				run_until(&world->bed,
					answers(world, rows[i].there[k], PORT, "\5\0"));
			if (rows[i].not_there[k])
				assert_false(answers(world, rows[i].not_there[k], PORT, "\5\0"));
		}
		assert_string_equal(missing(world), "");
	}
	world_close(world);
}

/* Who is connected stays so, when the listener moves and when the proxy goes. */
static void connections_outlive_listeners(void **state)
{
	struct world *world = world_open();
	int target = tcp_listen("127.0.0.1", PORT + 1, 1);
	char reply[12];

	(void)state;
	configure(world, "127.0.0.1:4340", NULL);
	int client = tcp_connect(NULL, 0, "127.0.0.1", PORT);
	assert_int_equal(send(client, "\5\1\0\5\1\0\1\x7f\0\0\1\x10\xf5", 13, 0), 13);
	int server = wait_accept(&world->bed, target);
	size_t have = 0;
	while (have < sizeof(reply)) {
		ssize_t len = 0;

		run_until(&world->bed, (len = recv(client, reply, sizeof(reply) - have, 0)) > 0);
		have += (size_t)len;
	}
	int early = tcp_connect(NULL, 0, "127.0.0.1", PORT); /* has said nothing yet */
	settle(&world->bed);
	configure(world, "127.0.0.1:4349", NULL);
	assert_false(answers(world, "127.0.0.1", PORT, "\5\0"));
	assert_true(answers(world, "127.0.0.1", 4349, "\5\0"));
	configure(world, NULL, NULL);
	assert_int_equal(send(early, "\5\1\0", 3, 0), 3);
	expect_bytes(&world->bed, early, "\5");
	close(early);
	expect_joined(&world->bed, client, server);
	close(target);
	world_close(world);
}

static void a_port_in_use_is_missing(void **state)
{
	struct world *world = world_open();
	int other = tcp_listen("127.0.0.1", PORT, 1);

	(void)state;
	configure(world, "127.0.0.1:4340", NULL);
	assert_non_null(strstr(missing(world), "port 4340 of 127.0.0.1 is in use"));
	run_until(&world->bed, (jump(&world->bed, 100), world->changes > 0));
	close(other);
	run_until(
		&world->bed, (jump(&world->bed, 1000), answers(world, "127.0.0.1", PORT, "\5\0")));
	assert_string_equal(missing(world), "");
	world_close(world);
}

static void a_name_that_is_unknown_is_asked_for_again(void **state)
{
	struct world *world = world_open();

	(void)state;
	configure(world, "gone:4340", NULL);
	run_until(&world->bed, missing(world)[0]);
	assert_non_null(strstr(missing(world), "cannot listen at gone"));
	int before = names_asked;
	jump(&world->bed, 10001);
	run_until(&world->bed, names_asked > before);
	configure(world, "here:4340", NULL);
	run_until(&world->bed, answers(world, "127.0.0.1", PORT, "\5\0"));
	assert_string_equal(missing(world), "");
	configure(world, "hang:4340", NULL);
	configure(world, "127.0.0.1:4340", NULL); /* before there is an answer */
	assert_true(answers(world, "127.0.0.1", PORT, "\5\0"));
	world_close(world);
}

/* What is told may be wrong: then there is no proxy, rather than one without a password. */
static void a_password_is_asked_for(void **state)
{
	struct world *world = world_open();
	char listen[] = "127.0.0.1:4340", user[] = "ann", empty[] = "";
	struct mesh_config config = {.me = address("127.0.42.1", 0).sin_addr};
	struct err err;

	(void)state;
	configure(world, listen, "ann");
	assert_true(answers(world, "127.0.0.1", PORT, "\5\xff"));
	configure(world, listen, NULL); /* the same listener */
	assert_true(answers(world, "127.0.0.1", PORT, "\5\0"));
	config.socks_listen = listen;
	for (int i = 0; i < 3; i++) {
		config.socks_user = i == 1 ? NULL : user;
		config.socks_password = i == 0 ? NULL : i == 1 ? user : empty;
		assert_int_equal(proxies_configure(world->proxies, &config, &err), 0);
		assert_non_null(strstr(missing(world), i < 2 ? "expected both" : "the password"));
		assert_false(answers(world, "127.0.0.1", PORT, "\5\0"));
	}
	char wrong[] = "nonsense";
	config = (struct mesh_config){.socks_listen = wrong};
	assert_int_equal(proxies_configure(world->proxies, &config, &err), 0);
	configure(world, "127.0.0.1:x", NULL);
	assert_non_null(strstr(missing(world), "is no number"));
	configure(world, NULL, NULL);
	assert_string_equal(missing(world), "");
	world_close(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_a_feature),
		cmocka_unit_test(it_listens_as_configured),
		cmocka_unit_test(connections_outlive_listeners),
		cmocka_unit_test(a_port_in_use_is_missing),
		cmocka_unit_test(a_name_that_is_unknown_is_asked_for_again),
		cmocka_unit_test(a_password_is_asked_for),
	};

	bed_enter_namespace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
