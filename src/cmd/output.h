/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/output - what programs and people read on stdout: JSON and tables */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "util/err.h"

#define OUTPUT_COLUMNS_MAX 11
#define OUTPUT_TEXT_BYTES  4096

/* The text of @object at @key, or @missing. */
const char *output_member(const json_t *object, const char *key, const char *missing);

/* Cells of a table. @text with what is not printable escaped, up to OUTPUT_TEXT_BYTES. */
json_t *output_escaped(const char *text);
/* "99s", "99m", "47h", "2d" */
json_t *output_age(long long seconds);

/* "999", "1.2k", "34M". Returns @out. */
#define OUTPUT_COUNT_BYTES 16
char *output_count(long long value, char out[OUTPUT_COUNT_BYTES]);

/* Columns of the terminal that stdout is, or 0: it is none. */
int output_width(void);

/* Columns that @text, which is UTF-8, takes on a terminal. */
int output_columns(const char *text);

/*
 * Print @rows, arrays of as many cells each, which are texts; they are escaped here. All columns
 * but the last one are aligned. Where a line would be longer than @width (0: not cut), the last one
 * is cut, to ten columns at least, then the widest of the others, to six; '+' is at the end of what
 * was cut.
 */
void output_table(json_t *rows, int width);
/* The same, to @out. */
void output_table_to(FILE *out, json_t *rows, int width);

/* As much of the @len bytes of @text as goes into @columns (0: all); '+' is at the end of what was
 * cut. Returns the columns that it has taken. */
int output_cut(FILE *out, const char *text, size_t len, int columns);

/* Print @json (NULL: nothing), indented, and its end of line. */
void output_json(const json_t *json);

/* When a subcommand has ended: has all that it printed been written? 0, or -errno with @err. */
int output_end(struct err *err);
