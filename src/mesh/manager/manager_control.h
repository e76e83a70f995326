/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/manager_control - what a running mesh can be asked, over its socket */
#ifndef NSWRAP_MESH_MANAGER_MANAGER_CONTROL_H
#define NSWRAP_MESH_MANAGER_MANAGER_CONTROL_H

/*
 * A mesh has a socket NAME.sock (control/registry), at which it is asked as control/control has it.
 *
 * | op       | members   | answer                                                              |
 * |----------|-----------|---------------------------------------------------------------------|
 * | "status" | from: INT | name, pid, manifest, started, total, hosts from that number on      |
 * | "reload" |           | hosts: how many there are; errors: [TEXT, ...], if any all stays    |
 * | "stop"   |           | the connection ends when all has ended                              |
 *
 * A host is {"name", "vip", "state", "since", "age", "rtt_ms", "version", "features", "in", "out",
 * "drops", "restarts", "bad_messages", "unknown_frames", "reason", "pid"}, see nswrap-mesh(1). An
 * answer has as many of them as fit; who wants more asks again.
 */
#endif
