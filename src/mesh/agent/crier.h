/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/crier - tells the sandbox in which an agent is the names of its mesh */
#pragma once

#include "mesh/config.h"

/*
 * Over @fd, as the sandbox has handed it out (it says what is told how): names and aliases with
 * their VIPs, and the patterns of routes, which are to be asked of this host's own name server, at
 * its VIP. They take the place of what was told before. Waits some seconds at most for a sandbox
 * that does not listen. Returns 0 or -errno.
 */
int crier_tell(int fd, const struct mesh_config *config);
