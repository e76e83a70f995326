/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/http_forward - what a request becomes for its server, and an answer for its client */
#include "proxy/http_forward.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/http_fields.h"

/* --- the text of a head ------------------------------------------------------------------------
 */

struct text {
	char *bytes;
	size_t len, cap_bytes;
};

/* Room for all that was in @head, for @more and for what is added here. */
static bool text_new(struct text *text, const struct http_head *head, size_t more)
{
	*text = (struct text){.cap_bytes = more + 512};
	for (size_t i = 0; i < head->field_count; i++)
		text->cap_bytes += head->fields[i].name.len + head->fields[i].value.len + 4;
	text->bytes = malloc(text->cap_bytes);
	return text->bytes;
}

static void put(struct text *text, const char *bytes, size_t len)
{
	if (len > 0) /* else @bytes may be NULL */
		memcpy(text->bytes + text->len, bytes, len);
	text->len += len;
}

static void put_text(struct text *text, struct http_text piece)
{
	put(text, piece.at, piece.len);
}

__attribute__((format(printf, 2, 3))) static void put_format(
	struct text *text, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	text->len += (size_t)vsnprintf(
		text->bytes + text->len, text->cap_bytes - text->len, format, args);
	va_end(args);
}

static void put_field(struct text *text, const struct http_field *field)
{
	put_text(text, field->name);
	put(text, ": ", 2);
	put_text(text, field->value);
	put(text, "\r\n", 2);
}

static void put_all_of(struct text *text, const struct http_head *head, const char *name)
{
	for (const struct http_field *field = NULL; (field = http_head_field(head, name, field));
		field++)
		put_field(text, field);
}

static void put_chunked(struct text *text)
{
	put_format(text, "Transfer-Encoding: chunked\r\n");
}

static void put_length(struct text *text, const struct http_head *head)
{
	put_format(text, "Content-Length: %llu\r\n", (unsigned long long)head->length);
}

/* --- requests ----------------------------------------------------------------------------------
 */

static bool has_body(const struct http_head *request)
{
	return request->is_chunked || (request->has_length && request->length > 0);
}

void http_forward_begin(struct http_exchange *exchange, const struct http_head *request)
{
	static const char *const safe[] = {
		"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", NULL};

	*exchange = (struct http_exchange){
		.is_head = http_text_equals(request->method, "HEAD"),
		.client_minor = request->minor,
		/* RFC 9112 9.3: a proxy keeps no connection of an HTTP/1.0 client */
		.keeps_client = request->minor == 1 && request->keeps_alive,
		.wants_upgrade = request->minor == 1 &&
				 http_head_lists(request, "Connection", "upgrade") &&
				 http_head_field(request, "Upgrade", NULL) &&
				 !http_head_lists(request, "Upgrade", "h2c"),
	};
	for (size_t i = 0; safe[i]; i++)
		exchange->is_safe |= http_text_equals(request->method, safe[i]);
	exchange->is_safe &= !has_body(request) && !exchange->wants_upgrade;
}

void http_forward_request_body(struct http_body *body, const struct http_head *request)
{
	if (request->is_chunked)
		http_body_init_chunked(body, false);
	else
		http_body_init_length(body, request->has_length ? request->length : 0);
}

long http_forward_hops(const struct http_head *request)
{
	const struct http_field *field = http_head_field(request, "Max-Forwards", NULL);
	long hops = 0;

	if (!field || field->value.len == 0 || field->value.len > 9 ||
		!(http_text_equals(request->method, "OPTIONS") ||
			http_text_equals(request->method, "TRACE")))
		return -1;
	for (size_t i = 0; i < field->value.len; i++) {
		char c = field->value.at[i];

		if (c < '0' || c > '9')
			return -1;
		hops = hops * 10 + (c - '0');
	}
	return hops;
}

/* Does a field of the request go to the server as it came? */
static bool goes_on(const struct http_head *request, const struct http_field *field)
{
	/* RFC 9110 10.1.1: there is nobody who would understand its answer */
	if (request->minor == 0 && http_text_is(field->name, "Expect"))
		return false;
	if (http_text_is(field->name, "Max-Forwards") && http_forward_hops(request) > 0)
		return false;
	return !http_fields_stays(request, field->name);
}

