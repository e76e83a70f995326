/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/guess - words that are no subcommand and no COMMAND either: what was meant */
#pragma once

#include <stdbool.h>

#include "cmd/cmd.h"

/*
 * How it works
 *
 * A first word that is no subcommand is COMMAND, so `nswrap list` would run a program called list,
 * and `nswrap rm box` would remove a file. So before it is run it is looked at:
 *
 * - words that are subcommands elsewhere and hardly a program's name (list, up, version) are
 *   refused with a line that says what is nswrap's own;
 * - words that are programs as well (rm, kill, top) are refused where their arguments make it sure:
 *   one is the name of a sandbox or mesh that runs, kill has no number, rm no file that exists,
 *   others are not installed;
 * - a word that is nearly a subcommand is refused where no such program is installed.
 *
 * `--`, `run` or any option in front says that COMMAND is meant, and so does a path.
 */

/*
 * May the words of @call, whose first one is no subcommand, be run as a COMMAND? 0, or -EINVAL with
 * @err saying what was meant. May print a notice.
 */
int guess_check_words(const struct cmd_call *call, struct err *err);

/* Is @word nearly a subcommand, or another program's? Then @err says which was meant. */
bool guess_find_meant(const struct subcommand *const *all, const char *word, struct err *err);

/* Fill @err for @word, which should have been a subcommand. */
void guess_unknown_subcommand(
	const struct subcommand *const *all, const char *word, struct err *err);

/* Is @word, which should be a MANIFEST and is no file, meant for something else? -EINVAL with @err.
 */
int guess_check_manifest(const char *word, struct err *err);
