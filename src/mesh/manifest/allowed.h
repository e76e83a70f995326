/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/allowed - what a manifest says about who may begin something with a host */
#pragma once

#include "mesh/manifest/manifest.h"
#include "mesh/manifest/reader.h"

#define ALLOWED_EXPECTED "a list of hosts, such as [\"laptop\", \"lab:80\"]"

/*
 * Once all hosts have been read: what `allow` of each of @hosts and of @lists (NULL: none), or else
 * of @template (NULL: nothing), says.
 */
void allowed_read_all(struct reader *reader, const struct node *hosts, const struct node *lists,
	const struct node *template, struct manifest *manifest);
