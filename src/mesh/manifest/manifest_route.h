/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/manifest_route - what a manifest says about networks and names behind its hosts */
#ifndef NSWRAP_MESH_MANIFEST_MANIFEST_ROUTE_H
#define NSWRAP_MESH_MANIFEST_MANIFEST_ROUTE_H

#include "mesh/manifest/manifest.h"
#include "mesh/manifest/manifest_reader.h"

/* Add the routes of the list @routes to @manifest, which has its hosts. */
void manifest_routes_read(struct manifest_reader *reader, const struct manifest_node *routes,
	struct manifest *manifest);

/* Free what is in it. */
void manifest_route_fini(struct mesh_route *route);

#endif
