/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/field - a table of the keys of a map in a manifest, and reading what it says */
#include "mesh/manifest/field.h"

#include <string.h>

/* "listen" of "http.listen" */
static const char *key_of(const struct field *field)
{
	const char *dot = strrchr(field->what, '.');

	return dot ? dot + 1 : field->what;
}

static void read_field(struct reader *reader, const struct field *field, enum field_subject subject,
	const struct node *map, const struct node *template, struct manifest_host *out)
{
	const struct node *value = reader_get(map, key_of(field));
	const struct node *inherited =
		field->not_for & FIELD_TEMPLATE ? NULL : reader_get(template, key_of(field));

	if (inherited && (!value || field->adds_up)) {
		reader->errors->is_quiet = true;
		field->read(reader, field, inherited, out);
		reader->errors->is_quiet = false;
	}
	if (value && (field->not_for & subject))
		reader_refuse(reader, value, "%s is not for all hosts%s: expected it at each host",
			field->what, subject == FIELD_CROWD ? " of a list" : "");
	else if (value)
		field->read(reader, field, value, out);
}

void field_read_map(struct reader *reader, const struct field *const tables[],
	enum field_subject subject, const struct node *map, const struct node *template,
	struct manifest_host *out)
{
	const char *keys[READER_KEYS_MAX];
	size_t count = 0;

	for (; *tables; tables++)
		for (const struct field *field = *tables; field->what; field++) {
			keys[count++] = key_of(field);
			read_field(reader, field, subject, map, template, out);
		}
	reader_check_keys(reader, map, keys, count);
}

void field_read_section(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	if (reader_is_kind(reader, value, NODE_MAP, field->what, field->expected))
		field_read_map(reader, (const struct field *const[]){field->parts, NULL},
			FIELD_HOST, value, NULL, out);
}
