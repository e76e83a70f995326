/* SPDX-License-Identifier: Apache-2.0 */
/* test_nostack - what stands in for a stack does nothing, and says so */
#include "mesh/agent/nostack.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct seen {
	unsigned count;
	size_t len;
};

static void on_packet(void *owner, void *packet, size_t len)
{
	struct seen *seen = owner;

	seen->count++;
	seen->len = len;
	assert_memory_equal(packet, "packet", len);
}

static int on_connection(void *owner, const struct addr *own, const struct addr *peer)
{
	(void)own, (void)peer;
	++*(unsigned *)owner;
	return 0;
}

static void test_all(void **state)
{
	struct err err;
	struct stack *stack = nostack_open("no namespaces here", &err);
	struct nostack *nostack = container_of(stack, struct nostack, stack);
	const struct addr at = addr_loopback4(80);
	struct in_addr net = {0};
	unsigned connections = 0;
	bool turns = true;
	struct seen seen = {0};
	char packet[64];

	(void)state;
	assert_int_equal(stack->ops->kind, STACK_STREAMS);
	assert_string_equal(stack->why, "no namespaces here");
	assert_int_equal(stack->door, -1);
	assert_int_equal(stack->ops->watch(stack, NULL, NULL, NULL), 0);
	assert_int_equal(stack->ops->take(stack, packet, sizeof(packet)), -EAGAIN);
	stack->ops->rest(stack, true);
	/* packets are the owner's, if there is one */
	assert_int_equal(stack->ops->deliver(stack, "packet", 6), 0);
	nostack->on_packet = on_packet;
	nostack->owner = &seen;
	assert_int_equal(stack->ops->deliver(stack, "packet", 6), 0);
	assert_int_equal(seen.count, 1);
	assert_int_equal(seen.len, 6);
	assert_int_equal(stack->ops->connections(stack, on_connection, &connections), 0);
	assert_int_equal(connections, 0);
	assert_int_equal(stack->ops->is_connected(stack, &at, &at), 0);
	assert_int_equal(stack->ops->target(stack, &at).where, DIAL_INSIDE);
	/* nobody ever comes to what is bound */
	struct pollfd bound = {stack->ops->open_bound(stack, PROTO_TCP, &at), POLLIN, 0};
	assert_true(bound.fd >= 0);
	assert_int_equal(poll(&bound, 1, 0), 0);
	close(bound.fd);
	assert_int_equal(stack->ops->open_aliases(stack, net, &net, &turns), -EOPNOTSUPP);
	assert_int_equal(stack->ops->open_exit(stack, 80), -EOPNOTSUPP);
	assert_int_equal(stack->ops->change(stack, STACK_ADD_PEER, net), 0);
	assert_int_equal(stack->ops->route(stack, true, net, 8), 0);
	assert_int_equal(stack->ops->reserve_ports(stack, "80"), 0);
	stack->ops->stop(stack);
}

/* A reason as long as there may be is cut, and not more than that. */
static void test_a_long_reason(void **state)
{
	char why[2 * STACK_WHY_BYTES];
	struct err err;

	(void)state;
	memset(why, 'x', sizeof(why));
	why[sizeof(why) - 1] = '\0';
	struct stack *stack = nostack_open(why, &err);
	assert_int_equal(strlen(stack->why), STACK_WHY_BYTES - 1);
	stack->ops->stop(stack);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all),
		cmocka_unit_test(test_a_long_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
