/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/fields - the keys that a host can have, and how each is read */
#ifndef NSWRAP_MESH_MANIFEST_FIELDS_H
#define NSWRAP_MESH_MANIFEST_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

#include "mesh/manifest/manifest.h"
#include "mesh/manifest/reader.h"

#define FIELDS_MAX 16 /* keys in one map */
#define FIELDS_VIP "an IPv4 address such as 127.0.42.101"

/*
 * A key of a host, or of a map in it. What is told to the host as it stands is kept in `own`:
 * comparing, copying and freeing follow from the table of mesh/config. A table ends with an entry
 * that has no name.
 */
struct field {
	const char *what; /* its name in errors: the key, behind that of its map: "http.listen" */
	void (*read)(struct reader *reader, const struct field *field, const struct node *value,
		struct manifest_host *out);
	size_t offset; /* in the host, of what `read` sets; 0: it knows by itself */
	const char *expected;
	const struct field *parts; /* of a map */
	bool is_host_only;         /* the template must not have it */
	bool adds_up;              /* both the template's and the host's count */
};

extern const struct field fields_of_host[];

/* "listen" of "http.listen" */
const char *fields_key(const struct field *field);

/* Complain about keys of @map that are not in the table @fields, and those that are given twice. */
void fields_check_keys(struct reader *reader, const struct node *map, const struct field *fields);

#endif
