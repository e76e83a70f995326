/* SPDX-License-Identifier: Apache-2.0 */
/* conn/names - where a name leads: a table that answers at once, and the system's look-up */
#pragma once

#include "conn/lookup.h"

/*
 * How it works
 *
 * An IP address as text is its own answer. A name of the table has the addresses that the table
 * says, whatever the system thinks; letters count as the same in either case. "localhost" is
 * 127.0.0.1 and ::1 (RFC 6761), also where /etc/hosts has one of them only. Every other name is
 * looked up (conn/lookup). So every way out resolves alike.
 */
struct names;

/* Returns NULL with errno set. */
struct names *names_new(struct loop *loop);

/* All queries must have been answered or cancelled; not from within on_answer. NULL is allowed. */
void names_free(struct names *names);

/*
 * From now on @name (copied) leads to @addr, too, behind those that were added before; its port
 * does not count. Returns 0, -ENOSPC past LOOKUP_ADDRS_MAX of them, or -ENOMEM.
 */
int names_add(struct names *names, const char *name, const struct addr *addr);

/* The table is empty again. Look-ups that are under way go on. */
void names_clear(struct names *names);

/*
 * Returns 0 with @answer filled; -EINPROGRESS, then @query is answered later or cancelled
 * (lookup_cancel); or another -errno and it will not be.
 */
int names_start(struct names *names, const char *name, struct lookup_query *query,
	struct lookup_answer *answer);
