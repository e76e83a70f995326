/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/request - what a running sandbox can be asked */
#include "sandbox/request.h"

#include <errno.h>
#include <string.h>

#define TIMEOUT_MS_MAX 1000000000LL

/* A list of @max texts at most, of which NULL is the end in @texts. */
static int decode_texts(
	const json_t *value, const char *key, const char **texts, size_t max, struct err *err)
{
	size_t count = json_array_size(value);

	if (!json_is_array(value) || count == 0 || count > max)
		return err_set(err, EINVAL, "\"%s\" must be a list of 1 to %zu rules", key, max);
	for (size_t i = 0; i < count; i++) {
		texts[i] = json_string_value(json_array_get(value, i));
		if (!texts[i])
			return err_set(err, EINVAL, "\"%s\" must hold texts only", key);
	}
	return 0;
}

static int decode_specs(const json_t *value, struct request *out, struct err *err)
{
	return decode_texts(value, "specs", out->specs, FORWARD_MAX, err);
}

static int decode_reverses(const json_t *value, struct request *out, struct err *err)
{
	return decode_texts(value, "reverses", out->reverses, OUTWARD_MAX, err);
}

static int decode_timeout(const json_t *value, struct request *out, struct err *err)
{
	json_int_t timeout_ms = json_integer_value(value);

	if (!json_is_integer(value) || timeout_ms < 0 || timeout_ms > TIMEOUT_MS_MAX)
		return err_set(err, EINVAL, "\"timeout_ms\" must be a number of milliseconds");
	out->has_timeout = true;
	out->timeout_ms = (uint64_t)timeout_ms;
	return 0;
}

static int decode_names(const json_t *value, struct request *out, struct err *err)
{
	if (!json_is_boolean(value))
		return err_set(err, EINVAL, "\"names\" must be true or false");
	out->tells_names = json_is_true(value);
	return 0;
}

#define OP(op)   (1U << REQUEST_##op)
#define PORT_OPS (OP(PORT_ADD) | OP(PORT_REMOVE))

static const char *const names[REQUEST_OPS] = {
	[REQUEST_STATUS] = "status",
	[REQUEST_PORT_ADD] = "port-add",
	[REQUEST_PORT_REMOVE] = "port-remove",
	[REQUEST_STOP] = "stop",
	[REQUEST_ENTER] = "enter",
};

/* What may come with an op. */
static const struct member {
	const char *key;
	unsigned ops;
	int (*decode)(const json_t *value, struct request *out, struct err *err);
} members[] = {
	{"specs", PORT_OPS, decode_specs},
	{"reverses", PORT_OPS, decode_reverses},
	{"timeout_ms", OP(STOP), decode_timeout},
	{"names", OP(ENTER), decode_names},
};

static const struct member *find_member(const char *key, enum request_op op)
{
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		if (strcmp(key, members[i].key) == 0 && (members[i].ops & 1U << op))
			return &members[i];
	return NULL;
}

static int decode_members(json_t *root, struct request *out, struct err *err)
{
	const char *key;
	json_t *value;

	json_object_foreach(root, key, value)
	{
		const struct member *member = find_member(key, out->op);

		if (strcmp(key, "op") == 0)
			continue;
		if (!member)
			return err_set(
				err, EINVAL, "\"%.40s\" is no member of %s", key, names[out->op]);
		int result = member->decode(value, out, err);
		if (result < 0)
			return result;
	}
	if ((PORT_OPS & 1U << out->op) && !out->specs[0] && !out->reverses[0])
		return err_set(err, EINVAL, "%s needs \"specs\" or \"reverses\"", names[out->op]);
	return 0;
}

int request_decode(json_t *root, struct request *out, struct err *err)
{
	const char *name = json_string_value(json_object_get(root, "op"));

	*out = (struct request){0};
	if (!name)
		return err_set(err, EINVAL, "a request needs a text \"op\"");
	for (; out->op < REQUEST_OPS; out->op++)
		if (strcmp(name, names[out->op]) == 0)
			return decode_members(root, out, err);
	return err_set(err, EINVAL, "unknown op \"%.40s\"", name);
}
