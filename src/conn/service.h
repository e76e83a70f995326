/* SPDX-License-Identifier: Apache-2.0 */
/* conn/service - a set of bound sockets that changes as told, and what becomes of their clients */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "conn/bind.h"
#include "conn/context.h"
#include "conn/dial.h"
#include "util/err.h"

/*
 * How it works
 *
 * Each service of the list is for itself: one whose socket cannot be had, because another program
 * has the port or descriptors are short, is missing, and the others are served. It is tried again
 * after SERVICE_RETRY_MS, with pauses that grow, SERVICE_TRIES at a time. Sockets count in the
 * budget, and some room is left for clients: a host of many ports and few descriptors serves some.
 */
#define SERVICE_RETRY_MS     1000
#define SERVICE_RETRY_MAX_MS 30000
#define SERVICE_TRIES        64

/* Where clients come in, and what becomes of them. */
struct service {
	enum proto proto;
	struct addr addr; /* IPv4, IPv6 (for itself only), or a path (TCP); no port is 0 */
	/*
	 * False: clients are joined to the target. True: they are the owner's. TCP: it gets each
	 * one by on_client, and has counted its descriptors before (util/budget); UDP: on_bound.
	 */
	bool is_given;
	uint8_t given_fds; /* TCP that is given: of each client, where nobody has counted them */
	struct dial_target target; /* for the owner's use if the service is given */
	uint16_t id;               /* for on_failed; 0: that is not called */
};

/* What the owner provides. Each may be NULL where it is not needed. */
struct service_ops {
	/* A socket for @service, as bind_open makes them. Returns 0, or -errno with @err filled.
	 * NULL: one of this process's network, by bind_open. */
	int (*bind)(void *owner, const struct service *service, struct bound *out, struct err *err);
	/* A socket that is bound there already, owned, or -1. */
	int (*take)(void *owner, const struct service *service);
	/* @fd is served from now on, until on_closed. */
	void (*on_served)(void *owner, const struct service *service, int fd);
	/* The address is in use: by who serves it as this one would? Then it is not missing, and is
	 * tried again all the same. What nobody serves so is told by the first retry. */
	bool (*is_served)(void *owner, const struct service *service);
	/* @err says that the address is in use: who knows more of that says more. */
	void (*explain)(const struct addr *addr, enum proto proto, struct err *err);
	/* A client of a given TCP service, nonblocking, from now on the owner's; @peer is the
	 * client's address (a path that is empty, mostly, if it is a unix socket). */
	void (*on_client)(
		void *owner, const struct service *service, int fd, const struct addr *peer);
	/* The socket of a given UDP service, until on_closed. Returns 0 or -errno. */
	int (*on_bound)(void *owner, const struct service *service, int fd);
	/* Its socket is closed next, and @service is gone. */
	void (*on_closed)(void *owner, const struct service *service);
	/* It is missing, and why; again when that is for another reason. */
	void (*on_missing)(void *owner, const struct service *service, const struct err *err);
	/* A client's target was refused, or cannot be reached: -errno of conn/dial. */
	void (*on_failed)(void *owner, enum proto proto, uint16_t id, int result);
	/* The same of a datagram, and of every service: @peer has sent it. */
	void (*on_unsent)(
		void *owner, const struct service *service, const struct addr *peer, int result);
	/* It is there after all. For those that services_each_missing has told of. */
	void (*on_opened)(void *owner, const struct service *service);
};

struct services;

/* All but the result stay the caller's. Returns NULL with errno set. */
struct services *services_new(
	const struct conn_context *context, const struct service_ops *ops, void *owner);

/* Ends all connections that were joined, too. NULL is allowed. */
void services_free(struct services *services);

/*
 * Serve @list from now on; of two with the same address, port and protocol the first one counts.
 * What was served before and still is in the list stays open, with its target from the list; what
 * is not (or is UDP and changes between joined and given) is closed first, its TCP connections go
 * on. What cannot be opened is missing. Returns 0, or -ENOMEM with @err filled; then nothing is
 * served any more. The list may go afterwards. Not from a callback of the same services.
 */
int services_configure(
	struct services *services, const struct service *list, size_t count, struct err *err);

/* The one that is open at that address, or NULL. */
const struct service *services_find(
	struct services *services, enum proto proto, const struct addr *addr);

/* Tell on_served of each one that is open. */
void services_tell_served(struct services *services);

/* Try all that is missing now: `take` may have something. Not from a callback. */
void services_try_missing(struct services *services);

/* Tell each one that is missing, and why. */
void services_each_missing(struct services *services,
	void (*tell)(void *told, const struct service *service, const char *why), void *told);

/* Have a client of @service, which is taken over, joined to its target after all. */
void services_join(struct services *services, int client_fd, const struct service *service);
