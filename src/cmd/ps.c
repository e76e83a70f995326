/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/ps - list the running sandboxes */
#include "cmd/ps.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cmd/habits.h"
#include "cmd/output.h"
#include "control/control.h"
#include "control/registry.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"

#define SANDBOXES_MAX  1024
#define PATIENCE_MS    1000 /* for all of them together */
#define FORWARDS_SHOWN 3
#define FORWARD_BYTES  64 /* of one of them, what is longer is cut */

static const struct option_def options[] = {
	{0, "json", NULL, "print JSON: an array of objects", option_set_true, 0},
	{.name = NULL},
};

/* --- asking ------------------------------------------------------------------------------- */

/* One of them and our question to it. */
struct asked {
	const char *name;
	int sock; /* below 0: -errno, and @why says more */
	struct err why;
};

static void ask(
	struct asked *asked, const struct registry *registry, const struct registry_found *found)
{
	asked->name = found->name;
	asked->sock = registry_connect_found(registry, found, &asked->why);
	if (asked->sock >= 0)
		control_send(asked->sock, json_pack("{s:s}", "op", "status"), NULL, 0);
}

/* The status, or if it cannot be had {"name", "error"}; NULL: it has ended. */
static json_t *receive_status(struct asked *asked, int timeout_ms)
{
	json_t *status;
	int result = asked->sock;

	if (result >= 0)
		result = control_receive(
			asked->sock, "sandbox", timeout_ms, &status, NULL, &asked->why);
	fd_close(&asked->sock);
	if (result == -EPIPE || result == -ENOENT)
		return NULL;
	if (result == -EPERM)
		return json_pack(
			"{s:s, s:o}", "name", asked->name, "error", control_text(asked->why.text));
	if (result < 0)
		return json_pack("{s:s, s:s}", "name", asked->name, "error", "does not answer");
	json_object_del(status, "ok");
	return status;
}

/* All are asked before the first answer is awaited: those that hang take a second together. */
static json_t *ask_all(
	const struct registry *registry, const struct registry_found *found, size_t count)
{
	json_t *list = json_array();
	struct asked *asked = calloc(count + 1, sizeof(*asked));
	uint64_t deadline_ns = clock_now_ns() + PATIENCE_MS * NS_PER_MS;

	for (size_t i = 0; asked && i < count; i++)
		ask(&asked[i], registry, &found[i]);
	for (size_t i = 0; asked && i < count; i++) {
		int left_ms = (int)clock_ms_until(deadline_ns, clock_now_ns());
		json_t *status = receive_status(&asked[i], left_ms);

		if (status)
			json_array_append_new(list, status);
	}
	free(asked);
	return list;
}

/* --- the table ---------------------------------------------------------------------------- */

/* "127.0.0.1:8080:80/tcp" as "8080:80": what is usual is left out. */
static void format_forward(const char *spec, char *out, size_t cap_bytes)
{
	static const char usual_host[] = "127.0.0.1:", usual_proto[] = "/tcp";
	size_t len = strlen(spec), proto_len = sizeof(usual_proto) - 1;

	if (strncmp(spec, usual_host, sizeof(usual_host) - 1) == 0) {
		spec += sizeof(usual_host) - 1;
		len -= sizeof(usual_host) - 1;
	}
	if (len > proto_len && strcmp(spec + len - proto_len, usual_proto) == 0)
		len -= proto_len;
	log_escape(spec, len, out, cap_bytes);
}

static json_t *format_forwards(const json_t *forwards)
{
	char text[(FORWARDS_SHOWN + 1) * FORWARD_BYTES] = "-";
	size_t used = 0, i, count = json_array_size(forwards);
	json_t *forward;

	json_array_foreach(forwards, i, forward)
	{
		if (i == FORWARDS_SHOWN) {
			snprintf(text + used, sizeof(text) - used, ",+%zu", count - i);
			break;
		}
		if (i > 0)
			text[used++] = ',';
		format_forward(output_member(forward, "spec", "?"), text + used, FORWARD_BYTES);
		used += strlen(text + used);
		if (output_member(forward, "error", NULL))
			used += (size_t)snprintf(text + used, sizeof(text) - used, "(lost)");
	}
	return json_string(text);
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

static json_t *make_row(const json_t *status)
{
	json_t *name = output_escaped(output_member(status, "name", "?"));
	const char *error = output_member(status, "error", NULL);

	if (error)
		return json_pack(
			"[o, s, s, s, o]", name, "-", "-", "-", json_sprintf("(%s)", error));
	return json_pack("[o, o, o, o, o]", name,
		json_sprintf("%lld", json_integer_value(json_object_get(status, "pid"))),
		output_age(json_integer_value(json_object_get(status, "age"))),
		format_forwards(json_object_get(status, "forwards")),
		format_command(json_object_get(status, "command")));
}

static int terminal_width(void)
{
	struct winsize size;

	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

static void print_table(const json_t *list)
{
	json_t *rows = json_pack("[[s, s, s, s, s]]", "NAME", "PID", "AGE", "FORWARDS", "COMMAND");
	json_t *status;
	size_t i;

	json_array_foreach(list, i, status)
	{
		json_array_append_new(rows, make_row(status));
	}
	output_table(rows, terminal_width());
	json_decref(rows);
}

static int list_sandboxes(bool is_json, struct err *err)
{
	struct registry registry;
	int result = registry_open(REGISTRY_SANDBOX, &registry, err);
	struct registry_found *found = calloc(SANDBOXES_MAX, sizeof(*found));

	if (result < 0 || !found) {
		free(found);
		return result < 0 ? result : err_sys(err, ENOMEM, "cannot list the sandboxes");
	}
	ssize_t count = registry_list(&registry, found, SANDBOXES_MAX);
	json_t *list = ask_all(&registry, found, count > 0 ? (size_t)count : 0);
	free(found);
	registry_close(&registry);
	if (count < 0)
		result = err_sys(err, (int)-count, "cannot read the runtime directories");
	else if (is_json)
		output_json(list);
	else
		print_table(list);
	json_decref(list);
	return result < 0 ? result : output_end(err);
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
