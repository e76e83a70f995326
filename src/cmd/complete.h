/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/complete - what may stand next on a command line: what shells ask of `nswrap __complete` */
#pragma once

#include <stdio.h>

#include "cmd/cmd.h"

/*
 * How it works
 *
 * The shells' scripts (completion/) hand over the words so far, and know no option: what is offered
 * follows from the option tables and from the synopses of the subcommands. A value or an operand
 * that is told as "auto|kernel" is one of these words; SANDBOX, MESH, SUBCOMMAND, MANIFEST, FILE,
 * DIR, VARIABLE and COMMAND are what they are called. No setter is called, and nobody is asked:
 * the names are those of sockets.
 *
 * A line each: a word, a TAB and what it means, where that is known; or what the shell itself knows
 * how to complete: ":manifests", ":files", ":directories", ":variables" and ":command N", the words
 * from the Nth (of those handed over, from 0) being a command line of its own. Words are not
 * filtered by how the current one begins.
 */

/*
 * @words are those behind "nswrap", @count of them, at least one: the last is the one that is
 * completed, possibly "". @named is the subcommand that the first one is, or NULL: it is then
 * run's.
 */
void complete_print(FILE *out, const struct subcommand *const *all, const struct subcommand *named,
	int count, char *const *words);
