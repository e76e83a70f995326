/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/mesh - make one network of the hosts of a manifest, or ask one that runs */
#include "cmd/mesh.h"

#include <errno.h>
#include <glib.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "cmd/guess.h"
#include "cmd/habits.h"
#include "cmd/mesh_graph.h"
#include "cmd/mesh_live.h"
#include "cmd/mesh_status.h"
#include "cmd/output.h"
#include "control/control.h"
#include "mesh/manager/manager.h"
#include "mesh/manager/parcel.h"
#include "mesh/manifest/example.h"
#include "util/fd.h"
#include "util/log.h"

#define OPERANDS_MAX    2
#define AGENT_FILES_MAX 8
#define WHY_COLUMNS     10
#define GAP_COLUMNS     2 /* of a table (cmd/output) */

struct mesh_request {
	const char *name, *format;
	bool is_check, is_strict, is_example, is_json, is_watch;
	int verbosity; /* -q: below 0; -v: above */
	char *agent_files[AGENT_FILES_MAX + 1];
};

static int add_agent_file(void *target, const char *value, struct err *err)
{
	char **files = target;
	size_t count = 0;

	while (files[count])
		count++;
	if (count == AGENT_FILES_MAX)
		return err_set(err, EINVAL, "expected at most %d of them", AGENT_FILES_MAX);
	files[count] = (char *)value;
	return 0;
}

static int set_format(void *target, const char *value, struct err *err)
{
	*(const char **)target = value;
	return mesh_graph_check_format(value, err);
}

static int set_name(void *target, const char *value, struct err *err)
{
	*(const char **)target = value;
	return registry_check_name(REGISTRY_MESH, value, err);
}

#define AT(field) offsetof(struct mesh_request, field)

static const struct option_def options[] = {
	{0, "check", NULL, "read the manifest, report all that is wrong in it, start nothing",
		option_set_true, AT(is_check)},
	{0, "strict", NULL, "with --check: take warnings for errors", option_set_true,
		AT(is_strict)},
	{0, "example", NULL, "print a commented manifest", option_set_true, AT(is_example)},
	{'n', "name", "MESH",
		"of the mesh; status, reload, stop: which one (the manifest's name without .yaml)",
		set_name, AT(name)},
	{0, "json", NULL, "status: print JSON", option_set_true, AT(is_json)},
	{'w', "watch", NULL, "status: every second, with what goes through a second",
		option_set_true, AT(is_watch)},
	{0, "agent-file", "FILE",
		"the nswrap-agent that `install` brings to machines of its kind; repeatable",
		add_agent_file, AT(agent_files)},
	{0, "format", "dot|svg|mermaid", "graph: " MESH_GRAPH_FORMATS, set_format, AT(format)},
	{'q', "quiet", NULL, "say only what went wrong", cmd_set_quiet, AT(verbosity)},
	{'v', "verbose", NULL, "say more; repeatable", cmd_set_verbose, AT(verbosity)},
	{.name = NULL},
};

/* --- the table of a status ------------------------------------------------------------------ */

/* BYTES/PACKETS */
static json_t *format_traffic(const json_t *traffic)
{
	char bytes[OUTPUT_COUNT_BYTES], packets[OUTPUT_COUNT_BYTES];

	return json_sprintf("%s/%s",
		output_count(json_integer_value(json_object_get(traffic, "bytes")), bytes),
		output_count(json_integer_value(json_object_get(traffic, "packets")), packets));
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
	const char *note = output_member(host, "note", "");
	char drops[OUTPUT_COUNT_BYTES];

	return json_pack("[o, s, s, o, o, o, o, o, s, o, o]",
		output_escaped(output_member(host, "name", "")), output_member(host, "vip", ""),
		output_member(host, "state", ""), output_escaped(output_member(host, "stack", "-")),
		output_age(json_integer_value(json_object_get(host, "age"))),
		json_is_number(rtt) ? json_sprintf("%.2fms", json_number_value(rtt))
				    : json_string("-"),
		format_traffic(json_object_get(host, "in")),
		format_traffic(json_object_get(host, "out")), output_count(sum_drops(host), drops),
		json_sprintf("%lld", json_integer_value(json_object_get(host, "restarts"))),
		output_escaped(note[0] != '\0' ? note : output_member(host, "reason", "")));
}

/* Columns of @rows with some of WHY: that is cut in narrow terminals, names and addresses are not.
 */
