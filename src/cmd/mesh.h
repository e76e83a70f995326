/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/mesh - make one network of the hosts of a manifest, or ask one that runs */
#pragma once

#include "cmd/cmd.h"

extern const struct subcommand mesh_subcommand;
