/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/exec - run another command in a sandbox that is there */
#ifndef NSWRAP_CMD_EXEC_H
#define NSWRAP_CMD_EXEC_H

#include "cmd/cmd.h"

extern const struct subcommand exec_subcommand;

#endif
