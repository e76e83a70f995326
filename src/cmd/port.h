/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/port - show or change the forwards of a running sandbox */
#ifndef NSWRAP_CMD_PORT_H
#define NSWRAP_CMD_PORT_H

#include "cmd/cmd.h"

extern const struct subcommand port_subcommand;

#endif
