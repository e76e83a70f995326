/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/syntax - why a text is no YAML, in words a person can act on */
#include "mesh/manifest/syntax.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "util/parse.h"

/* What libyaml says, and what people have usually done then. */
struct meaning {
	const char *context; /* NULL: any */
	const char *problem;
	bool is_at_context; /* it is shown where the context begins, not where libyaml gave up */
	const char *text;
};

static const struct meaning meanings[] = {
	{"while scanning an alias", "did not find expected alphabetic or numeric character", true,
		"* begins an alias in YAML: expected quotes around a text that begins with it"},
	{"while scanning an anchor", "did not find expected alphabetic or numeric character", true,
		"& begins an anchor in YAML: expected a name behind it, or quotes around the text"},
	{"while scanning a quoted scalar", "found unexpected end of stream", true,
		"the quotes that begin here have no end: expected another one like it"},
	{NULL, "mapping values are not allowed in this context", false,
		"a colon where none can be: expected quotes around the text, or the key on a line of "
		"its own and indented like the others"},
	{"while parsing a flow sequence", "did not find expected ',' or ']'", false,
		"a list in brackets has no end: expected , or ] here"},
	{"while parsing a flow mapping", "did not find expected ',' or '}'", false,
		"a map in braces has no end: expected , or } here"},
	{"while parsing a block mapping", "did not find expected key", false,
		"no key: expected one, indented like the others, or quotes around all of a text"},
	{NULL, "did not find expected '-' indicator", false,
		"no item of the list: expected - here, indented like the others"},
	{NULL, "block sequence entries are not allowed in this context", false,
		"a list cannot begin here: expected - on a line of its own"},
	{NULL, "could not find expected ':'", false,
		"no colon: expected one behind the key, and a blank behind it"},
	{NULL, "did not find expected <document start>", false,
		"text behind the end of the document: expected nothing more"},
	{NULL, "did not find expected node content", false,
		"nothing that can be a value: expected one, or quotes around all of a text"},
	{NULL, "found unknown escape character", false,
		"a backslash in double quotes: expected \\\\, or single quotes around the text"},
	{NULL, "control characters are not allowed", false,
		"a control character: expected plain text"},
};

/* The place of the byte that is wrong: it is found before there are characters. */
static struct place place_of_byte(const yaml_parser_t *parser)
{
	const unsigned char *byte = parser->input.string.start;
	struct place at = {.line = 1, .column = 1};

	for (size_t i = 0; i < parser->problem_offset && byte < parser->input.string.end; i++) {
		if (*byte == '\n') {
			at.line++;
			at.column = 1;
		} else if ((*byte & 0xc0) != 0x80) {
			at.column++;
		}
		byte++;
	}
	return at;
}

struct place syntax_place(yaml_mark_t mark)
{
	return (struct place){.line = mark.line + 1, .column = mark.column + 1};
}

static const struct meaning *find_meaning(const yaml_parser_t *parser)
{
	for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++) {
		const struct meaning *m = &meanings[i];
		if (strcmp(m->problem, parser->problem) == 0 &&
			(!m->context ||
				(parser->context && strcmp(m->context, parser->context) == 0)))
			return m;
	}
	return NULL;
}

void syntax_explain(const yaml_parser_t *parser, struct errors *errors)
{
	struct place at = syntax_place(parser->problem_mark);
	const struct meaning *meaning;

	if (parser->error == YAML_MEMORY_ERROR || !parser->problem) {
		errors->has_no_memory = true;
		return;
	}
	meaning = find_meaning(parser);
	if (parser->error == YAML_READER_ERROR) {
		at = place_of_byte(parser);
		if (!meaning) {
			errors_add(errors, at, "broken YAML: no UTF-8: expected a text file");
			return;
		}
	}
	if (meaning) {
		if (meaning->is_at_context)
			at = syntax_place(parser->context_mark);
		errors_add(errors, at, "broken YAML: %s", meaning->text);
		return;
	}

	/* what cannot begin a token is where the scanner stands */
	char character[2] = {(char)*parser->buffer.pointer, '\0'};

	if (character[0] == '\t')
		errors_add(errors, at,
			"broken YAML: a tab: expected spaces, which alone indent in YAML");
	else if (strcmp(parser->problem, "found character that cannot start any token") == 0)
		errors_add(errors, at,
			"broken YAML: %s cannot begin a text: expected quotes around it",
			PARSE_SHOWN(character));
	else
		errors_add(errors, at, "broken YAML: %s", parser->problem);
}
