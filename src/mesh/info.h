/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/info - what an agent says of itself: the data of the result of `configure` */
#pragma once

#include <jansson.h>

#include "util/err.h"

/*
 * What an agent can do: each feature, its bit and the name by which it is listed, in NoRouter's
 * order. A feature is a promise. Those from UDP on are nswrap's own; the agent with SANDBOX is in
 * one, and knows anyPort; the one with SANDBOX_RUN makes one for a command of the manifest.
 */
#define INFO_FEATURES(X)                           \
	X(LOOPBACK, 1, "loopback")                 \
	X(TCP, 0, "tcp")                           \
	X(HTTP, 3, "http")                         \
	X(LOOPBACK_DISABLE, 2, "loopback.disable") \
	X(SOCKS, 4, "socks")                       \
	X(HOSTALIASES, 5, "hostaliases")           \
	X(ETCHOSTS, 6, "etchosts")                 \
	X(ROUTES, 7, "routes")                     \
	X(DNS, 8, "dns")                           \
	X(UDP, 9, "udp")                           \
	X(ICMP, 10, "icmp")                        \
	X(RECONFIGURE, 11, "reconfigure")          \
	X(PING, 12, "ping")                        \
	X(SANDBOX, 13, "sandbox")                  \
	X(ERROR, 14, "error")                      \
	X(ACKNOWLEDGE, 15, "acknowledge")          \
	X(REPORT, 16, "report")                    \
	X(GONE, 17, "gone")                        \
	X(IPV6, 18, "ipv6")                        \
	X(TAKEOVER, 19, "takeover")                \
	X(SILENCE, 20, "silence")                  \
	X(KEEP, 21, "keep")                        \
	X(PROXY_ACCESS, 22, "proxy.access")        \
	X(ALLOW, 23, "allow")                      \
	X(EXPOSE, 24, "expose")                    \
	X(SANDBOX_RUN, 25, "sandbox.run")          \
	X(STREAMS, 26, "streams")                  \
	X(AMEND, 27, "amend")

#define INFO_BIT(feature, bit, name) FEATURE_##feature = 1 << (bit),
enum mesh_feature { INFO_FEATURES(INFO_BIT) };

struct mesh_agent_info {
	unsigned features;   /* of enum mesh_feature; names that are not known are left out */
	char version[64];    /* as the agent says, cut; control characters escaped */
	char stack[16];      /* the same: "kernel", "streams", or "" where it does not say */
	char stack_why[256]; /* the same: for what it is that one; "": it is the best there is */
};

/* decode: 0 or -EINVAL with @err filled. encode: NULL when there is no memory. */
int info_decode(const json_t *data, struct mesh_agent_info *out, struct err *err);
json_t *info_encode(const struct mesh_agent_info *info);

/* The name on the wire of one feature, such as "loopback.disable". */
const char *info_feature_name(enum mesh_feature feature);
