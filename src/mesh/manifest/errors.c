/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/errors - what is wrong with a manifest, collected and told in the file's order */
#include "mesh/manifest/errors.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/log.h"
#include "util/parse.h"

#define TEXT_BYTES    512
#define LINE_BYTES    1024
#define PLACE_BYTES   48
#define ESCAPED_BYTES 4 /* \xNN */

struct error {
	struct place at;
	enum manifest_weight weight;
	size_t number; /* in the order of finding */
	char *text;
};

int errors_compare_places(struct place a, struct place b)
{
	if (a.line != b.line)
		return a.line < b.line ? -1 : 1;
	return a.column < b.column ? -1 : a.column > b.column;
}

__attribute__((format(printf, 4, 0))) static void add(struct errors *errors,
	enum manifest_weight weight, struct place at, const char *format, va_list args)
{
	char text[TEXT_BYTES], *copy = NULL;

	if (errors->is_quiet || errors->has_no_memory)
		return;
	errors->is_wrong = errors->is_wrong || weight == MANIFEST_ERROR;
	if (errors->count == ERRORS_MAX) {
		errors->left_out++;
		return;
	}
	vsnprintf(text, sizeof(text), format, args);
	if (!errors->list)
		errors->list = calloc(ERRORS_MAX, sizeof(*errors->list));
	if (!errors->list || asprintf(&copy, "%s%s", errors->subject, text) < 0) {
		errors->has_no_memory = true;
		return;
	}
	errors->list[errors->count] =
		(struct error){.at = at, .weight = weight, .number = errors->count, .text = copy};
	errors->count++;
}

void errors_add(struct errors *errors, struct place at, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add(errors, MANIFEST_ERROR, at, format, args);
	va_end(args);
}

void errors_warn(struct errors *errors, struct place at, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add(errors, MANIFEST_WARNING, at, format, args);
	va_end(args);
}

void errors_about(struct errors *errors, const char *kind, const char *name)
{
	errors->subject[0] = '\0';
	if (kind)
		snprintf(errors->subject, sizeof(errors->subject), "%s%s%s: ", kind,
			name ? " " : "", name ? PARSE_SHOWN(name) : "");
}

static int compare(const void *left, const void *right)
{
	const struct error *a = left, *b = right;
	int order = errors_compare_places(a->at, b->at);

	return order ? order : a->number < b->number ? -1 : 1;
}

static void tell(
	const struct errors *errors, const struct error *error, manifest_report report, void *told)
{
	static const char *const weights[] = {
		[MANIFEST_WARNING] = "warning: ", [MANIFEST_ERROR] = ""};
	char line[LINE_BYTES], escaped[LINE_BYTES * ESCAPED_BYTES], place[PLACE_BYTES] = "";

	if (error->at.line)
		snprintf(place, sizeof(place), ":%zu:%zu", error->at.line, error->at.column);
	snprintf(line, sizeof(line), "%s%s: %s%s", errors->file, place, weights[error->weight],
		error->text);
	report(told, error->weight, log_escape(line, strlen(line), escaped, sizeof(escaped)));
}

/* The same again: an alias leads to a wrong place several times. */
static bool is_repeated(const struct error *a, const struct error *b)
{
	return errors_compare_places(a->at, b->at) == 0 && strcmp(a->text, b->text) == 0;
}

int errors_tell(struct errors *errors, manifest_report report, void *told)
{
	int rc = errors->is_wrong ? -EINVAL : 0;

	if (errors->count)
		qsort(errors->list, errors->count, sizeof(*errors->list), compare);
	for (size_t i = 0; i < errors->count; i++)
		if (i == 0 || !is_repeated(&errors->list[i - 1], &errors->list[i]))
			tell(errors, &errors->list[i], report, told);
	if (errors->left_out) {
		char more[64];

		snprintf(more, sizeof(more), "%zu more %s are not shown", errors->left_out,
			rc < 0 ? "errors" : "warnings");
		tell(errors,
			&(struct error){
				.weight = rc < 0 ? MANIFEST_ERROR : MANIFEST_WARNING, .text = more},
			report, told);
	}
	if (errors->has_no_memory) {
		tell(errors, &(struct error){.weight = MANIFEST_ERROR, .text = strerror(ENOMEM)},
			report, told);
		rc = -ENOMEM;
	}
	for (size_t i = 0; i < errors->count; i++)
		free(errors->list[i].text);
	free(errors->list);
	*errors = (struct errors){.file = errors->file};
	return rc;
}
