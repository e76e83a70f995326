/* SPDX-License-Identifier: Apache-2.0 */
/* forward/spec - read and print port forwarding rules such as "127.0.0.1:8080:80/tcp" */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/addr.h"
#include "util/err.h"

#define FORWARD_MAX        1024 /* rules in one list */
#define FORWARD_TEXT_BYTES 128  /* the longest spec_format, with its NUL */

struct forward_spec {
	struct addr host;    /* where the host listens, or a path; port 0: pick a free one */
	uint16_t guest_port; /* host order; 0 only with that: the same as is picked */
	enum proto proto;
	int given_fd; /* above 2: it listens there already (cmd/systemd); 0: it is to be bound */
};

/* Starts as all zero; the items belong to the list. */
struct forward_list {
	struct forward_spec *items;
	size_t count;
};

/* Free the items; the list is empty and can be used again. */
void spec_list_free(struct forward_list *list);

/*
 * Read "[ADDR:]HOST:GUEST[/tcp|/udp]" or "unix:PATH:GUEST" and append what it says. ADDR is one
 * for addr_parse_own, IPv6 in brackets; names are not looked up. HOST may be 0: a free port.
 * HOST and GUEST may be ranges of the same length, "8000-8010:9000-9010": one rule each. PATH ends
 * at the last colon.
 *
 * @bind (IPv4 or IPv6, NULL: 127.0.0.1) is the listen address where the text has none. Pure: opens
 * and resolves nothing. Returns 0, or with @err naming the part of @text that is wrong -EINVAL
 * (also for more than FORWARD_MAX rules) or -ENOMEM; the list is then untouched.
 */
int spec_list_parse(
	struct forward_list *list, const char *text, const struct addr *bind, struct err *err);

/*
 * Read "[ADDR:]PORT[/tcp|/udp]" where the guest uses the same port as the host; 0: a free one,
 * guest_port is then 0 as well. @bind and errors as above; @out is untouched on error.
 */
int spec_host_parse(
	const char *text, const struct addr *bind, struct forward_spec *out, struct err *err);

/* Is @text, right or wrong, one for spec_list_parse and not for spec_host_parse: "8080:80"? */
bool spec_has_guest(const char *text);

/* Append a copy. Returns 0, -EINVAL (FORWARD_MAX) or -ENOMEM; the list is then untouched. */
int spec_list_add(struct forward_list *list, const struct forward_spec *spec, struct err *err);

/*
 * Can all of them be listened at together? -EINVAL, with @err naming both, for the same host port
 * of the same protocol at equal addresses or at a wildcard and another address of its family
 * (port 0 never clashes), and for the same path; also for more than FORWARD_MAX. 0 otherwise.
 */
int spec_list_check(const struct forward_list *list, struct err *err);

/*
 * Write the canonical text, which reads back to an equal spec: "127.0.0.1:8080:80/tcp",
 * "[::1]:53:53/udp", "unix:/tmp/s:80" through spec_list_parse, and where guest_port is 0
 * "127.0.0.1:0" through spec_host_parse. Cut to @cap_bytes (FORWARD_TEXT_BYTES always do). A
 * path is written as it is, control characters too. Returns @out.
 */
char *spec_format(const struct forward_spec *spec, char *out, size_t cap_bytes);

/* Could these two not be listened at together? */
bool spec_clash(const struct forward_spec *a, const struct forward_spec *b);

bool spec_equal(const struct forward_spec *a, const struct forward_spec *b);
