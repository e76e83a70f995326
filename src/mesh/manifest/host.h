/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/host - what a manifest says about one host, or about all of them */
#pragma once

#include "mesh/manifest/manifest.h"
#include "mesh/manifest/reader.h"

/*
 * Fill @out, which is all zero, with what @value says about the host that the key @name names, and
 * @template (NULL: none) about all hosts. What is wrong with @template itself is not said again.
 */
void host_read(struct reader *reader, const struct node *name, const struct node *value,
	const struct node *template, struct manifest_host *out);

/* Complain about what is wrong with the template. */
void host_check_template(struct reader *reader, const struct node *template);

/* Free what is in it. */
void host_fini(struct manifest_host *host);
