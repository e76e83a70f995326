/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/output - what programs and people read on stdout: JSON and tables */
#include "cmd/output.h"

#include <errno.h>
#include <glib.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "util/log.h"

#define GAP        2 /* between columns */
#define LAST_MIN   10
#define OTHERS_MIN 6

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

int output_width(void)
{
	struct winsize size;

	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

static int columns_of(gunichar c)
{
	return g_unichar_iszerowidth(c) ? 0 : g_unichar_iswide(c) ? 2 : 1;
}

int output_columns(const char *text)
{
	int columns = 0;

	for (; *text; text = g_utf8_next_char(text))
		columns += columns_of(g_utf8_get_char(text));
	return columns;
}

static int width_of(const json_t *cell)
{
	return output_columns(json_string_value(cell));
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

/* Print as much of @text as goes into @room columns, then blanks up to @width. */
static void print_cell(const char *text, int room, int width)
{
	const char *end = text;
	int used = 0, left = output_columns(text) > room ? room - 1 : room;

	for (; *end && used + columns_of(g_utf8_get_char(end)) <= left; end = g_utf8_next_char(end))
		used += columns_of(g_utf8_get_char(end));
	printf("%.*s%s", (int)(end - text), text, *end ? "+" : "");
	used += *end != '\0';
	printf("%*s", MAX(width - used, 0), "");
}

/* Make @widths fit into @width together with the gaps, as far as the least widths allow. */
static void fit(int *widths, size_t columns, int width)
{
	int excess = -width, *last = &widths[columns - 1];

	for (size_t i = 0; i < columns; i++)
		excess += widths[i] + (i > 0 ? GAP : 0);
	int cut = MIN(excess, *last - LAST_MIN);
	*last -= MAX(cut, 0);
	for (excess -= MAX(cut, 0); excess > 0; excess--) {
		int *widest = widths;

		for (size_t i = 0; i + 1 < columns; i++)
			widest = widths[i] > *widest ? &widths[i] : widest;
		if (*widest <= OTHERS_MIN)
			break;
		--*widest;
	}
}

void output_table(json_t *rows, int width)
{
	size_t columns = json_array_size(json_array_get(rows, 0)), i, column;
	int widths[OUTPUT_COLUMNS_MAX] = {0};
	json_t *row, *cell;

	escape_cells(rows);
	json_array_foreach(rows, i, row)
	{
		json_array_foreach(row, column, cell)
		{
			widths[column] = MAX(widths[column], width_of(cell));
		}
	}
	if (width > 0)
		fit(widths, columns, width);
	json_array_foreach(rows, i, row)
	{
		json_array_foreach(row, column, cell)
		{
			print_cell(json_string_value(cell), widths[column],
				column + 1 < columns ? widths[column] + GAP : 0);
		}
		putchar('\n');
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
