/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/output - what programs and people read on stdout: JSON and tables */
#include "cmd/output.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util/utf8.h"

#define GAP 2 /* between columns */

static int width_of(const char *cell)
{
	return utf8_columns(cell, strlen(cell));
}

void output_fit(struct output_table *table, output_cell *cells)
{
	for (size_t i = 0; i < table->count; i++)
		if (width_of(cells[i]) > table->widths[i])
			table->widths[i] = width_of(cells[i]);
}

void output_row(const struct output_table *table, output_cell *cells, const char *last)
{
	for (size_t i = 0; i < table->count; i++)
		printf("%s%*s", cells[i], table->widths[i] + GAP - width_of(cells[i]), "");
	printf("%s\n", last);
}

int output_indent(const struct output_table *table)
{
	int indent = 0;

	for (size_t i = 0; i < table->count; i++)
		indent += table->widths[i] + GAP;
	return indent;
}

void output_age(long long seconds, output_cell cell)
{
	if (seconds < 0)
		seconds = 0;
	if (seconds < 100)
		snprintf(cell, OUTPUT_CELL_BYTES, "%llds", seconds);
	else if (seconds < 100 * 60)
		snprintf(cell, OUTPUT_CELL_BYTES, "%lldm", seconds / 60);
	else if (seconds < 48 * 3600)
		snprintf(cell, OUTPUT_CELL_BYTES, "%lldh", seconds / 3600);
	else
		snprintf(cell, OUTPUT_CELL_BYTES, "%lldd", seconds / 86400);
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
