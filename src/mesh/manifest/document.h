/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/document - a YAML document as a tree whose nodes know where they stand */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <yaml.h>

#include "mesh/manifest/errors.h"

enum node_kind {
	NODE_TEXT,
	NODE_LIST,
	NODE_MAP,
	NODE_UNKNOWN, /* an alias that stands for nothing, which was said */
};

struct node {
	enum node_kind kind;
	struct place at;

	/* NODE_TEXT: as it is written, up to a NUL. Plain: without quotes, so that YAML may take it
	 * for something else. */
	const char *text;
	bool is_plain;

	/* NODE_LIST: the items; NODE_MAP: key, value, key, value... Each key is a text and is there
	 * once: the last one that is written. Behind those of the map itself are those of merge
	 * keys; there the first one counts. An alias is the very node that it stands for. */
	struct node **items;
	size_t count, cap;
	const struct node *given_before; /* of a key that its map had before */

	const char *anchor;
	yaml_event_t event; /* has the texts */
	struct node *older; /* of all nodes */
};

/* Starts as all zero. */
struct document {
	struct node *root; /* NULL: an empty document */
	struct node *newest;
};

/*
 * Read @text to a tree without cycles. What is wrong is added to @errors. False if there is no tree
 * then, because the text is no YAML or is too much; free it in any case.
 */
bool document_read(const char *text, size_t len, struct document *out, struct errors *errors);
void document_free(struct document *document);
