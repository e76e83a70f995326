/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/sockets - hand sockets of this network to the program that started us elsewhere */
#pragma once

#include "cmd/cmd.h"

extern const struct subcommand sockets_subcommand;
