/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/secret - a password, from a file of its own */
#pragma once

#include "util/err.h"

/*
 * Read the first line of @path, which starts at @folder unless it is absolute or begins with "~/".
 * A file that others may read or change, or that is another user's (root's may be), is refused: its
 * words would not be a secret. Returns 0 with *@out, for free(3), or -errno with @err filled, which
 * does not show what is in it.
 */
int secret_read(const char *path, const char *folder, char **out, struct err *err);
