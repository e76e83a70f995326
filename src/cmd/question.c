/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/question - ask a mesh that runs: status, reload, stop */
#include "cmd/question.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/output.h"
#include "control/control.h"
#include "util/fd.h"
#include "util/log.h"

#define COUNT_BYTES 16

/* --- the table of a status ------------------------------------------------------------------ */

/* 999, 1.2k, 34M */
static char *format_count(json_int_t value, char out[COUNT_BYTES])
{
	static const char units[] = " kMGTPE";
	double shown = (double)value;
	size_t unit = 0;

	for (; shown >= 999.5 && units[unit + 1]; unit++)
		shown /= 1000;
	snprintf(out, COUNT_BYTES, "%.*f%.*s", unit > 0 && shown < 9.95 ? 1 : 0, shown,
		unit > 0 ? 1 : 0, units + unit);
	return out;
}

/* BYTES/PACKETS */
static json_t *format_traffic(const json_t *traffic)
{
	char bytes[COUNT_BYTES], packets[COUNT_BYTES];

	return json_sprintf("%s/%s",
		format_count(json_integer_value(json_object_get(traffic, "bytes")), bytes),
		format_count(json_integer_value(json_object_get(traffic, "packets")), packets));
}

static json_int_t sum_drops(const json_t *host)
{
	json_t *drops = json_object_get(host, "drops"), *value;
	json_int_t sum = 0;
	const char *cause;

	json_object_foreach(drops, cause, value) sum += json_integer_value(value);
	return sum;
}

static json_t *make_row(const json_t *host)
{
	const json_t *rtt = json_object_get(host, "rtt_ms");
	char drops[COUNT_BYTES];

	return json_pack("[o, s, s, o, o, o, o, s, o, o]",
		output_escaped(output_member(host, "name", "")), output_member(host, "vip", ""),
		output_member(host, "state", ""),
		output_age(json_integer_value(json_object_get(host, "age"))),
		json_is_number(rtt) ? json_sprintf("%.2fms", json_number_value(rtt))
				    : json_string("-"),
		format_traffic(json_object_get(host, "in")),
		format_traffic(json_object_get(host, "out")), format_count(sum_drops(host), drops),
		json_sprintf("%lld", json_integer_value(json_object_get(host, "restarts"))),
		output_escaped(output_member(host, "reason", "")));
}

static void print_table(const json_t *hosts)
{
	json_t *rows = json_pack("[[s, s, s, s, s, s, s, s, s, s]]", "HOST", "VIP", "STATE", "FOR",
		"RTT", "IN", "OUT", "DROPS", "RESTARTS", "LAST LOST");
	json_t *host;
	size_t i;

	json_array_foreach(hosts, i, host)
	{
		json_array_append_new(rows, make_row(host));
	}
	output_table(rows, 0);
	json_decref(rows);
}

/* --- the questions -------------------------------------------------------------------------- */

/* Ask; NULL with @err filled when it does not answer or refuses. */
static json_t *call(int sock, json_t *question, struct err *err)
{
	json_t *answer;

	control_call(sock, "mesh", question, &answer, NULL, err);
	return answer;
}

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

static int print_status(int sock, bool is_json, struct err *err)
{
	json_t *status = ask_status(sock, err);

	if (!status)
		return cmd_failed(err);
	json_object_del(status, "ok");
	json_object_del(status, "total");
	if (is_json)
		output_json(status);
	else
		print_table(json_object_get(status, "hosts"));
	json_decref(status);
	return output_end(err) < 0 ? cmd_failed(err) : 0;
}

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
	(void)is_json;
	cmd_wake(sock);
	json_t *answer = call(sock, json_pack("{s:s}", "op", "stop"), err);
	/* it may have ended before it could answer: that is what is wanted */
	if (!answer && err->code != EPIPE)
		return cmd_failed(err);
	json_decref(answer);
	cmd_await_end(sock);
	return 0;
}

static const struct question questions[] = {
	{"status", true, print_status},
	{"reload", false, reload},
	{"stop", false, stop},
};

const struct question *question_find(const char *word)
{
	for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++)
		if (strcmp(questions[i].word, word) == 0)
			return &questions[i];
	return NULL;
}

int question_ask(const struct question *question, const char *name, bool is_json)
{
	struct err err = {0};
	_cleanup_fd_ int sock = cmd_connect(REGISTRY_MESH, name, &err);

	return sock < 0 ? cmd_failed(&err) : question->ask(sock, is_json, &err);
}
