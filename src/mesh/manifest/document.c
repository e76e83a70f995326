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
#define ANCHORS_MAX    1024
#define MERGE_KEYS_MAX 256 /* in a map with a merge key */
#define YAML_TAG       "tag:yaml.org,2002:"
#define UTF8_BOM       "\xef\xbb\xbf"

/*
 * How it works
 *
 * libyaml's events come one by one, and a list or map is read with all that is in it before it is
 * known by its anchor; so an alias cannot lead to what it is in, and the tree has no cycles. An
 * alias is no copy: nothing grows by aliases, and who walks the tree to a fixed depth does no more
 * than the text says, times how often he is led to one place. Once something is too much, or memory
 * has run out, there is no next event, and everything comes to its end.
 */
struct builder {
	struct document *document;
	struct errors *errors;
	yaml_parser_t parser;
	yaml_event_t event; /* YAML_NO_EVENT when a node has taken it over */
	bool has_failed;
	size_t nodes;
	struct node *anchors[ANCHORS_MAX];
	size_t nanchors;
};

static void give_up(struct builder *b, struct place at, const char *why)
{
	errors_add(b->errors, at, "%s", why);
	b->has_failed = true;
}

static void out_of_memory(struct builder *b)
{
	b->errors->has_no_memory = b->has_failed = true;
}

static void count_node(struct builder *b, struct place at)
{
	if (++b->nodes > NODES_MAX)
		give_up(b, at, "the manifest is too large: it has too many values");
}

static bool next_event(struct builder *b)
{
	yaml_event_delete(&b->event);
	if (!b->has_failed && !yaml_parser_parse(&b->parser, &b->event)) {
		syntax_explain(&b->parser, b->errors);
		b->has_failed = true;
	}
	return !b->has_failed;
}

