/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/manifest_names - the names and aliases of the hosts, each of them once */
#ifndef NSWRAP_MESH_MANIFEST_MANIFEST_NAMES_H
#define NSWRAP_MESH_MANIFEST_MANIFEST_NAMES_H

#include "mesh/manifest/manifest_reader.h"

#define MANIFEST_NOBODY (-1)

/* The text of @node is a name of host number @host, or complain: it is none, or is taken. @what is
 * "name" or "alias". Upper and lower case are the same, as in the DNS. */
void manifest_name_claim(struct manifest_reader *reader, const struct manifest_node *node,
	const char *what, size_t host);

/* The number of the host of that name, or MANIFEST_NOBODY. */
ssize_t manifest_name_find(const struct manifest_reader *reader, const char *name);

void manifest_names_free(struct manifest_reader *reader);

#endif
