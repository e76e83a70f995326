/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/status - what is to be known about the hosts of a mesh */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <time.h>

#include "mesh/manager/census.h"
#include "mesh/manager/display.h"
#include "mesh/manager/roster.h"

/*
 * The answer to "status" (mesh/manager/manager) of mesh @name with the hosts from number @from on,
 * as many as fit into a message, and with the lists where that is the first one. NULL: no memory.
 */
json_t *status_json(const struct roster *roster, const struct census *census, const char *name,
	const char *manifest, time_t started, size_t from);

/* The row of one host on a terminal, for struct display; @roster is a struct roster. */
struct display_mark status_row(void *roster, size_t row, char *out, size_t cap_bytes);
