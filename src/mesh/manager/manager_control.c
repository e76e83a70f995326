/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/manager_control - the name of a mesh, and what it can be asked */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn/dial.h"
#include "control/control.h"
#include "mesh/manager/manager_control.h"
#include "mesh/manager/manager_parts.h"
#include "util/fd.h"

#define CLIENTS_MAX 32
#define NUMBER_MAX  99
#define PAUSE_MS    100 /* while descriptors are short: who asks waits in the kernel */

static void client_free(struct manager_client *client)
{
	struct manager_client **at = &client->manager->clients;

	while (*at != client)
		at = &(*at)->next;
	*at = client->next;
	loop_io_del(client->manager->loop, &client->io);
	fd_close(&client->io.fd);
	free(client);
}

/* --- questions ---------------------------------------------------------------------------- */

static json_t *refusal(const char *reason)
{
	return json_pack("{s:b, s:s}", "ok", 0, "error", reason);
}

static json_t *answer_reload(struct manager *manager)
{
	json_t *errors = json_array();

	manager_reload(manager, errors);
	return json_pack("{s:b, s:I, s:o}", "ok", 1, "hosts", (json_int_t)manager->manifest.nhosts,
		"errors", errors);
}

static json_t *answer(struct manager *manager, const json_t *question)
{
	const char *op = json_string_value(json_object_get(question, "op"));
	json_int_t from = json_integer_value(json_object_get(question, "from"));

	if (!op)
		return refusal("a question is an object with a text \"op\"");
	if (strcmp(op, "status") == 0)
		return status_json(manager, from < 0 ? SIZE_MAX : (size_t)from);
	if (strcmp(op, "reload") == 0)
		return answer_reload(manager);
	if (strcmp(op, "stop") != 0)
		return refusal("unknown op");
	manager_stop(manager);
	return json_pack("{s:b}", "ok", 1);
}

static void on_client(struct loop_io *io, uint32_t events)
{
	struct manager_client *client =
		(struct manager_client *)((char *)io - offsetof(struct manager_client, io));
	char *text = malloc(CONTROL_MESSAGE_MAX);

	(void)events;
	ssize_t got = text ? fd_recv(io->fd, text, CONTROL_MESSAGE_MAX, NULL, 0, NULL) : -ENOMEM;
	if (got > 0) {
		json_t *question = json_loadb(text, (size_t)got, JSON_REJECT_DUPLICATES, NULL);

		if (control_send(io->fd, answer(client->manager, question), NULL, 0) < 0)
			got = 0; /* it does not read its answers */
		json_decref(question);
	}
	free(text);
	if (got <= 0 && got != -EAGAIN)
		client_free(client);
}

static void on_control(struct loop_io *io, uint32_t events)
{
	struct manager *manager =
		(struct manager *)((char *)io - offsetof(struct manager, control_io));
	size_t count = 0;
	_cleanup_fd_ int sock = accept4(io->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (sock < 0 && dial_is_short(-errno)) {
		loop_io_mod(manager->loop, io, 0);
		loop_timer_set(manager->loop, &manager->control_timer, PAUSE_MS);
		return;
	}
	for (struct manager_client *client = manager->clients; client; client = client->next)
		count++;
	if (sock < 0 || count >= CLIENTS_MAX)
		return;
	if (!control_is_ours(sock, io->fd)) {
		control_send(sock, refusal("it is not for another user or for a sandbox"), NULL, 0);
		return;
	}
	struct manager_client *client = calloc(1, sizeof(*client));
	if (!client)
		return;
	client->manager = manager;
	client->io = (struct loop_io){fd_take(&sock), on_client};
	client->next = manager->clients;
	manager->clients = client;
	if (loop_io_add(manager->loop, &client->io, EPOLLIN) < 0)
		client_free(client);
}

static void on_pause_over(struct loop_timer *timer)
{
	struct manager *manager =
		(struct manager *)((char *)timer - offsetof(struct manager, control_timer));

	loop_io_mod(manager->loop, &manager->control_io, EPOLLIN);
}

/* --- the name ----------------------------------------------------------------------------- */

/* "site" of "/etc/site.yaml", with what may not be in a name as '_'. */
static void make_name(const char *path, char *out, size_t cap_bytes)
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	const char *dot = strrchr(base, '.');
	size_t len = strlen(base);

	if (dot && dot > base && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0))
		len = (size_t)(dot - base);
	if (strcmp(path, "-") == 0) {
		base = "mesh";
		len = strlen(base);
	}
	snprintf(out, cap_bytes, "%.*s", (int)(len < INT_MAX ? len : INT_MAX), base);
	for (size_t i = 0; out[i] != '\0'; i++) {
		char letter[2] = {out[i], '\0'};

		/* what may not come first may be anywhere else */
		if (!registry_name_is_valid(
			    i == 0 || (letter[0] != '.' && letter[0] != '-') ? letter : "x"))
			out[i] = '_';
	}
}

static int reserve(int dir_fd, const char *name, struct registry_entry *out, struct err *err)
{
	int result = registry_reserve(dir_fd, name, name, out, err);

	if (result == -EEXIST)
		err_set(err, EEXIST,
			"a mesh \"%s\" is running already: -n gives this one another "
			"name",
			name);
	return result;
}

static int reserve_free_one(
	int dir_fd, const char *path, struct registry_entry *out, struct err *err)
{
	char base[REGISTRY_NAME_MAX - 10], name[REGISTRY_NAME_MAX + 1];

	make_name(path, base, sizeof(base));
	int result = reserve(dir_fd, base, out, err);
	for (unsigned number = 2; result == -EEXIST && number <= NUMBER_MAX; number++) {
		snprintf(name, sizeof(name), "%s-%u", base, number);
		result = reserve(dir_fd, name, out, err);
	}
	return result;
}

int mesh_control_open(struct manager *manager, struct err *err)
{
	const struct manager_config *config = manager->config;
	struct registry_entry *entry = &manager->entry;
	char path[PATH_MAX];
	_cleanup_fd_ int dir_fd = registry_open_below(MESH_DIRECTORY, path, sizeof(path), err);

	if (dir_fd < 0)
		return dir_fd;
	int result = config->name ? reserve(dir_fd, config->name, entry, err)
				  : reserve_free_one(dir_fd, config->path, entry, err);
	if (result == 0)
		result = registry_publish(entry, err);
	if (result < 0)
		return result;
	manager->control_io = (struct loop_io){entry->listen_fd, on_control};
	manager->control_timer.on_expired = on_pause_over;
	result = loop_io_add(manager->loop, &manager->control_io, EPOLLIN);
	return result < 0 ? err_sys(err, -result, "cannot watch the control socket") : 0;
}

void mesh_control_close(struct manager *manager)
{
	loop_timer_cancel(manager->loop, &manager->control_timer);
	loop_io_del(manager->loop, &manager->control_io);
	registry_release(&manager->entry);
	/* last: who waits for the end finds the name free */
	while (manager->clients)
		client_free(manager->clients);
}
