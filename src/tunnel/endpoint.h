/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/endpoint - where an end of a tunnel listens, or what it connects to */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "conn/dial.h"
#include "conn/listen.h"
#include "util/addr.h"
#include "util/err.h"

#define ENDPOINT_HOST_MAX   LISTEN_HOST_MAX
#define ENDPOINT_TEXT_BYTES (ENDPOINT_HOST_MAX + 128)

/* HOST:PORT, [V6]:PORT or unix:PATH. */
struct endpoint {
	char host[ENDPOINT_HOST_MAX + 1]; /* a name; "": addr says it all */
	uint16_t port;                    /* of host */
	struct addr addr;
};

/* Pure. Returns 0, or -EINVAL with @err filled; @out is untouched then. */
int endpoint_parse(const char *text, struct endpoint *out, struct err *err);

/* The same for what is listened at: an address of this host ("localhost" is 127.0.0.1, "*" and
 * nothing are 0.0.0.0) or a path; port 0 is one that is free. */
int endpoint_parse_own(const char *text, struct addr *out, struct err *err);

/* Who has connected, as addr_format has it: any address that somebody may come from, link-local
 * ones included. Of AF_UNSPEC: it is none. */
struct addr endpoint_read_peer(const char *text);

/* For conn/dial; @endpoint must stay. */
struct dial_target endpoint_target(const struct endpoint *endpoint);

/* As it can be read again; control characters as they are. Returns @out. */
char *endpoint_format(const struct endpoint *endpoint, char *out, size_t cap_bytes);
