/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/difference - what two manifests say of a mesh's hosts to the others */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "mesh/manifest/manifest.h"

/* Hosts that the others know otherwise now: by their name, VIP, aliases or offers. */
struct difference {
	size_t *left, nleft;  /* numbers in the manifest before */
	size_t *came, ncame;  /* and in the one after */
	bool has_other_hosts; /* some of them by name or VIP */
	bool is_in_order;     /* the rest of the hosts stand in the same order */
	bool has_same_routes;
};

/* Returns 0 (free with difference_fini) or -ENOMEM. */
int difference_make(
	const struct manifest *before, const struct manifest *after, struct difference *out);
void difference_fini(struct difference *difference);

/* What the others are told of it: the arguments of `amend` (mesh/amend). NULL: no memory. */
json_t *difference_encode(const struct difference *difference, const struct manifest *before,
	const struct manifest *after);
