/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/manifest_host - what a manifest says about one host, or about all of them */
#ifndef NSWRAP_MESH_MANIFEST_MANIFEST_HOST_H
#define NSWRAP_MESH_MANIFEST_MANIFEST_HOST_H

#include "mesh/manifest/manifest.h"
#include "mesh/manifest/manifest_reader.h"

/*
 * Fill @out, which is all zero, with what @value says about the host that the key @name names, and
 * @template (NULL: none) about all hosts. What is wrong with @template itself is not said again.
 */
void manifest_host_read(struct manifest_reader *reader, const struct manifest_node *name,
	const struct manifest_node *value, const struct manifest_node *template,
	struct manifest_host *out);

/* Complain about what is wrong with the template. */
void manifest_template_check(struct manifest_reader *reader, const struct manifest_node *template);

/* Free what is in it. */
void manifest_host_fini(struct manifest_host *host);

#endif
