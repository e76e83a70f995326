/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/ps - list the running sandboxes */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cmd/client.h"
#include "cmd/cmd.h"
#include "cmd/table.h"
#include "control/control.h"
#include "control/registry.h"
#include "util/fd.h"
#include "util/log.h"

#define SANDBOXES_MAX  1024
#define PATIENCE_MS    1000 /* for all of them together */
#define FORWARDS_SHOWN 3
#define CELL_BYTES     256
#define COMMAND_BYTES  4096

enum column { COLUMN_NAME, COLUMN_PID, COLUMN_AGE, COLUMN_FORWARDS, COLUMNS };

struct row {
	char cells[COLUMNS][CELL_BYTES];
	char command[COMMAND_BYTES];
};

const struct option_def ps_options[] = {
	{0, "json", NULL, "print JSON: an array of objects", client_set_true},
	{0, NULL, NULL, NULL, NULL},
};

/* --- asking ------------------------------------------------------------------------------- */

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* The status of @name, or if it cannot be had {"name", "error"}; NULL: it has ended. */
static json_t *receive_status(int sock, const char *name, int timeout_ms)
{
	struct err err;
	json_t *status;
	int result =
		sock < 0 ? sock : control_receive(sock, "sandbox", timeout_ms, &status, NULL, &err);

	if (result == -EPIPE)
		return NULL;
	if (result < 0)
		return json_pack("{s:s, s:s}", "name", name, "error", "does not answer");
	json_object_del(status, "ok");
	return status;
}

