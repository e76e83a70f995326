/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/report - what an agent tells its manager of ports that do not work */
#pragma once

#include <jansson.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#include "util/addr.h"
#include "util/err.h"

#define REPORT_MAX       8 /* of each kind; how many more there are is told by a number */
#define REPORT_WHY_BYTES 192

/* A port of @ip, and why it does not work. */
struct report_port {
	struct in_addr ip;
	uint16_t port; /* host order; 0: all of that address */
	enum proto proto;
	char why[REPORT_WHY_BYTES]; /* printable */
	uint64_t count;             /* of failures of its target */
	uint64_t age_s;             /* since the last one */
};

struct mesh_report {
	/* nobody listens there: it cannot be bound */
	struct report_port missing[REPORT_MAX];
	/* where it leads was refused, unknown or out of reach */
	struct report_port failing[REPORT_MAX];
	/* connections, datagrams and pings for what it does not expose; and for what, at last */
	uint64_t unexposed;
	char unexposed_last[REPORT_WHY_BYTES]; /* printable */
	size_t nmissing, nfailing; /* there are; the first REPORT_MAX of them are known */
};

/* One more; it is counted, and kept if there is room. */
void report_add_missing(struct mesh_report *report, enum proto proto, struct in_addr ip,
	uint16_t port, const char *why);
void report_add_failing(struct mesh_report *report, const struct report_port *port);

/* decode: 0 or -EINVAL with @err filled, @out is zero then. encode: NULL when there is no memory.
 */
int report_decode(const json_t *data, struct mesh_report *out, struct err *err);
json_t *report_encode(const struct mesh_report *report);
