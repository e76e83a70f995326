/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/http - the HTTP proxy: requests of a client, one after the other, each led to its server */
#pragma once

#include "proxy/front.h"

/*
 * How it works
 *
 * A guest (proxy/front) reads a head, dials where its target leads (proxy/guide), and has a
 * transfer (proxy/http_transfer) move the request and its answer. CONNECT, and an upgrade, leave
 * both sockets to a relay. The connection to a server is kept for the next request of the same
 * client to the same host and port, and is nobody else's. It may end just when it is used again;
 * then a request goes a second time, over a new connection, if that makes no difference (RFC
 * 9110 9.2.2: GET and the like without a body). One for which it does goes over a connection that
 * was just used, or a new one.
 *
 * A request that cannot be read in one way only is answered (400 and the like), and so is one that
 * nobody answers: 502, 504. The first is the end of its connection, the second is not.
 */
#define HTTP_HEAD_MS    30000  /* for a head, from its first byte on */
#define HTTP_IDLE_MS    120000 /* for the next request to come */
#define HTTP_BODY_MS    60000  /* without a byte of a request's body */
#define HTTP_ANSWER_MS  300000 /* for an answer to begin */
#define HTTP_READING_MS 300000 /* without the client's taking any of the answer */
#define HTTP_FRESH_MS   1000   /* a connection that was used so lately is still there */

extern const struct front_protocol http_protocol;
