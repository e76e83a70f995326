/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/http_reply - what the HTTP proxy itself answers */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

/*
 * An answer of one line. It says the same twice: in its body, and in a field that curl -v shows
 * also where a body is not shown, to CONNECT (Proxy-Status, RFC 9209).
 */
struct http_reply {
	int status;
	const char *error; /* a word of RFC 9209 2.3, such as "dns_error"; NULL: none fits */
	const char *line;  /* what is wrong, without "nswrap: " and without an end of line */
	bool is_head;      /* to HEAD: without the body */
	bool keeps_client; /* the client's connection goes on */
};

#define HTTP_REPLY_TUNNEL "HTTP/1.1 200 Connection established\r\n\r\n"

/* The whole answer, at the time @now; 407 asks for Basic authentication. Returns it, to be freed,
 * or NULL: no memory. */
char *http_reply_format(const struct http_reply *reply, time_t now, size_t *out_len);
