/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/parting - last words for a client, and time to hear them */
#pragma once

#include "conn/context.h"
#include "util/list.h"

/*
 * How it works
 *
 * A socket that is closed while bytes wait in it resets its peer, and the peer's kernel throws away
 * what we said last. So the client hears the end, and what it still sends is read and thrown away
 * until it ends as well, for PARTING_MS and PARTING_BYTES at most.
 */
#define PARTING_MS    2000
#define PARTING_BYTES (256 * 1024)

struct partings {
	const struct conn_context *context;
	struct list all;
};

/* @context stays the caller's. */
void partings_init(struct partings *partings, const struct conn_context *context);

/* Ends all at once. */
void partings_fini(struct partings *partings);

/* The descriptor of @io (connected, nonblocking, watched) is taken over, and counts; @io has -1
 * afterwards. */
void partings_add(struct partings *partings, struct loop_io *io, const void *bytes, size_t len);
