/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/mesh - make one network of the hosts of a manifest */
#ifndef NSWRAP_CMD_MESH_H
#define NSWRAP_CMD_MESH_H

#include "cmd/cmd.h"

extern const struct subcommand mesh_subcommand;

#endif
