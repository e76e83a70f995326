/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/mesh_live - `nswrap mesh status --watch`: the hosts of a mesh as they are from second to
 * second */
#include "cmd/mesh_live.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd/mesh_status.h"
#include "cmd/output.h"
#include "cmd/watch.h"
#include "control/control.h"
#include "util/clock.h"
#include "util/log.h"

#define EVERY_MS 1000
#define HEADS    2 /* lines above the hosts */

struct live {
	struct watch watch;
	int sock;
	bool is_json;
	void (*print_troubles)(FILE *out, const json_t *status);
	json_t *last; /* {name: [bytes in, bytes out]} */
	uint64_t last_ns;
};

/* --- what is asked ------------------------------------------------------------------------ */

/* One answer. -ECANCELED: a signal has come instead. */
static int ask_part(void *owner, json_t *question, json_t **answer, struct err *err)
{
	struct live *live = owner;
	uint64_t until_ns = clock_now_ns() + CONTROL_TIMEOUT_MS * NS_PER_MS;
	int result = control_send(live->sock, question, NULL, 0);

	if (result < 0)
		return err_set(err, EPIPE, "cannot ask the mesh: %s", strerror(-result));
	do
		result = watch_wait(&live->watch, live->sock, EVERY_MS);
	while (result == 0 && clock_now_ns() < until_ns);
	if (result < 0)
		return err_sys(err, -result, "cannot wait for the mesh");
	return control_receive(live->sock, "mesh", 0, answer, NULL, err);
}

/* --- rates -------------------------------------------------------------------------------- */

static json_int_t bytes_of(const json_t *host, const char *way)
{
	return json_integer_value(json_object_get(json_object_get(host, way), "bytes"));
}

/* Bytes a second; what is smaller than it was has begun anew. null: nothing is known yet. */
static json_t *rate(json_int_t now, const json_t *before, double seconds)
{
	json_int_t then = json_integer_value(before);

	if (!before || seconds <= 0)
		return json_null();
	return json_integer((json_int_t)((double)(now < then ? now : now - then) / seconds));
}

/* Each way of each host has a "rate" from now on. */
static void add_rates(struct live *live, json_t *hosts)
{
	static const char *const ways[] = {"in", "out"};
	uint64_t now_ns = clock_now_ns();
	double seconds = (double)(now_ns - live->last_ns) / NS_PER_S;
	json_t *seen = json_object(), *host;
	size_t i;

	json_array_foreach(hosts, i, host)
	{
		const char *name = output_member(host, "name", "");
		json_t *before = json_object_get(live->last, name), *now = json_array();

		for (size_t way = 0; way < 2; way++) {
			json_int_t bytes = bytes_of(host, ways[way]);

			json_array_append_new(now, json_integer(bytes));
			json_object_set_new(json_object_get(host, ways[way]), "rate",
				rate(bytes, json_array_get(before, way), seconds));
		}
		json_object_set_new(seen, name, now);
	}
	json_decref(live->last);
	live->last = seen;
	live->last_ns = now_ns;
}

/* --- what is shown ------------------------------------------------------------------------ */

static bool is_ready(const json_t *host)
{
	return strcmp(output_member(host, "state", ""), "ready") == 0;
}

static json_t *count_text(const json_t *count)
{
	char text[OUTPUT_COUNT_BYTES];

	return json_string(
		json_is_number(count) ? output_count(json_integer_value(count), text) : "-");
}

static json_t *make_row(const json_t *host)
{
	const json_t *rtt = json_object_get(host, "rtt_ms"), *in = json_object_get(host, "in"),
		     *out = json_object_get(host, "out");
	const char *note = output_member(host, "note", "");

	return json_pack("[o, s, s, o, o, o, o, o, o]",
		output_escaped(output_member(host, "name", "")), output_member(host, "vip", ""),
		output_member(host, "state", ""),
		json_is_number(rtt) ? json_sprintf("%.2fms", json_number_value(rtt))
				    : json_string("-"),
		count_text(json_object_get(in, "rate")), count_text(json_object_get(out, "rate")),
		count_text(json_object_get(in, "bytes")), count_text(json_object_get(out, "bytes")),
		output_escaped(note[0] != '\0' ? note : output_member(host, "reason", "")));
}

