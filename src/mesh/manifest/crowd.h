/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/crowd - the key `hostsFrom`: hosts that a command lists */
#pragma once

#include "mesh/manifest/manifest.h"
#include "mesh/manifest/reader.h"

#define CROWD_LISTS_MAX 32

/* Fill @out's crowds with what @list says, and @template (NULL: none) about all hosts; but for whom
 * they allow (mesh/manifest/allowed). */
void crowd_read_list(struct reader *reader, const struct node *list, const struct node *template,
	struct manifest *out);
