/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/manager - start the hosts of a mesh, route their packets, keep all of it running */
#ifndef NSWRAP_MESH_MANAGER_MANAGER_H
#define NSWRAP_MESH_MANAGER_MANAGER_H

#include <stddef.h>

#include "mesh/manifest/manifest.h"
#include "util/err.h"

/*
 * How it works
 *
 * One process, one loop, one peer a host (mesh/manager/peer). Packets are routed as they are read:
 * those of one read(2) are collected by where they go and written with one system call each, from
 * where they lie. Nothing else happens in that path.
 *
 * A control socket (mesh/manager/manager_control) answers `nswrap mesh status`, `reload` and
 * `stop`. What can end, ends by a task after the round in which it was noticed: no peer is freed
 * while it is being called.
 */
struct manager_config {
	const char *path; /* of the manifest; "-": stdin */
	const char *name; /* NULL: made from the path */
};

/*
 * Run a mesh until a signal or `stop` ends it. @manifest is taken over. Everything that was started
 * is gone then. Returns 0 with *@status 0, or 1 when all hosts are down for good; or -errno with
 * @err filled when it could not start.
 */
int manager_run(const struct manager_config *config, struct manifest *manifest, int *status,
	struct err *err);

#endif