static int least_width(const json_t *rows)
{
	const size_t why = json_array_size(json_array_get(rows, 0)) - 1;
	int width = WHY_COLUMNS;
	json_t *row;
	size_t i;

	for (size_t column = 0; column < why; column++) {
		int widest = 0;

		json_array_foreach(rows, i, row)
		{
			const char *cell = json_string_value(json_array_get(row, column));
			widest = MAX(widest, output_columns(cell));
		}
		width += widest + GAP_COLUMNS;
	}
	return width;
}

static void print_table(const json_t *hosts)
{
	json_t *rows = json_pack("[[s, s, s, s, s, s, s, s, s, s, s]]", "HOST", "VIP", "STATE",
		"STACK", "FOR", "RTT", "IN", "OUT", "DROPS", "RESTARTS", "WHY");
	json_t *host;
	size_t i;

	json_array_foreach(hosts, i, host)
	{
		json_array_append_new(rows, make_row(host));
	}
	const int columns = output_width();
	output_table(rows, columns > 0 ? MAX(columns, least_width(rows)) : 0);
	json_decref(rows);
}

/* What is said already of a port is not said again: "port 80 of 127.0.42.101 is in use by..." */
static const char *after_port(const char *why, json_int_t number, const char *ip)
{
	char known[64];
	int len = snprintf(known, sizeof(known), "port %lld of %s is ", number, ip);
	const char *at = strncmp(why, "UDP ", 4) == 0 ? why + 4 : why;

	return strncmp(at, known, (size_t)len) == 0 ? at + len : why;
}

/* "port 80/udp of 127.0.42.101", for what does not work. */
static void print_port(FILE *out, const json_t *host, const json_t *port, const char *what)
{
	json_int_t number = json_integer_value(json_object_get(port, "port"));
	json_int_t count = json_integer_value(json_object_get(port, "count"));
	json_t *name = output_escaped(output_member(host, "name", ""));
	json_t *why = output_escaped(output_member(port, "why", ""));

	fprintf(out, "%s: ", json_string_value(name));
	if (number > 0)
		fprintf(out, "port %lld%s of ", number,
			strcmp(output_member(port, "proto", ""), "udp") == 0 ? "/udp" : "");
	const char *ip = output_member(port, "ip", "");
	fprintf(out, "%s%s: %s", ip, what, after_port(json_string_value(why), number, ip));
	if (count > 0) {
		json_t *age = output_age(json_integer_value(json_object_get(port, "age")));

		fprintf(out, " (%lld times, last %s ago)", count, json_string_value(age));
		json_decref(age);
	}
	fputc('\n', out);
	json_decref(name);
	json_decref(why);
}

/* @what of one port, @of_many of several. */
static void print_ports(FILE *out, const json_t *host, const char *list, const char *total,
	const char *what, const char *of_many)
{
	json_t *ports = json_object_get(host, list), *port, *name;
	json_int_t all = json_integer_value(json_object_get(host, total));
	size_t i;

	json_array_foreach(ports, i, port)
	{
		print_port(out, host, port, what);
	}
	if (all <= (json_int_t)i)
		return;
	name = output_escaped(output_member(host, "name", ""));
	const json_int_t more = all - (json_int_t)i;
	fprintf(out, "%s: %lld more port%s\n", json_string_value(name), more,
		more == 1 ? what : of_many);
	json_decref(name);
}

static void print_unexposed(FILE *out, const json_t *host)
{
	const json_int_t count = json_integer_value(json_object_get(host, "unexposed"));

	if (count == 0)
		return;
	json_t *name = output_escaped(output_member(host, "name", "")),
	       *last = output_escaped(output_member(host, "unexposed_last", ""));
	fprintf(out, "%s: asked %lld times for what it does not expose, the last time for %s\n",
		json_string_value(name), count, json_string_value(last));
	json_decref(name);
	json_decref(last);
}

/* Why it has not the best one. */
static void print_stack(FILE *out, const json_t *host)
{
	const char *why = output_member(host, "stack_why", "");

	if (why[0] == '\0')
		return;
	json_t *name = output_escaped(output_member(host, "name", "")), *text = output_escaped(why);
	fprintf(out, "%s: its connections are streams: %s\n", json_string_value(name),
		json_string_value(text));
	json_decref(name);
	json_decref(text);
}

/* Who could not be asked which hosts there are. */
static void print_lists(FILE *out, const json_t *lists)
{
	json_t *list;
	size_t i;

	json_array_foreach(lists, i, list)
	{
		const char *reason = output_member(list, "reason", "");

		if (reason[0] == '\0')
			continue;
		json_t *words = output_escaped(output_member(list, "list", "")),
		       *why = output_escaped(reason);
		fprintf(out, "list %s: %s\n", json_string_value(words), json_string_value(why));
		json_decref(words);
		json_decref(why);
	}
}

