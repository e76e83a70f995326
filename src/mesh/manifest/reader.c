/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/reader - take values out of a manifest's tree, or say what is wrong with them */
#include "mesh/manifest/reader.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/option.h"
#include "util/parse.h"

#define KEY_BYTES      32
#define KEYS_BYTES     320 /* a list of all keys of a map */
#define WORK_PER_VALUE 16  /* a value that is looked at, besides its bytes */

void reader_too_much(struct reader *reader, const struct node *node, const char *what, int limit,
	const char *unit)
{
	if (!reader->work_left)
		return;
	reader->work_left = 0;
	reader->errors->is_quiet = false;
	reader_refuse(reader, node, "%s: expected at most %d%s", what, limit, unit);
}

bool reader_work(struct reader *reader, const struct node *node, size_t bytes)
{
	if (reader->errors->has_no_memory)
		return false;
	bytes += WORK_PER_VALUE;
	if (bytes <= reader->work_left) {
		reader->work_left -= bytes;
		return true;
	}
	reader_too_much(reader, node, "too large when all aliases are followed",
		READER_WORK_BYTES >> 20, " MiB");
	return false;
}

const struct node *reader_get(const struct node *map, const char *name)
{
	if (!map || map->kind != NODE_MAP)
		return NULL;
	for (size_t i = 0; i < map->count; i += 2)
		if (strcmp(map->items[i]->text, name) == 0)
			return reader_is_null(map->items[i + 1]) ? NULL : map->items[i + 1];
	return NULL;
}

/* --- keys ---------------------------------------------------------------------------------- */

/* As people may have meant it: "write_etc_hosts" is writeEtcHosts. */
static void fold(const char *text, char *out, size_t cap_bytes)
{
	size_t len = 0;

	for (; *text && len + 1 < cap_bytes; text++)
		if (*text != '_' && *text != '-')
			out[len++] = (char)tolower((unsigned char)*text);
	out[len] = '\0';
}

static const char *nearest_key(const char *word, const char *const *known, size_t count)
{
	char folded[READER_KEYS_MAX][KEY_BYTES], folded_word[KEY_BYTES];
	const char *names[READER_KEYS_MAX], *nearest;

	for (size_t i = 0; i < count; i++) {
		fold(known[i], folded[i], KEY_BYTES);
		names[i] = folded[i];
	}
	fold(word, folded_word, sizeof(folded_word));
	nearest = option_nearest(folded_word, names, count);
	return nearest ? known[(nearest - folded[0]) / KEY_BYTES] : NULL;
}

static void unknown_key(
	struct reader *reader, const struct node *key, const char *const *known, size_t count)
{
	const char *quoted = PARSE_QUOTED(key->text);
	char all[KEYS_BYTES] = "";
	const char *nearest = nearest_key(key->text, known, count);

	if (strncmp(key->text, "x-", 2) == 0) { /* as in other formats: somebody's own */
		reader_warn(reader, key, "key %s is ignored", quoted);
		return;
	}
	if (nearest) {
		reader_warn(reader, key, "unknown key %s is ignored: did you mean %s?", quoted,
			nearest);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		size_t len = strlen(all);
		const char *join = i == 0 ? "" : i + 1 == count ? " or " : ", ";
		snprintf(all + len, sizeof(all) - len, "%s%s", join, known[i]);
	}
	reader_warn(reader, key, "unknown key %s is ignored: expected %s", quoted, all);
}

void reader_check_once(struct reader *reader, const struct node *key)
{
	if (key->given_before)
		reader_warn(reader, key,
			"%s is given twice: this one counts, that of line %zu is ignored",
			PARSE_SHOWN(key->text), key->given_before->at.line);
}

