/* SPDX-License-Identifier: Apache-2.0 */
/* control/server - the owner of a name: who may ask, what is asked, and the answers */
#include "control/server.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/control.h"
#include "util/fd.h"

#define PAUSE_MS 100

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* Linux 5.14 */
#endif

static int refuse(int sock, const char *reason)
{
	return control_send(
		sock, json_pack("{s:b, s:o}", "ok", 0, "error", control_text(reason)), NULL, 0);
}

/* --- clients ------------------------------------------------------------------------------ */

static void client_free(struct server_client *client)
{
	list_del(&client->at);
	client->server->nclients--;
	loop_io_del(client->server->loop, &client->io);
	fd_close(&client->io.fd);
	free(client);
}

/* Returns 0, or -errno when the client does not read its answers. */
static int answer(struct server_client *client, const char *text, size_t len)
{
	struct err err = {0};
	json_t *request = control_parse(text, len, &err), *message = NULL;

	client->nfds = 0;
	if (request)
		message = client->server->rules->on_request(client, request, &err);
	json_decref(request);
	if (!message && err.code != 0)
		return refuse(client->io.fd, err.text);
	int result = control_send(client->io.fd, message, client->fds, client->nfds);
	return result == -EMSGSIZE ? refuse(client->io.fd, "the answer is too long") : result;
}

static void on_client(struct loop_io *io, uint32_t events)
{
	struct server_client *client = container_of(io, struct server_client, io);
	char *text = malloc(CONTROL_MESSAGE_MAX);

	(void)events;
	ssize_t got = text ? fd_recv(io->fd, text, CONTROL_MESSAGE_MAX, NULL, 0, NULL) : -ENOMEM;
	if (got > 0 && answer(client, text, (size_t)got) < 0)
		got = 0;
	free(text);
	if (got <= 0 && got != -EAGAIN)
		client_free(client);
}

static void client_new(struct server *server, int *sock, pid_t pid)
{
	struct server_client *client = calloc(1, sizeof(*client));

	if (!client)
		return;
	client->server = server;
	client->pid = pid;
	client->io = (struct loop_io){fd_take(sock), on_client};
	list_add_last(&server->clients, &client->at);
	server->nclients++;
	if (loop_io_add(server->loop, &client->io, EPOLLIN) < 0)
		client_free(client);
}

/* --- accepting ---------------------------------------------------------------------------- */

/* Which network namespace @sock belongs to, an accepted one to its client's; 0 before Linux 5.14.
 */
static uint64_t netns_cookie(int sock)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	return getsockopt(sock, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) < 0 ? 0 : cookie;
}

static bool is_ours(int sock, int listen_fd, struct ucred *peer)
{
	socklen_t len = sizeof(*peer);

	return getsockopt(sock, SOL_SOCKET, SO_PEERCRED, peer, &len) == 0 &&
	       (peer->uid == geteuid() || peer->uid == 0) &&
	       netns_cookie(sock) == netns_cookie(listen_fd);
}

static void on_connection(struct loop_io *io, uint32_t events)
{
	struct server *server = container_of(io, struct server, io);
	_cleanup_fd_ int sock = accept4(io->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred peer;

	(void)events;
	if (sock < 0 && errno != EAGAIN) {
		loop_io_mod(server->loop, io, 0);
		loop_timer_set(server->loop, &server->pause, PAUSE_MS);
	}
	if (sock < 0 || server->nclients >= server->rules->clients_max)
		return;
	if (is_ours(sock, io->fd, &peer))
		client_new(server, &sock, peer.pid);
	else
		refuse(sock, server->rules->strangers);
}

static void on_pause_over(struct loop_timer *timer)
{
	struct server *server = container_of(timer, struct server, pause);

	loop_io_mod(server->loop, &server->io, EPOLLIN);
}

/* --- the server --------------------------------------------------------------------------- */

void server_init(struct server *server)
{
	*server = (struct server){
		.entry = {.dir_fd = -1, .lock_fd = -1, .listen_fd = -1, .pointer.hub_fd = -1},
		.io = {-1, on_connection},
		.pause.on_expired = on_pause_over,
	};
	list_init(&server->clients);
}

int server_open(struct server *server, struct loop *loop, const struct server_rules *rules,
	void *owner, struct err *err)
{
	server->loop = loop;
	server->rules = rules;
	server->owner = owner;
	int result = registry_publish(&server->entry, err);

	if (result < 0)
		return result;
	server->io.fd = server->entry.listen_fd;
	result = loop_io_add(loop, &server->io, EPOLLIN);
	return result < 0 ? err_sys(err, -result, "cannot watch the control socket") : 0;
}

void server_close(struct server *server)
{
	loop_timer_cancel(server->loop, &server->pause);
	loop_io_del(server->loop, &server->io);
	registry_release(&server->entry);
	/* last: who waits for the end finds the name free */
	while (!list_is_empty(&server->clients))
		client_free(list_first(&server->clients, struct server_client, at));
}
