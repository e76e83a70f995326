/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/manifest_yaml - a YAML document as a tree whose nodes know where they stand */
#ifndef NSWRAP_MESH_MANIFEST_MANIFEST_YAML_H
#define NSWRAP_MESH_MANIFEST_MANIFEST_YAML_H

#include <stdbool.h>
#include <stddef.h>

#include "mesh/manifest/manifest_errors.h"

enum manifest_kind {
	MANIFEST_TEXT,
	MANIFEST_LIST,
	MANIFEST_MAP,
	MANIFEST_UNKNOWN, /* an alias that stands for nothing, which was said */
};

struct manifest_node {
	enum manifest_kind kind;
	struct manifest_place at;

	/* MANIFEST_TEXT: as it is written, without NUL. Plain: without quotes, so that YAML may
	 * take it for something else. */
	char *text;
	bool is_plain;

	/* MANIFEST_LIST: the items; MANIFEST_MAP: key, value, key, value... Each key is a text;
	 * merge keys are resolved: of a key
	 * that is there several times the first one counts. An alias is the very node that it
	 * stands for. */
	struct manifest_node **items;
	size_t count, cap;
	const struct manifest_node *given_before; /* of a key that its map has twice */

	char *anchor;
	struct manifest_node *older; /* of all nodes */
};

/* Starts as all zero. */
struct manifest_yaml {
	struct manifest_node *root; /* NULL: an empty document */
	struct manifest_node *newest;
};

/*
 * Read @text to a tree without cycles. What is wrong is added to @errors. False if there is no tree
 * then, because the text is no YAML or is too much; free it in any case.
 */
bool manifest_yaml_read(
	const char *text, size_t len, struct manifest_yaml *out, struct manifest_errors *errors);
void manifest_yaml_free(struct manifest_yaml *yaml);

#endif
