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

char *output_count(long long value, char out[OUTPUT_COUNT_BYTES])
{
	static const char units[] = " kMGTPE";
	double shown = (double)value;
	size_t unit = 0;

	for (; shown >= 999.5 && units[unit + 1]; unit++)
		shown /= 1000;
	snprintf(out, OUTPUT_COUNT_BYTES, "%.*f%.*s", unit > 0 && shown < 9.95 ? 1 : 0, shown,
		unit > 0 ? 1 : 0, units + unit);
	return out;
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

static int columns_of_bytes(const char *text, size_t len)
{
	int columns = 0;

	for (const char *end = text + len; text < end; text = g_utf8_next_char(text))
		columns += columns_of(g_utf8_get_char(text));
	return columns;
}

int output_columns(const char *text)
{
	return columns_of_bytes(text, strlen(text));
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

int output_cut(FILE *out, const char *text, size_t len, int columns)
{
	int used = 0, all = columns_of_bytes(text, len);
	int left = columns == 0 ? all : all > columns ? columns - 1 : columns;
	const char *end = text;

	while (end < text + len && used + columns_of(g_utf8_get_char(end)) <= left) {
		used += columns_of(g_utf8_get_char(end));
		end = g_utf8_next_char(end);
	}
	fprintf(out, "%.*s%s", (int)(end - text), text, end < text + len ? "+" : "");
	return used + (end < text + len);
}

/* Print as much of @text as goes into @room columns, then blanks up to @width. */
static void print_cell(FILE *out, const char *text, int room, int width)
{
	int used = output_cut(out, text, strlen(text), room);

	fprintf(out, "%*s", MAX(width - used, 0), "");
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
	output_table_to(stdout, rows, width);
}

void output_table_to(FILE *out, json_t *rows, int width)
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
			print_cell(out, json_string_value(cell), widths[column],
				column + 1 < columns ? widths[column] + GAP : 0);
		}
		fputc('\n', out);
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
	errno = EIO; /* why it failed earlier nobody knows any more */
	return fflush(stdout) == 0 && !ferror(stdout)
		       ? 0
		       : err_sys(err, errno, "cannot write to stdout");
}
