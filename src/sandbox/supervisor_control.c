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

#define CLIENTS_MAX 128

static void client_free(struct control_client *client)
{
	struct control_client **at = &client->supervisor->clients;

	while (*at != client)
		at = &(*at)->next;
	*at = client->next;
	loop_io_del(client->supervisor->loop, &client->io);
	fd_close(&client->io.fd);
	free(client);
}

/* The arguments; of more than CONTROL_COMMAND_MAX bytes only the beginning. */
static json_t *command_json(char *const *argv)
{
	json_t *command = json_array();
	size_t left = CONTROL_COMMAND_MAX;

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
		supervisor->entry.name, "pid", supervisor->command, "command",
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

static int answer_enter(struct control_client *client)
{
	struct supervisor *supervisor = client->supervisor;
	const struct sandbox_config *config = supervisor->config;
	struct ucred peer;
	socklen_t len = sizeof(peer);
	json_t *answer = json_pack("{s:b, s:b, s:b, s:o}", "ok", 1, "root", config->is_root,
		"pid_ns", config->has_pid_ns, "env", env_json(supervisor));

	if (getsockopt(client->io.fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0)
		client->entered = peer.pid;
	supervisor->was_entered = true;
	return control_send(client->io.fd, answer, supervisor->init_fds, INIT_FD_PID + 1);
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

static json_t *perform(
	struct supervisor *supervisor, const struct control_request *request, struct err *err)
{
	size_t before = supervisor->forwards.count;

	switch (request->op) {
	case CONTROL_STATUS:
		return status_json(supervisor);
	case CONTROL_PORT_ADD:
		if (forwards_add(supervisor, request->specs, err) < 0)
			return NULL;
		return json_pack(
			"{s:b, s:o}", "ok", 1, "forwards", forwards_json(supervisor, before));
	case CONTROL_PORT_REMOVE:
		if (remove_ports(supervisor, request->specs, err) < 0)
			return NULL;
		break;
	case CONTROL_STOP:
		supervisor_terminate(supervisor, SIGTERM,
			request->has_timeout ? request->timeout_ms
					     : supervisor->config->stop_timeout_ms);
		break;
	case CONTROL_ENTER:
	case CONTROL_OPS:
		break;
	}
	return json_pack("{s:b}", "ok", 1);
}

static json_t *refusal(const char *reason)
{
	return json_pack("{s:b, s:o}", "ok", 0, "error", control_text(reason));
}

static int answer(struct control_client *client, const char *text, size_t len)
{
	struct control_request request;
	struct err err;
	json_t *reply = NULL;

	int result = control_request_decode(text, len, &request, &err);
	if (result == 0 && request.op == CONTROL_ENTER) {
		result = answer_enter(client);
		control_request_free(&request);
		return result;
	}
	if (result == 0) {
		reply = perform(client->supervisor, &request, &err);
		control_request_free(&request);
	}
	if (!reply)
		reply = refusal(err.text);
	result = control_send(client->io.fd, reply, NULL, 0);
	if (result == -EMSGSIZE)
		result = control_send(client->io.fd, refusal("the answer is too long"), NULL, 0);
	return result;
}

static void on_client(struct loop_io *io, uint32_t events)
{
	struct control_client *client =
		(struct control_client *)((char *)io - offsetof(struct control_client, io));
	char *text = malloc(CONTROL_MESSAGE_MAX);

	(void)events;
	ssize_t got = text ? fd_recv(io->fd, text, CONTROL_MESSAGE_MAX, NULL, 0, NULL) : -ENOMEM;
	if (got > 0 && answer(client, text, (size_t)got) < 0)
		got = 0; /* it does not read its answers */
	free(text);
	if (got <= 0 && got != -EAGAIN)
		client_free(client);
}

static void on_control(struct loop_io *io, uint32_t events)
{
	struct supervisor *supervisor =
		(struct supervisor *)((char *)io - offsetof(struct supervisor, control_io));
	size_t count = 0;
	_cleanup_fd_ int sock = accept4(io->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	for (struct control_client *client = supervisor->clients; client; client = client->next)
		count++;
	if (sock < 0 || count >= CLIENTS_MAX)
		return;
	if (!control_is_ours(sock, io->fd)) {
		control_send(
			sock, refusal("it is not for another user or another sandbox"), NULL, 0);
		return;
	}
	struct control_client *client = calloc(1, sizeof(*client));
	if (!client)
		return;
	client->supervisor = supervisor;
	client->io = (struct loop_io){fd_take(&sock), on_client};
	client->next = supervisor->clients;
	supervisor->clients = client;
	if (loop_io_add(supervisor->loop, &client->io, EPOLLIN) < 0)
		client_free(client);
}

int control_open(struct supervisor *supervisor, struct err *err)
{
	supervisor->control_io = (struct loop_io){supervisor->entry.listen_fd, on_control};
	int result = loop_io_add(supervisor->loop, &supervisor->control_io, EPOLLIN);

	return result < 0 ? err_sys(err, -result, "cannot watch the control socket") : 0;
}

void control_wake(const struct supervisor *supervisor)
{
	for (struct control_client *client = supervisor->clients; client; client = client->next)
		if (client->entered > 0)
			kill(client->entered, SIGCONT);
}

void control_close(struct supervisor *supervisor)
{
	while (supervisor->clients)
		client_free(supervisor->clients);
}
