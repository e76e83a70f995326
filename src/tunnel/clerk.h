/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/clerk - what clients ask a tunnel's server for, and whether they get it */
#pragma once

#include <stdbool.h>

#include "tunnel/errand.h"
#include "tunnel/gates.h"
#include "tunnel/hail.h"
#include "tunnel/permit.h"
#include "tunnel/rota.h"

/* All of it is the owner's. */
struct clerk {
	struct gates *gates;
	struct errands *errands;
	const struct permits *listen,
		*reach; /* where clients may have the server listen, and connect to */
	bool are_known; /* nobody can be a client but who is known */
};

/* HAIL_ORDER of a lane for messages: it is answered. Returns 0, or -EPROTO: the lane is of no use.
 */
int clerk_order(struct clerk *clerk, struct lane *lane, const struct hail *hail);

/* HAIL_REACH: the lane becomes what it asks for, and is gone: 1. Or -EPROTO. */
int clerk_reach(struct clerk *clerk, struct lane *lane, const struct hail *hail);
