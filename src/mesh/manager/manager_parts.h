/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/manager_parts - what the parts of the manager share */
#ifndef NSWRAP_MESH_MANAGER_MANAGER_PARTS_H
#define NSWRAP_MESH_MANAGER_MANAGER_PARTS_H

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

#include "control/server.h"
#include "mesh/manager/display.h"
#include "mesh/manager/manager.h"
#include "mesh/manager/peer.h"
#include "mesh/manager/router.h"
#include "util/loop.h"

#define LOST_ROUTES_MAX        32
#define CHILDREN_INHERITED_MAX 32

/* An address that nobody has, which was told of. */
struct lost_route {
	struct in_addr dst;
	uint64_t told_ns; /* 0: free */
};

struct manager {
	const struct manager_config *config;
	struct loop *loop;
	struct display *display;
	struct peer_context context;
	struct manifest manifest;
	struct router *router;
	struct peer **peers;                /* by number, as in the manifest */
	struct peer *leaving;               /* not in the manifest any more */
	struct peer *dirty[PEER_PARTS_MAX]; /* who has parts in this round */
	size_t ndirty;
	struct lost_route lost_routes[LOST_ROUTES_MAX];
	struct loop_task check; /* after something changed: what follows from it? */
	struct loop_io signal_io;
	struct loop_timer end_timer;
	sigset_t original_mask;
	pid_t inherited[CHILDREN_INHERITED_MAX]; /* children that are not ours */
	size_t ninherited;
	bool is_ending, was_complete;
	int status;
	time_t started;
	struct server server; /* its name is the mesh's */
};

/* A line about the mesh, if @level is wanted. */
void manager_say(struct manager *manager, enum log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Let everything end; the second time by SIGKILL. */
void manager_stop(struct manager *manager);

/* --- manager_children: processes ----------------------------------------------------------- */

/* What is there before anything is started is not ours: a shell that became us by `exec` may have
 * had children. */
void children_inherit(struct manager *manager);

/* Collect who has ended; what they left comes to us, and is ended in turn. */
void children_reap(struct manager *manager);

/* SIGKILL all that is left. */
void children_end(struct manager *manager);

/* --- manager_route: the way of packets ------------------------------------------------------ */

void route_packet(struct peer *peer, struct frame *frame);
void route_round_end(struct peer *peer);

/* --- manager_reload -------------------------------------------------------------------------- */

/*
 * Read the manifest again and follow it. Returns 0, or -errno when nothing was changed; every error
 * is told, and appended to @errors, an array of texts.
 */
int manager_reload(struct manager *manager, json_t *errors);

/* --- manager_status -------------------------------------------------------------------------- */

/* The answer to "status" with the hosts from number @from on, as many as fit into a message. */
json_t *status_json(const struct manager *manager, size_t from);

/* The row of one host on a terminal. */
void status_row(void *manager, size_t row, char *out, size_t cap_bytes);

/* --- manager_control ------------------------------------------------------------------------- */

/* Choose a name and listen. Returns 0, or -errno with @err filled. */
int mesh_control_open(struct manager *manager, struct err *err);

#endif
