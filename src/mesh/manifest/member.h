/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/member - a host that another part of the manifest names */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>

#include "mesh/manifest/manifest.h"
#include "mesh/manifest/reader.h"

/* Once all hosts have been read: is @text a name, an alias or the VIP of one? Its VIP is in @out
 * then, which is 0 if what was wrong with that was said already. */
bool member_find(const struct reader *reader, const struct manifest *manifest, const char *text,
	struct in_addr *out);

/* Complain that @text, which stands at @node as @what, is none. */
void member_refuse(struct reader *reader, const struct manifest *manifest, const struct node *node,
	const char *what, const char *text);
