/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/via - one question to the name server of another host, through the mesh */
#pragma once

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#include "conn/context.h"
#include "conn/dial.h"
#include "dns/ask.h"
#include "exit/stack.h"

#define VIA_TIMEOUT_MS 9000 /* of the answer: as dns/forwarder, which that host may have to use */

/* One question under way; part of its owner, starts as all zero but for on_answer. */
struct via_ask {
	/* Once, from the loop: as ask's on_done, or what conn/dial failed with. */
	void (*on_answer)(struct via_ask *via, int result, const uint8_t *answer, size_t len);

	/* its own */
	const struct conn_context *context; /* NULL: nothing is under way */
	struct loop_timer timer;            /* of the connection */
	struct dial dial;
	struct ask ask;
	uint8_t *message;
	size_t len;
};

/*
 * Ask @server, an address of the mesh, over TCP: @message, a whole DNS query, is copied; @context
 * and @stack must stay. Returns 0, and then on_answer is called, or -errno.
 */
int via_ask_start(struct via_ask *via, const struct conn_context *context, struct stack *stack,
	const struct addr *server, const uint8_t *message, size_t len);

/* Nothing happens if it is not under way. */
void via_ask_cancel(struct via_ask *via);
