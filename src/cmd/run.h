/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/run - run a command in its own network */
#pragma once

#include "cmd/cmd.h"

extern const struct subcommand run_subcommand;
