/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/run - run a command in its own network */
#ifndef NSWRAP_CMD_RUN_H
#define NSWRAP_CMD_RUN_H

#include "cmd/cmd.h"

extern const struct subcommand run_subcommand;

#endif
