/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/http_head - the head of a request or of an answer, read strictly */
#include "proxy/http_head.h"

#include <http_parser.h>

ssize_t http_head_find(const char *bytes, size_t len, size_t *seen, struct http_fault *fault)
{
	const char *line_end;

	/* TLS, SOCKS and other strangers may never send a line */
	if (len > 0 && *seen == 0 && !http_text_is_token_char(bytes[0]))
		return http_fault_set(fault, 400, "it does not begin with a word: this is no HTTP");
	while ((line_end = memchr(bytes + *seen, '\n', len - *seen))) {
		size_t at = (size_t)(line_end - bytes);

		if (at == 0 || bytes[at - 1] != '\r')
			return http_fault_set(fault, 400, "a line of its head ends with a bare LF");
		*seen = at + 1;
		if (*seen > HTTP_HEAD_MAX)
			break;
		if (at >= 3 && bytes[at - 2] == '\n')
			return (ssize_t)*seen;
	}
	if (len >= HTTP_HEAD_MAX)
		return http_fault_set(fault, 431, "its head is too large: expected at most 60 KiB");
	return 0;
}

/* --- lines -------------------------------------------------------------------------------------
 */

/* Printable, or a byte of another alphabet; fields may have tabs, too. */
static bool is_text(struct http_text text, bool tab_ok)
{
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.at[i];

		if (c < 0x20 ? c != '\t' || !tab_ok : c == 0x7f)
			return false;
	}
	return true;
}

/* Take the next line off @rest, without its CR LF. Returns false when there is none. */
static bool next_line(struct http_text *rest, struct http_text *line)
{
	const char *end = memchr(rest->at, '\n', rest->len);

	if (!end || end == rest->at || end[-1] != '\r')
		return false;
	*line = (struct http_text){rest->at, (size_t)(end - rest->at) - 1};
	rest->len -= line->len + 2;
	rest->at = end + 1;
	return true;
}

/* Each line up to the empty one is "NAME:VALUE". */
static int check_fields(struct http_text rest, struct http_fault *fault)
{
	struct http_text line;
	size_t count = 0;

	while (next_line(&rest, &line) && line.len > 0) {
		size_t name_len = http_text_token_len(line);

		if (line.at[0] == ' ' || line.at[0] == '\t')
			return http_fault_set(fault, 400, "a line of its head begins with a blank");
		if (name_len > 0 && name_len < line.len &&
			(line.at[name_len] == ' ' || line.at[name_len] == '\t'))
			return http_fault_set(fault, 400, "a field's name has a blank behind it");
		if (name_len == 0 || name_len == line.len || line.at[name_len] != ':')
			return http_fault_set(fault, 400,
				"a line of its head does not begin with NAME and a colon");
		if (!is_text((struct http_text){line.at + name_len, line.len - name_len}, true))
			return http_fault_set(
				fault, 400, "a field's value has a control character in it");
		if (++count > HTTP_FIELDS_MAX)
			return http_fault_set(
				fault, 431, "its head has too many fields: expected at most 256");
	}
	return rest.len == 0 ? 0 : http_fault_set(fault, 400, "its head ends too early");
}

/* "HTTP/1.1" with its minor number, which is the library's to keep. */
static int check_version(struct http_text text, struct http_fault *fault)
{
	if (http_text_equals(text, "HTTP/1.1") || http_text_equals(text, "HTTP/1.0"))
		return 0;
	if (text.len == 8 && memcmp(text.at, "HTTP/", 5) == 0)
		return http_fault_set(
			fault, 505, "its version is not known here: expected HTTP/1.1 or HTTP/1.0");
	return http_fault_set(
		fault, 400, "its first line is no request: expected METHOD TARGET HTTP/1.1");
}

/* "METHOD TARGET HTTP/1.1", one blank each. */
static int check_request_line(
	struct http_text line, struct http_head *out, struct http_fault *fault)
{
	size_t method_len = http_text_token_len(line);

	if (method_len > HTTP_METHOD_MAX)
		return http_fault_set(fault, 400, "its method has more than 32 letters");
	if (method_len == 0 || method_len + 1 >= line.len || line.at[method_len] != ' ')
		return http_fault_set(fault, 400,
			"its first line is no request: expected METHOD TARGET HTTP/1.1");
	const char *target = line.at + method_len + 1;
	const char *space = memchr(target, ' ', line.len - method_len - 1);
	size_t target_len = space ? (size_t)(space - target) : 0;

	if (target_len == 0)
		return http_fault_set(fault, 400,
			"its first line is no request: expected METHOD TARGET HTTP/1.1");
	out->method = (struct http_text){line.at, method_len};
	out->target = (struct http_text){target, target_len};
	if (!is_text(out->target, false))
		return http_fault_set(fault, 400, "its target has a control character in it");
	return check_version(
		(struct http_text){space + 1, line.len - method_len - target_len - 2}, fault);
}

