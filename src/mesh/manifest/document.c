/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/document - a YAML document as a tree whose nodes know where they stand */
#include "mesh/manifest/document.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "mesh/manifest/syntax.h"
#include "util/parse.h"

#define DEPTH_MAX      16 /* a manifest needs six levels */
#define NODES_MAX      (1 << 18)
#define ANCHORS_MAX    256
#define MERGE_KEYS_MAX 256 /* in a map with a merge key */
#define YAML_TAG       "tag:yaml.org,2002:"
#define UTF8_BOM       "\xef\xbb\xbf"

/*
 * How it works
 *
 * libyaml's events come one by one. `open` are the lists and maps that have begun and not ended. A
 * node that is complete is known by its anchor from then on; so an alias cannot lead to what it is
 * in, and the tree has no cycles. An alias is no copy: nothing grows by aliases, and who walks the
 * tree to a fixed depth does no more than the text says, times how often he is led to one place.
 */
struct builder {
	struct document *document;
	struct errors *errors;
	struct node *open[DEPTH_MAX];
	size_t depth, nodes, documents;
	struct node *anchors[ANCHORS_MAX];
	size_t nanchors;
	bool is_done;
};

/* Returns false, for `return give_up(...)`: the rest of the document is not looked at. */
static bool give_up(struct builder *b, struct place at, const char *why)
{
	errors_add(b->errors, at, "%s", why);
	return false;
}

static bool out_of_memory(struct builder *b)
{
	b->errors->has_no_memory = true;
	return false;
}

static bool count_node(struct builder *b, struct place at)
{
	if (++b->nodes > NODES_MAX)
		return give_up(b, at, "the manifest is too large: it has too many values");
	return true;
}

static bool append(struct builder *b, struct node *parent, struct node *item)
{
	if (parent->count == parent->cap) {
		size_t cap = parent->cap ? parent->cap * 2 : 4;
		struct node **items = reallocarray(parent->items, cap, sizeof(struct node *));
		if (!items)
			return out_of_memory(b);
		parent->items = items;
		parent->cap = cap;
	}
	parent->items[parent->count++] = item;
	return true;
}

/* Put @node where the document is now. */
static bool place_node(struct builder *b, struct node *node)
{
	if (b->depth)
		return append(b, b->open[b->depth - 1], node);
	b->document->root = node;
	return true;
}

static bool remember_anchor(struct builder *b, struct node *node)
{
	if (!node->anchor)
		return true;
	if (b->nanchors == ANCHORS_MAX)
		return give_up(
			b, node->at, "the manifest has too many anchors: expected at most 256");
	b->anchors[b->nanchors++] = node;
	return true;
}

static void check_tag(struct builder *b, struct place at, const yaml_char_t *tag, const char *known)
{
	char quoted[PARSE_QUOTE_BYTES];

	if (strcmp((const char *)tag, known) != 0)
		errors_add(b->errors, at, "tag %s means nothing here: expected none",
			parse_quote((const char *)tag, quoted, sizeof(quoted)));
}

/* A new node in the place where the document is now. NULL: no more of it. */
static struct node *new_node(struct builder *b, const yaml_event_t *event, enum node_kind kind,
	const yaml_char_t *anchor)
{
	struct node *node;

	if (!count_node(b, syntax_place(event->start_mark)))
		return NULL;
	node = calloc(1, sizeof(*node));
	if (!node) {
		out_of_memory(b);
		return NULL;
	}
	node->kind = kind;
	node->at = syntax_place(event->start_mark);
	node->older = b->document->newest;
	b->document->newest = node;
	if (anchor && !(node->anchor = strdup((const char *)anchor))) {
		out_of_memory(b);
		return NULL;
	}
	return place_node(b, node) ? node : NULL;
}

static bool on_scalar(struct builder *b, const yaml_event_t *event)
{
	const yaml_char_t *tag = event->data.scalar.tag;
	const char *text = (const char *)event->data.scalar.value;
	size_t len = event->data.scalar.length;
	struct node *node = new_node(b, event, NODE_TEXT, event->data.scalar.anchor);

	if (!node)
		return false;
	if (!(node->text = strndup(text, len)))
		return out_of_memory(b);
	if (memchr(text, '\0', len))
		errors_add(b->errors, node->at, "a zero byte in a text: expected none");
	node->is_plain = !tag && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	if (tag && strcmp((const char *)tag, "!") != 0)
		check_tag(b, node->at, tag, YAML_TAG "str");
	return remember_anchor(b, node);
}

static bool on_begin(struct builder *b, const yaml_event_t *event)
{
	bool is_map = event->type == YAML_MAPPING_START_EVENT;
	const yaml_char_t *anchor =
		is_map ? event->data.mapping_start.anchor : event->data.sequence_start.anchor;
	const yaml_char_t *tag =
		is_map ? event->data.mapping_start.tag : event->data.sequence_start.tag;
	struct node *node;

	if (b->depth == DEPTH_MAX)
		return give_up(b, syntax_place(event->start_mark),
			"too many lists and maps in one another");
	node = new_node(b, event, is_map ? NODE_MAP : NODE_LIST, anchor);
	if (!node)
		return false;
	if (tag)
		check_tag(b, node->at, tag, is_map ? YAML_TAG "map" : YAML_TAG "seq");
	b->open[b->depth++] = node;
	return true;
}

static bool on_alias(struct builder *b, const yaml_event_t *event)
{
	const char *name = (const char *)event->data.alias.anchor;
	char shown[PARSE_QUOTE_BYTES];

	for (size_t i = b->nanchors; i-- > 0;) /* an anchor may be used again: the last one */
		if (strcmp(b->anchors[i]->anchor, name) == 0)
			return count_node(b, syntax_place(event->start_mark)) &&
			       place_node(b, b->anchors[i]);
	errors_add(b->errors, syntax_place(event->start_mark),
		"alias *%s has no anchor &%s before it: expected one, or quotes around a text that "
		"begins with *",
		parse_shown(name, shown, sizeof(shown)), shown);
	return new_node(b, event, NODE_UNKNOWN, NULL) != NULL;
}

