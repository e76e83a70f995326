/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/mesh_client - ask a mesh that runs: status, reload, stop */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cmd/client.h"
#include "cmd/cmd.h"
#include "cmd/mesh.h"
#include "cmd/table.h"
#include "control/control.h"
#include "control/registry.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/parse.h"

#define CELL_BYTES 64

/* --- connecting --------------------------------------------------------------------------- */

/* Returns the name of the only mesh, or NULL with @err. */
static const char *only_name(
	const struct registry *registry, char (*names)[REGISTRY_NAME_MAX + 1], struct err *err)
{
	char running[REGISTRY_DESCRIPTION_BYTES];
	ssize_t count = registry_list(registry, names, 2);

	if (count == 1)
		return names[0];
	registry_describe(registry, running, sizeof(running));
	if (count == 0)
		err_set(err, ENOENT, "no mesh is running");
	else
		err_set(err, EINVAL, "which mesh? A NAME is missing (%s)", running);
	return NULL;
}

/* Connect to @name, or if it is NULL to the only mesh. Returns a descriptor, or -errno with @err.
 */
static int connect_mesh(const char *name, struct err *err)
{
	char names[2][REGISTRY_NAME_MAX + 1];
	struct registry registry;
	int result = registry_open(REGISTRY_MESH, &registry, err);

	if (result < 0)
		return result;
	if (!name)
		name = only_name(&registry, names, err);
	result = name ? registry_connect(&registry, name, err) : -err->code;
	registry_close(&registry);
	return result;
}

/* Ask; NULL with @err filled when it does not answer or refuses. */
static json_t *call(int sock, json_t *question, struct err *err)
{
	json_t *answer;

	control_call(sock, "mesh", question, &answer, NULL, err);
	return answer;
}

/* --- status ------------------------------------------------------------------------------- */

/* All of it, however many answers it takes. */
static json_t *ask_status(int sock, struct err *err)
{
	json_t *status = NULL, *hosts = NULL;

	for (;;) {
		json_t *part = call(sock,
			json_pack("{s:s, s:I}", "op", "status", "from",
				(json_int_t)json_array_size(hosts)),
			err);
		if (!part) {
			json_decref(status);
			return NULL;
		}
		json_t *more = json_object_get(part, "hosts");
		size_t count = json_array_size(more);
		size_t total = (size_t)json_integer_value(json_object_get(part, "total"));
		if (!status) {
			status = json_incref(part);
			hosts = more;
		} else {
			json_array_extend(hosts, more);
		}
		json_decref(part);
		if (count == 0 || json_array_size(hosts) >= total)
			return status;
	}
}

enum column {
	COLUMN_HOST,
	COLUMN_VIP,
	COLUMN_STATE,
	COLUMN_FOR,
	COLUMN_RTT,
	COLUMN_IN,
	COLUMN_OUT,
	COLUMN_DROPS,
	COLUMN_RESTARTS,
	COLUMNS
};

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

/* 999, 1.2k, 34M */
static void format_count(json_int_t value, char *out, size_t cap_bytes)
{
	static const char units[] = " kMGTPE";
	double shown = (double)value;
	size_t unit = 0;

	for (; shown >= 999.5 && units[unit + 1]; unit++)
		shown /= 1000;
	snprintf(out, cap_bytes, "%.*f%.*s", unit > 0 && shown < 9.95 ? 1 : 0, shown,
		unit > 0 ? 1 : 0, units + unit);
}

/* BYTES/PACKETS */
static void format_traffic(const json_t *host, const char *way, char *out)
{
	const json_t *traffic = json_object_get(host, way);
	char bytes[16], packets[16];

	format_count(json_integer_value(json_object_get(traffic, "bytes")), bytes, sizeof(bytes));
	format_count(
		json_integer_value(json_object_get(traffic, "packets")), packets, sizeof(packets));
	snprintf(out, CELL_BYTES, "%s/%s", bytes, packets);
}

static json_int_t sum_drops(const json_t *host)
{
	json_t *drops = json_object_get(host, "drops"), *value;
	json_int_t sum = 0;
	const char *cause;

	json_object_foreach(drops, cause, value) sum += json_integer_value(value);
	return sum;
}

