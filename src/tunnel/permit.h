/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/permit - what a tunnel's server lets its clients have: where it listens or connects to */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tunnel/endpoint.h"
#include "util/err.h"

#define PERMITS_MAX 64

/* All places that match. */
struct permit {
	char host[ENDPOINT_HOST_MAX + 1]; /* a name; "": addr, or any if that is none */
	struct addr addr;                 /* an address whose port does not matter, or a path */
	uint16_t first, last;             /* ports */
};

struct permits {
	struct permit all[PERMITS_MAX];
	size_t count;
};

/*
 * Add HOST:PORT, HOST:FIRST-LAST or HOST:* ("*" for HOST: any), or unix:PATH. "localhost" is
 * 127.0.0.1. Pure. Returns 0, or -EINVAL with @err filled.
 */
int permit_add(struct permits *permits, const char *text, struct err *err);

/* A name is the same as itself only, wherever it leads, and not a path unless one names it. */
bool permit_allows(const struct permits *permits, const struct endpoint *endpoint);
