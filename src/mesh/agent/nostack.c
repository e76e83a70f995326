/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/nostack - in the place of a stack, where this host lets us have none */
#include "mesh/agent/nostack.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>

static int watch(struct stack *stack, const struct conn_context *context,
	const struct stack_events *events, void *owner)
{
	(void)stack, (void)context, (void)events, (void)owner;
	return 0;
}

static void stop(struct stack *stack)
{
	free(container_of(stack, struct nostack, stack));
}

static ssize_t take(struct stack *stack, void *packet, size_t cap_bytes)
{
	(void)stack, (void)packet, (void)cap_bytes;
	return -EAGAIN;
}

static void rest(struct stack *stack, bool is_resting)
{
	(void)stack, (void)is_resting;
}

static int deliver(struct stack *stack, const void *packet, size_t len)
{
	struct nostack *nostack = container_of(stack, struct nostack, stack);

	if (nostack->on_packet)
		nostack->on_packet(nostack->owner, (void *)packet, len);
	return 0;
}

static int connections(struct stack *stack,
	int (*on_connection)(void *owner, const struct addr *own, const struct addr *peer),
	void *owner)
{
	(void)stack, (void)on_connection, (void)owner;
	return 0;
}

static int is_connected(struct stack *stack, const struct addr *own, const struct addr *peer)
{
	(void)stack, (void)own, (void)peer;
	return 0;
}

/* The ways that are beyond are the only ones (conn/beyond). */
static struct dial_target target(struct stack *stack, const struct addr *at)
{
	(void)stack;
	return (struct dial_target){.where = DIAL_INSIDE, .addr = *at};
}

static int open_bound(struct stack *stack, enum proto proto, const struct addr *at)
{
	(void)stack, (void)proto, (void)at;
	const int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int open_aliases(struct stack *stack, struct in_addr self, struct in_addr *net, bool *turns)
{
	(void)stack, (void)self, (void)net, (void)turns;
	return -EOPNOTSUPP;
}

static int change(struct stack *stack, enum stack_change change, struct in_addr vip)
{
	(void)stack, (void)change, (void)vip;
	return 0;
}

static int open_exit(struct stack *stack, uint16_t port)
{
	(void)stack, (void)port;
	return -EOPNOTSUPP;
}

static int route(struct stack *stack, bool is_added, struct in_addr net, int prefix_len)
{
	(void)stack, (void)is_added, (void)net, (void)prefix_len;
	return 0;
}

static int reserve_ports(struct stack *stack, const char *ports)
{
	(void)stack, (void)ports;
	return 0;
}

static const struct stack_ops ops = {
	.kind = STACK_STREAMS,
	.watch = watch,
	.stop = stop,
	.take = take,
	.rest = rest,
	.deliver = deliver,
	.connections = connections,
	.is_connected = is_connected,
	.target = target,
	.open_bound = open_bound,
	.open_aliases = open_aliases,
	.change = change,
	.route = route,
	.open_exit = open_exit,
	.reserve_ports = reserve_ports,
};

struct stack *nostack_open(const char *why, struct err *err)
{
	struct nostack *nostack = calloc(1, sizeof(*nostack));

	if (!nostack) {
		err_sys(err, ENOMEM, "cannot start the agent");
		return NULL;
	}
	nostack->stack = (struct stack){.ops = &ops, .door = -1};
	snprintf(nostack->stack.why, sizeof(nostack->stack.why), "%s", why);
	return &nostack->stack;
}
