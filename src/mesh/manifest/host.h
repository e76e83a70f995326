/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/host - what a manifest says about one host, or about all of them */
#pragma once

#include "mesh/manifest/field.h"
#include "mesh/manifest/manifest.h"
#include "mesh/manifest/reader.h"

/*
 * Fill @out, which is all zero, with what @value says about the host that the key @name names, and
 * @template (NULL: none) about all hosts. What is wrong with @template itself is not said again.
 */
void host_read(struct reader *reader, const struct node *name, const struct node *value,
	const struct node *template, struct manifest_host *out);

/* The same of all hosts of a list, which also have the keys @more. */
void host_read_each(struct reader *reader, const struct node *value, const struct node *template,
	const struct field *more, struct manifest_host *out);

/* The words of a command, split as a shell would if it is a text, to *@out; NULL after complaining.
 * Returns true, and complains of nothing, if it has none. */
bool host_read_command(
	struct reader *reader, const struct field *field, const struct node *value, char ***out);

/* Complain about what is wrong with the template. */
void host_check_template(struct reader *reader, const struct node *template);

/* Free what is in it. */
void host_fini(struct manifest_host *host);
