/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/reload - what a manifest that has changed means for a host that runs */
#ifndef NSWRAP_MESH_MANAGER_RELOAD_H
#define NSWRAP_MESH_MANAGER_RELOAD_H

#include <stdbool.h>
#include <stddef.h>

#include "mesh/manifest/manifest.h"

#define RELOAD_NOBODY (-1)

enum reload_change {
	RELOAD_NOTHING, /* it is told what it was told, and started as it was */
	RELOAD_TELL,    /* it is to be told something else, or is at its next start */
	RELOAD_RESTART, /* it is started in another way, or cannot be told otherwise; or is new */
};

/* What is known of a host that is in the manifest already. */
struct reload_host {
	bool is_down;         /* it will not be started again as things are */
	bool can_reconfigure; /* its agent has said that it can be told anew */
	unsigned features;    /* of its agent */
};

/* The number in @before of the host that is called as number @host of @after, or RELOAD_NOBODY. */
int reload_find(const struct manifest *before, const struct manifest *after, size_t host);

/* What becomes of @known, number @old in @before and number @host in @after. */
enum reload_change reload_compare(const struct reload_host *known, const struct manifest *before,
	size_t old, const struct manifest *after, size_t host);

#endif
