/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/doctor - check whether nswrap can work here */
#ifndef NSWRAP_CMD_DOCTOR_H
#define NSWRAP_CMD_DOCTOR_H

#include "cmd/cmd.h"

extern const struct subcommand doctor_subcommand;

#endif
