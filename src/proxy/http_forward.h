/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/http_forward - what a request becomes for its server, and an answer for its client */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "proxy/http_body.h"
#include "proxy/http_head.h"
#include "proxy/http_target.h"

/*
 * How it works
 *
 * RFC 9110 7.6 and RFC 9112. A request goes to its server in origin form ("/path"), with the Host
 * of its target whatever Host it came with. Fields for one connection stay here, those that
 * Connection names as well; lengths are written anew from what was understood, Via is added. Both
 * ways speak HTTP/1.1; who asked with HTTP/1.0 gets no chunks, no 1xx, and is not asked again.
 *
 * An upgrade goes through if both sides name it; h2c never does: its first request would be for the
 * server to read in two ways.
 */
#define HTTP_VIA "nswrap"

/* A request, as far as its answer depends on it. */
struct http_exchange {
	bool is_head;       /* the answer has no body */
	bool is_safe;       /* may be sent again when nothing was answered (RFC 9110 9.2.2) */
	bool wants_upgrade; /* 101 is an answer to it */
	bool keeps_client;  /* the client goes on with its connection, and may be asked to */
	unsigned client_minor;
};

void http_forward_begin(struct http_exchange *exchange, const struct http_head *request);

/* How the body of @request goes on. */
void http_forward_request_body(struct http_body *body, const struct http_head *request);

/*
 * How many may still pass @request on, where that is limited: OPTIONS and TRACE with Max-Forwards
 * (RFC 9110 7.6.2). 0: who reads it is the one who answers; -1: as many as it takes.
 */
long http_forward_hops(const struct http_head *request);

/* The head of @request as its server gets it. Returns it, to be freed, or NULL: no memory. */
char *http_forward_request(const struct http_head *request, const struct http_target *target,
	const struct http_exchange *exchange, size_t *out_len);

enum http_answer_kind {
	HTTP_ANSWER_FINAL,
	HTTP_ANSWER_INTERIM, /* 1xx: one more answer follows */
	HTTP_ANSWER_HIDDEN,  /* the same, and the client must not see it */
	HTTP_ANSWER_UPGRADE, /* what follows, both ways, is no HTTP */
};

struct http_answer {
	enum http_answer_kind kind;
	struct http_body body;
	bool keeps_client; /* its end is not the end of the client's connection */
	bool keeps_server; /* the same for the server's */
};

/* What @head means as an answer to @exchange. Returns 0, or -1 with @fault (502). */
int http_forward_answer(const struct http_head *head, const struct http_exchange *exchange,
	struct http_answer *out, struct http_fault *fault);

/* Its head as the client gets it, at the time @now. Returns it, to be freed, or NULL: no memory. */
char *http_forward_answer_head(const struct http_head *head, const struct http_answer *answer,
	time_t now, size_t *out_len);

/* "Sun, 06 Nov 1994 08:49:37 GMT", in @out of HTTP_DATE_BYTES. Returns @out. */
#define HTTP_DATE_BYTES 64
const char *http_forward_date(time_t now, char *out);
