/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/supervisor_control - answer what a running sandbox is asked */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandbox/supervisor_parts.h"
#include "util/fd.h"
#include "util/parse.h"

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

static json_t *status_json(const struct supervisor *supervisor)
{
	return json_pack("{s:b, s:s, s:i, s:o, s:I, s:I, s:o}", "ok", 1, "name",
		supervisor->server.entry.name, "pid", supervisor->command, "command",
		command_json(supervisor->argv), "started", (json_int_t)supervisor->started, "age",
		(json_int_t)(time(NULL) - supervisor->started), "forwards",
		forwards_json(supervisor, 0));
}

/* The variables that COMMAND has and a program that joins it should have, too. */
static json_t *env_json(const struct supervisor *supervisor)
{
	json_t *env = json_array();

	for (char **item = supervisor->env; *item; item++)
		if (strncmp(*item, "NSWRAP_", 7) == 0)
			json_array_append_new(env, json_string(*item));
	return env;
}

static void answer_enter(struct server_client *client, struct server_answer *answer)
{
	struct supervisor *supervisor = client->server->owner;
	const struct sandbox_config *config = supervisor->config;

	*answer = (struct server_answer){
		.message = json_pack("{s:b, s:b, s:b, s:o}", "ok", 1, "root", config->is_root,
			"pid_ns", config->has_pid_ns, "env", env_json(supervisor)),
		.fds = supervisor->init_fds,
		.nfds = INIT_FD_PID + 1,
	};
	client->is_marked = true;
	supervisor->was_entered = true;
}

/* Does @forward listen at @outside, "8080", "127.0.0.1:8080", "[::1]:8080" or "unix:PATH"? */
static bool listens_at(const struct supervised_forward *forward, const char *outside)
{
	const struct forward_spec *spec = &forward->spec;
	unsigned long port;
	struct forward_spec asked;

	if (spec->host.family == AF_UNIX)
		return strncmp(outside, "unix:", 5) == 0 &&
		       strcmp(outside + 5, spec->host.local.sun_path) == 0;
	if (parse_uint(outside, UINT16_MAX, &port) == 0)
		return addr_port(&spec->host) == port; /* at any address */
	return spec_host_parse(outside, NULL, &asked, NULL) == 0 &&
	       addr_equal(&asked.host, &spec->host);
}

/* Put the whole rule in the place of a text that is just what stands in front of its guest port. */
static int complete_spec(const struct supervisor *supervisor, char **text, struct err *err)
{
	const struct supervised_forward *found = NULL;
	struct forward_list list = {0};
	char full[FORWARD_TEXT_BYTES];

	if (spec_list_parse(&list, *text, &supervisor->config->bind, NULL) == 0) {
		spec_list_free(&list);
		return 0;
	}
	for (size_t i = 0; i < supervisor->forwards.count; i++) {
		const struct supervised_forward *forward = &supervisor->forwards.items[i];

		if (!listens_at(forward, *text))
			continue;
		if (found)
			return err_set(err, EINVAL,
				"%s: several forwards listen there: expected ADDR:HOST:GUEST/PROTO",
				*text);
		found = forward;
	}
	if (!found)
		return err_set(err, ENOENT, "there is no forward %s", *text);
	char *copy = strdup(spec_format(&found->spec, full, sizeof(full)));
	if (!copy)
		return err_sys(err, ENOMEM, "cannot read the rules");
	free(*text);
	*text = copy;
	return 0;
}

static int remove_ports(struct supervisor *supervisor, char **specs, struct err *err)
{
	for (char **spec = specs; *spec; spec++)
		if (complete_spec(supervisor, spec, err) < 0)
			return -err->code;
	return forwards_remove(supervisor, specs, err);
}

static json_t *ok(void)
{
	return json_pack("{s:b}", "ok", 1);
}

static int answer_one(struct server_client *client, const struct request *request,
	struct server_answer *answer, struct err *err)
{
	struct supervisor *supervisor = client->server->owner;
	size_t before = supervisor->forwards.count;

	switch (request->op) {
	case REQUEST_STATUS:
		answer->message = status_json(supervisor);
		break;
	case REQUEST_PORT_ADD:
		if (forwards_add(supervisor, request->specs, err) < 0)
			return -err->code;
		answer->message = json_pack(
			"{s:b, s:o}", "ok", 1, "forwards", forwards_json(supervisor, before));
		break;
	case REQUEST_PORT_REMOVE:
		if (remove_ports(supervisor, request->specs, err) < 0)
			return -err->code;
		answer->message = ok();
		break;
	case REQUEST_STOP:
		supervisor_terminate(supervisor, SIGTERM,
			request->has_timeout ? request->timeout_ms
					     : supervisor->config->stop_timeout_ms);
		answer->message = ok();
		break;
	case REQUEST_ENTER:
		answer_enter(client, answer);
		break;
	case REQUEST_OPS:
		break;
	}
	return 0;
}

static int on_request(struct server_client *client, json_t *message, struct server_answer *answer,
	struct err *err)
{
	struct request request;
	int result = request_decode(message, &request, err);

	if (result < 0)
		return result;
	result = answer_one(client, &request, answer, err);
	request_free(&request);
	return result;
}

static const struct server_rules rules = {
	.clients_max = 128,
	.strangers = "it is not for another user or another sandbox",
	.on_request = on_request,
};

int control_open(struct supervisor *supervisor, struct err *err)
{
	return server_open(&supervisor->server, supervisor->loop, &rules, supervisor, err);
}

void control_wake(const struct supervisor *supervisor)
{
	list_each (at, &supervisor->server.clients) {
		const struct server_client *client = container_of(at, struct server_client, at);

		if (client->is_marked && client->pid > 0)
			kill(client->pid, SIGCONT);
	}
}
