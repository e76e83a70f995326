/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/http_target - what a request to a proxy is for: "http://web:8080/path", or "web:443" */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proxy/http_fault.h"
#include "proxy/http_text.h"

#define HTTP_HOST_MAX 255

/* Texts point into the target that was read. */
struct http_target {
	char host[HTTP_HOST_MAX + 1]; /* a name, or an address; IPv6 without brackets */
	uint16_t port;
	bool is_tunnel;             /* of CONNECT: nothing but host and port */
	struct http_text authority; /* host and port as the Host field of the request has them */
	struct http_text path;      /* with what follows '?'; may lack its '/' or be empty */
};

/*
 * Read @target of a request with @method. CONNECT has HOST:PORT; others have http://HOST[:PORT]/...
 * with no user in it. Returns 0, or -1 with @fault, 400: also for what is meant for a server, such
 * as "/path".
 */
int http_target_read(struct http_text method, struct http_text target, struct http_target *out,
	struct http_fault *fault);