char *http_forward_request(const struct http_head *request, const struct http_target *target,
	const struct http_exchange *exchange, size_t *out_len)
{
	/* the authority comes twice if there is no path */
	struct text text;

	if (!text_new(&text, request, request->method.len + 2 * request->target.len))
		return NULL;
	put_text(&text, request->method);
	put(&text, " ", 1);
	if (target->path.len == 0 && http_text_equals(request->method, "OPTIONS"))
		put(&text, "*", 1); /* RFC 9112 3.2.4 */
	else if (target->path.len == 0 || target->path.at[0] != '/')
		put(&text, "/", 1);
	put_text(&text, target->path);
	put_format(&text, " HTTP/1.1\r\nHost: ");
	put_text(&text, target->authority);
	put(&text, "\r\n", 2);
	for (size_t i = 0; i < request->field_count; i++)
		if (goes_on(request, &request->fields[i]))
			put_field(&text, &request->fields[i]);
	if (request->is_chunked)
		put_chunked(&text);
	else if (request->has_length)
		put_length(&text, request);
	if (http_forward_hops(request) > 0)
		put_format(&text, "Max-Forwards: %ld\r\n", http_forward_hops(request) - 1);
	bool te = request->minor == 1 && http_head_lists(request, "TE", "trailers");
	if (exchange->wants_upgrade)
		put_all_of(&text, request, "Upgrade");
	if (te)
		put_format(&text, "TE: trailers\r\n");
	if (exchange->wants_upgrade || te)
		put_format(&text, "Connection: %s%s%s\r\n",
			exchange->wants_upgrade ? "upgrade" : "",
			exchange->wants_upgrade && te ? ", " : "", te ? "TE" : "");
	put_format(&text, "Via: 1.%u " HTTP_VIA "\r\n\r\n", request->minor);
	*out_len = text.len;
	return text.bytes;
}

/* --- answers -----------------------------------------------------------------------------------
 */

static bool is_without_body(const struct http_head *head, const struct http_exchange *exchange)
{
	return head->status < 200 || head->status == 204 || head->status == 304 ||
	       exchange->is_head;
}

int http_forward_answer(const struct http_head *head, const struct http_exchange *exchange,
	struct http_answer *out, struct http_fault *fault)
{
	*out = (struct http_answer){.kind = HTTP_ANSWER_FINAL};
	http_body_init_length(&out->body, 0);
	if (head->status == 101) {
		if (!exchange->wants_upgrade || !http_head_field(head, "Upgrade", NULL))
			return http_fault_set(
				fault, 502, "it changes the protocol, which nobody asked for");
		out->kind = HTTP_ANSWER_UPGRADE;
		return 0;
	}
	if (head->status < 200) {
		/* RFC 9110 15.2: HTTP/1.0 did not define any 1xx */
		out->kind = exchange->client_minor > 0 ? HTTP_ANSWER_INTERIM : HTTP_ANSWER_HIDDEN;
		return 0;
	}
	out->keeps_client = exchange->keeps_client;
	out->keeps_server = head->keeps_alive;
	if (is_without_body(head, exchange))
		return 0;
	if (head->is_chunked) {
		http_body_init_chunked(&out->body, exchange->client_minor == 0);
	} else if (head->has_length) {
		http_body_init_length(&out->body, head->length);
	} else {
		http_body_init_until_end(&out->body);
		out->keeps_client = out->keeps_server = false;
	}
	return 0;
}

const char *http_forward_date(time_t now, char *out)
{
	static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char *const months[] = {
		"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	struct tm tm = {.tm_mday = 1};

	/* not strftime, whose names depend on the locale */
	gmtime_r(&now, &tm);
	snprintf(out, HTTP_DATE_BYTES, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday],
		tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
	return out;
}

static void put_connection(
	struct text *text, const struct http_head *head, const struct http_answer *answer)
{
	/* 426 without the protocol that it wants would say nothing (RFC 9110 15.5.22) */
	bool upgrades = (head->status == 101 || head->status == 426) &&
			http_head_field(head, "Upgrade", NULL);
	bool closes = answer->kind == HTTP_ANSWER_FINAL && !answer->keeps_client;

	if (upgrades)
		put_all_of(text, head, "Upgrade");
	if (upgrades || closes)
		put_format(text, "Connection: %s%s%s\r\n", closes ? "close" : "",
			upgrades && closes ? ", " : "", upgrades ? "upgrade" : "");
}

char *http_forward_answer_head(
	const struct http_head *head, const struct http_answer *answer, time_t now, size_t *out_len)
{
	char date[HTTP_DATE_BYTES];
	struct text text;

	if (!text_new(&text, head, head->reason.len))
		return NULL;
	put_format(&text, "HTTP/1.1 %u ", head->status);
	put_text(&text, head->reason);
	put(&text, "\r\n", 2);
	for (size_t i = 0; i < head->field_count; i++)
		if (!http_fields_stays(head, head->fields[i].name))
			put_field(&text, &head->fields[i]);
	/* for HEAD and 304 a length is that of another answer */
	if (answer->body.state == HTTP_BODY_SIZE && !answer->body.drops_chunks)
		put_chunked(&text);
	else if (head->has_length && head->status >= 200 && head->status != 204)
		put_length(&text, head);
	put_connection(&text, head, answer);
	if (answer->kind == HTTP_ANSWER_FINAL && !http_head_field(head, "Date", NULL))
		put_format(
			&text, "Date: %s\r\n", http_forward_date(now, date)); /* RFC 9110 6.6.1 */
	put_format(&text, "Via: 1.%u " HTTP_VIA "\r\n\r\n", head->minor);
	*out_len = text.len;
	return text.bytes;
}
