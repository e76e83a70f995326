/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/ps - list the running sandboxes */
#pragma once

#include "cmd/cmd.h"

extern const struct subcommand ps_subcommand;
