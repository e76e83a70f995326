/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/request - what a running sandbox can be asked */
#include "sandbox/request.h"

#include <errno.h>
#include <string.h>

#define TIMEOUT_MS_MAX 1000000000LL

static int decode_specs(const json_t *value, struct request *out, struct err *err)
{
	size_t count = json_array_size(value);

	if (!json_is_array(value) || count == 0 || count > FORWARD_MAX)
		return err_set(
			err, EINVAL, "\"specs\" must be a list of 1 to %d rules", FORWARD_MAX);
	for (size_t i = 0; i < count; i++) {
		out->specs[i] = json_string_value(json_array_get(value, i));
		if (!out->specs[i])
			return err_set(err, EINVAL, "\"specs\" must hold texts only");
	}
	return 0;
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

/* What an op is called and may come with. */
static const struct op {
	const char *name, *member; /* member: NULL, there is none */
	bool is_required;
	int (*decode)(const json_t *value, struct request *out, struct err *err);
} ops[REQUEST_OPS] = {
	[REQUEST_STATUS] = {"status", NULL, false, NULL},
	[REQUEST_PORT_ADD] = {"port-add", "specs", true, decode_specs},
	[REQUEST_PORT_REMOVE] = {"port-remove", "specs", true, decode_specs},
	[REQUEST_REVERSE_ADD] = {"reverse-add", "specs", true, decode_specs},
	[REQUEST_REVERSE_REMOVE] = {"reverse-remove", "specs", true, decode_specs},
	[REQUEST_STOP] = {"stop", "timeout_ms", false, decode_timeout},
	[REQUEST_ENTER] = {"enter", "names", false, decode_names},
};

static int decode_members(json_t *root, const struct op *op, struct request *out, struct err *err)
{
	bool was_there = false;
	const char *key;
	json_t *value;

	json_object_foreach(root, key, value)
	{
		if (strcmp(key, "op") == 0)
			continue;
		if (!op->member || strcmp(key, op->member) != 0)
			return err_set(err, EINVAL, "\"%.40s\" is no member of %s", key, op->name);
		was_there = true;
		int result = op->decode(value, out, err);
		if (result < 0)
			return result;
	}
	if (op->is_required && !was_there)
		return err_set(err, EINVAL, "%s needs \"%s\"", op->name, op->member);
	return 0;
}

int request_decode(json_t *root, struct request *out, struct err *err)
{
	const char *name = json_string_value(json_object_get(root, "op"));

	*out = (struct request){0};
	if (!name)
		return err_set(err, EINVAL, "a request needs a text \"op\"");
	for (enum request_op op = 0; op < REQUEST_OPS; op++) {
		if (strcmp(name, ops[op].name) != 0)
			continue;
		out->op = op;
		return decode_members(root, &ops[op], out, err);
	}
	return err_set(err, EINVAL, "unknown op \"%.40s\"", name);
}
