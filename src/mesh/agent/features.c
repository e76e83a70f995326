/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/features - what an agent says of itself */
#include "mesh/agent/features.h"

#include "mesh/agent/proxies.h"
#include "mesh/agent/role.h"
#include "version.h"

struct mesh_agent_info features_info(bool is_sandbox)
{
	return (struct mesh_agent_info){
		.features = role_features(is_sandbox) | proxies_features() | FEATURE_ACKNOWLEDGE |
			    FEATURE_GONE | FEATURE_STREAMS | FEATURE_TAKEOVER | FEATURE_SILENCE |
			    FEATURE_ALLOW | FEATURE_AMEND | (is_sandbox ? 0 : FEATURE_KEEP),
		.version = NSWRAP_VERSION,
	};
}
