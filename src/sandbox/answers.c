/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/answers - answer what a running sandbox is asked */
#include "sandbox/answers.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "control/control.h"
#include "sandbox/detach.h"
#include "sandbox/enter.h"
#include "sandbox/request.h"
#include "util/fd.h"
#include "util/list.h"

/* The arguments; of more than REQUEST_COMMAND_MAX bytes only the beginning. */
static json_t *command_json(char *const *argv)
{
	json_t *command = json_array();
	size_t left = REQUEST_COMMAND_MAX;

	for (; *argv && left > 0; argv++) {
		size_t len = strlen(*argv) + 1;
		char *cut = len > left ? strndup(*argv, left) : NULL;

		json_array_append_new(command, control_text(cut ? cut : *argv));
		free(cut);
		left -= len > left ? left : len;
	}
	return command;
}

json_t *answers_with_networks(json_t *object, const struct net_plan *plan)
{
	char text[NET_TEXT_BYTES];

	if (plan->has_outbound)
		json_object_set_new(object, "network", json_string(plan_format4(plan, text)));
	if (plan->has_outbound && plan->has_ipv6)
		json_object_set_new(object, "network6", json_string(plan_format6(plan, text)));
	return object;
}

static json_t *status_json(const struct answers *answers)
{
	json_t *status = json_pack("{s:b, s:s, s:o, s:o, s:I, s:I, s:o, s:o}", "ok", 1, "name",
		answers->server.entry.name, "pid",
		answers->command > 0 ? json_integer(answers->command) : json_null(), "command",
		command_json(answers->program->argv), "started", (json_int_t)answers->started,
		"age", (json_int_t)(time(NULL) - answers->started), "forwards",
		forwards_json(answers->forwards, 0), "reverses",
		outwards_json(answers->outwards, 0));

	json_t *defaults = json_array();
	for (const char *const *at = answers->config->defaults; at && *at; at++)
		json_array_append_new(defaults, control_text(*at));
	json_object_set_new(status, "defaults", defaults);
	if (answers->config->detach && answers->config->detach->path[0] != '\0')
		json_object_set_new(status, "log", control_text(answers->config->detach->path));
	return answers_with_networks(status, &answers->config->net);
}

/* The variables that COMMAND has and a program that joins it should have, too. */
static json_t *env_json(const struct answers *answers)
{
	json_t *env = json_array();

	for (char **item = answers->program->env; *item; item++)
		if (strncmp(*item, "NSWRAP_", 7) == 0)
			json_array_append_new(env, json_string(*item));
	return env;
}

/* The answer is sent: who got the end of a teller is the only one who has it. */
static void on_sent(struct loop_task *task)
{
	fd_close(&container_of(task, struct answers, sent_task)->entered[ENTER_NAMESPACES]);
}

static json_t *let_in(struct server_client *client, bool tells_names, struct err *err)
{
	struct answers *answers = client->server->owner;
	const struct sandbox_config *config = answers->config;

	memcpy(answers->entered, answers->namespaces, ENTER_NAMESPACES * sizeof(int));
	client->fds = answers->entered;
	client->nfds = ENTER_NAMESPACES;
	if (tells_names) {
		on_sent(&answers->sent_task); /* of another request in this round */
		int fd = tellers_open(answers->tellers, err);
		if (fd < 0)
			return NULL;
		answers->entered[client->nfds++] = fd;
		loop_task_add(answers->loop, &answers->sent_task);
	}
	client->is_marked = true;
	answers->was_entered = true;
	return json_pack("{s:b, s:b, s:b, s:b, s:o}", "ok", 1, "root", config->is_root, "pid_ns",
		config->has_pid_ns, "no_network", config_is_alone(config), "env",
		env_json(answers));
}

