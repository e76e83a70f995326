/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/ps - list the running sandboxes */
#include "cmd/ps.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/habits.h"
#include "cmd/output.h"
#include "control/registry.h"
#include "util/log.h"

#define FORWARD_BYTES  600 /* of one of them, escaped */
#define LOST           "(lost)"
#define MORE           ",+1000"             /* the longest */
#define OTHERS_COLUMNS (7 + 3 + 10 + 4 * 2) /* PID, AGE, some of COMMAND, gaps */

static const struct option_def options[] = {
	{0, "json", NULL, "print JSON: an array of objects", option_set_true, 0},
	{.name = NULL},
};

/* --- the table ---------------------------------------------------------------------------- */

/* "127.0.0.1:8080:80/tcp" as "8080:80": what is usual is left out. Then whether it is lost. What
 * leads outwards has "-R" in front. */
static void format_forward(const json_t *forward, char *out, size_t cap_bytes)
{
	static const char usual_host[] = "127.0.0.1:", usual_proto[] = "/tcp";
	const char *spec = output_member(forward, "spec", "?");
	size_t len = strlen(spec), proto_len = sizeof(usual_proto) - 1;
	const char *kind = json_object_get(forward, "target") ? "-R " : "";

	if (strncmp(spec, usual_host, sizeof(usual_host) - 1) == 0) {
		spec += sizeof(usual_host) - 1;
		len -= sizeof(usual_host) - 1;
	}
	if (len > proto_len && strcmp(spec + len - proto_len, usual_proto) == 0)
		len -= proto_len;
	strcpy(out, kind);
	log_escape(spec, len, out + strlen(kind), cap_bytes - strlen(kind) - sizeof(LOST));
	if (output_member(forward, "error", NULL))
		strcat(out, LOST);
}

/* As many as go into @room columns, one at least, and how many more there are. */
static json_t *format_forwards(const json_t *forwards, size_t room)
{
	GString *text = g_string_new("");
	size_t i, count = json_array_size(forwards);
	char one[FORWARD_BYTES];
	json_t *forward;

	json_array_foreach(forwards, i, forward)
	{
		size_t more = i + 1 < count ? sizeof(MORE) - 1 : 0;

		format_forward(forward, one, sizeof(one));
		if (i > 0 && text->len + 1 + strlen(one) + more > room) {
			g_string_append_printf(text, ",+%zu", count - i);
			break;
		}
		g_string_append_printf(text, "%s%s", i > 0 ? "," : "", one);
	}
	json_t *cell = json_string(count > 0 ? text->str : "-");
	g_string_free(text, TRUE);
	return cell;
}

static json_t *format_command(const json_t *command)
{
	char text[OUTPUT_TEXT_BYTES] = "";
	size_t used = 0, i;
	json_t *arg;

	json_array_foreach(command, i, arg)
	{
		const char *word = json_is_string(arg) ? json_string_value(arg) : "?";

		if (i > 0 && used + 1 < sizeof(text))
			text[used++] = ' ';
		log_escape(word, strlen(word), text + used, sizeof(text) - used);
		used += strlen(text + used);
	}
	return json_string(text);
}

/* What leads in, then what leads out. */
static json_t *all_ports(const json_t *status)
{
	json_t *all = json_array();

	json_array_extend(all, json_object_get(status, "forwards"));
	json_array_extend(all, json_object_get(status, "reverses"));
	return all;
}

/* COMMAND does not run before all is set up: a link of --via may wait for somebody to log in. */
static json_t *format_pid(const json_t *pid)
{
	return json_is_integer(pid) ? json_sprintf("%lld", json_integer_value(pid))
				    : json_string("-");
}

static json_t *make_row(const json_t *status, size_t room)
{
	json_t *name = output_escaped(output_member(status, "name", "?"));
	const char *error = output_member(status, "error", NULL);

	if (error)
		return json_pack(
			"[o, s, s, s, o]", name, "-", "-", "-", json_sprintf("(%s)", error));
	json_t *ports = all_ports(status);
	json_t *row = json_pack("[o, o, o, o, o]", name, format_pid(json_object_get(status, "pid")),
		output_age(json_integer_value(json_object_get(status, "age"))),
		format_forwards(ports, room), format_command(json_object_get(status, "command")));
	json_decref(ports);
	return row;
}

/* What is left for the forwards beside names, PIDs of seven digits, ages and a short COMMAND. */
static size_t room_of_forwards(const json_t *list, int width)
{
	int used = OTHERS_COLUMNS, widest = (int)strlen("NAME");
	json_t *status;
	size_t i;

	json_array_foreach(list, i, status)
	{
		widest = MAX(widest, output_columns(output_member(status, "name", "?")));
	}
	used += widest;
	return width == 0 ? SIZE_MAX : width > used ? (size_t)(width - used) : 0;
}

static void print_table(const json_t *list)
{
	json_t *rows = json_pack("[[s, s, s, s, s]]", "NAME", "PID", "AGE", "FORWARDS", "COMMAND");
	size_t i, room = room_of_forwards(list, output_width());
	json_t *status;

	json_array_foreach(list, i, status)
	{
		json_array_append_new(rows, make_row(status, room));
	}
	output_table(rows, output_width());
	json_decref(rows);
}

/* An empty table would say that there is none. */
static void tell_whence(void)
{
	char whence[REGISTRY_WHENCE_BYTES];

	registry_whence(whence);
	if (whence[0] != '\0')
		log_warning("no sandbox is running%s", whence);
}

static int list_sandboxes(bool is_json, struct err *err)
{
	json_t *list = cmd_ask_all(REGISTRY_SANDBOX, "sandbox", err);

	if (!list)
		return -err->code;
	if (json_array_size(list) == 0)
		tell_whence();
	if (is_json)
		output_json(list);
	else
		print_table(list);
	json_decref(list);
	return 0;
}

static int run(const struct cmd_call *call)
{
	bool is_json = false;
	struct err err = {0};

	if (cmd_operands(options, habits_ps, call, &is_json, NULL, 0, &err) < 0)
		return cmd_usage_error(&err);
	return list_sandboxes(is_json, &err) < 0 ? cmd_failed(&err) : 0;
}

const struct subcommand ps_subcommand = {
	.name = "ps",
	.synopsis = "ps [--json]",
	.summary = "list the running sandboxes",
	.options = options,
	.run = run,
};
