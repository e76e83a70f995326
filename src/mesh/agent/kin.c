/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/kin - other hosts of the mesh that are this machine as well, and what they listen at
 */
#include "mesh/agent/kin.h"

#include <stdio.h>

#include "net/diag.h"
#include "util/clock.h"

void kin_set(struct kin *kin, const char *identity)
{
	snprintf(kin->identity, sizeof(kin->identity), "%s", identity ? identity : "");
	kin->asked_ns = 0;
}

bool kin_serves(struct kin *kin, uint64_t now_ns, enum proto proto, const struct addr *addr)
{
	if (kin->identity[0] == '\0')
		return false;
	if (kin->asked_ns == 0 || now_ns - kin->asked_ns > KIN_KNOWN_MS * NS_PER_MS) {
		kin->count = tenant_kin(kin->identity, kin->pids, KIN_MAX);
		kin->asked_ns = now_ns;
	}
	return diag_port_is_held(proto, addr, kin->pids, kin->count);
}
