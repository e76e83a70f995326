/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/help - say what there is */
#pragma once

#include "cmd/cmd.h"

extern const struct subcommand help_subcommand;

/* Print how @sub is called, and its options, to stdout. */
void help_print(const struct subcommand *sub);

/* Run @sub; the help it wants printed is. Returns the exit status. */
int help_run(const struct subcommand *sub, const struct cmd_call *words);
