/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/tenure - of the agents of one host of one mesh the last one stays, and none for ever
 */
#pragma once

#include <stdint.h>

#include "control/tenant.h"
#include "mesh/config.h"
#include "util/err.h"
#include "util/loop.h"
#include "wire/wire.h"

/*
 * How it works
 *
 * A link may die without a word: a router that forgets it, a laptop that goes away. Then the agent
 * at its far end lives on, with the ports and addresses of its host, and nobody can reach it.
 *
 * So it ends when it has heard nothing for as long as `configure` says, counted in beats: who was
 * stopped along with its manager (Ctrl-Z) has not heard nothing, it was not there.
 *
 * And the next agent does not wait for that. One that is told its identity takes over from the one
 * before it (control/tenant), before it opens any port. In a sandbox these are the agents of that
 * sandbox; one that has come with its sandbox is taken over from along with that (cmd/agent).
 */

/* Starts as all zero, but for what the owner sets. */
struct tenure {
	/* the owner sets these */
	struct loop *loop;
	const struct wire *wire;
	void (*on_silence)(struct tenure *tenure); /* from the loop */
	struct tenant tenant;                      /* as tenant says */

	uint16_t silence_s;

	/* its own */
	struct loop_timer timer;
	struct loop_io io;       /* of the tenant's socket */
	struct loop_timer pause; /* of that, for want of descriptors */
	unsigned silent;         /* beats */
	uint64_t heard_bytes;
};

/*
 * It is to be as @config says: take over from the agent that had its identity, and listen for
 * silence. What cannot be taken over from is a warning. Returns 1 if there was one, which has ended
 * with all that it had; 0; or -errno with @err filled.
 */
int tenure_begin(struct tenure *tenure, const struct mesh_config *config, struct err *err);

/* Once more is fine. */
void tenure_end(struct tenure *tenure);
