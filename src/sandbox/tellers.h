/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/tellers - agents that joined a sandbox tell it the names of their mesh */
#pragma once

#include "sandbox/resolver.h"
#include "util/err.h"
#include "util/list.h"
#include "util/loop.h"

/*
 * How it works
 *
 * An agent gets one end of a socket pair, at which nothing but names can be told: from the
 *supervisor when it is the companion, else with the answer to "enter" (sandbox/request), which only
 *the sandbox's owner may ask from outside. So nobody inside can tell names, and nobody another
 *sandbox's. What comes are messages of control/control:
 *
 *	{"names": [[NAME, ADDRESS]...], "patterns": [[PATTERN, ADDRESS]...], "more": BOOL}
 *
 * those up to the one without "more" being one telling, which takes the place of the one before.
 *There are no answers. Names go with the connection.
 */
#define TELLERS_MAX     32
#define TELLERS_MESSAGE 500 /* names and patterns in one message, at most */

struct tellers {
	struct loop *loop;
	struct resolver *resolver;
	struct list list;
	size_t count;
};

void tellers_init(struct tellers *tellers, struct loop *loop, struct resolver *resolver);
void tellers_fini(struct tellers *tellers);

/* Returns an agent's end, which the caller closes when the agent has it, or -errno with @err. */
int tellers_open(struct tellers *tellers, struct err *err);
