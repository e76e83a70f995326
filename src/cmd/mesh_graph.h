/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/mesh_graph - `nswrap mesh graph`: a picture of a mesh that runs */
#pragma once

#include "util/err.h"

/* The names of formats, with what they are, in a line: for help and errors. */
#define MESH_GRAPH_FORMATS "dot, svg or mermaid"

/* Returns 0, or -EINVAL with @err filled. */
int mesh_graph_check_format(const char *format, struct err *err);

/* Ask the mesh at @sock and print it; @format NULL: dot. Returns 0 or -errno with @err filled. */
int mesh_graph_print(int sock, const char *format, struct err *err);
