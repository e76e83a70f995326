/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/mesh - what the two files of the subcommand mesh share */
#ifndef NSWRAP_CMD_MESH_H
#define NSWRAP_CMD_MESH_H

#include <stdbool.h>

/* Is @word something that a running mesh can be asked: status, reload, stop? */
bool mesh_is_question(const char *word);

/* Ask the mesh @name (NULL: the only one) @question. Returns the exit status. */
int mesh_ask(const char *question, const char *name, bool is_json);

#endif
