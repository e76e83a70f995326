/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/exec - run another command in a sandbox that is there */
#pragma once

#include "cmd/cmd.h"

extern const struct subcommand exec_subcommand;
