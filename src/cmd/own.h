/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/own - the sandbox of its own that a manager has an agent make, for a command of the manifest
 */
#pragma once

#include <stdbool.h>

#include "mesh/agent/handover.h"

/* Whether it is in this program (not in nswrap-agent: static/noown.c). */
extern const bool own_is_here;

/* handover.check: is all that is said of it right, as far as can be known without starting it? */
int own_check(const struct mesh_sandbox *sandbox, struct err *err);

/*
 * Make it, or join the one that was kept, with @serve as its agent, which is told a struct
 * greeting; to the end of the link or of the sandbox, of which the manager is told. A sandbox that
 * is kept ends only when its command does, or the manager will not come back: @serve returns
 * @left then. Returns the exit status. Errors are printed.
 */
int own_run(struct handover *handover, int (*serve)(void *greeting, int names), int left);
