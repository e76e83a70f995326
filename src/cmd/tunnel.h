/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/tunnel - a server that cannot be dialled, reached over connections that it has made */
#pragma once

#include "cmd/cmd.h"

extern const struct subcommand tunnel_subcommand;
