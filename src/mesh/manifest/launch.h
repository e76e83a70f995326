/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/launch - the sandbox that a host is to run a command in: `sandbox` of a manifest */
#pragma once

#include "mesh/config.h"
#include "mesh/manifest/reader.h"

/*
 * Fill @out, which has no command yet, with what the map @value says. Keys are options of the
 * launcher (nswrap-run(1)), which the agent reads; what cannot be right on any machine is refused
 * here, where its place is known.
 */
void launch_read(struct reader *reader, const struct node *value, struct mesh_sandbox *out);
