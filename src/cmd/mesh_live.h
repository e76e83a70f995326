/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/mesh_live - `nswrap mesh status --watch`: the hosts of a mesh as they are from second to
 * second */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "util/err.h"

/*
 * Ask the mesh at @sock every second, and show its hosts, with what goes through each of them a
 * second, until a signal comes or the mesh ends. On a terminal that is one screen, as long as it
 * has room for them: hosts that are not ready come first if it has not. Elsewhere it is a table, or
 * with @is_json an object in a line, after another.
 *
 * @print_troubles has more lines on the answer @status. Returns 0, or -errno with @err filled.
 */
int mesh_live_run(int sock, bool is_json, void (*print_troubles)(FILE *out, const json_t *status),
	struct err *err);
