/* SPDX-License-Identifier: Apache-2.0 */
/* link/linkport - links that others open: a socket that listens, and who has proven to have the key
 */
#pragma once

#include <stddef.h>

#include "conn/accept.h"
#include "conn/bind.h"
#include "conn/context.h"
#include "link/linkspec.h"
#include "link/proof.h"
#include "util/list.h"

/*
 * How it works
 *
 * Without a key whoever connects has a link. With one it has it when both have proven to have the
 * key, for which it has LINKPORT_DEADLINE_MS; LINKPORT_PENDING_MAX may be at that, and one more
 * costs the oldest its place: who connects and says nothing keeps nobody else out.
 */
#define LINKPORT_DEADLINE_MS 10000
#define LINKPORT_PENDING_MAX 64

/* Starts as all zero but for the first seven, which are the owner's. */
struct linkport {
	const struct conn_context *context;
	const struct keyfile *key; /* NULL: none is asked for */
	enum proof_role role;      /* with a key: ours */
	const char *purpose;       /* the same */
	const int *listen_fd;      /* listens there already, the port's from now on; NULL: none */
	/*
	 * A link, nonblocking, the owner's from now on, who counts its descriptor (util/budget). It
	 * must not close the port from here.
	 */
	void (*on_link)(struct linkport *port, int fd, const struct addr *peer);
	/* Somebody has not proven to have the key. May be NULL. */
	void (*on_refused)(struct linkport *port, const struct addr *peer, const char *why);

	/* its own */
	struct bound bound; /* fd -1: it is not open */
	struct acceptor acceptor;
	struct list pending; /* struct pending, the oldest first */
	size_t npending;
	bool is_muted;
};

/*
 * Listen where @spec says: one for which linkspec_listens. Port 0 does not exist. Returns 0, or
 * -errno with @err filled.
 */
int linkport_open(struct linkport *port, const struct linkspec *spec, struct err *err);

/* Leave those who come in the kernel; those who are proving go on. */
void linkport_mute(struct linkport *port, bool is_muted);

/* No callback comes after it; the socket file is removed. Links that were given stay. Fine if it is
 * all zero, or closed. */
void linkport_close(struct linkport *port);
