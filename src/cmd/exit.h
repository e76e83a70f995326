/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/exit - lend this host's network to whoever is at the other end of a link */
#pragma once

#include "cmd/cmd.h"

extern const struct subcommand exit_subcommand;
