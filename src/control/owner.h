/* SPDX-License-Identifier: Apache-2.0 */
/* control/owner - which sandbox or mesh a process belongs to */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#define OWNER_TEXT_BYTES 160

/*
 * Write "the sandbox web-1", or for a process that serves a host of a mesh that runs here "the mesh
 * site (host web)", or "the mesh site" where the mesh does not say which. @pid is of this PID
 * namespace: a supervisor or manager, or a process below one. Asks all that run; a manager that
 * hangs is waited for a moment. Returns 0, or -ENOENT: none of the caller's.
 */
int owner_describe(pid_t pid, char *out, size_t cap_bytes);
