/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/message - the JSON messages between manager and agent */
#ifndef NSWRAP_MESH_MESSAGE_H
#define NSWRAP_MESH_MESSAGE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/config.h"
#include "util/err.h"

/*
 * Every message is {"type": T, "body": {...}}, nswrap-wire(7). Decoders trust nothing: a member of
 * the wrong type is an error, members that are not known are skipped (a newer peer has more).
 */

enum message_type {
	MESSAGE_REQUEST, /* from the manager: "id", "op", "args" */
	MESSAGE_RESULT,  /* from the agent: "request_id", "op", "error", "data" */
	MESSAGE_EVENT,   /* from the agent: "type", "data" */
};

#define MESSAGE_OP_BYTES 32

struct message {
	enum message_type type;
	int64_t id;                /* of the request, also in its result; 0 in an event */
	char op[MESSAGE_OP_BYTES]; /* an event's "type" */
	json_t *data;              /* "args" or "data"; NULL: none. Owned, like error */
	json_t *error;             /* of a result; NULL (also for JSON null): it was done */
};

/*
 * Read one message. Returns 0 (free it with message_fini) or -EINVAL with @err filled: no JSON, not
 * an object of that shape, an op that is too long, far too many values.
 */
int message_decode(const void *text, size_t len, struct message *out, struct err *err);
void message_fini(struct message *message);

/* Compact JSON of @message, whose data and error are taken over; free(3) it. NULL: no memory. */
char *message_encode(struct message *message, size_t *len);

/* An error of a result as text for a person, whatever JSON it is; cut to @cap_bytes. */
char *message_error_text(const json_t *error, char *out, size_t cap_bytes);

/* --- configure ---------------------------------------------------------------------------- */

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

/* The name on the wire of one feature, such as "loopback.disable". */
const char *message_feature_name(enum mesh_feature feature);

/*
 * The arguments of `configure`. decode: returns 0 (free with config_free), or -EINVAL
 * (-ENOMEM) with @err naming the member; @out is then empty. encode leaves out what an agent
 * without the feature must not see: UDP offers and ports unless @features has FEATURE_UDP, anyPort
 * unless it has FEATURE_SANDBOX. NULL: no memory.
 */
int configure_decode(const json_t *args, struct mesh_config *out, struct err *err);
json_t *configure_encode(const struct mesh_config *config, unsigned features);

/* The data of its result. decode: 0 or -EINVAL with @err filled. */
int agent_info_decode(const json_t *data, struct mesh_agent_info *out, struct err *err);
json_t *agent_info_encode(const struct mesh_agent_info *info);

/*
 * The data of event "routeSuggestion": addresses that go by way of host @via from now on. At most
 * @cap are stored. Returns how many, or -EINVAL with @err filled.
 */
ssize_t route_suggestion_decode(
	const json_t *data, struct in_addr *ips, size_t cap, struct in_addr *via, struct err *err);

#endif
