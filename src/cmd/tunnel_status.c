/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/tunnel_status - list the ends of tunnels that run */
#include "cmd/tunnel_status.h"

#include <jansson.h>
#include <stdio.h>

#include "cmd/cmd.h"
#include "cmd/output.h"

static json_t *number(const json_t *status, const char *key)
{
	char text[OUTPUT_COUNT_BYTES];

	return json_string(output_count(json_integer_value(json_object_get(status, key)), text));
}

static json_t *row_of(const json_t *status)
{
	const char *error = output_member(status, "error", NULL);
	json_t *name = output_escaped(output_member(status, "name", "?"));

	if (error)
		return json_pack("[o, s, s, s, s, s, s, s, o]", name, "-", "-", "-", "-", "-", "-",
			"-", json_sprintf("(%s)", error));
	return json_pack("[o, o, o, s, o, o, o, o, o]", name,
		json_sprintf("%lld", json_integer_value(json_object_get(status, "pid"))),
		output_age(json_integer_value(json_object_get(status, "age"))),
		output_member(status, "state", "?"), number(status, "connections"),
		number(status, "waiting"), number(status, "served"), number(status, "refused"),
		output_escaped(output_member(status, "from", "?")));
}

/* What an end has led through by name: "client/web". */
static json_t *forward_row(const json_t *status, const json_t *forward)
{
	const char *state = output_member(forward, "state", NULL);
	char name[128], from[256];

	snprintf(name, sizeof(name), "%s/%s", output_member(status, "name", "?"),
		output_member(forward, "name", "?"));
	snprintf(from, sizeof(from), "%s/%s", output_member(forward, "from", "?"),
		output_member(forward, "proto", "?"));
	/* a server's is up with a client */
	if (!state)
		state = json_integer_value(json_object_get(forward, "clients")) > 0 ? "up" : "held";
	return json_pack("[o, s, s, s, s, s, o, o, o]", output_escaped(name), "", "", state, "", "",
		number(forward, "served"), number(forward, "refused"), output_escaped(from));
}

static void print_table(const json_t *list)
{
	json_t *rows = json_pack("[[s, s, s, s, s, s, s, s, s]]", "NAME", "PID", "AGE", "STATE",
		"OPEN", "READY", "SERVED", "REFUSED", "FROM");
	json_t *status, *forward;
	size_t i, k;

	json_array_foreach(list, i, status)
	{
		json_array_append_new(rows, row_of(status));
		json_array_foreach(json_object_get(status, "forwards"), k, forward)
		{
			json_array_append_new(rows, forward_row(status, forward));
		}
	}
	output_table(rows, output_width());
	json_decref(rows);
}

int tunnel_status_print(bool is_json, struct err *err)
{
	json_t *list = cmd_ask_all(REGISTRY_TUNNEL, "tunnel", err);

	if (!list)
		return -err->code;
	if (is_json)
		output_json(list);
	else
		print_table(list);
	json_decref(list);
	return 0;
}