static void append(struct builder *b, struct node *parent, struct node *item)
{
	if (parent->count == parent->cap) {
		size_t cap = parent->cap ? parent->cap * 2 : 4;
		struct node **items = reallocarray(parent->items, cap, sizeof(struct node *));
		if (!items) {
			out_of_memory(b);
			return;
		}
		parent->items = items;
		parent->cap = cap;
	}
	parent->items[parent->count++] = item;
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

/* Positions of keys: by their texts, those that are the same in the order of the file. */
static int compare_keys(const void *left, const void *right, void *map)
{
	const struct node *const *items = (const struct node *const *)((struct node *)map)->items;
	size_t a = *(const size_t *)left, b = *(const size_t *)right;
	int order = strcmp(items[a]->text, items[b]->text);

	return order ? order : a < b ? -1 : a > b;
}

/* Of keys that are the same the last one stays, as NoRouter has it. */
static void drop_double_keys(struct builder *b, struct node *map)
{
	size_t count = map->count / 2, kept = 0;
	size_t *order = calloc(count + 1, sizeof(*order));

	if (!order) {
		out_of_memory(b);
		return;
	}
	for (size_t i = 0; i < count; i++)
		order[i] = 2 * i;
	qsort_r(order, count, sizeof(*order), compare_keys, map);
	for (size_t i = 1; i < count; i++) {
		struct node *key = map->items[order[i]], *before = map->items[order[i - 1]];

		if (strcmp(key->text, before->text) != 0)
			continue;
		key->given_before = before;
		map->items[order[i - 1] + 1] = NULL;
	}
	free(order);
	for (size_t i = 0; i < map->count; i += 2) {
		if (!map->items[i + 1])
			continue;
		map->items[kept++] = map->items[i];
		map->items[kept++] = map->items[i + 1];
	}
	map->count = kept;
}

/* --- merge keys ---------------------------------------------------------------------------- */

static void merge_map(struct builder *b, struct node *map, const struct node *from)
{
	if (from->kind != NODE_MAP && from->kind != NODE_UNKNOWN)
		errors_add(b->errors, from->at,
			"<< takes the keys of another map: expected one, such as *name");
	if (from->kind != NODE_MAP)
		return;
	for (size_t i = 0; i < from->count && !b->has_failed; i++) {
		if (i % 2 == 0)
			count_node(b, map->at);
		if (map->count / 2 >= MERGE_KEYS_MAX)
			give_up(b, map->at, "a map with << has too many keys");
		append(b, map, from->items[i]);
	}
}

static bool is_merge_key(const struct node *key)
{
	return key->is_plain && strcmp(key->text, "<<") == 0;
}

/* Move the values of "<<" from @map to @out. */
static void take_merges(struct builder *b, struct node *map, struct node *out)
{
	size_t kept = 0;

	for (size_t i = 0; i < map->count; i += 2) {
		if (is_merge_key(map->items[i])) {
			append(b, out, map->items[i + 1]);
		} else {
			map->items[kept++] = map->items[i];
			map->items[kept++] = map->items[i + 1];
		}
	}
	map->count = kept;
}

/* "<<: *base": the keys of base, behind those that the map has itself, which come first. Of several
 * << the last one counts first, as in NoRouter; of a list the first one, as YAML says. */
static void merge(struct builder *b, struct node *map, const struct node *merges)
{
	for (size_t i = merges->count; i-- > 0;) {
		struct node *from = merges->items[i];

		if (from->kind != NODE_LIST)
			merge_map(b, map, from);
		for (size_t k = 0; from->kind == NODE_LIST && k < from->count; k++)
			merge_map(b, map, from->items[k]);
	}
}

static void read_keys(struct builder *b, struct node *map)
{
	struct node merges = {.kind = NODE_LIST};

	drop_strange_keys(b, map);
	take_merges(b, map, &merges);
	drop_double_keys(b, map);
	if (!b->has_failed)
		merge(b, map, &merges);
	free(merges.items);
}

/* --- nodes --------------------------------------------------------------------------------- */

static struct node *read_node(struct builder *b, size_t depth);

static void read_items(struct builder *b, struct node *node, size_t depth)
{
	while (next_event(b) && b->event.type != YAML_SEQUENCE_END_EVENT &&
		b->event.type != YAML_MAPPING_END_EVENT) {
		struct node *item = read_node(b, depth + 1);

		if (item)
			append(b, node, item);
	}
	if (node->kind == NODE_MAP && !b->has_failed)
		read_keys(b, node);
}

/* Of what a text without quotes may be. */
static bool is_plain_tag(const char *tag)
{
	return strcmp(tag, YAML_TAG "bool") == 0 || strcmp(tag, YAML_TAG "int") == 0 ||
	       strcmp(tag, YAML_TAG "float") == 0 || strcmp(tag, YAML_TAG "null") == 0;
}

static void read_text(struct builder *b, struct node *node)
{
	const char *tag = (const char *)node->event.data.scalar.tag;

	node->text = (const char *)node->event.data.scalar.value;
	node->is_plain =
		tag ? is_plain_tag(tag) : node->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	if (memchr(node->text, '\0', node->event.data.scalar.length))
		errors_add(b->errors, node->at, "a zero byte in a text: expected none");
}

static void check_tag(struct builder *b, const struct node *node, const char *tag)
{
	static const char *const known[] = {
		[NODE_TEXT] = YAML_TAG "str",
		[NODE_LIST] = YAML_TAG "seq",
		[NODE_MAP] = YAML_TAG "map",
	};

	if (strcmp(tag, known[node->kind]) == 0)
		return;
	if (node->kind == NODE_TEXT && (strcmp(tag, "!") == 0 || is_plain_tag(tag)))
		return;
	if (strcmp(tag, YAML_TAG "binary") == 0) /* ignored, it would be another text */
		errors_add(b->errors, node->at, "tag %s means nothing here: expected none",
			PARSE_QUOTED(tag));
	else
		errors_warn(
			b->errors, node->at, "tag %s is ignored: expected none", PARSE_QUOTED(tag));
}

static void remember_anchor(struct builder *b, struct node *node)
{
	if (b->nanchors == ANCHORS_MAX)
		give_up(b, node->at, "the manifest has too many anchors: expected at most 1024");
	else
		b->anchors[b->nanchors++] = node;
}

/* The node that the alias stands for, or NULL after complaining. */
static struct node *find_anchor(struct builder *b, struct place at)
{
	const char *name = (const char *)b->event.data.alias.anchor;
	const char *shown = PARSE_SHOWN(name);

	for (size_t i = b->nanchors; i-- > 0;) /* an anchor may be used again: the last one */
		if (strcmp(b->anchors[i]->anchor, name) == 0)
			return b->anchors[i];
	errors_add(b->errors, at,
		"alias *%s has no anchor &%s before it: expected one, or quotes around a text that "
		"begins with *",
		shown, shown);
	return NULL;
}

/* A new node that takes over the event. NULL: no memory. */
static struct node *new_node(struct builder *b, struct place at)
{
	static const enum node_kind kinds[] = {
		[YAML_ALIAS_EVENT] = NODE_UNKNOWN,
		[YAML_SCALAR_EVENT] = NODE_TEXT,
		[YAML_SEQUENCE_START_EVENT] = NODE_LIST,
		[YAML_MAPPING_START_EVENT] = NODE_MAP,
	};
	struct node *node = calloc(1, sizeof(*node));

	if (!node) {
		out_of_memory(b);
		return NULL;
	}
	node->kind = kinds[b->event.type];
	node->at = at;
	node->event = b->event;
	node->older = b->document->newest;
	b->document->newest = node;
	b->event.type = YAML_NO_EVENT;
	return node;
}

/* What begins with the event, in @depth lists and maps. NULL: the document is not read on. */
static struct node *read_node(struct builder *b, size_t depth)
{
	struct place at = syntax_place(b->event.start_mark);
	const bool is_alias = b->event.type == YAML_ALIAS_EVENT;
	struct node *node;

	if (depth == DEPTH_MAX && b->event.type != YAML_SCALAR_EVENT && !is_alias)
		give_up(b, at, "too many lists and maps in one another");
	else
		count_node(b, at);
	if (b->has_failed)
		return NULL;
	node = is_alias ? find_anchor(b, at) : NULL;
	if (!node)
		node = new_node(b, at);
	if (!node || is_alias)
		return node;

	/* the events of texts, lists and maps begin alike */
	const char *tag = (const char *)node->event.data.scalar.tag;
	node->anchor = (const char *)node->event.data.scalar.anchor;
	if (tag)
		check_tag(b, node, tag);
	if (node->kind == NODE_TEXT)
		read_text(b, node);
	else
		read_items(b, node, depth);
	if (node->anchor && !b->has_failed)
		remember_anchor(b, node);
	return node;
}

/* --- the document -------------------------------------------------------------------------- */

static void read_document(struct builder *b)
{
	while (next_event(b) && b->event.type != YAML_STREAM_END_EVENT) {
		bool is_start = b->event.type == YAML_DOCUMENT_START_EVENT;

		if (is_start && b->document->root) {
			errors_warn(b->errors, syntax_place(b->event.start_mark),
				"a second document begins, which is ignored: expected one only");
			return;
		}
		if (is_start && next_event(b))
			b->document->root = read_node(b, 0);
	}
}

bool document_read(const char *text, size_t len, struct document *out, struct errors *errors)
{
	struct builder b = {.document = out, .errors = errors};

	if (len >= strlen(UTF8_BOM) && memcmp(text, UTF8_BOM, strlen(UTF8_BOM)) == 0) {
		text += strlen(UTF8_BOM); /* libyaml would count it as a column */
		len -= strlen(UTF8_BOM);
	}
	if (!yaml_parser_initialize(&b.parser)) {
		out_of_memory(&b);
		return false;
	}
	yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&b.parser, (const unsigned char *)text, len);
	read_document(&b);
	yaml_event_delete(&b.event);
	yaml_parser_delete(&b.parser);
	return !b.has_failed;
}

void document_free(struct document *document)
{
	while (document->newest) {
		struct node *node = document->newest;

		document->newest = node->older;
		yaml_event_delete(&node->event);
		free(node->items);
		free(node);
	}
	document->root = NULL;
}
