/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/http_way - one way of HTTP between two sockets: what came, what is understood, what goes on
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "proxy/http_body.h"
#include "proxy/http_head.h"

/*
 * How it works
 *
 * A buffer, borrowed while there are bytes in it, holds what came and was not looked at yet (raw),
 * and in front of it what a body's machine made of some of it (ready), which goes on next. A text
 * of our own, such as a head that was written anew, goes before both. Nothing is read while
 * anything waits to go on, so what waits is one buffer at most, and a slow reader slows its writer.
 */
#define HTTP_WAY_BYTES                                                             \
	(63 * 1024) /* more than any head, less than RELAY_PUSH_MAX with a new one \
		     */

/* A socket as the two ways that meet there see it: events set the flags, EAGAIN clears them. */
struct http_sock {
	int fd; /* nonblocking; -1: there is none */
	bool is_readable, is_writable;
	/* a short read does not mean that it is empty: its end, a fault or an urgent byte has come
	 */
	bool reads_to_end;
};

/* Starts as all zero. */
struct http_way {
	char *text; /* owned; kept when it is sent, as it may be sent again */
	size_t text_len, text_sent;
	char *buffer; /* HTTP_WAY_BYTES; NULL: empty */
	size_t ready_at, ready_len;
	size_t raw_at, raw_len; /* behind what is ready */
	size_t seen;            /* of raw, when a head is looked for (http_head_find) */
};

/* Free what it has. All zero afterwards. */
void http_way_fini(struct http_way *way);

/* Send @text (owned from now on, NULL is -ENOMEM) before all else. Returns 0 or -ENOMEM. */
int http_way_set_text(struct http_way *way, char *text, size_t len);

/* Nothing waits to go on any more. */
void http_way_drop(struct http_way *way);

/* Does anything wait to go on? */
static inline bool http_way_has_ready(const struct http_way *way)
{
	return way->text_sent < way->text_len || way->ready_len > 0;
}

/* What came, and was not looked at yet; NULL if that is nothing. */
static inline char *http_way_raw(const struct http_way *way)
{
	return way->raw_len > 0 ? way->buffer + way->raw_at : NULL;
}

/* The first @len raw bytes are done with. */
void http_way_skip(struct http_way *way, size_t len);

/* Have @body look at raw bytes, when nothing is ready. Returns how many it took, or -1 with @fault.
 */
ssize_t http_way_feed(struct http_way *way, struct http_body *body, struct http_fault *fault);

/* Receive more, when nothing is ready. Returns how much; 0: the end; -EAGAIN; -ENOBUFS: there is no
 * room beside what was not looked at; or another -errno. */
ssize_t http_way_receive(struct http_way *way, struct http_sock *from);

/* Send what is ready. Returns 0 when all of it is gone; -EAGAIN; or another -errno. */
int http_way_send(struct http_way *way, struct http_sock *to);
