/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/http_head - the head of a request or of an answer, read strictly */
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
 * A head is found line by line, then read whole, in two layers. This module's own is strict about
 * lines: CR LF at each end and nowhere else, no controls, no blank before a colon, no folded lines,
 * HTTP/1.0 or 1.1. Debian's libhttp-parser, which is not built in its strict form (it takes "Ho
 * st", a bare LF and folded lines), reads what is left of that: fields, lengths, whether the
 * connection stays. It knows a list of methods only, so it is shown another one where that makes no
 * difference.
 *
 * Two readers of a message must not see two different messages (request smuggling): one length at
 * most, a length or chunks and not both, and no coding but chunks.
 */
#define HTTP_HEAD_MAX   (60 * 1024) /* bytes, its empty line included */
#define HTTP_FIELDS_MAX 256
#define HTTP_METHOD_MAX 32

#define HTTP_UNTIL_END UINT64_MAX /* a length that only the end of the connection tells */

struct http_field {
	struct http_text name;  /* a token */
	struct http_text value; /* without blanks around it */
};

/* Texts point into the bytes that were read. */
struct http_head {
	struct http_text method, target; /* of a request */
	unsigned status;                 /* of an answer, 100 to 999 */
	struct http_text reason;         /* of an answer, maybe empty */
	unsigned minor;                  /* of HTTP/1.0 or HTTP/1.1 */
	bool keeps_alive;                /* who sent it goes on with the connection */
	bool is_chunked;
	bool has_length;
	uint64_t length; /* if has_length */
	struct http_field fields[HTTP_FIELDS_MAX];
	size_t field_count;
};

/*
 * Where does the head at @bytes end? @seen, 0 at first, is how far was looked; @bytes may have
 * moved, and grown at the end. Returns its length with the empty line; 0: there is more to come; or
 * -1 with @fault, as soon as something is wrong: 400, or 431 for one of more than HTTP_HEAD_MAX.
 */
ssize_t http_head_find(const char *bytes, size_t len, size_t *seen, struct http_fault *fault);

/* Is this an empty line, which may stand before a request (RFC 9112 2.2)? */
static inline bool http_head_is_blank(const char *bytes, size_t len)
{
	return len >= 2 && bytes[0] == '\r' && bytes[1] == '\n';
}

/*
 * Read what http_head_find found. Returns 0, or -1 with @fault: 400, 431, 501 (a coding), 505 (a
 * version) for a request, 502 for an answer. An answer's is_chunked and length are what its fields
 * say, which does not count for all (proxy/http_forward).
 */
int http_head_read_request(
	const char *bytes, size_t len, struct http_head *out, struct http_fault *fault);
int http_head_read_answer(
	const char *bytes, size_t len, struct http_head *out, struct http_fault *fault);

/* The same for the fields behind the last chunk, with their empty line. */
int http_head_read_trailer(
	const char *bytes, size_t len, struct http_head *out, struct http_fault *fault);

/* The first field of that name from @from on, NULL: there is none. @from is NULL or one of them. */
const struct http_field *http_head_field(
	const struct http_head *head, const char *name, const struct http_field *from);

/* Does a field of that name have @member in its list ("close, TE")? */
bool http_head_lists(const struct http_head *head, const char *name, const char *member);
