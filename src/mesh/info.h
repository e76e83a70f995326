/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/info - what an agent says of itself: the data of the result of `configure` */
#ifndef NSWRAP_MESH_INFO_H
#define NSWRAP_MESH_INFO_H

#include <jansson.h>

#include "util/err.h"

/* What an agent can do, by the names it lists. A feature is a promise. */
enum mesh_feature {
	FEATURE_TCP = 1 << 0,
	FEATURE_LOOPBACK = 1 << 1,
	FEATURE_LOOPBACK_DISABLE = 1 << 2,
	FEATURE_HTTP = 1 << 3,
	FEATURE_SOCKS = 1 << 4,
	FEATURE_HOSTALIASES = 1 << 5,
	FEATURE_ETCHOSTS = 1 << 6,
	FEATURE_ROUTES = 1 << 7,
	FEATURE_DNS = 1 << 8,
	/* nswrap's own */
	FEATURE_UDP = 1 << 9,
	FEATURE_ICMP = 1 << 10,
	FEATURE_RECONFIGURE = 1 << 11,
	FEATURE_PING = 1 << 12,
	FEATURE_SANDBOX = 1 << 13, /* the agent is in a sandbox, and knows anyPort */
	FEATURE_ERROR = 1 << 14,
};

struct mesh_agent_info {
	unsigned features; /* of enum mesh_feature; names that are not known are left out */
	char version[64];  /* as the agent says, cut; control characters escaped */
};

/* decode: 0 or -EINVAL with @err filled. encode: NULL when there is no memory. */
int info_decode(const json_t *data, struct mesh_agent_info *out, struct err *err);
json_t *info_encode(const struct mesh_agent_info *info);

/* The name on the wire of one feature, such as "loopback.disable". */
const char *info_feature_name(enum mesh_feature feature);

#endif
