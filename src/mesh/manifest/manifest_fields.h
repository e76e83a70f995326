/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/manifest_fields - the keys that a host can have, and how each is read */
#ifndef NSWRAP_MESH_MANIFEST_MANIFEST_FIELDS_H
#define NSWRAP_MESH_MANIFEST_MANIFEST_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

#include "mesh/manifest/manifest.h"
#include "mesh/manifest/manifest_reader.h"

#define MANIFEST_FIELDS_MAX 16   /* keys in one map */
#define MANIFEST_PORTS_MAX  8192 /* of all hosts together */
#define MANIFEST_VIP        "an IPv4 address such as 127.0.42.101"

/* A key of a host, or of a map in it; a table of them ends with an entry whose key is NULL. */
struct manifest_field {
	const char *key, *what; /* what: its name in errors */
	void (*read)(struct manifest_reader *reader, const struct manifest_field *field,
		const struct manifest_node *value, struct manifest_host *out);
	size_t offset;                      /* in the host, of what `read` sets */
	const struct manifest_field *parts; /* of a map */
	const char *expected;
	bool is_host_only; /* the template must not have it */
	bool adds_up;      /* both the template's and the host's count */
};

extern const struct manifest_field manifest_fields[];

#endif