/* What is to lead in must not be led out again to where it comes from, and the reverse. */
static int check_forwards(const struct answers *answers, const char *const *texts, struct err *err)
{
	const struct outwards *outwards = answers->outwards;
	struct forward_list list = {0};
	int result = 0;

	for (; result == 0 && *texts; texts++)
		result = spec_list_parse(&list, *texts, &answers->config->bind, err);
	for (size_t i = 0; i < list.count; i++)
		for (size_t j = 0; result == 0 && j < outwards->count; j++)
			result =
				outward_check_circle(&outwards->items[j].spec, &list.items[i], err);
	spec_list_free(&list);
	return result;
}

static int check_reverses(const struct answers *answers, const char *const *texts, struct err *err)
{
	const struct forwards *forwards = answers->forwards;
	struct outward_spec spec;

	for (; *texts; texts++) {
		if (outward_parse(*texts, &spec, err) < 0)
			return -EINVAL;
		for (size_t i = 0; i < forwards->count; i++)
			if (outward_check_circle(&spec, &forwards->items[i].spec, err) < 0)
				return -EINVAL;
	}
	return 0;
}

/* All of them or none. */
static json_t *add_ports(
	const struct answers *answers, const struct request *request, struct err *err)
{
	struct forwards *forwards = answers->forwards;
	struct outwards *outwards = answers->outwards;
	const size_t nforwards = forwards->count, noutwards = outwards->count;
	json_t *warnings = json_array();

	if (check_reverses(answers, request->reverses, err) == 0 &&
		outwards_add_texts(outwards, request->reverses, err) == 0 &&
		check_forwards(answers, request->specs, err) == 0 &&
		forwards_add(forwards, request->specs, warnings, err) == 0) {
		outwards_tell(outwards, noutwards);
		return json_pack("{s:b, s:o, s:o, s:o}", "ok", 1, "forwards",
			forwards_json(forwards, nforwards), "reverses",
			outwards_json(outwards, noutwards), "warnings", warnings);
	}
	outwards_cut(outwards, noutwards);
	json_decref(warnings);
	return NULL;
}

static json_t *remove_ports(
	const struct answers *answers, const struct request *request, struct err *err)
{
	json_t *removed = json_array();

	if (outwards_check_named(answers->outwards, request->reverses, err) == 0 &&
		forwards_remove(answers->forwards, request->specs, removed, err) == 0 &&
		outwards_remove(answers->outwards, request->reverses, err) == 0)
		return json_pack("{s:b, s:o}", "ok", 1, "removed", removed);
	json_decref(removed);
	return NULL;
}

static json_t *on_request(struct server_client *client, json_t *message, struct err *err)
{
	struct answers *answers = client->server->owner;
	struct request request;

	if (request_decode(message, &request, err) < 0)
		return NULL;
	switch (request.op) {
	case REQUEST_STATUS:
		return status_json(answers);
	case REQUEST_PORT_ADD:
		return add_ports(answers, &request, err);
	case REQUEST_PORT_REMOVE:
		return remove_ports(answers, &request, err);
	case REQUEST_STOP:
		answers->on_stop(answers->owner, request.has_timeout
							 ? request.timeout_ms
							 : answers->config->stop_timeout_ms);
		break;
	case REQUEST_ENTER:
		return let_in(client, request.tells_names, err);
	case REQUEST_OPS:
		break;
	}
	return json_pack("{s:b}", "ok", 1);
}

static const struct server_rules rules = {
	.clients_max = 128,
	.strangers = "it is not for another user or another sandbox",
	.on_request = on_request,
};

int answers_open(struct answers *answers, struct loop *loop, struct err *err)
{
	answers->started = time(NULL);
	answers->loop = loop;
	answers->entered[ENTER_NAMESPACES] = -1;
	answers->sent_task.on_run = on_sent;
	return server_open(&answers->server, loop, &rules, answers, err);
}

void answers_wake(const struct answers *answers)
{
	list_each (at, &answers->server.clients) {
		const struct server_client *client = container_of(at, struct server_client, at);

		if (client->is_marked && client->pid > 0)
			kill(client->pid, SIGCONT);
	}
}