/* Below the table: what does not work, although the host is ready. */
static void print_troubles(FILE *out, const json_t *status)
{
	const json_t *hosts = json_object_get(status, "hosts");
	json_t *host;
	size_t i;

	print_lists(out, json_object_get(status, "lists"));
	json_array_foreach(hosts, i, host)
	{
		print_ports(out, host, "missing", "missing_total", " is missing", "s are missing");
		print_ports(out, host, "failing", "failing_total", " does not lead anywhere",
			"s do not lead anywhere");
		print_unexposed(out, host);
		print_stack(out, host);
	}
}

/* --- the questions -------------------------------------------------------------------------- */

/* Ask; NULL with @err filled when it does not answer or refuses. */
static json_t *call(int sock, json_t *question, struct err *err)
{
	json_t *answer;

	control_call(sock, "mesh", question, &answer, NULL, err);
	return answer;
}

static int ask_part(void *owner, json_t *question, json_t **answer, struct err *err)
{
	return control_call(*(int *)owner, "mesh", question, answer, NULL, err);
}

static int print_status(int sock, const struct mesh_request *request, struct err *err)
{
	if (request->is_watch)
		return mesh_live_run(sock, request->is_json, print_troubles, err);
	json_t *status;
	int result = mesh_status_ask(ask_part, &sock, &status, err);

	if (result < 0)
		return result;
	json_object_del(status, "ok");
	json_object_del(status, "total");
	if (request->is_json) {
		output_json(status);
	} else {
		print_table(json_object_get(status, "hosts"));
		print_troubles(stdout, status);
	}
	json_decref(status);
	return 0;
}

/* Everything about the manifest is shown, as --check would show it. */
static int reload(int sock, const struct mesh_request *request, struct err *err)
{
	json_t *answer = call(sock, json_pack("{s:s}", "op", "reload"), err), *line;
	size_t i;

	(void)request;
	if (!answer)
		return -err->code;
	json_array_foreach(json_object_get(answer, "warnings"), i, line)
	{
		log_warning("%s", json_string_value(line) ? json_string_value(line) : "?");
	}
	json_array_foreach(json_object_get(answer, "errors"), i, line)
	{
		log_error("%s", json_string_value(line) ? json_string_value(line) : "?");
	}
	json_decref(answer);
	return i > 0 ? EXIT_USAGE : 0;
}

static int stop(int sock, const struct mesh_request *request, struct err *err)
{
	(void)request;
	cmd_wake(sock);
	json_t *answer = call(sock, json_pack("{s:s}", "op", "stop"), err);
	/* it may have ended before it could answer: that is what is wanted */
	if (!answer && err->code != EPIPE)
		return -err->code;
	json_decref(answer);
	cmd_await_end(sock, -1);
	return 0;
}

static int print_graph(int sock, const struct mesh_request *request, struct err *err)
{
	return mesh_graph_print(sock, request->format, err);
}

/* What may be asked of a mesh that runs. */
static const struct question {
	const char *word;
	bool has_json; /* can be answered in JSON */
	/* Prints the answer. Returns the exit status, or -errno with @err filled. */
	int (*ask)(int sock, const struct mesh_request *request, struct err *err);
} questions[] = {
	{"status", true, print_status},
	{"graph", false, print_graph},
	{"reload", false, reload},
	{"stop", false, stop},
};

static const struct question *find_question(const char *word)
{
	for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++)
		if (strcmp(questions[i].word, word) == 0)
			return &questions[i];
	return NULL;
}

static int ask(
	const struct question *question, const char *name, const struct mesh_request *request)
{
	struct err err = {0};
	_cleanup_fd_ int sock = cmd_connect(REGISTRY_MESH, name, &err);
	int result = sock < 0 ? sock : question->ask(sock, request, &err);

	return result < 0 ? cmd_failed(&err) : result;
}

/* --- the mesh itself ------------------------------------------------------------------------ */

/* What was said of a manifest. */
struct reports {
	const struct mesh_request *request;
	size_t warnings;
};

static void on_report(void *told, enum manifest_weight weight, const char *line)
{
	struct reports *reports = told;
	bool is_fault = weight == MANIFEST_ERROR ||
			(weight == MANIFEST_WARNING && reports->request->is_strict);

	reports->warnings += weight == MANIFEST_WARNING;
	log_line(is_fault ? LOG_ERROR : LOG_WARNING, "%s", line);
}

