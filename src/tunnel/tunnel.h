/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/tunnel - an end of a tunnel at work, from its start to its end */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "link/linkspec.h"
#include "tunnel/endpoint.h"
#include "tunnel/mouth.h"
#include "tunnel/order.h"
#include "tunnel/permit.h"
#include "util/err.h"

/*
 * How it works
 *
 * One process with one loop. SIGTERM and SIGINT end it: nothing new is begun, connections that run
 * may go on for @drain_ms; a second signal ends them, too. A server whose clients come by stdin and
 * stdout ends with these.
 */
struct tunnel_server {
	struct mouth_start mouth;     /* without its context */
	const struct linkspec *link;  /* where the client is, and no other; NULL: mouth.clients */
	struct permits listen, reach; /* mouth_start */
	uint64_t drain_ms;
};

struct tunnel_client {
	struct endpoint server, target;
	bool has_target;                 /* reach_start */
	struct order orders[ORDERS_MAX]; /* reach_start */
	size_t norders;
	const struct linkspec *link; /* where the server is; NULL: at @server */
	const struct keyfile *key;   /* see reach_start */
	unsigned dead_ms;  /* with a link: a server that has been silent for so long is dead */
	int proxy_version; /* reach_start */
	uint64_t drain_ms;
};

/* Serve until the end. Return 0, or -errno with @err filled: it could not begin. */
int tunnel_serve(struct tunnel_server *server, struct err *err);
int tunnel_reach(const struct tunnel_client *client, struct err *err);