/* "HTTP/1.1 200 Fine"; what follows 200 may be missing. */
static int check_status_line(struct http_text line, struct http_head *out, struct http_fault *fault)
{
	if (line.len < 12 || line.at[8] != ' ' || (line.len > 12 && line.at[12] != ' ') ||
		check_version((struct http_text){line.at, 8}, fault) < 0)
		return http_fault_set(fault, 502, "its first line is none of HTTP/1.1 or 1.0");
	for (size_t i = 9; i < 12; i++)
		if (line.at[i] < '0' || line.at[i] > '9' || (i == 9 && line.at[i] == '0'))
			return http_fault_set(fault, 502, "its status is not 100 to 999");
	if (line.len > 13)
		out->reason = (struct http_text){line.at + 13, line.len - 13};
	if (!is_text(out->reason, true))
		return http_fault_set(fault, 502, "its first line has a control character in it");
	return 0;
}

/* --- what the library reads --------------------------------------------------------------------
 */

struct reader {
	struct http_head *out;
	bool has_name;
};

/* Heads are given to it whole, so each name and each value comes in one piece. */
static int on_name(http_parser *parser, const char *at, size_t len)
{
	struct reader *reader = parser->data;
	struct http_head *out = reader->out;

	if (out->field_count == HTTP_FIELDS_MAX)
		return 1;
	out->fields[out->field_count++] = (struct http_field){{at, len}, {at + len, 0}};
	reader->has_name = true;
	return 0;
}

static int on_value(http_parser *parser, const char *at, size_t len)
{
	struct reader *reader = parser->data;
	struct http_head *out = reader->out;

	if (!reader->has_name) /* a second piece */
		return 1;
	out->fields[out->field_count - 1].value = http_text_trim((struct http_text){at, len});
	reader->has_name = false;
	return 0;
}

/* 2: no body follows as far as the library is concerned. */
static int on_complete(http_parser *parser)
{
	struct reader *reader = parser->data;

	reader->out->minor = parser->http_minor;
	reader->out->keeps_alive =
		!(parser->flags & F_CONNECTION_CLOSE) &&
		(parser->http_minor == 1 || (parser->flags & F_CONNECTION_KEEP_ALIVE));
	reader->out->is_chunked = parser->flags & F_CHUNKED;
	reader->out->has_length = parser->flags & F_CONTENTLENGTH;
	reader->out->length = reader->out->has_length ? parser->content_length : 0;
	return 2;
}

static int explain(enum http_errno error, struct http_fault *fault)
{
	switch (error) {
	case HPE_UNEXPECTED_CONTENT_LENGTH:
		return http_fault_set(fault, 400,
			"it has two lengths: expected Content-Length or Transfer-Encoding, once");
	case HPE_INVALID_CONTENT_LENGTH:
		return http_fault_set(fault, 400, "its Content-Length is no number");
	case HPE_INVALID_TRANSFER_ENCODING:
		return http_fault_set(fault, 501, "its Transfer-Encoding is not chunked");
	case HPE_HEADER_OVERFLOW:
		return http_fault_set(fault, 431, "its head is too large: expected at most 60 KiB");
	default:
		return http_fault_set(fault, 400, http_errno_description(error));
	}
}

/* @first, if any, stands for the beginning of @head. */
static int read_by_library(enum http_parser_type type, const char *first, struct http_text head,
	struct http_head *out, struct http_fault *fault)
{
	const http_parser_settings settings = {
		.on_header_field = on_name,
		.on_header_value = on_value,
		.on_headers_complete = on_complete,
	};
	struct reader reader = {.out = out};
	http_parser parser;

	http_parser_init(&parser, type);
	parser.data = &reader;
	if (first)
		http_parser_execute(&parser, &settings, first, strlen(first));
	size_t len = http_parser_execute(&parser, &settings, head.at, head.len);
	if (HTTP_PARSER_ERRNO(&parser) != HPE_OK)
		return explain(HTTP_PARSER_ERRNO(&parser), fault);
	/* the end of the head is its end for the library, too */
	return len == head.len ? 0 : http_fault_set(fault, 400, "its head ends too early");
}

/* --- lengths -----------------------------------------------------------------------------------
 */