/* --- maps ---------------------------------------------------------------------------------- */

/* Leave out entries whose key is no text. */
static void drop_strange_keys(struct builder *b, struct node *map)
{
	size_t kept = 0;

	for (size_t i = 0; i + 1 < map->count; i += 2) {
		if (map->items[i]->kind == NODE_UNKNOWN)
			continue;
		if (map->items[i]->kind != NODE_TEXT) {
			errors_add(b->errors, map->items[i]->at,
				"a list or map as a key: expected a name, or quotes around it");
			continue;
		}
		map->items[kept++] = map->items[i];
		map->items[kept++] = map->items[i + 1];
	}
	map->count = kept;
}

static int compare_keys(const void *left, const void *right)
{
	const struct node *a = *(struct node *const *)left;
	const struct node *b = *(struct node *const *)right;
	int order = strcmp(a->text, b->text);

	if (order)
		return order;
	if (a->at.line != b->at.line)
		return a->at.line < b->at.line ? -1 : 1;
	return a->at.column < b->at.column ? -1 : a->at.column > b->at.column;
}

static bool mark_double_keys(struct builder *b, const struct node *map)
{
	size_t count = map->count / 2;
	struct node **keys;

	if (count < 2)
		return true;
	keys = calloc(count, sizeof(struct node *));
	if (!keys)
		return out_of_memory(b);
	for (size_t i = 0; i < count; i++)
		keys[i] = map->items[2 * i];
	qsort(keys, count, sizeof(struct node *), compare_keys);
	for (size_t i = 1; i < count; i++)
		if (strcmp(keys[i]->text, keys[i - 1]->text) == 0)
			keys[i]->given_before =
				keys[i - 1]->given_before ? keys[i - 1]->given_before : keys[i - 1];
	free(keys);
	return true;
}

static bool merge_map(struct builder *b, struct node *map, struct node *from)
{
	if (from->kind == NODE_UNKNOWN)
		return true;
	if (from->kind != NODE_MAP) {
		errors_add(b->errors, from->at,
			"<< takes the keys of another map: expected one, such as *name");
		return true;
	}
	for (size_t i = 0; i < from->count; i += 2) {
		if (map->count / 2 >= MERGE_KEYS_MAX)
			return give_up(b, map->at, "a map with << has too many keys");
		if (!count_node(b, map->at) || !append(b, map, from->items[i]) ||
			!append(b, map, from->items[i + 1]))
			return false;
	}
	return true;
}

/* "<<: *base": the keys of base, behind those that the map has itself, which come first. */
static bool merge(struct builder *b, struct node *map)
{
	struct node *from = NULL;
	size_t kept = 0;

	for (size_t i = 0; i < map->count; i += 2) {
		struct node *key = map->items[i];
		if (!from && key->is_plain && strcmp(key->text, "<<") == 0) {
			from = map->items[i + 1];
			continue;
		}
		map->items[kept++] = key;
		map->items[kept++] = map->items[i + 1];
	}
	map->count = kept;
	if (!from)
		return true;
	if (from->kind != NODE_LIST)
		return merge_map(b, map, from);
	for (size_t i = 0; i < from->count; i++)
		if (!merge_map(b, map, from->items[i]))
			return false;
	return true;
}

static bool on_end(struct builder *b)
{
	struct node *node = b->open[--b->depth];

	if (node->kind == NODE_MAP) {
		drop_strange_keys(b, node);
		if (!mark_double_keys(b, node) || !merge(b, node))
			return false;
	}
	return remember_anchor(b, node);
}

/* --- the document -------------------------------------------------------------------------- */

static bool on_event(struct builder *b, const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		b->is_done = ++b->documents > 1;
		if (b->is_done)
			errors_add(b->errors, syntax_place(event->start_mark),
				"a second document begins: expected one only");
		return true;
	case YAML_ALIAS_EVENT:
		return on_alias(b, event);
	case YAML_SCALAR_EVENT:
		return on_scalar(b, event);
	case YAML_SEQUENCE_START_EVENT:
	case YAML_MAPPING_START_EVENT:
		return on_begin(b, event);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		return on_end(b);
	case YAML_STREAM_END_EVENT:
		b->is_done = true;
		return true;
	case YAML_NO_EVENT:
	case YAML_STREAM_START_EVENT:
	case YAML_DOCUMENT_END_EVENT:
		return true;
	}
	return true;
}

bool document_read(const char *text, size_t len, struct document *out, struct errors *errors)
{
	struct builder b = {.document = out, .errors = errors};
	yaml_parser_t parser;
	yaml_event_t event;
	bool is_fine = true;

	if (len >= strlen(UTF8_BOM) && memcmp(text, UTF8_BOM, strlen(UTF8_BOM)) == 0) {
		text += strlen(UTF8_BOM); /* libyaml would count it as a column */
		len -= strlen(UTF8_BOM);
	}
	if (!yaml_parser_initialize(&parser))
		return out_of_memory(&b);
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	while (is_fine && !b.is_done) {
		if (!yaml_parser_parse(&parser, &event)) {
			syntax_explain(&parser, text, len, errors);
			is_fine = false;
			break;
		}
		is_fine = on_event(&b, &event);
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
	return is_fine;
}

void document_free(struct document *document)
{
	while (document->newest) {
		struct node *node = document->newest;

		document->newest = node->older;
		free(node->text);
		free(node->items);
		free(node->anchor);
		free(node);
	}
	document->root = NULL;
}
