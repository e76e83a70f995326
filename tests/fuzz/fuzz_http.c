/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_http - any bytes as requests or answers: what goes on can be read in one way only */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/http_forward.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(condition)                                                                 \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

#define SIZE_MAX_BYTES (256 * 1024)

static struct http_head head, again;

static char *copy_of(const char *bytes, size_t len)
{
	char *copy = malloc(len ? len : 1);

	must(copy);
	memcpy(copy, bytes, len);
	return copy;
}

static size_t count(const struct http_head *of, const char *name)
{
	size_t n = 0;

	for (const struct http_field *field = NULL; (field = http_head_field(of, name, field));
		field++)
		n++;
	return n;
}

/* How many bytes of @bytes were the body; -1: refused, -2: it ends too early. Its text is in @out.
 */
static ssize_t run_body(struct http_body body, const char *bytes, size_t len, size_t step,
	char *out, size_t *out_len)
{
	char *buffer = malloc(len ? len : 1);
	size_t have = 0, given = 0, taken = 0, goes_on;
	struct http_fault fault = {0};

	must(buffer);
	*out_len = 0;
	while (!http_body_is_done(&body)) {
		size_t piece = step < len - given ? step : len - given;

		memcpy(buffer + have, bytes + given, piece);
		given += piece;
		have += piece;
		ssize_t some = http_body_feed(&body, buffer, have, &goes_on, &fault);
		if (some < 0) {
			must(fault.status == 400 && fault.why);
			free(buffer);
			return -1;
		}
		must((size_t)some <= have && goes_on <= (size_t)some);
		memcpy(out + *out_len, buffer, goes_on);
		*out_len += goes_on;
		taken += (size_t)some;
		have -= (size_t)some;
		memmove(buffer, buffer + some, have);
		if (given == len)
			break;
	}
	free(buffer);
	return http_body_may_end(&body) ? (ssize_t)taken : -2;
}

/* The same however it is cut, and what goes on is understood as it is. */
static ssize_t check_body(struct http_body body, const char *bytes, size_t len, size_t step)
{
	char *whole = malloc(len + 1), *cut = malloc(len + 1);
	size_t whole_len, cut_len, third_len;

	must(whole && cut);
	ssize_t taken = run_body(body, bytes, len, len, whole, &whole_len);
	must(run_body(body, bytes, len, step, cut, &cut_len) == taken);
	if (taken != -1) {
		must(whole_len == cut_len && memcmp(whole, cut, cut_len) == 0);
		if (!body.drops_chunks && taken >= 0) {
			must(run_body(body, cut, cut_len, cut_len, whole, &third_len) ==
				(ssize_t)cut_len);
			must(third_len == cut_len && memcmp(whole, cut, cut_len) == 0);
		}
	}
	free(whole);
	free(cut);
	return taken;
}

/* Nothing in it that another reader might take for the end of a line, or of the head. */
static void check_text(const char *bytes, size_t len)
{
	size_t seen = 0;
	struct http_fault fault;

	must(!memchr(bytes, '\0', len));
	must(http_head_find(bytes, len, &seen, &fault) == (ssize_t)len);
	for (size_t i = 0; i < len; i++)
		must(bytes[i] != '\r' || (i + 1 < len && bytes[i + 1] == '\n'));
	must(!memmem(bytes, len, "\r\n ", 3) && !memmem(bytes, len, "\r\n\t", 3));
}

static struct http_exchange exchange;

