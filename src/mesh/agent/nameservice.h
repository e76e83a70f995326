/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/nameservice - the built-in DNS of a host: names of the mesh, and what its resolver
 * knows */
#pragma once

#include "dns/nameserver.h"
#include "mesh/config.h"
#include "util/budget.h"
#include "util/loop.h"

/*
 * How it works
 *
 * A name of the mesh (letters in either case) has its VIP as its A record and no others (RFC 2308:
 * "no data"); the address of a VIP has its name. What would tell others of those (dns/zone), this
 * host's search domains behind them too, does not leave it. What is none of that goes to the
 * servers of this host's resolv.conf, which is read again when it has changed; where there are none
 * it is SERVFAIL.
 *
 * Who has its sockets is mesh/agent/role: there are two, at the same address, one of the mesh and
 * one of the host's loopback.
 */
struct nameservice;

enum nameservice_side { NAMESERVICE_INSIDE, NAMESERVICE_OUTSIDE, NAMESERVICE_SIDES };

struct nameservice_ops {
	/* What is no name of the mesh, but may match a route's pattern: as on_query of
	 * dns/nameserver, -ENOENT is the host's resolver. NULL: that is all. */
	int (*on_other)(void *owner, struct nameserver_question *question,
		const struct query *query, struct reply *out);
};

/* @resolv_conf is a path, or NULL: the host's. All but it stay the caller's. Returns NULL with
 * errno set. */
struct nameservice *nameservice_new(struct loop *loop, struct budget *budget,
	const char *resolv_conf, const struct nameservice_ops *ops, void *owner);

/* Ends all connections. NULL is allowed. */
void nameservice_free(struct nameservice *service);

/* The names are those of @config from now on. Returns 0 or -ENOMEM: nothing has changed. */
int nameservice_configure(struct nameservice *service, const struct mesh_config *config);

/* A client over TCP, one of @peer's, taken over. */
void nameservice_add_client(struct nameservice *service, int fd, const struct addr *peer);

/* The socket for UDP of that side, which stays the caller's; -1: it is closed next. Returns 0 or
 * -errno. */
int nameservice_set_udp(struct nameservice *service, enum nameservice_side side, int fd);
