/* SPDX-License-Identifier: Apache-2.0 */
/* control/owner - which sandbox or mesh a process belongs to */
#pragma once

#include <stddef.h>

#include "util/addr.h"
#include "util/err.h"

#define OWNER_TEXT_BYTES 160

/*
 * How it works
 *
 * The process that has a port or listens at a path is found by the kernel's word (net/diag,
 * SO_PEERCRED); it may be any of a sandbox's, which `nswrap ps` does not show. Who listens at the
 * control sockets is a supervisor or a manager, and the process is that or below it. A manager is
 * asked which host's command that process is below; if it hangs it is waited for a moment.
 */

/*
 * What of the caller's own has @addr, a port or the path of a socket: "the sandbox web-1", "the
 * mesh site (host web)", or "the mesh site" where the mesh does not say which. Looks through /proc
 * and at all that runs. Returns 0, or -ENOENT: none of those.
 */
int owner_of(const struct addr *addr, enum proto proto, char *out, size_t cap_bytes);

/* @err says that @addr is in use: say by what, if that is known. */
void owner_explain(const struct addr *addr, enum proto proto, struct err *err);
