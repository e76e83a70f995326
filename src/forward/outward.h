/* SPDX-License-Identifier: Apache-2.0 */
/* forward/outward - read and print rules that lead a port of the inside outwards: "5432:db:5432" */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "forward/spec.h"
#include "util/addr.h"
#include "util/err.h"

#define OUTWARD_MAX        64  /* rules of a sandbox */
#define OUTWARD_HOST_BYTES 254 /* of a name: RFC 1035 2.3.4 */
#define OUTWARD_TEXT_BYTES 512 /* the longest outward_format, with its NUL */

struct outward_spec {
	struct addr guest;             /* where is listened inside: address and port, or a path */
	char host[OUTWARD_HOST_BYTES]; /* the target: a name or an address; empty: a path */
	uint16_t port;                 /* of host, host order */
	struct addr path;              /* the target, then */
	enum proto proto;
};

/* Of at most OUTWARD_MAX; at first {NULL}. */
struct outward_list {
	struct outward_spec *items;
	size_t count;
};

/* Add a copy of @spec. Returns 0, or -EINVAL with @err filled. */
int outward_list_add(struct outward_list *list, const struct outward_spec *spec, struct err *err);
void outward_list_free(struct outward_list *list);

/*
 * Read "[GUEST_ADDR:]GUEST_PORT:[HOST:]HOST_PORT[/tcp|/udp]"; on either side "unix:PATH" or
 * "/PATH" may stand in the place of address and port, on the left one a path without a colon. A
 * lone port is meant for both sides. Without an address: 127.0.0.1 inside, "localhost" outside;
 * an empty one or "*" is 0.0.0.0. Pure. Returns 0, or -EINVAL with @err filled; @out is untouched
 * then.
 */
int outward_parse(const char *text, struct outward_spec *out, struct err *err);

/* "127.0.0.1:5432:localhost:5432/tcp", which reads back to an equal one. Returns @out. */
char *outward_format(const struct outward_spec *spec, char *out, size_t cap_bytes);

/* What it leads to: "localhost:5432", "unix:/run/s". Returns @out. */
char *outward_format_target(const struct outward_spec *spec, char *out, size_t cap_bytes);

/* Could these two not be listened at together? */
bool outward_clash(const struct outward_spec *a, const struct outward_spec *b);

bool outward_equal(const struct outward_spec *a, const struct outward_spec *b);

/*
 * Does @out lead to where @in listens, which leads to its port inside again? Then -EINVAL with @err
 * filled, otherwise 0. Of names only localhost is known: the two addresses of it that are tried.
 */
int outward_check_circle(
	const struct outward_spec *out, const struct forward_spec *in, struct err *err);

/* Is host a name that is to be looked up? "localhost" is not. */
bool outward_has_name(const struct outward_spec *spec);
