/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/stop - end sandboxes and wait until they are gone */
#pragma once

#include "cmd/cmd.h"

extern const struct subcommand stop_subcommand;
