/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/http_text - pieces of text that lie in somebody else's bytes */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

/* Not NUL-terminated; gone when what it points into is. */
struct http_text {
	const char *at;
	size_t len;
};

/* Letters count as the same in either case, as in names of fields, options and hosts. */
static inline bool http_text_is(struct http_text text, const char *word)
{
	return strlen(word) == text.len && strncasecmp(text.at, word, text.len) == 0;
}

/* The same, letter by letter, as methods are compared. */
static inline bool http_text_equals(struct http_text text, const char *word)
{
	return strlen(word) == text.len && memcmp(text.at, word, text.len) == 0;
}

/* Without blanks and tabs around it. */
static inline struct http_text http_text_trim(struct http_text text)
{
	while (text.len > 0 && (text.at[0] == ' ' || text.at[0] == '\t'))
		text.at++, text.len--;
	while (text.len > 0 && (text.at[text.len - 1] == ' ' || text.at[text.len - 1] == '\t'))
		text.len--;
	return text;
}

/* A character of a token (RFC 9110 5.6.2): of a method, or of a field's name. */
static inline bool http_text_is_token_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* How many bytes of @text from the beginning are characters of a token. */
static inline size_t http_text_token_len(struct http_text text)
{
	size_t len = 0;

	while (len < text.len && http_text_is_token_char(text.at[len]))
		len++;
	return len;
}

/*
 * The next member of a list such as "close, upgrade": moves @rest behind it. Members may be empty.
 * Returns false when there is none left.
 */
static inline bool http_text_next(struct http_text *rest, struct http_text *member)
{
	if (!rest->at)
		return false;
	const char *comma = memchr(rest->at, ',', rest->len);
	size_t len = comma ? (size_t)(comma - rest->at) : rest->len;

	*member = http_text_trim((struct http_text){rest->at, len});
	*rest = comma ? (struct http_text){comma + 1, rest->len - len - 1} : (struct http_text){0};
	return true;
}