/* How much of the bytes is a request that is fine; 0: none. */
static size_t run_request(const char *bytes, size_t len, size_t head_len, size_t step)
{
	struct http_target target;
	struct http_fault fault;
	struct http_body body;
	size_t out_len;

	if (http_head_read_request(bytes, head_len, &head, &fault) < 0) {
		must(fault.status >= 400 && fault.status < 600 && fault.why);
		return 0;
	}
	must(!(head.is_chunked && head.has_length));
	http_forward_begin(&exchange, &head);
	http_forward_request_body(&body, &head);
	if (http_target_read(head.method, head.target, &target, &fault) == 0 && !target.is_tunnel) {
		must(target.host[0] && target.port > 0 && !strpbrk(target.host, "/@ \r\n%"));
		char *out = http_forward_request(&head, &target, &exchange, &out_len);
		must(out);
		check_text(out, out_len);
		must(http_head_read_request(out, out_len, &again, &fault) == 0);
		must(again.method.len == head.method.len &&
			memcmp(again.method.at, head.method.at, head.method.len) == 0);
		must(again.target.at[0] == '/' || again.target.at[0] == '*');
		must(again.is_chunked == head.is_chunked && again.has_length == head.has_length &&
			again.length == head.length);
		must(count(&again, "Host") == 1 && count(&again, "Proxy-Authorization") == 0);
		must(count(&again, "Content-Length") + count(&again, "Transfer-Encoding") <= 1);
		free(out);
	} else {
		must(target.is_tunnel || fault.status == 400);
	}
	ssize_t taken = check_body(body, bytes + head_len, len - head_len, step);
	return taken < 0 ? 0 : head_len + (size_t)taken;
}

static size_t run_answer(const char *bytes, size_t len, size_t head_len, size_t step)
{
	struct http_answer answer;
	struct http_fault fault;
	size_t out_len;

	if (http_head_read_answer(bytes, head_len, &head, &fault) < 0 ||
		http_forward_answer(&head, &exchange, &answer, &fault) < 0) {
		must(fault.status == 502 && fault.why);
		return 0;
	}
	char *out = http_forward_answer_head(&head, &answer, 0, &out_len);
	must(out);
	check_text(out, out_len);
	must(http_head_read_answer(out, out_len, &again, &fault) == 0);
	must(again.status == head.status);
	must(count(&again, "Content-Length") + count(&again, "Transfer-Encoding") <= 1);
	must(exchange.client_minor > 0 || !again.is_chunked);
	if (answer.kind == HTTP_ANSWER_FINAL && head.status != 304 && !exchange.is_head) {
		/* who reads it finds the body where we do, or its end is the connection's */
		must(again.keeps_alive == answer.keeps_client);
		if (answer.body.state == HTTP_BODY_SIZE)
			must(again.is_chunked || (answer.body.drops_chunks && !again.has_length));
		else if (answer.body.state == HTTP_BODY_BYTES)
			must(again.has_length && again.length == answer.body.left);
		else if (answer.body.state == HTTP_BODY_UNTIL_END)
			must(!again.is_chunked && !again.has_length && !answer.keeps_client);
	}
	free(out);
	ssize_t taken = check_body(answer.body, bytes + head_len, len - head_len, step);
	return taken < 0 || answer.kind == HTTP_ANSWER_UPGRADE ? 0 : head_len + (size_t)taken;
}

/* The end of the head is where it is, and a fault what it is, whatever comes at once. */
static ssize_t find_head(const char *bytes, size_t len, size_t step)
{
	size_t seen = 0, pieces_seen = 0;
	struct http_fault fault, same;
	ssize_t found = http_head_find(bytes, len, &seen, &fault), pieces = 0;

	for (size_t part = 0; pieces == 0 && part <= len; part += step) {
		char *copy = copy_of(bytes, part);
		pieces = http_head_find(copy, part, &pieces_seen, &same);
		free(copy);
	}
	if (pieces == 0)
		pieces = http_head_find(bytes, len, &pieces_seen, &same);
	must(pieces == found);
	must(found >= 0 || fault.status == same.status);
	return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2 || size > SIZE_MAX_BYTES)
		return 0;
	/* the first byte: requests or answers, and to what; the second: how they are cut */
	bool is_answer = data[0] & 1;
	size_t step = (size_t)data[1] + 1, len = size - 2;
	char *bytes = copy_of((const char *)data + 2, len), *at = bytes;

	exchange = (struct http_exchange){
		.is_head = data[0] & 2,
		.wants_upgrade = data[0] & 4,
		.keeps_client = !(data[0] & 8) && !(data[0] & 16),
		.client_minor = data[0] & 8 ? 0 : 1,
	};
	for (;;) {
		size_t left = len - (size_t)(at - bytes), taken;
		ssize_t head_len = find_head(at, left, step);

		if (head_len <= 0)
			break;
		taken = is_answer ? run_answer(at, left, (size_t)head_len, step)
				  : run_request(at, left, (size_t)head_len, step);
		if (taken == 0)
			break;
		at += taken;
	}
	free(bytes);
	return 0;
}
