/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/trips - where proxies are led: by mesh/agent/ways */
#pragma once

#include "mesh/agent/ways.h"
#include "proxy/guide.h"

struct trips {
	struct guide guide;
	struct ways *ways;
};

/* @ways stays the caller's, and there must be no trip under way when it goes. */
void trips_init(struct trips *trips, struct ways *ways);
