/* SPDX-License-Identifier: Apache-2.0 */
/* control/control - requests and answers over the socket of a name */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "util/err.h"

/*
 * SOCK_SEQPACKET; one message is one JSON object of at most CONTROL_MESSAGE_MAX bytes. A request is
 * {"op": NAME, ...}, the answer {"ok": true, ...} or {"ok": false, "error": TEXT}; descriptors may
 * come with an answer. A connection may carry any number of them.
 */
#define CONTROL_MESSAGE_MAX 262144
#define CONTROL_TIMEOUT_MS  10000

/* Room for @max descriptors that come with an answer: the first @count are the caller's then. */
struct control_fds {
	int *items;
	size_t max, count;
};

/* @text, or if it is not UTF-8, which JSON must be, @text with such bytes written as \xNN. */
json_t *control_text(const char *text);

/* Read a message. Returns the caller's JSON, or NULL with @err (EINVAL): no member comes twice. */
json_t *control_parse(const char *text, size_t len, struct err *err);

/*
 * Send @message (taken over; NULL is -ENOMEM) with @nfds descriptors. Returns 0 or -errno:
 * -EMSGSIZE when it is longer than CONTROL_MESSAGE_MAX.
 */
int control_send(int sock, json_t *message, const int *fds, size_t nfds);

/*
 * The client's side: wait for the answer to what was sent, at most @timeout_ms. @noun says what was
 * asked, for errors: "sandbox". @fds may be NULL: none are expected. Returns 0 with the answer in
 * *@answer (the caller's), or -errno with @err filled, *@answer NULL and no descriptors: -EREMOTEIO
 * with what was said when it refused, -ETIMEDOUT, -EPIPE when it has ended.
 */
int control_receive(int sock, const char *noun, int timeout_ms, json_t **answer,
	struct control_fds *fds, struct err *err);

/* Send @request (taken over) and receive its answer, waiting at most CONTROL_TIMEOUT_MS. */
int control_call(int sock, const char *noun, json_t *request, json_t **answer,
	struct control_fds *fds, struct err *err);
