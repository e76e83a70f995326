/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/fields - the keys that a host can have, and how each is read */
#ifndef NSWRAP_MESH_MANIFEST_FIELDS_H
#define NSWRAP_MESH_MANIFEST_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

#include "mesh/manifest/manifest.h"
#include "mesh/manifest/reader.h"

#define FIELDS_MAX       16   /* keys in one map */
#define READER_PORTS_MAX 8192 /* of all hosts together */
#define FIELDS_VIP       "an IPv4 address such as 127.0.42.101"

/* A key of a host, or of a map in it; a table of them ends with an entry whose key is NULL. */
struct field {
	const char *key, *what; /* what: its name in errors */
	void (*read)(struct reader *reader, const struct field *field, const struct node *value,
		struct manifest_host *out);
	size_t offset;             /* in the host, of what `read` sets */
	const struct field *parts; /* of a map */
	const char *expected;
	bool is_host_only; /* the template must not have it */
	bool adds_up;      /* both the template's and the host's count */
};

extern const struct field fields_of_host[];

#endif