void reader_check_keys(
	struct reader *reader, const struct node *map, const char *const *known, size_t count)
{
	for (size_t i = 0; i < map->count; i += 2) {
		const struct node *key = map->items[i];
		size_t at = 0;

		if (!reader_work(reader, key, 0))
			return;
		while (at < count && strcmp(key->text, known[at]) != 0)
			at++;
		reader_check_once(reader, key);
		if (at == count)
			unknown_key(reader, key, known, count);
	}
}

/* --- values -------------------------------------------------------------------------------- */

/* A text without quotes, and one of @words, which NULL ends. */
static bool is_word(const struct node *node, const char *const *words)
{
	if (node->kind != NODE_TEXT || !node->is_plain)
		return false;
	while (*words && strcmp(node->text, *words) != 0)
		words++;
	return *words;
}

bool reader_is_null(const struct node *node)
{
	return is_word(node, (const char *const[]){"", "~", "null", "Null", "NULL", NULL});
}

/* How many digits @*at begins with, and go behind them. */
static size_t skip_digits(const char **at)
{
	size_t len = strspn(*at, "0123456789_");

	*at += len;
	return len;
}

bool reader_is_number(const struct node *node)
{
	const char *at = node->text;

	if (node->kind != NODE_TEXT || !node->is_plain)
		return false;
	at += *at == '-' || *at == '+';
	size_t digits = skip_digits(&at);
	if (*at == '.') {
		at++;
		digits += skip_digits(&at);
	}
	if (digits && (*at == 'e' || *at == 'E')) {
		at++;
		at += *at == '-' || *at == '+';
		digits = skip_digits(&at);
	}
	return digits && !*at;
}

bool reader_is_bool(const struct node *node, bool *value)
{
	/* YAML 1.1's, in the three spellings that it knows */
	static const char *const on[] = {
		"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y", NULL};
	static const char *const off[] = {
		"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N", NULL};
	bool is_on = is_word(node, on);

	if (!is_on && !is_word(node, off))
		return false;
	if (value)
		*value = is_on;
	return true;
}

const char *reader_kind_of(const struct node *node)
{
	if (node->kind == NODE_LIST)
		return "a list";
	if (node->kind == NODE_MAP)
		return "a map";
	if (reader_is_null(node))
		return "empty";
	if (reader_is_number(node))
		return "a number";
	return reader_is_bool(node, NULL) ? "true or false" : "a text";
}

bool reader_is_kind(struct reader *reader, const struct node *node, enum node_kind kind,
	const char *what, const char *expected)
{
	if (!reader_work(reader, node, 0))
		return false;
	if (node->kind == kind || node->kind == NODE_UNKNOWN)
		return node->kind == kind;
	reader_refuse(reader, node, "%s is %s: expected %s", what, reader_kind_of(node), expected);
	return false;
}

const char *reader_text(
	struct reader *reader, const struct node *node, const char *what, const char *expected)
{
	if (!reader_is_kind(reader, node, NODE_TEXT, what, expected))
		return NULL;
	if (reader_is_null(node)) {
		reader_refuse(reader, node, "%s is empty: expected %s", what, expected);
		return NULL;
	}
	return reader_work(reader, node, strlen(node->text)) ? node->text : NULL;
}

void reader_copy(struct reader *reader, const char *text, char **out)
{
	free(*out);
	*out = strdup(text);
	if (!*out)
		reader->errors->has_no_memory = true;
}

char **reader_new_texts(struct reader *reader, const struct node *list)
{
	char **array;

	if (!reader_work(reader, list, (list->count + 1) * sizeof(*array)))
		return NULL;
	array = calloc(list->count + 1, sizeof(*array));
	if (!array)
		reader->errors->has_no_memory = true;
	return array;
}

char **reader_texts(
	struct reader *reader, const struct node *list, const char *what, const char *expected)
{
	char **texts = reader_new_texts(reader, list);
	size_t count = 0;

	for (size_t i = 0; texts && i < list->count; i++) {
		const char *text = reader_text(reader, list->items[i], what, expected);

		if (text)
			reader_copy(reader, text, &texts[count++]);
	}
	return texts;
}
