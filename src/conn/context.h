/* SPDX-License-Identifier: Apache-2.0 */
/* conn/context - what all connections of a process have in common */
#pragma once

#include "util/budget.h"
#include "util/loop.h"

struct conn_context {
	struct loop *loop;
	struct budget *budget; /* of the process */
	struct relay_pool *relays;
	struct inside *inside; /* sockets of the namespace that is served */
	struct names *names;   /* before the system is asked; its owner may add some */
	/* what else leads inside (conn/beyond), its owner's; NULL: nothing */
	struct beyond *beyond;
};

/*
 * Once a process. @loop, @budget and @door (conn/door; -1: there is no inside) stay the caller's.
 * Returns 0 or -errno; call context_close in either case.
 */
int context_open(struct conn_context *context, struct loop *loop, struct budget *budget, int door);

/* What was made with it must be gone, dials too; relays are stopped. Fine for all zero. */
void context_close(struct conn_context *context);
