/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/doctor - check whether nswrap can work here */
#pragma once

#include "cmd/cmd.h"

extern const struct subcommand doctor_subcommand;
