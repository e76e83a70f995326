/* SPDX-License-Identifier: Apache-2.0 */
/* test_nets - which networks a stack is asked to lead to the mesh, and when */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/agent/nets.h"
#include "net/netdev.h"
#include "net/tap.h"
#include "netns.h"
#include "util/list.h"

#define SELF "127.0.42.1"

struct world {
	struct stack stack;
	struct nets nets;
	char said[400];
	int result;
};

static int route(struct stack *stack, bool is_added, struct in_addr net, int prefix_len)
{
	struct world *world = container_of(stack, struct world, stack);
	char text[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &net, text, sizeof(text));
	sprintf(world->said + strlen(world->said), "%c%s/%d ", is_added ? '+' : '-', text,
		prefix_len);
	return world->result;
}

static void world_open(struct world *world, bool is_sandbox)
{
	static const struct stack_ops ops = {.route = route};

	*world = (struct world){.stack = {.ops = &ops, .door = -1}};
	world->nets.stack = &world->stack;
	world->nets.is_sandbox = is_sandbox;
}

static struct in_addr ip(const char *text)
{
	struct in_addr addr;

	assert_int_equal(inet_pton(AF_INET, text, &addr), 1);
	return addr;
}

/* "10.0.0.0/8 ..." is wanted. What the stack was asked for since the last time. */
static const char *settle(struct world *world, const char *wanted, const char *self)
{
	char copy[200], *saved = NULL;

	world->said[0] = '\0';
	snprintf(copy, sizeof(copy), "%s", wanted);
	for (char *word = strtok_r(copy, " ", &saved); word; word = strtok_r(NULL, " ", &saved)) {
		char *slash = strchr(word, '/');

		*slash = '\0';
		nets_want(&world->nets, ip(word), atoi(slash + 1));
	}
	assert_int_equal(nets_settle(&world->nets, ip(self)), 0);
	return world->said;
}

static void changes_only(void **state)
{
	struct world world;

	(void)state;
	world_open(&world, true);
	assert_string_equal(settle(&world, "", SELF), "");
	assert_string_equal(settle(&world, "10.1.0.0/16 10.0.0.0/8 10.1.0.0/16", SELF),
		"+10.0.0.0/8 +10.1.0.0/16 ");
	assert_string_equal(settle(&world, "10.1.0.0/16 10.0.0.0/8", SELF), "");
	assert_string_equal(
		settle(&world, "10.1.0.0/16 11.0.0.0/8", SELF), "-10.0.0.0/8 +11.0.0.0/8 ");
	/* another address has lost them */
	assert_string_equal(settle(&world, "11.0.0.0/8", "127.0.42.9"), "+11.0.0.0/8 ");
	nets_forget(&world.nets);
	assert_string_equal(settle(&world, "11.0.0.0/8", "127.0.42.9"), "+11.0.0.0/8 ");
	assert_string_equal(settle(&world, "", "127.0.42.9"), "-11.0.0.0/8 ");
	nets_fini(&world.nets);
}

static void what_fails_is_tried_again(void **state)
{
	struct world world;

	(void)state;
	world_open(&world, true);
	world.result = -EPERM;
	assert_string_equal(settle(&world, "11.0.0.0/8", SELF), "+11.0.0.0/8 ");
	world.result = -EEXIST; /* is as good */
	assert_string_equal(settle(&world, "11.0.0.0/8", SELF), "+11.0.0.0/8 ");
	assert_string_equal(settle(&world, "11.0.0.0/8", SELF), "");
	nets_fini(&world.nets);
}

/* tap7 has 10.0.2.0/24 */
static void a_sandboxs_own_networks_stay(void **state)
{
	struct world world;

	(void)state;
	world_open(&world, true);
	assert_string_equal(
		settle(&world, "10.0.2.0/24 10.0.2.128/25 10.0.2.7/32 10.0.3.0/24 10.0.0.0/8",
			SELF),
		"+10.0.0.0/8 +10.0.3.0/24 ");
	assert_string_equal(settle(&world, "0.0.0.0/0", SELF),
		"-10.0.0.0/8 -10.0.3.0/24 +0.0.0.0/1 +128.0.0.0/1 ");
	nets_fini(&world.nets);
}

static void a_plain_host_has_nothing_to_keep(void **state)
{
	struct world world;

	(void)state;
	world_open(&world, false);
	assert_string_equal(
		settle(&world, "0.0.0.0/0 10.0.2.0/24", SELF), "+0.0.0.0/0 +10.0.2.0/24 ");
	nets_fini(&world.nets);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(changes_only),
		cmocka_unit_test(what_fails_is_tried_again),
		cmocka_unit_test(a_sandboxs_own_networks_stay),
		cmocka_unit_test(a_plain_host_has_nothing_to_keep),
	};
	netns_enter_or_skip();
	struct in_addr own = ip("10.0.2.100");
	int nl = netdev_open(), tap = tap_open_tun("tap7", &(struct err){0});
	if (tap < 0 || netdev_add_addr(nl, netdev_index(nl, "tap7"), AF_INET, &own, 24) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
