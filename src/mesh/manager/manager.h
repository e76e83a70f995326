/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/manager - start the hosts of a mesh, route their packets, keep all of it running */
#pragma once

#include "mesh/manifest/manifest.h"
#include "util/err.h"

/*
 * How it works
 *
 * One process, one loop. The roster (mesh/manager/roster) has one peer a host: a command that is
 * kept running (mesh/link), what is said to its agent (mesh/manager/session) and its port in the
 * fabric (mesh/manager/fabric), through which packets go as they are read. Which hosts there are
 * besides those of the file the census knows (mesh/manager/census). The manager itself is
 * signals, the control socket, and when all of it is over.
 *
 * A mesh has a socket NAME.sock (control/registry), at which it is asked as control/control has it.
 *
 * | op       | members   | answer                                                              |
 * |----------|-----------|---------------------------------------------------------------------|
 * | "status" | from: INT | name, pid, manifest, started, total, lists (mesh/manager/census),   |
 * |          |           | hosts from that number on                                           |
 * | "graph"  | from: INT | hosts and routes from that number on (mesh/manager/chart), total    |
 * | "reload" |           | hosts: how many there are; errors: [TEXT, ...], if any all stays;   |
 * |          |           | warnings: [TEXT, ...]                                               |
 * | "stop"   |           | the connection ends when all has ended                              |
 *
 * A host is {"name", "vip", "state", "since", "age", "rtt_ms", "version", "features", "in", "out",
 * "drops", "restarts", "bad_messages", "unknown_frames", "reason", "pid"}, see nswrap-mesh(1). An
 * answer has as many of them as fit; who wants more asks again.
 */
struct manager_config {
	const char *path; /* of the manifest; "-": stdin */
	const char *name; /* NULL: made from the path */
	char *const
		*agent_files; /* nswrap-agents besides those beside this program, NULL-terminated */
};

/*
 * Run a mesh until a signal or `stop` ends it. @manifest is taken over. Everything that was started
 * is gone then. Returns 0 with *@status 0, or 1 when all hosts are down for good; or -errno with
 * @err filled when it could not start.
 */
int manager_run(const struct manager_config *config, struct manifest *manifest, int *status,
	struct err *err);
