/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/http_body - where a message's body ends, and how it goes on */
#include "proxy/http_body.h"

#include <stdio.h>

#include "proxy/http_fields.h"
#include "proxy/http_head.h"

#define SIZE_DIGITS_MAX 15 /* of a chunk, without zeros in front: never near an overflow */

void http_body_init_length(struct http_body *body, uint64_t length)
{
	*body = (struct http_body){
		.state = length > 0 ? HTTP_BODY_BYTES : HTTP_BODY_DONE, .left = length};
}

void http_body_init_chunked(struct http_body *body, bool drops_chunks)
{
	*body = (struct http_body){.state = HTTP_BODY_SIZE, .drops_chunks = drops_chunks};
}

void http_body_init_until_end(struct http_body *body)
{
	*body = (struct http_body){.state = HTTP_BODY_UNTIL_END};
}

/* What a step looks at, and where what goes on is put: never behind what was taken. */
struct feed {
	char *bytes;
	size_t len, taken, out_len;
};

static void put(struct feed *feed, const char *text, size_t len)
{
	memmove(feed->bytes + feed->out_len, text, len);
	feed->out_len += len;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "1f", or "1f;name=value": what follows the size is dropped (RFC 9112 7.1.1), but must be text. */
static int read_size(struct http_text line, uint64_t *size, struct http_fault *fault)
{
	size_t at = 0, zeros;

	while (at < line.len && line.at[at] == '0')
		at++;
	zeros = at;
	for (*size = 0; at < line.len && hex_digit(line.at[at]) >= 0; at++) {
		if (at - zeros == SIZE_DIGITS_MAX)
			return http_fault_set(fault, 400, "a chunk's size is too large");
		*size = *size * 16 + (uint64_t)hex_digit(line.at[at]);
	}
	struct http_text rest = http_text_trim((struct http_text){line.at + at, line.len - at});
	if (at == 0 || (rest.len > 0 && rest.at[0] != ';') || (rest.len == 0 && at < line.len))
		return http_fault_set(fault, 400, "a chunk's size is no hexadecimal number");
	for (size_t i = 0; i < rest.len; i++)
		if (((unsigned char)rest.at[i] < 0x20 && rest.at[i] != '\t') || rest.at[i] == 0x7f)
			return http_fault_set(
				fault, 400, "a chunk's extension has a control character in it");
	return 0;
}

/* Returns 1, or 0 when more must come first, or -1. */
static int feed_size(struct http_body *body, struct feed *feed, struct http_fault *fault)
{
	const char *at = feed->bytes + feed->taken;
	size_t len = feed->len - feed->taken;
	const char *end = memchr(at, '\n', len);
	char text[20];

	if (!end && len < HTTP_BODY_LINE_MAX) {
		/* not only when the line is whole: it may never be */
		if (len > 0 && hex_digit(at[0]) < 0)
			return http_fault_set(
				fault, 400, "a chunk's size is no hexadecimal number");
		return 0;
	}
	if (!end || end - at >= HTTP_BODY_LINE_MAX)
		return http_fault_set(fault, 400, "a chunk's extensions are too long");
	if (end == at || end[-1] != '\r')
		return http_fault_set(fault, 400, "a chunk's size ends with a bare LF");
	if (read_size((struct http_text){at, (size_t)(end - at) - 1}, &body->left, fault) < 0)
		return -1;
	body->state = body->left > 0 ? HTTP_BODY_CHUNK : HTTP_BODY_TRAILER;
	feed->taken += (size_t)(end - at) + 1;
	if (!body->drops_chunks)
		put(feed, text,
			(size_t)snprintf(
				text, sizeof(text), "%llx\r\n", (unsigned long long)body->left));
	return 1;
}

static int feed_bytes(struct http_body *body, struct feed *feed)
{
	size_t len = feed->len - feed->taken;

	if (body->state != HTTP_BODY_UNTIL_END) {
		if (len > body->left)
			len = (size_t)body->left;
		body->left -= len;
	}
	put(feed, feed->bytes + feed->taken, len);
	feed->taken += len;
	if (body->left > 0 || body->state == HTTP_BODY_UNTIL_END)
		return 0;
	body->state = body->state == HTTP_BODY_CHUNK ? HTTP_BODY_CHUNK_END : HTTP_BODY_DONE;
	return 1;
}

static int feed_chunk_end(struct http_body *body, struct feed *feed, struct http_fault *fault)
{
	const char *at = feed->bytes + feed->taken;
	size_t len = feed->len - feed->taken;

	if ((len > 0 && at[0] != '\r') || (len > 1 && at[1] != '\n'))
		return http_fault_set(fault, 400, "a chunk does not end where its size says");
	if (len < 2)
		return 0;
	feed->taken += 2;
	if (!body->drops_chunks)
		put(feed, "\r\n", 2);
	body->state = HTTP_BODY_SIZE;
	return 1;
}

/* The fields that may go on, one after the other; each stands where it stood or before. */
static void put_trailer(struct feed *feed, const struct http_head *trailer)
{
	for (size_t i = 0; i < trailer->field_count; i++) {
		const struct http_field *field = &trailer->fields[i];

		if (!http_fields_may_trail(field->name))
			continue;
		put(feed, field->name.at, field->name.len);
		put(feed, ":", 1);
		put(feed, field->value.at, field->value.len);
		put(feed, "\r\n", 2);
	}
}

static int feed_trailer(struct http_body *body, struct feed *feed, struct http_fault *fault)
{
	const char *at = feed->bytes + feed->taken;
	size_t len = feed->len - feed->taken;
	struct http_head trailer;
	ssize_t whole;

	if (http_head_is_blank(at, len)) {
		whole = 2;
	} else {
		if (len == 0 || (len == 1 && at[0] == '\r'))
			return 0;
		whole = http_head_find(at, len, &body->seen, fault);
		if (whole < 0)
			return -1;
		if (whole > HTTP_BODY_TRAILER_MAX || (whole == 0 && len >= HTTP_BODY_TRAILER_MAX))
			return http_fault_set(fault, 400, "its trailer is too large");
		if (whole == 0)
			return 0;
		if (http_head_read_trailer(at, (size_t)whole, &trailer, fault) < 0)
			return -1;
	}
	feed->taken += (size_t)whole;
	if (!body->drops_chunks) {
		if (whole > 2)
			put_trailer(feed, &trailer);
		put(feed, "\r\n", 2);
	}
	body->state = HTTP_BODY_DONE;
	return 1;
}

ssize_t http_body_feed(
	struct http_body *body, char *bytes, size_t len, size_t *out_len, struct http_fault *fault)
{
	struct feed feed = {.bytes = bytes, .len = len};
	int rc = 1;

	while (rc > 0) {
		switch (body->state) {
		case HTTP_BODY_DONE:
			rc = 0;
			break;
		case HTTP_BODY_SIZE:
			rc = feed_size(body, &feed, fault);
			break;
		case HTTP_BODY_BYTES:
		case HTTP_BODY_UNTIL_END:
		case HTTP_BODY_CHUNK:
			rc = feed_bytes(body, &feed);
			break;
		case HTTP_BODY_CHUNK_END:
			rc = feed_chunk_end(body, &feed, fault);
			break;
		case HTTP_BODY_TRAILER:
			rc = feed_trailer(body, &feed, fault);
			if (rc < 0)
				fault->status = 400; /* 431 is for heads */
			break;
		}
	}
	*out_len = feed.out_len;
	return rc < 0 ? -1 : (ssize_t)feed.taken;
}
