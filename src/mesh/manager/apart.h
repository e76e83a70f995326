/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/apart - hosts that cannot connect to each other, as their agents have nothing in
 * common */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "mesh/info.h"

/* Has one of them no stack, and knows the other one of no streams (stream/ferry)? */
bool apart_are(const struct mesh_agent_info *a, const struct mesh_agent_info *b);

/* Does this agent know of none? */
bool apart_is_foreign(const struct mesh_agent_info *info);

/* For people, of a host whose agent is @foreign, and of @other, which has no stack. Returns @out.
 */
char *apart_format(const struct mesh_agent_info *foreign, const char *other,
	const struct mesh_agent_info *streamed, char *out, size_t cap_bytes);
