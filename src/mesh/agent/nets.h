/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/nets - the networks that a stack leads to the mesh, changed as told */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#include "exit/stack.h"

/*
 * How it works
 *
 * In a sandbox each network behind another host is a route of its own. The sandbox's networks
 * (10.0.2.0/24, that of its TAP) stay its own: what is in one of them is not taken, with a line, or
 * its way out and its names would be gone. Of a network that is wider all the rest is taken; of
 * everything both halves, as the default route is there already.
 *
 * On a plain host nothing else is in the stack's namespace, and all its packets go to the mesh.
 */

struct net {
	struct in_addr ip;
	int prefix_len;
};

struct net_list {
	struct net *list;
	size_t count, room;
};

/* Starts as all zero, but for what the owner sets. */
struct nets {
	/* the owner sets these */
	struct stack *stack;
	bool is_sandbox;

	/* its own */
	struct in_addr self;          /* whose the routes are */
	struct net_list now, refused; /* sorted; the second: told of */
	struct net_list wanted;
	bool has_no_memory;
};

void nets_fini(struct nets *nets);

/* The stack may have lost some: nets_settle adds all of them. */
void nets_forget(struct nets *nets);

/* Between two nets_settle: @told (the nets) is to have this one, too. */
void nets_want(void *told, struct in_addr ip, int prefix_len);

/*
 * Have what was wanted and nothing else, for the stack whose address is @self; what was there
 * before and still is wanted is not touched. What cannot be had is a line, once. Returns 0, or
 * -ENOMEM: nothing changed.
 */
int nets_settle(struct nets *nets, struct in_addr self);
