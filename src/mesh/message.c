/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/message - the JSON messages between manager and agent */
#include "mesh/message.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/members.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/parse.h"
#include "wire/frame.h"

/* What the members of a body are called. NULL: there is none. */
static const struct body {
	const char *type, *id, *op, *data, *error;
} bodies[] = {
	[MESSAGE_REQUEST] = {"request", "id", "op", "args", NULL},
	[MESSAGE_RESULT] = {"result", "request_id", "op", "data", "error"},
	[MESSAGE_EVENT] = {"event", NULL, "type", "data", NULL},
};
#define BODIES (sizeof(bodies) / sizeof(bodies[0]))

#define VALUES_MAX (FRAME_MESSAGE_MAX / 8)

/* --- decoding ----------------------------------------------------------------------------- */

/* A reference of its own to what may be missing; JSON null is nothing. */
static json_t *take(const struct members *from, const char *name)
{
	json_t *value = json_object_get(from->object, name);

	return json_is_null(value) ? NULL : json_incref(value);
}

static int decode_type(const struct members *root, enum message_type *out)
{
	const char *name;
	int result = members_need_text(root, "type", &name);

	if (result < 0)
		return result;
	for (*out = 0; *out < BODIES; ++*out)
		if (strcmp(name, bodies[*out].type) == 0)
			return 0;
	return members_refuse(root, "type", json_object_get(root->object, "type"),
		"\"request\", \"result\" or \"event\"");
}

static int decode_body(const struct members *root, struct message *out)
{
	const struct body *row = &bodies[out->type];
	struct members body;
	const char *op;
	int result = members_object(root, "body", &body);

	if (result == 0 && row->id)
		result = members_need_int(&body, row->id, &out->id);
	if (result == 0)
		result = members_need_text(&body, row->op, &op);
	if (result < 0)
		return result;
	if (op[0] == '\0' || strlen(op) >= sizeof(out->op))
		return members_refuse(
			&body, row->op, json_object_get(body.object, row->op), "a short text");
	strcpy(out->op, op);
	out->data = take(&body, row->data);
	out->error = row->error ? take(&body, row->error) : NULL;
	return 0;
}

/*
 * A megabyte of empty objects takes eighty in memory. What is meant to be a message has far fewer
 * values than this for its bytes. Those in texts are counted, too: it is no exact limit.
 */
static bool has_too_many_values(const char *text, size_t len)
{
	size_t count = 0;

	for (size_t i = 0; i < len; i++)
		count += text[i] == ',' || text[i] == '{' || text[i] == '[';
	return count > VALUES_MAX;
}

int message_decode(const void *text, size_t len, struct message *out, struct err *err)
{
	json_error_t reason;
	char shown[JSON_ERROR_TEXT_LENGTH];

	*out = (struct message){0};
	if (has_too_many_values(text, len))
		return err_set(err, EINVAL, "more than %d values", VALUES_MAX);
	json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &reason);
	struct members root = {.object = json, .err = err};
	if (!json)
		return err_set(err, EINVAL, "no JSON: %s at byte %d",
			parse_shown(reason.text, shown, sizeof(shown)), reason.position);
	int result = json_is_object(json) ? decode_type(&root, &out->type)
					  : err_set(err, EINVAL, "expected an object");
	if (result == 0)
		result = decode_body(&root, out);
	json_decref(json);
	out->says_more = len > 0 && ((const char *)text)[len - 1] == '\n';
	return result;
}

void message_fini(struct message *message)
{
	json_decref(message->data);
	json_decref(message->error);
	*message = (struct message){0};
}

/* --- encoding ----------------------------------------------------------------------------- */

char *message_encode(struct message *message, size_t *len)
{
	const struct body *row = &bodies[message->type];
	json_t *body = json_object();
	bool says_more = message->says_more;
	int failed = 0;

	/* a member without value stays away */
	if (row->id)
		failed |= json_object_set_new(body, row->id, json_integer(message->id));
	failed |= json_object_set_new(body, row->op, json_string(message->op));
	if (row->error && message->error)
		failed |= json_object_set(body, row->error, message->error);
	if (message->data)
		failed |= json_object_set(body, row->data, message->data);
	message_fini(message);

	json_t *root = json_pack("{s:s, s:o}", "type", row->type, "body", body);
	char *text = root && !failed ? json_dumps(root, JSON_COMPACT) : NULL;
	json_decref(root);
	*len = text ? strlen(text) : 0;
	if (text && says_more)
		text[(*len)++] = '\n'; /* in the place of the NUL */
	return text;
}

