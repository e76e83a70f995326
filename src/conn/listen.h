/* SPDX-License-Identifier: Apache-2.0 */
/* conn/listen - where a proxy listens, as people and NoRouter's managers write it */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/addr.h"
#include "util/err.h"

#define LISTEN_HOST_MAX   253
#define LISTEN_HTTP_PORT  18080 /* those of NoRouter's examples */
#define LISTEN_SOCKS_PORT 18081

struct listen {
	/* an IPv4 or IPv6 address (no brackets), a name, or "": all addresses that there are */
	char host[LISTEN_HOST_MAX + 1];
	uint16_t port;
};

/*
 * "127.0.0.1:18080", "[::1]:1080", "localhost:80", ":18080"; without a port it is @default_port.
 * Returns 0, or -EINVAL with @err filled; @out is untouched then. Pure.
 */
int listen_parse(const char *text, uint16_t default_port, struct listen *out, struct err *err);

/*
 * The same for what is bound here and now: "localhost" is 127.0.0.1, "*" and nothing are 0.0.0.0,
 * no other name is an address, and the port must be there; 0 is one that is free.
 */
int listen_parse_own(const char *text, struct addr *out, struct err *err);

/* Can other machines not reach it, whatever its name leads to? */
bool listen_is_local(const struct listen *listen);

/* As listen_parse reads it, with its port. Returns @out. */
#define LISTEN_TEXT_BYTES (LISTEN_HOST_MAX + 16)
char *listen_format(const struct listen *listen, char *out, size_t cap_bytes);
