/* SPDX-License-Identifier: Apache-2.0 */
/* control/tenant - who is a host of a mesh now: the last one that came, and those before it end */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "util/err.h"
#include "util/unixsock.h"

/*
 * How it works
 *
 * A manager gives each host an identity, the same at each start. Who is that host has a socket
 * named after it among the user's sockets (control/places), where nobody is answered: whose it is,
 * is all that it says. Who finds one there ends the process behind it, which may be stopped or
 * hang, and waits for its end. Only a process that the kernel calls an nswrap of ours in our own
 * namespaces is ended (control/identity); another one there is in nobody's way.
 *
 * The first half of an identity is the mesh's, so that hosts of one mesh on one machine know each
 * other.
 */
enum tenant_kind {
	TENANT_AGENT,   /* an agent of its own: killed */
	TENANT_SANDBOX, /* the supervisor of a sandbox with an agent: it ends all of that */
	TENANT_KINDS
};

#define TENANT_IDENTITY_MAX 64

/* Starts with listen_fd -1; the rest is there while that is not. */
struct tenant {
	int listen_fd; /* -1: nobody can find us */
	int dir_fd;
	int hub_fd; /* the place that is the same for all logins (control/places), or -1 */
	struct unixsock_id id;
};

/* It ends in the name of a file. Returns 0, or -EINVAL with @err. */
int tenant_check_identity(const char *identity, struct err *err);

/*
 * Be that host from now on: end who is it, whatever its kind. Does nothing if it is us. Returns 1
 * if there was one, which has ended with all that it had; 0; or -errno with @err filled.
 */
int tenant_claim(
	struct tenant *tenant, enum tenant_kind kind, const char *identity, struct err *err);

/*
 * The agents of other hosts of the same mesh in our own network: those whose identity has the first
 * half of @identity. Their PIDs to @out, @max at most. Returns how many. Each one gets a client
 * that is gone at once (tenant_shed).
 */
size_t tenant_kin(const char *identity, pid_t *out, size_t max);

/* Have those go that only looked at who we are; the socket is readable while there are any. Returns
 * 0 or -errno: for want of descriptors some are left. */
int tenant_shed(const struct tenant *tenant);

/* Once more is fine. */
void tenant_end(struct tenant *tenant);