static void format_host(const json_t *host, char cells[COLUMNS][CELL_BYTES])
{
	const json_t *rtt = json_object_get(host, "rtt_ms");
	const char *name = text_of(host, "name");

	log_escape(name, strlen(name), cells[COLUMN_HOST], CELL_BYTES);
	snprintf(cells[COLUMN_VIP], CELL_BYTES, "%s", text_of(host, "vip"));
	snprintf(cells[COLUMN_STATE], CELL_BYTES, "%s", text_of(host, "state"));
	table_format_age(
		json_integer_value(json_object_get(host, "age")), cells[COLUMN_FOR], CELL_BYTES);
	if (json_is_number(rtt))
		snprintf(cells[COLUMN_RTT], CELL_BYTES, "%.2fms", json_number_value(rtt));
	else
		strcpy(cells[COLUMN_RTT], "-");
	format_traffic(host, "in", cells[COLUMN_IN]);
	format_traffic(host, "out", cells[COLUMN_OUT]);
	format_count(sum_drops(host), cells[COLUMN_DROPS], CELL_BYTES);
	snprintf(cells[COLUMN_RESTARTS], CELL_BYTES, "%lld",
		(long long)json_integer_value(json_object_get(host, "restarts")));
}

static void print_row(char cells[COLUMNS][CELL_BYTES], const int *widths, const char *last)
{
	for (enum column i = 0; i < COLUMNS; i++)
		printf("%s%*s", cells[i], widths[i] + 2 - table_columns_of(cells[i]), "");
	printf("%s\n", last);
}

/* Each host is formatted twice: once for the widths. */
static void print_table(const json_t *status)
{
	static const char *const heads[COLUMNS] = {
		"HOST", "VIP", "STATE", "FOR", "RTT", "IN", "OUT", "DROPS", "RESTARTS"};
	const json_t *hosts = json_object_get(status, "hosts");
	char cells[COLUMNS][CELL_BYTES], reason[512];
	int widths[COLUMNS];
	size_t i;
	json_t *host;

	for (enum column c = 0; c < COLUMNS; c++)
		widths[c] = table_columns_of(heads[c]);
	json_array_foreach(hosts, i, host)
	{
		format_host(host, cells);
		for (enum column c = 0; c < COLUMNS; c++)
			if (table_columns_of(cells[c]) > widths[c])
				widths[c] = table_columns_of(cells[c]);
	}
	for (enum column c = 0; c < COLUMNS; c++)
		strcpy(cells[c], heads[c]);
	print_row(cells, widths, "LAST LOST");
	json_array_foreach(hosts, i, host)
	{
		const char *text = text_of(host, "reason");

		format_host(host, cells);
		print_row(cells, widths, log_escape(text, strlen(text), reason, sizeof(reason)));
	}
}

static int print_status(int sock, bool is_json, struct err *err)
{
	json_t *status = ask_status(sock, err);

	if (!status)
		return cmd_failed(err);
	json_object_del(status, "ok");
	json_object_del(status, "total");
	if (!is_json)
		print_table(status);
	else if (json_dumpf(status, stdout,
			 JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(6)) == 0)
		printf("\n");
	json_decref(status);
	if (fflush(stdout) == 0)
		return 0;
	err_sys(err, errno, "cannot write to stdout");
	return cmd_failed(err);
}

/* --- reload and stop ---------------------------------------------------------------------- */

/* Every error of the manifest is shown, as --check would show it. */
static int reload(int sock, bool is_json, struct err *err)
{
	json_t *answer = call(sock, json_pack("{s:s}", "op", "reload"), err), *line;
	size_t i;

	(void)is_json;
	if (!answer)
		return cmd_failed(err);
	json_array_foreach(json_object_get(answer, "errors"), i, line)
	{
		log_error("%s", json_string_value(line) ? json_string_value(line) : "?");
	}
	json_decref(answer);
	return i > 0 ? EXIT_USAGE : 0;
}

static int stop(int sock, bool is_json, struct err *err)
{
	struct pollfd pollfd = {.fd = sock, .events = POLLIN};
	char discard[256];

	(void)is_json;
	client_wake(sock);
	json_t *answer = call(sock, json_pack("{s:s}", "op", "stop"), err);
	/* it may have ended before it could answer: that is what is wanted */
	if (!answer && err->code != EPIPE)
		return cmd_failed(err);
	json_decref(answer);
	do
		poll(&pollfd, 1, -1);
	while (fd_recv(sock, discard, sizeof(discard), NULL, 0, NULL) > 0);
	return 0;
}

/* --- which -------------------------------------------------------------------------------- */

static const struct question {
	const char *word;
	/* returns the exit status */
	int (*ask)(int sock, bool is_json, struct err *err);
} questions[] = {{"status", print_status}, {"reload", reload}, {"stop", stop}};

static const struct question *find_question(const char *word)
{
	for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++)
		if (strcmp(questions[i].word, word) == 0)
			return &questions[i];
	return NULL;
}

bool mesh_is_question(const char *word)
{
	return find_question(word);
}

int mesh_ask(const char *question, const char *name, bool is_json)
{
	struct err err = {0};
	_cleanup_fd_ int sock = connect_mesh(name, &err);

	return sock < 0 ? cmd_failed(&err) : find_question(question)->ask(sock, is_json, &err);
}
