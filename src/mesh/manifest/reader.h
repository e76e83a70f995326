/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/reader - take values out of a manifest's tree, or say what is wrong with them */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "mesh/manifest/document.h"
#include "mesh/manifest/errors.h"
#include "mesh/manifest/hostnames.h"

/*
 * How it works
 *
 * A reader goes over the tree and adds what is wrong to `errors`; every function goes on behind an
 * error. Aliases can lead it to one place many times: `work_left` bounds what it looks at and
 * copies in all, in bytes.
 */
struct reader {
	struct errors *errors;
	size_t work_left;
	size_t ports_left; /* of the whole mesh */
	struct hostnames hostnames;
	const char *folder; /* from which paths start; NULL: files are not looked at */
};

#define READER_WORK_BYTES (16 << 20)
#define READER_PORTS_MAX  8192 /* of all hosts together */
#define READER_KEYS_MAX   24   /* that a map can have */

/* Complain about @node; errors_add with its place. */
#define reader_refuse(reader, node, ...) errors_add((reader)->errors, (node)->at, __VA_ARGS__)
#define reader_warn(reader, node, ...)   errors_warn((reader)->errors, (node)->at, __VA_ARGS__)

/* Complain that there is more than @limit of something, and look at nothing any more. */
void reader_too_much(struct reader *reader, const struct node *node, const char *what, int limit,
	const char *unit);

/* False: it is too much, which was said, or memory has run out: look at nothing more. */
bool reader_work(struct reader *reader, const struct node *node, size_t bytes);

/* The value of key @name; NULL if @map is NULL or has no such key, or nothing behind it. */
const struct node *reader_get(const struct node *map, const char *name);

/* Warn of keys that are not @known (READER_KEYS_MAX at most), and of those that are given twice. */
void reader_check_keys(
	struct reader *reader, const struct node *map, const char *const *known, size_t count);

/* Warn if its map has @key twice. */
void reader_check_once(struct reader *reader, const struct node *key);

/* What it is in words, such as "a list". */
const char *reader_kind_of(const struct node *node);

/* Complain unless @node is of that kind; @what and @expected are for the text. */
bool reader_is_kind(struct reader *reader, const struct node *node, enum node_kind kind,
	const char *what, const char *expected);

/* The text of @node, or NULL after complaining: no text, or nothing. */
const char *reader_text(
	struct reader *reader, const struct node *node, const char *what, const char *expected);

/* A copy to *@out instead of what it was. */
void reader_copy(struct reader *reader, const char *text, char **out);

/* A NULL-terminated array with room for as many texts as @list has items, for g_strfreev.
 * NULL: no more of it. */
char **reader_new_texts(struct reader *reader, const struct node *list);

/* The same with its items, each of them called @what in errors. */
char **reader_texts(
	struct reader *reader, const struct node *list, const char *what, const char *expected);

/* A plain text that YAML takes for nothing, such as "~" or what is missing behind a colon. */
bool reader_is_null(const struct node *node);
/* A plain text that YAML takes for true or false; *@value may be NULL. */
bool reader_is_bool(const struct node *node, bool *value);
/* A plain text that YAML takes for a number. */
bool reader_is_number(const struct node *node);
