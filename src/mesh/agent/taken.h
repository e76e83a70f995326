/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/taken - addresses that are this host's own, and no host's of a mesh */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#include "util/err.h"

/*
 * May a manager give out @vips? Not those that no host can have (mesh/vip), nor an address
 * of an interface of the caller's network namespace; in a sandbox, where the mesh is routed beside
 * its other networks, nor any of those networks. Devices of agents do not count in there: one that
 * was killed may still be going. Each that it may not is told, by its place, with an error
 * (EADDRINUSE or EINVAL) that says whose it is. Returns 0, or -errno with @err filled.
 */
int taken_check(bool is_sandbox, const struct in_addr *vips, size_t count,
	void (*on_taken)(void *owner, size_t place, const struct err *err), void *owner,
	struct err *err);