static void print_head(FILE *out, const json_t *status, const json_t *hosts)
{
	size_t ready = 0, count = json_array_size(hosts), i;
	time_t now = time(NULL);
	char clock[16] = "";
	struct tm parts;
	json_t *host, *name = output_escaped(output_member(status, "name", ""));

	json_array_foreach(hosts, i, host)
	{
		ready += is_ready(host);
	}
	if (localtime_r(&now, &parts))
		strftime(clock, sizeof(clock), "%H:%M:%S", &parts);
	fprintf(out, "%s  %s: %zu of %zu host%s ready\n", clock, json_string_value(name), ready,
		count, count == 1 ? "" : "s");
	json_decref(name);
}

/* As many as there is room for: who is not ready comes first if that is not all. */
static json_t *choose(json_t *hosts, int lines)
{
	size_t count = json_array_size(hosts),
	       room = lines > HEADS + 1 ? (size_t)(lines - HEADS) : 1;
	json_t *chosen = json_array(), *host;
	size_t i;

	if (lines == 0 || count <= room)
		room = count;
	else
		room -= 1;
	for (int turn = room < count ? 0 : 2; turn < 3; turn++)
		json_array_foreach(hosts, i, host)
		{
			if (json_array_size(chosen) < room && (turn == 2 || is_ready(host) == turn))
				json_array_append(chosen, host);
		}
	return chosen;
}

static void print_hosts(FILE *out, json_t *hosts, int columns, int lines)
{
	json_t *chosen = choose(hosts, lines), *host;
	json_t *rows = json_pack("[[s, s, s, s, s, s, s, s, s]]", "HOST", "VIP", "STATE", "RTT",
		"IN/s", "OUT/s", "IN", "OUT", "WHY");
	size_t left = json_array_size(hosts) - json_array_size(chosen), i;

	json_array_foreach(chosen, i, host)
	{
		json_array_append_new(rows, make_row(host));
	}
	output_table_to(out, rows, columns);
	if (left > 0)
		fprintf(out, "and %zu more\n", left);
	json_decref(rows);
	json_decref(chosen);
}

static int show(struct live *live, json_t *status)
{
	json_t *hosts = json_object_get(status, "hosts");
	int columns, lines, result = -ENOMEM;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return -ENOMEM;
	watch_size(&live->watch, &columns, &lines);
	if (live->is_json) {
		json_dumpf(status, out, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(6));
		fputc('\n', out);
	} else {
		print_head(out, status, hosts);
		print_hosts(out, hosts, columns, lines);
		live->print_troubles(out, status);
		if (!live->watch.is_terminal)
			fputc('\n', out);
	}
	if (fclose(out) == 0)
		result = watch_show(&live->watch, text);
	free(text);
	return result;
}

/* --- on and on ---------------------------------------------------------------------------- */

/* Once. Returns 0 or -errno: -ECANCELED and -EPIPE are ends. */
static int look(struct live *live, struct err *err)
{
	json_t *status;
	int result = mesh_status_ask(ask_part, live, &status, err);

	if (result < 0)
		return result;
	add_rates(live, json_object_get(status, "hosts"));
	json_object_del(status, "ok");
	json_object_del(status, "total");
	result = show(live, status);
	json_decref(status);
	if (result < 0)
		return err_sys(err, -result, "cannot write to stdout");
	result = watch_wait(&live->watch, -1, EVERY_MS);
	return result < 0 ? err_sys(err, -result, "cannot wait") : 0;
}

int mesh_live_run(int sock, bool is_json, void (*print_troubles)(FILE *out, const json_t *status),
	struct err *err)
{
	struct live live = {.sock = sock, .is_json = is_json, .print_troubles = print_troubles};
	int result = watch_open(&live.watch, is_json, err);

	while (result == 0)
		result = look(&live, err);
	watch_close(&live.watch);
	json_decref(live.last);
	if (result == -EPIPE)
		log_notice("the mesh has ended");
	return result == -ECANCELED || result == -EPIPE ? 0 : result;
}
