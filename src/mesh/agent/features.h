/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/features - what an agent says of itself */
#pragma once

#include <stdbool.h>

#include "mesh/info.h"

struct mesh_agent_info features_info(bool is_sandbox);
