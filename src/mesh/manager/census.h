/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/census - asks the lists of a manifest who is there, from time to time */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#include "mesh/manifest/manifest.h"
#include "mesh/manifest/roll.h"
#include "proc/child.h"
#include "util/err.h"
#include "util/log.h"
#include "util/loop.h"

/*
 * How it works
 *
 * Each list's command is run at the start and then `every` so often, without a terminal and with
 * nothing on its stdin (proc/capture). What it has printed counts when it has ended with status 0
 * within CENSUS_PATIENCE_MS, and is a list of names (mesh/manifest/roll); else nothing changes,
 * which is said once for each cause. Who is there is told by on_change: the owner makes the hosts
 * of it.
 */
#define CENSUS_PATIENCE_MS 60000
#define CENSUS_TEXT_MAX    (1 << 20)

struct census_ops {
	/* Other hosts are there now. Returns 0, or -errno with @err filled when it cannot be
	 * followed; it is asked again then. */
	int (*on_change)(void *owner, struct err *err);
	/* A line for a person. */
	void (*on_notice)(void *owner, enum log_level level, const char *text);
};

struct census_list;

/* Starts as all zero but for the first five. */
struct census {
	const struct census_ops *ops;
	void *owner;
	struct loop *loop;
	struct children *children;
	struct rlimit nofile; /* for the commands */

	/* the owner may read these */
	struct manifest base; /* with crowds */
	struct roll *rolls;   /* one a crowd */

	/* its own */
	struct census_list *lists; /* the same */
};

/*
 * Follow @base, which is taken over, and its lists: of a network that was there before the hosts
 * stay until its list says otherwise. *@hosts is what follows for now. Nothing is asked yet.
 * Returns 0, or -errno with @err filled and nothing changed.
 */
int census_follow(
	struct census *census, struct manifest *base, struct manifest *hosts, struct err *err);

/* All hosts, with those of the lists, as one manifest. Returns 0, or -errno with @err filled. */
int census_hosts(const struct census *census, struct manifest *hosts, struct err *err);

/* Ask all lists now, and again from time to time. */
void census_ask(struct census *census);

/* Has each list answered? */
bool census_is_complete(const struct census *census);

/* For each list {"list", "hosts", "known", "age", "reason"}: whether it has answered yet, when it
 * did last, in seconds, or null, and why it did not, the last time, or null. */
json_t *census_json(const struct census *census);

/* Ask nobody any more; commands that run are killed. */
void census_stop(struct census *census);

/* All zero is fine. */
void census_fini(struct census *census);