/* All are asked before the first answer is awaited: those that hang take a second together. */
static json_t *ask_all(
	const struct registry *registry, char (*names)[REGISTRY_NAME_MAX + 1], size_t count)
{
	json_t *list = json_array();
	int *socks = calloc(count + 1, sizeof(*socks));
	uint64_t deadline_ms = now_ms() + PATIENCE_MS;

	for (size_t i = 0; socks && i < count; i++) {
		socks[i] = registry_connect(registry, names[i], NULL);
		if (socks[i] >= 0)
			control_send(socks[i], json_pack("{s:s}", "op", "status"), NULL, 0);
	}
	for (size_t i = 0; socks && i < count; i++) {
		uint64_t now = now_ms();
		int left_ms = now < deadline_ms ? (int)(deadline_ms - now) : 0;

		if (socks[i] == -ENOENT)
			continue;
		json_t *status = receive_status(socks[i], names[i], left_ms);
		if (status)
			json_array_append_new(list, status);
		fd_close(&socks[i]);
	}
	free(socks);
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

static void format_forwards(const json_t *forwards, char *out)
{
	size_t used = 0, i, count = json_array_size(forwards);
	json_t *forward;

	snprintf(out, CELL_BYTES, "-");
	json_array_foreach(forwards, i, forward)
	{
		const char *spec = json_string_value(json_object_get(forward, "spec"));
		char text[CELL_BYTES / 4];

		if (i == FORWARDS_SHOWN) {
			snprintf(out + used, CELL_BYTES - used, ",+%zu", count - i);
			return;
		}
		format_forward(spec ? spec : "?", text, sizeof(text));
		used += (size_t)snprintf(
			out + used, CELL_BYTES - used, "%s%s", i > 0 ? "," : "", text);
	}
}

static void format_command(const json_t *command, char *out)
{
	size_t used = 0, i;
	json_t *arg;

	json_array_foreach(command, i, arg)
	{
		const char *text = json_string_value(arg);

		if (i > 0 && used + 1 < COMMAND_BYTES)
			out[used++] = ' ';
		log_escape(text ? text : "?", text ? strlen(text) : 1, out + used,
			COMMAND_BYTES - used);
		used += strlen(out + used);
	}
}

static void format_row(const json_t *status, struct row *row)
{
	const char *name = json_string_value(json_object_get(status, "name"));
	const char *error = json_string_value(json_object_get(status, "error"));

	log_escape(name ? name : "?", name ? strlen(name) : 1, row->cells[COLUMN_NAME], CELL_BYTES);
	if (error) {
		for (enum column i = COLUMN_PID; i < COLUMNS; i++)
			strcpy(row->cells[i], "-");
		snprintf(row->command, COMMAND_BYTES, "(%s)", error);
		return;
	}
	snprintf(row->cells[COLUMN_PID], CELL_BYTES, "%lld",
		(long long)json_integer_value(json_object_get(status, "pid")));
	table_format_age(json_integer_value(json_object_get(status, "age")), row->cells[COLUMN_AGE],
		CELL_BYTES);
	format_forwards(json_object_get(status, "forwards"), row->cells[COLUMN_FORWARDS]);
	format_command(json_object_get(status, "command"), row->command);
}

/* Cut @text to @columns; nothing is cut for 0 and less. */
static void cut(char *text, int columns)
{
	if (columns <= 0)
		return;
	while (*text && (columns > 0 || !table_starts_character(*text)))
		columns -= table_starts_character(*text++);
	*text = '\0';
}

static int terminal_width(void)
{
	struct winsize size;

	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

static void print_rows(struct row *rows, size_t count)
{
	int widths[COLUMNS] = {0}, before = 0, total = terminal_width();

	for (enum column i = 0; i < COLUMNS; i++) {
		for (size_t r = 0; r < count; r++)
			if (table_columns_of(rows[r].cells[i]) > widths[i])
				widths[i] = table_columns_of(rows[r].cells[i]);
		before += widths[i] + 2;
	}
	for (size_t r = 0; r < count; r++) {
		for (enum column i = 0; i < COLUMNS; i++)
			printf("%s%*s", rows[r].cells[i],
				widths[i] + 2 - table_columns_of(rows[r].cells[i]), "");
		/* the command keeps ten columns even where that is too much */
		cut(rows[r].command, total > 0 && total < before + 10 ? 10 : total - before);
		printf("%s\n", rows[r].command);
	}
}

static int print_table(const json_t *list, struct err *err)
{
	static const char *const heads[COLUMNS] = {"NAME", "PID", "AGE", "FORWARDS"};
	size_t count = json_array_size(list), i;
	struct row *rows = calloc(count + 1, sizeof(*rows));
	json_t *status;

	if (!rows)
		return err_sys(err, ENOMEM, "cannot list the sandboxes");
	for (enum column c = 0; c < COLUMNS; c++)
		snprintf(rows[0].cells[c], sizeof(rows[0].cells[c]), "%s", heads[c]);
	snprintf(rows[0].command, sizeof(rows[0].command), "COMMAND");
	json_array_foreach(list, i, status)
	{
		format_row(status, &rows[i + 1]);
	}
	print_rows(rows, count + 1);
	free(rows);
	return 0;
}

static int list_sandboxes(bool is_json, struct err *err)
{
	struct registry registry;
	int result = registry_open(REGISTRY_SANDBOX, &registry, err);
	char(*names)[REGISTRY_NAME_MAX + 1] = calloc(SANDBOXES_MAX, sizeof(*names));

	if (result < 0 || !names) {
		free(names);
		return result < 0 ? result : err_sys(err, ENOMEM, "cannot list the sandboxes");
	}
	ssize_t count = registry_list(&registry, names, SANDBOXES_MAX);
	json_t *list = ask_all(&registry, names, count > 0 ? (size_t)count : 0);
	free(names);
	registry_close(&registry);
	if (count < 0)
		result = err_sys(
			err, (int)-count, "cannot read the runtime directory %s", registry.path);
	else if (is_json)
		printf("%s", json_dumpf(list, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII) == 0
				     ? "\n"
				     : "");
	else
		result = print_table(list, err);
	json_decref(list);
	if (result == 0 && fflush(stdout) != 0)
		result = err_sys(err, errno, "cannot write to stdout");
	return result;
}

int cmd_ps(int argc, char **argv)
{
	bool is_json = false;
	struct err err = {0};

	if (client_operands(ps_options, argc, argv, &is_json, NULL, 0, &err) < 0)
		return cmd_usage_error(&err);
	return list_sandboxes(is_json, &err) < 0 ? cmd_failed(&err) : 0;
}
