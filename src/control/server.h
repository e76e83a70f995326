/* SPDX-License-Identifier: Apache-2.0 */
/* control/server - the owner of a name: who may ask, what is asked, and the answers */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "control/registry.h"
#include "util/err.h"
#include "util/list.h"
#include "util/loop.h"

/*
 * How it works
 *
 * Listens at the socket of a reserved name. A client is turned away if it is not ours: the
 * directory keeps strangers out, the uid is for root's mistakes with its mode, and the network
 * namespace keeps out who is in a sandbox and got around what hides the directory: by umount(2)
 * with --root, or from one that hides another directory.
 *
 * Each message is one request (control/control); its answer is sent at once or not at all. A client
 * ends when it closes, sends what is too long or comes with descriptors, or does not read its
 * answers. While descriptors are short nobody is accepted: who connects waits in the kernel.
 */
struct server_client {
	struct server *server;
	struct list at; /* in server->clients */
	struct loop_io io;
	pid_t pid;      /* who connected, as we see it; 0: we do not */
	bool is_marked; /* the owner's, false at first */
	/* The owner's: they go with the answer to this request, and stay its own. */
	const int *fds;
	size_t nfds;
};

struct server_rules {
	size_t clients_max;    /* one more is closed at once */
	const char *strangers; /* what they are told */
	/*
	 * Answer @request, any JSON: return {"ok": true, ...}, which is taken over, or NULL with
	 * @err, which is told. The server must not be closed in here.
	 */
	json_t *(*on_request)(struct server_client *client, json_t *request, struct err *err);
};

struct server {
	struct registry_entry entry; /* the owner reserves it between init and open */
	struct list clients;
	size_t nclients;
	void *owner; /* as given to server_open */

	/* the server's */
	const struct server_rules *rules;
	struct loop *loop;
	struct loop_io io;
	struct loop_timer pause; /* then it accepts again */
};

/* Opens nothing. */
void server_init(struct server *server);

/*
 * Publish the reserved name and listen. @loop and @rules must stay valid until server_close.
 * Returns 0, or -errno with @err filled.
 */
int server_open(struct server *server, struct loop *loop, const struct server_rules *rules,
	void *owner, struct err *err);

/*
 * Give the name back, and then end every connection, by which clients know that everything is gone.
 * Also for a server that was not opened.
 */
void server_close(struct server *server);
