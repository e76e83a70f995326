/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/output - what programs and people read on stdout: JSON and tables */
#include "cmd/output.h"

#include <errno.h>
#include <glib.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "util/log.h"

#define GAP      2 /* between columns */
#define LAST_MIN 10

const char *output_member(const json_t *object, const char *key, const char *missing)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : missing;
}

json_t *output_escaped(const char *text)
{
	char shown[OUTPUT_TEXT_BYTES];

	return json_string(log_escape(text, strlen(text), shown, sizeof(shown)));
}

json_t *output_age(long long seconds)
{
	static const struct {
		long long below, unit;
		char name;
	} ages[] = {{100, 1, 's'}, {100 * 60, 60, 'm'}, {48 * 3600, 3600, 'h'},
		{LLONG_MAX, 86400, 'd'}};
	size_t i = 0;

	while (seconds >= ages[i].below)
		i++;
	return json_sprintf("%lld%c", MAX(seconds, 0) / ages[i].unit, ages[i].name);
}

/* Columns, if each character takes one. */
static int width_of(const json_t *cell)
{
	return (int)g_utf8_strlen(json_string_value(cell), -1);
}

/* Whatever it is, and wherever it came from: in place, which changes nothing a second time. */
static void escape_cells(json_t *rows)
{
	size_t i, column;
	json_t *row, *cell;

	json_array_foreach(rows, i, row)
	{
		json_array_foreach(row, column, cell)
		{
			json_array_set_new(row, column, output_escaped(json_string_value(cell)));
		}
	}
}

void output_table(json_t *rows, int width)
{
	size_t columns = json_array_size(json_array_get(rows, 0)), i, column;
	int widths[OUTPUT_COLUMNS_MAX] = {0}, room = width;
	json_t *row, *cell;

	escape_cells(rows);
	json_array_foreach(rows, i, row)
	{
		json_array_foreach(row, column, cell)
		{
			widths[column] = MAX(widths[column], width_of(cell));
		}
	}
	for (column = 0; column + 1 < columns; column++)
		room -= widths[column] + GAP;
	room = width > 0 ? MAX(room, LAST_MIN) : INT_MAX;
	json_array_foreach(rows, i, row)
	{
		for (column = 0; column + 1 < columns; column++) {
			cell = json_array_get(row, column);
			printf("%s%*s", json_string_value(cell),
				widths[column] + GAP - width_of(cell), "");
		}
		cell = json_array_get(row, column);
		const char *text = json_string_value(cell);
		const char *end = g_utf8_offset_to_pointer(text, MIN(room, width_of(cell)));
		printf("%.*s\n", (int)(end - text), text);
	}
}

void output_json(const json_t *json)
{
	if (json_dumpf(json, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(6)) ==
		0)
		putchar('\n');
}

int output_end(struct err *err)
{
	return fflush(stdout) == 0 ? 0 : err_sys(err, errno, "cannot write to stdout");
}
