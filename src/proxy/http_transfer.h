/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/http_transfer - one request and its answer, between two sockets */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proxy/http_forward.h"
#include "proxy/http_way.h"

/*
 * How it works
 *
 * The rest of a request's body goes up while its answer comes down: each way waits for its own two
 * sockets. A server may answer before it has read the request; then neither connection is used
 * again, as nobody can be sure where the next message begins. One that takes no more of the request
 * is still listened to.
 */
#define HTTP_INTERIMS_MAX 64 /* 1xx before an answer */

enum http_outcome {
	HTTP_WAITS,       /* for a socket */
	HTTP_HAS_MORE,    /* its turn is over: call again soon, without an event */
	HTTP_KEPT,        /* over; the client goes on, and so does the server if keeps_server */
	HTTP_CLOSED,      /* over, and the client's connection ends with it */
	HTTP_BROKEN,      /* what the client has got is not whole, or it is gone: reset both */
	HTTP_BAD_REQUEST, /* its body is wrong, see fault; nothing was answered yet */
	HTTP_UNANSWERED,  /* the server is gone without a byte */
	HTTP_BAD_ANSWER,  /* see fault; nothing of it was sent */
	HTTP_UPGRADED,    /* down's text, what is raw, and all that follows is the sockets' own */
};

struct http_transfer {
	struct http_sock client, server; /* the owner's; -1 without one */
	struct http_way up, down;
	struct http_fault fault;
	uint64_t moved; /* bytes and heads so far, so that somebody can see that it stalls */

	/* of this request */
	struct http_exchange exchange;
	struct http_body request;
	struct http_answer answer;
	bool expects;        /* the client waits for 100 before it sends the body */
	bool is_answered;    /* the last head of the answer was read */
	bool keeps_server;   /* as seen at the end */
	bool up_is_broken;   /* the server takes no more of the request */
	bool server_is_gone; /* it sends no more */
	unsigned interim_count;
};

/* All of the last request is forgotten; sockets, and what is raw, stay. */
void http_transfer_reset(struct http_transfer *transfer);

/* There is no server: @text (see http_way_set_text) is all that answers. */
int http_transfer_reply(struct http_transfer *transfer, char *text, size_t len, bool keeps_client);

/* Move what can be moved now. */
enum http_outcome http_transfer_pump(struct http_transfer *transfer);
