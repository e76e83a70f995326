/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/port - show or change the forwards of a running sandbox */
#include "cmd/port.h"

#include <errno.h>
#include <glib.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/habits.h"
#include "cmd/output.h"
#include "cmd/resolve.h"
#include "conn/bind.h"
#include "control/control.h"
#include "forward/spec.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/parse.h"

#define OPERANDS_MAX (FORWARD_MAX + 2)
#define CLOSED_MS    5000 /* for a net process that has much to do */

/* What the options say. Texts point into argv. */
struct port_options {
	bool is_json;
	const char *reverses[OUTWARD_MAX];
	size_t nreverses;
};

static int add_reverse(void *target, const char *value, struct err *err)
{
	struct port_options *given = target;

	if (given->nreverses == OUTWARD_MAX)
		return err_set(
			err, EINVAL, "given too often: expected at most %d times", OUTWARD_MAX);
	given->reverses[given->nreverses++] = value;
	return 0;
}

static const struct option_def options[] = {
	{'R', "reverse", "SPEC", "of add and remove: a port inside that leads outwards; repeatable",
		add_reverse, 0},
	{0, "json", NULL, "print JSON: an array of forwards, and of ports that lead outwards",
		option_set_true, offsetof(struct port_options, is_json)},
	{.name = NULL},
};

/* --- SPECs -------------------------------------------------------------------------------- */

/* A relative path is meant from here, not from where the sandbox was started. */
static char *make_absolute(const char *spec, struct err *err)
{
	char cwd[PATH_MAX], *text = NULL;

	if (strncmp(spec, "unix:", 5) != 0 || spec[5] == '/' || spec[5] == '\0') {
		text = strdup(spec);
	} else if (!getcwd(cwd, sizeof(cwd))) {
		err_sys(err, errno, "%s: cannot tell the current directory", spec);
		return NULL;
	} else if (asprintf(&text, "unix:%s/%s", cwd, spec + 5) < 0) {
		text = NULL;
	}
	if (!text)
		err_sys(err, ENOMEM, "cannot read %s", spec);
	return text;
}

static int check_spec(const char *spec, struct err *err)
{
	struct forward_list list = {0};
	int result = spec_list_parse(&list, spec, NULL, err);

	spec_list_free(&list);
	return result;
}

/* What stands in front of the guest port will do, too. */
static int check_removal(const char *spec, struct err *err)
{
	struct forward_spec discard;

	if (strncmp(spec, "unix:", 5) == 0 && spec[5] != '\0')
		return 0;
	if (spec_host_parse(spec, NULL, &discard, NULL) == 0)
		return 0;
	return check_spec(spec, err);
}

/* The request's list; NULL with @err filled if a spec is wrong. */
static json_t *read_specs(char **specs, int count, bool is_removal, struct err *err)
{
	json_t *list = json_array();
	struct err reason;

	for (int i = 0; i < count; i++) {
		/* as it was written first, so that errors speak of that */
		int result = is_removal ? check_removal(specs[i], &reason)
					: check_spec(specs[i], &reason);
		char *text = result == 0 ? make_absolute(specs[i], &reason) : NULL;

		if (text && !is_removal && check_spec(text, &reason) < 0)
			result = -reason.code;
		else if (text && json_array_append_new(list, json_string(text)) < 0)
			result = err_set(&reason, EINVAL, "a path must be UTF-8 here");
		free(text);
		if (result == 0 && text)
			continue;
		err_set(err, EINVAL, "%s: %s", PARSE_SHOWN(specs[i]), reason.text);
		json_decref(list);
		return NULL;
	}
	return list;
}

/* What names a port that is to be removed: a path as the sandbox has it. */
static char *removal_text(const char *given, struct err *err)
{
	g_autofree char *marked = given[0] == '/' ? g_strconcat("unix:", given, NULL) : NULL;

	return make_absolute(marked ? marked : given, err);
}

/* The same for those of -R. */
static json_t *read_reverses(const struct port_options *given, bool is_removal, struct err *err)
{
	json_t *list = json_array();
	char text[OUTWARD_TEXT_BYTES];
	struct err reason;

	for (size_t i = 0; i < given->nreverses; i++) {
		struct outward_spec spec;
		int result = outward_parse(given->reverses[i], &spec, &reason);

		if (result == 0)
			result = resolve_outward(&spec, &reason);
		/* what stands in front of the target will do */
		if (is_removal && (result < 0 || !strchr(given->reverses[i], ':'))) {
			g_autofree char *front = removal_text(given->reverses[i], &reason);
			result = front ? json_array_append_new(list, json_string(front))
				       : -reason.code;
		} else if (result == 0 &&
			   json_array_append_new(list,
				   json_string(outward_format(&spec, text, sizeof(text)))) < 0) {
			result = err_set(&reason, EINVAL, "a path must be UTF-8 here");
		}
		if (result == 0)
			continue;
		err_set(err, EINVAL, "-R %s: %s", PARSE_SHOWN(given->reverses[i]), reason.text);
		json_decref(list);
		return NULL;
	}
	return list;
}

