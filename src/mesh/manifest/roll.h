/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/roll - who is on a list of hosts, and what name and address each of them has */
#pragma once

#include <glib.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/err.h"

/*
 * How it works
 *
 * A list has one host a line. What stands there is what `cmd` is made of; the host's name in the
 * mesh is made of it: what is behind the last slash, with - for what no host name has ("pod/a" is
 * a). Whoever was on the list keeps name and address, also while it is not: only when the network
 * has no address left that nobody had, who is gone for longest loses them.
 */
#define ROLL_HOSTS_MAX 4096
#define ROLL_LINE_MAX  253 /* bytes */

struct roll_member {
	char *given; /* as listed */
	char *name;
	struct in_addr vip;
	uint64_t seen; /* in this call, or the last one that it was in */
};

/* What others have. */
struct roll_ops {
	bool (*is_name_taken)(void *owner, const char *name);
	bool (*is_vip_taken)(void *owner, struct in_addr vip);
};

/* Starts as all zero but for the network. */
struct roll {
	struct in_addr net;
	int prefix_len;

	/* the owner may read these: who has @seen equal to @call is on the list */
	struct roll_member *members;
	size_t count;
	uint64_t call;

	/* its own */
	size_t cap, present;
	uint64_t next;        /* the first address, counted from the network's, to look at */
	GHashTable *by_given; /* to places in members, + 1 */
	GHashTable *by_name, *by_vip; /* what they have; names in lower case */
};

/*
 * Follow what the list says now, @text of @len bytes. Blank lines and lines that came before count
 * for nothing. Returns 1 if somebody came or left, 0 if nobody did; or -EINVAL with @err filled,
 * and nothing has changed: a line that is no name, more than ROLL_HOSTS_MAX, too few addresses.
 */
int roll_follow(struct roll *roll, const char *text, size_t len, const struct roll_ops *ops,
	void *owner, struct err *err);

/* Others have other names and addresses now: who has one of those gets new ones. As above. */
int roll_settle(struct roll *roll, const struct roll_ops *ops, void *owner, struct err *err);

static inline bool roll_has(const struct roll *roll, const struct roll_member *member)
{
	return member->seen == roll->call && roll->call > 0;
}

/* How many are on the list. */
size_t roll_present(const struct roll *roll);

/* Has somebody who is or was on the list that name? Upper and lower case are the same. */
bool roll_has_name(const struct roll *roll, const char *name);

/* Another one that knows the same; @roll is new. */
void roll_copy(struct roll *roll, const struct roll *from);

void roll_fini(struct roll *roll);
