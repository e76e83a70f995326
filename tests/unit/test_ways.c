/* SPDX-License-Identifier: Apache-2.0 */
/* test_ways - names and addresses of the mesh lead into it, all others out */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <stdio.h>

#include "mesh/agent/ways.h"
#include "mesh_bed.h"

#define SELF     "127.0.42.1"
#define LAB      "127.0.42.2"
#define OFFERS   "127.0.42.3" /* has no name */
#define PORT     4000
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct world {
	struct mesh_bed bed;
	struct ways *ways;
};

static struct in_addr ip(const char *text)
{
	return address(text, 0).sin_addr;
}

static void world_open(struct world *world)
{
	char lab[] = "lab", alias[] = "Lab.Example.com.";
	struct mesh_name names[] = {{lab, ip(LAB)}, {alias, ip(LAB)}};
	struct mesh_port others[] = {{ip(OFFERS), 80, PROTO_TCP}};
	const struct mesh_config config = {.me = ip(SELF),
		.names = names,
		.nnames = COUNT(names),
		.others = others,
		.nothers = COUNT(others)};

	bed_open(&world->bed);
	world->ways = ways_new(
		&(struct ways_start){.context = &world->bed.context, .stack = &world->bed.stack});
	assert_non_null(world->ways);
	assert_int_equal(ways_configure(world->ways, &config), 0);
	memset(lab, 'x', sizeof(lab) - 1); /* nothing is left in there */
}

static void world_close(struct world *world)
{
	ways_free(world->ways);
	bed_close(&world->bed);
}

/* Where @host leads, as text: "inside 127.0.0.1:80". */
static const char *where(struct world *world, const char *host, char out[200])
{
	struct ways_query query = {0};
	struct dial_target target;
	char text[160];
	int result = ways_find(world->ways, host, PORT, &query, &target);

	if (result < 0)
		snprintf(out, 200, "%s", dial_words(result));
	else
		snprintf(out, 200, "%s %s", target.where == DIAL_INSIDE ? "inside" : "outside",
			dial_format(&target, text, sizeof(text)));
	return out;
}

static void test_the_mesh_is_inside_and_all_else_outside(void **state)
{
	static const char *const cases[][2] = {
		{"lab", "inside 127.0.42.2:4000"},
		{"LAB", "inside 127.0.42.2:4000"},
		{"lab.", "inside 127.0.42.2:4000"},
		{"lab.example.com", "inside 127.0.42.2:4000"},
		{"LAB.EXAMPLE.COM.", "inside 127.0.42.2:4000"},
		{LAB, "inside 127.0.42.2:4000"},
		{SELF, "inside 127.0.42.1:4000"},
		{OFFERS, "inside 127.0.42.3:4000"},
		{"127.0.0.1", "outside 127.0.0.1:4000"},
		{"192.0.2.1", "outside 192.0.2.1:4000"},
		{"::1", "outside [::1]:4000"},
		{"[::1]", "outside [::1]:4000"},
		{"la", "outside la:4000"},
		{"labs", "outside labs:4000"},
		{"example.com.", "outside example.com.:4000"},
		{".", "outside .:4000"},
		{"", "there is no such name"},
	};
	struct world world;
	char out[200], far[ATLAS_NAME_MAX + 2];

	(void)state;
	world_open(&world);
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_string_equal(where(&world, cases[i][0], out), cases[i][1]);
	memset(far, 'a', sizeof(far) - 1);
	far[sizeof(far) - 1] = '\0';
	assert_string_equal(where(&world, far, out), "there is no such name");
	world_close(&world);
}

static void test_what_is_not_configured_knows_no_mesh(void **state)
{
	struct world world;
	char out[200];

	(void)state;
	bed_open(&world.bed);
	world.ways = ways_new(
		&(struct ways_start){.context = &world.bed.context, .stack = &world.bed.stack});
	assert_string_equal(where(&world, "lab", out), "outside lab:4000");
	assert_string_equal(where(&world, LAB, out), "outside 127.0.42.2:4000");
	world_close(&world);
}

struct call {
	struct ways_dial dial;
	int done, result;
};

static void on_done(struct ways_dial *dial, int result)
{
	struct call *call = (struct call *)dial;

	call->done++;
	call->result = result;
}

static int dialled(struct world *world, const char *host, uint16_t port)
{
	struct call call = {.dial.on_done = on_done};
	int result = ways_dial_start(&call.dial, world->ways, host, port);

	if (result != -EINPROGRESS)
		return result;
	run_until(&world->bed, call.done > 0);
	assert_int_equal(call.done, 1);
	return call.result;
}

static void test_connections_go_there(void **state)
{
	static const char *const hosts[] = {"lab", LAB, "two", "127.0.0.1"};
	struct world world;
	struct addr peer;

	(void)state;
	world_open(&world);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in any = {.sin_family = AF_INET};
	assert_int_equal(bind(listener, (struct sockaddr *)&any, sizeof(any)), 0);
	assert_int_equal(listen(listener, 8), 0);
	assert_int_equal(addr_get_own(listener, &peer), 0);
	for (size_t i = 0; i < COUNT(hosts); i++) {
		int fd = dialled(&world, hosts[i], addr_port(&peer));

		assert_true(fd >= 0);
		fd_close(&fd);
	}
	assert_int_equal(dialled(&world, "gone", 80), -ENOENT);
	fd_close(&listener);
	assert_int_equal(dialled(&world, "lab", addr_port(&peer)), -ECONNREFUSED);
	world_close(&world);
}

static void test_one_that_is_cancelled_is_over(void **state)
{
	struct call call = {.dial.on_done = on_done};
	struct world world;

	(void)state;
	world_open(&world);
	assert_int_equal(ways_dial_start(&call.dial, world.ways, "hang", 80), -EINPROGRESS);
	ways_dial_cancel(&call.dial);
	ways_dial_cancel(&call.dial);
	are_names_let_go = true;
	settle(&world.bed);
	assert_int_equal(call.done, 0);
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_mesh_is_inside_and_all_else_outside),
		cmocka_unit_test(test_what_is_not_configured_knows_no_mesh),
		cmocka_unit_test(test_connections_go_there),
		cmocka_unit_test(test_one_that_is_cancelled_is_over),
	};

	bed_enter_namespace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
