/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/apart - hosts that cannot connect to each other, as their agents have nothing in
 * common */
#include "mesh/manager/apart.h"

#include <stdio.h>
#include <string.h>

bool apart_is_foreign(const struct mesh_agent_info *info)
{
	return !(info->features & FEATURE_STREAMS);
}

static bool has_no_stack(const struct mesh_agent_info *info)
{
	return strcmp(info->stack, "streams") == 0;
}

bool apart_are(const struct mesh_agent_info *a, const struct mesh_agent_info *b)
{
	return (has_no_stack(a) && apart_is_foreign(b)) || (has_no_stack(b) && apart_is_foreign(a));
}

char *apart_format(const struct mesh_agent_info *foreign, const char *other,
	const struct mesh_agent_info *streamed, char *out, size_t cap_bytes)
{
	snprintf(out, cap_bytes,
		"no connections between it and %s: there is no network stack there (%s), and the "
		"agent of this one, version %s, does not know streams; expected an agent of "
		"nswrap as new as this",
		other, streamed->stack_why[0] != '\0' ? streamed->stack_why : "it does not say why",
		foreign->version[0] != '\0' ? foreign->version : "(none)");
	return out;
}
