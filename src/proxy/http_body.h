/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/http_body - where a message's body ends, and how it goes on */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proxy/http_fault.h"
#include "proxy/http_text.h"

/*
 * How it works
 *
 * Bytes are looked at where they lie, and what goes on stands there afterwards. A body of known
 * length, or one until the end, goes on as it is. Of a body in chunks every size is read and
 * written anew, without extensions, so that only one reading of it is possible: chunks stay as
 * large as they were, and a part of one goes on at once. Lines of sizes and the trailer are taken
 * whole. For who does not know chunks (HTTP/1.0) only what is in them goes on. What goes on is
 * never more than what came, as sizes are written shorter or as they were.
 */
enum http_body_state {
	HTTP_BODY_DONE,      /* the message has ended: what follows belongs to the next one */
	HTTP_BODY_BYTES,     /* left bytes follow */
	HTTP_BODY_UNTIL_END, /* all that comes */
	HTTP_BODY_SIZE,      /* the line with a chunk's size */
	HTTP_BODY_CHUNK,     /* left bytes of a chunk */
	HTTP_BODY_CHUNK_END, /* the CR LF behind it */
	HTTP_BODY_TRAILER,   /* fields and an empty line behind the last chunk */
};

#define HTTP_BODY_LINE_MAX    4096        /* of a chunk's size with its extensions */
#define HTTP_BODY_TRAILER_MAX (16 * 1024) /* with its empty line; what a buffer must hold */

struct http_body {
	enum http_body_state state;
	bool drops_chunks; /* only what is in the chunks goes on */
	uint64_t left;
	size_t seen; /* how far the trailer was looked at */
};

/* At the beginning of a body: of @length bytes (0: there is none); in chunks; until the end. */
void http_body_init_length(struct http_body *body, uint64_t length);
void http_body_init_chunked(struct http_body *body, bool drops_chunks);
void http_body_init_until_end(struct http_body *body);

/*
 * What of the @len bytes at @bytes belongs to the body is taken, and replaced there by what goes
 * on. Returns how many were taken, with how many go on in @out_len: fewer than @len when the
 * message has ended, or when a line, or the trailer, is not whole yet (HTTP_BODY_TRAILER_MAX bytes
 * always suffice). Or -1 with @fault (400); then what goes on before it is of no use.
 */
ssize_t http_body_feed(
	struct http_body *body, char *bytes, size_t len, size_t *out_len, struct http_fault *fault);

static inline bool http_body_is_done(const struct http_body *body)
{
	return body->state == HTTP_BODY_DONE;
}

/* The connection has ended. Was that the end of the body? */
static inline bool http_body_may_end(const struct http_body *body)
{
	return body->state == HTTP_BODY_DONE || body->state == HTTP_BODY_UNTIL_END;
}