static bool has_install(const struct manifest *manifest)
{
	bool has = false;

	for (size_t i = 0; i < manifest->nhosts; i++)
		has = has || manifest->hosts[i].install;
	for (size_t i = 0; i < manifest->ncrowds; i++)
		has = has || manifest->crowds[i].each.install;
	return has;
}

/* Hosts may be of another kind than this machine, and of which kind only they can say. */
static void check_agent(struct reports *reports, const struct manifest *manifest)
{
	char line[sizeof(((struct err *)NULL)->text) + 64];
	struct parcel parcel;
	struct utsname own;
	struct err err;

	if (!has_install(manifest) || reports->request->agent_files[0] || uname(&own) < 0)
		return;
	if (parcel_open(&parcel, own.machine, NULL, &err) == 0) {
		parcel_free(&parcel);
		return;
	}
	snprintf(line, sizeof(line), "warning: install: %s: hosts like this machine get none",
		err.text);
	on_report(reports, MANIFEST_WARNING, line);
}

/* Returns the exit status. */
static int finish_check(const struct reports *reports, const struct manifest *manifest)
{
	const char *s = reports->warnings == 1 ? "" : "s";

	if (reports->warnings > 0 && reports->request->is_strict) {
		log_error("%zu warning%s: --strict takes none", reports->warnings, s);
		return EXIT_USAGE;
	}
	printf("%zu host%s", manifest->nhosts, manifest->nhosts == 1 ? "" : "s");
	if (manifest->ncrowds > 0)
		printf(" and %zu list%s", manifest->ncrowds, manifest->ncrowds == 1 ? "" : "s");
	printf(": fine");
	if (reports->warnings > 0)
		printf(", with %zu warning%s", reports->warnings, s);
	printf("\n");
	return 0;
}

static int run_mesh(const struct mesh_request *request, const char *path)
{
	const struct manager_config config = {
		.path = path, .name = request->name, .agent_files = request->agent_files};
	struct manifest manifest = {0};
	struct err err = {0};
	struct reports reports = {.request = request};
	int status = 0;

	if (manifest_read(path, &manifest, on_report, &reports) < 0)
		return EXIT_USAGE;
	if (request->is_check) {
		check_agent(&reports, &manifest);
		status = finish_check(&reports, &manifest);
		manifest_free(&manifest);
		return status;
	}
	return manager_run(&config, &manifest, &status, &err) < 0 ? cmd_failed(&err) : status;
}

static int check_operands(const struct mesh_request *request, const struct question *question,
	char **operands, int count, struct err *err)
{
	if (count == 0 && !request->is_example)
		return err_set(err, EINVAL,
			"a MANIFEST is missing: expected nswrap mesh MANIFEST; nswrap mesh "
			"--example prints one");
	if (count > 0 && !question && guess_check_manifest(operands[0], err) < 0)
		return -EINVAL;
	if (count > (request->is_example ? 0 : question ? 2 : 1))
		return err_set(err, EINVAL, "%s: expected nothing here", operands[count - 1]);
	if (request->is_strict && !request->is_check)
		return err_set(err, EINVAL, "--strict: only with --check");
	if (request->is_json && !(question && question->has_json))
		return err_set(err, EINVAL, "--json: only status prints it");
	if (request->is_watch && !(question && question->has_json))
		return err_set(err, EINVAL, "--watch: only with status");
	if (request->format && !(question && question->ask == print_graph))
		return err_set(err, EINVAL, "--format: only with graph");
	return 0;
}

static int run(const struct cmd_call *call)
{
	struct mesh_request request = {0};
	char *operands[OPERANDS_MAX] = {NULL};
	struct err err = {0};

	int count =
		cmd_operands(options, habits_mesh, call, &request, operands, OPERANDS_MAX, &err);
	const struct question *question = count > 0 ? find_question(operands[0]) : NULL;
	if (count < 0 || check_operands(&request, question, operands, count, &err) < 0)
		return cmd_usage_error(&err);
	cmd_set_log_level(request.verbosity);
	if (request.is_example) {
		fputs(example_manifest, stdout);
		return 0;
	}
	if (question)
		return ask(question, operands[1] ? operands[1] : request.name, &request);
	return run_mesh(&request, operands[0]);
}

const struct subcommand mesh_subcommand = {
	.name = "mesh",
	.synopsis =
		"mesh [OPTION...] MANIFEST\nMANIFEST.yaml\nmesh --check [--strict] MANIFEST | mesh --example\n"
		"mesh status [--watch] [--json] [MESH]\n"
		"mesh graph [--format dot|svg|mermaid] [MESH]\nmesh reload|stop [MESH]",
	.summary = "make one network of hosts that commands lead to",
	.options = options,
	.run = run,
};
