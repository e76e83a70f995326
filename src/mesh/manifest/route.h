/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/route - what a manifest says about networks and names behind its hosts */
#pragma once

#include "mesh/manifest/manifest.h"
#include "mesh/manifest/reader.h"

/* Add the routes of the list @routes to @manifest, which has its hosts. */
void route_read_list(struct reader *reader, const struct node *routes, struct manifest *manifest);
