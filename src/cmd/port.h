/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/port - show or change the forwards of a running sandbox */
#pragma once

#include "cmd/cmd.h"

extern const struct subcommand port_subcommand;
