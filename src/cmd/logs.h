/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/logs - print what a sandbox in the background said */
#pragma once

#include "cmd/cmd.h"

extern const struct subcommand logs_subcommand;
