/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/message - the JSON messages between manager and agent */
#pragma once

#include <jansson.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/err.h"

/*
 * Every message is {"type": T, "body": {...}}, nswrap-wire(7). Decoders trust nothing: a member of
 * the wrong type is an error, members that are not known are skipped (a newer peer has more).
 */

enum message_type {
	MESSAGE_REQUEST, /* from the manager: "id", "op", "args" */
	MESSAGE_RESULT,  /* from the agent: "request_id", "op", "error", "data" */
	MESSAGE_EVENT,   /* "type", "data" */
};

#define MESSAGE_OP_BYTES 32

struct message {
	enum message_type type;
	int64_t id;                /* of the request, also in its result; 0 in an event */
	char op[MESSAGE_OP_BYTES]; /* an event's "type" */
	json_t *data;              /* "args" or "data"; NULL: none. Owned, like error */
	json_t *error;             /* of a result; NULL (also for JSON null): it was done */
	/*
	 * Of `configure`: once the agent's features are known it is told the rest. A newline behind
	 * the JSON, which is nothing to who does not know that, such as NoRouter.
	 */
	bool says_more;
};

/*
 * Read one message. Returns 0 (free it with message_fini) or -EINVAL with @err filled: no JSON, not
 * an object of that shape, an op that is too long, far too many values.
 */
int message_decode(const void *text, size_t len, struct message *out, struct err *err);
void message_fini(struct message *message);

/*
 * Compact JSON of @message, whose data and error are taken over; free(3) it. Without says_more it
 * is a string. NULL: no memory.
 */
char *message_encode(struct message *message, size_t *len);

/*
 * Write @message as a whole frame to a link that is nobody else's, waiting at most @wait_ms for
 * room. Its data and error are taken over. Returns how many bytes that were, or -errno.
 */
int message_tell(int fd, struct message *message, int wait_ms);

/* An error of a result as text for a person, whatever JSON it is; cut to @cap_bytes. */
char *message_error_text(const json_t *error, char *out, size_t cap_bytes);

/*
 * The data of event "routeSuggestion": addresses that go by way of host @via from now on. decode:
 * at most @cap are stored; how many, or -EINVAL with @err filled. encode: NULL without memory.
 */
ssize_t message_decode_suggestion(
	const json_t *data, struct in_addr *ips, size_t cap, struct in_addr *via, struct err *err);

json_t *message_encode_suggestion(const struct in_addr *ips, size_t count, struct in_addr via);

/*
 * The data of event "gone", from the manager: VIPs of hosts that have gone, or were gone and came
 * back as others. @ips has room for MESSAGE_GONE_MAX; more are no message of ours, and not stored.
 * decode: how many, or -EINVAL with @err filled. encode: NULL without memory.
 */
#define MESSAGE_GONE_MAX 256
ssize_t message_decode_gone(
	const json_t *data, struct in_addr ips[MESSAGE_GONE_MAX], struct err *err);
json_t *message_encode_gone(const struct in_addr *ips, size_t count);

/*
 * The data of event "ended", from an agent with a sandbox of its own: what became of the command
 * there. Control characters of the reason are escaped; it is cut. As above.
 */
struct message_ended {
	uint16_t status;  /* as a shell says it */
	char reason[256]; /* why it was not started at all; "": it was */
};
int message_decode_ended(const json_t *data, struct message_ended *out, struct err *err);
json_t *message_encode_ended(const struct message_ended *ended);
