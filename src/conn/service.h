/* SPDX-License-Identifier: Apache-2.0 */
/* conn/service - a set of bound sockets that each lead to a target, and that changes as told
 */
#ifndef NSWRAP_CONN_SERVICE_H
#define NSWRAP_CONN_SERVICE_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#include "conn/dial.h"
#include "conn/join.h"
#include "mesh/config.h"
#include "util/err.h"

/* Where clients come in, and where they are led. */
struct service {
	enum proto proto;
	struct in_addr ip;
	uint16_t port; /* host order */
	struct dial_target target;
};

struct service_ops {
	/* A socket for @service: listening for TCP, bound for UDP, nonblocking. Or -errno with @err
	 * filled. */
	int (*bind)(void *owner, const struct service *service, struct err *err);
	/* A TCP client; true if the owner took @fd over. NULL: every one is joined to the target.
	 */
	bool (*on_client)(
		void *owner, const struct service *service, int fd, const struct sockaddr_in *peer);
	/* Its socket is closed. May be NULL. */
	void (*on_closed)(void *owner, const struct service *service);
};

struct services;

/* All but the result stay the caller's. Returns NULL with errno set. */
struct services *services_new(const struct conn_context *context, struct dialer *dialer,
	const struct service_ops *ops, void *owner);

/* Ends all connections, too. NULL is allowed. */
void services_free(struct services *services);

/*
 * Serve @list from now on; of two with the same address, port and protocol the first one counts.
 * What was served before and still is in the list stays open, with its target from the list; what
 * is not is closed first, its TCP connections go on. Returns 0, or -errno with @err filled; then
 * nothing is served any more. The list may go afterwards.
 */
int services_configure(
	struct services *services, const struct service *list, size_t count, struct err *err);

/* The one at that address, or NULL. */
const struct service *services_find(
	const struct services *services, enum proto proto, struct in_addr ip, uint16_t port);

#endif
