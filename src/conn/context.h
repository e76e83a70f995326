/* SPDX-License-Identifier: Apache-2.0 */
/* conn/context - what the parts of an agent that relay have in common */
#ifndef NSWRAP_CONN_CONTEXT_H
#define NSWRAP_CONN_CONTEXT_H

#include <stddef.h>

#include "util/budget.h"
#include "util/loop.h"

struct inside;
struct relay_pool;

struct conn_context {
	struct loop *loop;
	struct relay_pool *relays;
	struct inside *inside; /* sockets of the namespace with the VIP */
	struct budget *budget; /* of the process */
	/* an IPv4 packet to the mesh, and one into the namespace as if it came from the mesh */
	void (*send_packet)(void *told, const void *packet, size_t len);
	void (*inject_packet)(void *told, const void *packet, size_t len);
	void *told;
};

#endif
