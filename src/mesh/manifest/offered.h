/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/offered - the key `ports`: what a host offers at its virtual IP */
#pragma once

#include "mesh/manifest/field.h"

/* As struct field's `read`: adds to what @out offers, READER_PORTS_MAX in all. */
void offered_read(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out);
