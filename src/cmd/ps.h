/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/ps - list the running sandboxes */
#ifndef NSWRAP_CMD_PS_H
#define NSWRAP_CMD_PS_H

#include "cmd/cmd.h"

extern const struct subcommand ps_subcommand;

#endif
