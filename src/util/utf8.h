/* SPDX-License-Identifier: Apache-2.0 */
/* util/utf8 - how wide text is on a terminal */
#ifndef NSWRAP_UTIL_UTF8_H
#define NSWRAP_UTIL_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Is it the first byte of a character? */
static inline bool utf8_is_start(char byte)
{
	return ((unsigned char)byte & 0xc0) != 0x80;
}

/* Columns of @text if each character takes one. */
static inline int utf8_columns(const char *text, size_t len)
{
	int columns = 0;

	for (size_t i = 0; i < len; i++)
		columns += utf8_is_start(text[i]);
	return columns;
}

#endif