/* --- answers ------------------------------------------------------------------------------ */

/* Why clients of @forward are refused, or held, now: the server is at an address of its own,
 * perhaps.
 */
static void print_absence(const json_t *forward)
{
	char shown[ADDR_TEXT_BYTES * 4];
	json_t *there = json_object_get(forward, "elsewhere"), *place;
	size_t i;

	if (json_is_true(json_object_get(forward, "listening")))
		return;
	if (json_array_size(there) == 0) {
		printf(", nobody listens inside now");
		return;
	}
	printf(", nobody listens inside where it leads, such as 127.0.0.1, but at ");
	json_array_foreach(there, i, place)
	{
		const char *text = json_is_string(place) ? json_string_value(place) : "?";

		log_escape(text, strlen(text), shown, sizeof(shown));
		printf("%s%s", i > 0 ? ", " : "", shown);
	}
}

static void print_forwards(const json_t *forwards)
{
	char shown[FORWARD_TEXT_BYTES * 4], driver[FORWARD_TEXT_BYTES];
	size_t i;
	json_t *forward;

	json_array_foreach(forwards, i, forward)
	{
		const char *spec = output_member(forward, "spec", "?");
		const char *name = output_member(forward, "driver", "?");

		log_escape(spec, strlen(spec), shown, sizeof(shown));
		log_escape(name, strlen(name), driver, sizeof(driver));
		printf("%s (%s", shown, driver);
		print_absence(forward);
		putchar(')');
		const char *error = output_member(forward, "error", NULL);
		if (error) {
			log_escape(error, strlen(error), shown, sizeof(shown));
			printf(": lost (%s), trying again", shown);
		}
		putchar('\n');
	}
}

static void print_reverses(const json_t *reverses)
{
	char shown[OUTWARD_TEXT_BYTES * 4];
	size_t i;
	json_t *reverse;

	json_array_foreach(reverses, i, reverse)
	{
		const char *spec = output_member(reverse, "spec", "?");

		log_escape(spec, strlen(spec), shown, sizeof(shown));
		printf("%s (leads outwards)\n", shown);
	}
}

static void print_warnings(const json_t *warnings)
{
	size_t i;
	json_t *warning;

	json_array_foreach(warnings, i, warning)
	{
		if (json_is_string(warning))
			log_warning("%s", json_string_value(warning));
	}
}

static void print_answer(const json_t *answer, bool is_json)
{
	const json_t *forwards = json_object_get(answer, "forwards");
	json_t *reverses = json_object_get(answer, "reverses");

	print_warnings(json_object_get(answer, "warnings"));
	if (is_json) {
		json_t *all = json_array();

		json_array_extend(all, (json_t *)forwards);
		json_array_extend(all, reverses);
		output_json(all);
		json_decref(all);
	} else {
		print_forwards(forwards);
		print_reverses(reverses);
	}
}

/* Where @forward listened. Returns false for a path, and for what is none. */
static bool read_host(const json_t *forward, struct addr *host, enum proto *proto)
{
	const char *ip = output_member(forward, "host", NULL);
	json_int_t port = json_integer_value(json_object_get(forward, "host_port"));
	struct err discard;

	if (!ip || port <= 0 || port > UINT16_MAX || addr_parse_host(ip, host, &discard) < 0)
		return false;
	addr_set_port(host, (uint16_t)port);
	*proto = strcmp(output_member(forward, "proto", "tcp"), "udp") == 0 ? PROTO_UDP : PROTO_TCP;
	return true;
}

/* The net process has them a moment longer than the sandbox, and who asks us may want them now. */
static void await_closed(const json_t *removed)
{
	struct clock_wait wait = clock_wait_start(CLOSED_MS);
	char first[ADDR_TEXT_BYTES], more[48] = "";
	size_t i, in_use = 0;
	json_t *forward;

	json_array_foreach(removed, i, forward)
	{
		struct bound bound;
		enum proto proto;
		struct addr host;
		int result = -EINVAL;

		if (read_host(forward, &host, &proto))
			while ((result = bind_try(&host, proto, &bound)) == -EADDRINUSE &&
				clock_wait_go_on(&wait))
				;
		if (result == 0)
			bind_close(&bound);
		if (result == -EADDRINUSE && in_use++ == 0)
			addr_format(&host, first, sizeof(first));
	}
	if (in_use > 1)
		snprintf(more, sizeof(more), ", as are %zu more", in_use - 1);
	if (in_use > 0)
		log_warning("%s is still in use%s: by the sandbox's net process, if that stands "
			    "still, or by another program",
			first, more);
}

/* --- the three of them -------------------------------------------------------------------- */

static const struct port_action {
	const char *name, *op;
	bool has_specs;
} actions[] = {
	{"list", "status", false},
	{"add", "port-add", true},
	{"remove", "port-remove", true},
};

