/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/field - a table of the keys of a map in a manifest, and reading what it says */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/manifest/manifest.h"
#include "mesh/manifest/reader.h"

/* Of whom a map tells. */
enum field_subject {
	FIELD_HOST = 1,     /* of one host */
	FIELD_TEMPLATE = 2, /* of all of them: hostTemplate */
	FIELD_CROWD = 4,    /* of those of a list: an item of hostsFrom */
};

/*
 * A key of a host, or of a map in it. What is told to the host as it stands is kept in `own`, whose
 * copying, comparing and freeing follow from the table of mesh/config. A table ends with an entry
 * that has no name.
 */
struct field {
	const char *what; /* its name in errors: the key, behind that of its map: "http.listen" */
	void (*read)(struct reader *reader, const struct field *field, const struct node *value,
		struct manifest_host *out);
	size_t offset; /* in the host, of what `read` sets; 0: it knows by itself */
	const char *expected;
	const struct field *parts; /* of a map */
	uint16_t default_port;     /* of an address to listen at */
	unsigned not_for;          /* bits of enum field_subject */
	bool adds_up;              /* both the template's and the host's count */
};

static inline void *field_member(struct manifest_host *host, const struct field *field)
{
	return (char *)host + field->offset;
}

/*
 * What @map, which tells of @subject, says by @tables (NULL behind the last one), and @template
 * (NULL: nothing) where it does not. What is wrong with @template itself is not said again.
 */
void field_read_map(struct reader *reader, const struct field *const tables[],
	enum field_subject subject, const struct node *map, const struct node *template,
	struct manifest_host *out);

/* The same of a key whose value is a map with the field's parts. */
void field_read_section(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out);
