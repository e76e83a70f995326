/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/tunnel_status - list the ends of tunnels that run */
#pragma once

#include <stdbool.h>

#include "util/err.h"

/* Print a table, or JSON. Returns 0, or -errno with @err filled. */
int tunnel_status_print(bool is_json, struct err *err);
