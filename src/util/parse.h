/* SPDX-License-Identifier: Apache-2.0 */
/* util/parse - strict readers for numbers, ports and times that people write */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/err.h"

/*
 * All of @text must be what is asked for: no blanks around it, no sign, nothing behind it. On any
 * error the results are untouched. Texts of errors quote @text with parse_quote: one line always.
 */

/* Decimal digits, leading zeros allowed. -EINVAL: not that; -ERANGE: more than @max. */
int parse_uint(const char *text, unsigned long max, unsigned long *out);

/* A port, 1..65535, or from 0 if @zero_ok; *@out in host order. Returns 0 or -EINVAL. */
int parse_port(const char *text, bool zero_ok, uint16_t *out, struct err *err);

/* "30", "0", "1.5": 0 to 1000000 seconds, at most three decimals. Returns 0 or -EINVAL. */
int parse_seconds(const char *text, uint64_t *out_ms, struct err *err);

/* Enough for parse_quote to show what most people write; longer texts are cut. */
#define PARSE_QUOTE_BYTES 80

/*
 * Put @text in double quotes for a message, control characters as \xNN, cut with "..." when it does
 * not fit; @cap_bytes at least 8. parse_shown is the same without the quotes. Both return @out.
 */
char *parse_quote(const char *text, char *out, size_t cap_bytes);
char *parse_shown(const char *text, char *out, size_t cap_bytes);

/* parse_quote into an array that lives as long as the block around it. */
#define PARSE_QUOTED(text) parse_quote(text, (char[PARSE_QUOTE_BYTES]){0}, PARSE_QUOTE_BYTES)

/* The same in an array of their own, which is there until the end of the block. */
#define PARSE_QUOTED(text) parse_quote(text, (char[PARSE_QUOTE_BYTES]){0}, PARSE_QUOTE_BYTES)
#define PARSE_SHOWN(text)  parse_shown(text, (char[PARSE_QUOTE_BYTES]){0}, PARSE_QUOTE_BYTES)
