/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/amend - what is different about the other hosts of a mesh: the arguments of `amend` */
#include "mesh/amend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/configure.h"
#include "mesh/info.h"
#include "mesh/members.h"

#define ITEMS_MAX                                                                      \
	(1 << 16) /* of a list: far above what one message of `configure` has room for \
		   */

static const char *const lists[] = {"others", "hostnameMap", "nameServers"};

static bool is_list(const char *name)
{
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		if (strcmp(lists[i], name) == 0)
			return true;
	return false;
}

static const struct config_field *find_field(const char *name)
{
	const struct config_field *field = config_fields;

	while (field->section || strcmp(field->name, name) != 0)
		field++;
	return field;
}

/* --- encoding --------------------------------------------------------------------------------- */

static json_t *encode(const struct mesh_config *config)
{
	const struct mesh_config part = {.others = config->others,
		.nothers = config->nothers,
		.names = config->names,
		.nnames = config->nnames,
		.name_servers = config->name_servers,
		.nname_servers = config->nname_servers};
	json_t *all = configure_encode(&part, ~0U), *value;
	const char *name;
	void *next;

	json_object_foreach_safe(all, next, name, value)
	{
		if (!is_list(name))
			json_object_del(all, name);
	}
	return all;
}

json_t *amend_encode(const struct mesh_config *removed, const struct mesh_config *added)
{
	return json_pack("{s:o, s:o}", "remove", encode(removed), "add", encode(added));
}

/* --- decoding --------------------------------------------------------------------------------- */

/* As those of a configuration that says nothing else. */
static int decode(
	const struct members *root, const char *name, struct mesh_config *out, struct err *err)
{
	struct members part;
	int result = members_object(root, name, &part);
	json_t *args = json_object();

	*out = (struct mesh_config){.offers = NULL};
	for (size_t i = 0; result == 0 && i < sizeof(lists) / sizeof(lists[0]); i++) {
		json_t *value = json_object_get(part.object, lists[i]);

		if (value)
			json_object_set(args, lists[i], value);
	}
	json_object_set_new(args, "me", json_string("0.0.0.1"));
	if (result == 0)
		result = configure_decode(args, out, err);
	json_decref(args);
	return result;
}

/* --- applying --------------------------------------------------------------------------------- */

static int compare_ports(const void *a, const void *b)
{
	const struct mesh_port *left = a, *right = b;

	if (left->ip.s_addr != right->ip.s_addr)
		return left->ip.s_addr < right->ip.s_addr ? -1 : 1;
	if (left->port != right->port)
		return left->port < right->port ? -1 : 1;
	return (int)left->proto - (int)right->proto;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct mesh_name *)a)->name, ((const struct mesh_name *)b)->name);
}

/* Items of @list of @config that are in @removed, which is put in order, leave. */
static void remove_items(const struct config_field *list, struct mesh_config *config,
	struct mesh_config *removed, int (*compare)(const void *, const void *))
{
	const size_t count = config_count(list, config), nremoved = config_count(list, removed);
	size_t kept = 0;

	if (nremoved == 0)
		return;
	qsort(config_item(list, removed, 0), nremoved, list->item_bytes, compare);
	for (size_t i = 0; i < count; i++) {
		void *item = config_item(list, config, i);

		if (!bsearch(item, config_item(list, removed, 0), nremoved, list->item_bytes,
			    compare))
			memmove(config_item(list, config, kept++), item, list->item_bytes);
		else if (list->kind == CONFIG_NAMES)
			free(((struct mesh_name *)item)->name);
	}
	memcpy((char *)config + list->count_offset, &kept, sizeof(kept));
}

/* There is room. Those of @added are the configuration's then. */
static void add_items(
	const struct config_field *list, struct mesh_config *config, struct mesh_config *added)
{
	const size_t count = config_count(list, config), more = config_count(list, added);
	const size_t sum = count + more, none = 0;

	if (more == 0)
		return;
	memcpy(config_item(list, config, count), config_item(list, added, 0),
		more * list->item_bytes);
	memcpy((char *)config + list->count_offset, &sum, sizeof(sum));
	memcpy((char *)added + list->count_offset, &none, sizeof(none));
}

static int make_room(const struct config_field *list, struct mesh_config *config,
	const struct mesh_config *added)
{
	const size_t count = config_count(list, config), more = config_count(list, added);

	if (more == 0)
		return 0;
	if (count + more > ITEMS_MAX)
		return -E2BIG;
	void *items = reallocarray(config_item(list, config, 0), count + more, list->item_bytes);
	if (!items)
		return -ENOMEM;
	memcpy((char *)config + list->offset, &items, sizeof(items));
	/* cppcheck-suppress memleak ; they are @config's */
	return 0;
}

int amend_apply(const json_t *args, struct mesh_config *config, struct err *err)
{
	struct members root = {.object = args, .err = err};
	struct mesh_config removed = {.offers = NULL}, added = {.offers = NULL};

	if (!json_is_object(args))
		return members_refuse(&root, "args", args, "an object");
	int result = decode(&root, "remove", &removed, err);
	if (result == 0)
		result = decode(&root, "add", &added, err);
	for (size_t i = 0; result == 0 && i < sizeof(lists) / sizeof(lists[0]); i++)
		result = make_room(find_field(lists[i]), config, &added);
	if (result == -E2BIG || result == -ENOMEM)
		err_sys(err, -result, "cannot read what is different");
	for (size_t i = 0; result == 0 && i < sizeof(lists) / sizeof(lists[0]); i++) {
		const struct config_field *list = find_field(lists[i]);

		/* an address that is moved is removed first */
		remove_items(list, config, &removed,
			list->kind == CONFIG_NAMES ? compare_names : compare_ports);
		add_items(list, config, &added);
	}
	config_free(&removed);
	config_free(&added);
	return result;
}
