/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/taken - addresses that are this host's own, and no host's of a mesh */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#include "util/err.h"

/*
 * May a manager give out all of @vips? Not those that no host can have (mesh/vip), nor an address
 * of an interface of the caller's network namespace; in a sandbox, where the mesh is routed beside
 * its other networks, nor any of those networks. Devices of agents do not count in there: one that
 * was killed may still be going. Returns 0, or -EADDRINUSE or -EINVAL with @err saying whose it is,
 * or another -errno.
 */
int taken_check(bool is_sandbox, const struct in_addr *vips, size_t count, struct err *err);
