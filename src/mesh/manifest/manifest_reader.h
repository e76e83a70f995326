/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/manifest_reader - take values out of a manifest's tree, or say what is wrong with
 * them */
#ifndef NSWRAP_MESH_MANIFEST_MANIFEST_READER_H
#define NSWRAP_MESH_MANIFEST_MANIFEST_READER_H

#include <stdbool.h>
#include <stddef.h>

#include "mesh/manifest/manifest_errors.h"
#include "mesh/manifest/manifest_yaml.h"

/*
 * How it works
 *
 * A reader goes over the tree and adds what is wrong to `errors`; every function goes on behind an
 * error. Aliases can lead it to one place many times: `work_left` bounds what it looks at and
 * copies in all, in bytes.
 */
struct manifest_reader {
	struct manifest_errors *errors;
	size_t work_left;
	size_t ports_left; /* of the whole mesh */
	void *names;       /* manifest_names */
};

#define MANIFEST_WORK_BYTES (16 << 20)

/* Complain that there is more than @limit of something, and look at nothing any more. */
void manifest_too_much(struct manifest_reader *reader, const struct manifest_node *node,
	const char *what, int limit, const char *unit);

/* False: it is too much, which was said, or memory has run out: look at nothing more. */
bool manifest_work(struct manifest_reader *reader, const struct manifest_node *node, size_t bytes);

/* The value of key @name; NULL if @map is NULL or has no such key, or nothing behind it. */
const struct manifest_node *manifest_get(const struct manifest_node *map, const char *name);

/* Complain about keys that are not @known, and those that are given twice. */
void manifest_check_keys(struct manifest_reader *reader, const struct manifest_node *map,
	const char *const *known, size_t count);

/* What it is in words, such as "a list". */
const char *manifest_kind_of(const struct manifest_node *node);

/* Complain unless @node is of that kind; @what and @expected are for the text. */
bool manifest_is_kind(struct manifest_reader *reader, const struct manifest_node *node,
	enum manifest_kind kind, const char *what, const char *expected);

/* The text of @node, or NULL after complaining: no text, or nothing. */
const char *manifest_text(struct manifest_reader *reader, const struct manifest_node *node,
	const char *what, const char *expected);

/* True or false, or complain and leave *@out alone. */
void manifest_read_bool(struct manifest_reader *reader, const struct manifest_node *node,
	const char *what, bool *out);

/* A copy to *@out instead of what it was. */
void manifest_copy(struct manifest_reader *reader, const char *text, char **out);

/* A NULL-terminated array with room for as many texts as @list has items, for mesh_texts_free.
 * NULL: no more of it. */
char **manifest_new_texts(struct manifest_reader *reader, const struct manifest_node *list);

/* A plain text that YAML takes for nothing, such as "~" or what is missing behind a colon. */
bool manifest_is_null(const struct manifest_node *node);
/* A plain text that YAML takes for true or false; *@value may be NULL. */
bool manifest_is_bool(const struct manifest_node *node, bool *value);
/* A plain text that YAML takes for a number. */
bool manifest_is_number(const struct manifest_node *node);

/*
 * Letters, digits, - and _, and those of @more, in parts of 1 to 63 with dots between; a dot in
 * @more: one may also stand at the end.
 */
bool manifest_is_hostname(const char *text, const char *more);

#endif
