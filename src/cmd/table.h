/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/table - cells of the tables that people read */
#ifndef NSWRAP_CMD_TABLE_H
#define NSWRAP_CMD_TABLE_H

#include <stdbool.h>
#include <stddef.h>

/* Is it the first byte of a character of UTF-8? */
static inline bool table_starts_character(char c)
{
	return ((unsigned char)c & 0xc0) != 0x80;
}

/* Columns of UTF-8 text if each character takes one. */
int table_columns_of(const char *text);

/* "99s", "99m", "47h", "2d" */
void table_format_age(long long seconds, char *out, size_t cap_bytes);

#endif
