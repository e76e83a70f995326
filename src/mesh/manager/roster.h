/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/roster - the hosts of a mesh: those of its manifest, and those that leave */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "mesh/manager/desk.h"
#include "mesh/manager/display.h"
#include "mesh/manager/fabric.h"
#include "mesh/manager/peer.h"
#include "mesh/manager/router.h"
#include "mesh/manifest/difference.h"
#include "mesh/manifest/manifest.h"
#include "proc/child.h"
#include "util/list.h"
#include "util/loop.h"

/*
 * How it works
 *
 * One peer a host of the manifest, and those that are not in it any more until they have ended. No
 * peer is freed while it is being called: who asks for that (roster_sweep) does it in a task after
 * the round in which a peer came into another state.
 */
struct roster {
	/* the owner sets these */
	struct loop *loop;
	struct display *display;
	struct desk *desk;        /* NULL: nobody is asked */
	char *const *agent_files; /* NULL-terminated, or NULL */
	struct loop_task *check;  /* added when a peer is in another state */
	const char *scope;        /* of identities (mesh/manager/naming) */

	/* the owner may read these */
	struct manifest manifest;
	struct peer **peers; /* by number, as in the manifest */

	struct children children; /* SIGCHLD: children_reap, by the owner */

	/* its own */
	struct list leaving; /* struct peer */
	struct peer_context context;
	struct router *router;
	struct fabric fabric;
};

/* What a manifest that has changed means for a host. */
enum roster_change {
	ROSTER_NOTHING, /* it is told what it was told, and started as it was */
	ROSTER_AMEND,   /* it is to be told who has come and who has left */
	ROSTER_TELL,    /* it is to be told something else, or is at its next start */
	ROSTER_RESTART, /* it cannot be told otherwise, or is at another address; or is new */
	ROSTER_REPLACE, /* it is another one: started in another way, or runs something else */
};

/* The number in @before of the host that is called as number @host of @after, or ROUTER_NOBODY. */
int roster_find(const struct manifest *before, const struct manifest *after, size_t host);

/* What becomes of @peer, number @old in @before and number @host in @after, between which
 * @difference is. Changes nothing. */
enum roster_change roster_compare(const struct peer *peer, const struct manifest *before,
	size_t old, const struct manifest *after, size_t host, const struct difference *difference);

/*
 * Take @manifest over; nothing is started yet. @nofile is for the commands. Children of this
 * process are waited for from here on (proc/child). Returns 0 or -errno; roster_fini is due in any
 * case.
 */
int roster_init(struct roster *roster, struct manifest *manifest, const struct rlimit *nofile);

/* Kill what runs and wait for its end; what cannot be ended is told. All zero is fine. */
void roster_end(struct roster *roster);

/* Free everything, after roster_end. All zero is fine. */
void roster_fini(struct roster *roster);

void roster_start(struct roster *roster);

/* Let everything end; @is_now: SIGKILL for what is ending. */
void roster_stop(struct roster *roster, bool is_now);

/*
 * Follow another manifest without touching what is as it was. @after is taken over. Returns 0, or
 * -ENOMEM when nothing was changed.
 */
int roster_follow(struct roster *roster, struct manifest *after);

/* Start now who waits for somebody to mend something: whoever asks may have. */
void roster_retry(struct roster *roster);

/* Tell the agents whose hosts have gone, or have come back as others, since the last time. */
void roster_tell_news(struct roster *roster);

/* Free the peers that have left, and count the others by state. Returns whether some still leave.
 */
bool roster_sweep(struct roster *roster, size_t counts[PEER_STATES]);
