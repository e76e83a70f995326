/* SPDX-License-Identifier: Apache-2.0 */
/* conn/context - what the parts of an agent that relay have in common */
#ifndef NSWRAP_CONN_CONTEXT_H
#define NSWRAP_CONN_CONTEXT_H

#include "util/budget.h"
#include "util/loop.h"

struct inside;
struct relay_pool;

struct conn_context {
	struct loop *loop;
	struct relay_pool *relays;
	struct inside *inside; /* sockets of the namespace with the VIP */
	struct budget *budget; /* of the process */
};

#endif