/* @word is none of them: which one was meant? Of docker's, `port SANDBOX` lists. */
static void refuse_action(const char *word, struct err *err)
{
	static const char *const names[] = {"list", "add", "remove"};
	static const char *const others[][2] = {{"ls", "list"}, {"show", "list"},
		{"status", "list"}, {"rm", "remove"}, {"del", "remove"}, {"delete", "remove"},
		{"new", "add"}, {"publish", "add"}};
	const char *meant = option_nearest(word, names, G_N_ELEMENTS(names));

	for (size_t i = 0; !meant && i < G_N_ELEMENTS(others); i++)
		if (strcmp(word, others[i][0]) == 0)
			meant = others[i][1];
	if (meant)
		err_set(err, EINVAL, "%s: did you mean nswrap port %s SANDBOX?", PARSE_QUOTED(word),
			meant);
	else
		err_set(err, EINVAL,
			"%s: expected list, add or remove, and then a SANDBOX, such as nswrap port "
			"list %s",
			PARSE_QUOTED(word), PARSE_SHOWN(word));
}

static const struct port_action *read_action(
	char **operands, int count, const struct port_options *given, struct err *err)
{
	if (count == 0) {
		err_set(err, EINVAL, "expected nswrap port list, add or remove");
		return NULL;
	}
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		if (strcmp(operands[0], actions[i].name) != 0)
			continue;
		if (count == 1)
			err_set(err, EINVAL,
				"a SANDBOX is missing: expected nswrap port %s SANDBOX%s; nswrap "
				"ps lists them",
				actions[i].name, actions[i].has_specs ? " SPEC..." : "");
		else if (actions[i].has_specs && count == 2 && given->nreverses == 0)
			err_set(err, EINVAL,
				"a SPEC is missing: expected nswrap port %s %s SPEC..., such as "
				"8080:80",
				actions[i].name, operands[1]);
		else if (!actions[i].has_specs && given->nreverses > 0)
			err_set(err, EINVAL, "-R goes with add and remove: list has no SPEC");
		else if (!actions[i].has_specs && count > 2)
			err_set(err, EINVAL, "%s: expected nothing behind the SANDBOX",
				PARSE_SHOWN(operands[2]));
		else
			return &actions[i];
		return NULL;
	}
	refuse_action(operands[0], err);
	return NULL;
}

static int ask(const char *name, json_t *request, bool is_json, struct err *err)
{
	_cleanup_fd_ int sock = cmd_connect(REGISTRY_SANDBOX, name, err);
	json_t *answer;

	if (sock < 0)
		return sock;
	int result = control_call(sock, "sandbox", json_incref(request), &answer, NULL, err);
	if (result == 0 &&
		(json_object_get(answer, "forwards") || json_object_get(answer, "reverses")))
		print_answer(answer, is_json);
	if (result == 0)
		await_closed(json_object_get(answer, "removed"));
	json_decref(answer);
	return result;
}

/* With the SPECs of either kind, if there are any. Returns the exit status. */
static int ask_with(const char *name, const char *op, json_t *specs, json_t *reverses, bool is_json)
{
	json_t *request = json_pack("{s:s}", "op", op);
	struct err err = {0};

	if (json_array_size(specs) > 0)
		json_object_set(request, "specs", specs);
	if (json_array_size(reverses) > 0)
		json_object_set(request, "reverses", reverses);
	int result = ask(name, request, is_json, &err);
	json_decref(request);
	return result < 0 ? cmd_failed(&err) : 0;
}

static int change(const struct port_action *action, char **operands, int count,
	const struct port_options *given)
{
	const bool is_removal = strcmp(action->name, "remove") == 0;
	struct err err = {0};
	json_t *specs = read_specs(operands + 1, count - 1, is_removal, &err);
	json_t *reverses = specs ? read_reverses(given, is_removal, &err) : NULL;
	int status = reverses ? ask_with(operands[0], action->op, specs, reverses, given->is_json)
			      : cmd_usage_error(&err);

	json_decref(specs);
	json_decref(reverses);
	return status;
}

static int run(const struct cmd_call *call)
{
	char *operands[OPERANDS_MAX];
	struct port_options given = {.is_json = false};
	struct err err = {0};

	int count = cmd_operands(options, habits_port, call, &given, operands, OPERANDS_MAX, &err);
	if (count < 0)
		return cmd_usage_error(&err);
	const struct port_action *action = read_action(operands, count, &given, &err);
	if (!action)
		return cmd_usage_error(&err);
	if (action->has_specs)
		return change(action, operands + 1, count - 1, &given);
	return ask_with(operands[1], action->op, NULL, NULL, given.is_json);
}

const struct subcommand port_subcommand = {
	.name = "port",
	.synopsis = "port list|add|remove SANDBOX [-R SPEC]... [SPEC...]",
	.summary = "show or change the forwards of a sandbox",
	.options = options,
	.run = run,
};
