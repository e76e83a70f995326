/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/request - what a running sandbox can be asked */
#include "sandbox/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "control/control.h"

#define TIMEOUT_MS_MAX 1000000000LL

enum member { MEMBER_SPECS = 1, MEMBER_TIMEOUT = 2 };

struct op_row {
	const char *name;
	int required, allowed; /* enum member bits */
};

static const struct op_row ops[REQUEST_OPS] = {
	[REQUEST_STATUS] = {"status", 0, 0},
	[REQUEST_PORT_ADD] = {"port-add", MEMBER_SPECS, MEMBER_SPECS},
	[REQUEST_PORT_REMOVE] = {"port-remove", MEMBER_SPECS, MEMBER_SPECS},
	[REQUEST_STOP] = {"stop", 0, MEMBER_TIMEOUT},
	[REQUEST_ENTER] = {"enter", 0, 0},
};

static int decode_specs(const json_t *value, struct request *out, struct err *err)
{
	size_t count = json_array_size(value);

	if (!json_is_array(value) || count == 0 || count > FORWARD_MAX)
		return err_set(
			err, EINVAL, "\"specs\" must be a list of 1 to %d rules", FORWARD_MAX);
	out->specs = calloc(count + 1, sizeof(*out->specs));
	if (!out->specs)
		return err_sys(err, ENOMEM, "cannot read the rules");
	for (size_t i = 0; i < count; i++) {
		const char *text = json_string_value(json_array_get(value, i));

		if (!text)
			return err_set(err, EINVAL, "\"specs\" must hold texts only");
		out->specs[i] = strdup(text);
		if (!out->specs[i])
			return err_sys(err, ENOMEM, "cannot read the rules");
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

static int decode_members(json_t *root, struct request *out, struct err *err)
{
	const char *key;
	json_t *value;
	int seen = 0, result = 0;

	json_object_foreach(root, key, value)
	{
		if (strcmp(key, "op") == 0)
			continue;
		if (strcmp(key, "specs") == 0 && (ops[out->op].allowed & MEMBER_SPECS)) {
			seen |= MEMBER_SPECS;
			result = decode_specs(value, out, err);
		} else if (strcmp(key, "timeout_ms") == 0 &&
			   (ops[out->op].allowed & MEMBER_TIMEOUT)) {
			result = decode_timeout(value, out, err);
		} else {
			result = err_set(err, EINVAL, "\"%.40s\" is no member of %s", key,
				ops[out->op].name);
		}
		if (result < 0)
			return result;
	}
	if ((ops[out->op].required & seen) != ops[out->op].required)
		return err_set(err, EINVAL, "%s needs \"specs\"", ops[out->op].name);
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
		int result = decode_members(root, out, err);
		if (result < 0)
			request_free(out);
		return result;
	}
	return err_set(err, EINVAL, "unknown op \"%.40s\"", name);
}

void request_free(struct request *request)
{
	for (char **spec = request->specs; spec && *spec; spec++)
		free(*spec);
	free(request->specs);
	request->specs = NULL;
}

json_t *request_forward_json(
	const struct forward_spec *spec, enum forward_driver_choice driver, bool has_listened)
{
	char text[FORWARD_TEXT_BYTES], host[ADDR_TEXT_BYTES];
	json_t *forward = json_pack("{s:o, s:i, s:s, s:s, s:b}", "spec",
		control_text(spec_format(spec, text, sizeof(text))), "guest_port", spec->guest_port,
		"proto", addr_proto_name(spec->proto), "driver", driver_name(driver), "listening",
		has_listened);

	addr_format_ip(&spec->host, host, sizeof(host));
	if (spec->host.family == AF_UNIX) {
		json_object_set_new(forward, "path", control_text(host));
		return forward;
	}
	json_object_set_new(forward, "host", json_string(host));
	json_object_set_new(forward, "host_port", json_integer(addr_port(&spec->host)));
	return forward;
}
