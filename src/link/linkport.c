/* SPDX-License-Identifier: Apache-2.0 */
/* link/linkport - links that others open: a socket that listens, and who has proven to have the key
 */
#include "link/linkport.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "util/fd.h"

struct pending {
	struct linkport *port;
	struct list link;
	struct proof proof;
	struct addr peer;
	int fd;
};

/* Returns its descriptor, which is not counted any more. */
static int forget(struct pending *pending)
{
	struct linkport *port = pending->port;
	int fd = pending->fd;

	proof_cancel(&pending->proof);
	list_del(&pending->link);
	port->npending--;
	budget_give(port->context->budget, 1);
	free(pending);
	return fd;
}

static void refuse(struct pending *pending, const char *why)
{
	struct linkport *port = pending->port;
	struct addr peer = pending->peer;
	int fd = forget(pending);

	fd_reset(&fd);
	if (port->on_refused)
		port->on_refused(port, &peer, why);
}

static void on_proven(struct proof *proof, int result, const char *why)
{
	struct pending *pending = container_of(proof, struct pending, proof);
	struct linkport *port = pending->port;
	struct addr peer = pending->peer;

	if (result < 0)
		refuse(pending, why);
	else
		port->on_link(port, forget(pending), &peer);
}

static void ask(struct linkport *port, int fd, const struct addr *peer)
{
	struct pending *pending = calloc(1, sizeof(*pending));

	if (!pending) {
		fd_reset(&fd);
		return;
	}
	if (port->npending == LINKPORT_PENDING_MAX)
		refuse(list_first(&port->pending, struct pending, link),
			"others came while it has not proven to have the key");
	pending->port = port;
	pending->fd = fd;
	pending->peer = *peer;
	pending->proof = (struct proof){.loop = port->context->loop,
		.key = port->key,
		.role = port->role,
		.purpose = port->purpose,
		.on_done = on_proven};
	list_add_last(&port->pending, &pending->link);
	port->npending++;
	budget_take(port->context->budget, 1);
	int result = proof_start(&pending->proof, fd, fd, LINKPORT_DEADLINE_MS);
	if (result < 0)
		refuse(pending, "it cannot be watched");
}

static void on_client(struct acceptor *acceptor, int fd, const struct addr *peer)
{
	struct linkport *port = container_of(acceptor, struct linkport, acceptor);

	if (port->key)
		ask(port, fd, peer);
	else
		port->on_link(port, fd, peer);
}

static bool is_ready(struct acceptor *acceptor)
{
	return !container_of(acceptor, struct linkport, acceptor)->is_muted;
}

int linkport_open(struct linkport *port, const struct linkspec *spec, struct err *err)
{
	struct addr addr = spec->addr;

	list_init(&port->pending);
	port->bound = (struct bound){.fd = port->listen_fd ? *port->listen_fd : -1, .dir_fd = -1};
	int result = port->listen_fd ? 0 : bind_open(&addr, PROTO_TCP, &port->bound, err);
	if (result < 0) {
		port->bound.fd = -1;
		return result;
	}
	port->acceptor =
		(struct acceptor){.on_client = on_client, .is_ready = is_ready, .fds_each = 1};
	result = acceptor_open(
		&port->acceptor, port->context->loop, port->context->budget, port->bound.fd);
	if (result == 0)
		return 0;
	bind_close(&port->bound);
	return err_sys(err, -result, "cannot watch %s", spec->text);
}

void linkport_mute(struct linkport *port, bool is_muted)
{
	port->is_muted = is_muted;
	acceptor_mute(&port->acceptor, is_muted);
}

void linkport_close(struct linkport *port)
{
	if (!port->acceptor.loop)
		return;
	acceptor_close(&port->acceptor);
	port->acceptor.loop = NULL;
	list_each_safe (at, following, &port->pending)
		close(forget(container_of(at, struct pending, link)));
	bind_close(&port->bound);
}