/* The library's word on lengths and chunks, and ours: only the plain forms. */
static int check_framing(const struct http_head *head, struct http_fault *fault)
{
	const struct http_field *length = http_head_field(head, "Content-Length", NULL);
	const struct http_field *coding = http_head_field(head, "Transfer-Encoding", NULL);

	if ((length && coding) || (length && http_head_field(head, "Content-Length", length + 1)) ||
		(coding && http_head_field(head, "Transfer-Encoding", coding + 1)))
		return http_fault_set(fault, 400,
			"it has two lengths: expected Content-Length or Transfer-Encoding, once");
	if (length) {
		for (size_t i = 0; i < length->value.len; i++)
			if (length->value.at[i] < '0' || length->value.at[i] > '9')
				return http_fault_set(
					fault, 400, "its Content-Length is no number");
		if (!head->has_length || length->value.len == 0)
			return http_fault_set(fault, 400, "its Content-Length is no number");
	}
	if (!coding)
		return 0;
	if (!http_text_is(coding->value, "chunked") || !head->is_chunked)
		return http_fault_set(fault, 501, "its Transfer-Encoding is not chunked");
	if (head->minor == 0)
		return http_fault_set(fault, 400, "HTTP/1.0 has no Transfer-Encoding");
	return 0;
}

/* RFC 9112 3.2: one Host in HTTP/1.1. CONNECT says it all itself, and some tools leave it at that.
 */
static int check_host(const struct http_head *head, struct http_fault *fault)
{
	const struct http_field *host = http_head_field(head, "Host", NULL);

	if (host && http_head_field(head, "Host", host + 1))
		return http_fault_set(fault, 400, "it has two Host fields: expected one");
	if (!host && head->minor == 1 && !http_text_equals(head->method, "CONNECT"))
		return http_fault_set(fault, 400, "it has no Host field, which HTTP/1.1 wants");
	return 0;
}

/* --- the whole ---------------------------------------------------------------------------------
 */

int http_head_read_request(
	const char *bytes, size_t len, struct http_head *out, struct http_fault *fault)
{
	struct http_text rest = {bytes, len}, line;

	out->status = 0;
	out->reason = (struct http_text){0};
	out->field_count = 0;
	if (!next_line(&rest, &line))
		return http_fault_set(fault, 400, "its head ends too early");
	if (check_request_line(line, out, fault) < 0 || check_fields(rest, fault) < 0)
		return -1;
	/* for the library's sake: one that it knows, and whose target is any text */
	const char *target = out->target.at;
	int rc = read_by_library(HTTP_REQUEST, "POST / ",
		(struct http_text){target + out->target.len + 1,
			len - (size_t)(target + out->target.len + 1 - bytes)},
		out, fault);
	return rc < 0 || check_framing(out, fault) < 0 ? -1 : check_host(out, fault);
}

int http_head_read_answer(
	const char *bytes, size_t len, struct http_head *out, struct http_fault *fault)
{
	struct http_text rest = {bytes, len}, line;

	out->method = out->target = out->reason = (struct http_text){0};
	out->field_count = 0;
	if (!next_line(&rest, &line))
		return http_fault_set(fault, 502, "its head ends too early");
	if (check_status_line(line, out, fault) == 0 && check_fields(rest, fault) == 0 &&
		read_by_library(HTTP_RESPONSE, NULL, (struct http_text){bytes, len}, out, fault) ==
			0 &&
		check_framing(out, fault) == 0) {
		out->status = (unsigned)(bytes[9] - '0') * 100 + (unsigned)(bytes[10] - '0') * 10 +
			      (unsigned)(bytes[11] - '0');
		return 0;
	}
	fault->status = 502;
	return -1;
}

int http_head_read_trailer(
	const char *bytes, size_t len, struct http_head *out, struct http_fault *fault)
{
	struct http_text rest = {bytes, len};

	*out = (struct http_head){0};
	if (check_fields(rest, fault) < 0)
		return -1;
	/* what would say how long a message is says nothing here, so no second line is refused */
	for (struct http_text line; next_line(&rest, &line) && line.len > 0;) {
		size_t name_len = http_text_token_len(line);

		out->fields[out->field_count++] = (struct http_field){{line.at, name_len},
			http_text_trim((struct http_text){
				line.at + name_len + 1, line.len - name_len - 1})};
	}
	return 0;
}

const struct http_field *http_head_field(
	const struct http_head *head, const char *name, const struct http_field *from)
{
	for (const struct http_field *field = from ? from : head->fields;
		field < head->fields + head->field_count; field++)
		if (http_text_is(field->name, name))
			return field;
	return NULL;
}

bool http_head_lists(const struct http_head *head, const char *name, const char *member)
{
	for (const struct http_field *field = NULL; (field = http_head_field(head, name, field));
		field++) {
		struct http_text rest = field->value, one;

		while (http_text_next(&rest, &one))
			if (http_text_is(one, member))
				return true;
	}
	return false;
}
