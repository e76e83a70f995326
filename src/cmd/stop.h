/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/stop - end sandboxes and wait until they are gone */
#ifndef NSWRAP_CMD_STOP_H
#define NSWRAP_CMD_STOP_H

#include "cmd/cmd.h"

extern const struct subcommand stop_subcommand;

#endif
