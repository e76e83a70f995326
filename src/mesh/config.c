/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/config - what an agent is told about its mesh: the arguments of `configure` */
#include "mesh/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/info.h"

/* --- the table ---------------------------------------------------------------------------- */

#define AT(type, member) .offset = offsetof(struct type, member)
#define LIST(member, item, table)                                                         \
	AT(mesh_config, member), .count_offset = offsetof(struct mesh_config, n##member), \
				 .item_bytes = sizeof(struct item), .items = (table)

static const struct config_field offer[] = {
	{NULL, "listen_port", CONFIG_PORT, AT(mesh_offer, listen_port)},
	{NULL, "connect_ip", CONFIG_TARGET, AT(mesh_offer, connect_host)},
	{NULL, "connect_port", CONFIG_PORT, AT(mesh_offer, connect_port)},
	{NULL, "proto", CONFIG_PROTO, AT(mesh_offer, proto), .told_with = FEATURE_UDP,
		.wants = FEATURE_UDP},
	{.name = NULL},
};

static const struct config_field port[] = {
	{NULL, "ip", CONFIG_IP, AT(mesh_port, ip)},
	{NULL, "port", CONFIG_PORT, AT(mesh_port, port)},
	{NULL, "proto", CONFIG_PROTO, AT(mesh_port, proto), .told_with = FEATURE_UDP},
	{.name = NULL},
};

static const struct config_field name[] = {
	{NULL, "name", CONFIG_TEXT, AT(mesh_name, name)},
	{NULL, "ip", CONFIG_IP, AT(mesh_name, ip)},
	{.name = NULL},
};

static const struct config_field route[] = {
	{NULL, "toCIDR", CONFIG_TEXTS, AT(mesh_route, cidrs)},
	{NULL, "toHostnameGlob", CONFIG_TEXTS, AT(mesh_route, globs), .wants = FEATURE_DNS},
	{NULL, "via", CONFIG_IP, AT(mesh_route, via)},
	{.name = NULL},
};

const struct config_field config_fields[] = {
	{NULL, "me", CONFIG_IP, AT(mesh_config, me)},
	{NULL, "forwards", CONFIG_LIST, LIST(offers, mesh_offer, offer)},
	{NULL, "others", CONFIG_LIST, LIST(others, mesh_port, port)},
	{NULL, "hostnameMap", CONFIG_NAMES, LIST(names, mesh_name, name)},
	{"http", "listen", CONFIG_TEXT, AT(mesh_config, http_listen), .wants = FEATURE_HTTP},
	{"socks", "listen", CONFIG_TEXT, AT(mesh_config, socks_listen), .wants = FEATURE_SOCKS},
	{"loopback", "disable", CONFIG_BOOL, AT(mesh_config, loopback_disable),
		.requires = FEATURE_LOOPBACK_DISABLE},
	{"stateDir", "path", CONFIG_TEXT, AT(mesh_config, state_dir_path),
		.wants = FEATURE_HOSTALIASES},
	{"stateDir", "disable", CONFIG_BOOL, AT(mesh_config, state_dir_disable)},
	{NULL, "writeEtcHosts", CONFIG_BOOL, AT(mesh_config, write_etc_hosts),
		.wants = FEATURE_ETCHOSTS},
	{NULL, "routes", CONFIG_LIST, LIST(routes, mesh_route, route), .wants = FEATURE_ROUTES},
	{NULL, "nameServers", CONFIG_LIST, LIST(name_servers, mesh_port, port)},
	{NULL, "anyPort", CONFIG_BOOL, AT(mesh_config, any_port), .told_with = FEATURE_SANDBOX,
		.wants = FEATURE_SANDBOX},
	{.name = NULL},
};

/* --- a member ----------------------------------------------------------------------------- */

static const size_t bytes_of[] = {
	[CONFIG_BOOL] = sizeof(bool),
	[CONFIG_TEXT] = sizeof(char *),
	[CONFIG_TARGET] = sizeof(char *),
	[CONFIG_TEXTS] = sizeof(char **),
	[CONFIG_IP] = sizeof(struct in_addr),
	[CONFIG_PORT] = sizeof(uint16_t),
	[CONFIG_PROTO] = sizeof(enum proto),
	[CONFIG_LIST] = sizeof(void *),
	[CONFIG_NAMES] = sizeof(void *),
};

static void *member(const struct config_field *field, const void *of)
{
	return (char *)of + field->offset;
}

size_t config_count(const struct config_field *list, const void *of)
{
	size_t count;

	memcpy(&count, (const char *)of + list->count_offset, sizeof(count));
	return count;
}

void *config_item(const struct config_field *list, const void *of, size_t place)
{
	char *items;

	memcpy(&items, member(list, of), sizeof(items)); /* a pointer to whatever struct */
	return items + place * list->item_bytes;
}

int config_make_room(const struct config_field *list, void *of, size_t count)
{
	void *items = calloc(count, list->item_bytes);

	if (!items)
		return -ENOMEM;
	memcpy(member(list, of), &items, sizeof(items));
	memcpy((char *)of + list->count_offset, &count, sizeof(count));
	return 0;
}

bool config_is_given(const struct config_field *field, const void *of)
{
	static const char zero[sizeof(void *)];

	if (field->items)
		return config_count(field, of) > 0;
	return memcmp(member(field, of), zero, bytes_of[field->kind]) != 0;
}

/* --- texts -------------------------------------------------------------------------------- */

void config_texts_free(char **texts)
{
	for (char **text = texts; text && *text; text++)
		free(*text);
	free(texts);
}

bool config_texts_equal(char *const *a, char *const *b)
{
	if (!a || !b)
		return a == b;
	while (*a && *b && strcmp(*a, *b) == 0)
		a++, b++;
	return !*a && !*b;
}

/* NULL: no memory. */
static char **copy_texts(char *const *texts)
{
	size_t count = 0;

	while (texts[count])
		count++;
	char **copy = calloc(count + 1, sizeof(*copy));
	for (size_t i = 0; copy && i < count; i++) {
		copy[i] = strdup(texts[i]);
		if (!copy[i]) {
			config_texts_free(copy);
			return NULL;
		}
	}
	return copy;
}

/* --- all members -------------------------------------------------------------------------- */

static void free_members(const struct config_field *fields, void *of)
{
	for (const struct config_field *field = fields; field->name; field++) {
		if (field->kind == CONFIG_TEXT || field->kind == CONFIG_TARGET)
			free(*(char **)member(field, of));
		if (field->kind == CONFIG_TEXTS)
			config_texts_free(*(char ***)member(field, of));
		if (!field->items)
			continue;
		for (size_t i = 0; i < config_count(field, of); i++)
			free_members(field->items, config_item(field, of, i));
		free(config_item(field, of, 0));
	}
}

static bool equal_members(const struct config_field *fields, const void *a, const void *b);

static bool is_equal(const struct config_field *field, const void *a, const void *b)
{
	const void *left = member(field, a), *right = member(field, b);

	switch (field->kind) {
	case CONFIG_TEXT:
	case CONFIG_TARGET: {
		const char *x = *(char *const *)left, *y = *(char *const *)right;

		return x && y ? strcmp(x, y) == 0 : x == y;
	}
	case CONFIG_TEXTS:
		return config_texts_equal(*(char **const *)left, *(char **const *)right);
	case CONFIG_LIST:
	case CONFIG_NAMES:
		if (config_count(field, a) != config_count(field, b))
			return false;
		for (size_t i = 0; i < config_count(field, a); i++)
			if (!equal_members(field->items, config_item(field, a, i),
				    config_item(field, b, i)))
				return false;
		return true;
	case CONFIG_BOOL:
	case CONFIG_IP:
	case CONFIG_PORT:
	case CONFIG_PROTO:
		break;
	}
	return memcmp(left, right, bytes_of[field->kind]) == 0;
}

static bool equal_members(const struct config_field *fields, const void *a, const void *b)
{
	for (const struct config_field *field = fields; field->name; field++)
		if (!is_equal(field, a, b))
			return false;
	return true;
}

static int fill_members(const struct config_field *fields, void *of, const void *from);

/* A member of @of that is not given becomes a copy of that of @from, which is. */
static int copy_member(const struct config_field *field, void *of, const void *from)
{
	void *to = member(field, of);
	const void *value = member(field, from);
	int result = 0;

	switch (field->kind) {
	case CONFIG_TEXT:
	case CONFIG_TARGET:
		*(char **)to = strdup(*(char *const *)value);
		return *(char **)to ? 0 : -ENOMEM;
	case CONFIG_TEXTS:
		*(char ***)to = copy_texts(*(char **const *)value);
		return *(char ***)to ? 0 : -ENOMEM;
	case CONFIG_LIST:
	case CONFIG_NAMES:
		result = config_make_room(field, of, config_count(field, from));
		for (size_t i = 0; result == 0 && i < config_count(field, from); i++)
			result = fill_members(field->items, config_item(field, of, i),
				config_item(field, from, i));
		return result;
	case CONFIG_BOOL:
	case CONFIG_IP:
	case CONFIG_PORT:
	case CONFIG_PROTO:
		memcpy(to, value, bytes_of[field->kind]);
		break;
	}
	return 0;
}

static int fill_members(const struct config_field *fields, void *of, const void *from)
{
	int result = 0;

	for (const struct config_field *field = fields; result == 0 && field->name; field++)
		if (config_is_given(field, from) && !config_is_given(field, of))
			result = copy_member(field, of, from);
	return result;
}

static void add_needs(const struct config_field *fields, const void *of, struct config_needs *needs)
{
	for (const struct config_field *field = fields; field->name; field++) {
		if (!config_is_given(field, of))
			continue;
		needs->required |= field->requires;
		needs->wanted |= field->wants;
		for (size_t i = 0; field->items && i < config_count(field, of); i++)
			add_needs(field->items, config_item(field, of, i), needs);
	}
}

/* --- a configuration ---------------------------------------------------------------------- */

void config_free(struct mesh_config *config)
{
	free_members(config_fields, config);
	*config = (struct mesh_config){.offers = NULL};
}

bool config_equal(const struct mesh_config *a, const struct mesh_config *b)
{
	return equal_members(config_fields, a, b);
}

int config_fill(struct mesh_config *config, const struct mesh_config *from)
{
	return fill_members(config_fields, config, from);
}

struct config_needs config_needs(const struct mesh_config *config)
{
	struct config_needs needs = {0};

	add_needs(config_fields, config, &needs);
	if (config->state_dir_disable) /* nothing becomes of its path then */
		needs.wanted &= ~(unsigned)FEATURE_HOSTALIASES;
	return needs;
}