int message_tell(int fd, struct message *message, int wait_ms)
{
	size_t len = 0;
	char *text = message_encode(message, &len);
	unsigned char *frame = text ? malloc(FRAME_HEADER_BYTES + len) : NULL;
	int sent = -ENOMEM;

	if (frame) {
		frame_encode_header(frame, FRAME_MESSAGE, len);
		memcpy(frame + FRAME_HEADER_BYTES, text, len);
		sent = fd_tell(fd, frame, FRAME_HEADER_BYTES + len, wait_ms);
	}
	free(frame);
	free(text);
	return sent < 0 ? sent : (int)(FRAME_HEADER_BYTES + len);
}

char *message_error_text(const json_t *error, char *out, size_t cap_bytes)
{
	char *dumped =
		json_is_string(error) ? NULL : json_dumps(error, JSON_COMPACT | JSON_ENCODE_ANY);
	const char *text = dumped ? dumped : json_string_value(error);

	if (!text || !text[0])
		text = "no reason given";
	log_escape(text, strlen(text), out, cap_bytes);
	free(dumped);
	return out;
}

/* --- events ------------------------------------------------------------------------------- */

/* The list of addresses "ip", of which @cap are stored. Returns how many were, or -EINVAL. */
static ssize_t decode_ips(const struct members *root, struct in_addr *ips, size_t cap)
{
	const json_t *list = NULL;
	size_t count = 0;
	int result = members_list(root, "ip", &list);

	if (result < 0)
		return result;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *text = json_string_value(json_array_get(list, i));
		struct in_addr ip;

		if (!text || !members_is_host(text, &ip))
			return members_refuse(root, "ip", list, "a list of IPv4 addresses");
		if (count < cap)
			ips[count++] = ip;
	}
	return (ssize_t)count;
}

ssize_t message_decode_suggestion(
	const json_t *data, struct in_addr *ips, size_t cap, struct in_addr *via, struct err *err)
{
	struct members root = {.object = data, .err = err};
	int result = members_need_host(&root, "route", via);

	return result < 0 ? result : decode_ips(&root, ips, cap);
}

ssize_t message_decode_gone(
	const json_t *data, struct in_addr ips[MESSAGE_GONE_MAX], struct err *err)
{
	const struct members root = {.object = data, .err = err};

	return decode_ips(&root, ips, MESSAGE_GONE_MAX);
}

/* NULL without memory. */
static json_t *encode_ips(const struct in_addr *ips, size_t count)
{
	json_t *list = json_array();
	char text[INET_ADDRSTRLEN];
	int failed = 0;

	for (size_t i = 0; i < count; i++) {
		inet_ntop(AF_INET, &ips[i], text, sizeof(text));
		failed |= json_array_append_new(list, json_string(text));
	}
	if (!failed)
		return list;
	json_decref(list);
	return NULL;
}

json_t *message_encode_suggestion(const struct in_addr *ips, size_t count, struct in_addr via)
{
	char text[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &via, text, sizeof(text));
	return json_pack("{s:o, s:s}", "ip", encode_ips(ips, count), "route", text);
}

json_t *message_encode_gone(const struct in_addr *ips, size_t count)
{
	return json_pack("{s:o}", "ip", encode_ips(ips, count));
}

int message_decode_ended(const json_t *data, struct message_ended *out, struct err *err)
{
	const struct members root = {.object = data, .err = err};
	struct message_ended ended = {0};
	const char *reason = NULL;
	int result = members_number(&root, "status", &ended.status);

	if (result == 0)
		result = members_text(&root, "reason", &reason);
	if (result < 0)
		return result;
	if (reason)
		log_escape(reason, strlen(reason), ended.reason, sizeof(ended.reason));
	*out = ended;
	return 0;
}

json_t *message_encode_ended(const struct message_ended *ended)
{
	json_t *data = json_pack("{s:i}", "status", (int)ended->status);

	if (data && ended->reason[0] != '\0')
		json_object_set_new(data, "reason", json_string(ended->reason));
	return data;
}
