/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/manifest_host - what a manifest says about one host, or about all of them */
#include "mesh/manifest/manifest_host.h"

#include <stdlib.h>
#include <string.h>

#include "mesh/manifest/manifest_fields.h"

static void check_host_keys(struct manifest_reader *reader, const struct manifest_node *map)
{
	const char *keys[MANIFEST_FIELDS_MAX];
	size_t count = 0;

	for (const struct manifest_field *field = manifest_fields; field->key; field++)
		keys[count++] = field->key;
	manifest_check_keys(reader, map, keys, count);
}

static void read_field(struct manifest_reader *reader, const struct manifest_field *field,
	const struct manifest_node *value, const struct manifest_node *inherited,
	struct manifest_host *out)
{
	if (inherited && (!value || field->adds_up)) {
		reader->errors->is_quiet = true;
		field->read(reader, field, inherited, out);
		reader->errors->is_quiet = false;
	}
	if (value)
		field->read(reader, field, value, out);
}

void manifest_host_read(struct manifest_reader *reader, const struct manifest_node *name,
	const struct manifest_node *value, const struct manifest_node *template,
	struct manifest_host *out)
{
	manifest_errors_about(reader->errors, "host", name->text);
	manifest_copy(reader, name->text, &out->name);
	if (!manifest_is_kind(reader, value, MANIFEST_MAP, "it", "a map with vip at least"))
		return;
	check_host_keys(reader, value);
	for (const struct manifest_field *field = manifest_fields; field->key; field++)
		read_field(reader, field, manifest_get(value, field->key),
			field->is_host_only ? NULL : manifest_get(template, field->key), out);
	if (!manifest_get(value, "vip"))
		manifest_error(reader->errors, name->at, "no vip: expected %s", MANIFEST_VIP);
}

void manifest_template_check(struct manifest_reader *reader, const struct manifest_node *template)
{
	struct manifest_host nobody = {.name = NULL};
	size_t ports_left = reader->ports_left;

	manifest_errors_about(reader->errors, "hostTemplate", NULL);
	if (!manifest_is_kind(reader, template, MANIFEST_MAP, "it", "a map with keys of a host"))
		return;
	check_host_keys(reader, template);
	for (const struct manifest_field *field = manifest_fields; field->key; field++) {
		const struct manifest_node *value = manifest_get(template, field->key);

		if (!value)
			continue;
		if (field->is_host_only)
			manifest_error(reader->errors, value->at,
				"%s is not for all hosts: expected it at each host", field->key);
		else
			field->read(reader, field, value, &nobody);
	}
	manifest_host_fini(&nobody);
	reader->ports_left = ports_left;
}

void manifest_host_fini(struct manifest_host *host)
{
	free(host->name);
	mesh_texts_free(host->cmd);
	for (size_t i = 0; i < host->noffers; i++)
		free(host->offers[i].connect_host);
	free(host->offers);
	free(host->http_listen);
	free(host->socks_listen);
	free(host->state_dir_path);
	mesh_texts_free(host->aliases);
	*host = (struct manifest_host){.name = NULL};
}
