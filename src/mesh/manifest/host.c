/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/host - what a manifest says about one host, or about all of them */
#include "mesh/manifest/host.h"

#include <stdlib.h>
#include <string.h>

#include "mesh/manifest/fields.h"

static void read_field(struct reader *reader, const struct field *field, const struct node *value,
	const struct node *inherited, struct manifest_host *out)
{
	if (inherited && (!value || field->adds_up)) {
		reader->errors->is_quiet = true;
		field->read(reader, field, inherited, out);
		reader->errors->is_quiet = false;
	}
	if (value)
		field->read(reader, field, value, out);
}

void host_read(struct reader *reader, const struct node *name, const struct node *value,
	const struct node *template, struct manifest_host *out)
{
	errors_about(reader->errors, "host", name->text);
	reader_copy(reader, name->text, &out->name);
	if (!reader_is_kind(reader, value, NODE_MAP, "it", "a map with vip at least"))
		return;
	fields_check_keys(reader, value, fields_of_host);
	for (const struct field *field = fields_of_host; field->what; field++)
		read_field(reader, field, reader_get(value, field->what),
			field->is_host_only ? NULL : reader_get(template, field->what), out);
	if (!reader_get(value, "vip"))
		errors_add(reader->errors, name->at, "no vip: expected %s", FIELDS_VIP);
}

void host_check_template(struct reader *reader, const struct node *template)
{
	struct manifest_host nobody = {.name = NULL};
	size_t ports_left = reader->ports_left;

	errors_about(reader->errors, "hostTemplate", NULL);
	if (!reader_is_kind(reader, template, NODE_MAP, "it", "a map with keys of a host"))
		return;
	fields_check_keys(reader, template, fields_of_host);
	for (const struct field *field = fields_of_host; field->what; field++) {
		const struct node *value = reader_get(template, field->what);

		if (!value)
			continue;
		if (field->is_host_only)
			errors_add(reader->errors, value->at,
				"%s is not for all hosts: expected it at each host", field->what);
		else
			field->read(reader, field, value, &nobody);
	}
	host_fini(&nobody);
	reader->ports_left = ports_left;
}

void host_fini(struct manifest_host *host)
{
	free(host->name);
	config_texts_free(host->cmd);
	config_texts_free(host->aliases);
	config_free(&host->own);
	*host = (struct manifest_host){.name = NULL};
}
