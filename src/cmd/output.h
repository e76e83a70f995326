/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/output - what programs and people read on stdout: JSON and tables */
#ifndef NSWRAP_CMD_OUTPUT_H
#define NSWRAP_CMD_OUTPUT_H

#include <jansson.h>
#include <stddef.h>

#include "util/err.h"

#define OUTPUT_COLUMNS_MAX 9
#define OUTPUT_CELL_BYTES  256

/* Cells of printable text; behind the columns that are aligned comes one of any length. */
typedef char output_cell[OUTPUT_CELL_BYTES];

/* Starts as @count and all zero. */
struct output_table {
	size_t count; /* columns, up to OUTPUT_COLUMNS_MAX */
	int widths[OUTPUT_COLUMNS_MAX];
};

/* Make room for a row: all of them must have been fitted before the first is printed. */
void output_fit(struct output_table *table, output_cell *cells);
void output_row(const struct output_table *table, output_cell *cells, const char *last);

/* Where @last of each row begins. */
int output_indent(const struct output_table *table);

/* "99s", "99m", "47h", "2d" */
void output_age(long long seconds, output_cell cell);

/* Print @json (NULL: nothing), indented, and its end of line. */
void output_json(const json_t *json);

/* Has all of it been written? 0, or -errno with @err filled. */
int output_end(struct err *err);

#endif
