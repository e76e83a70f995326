/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/config - what an agent is told about its mesh: the arguments of `configure` */
#include "mesh/config.h"

#include <errno.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/info.h"

/* --- the table ---------------------------------------------------------------------------- */

#define AT(type, member) \
	.offset = offsetof(struct type, member), .bytes = sizeof(((struct type *)NULL)->member)
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

static const struct config_field allowed[] = {
	{NULL, "ip", CONFIG_IP, AT(mesh_allowed, ip)},
	{NULL, "port", CONFIG_NUMBER, AT(mesh_allowed, port)},
	{NULL, "proto", CONFIG_PROTO, AT(mesh_allowed, proto)},
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

#define PROXY_ACCESS .told_with = FEATURE_PROXY_ACCESS, .requires = FEATURE_PROXY_ACCESS

const struct config_field config_fields[] = {
	{NULL, "me", CONFIG_IP, AT(mesh_config, me)},
	{NULL, "forwards", CONFIG_LIST, LIST(offers, mesh_offer, offer)},
	{NULL, "others", CONFIG_LIST, LIST(others, mesh_port, port)},
	{NULL, "hostnameMap", CONFIG_NAMES, LIST(names, mesh_name, name)},
	{"http", "listen", CONFIG_TEXT, AT(mesh_config, http_listen), .wants = FEATURE_HTTP},
	{"http", "user", CONFIG_TEXT, AT(mesh_config, http_user), PROXY_ACCESS},
	{"http", "password", CONFIG_TEXT, AT(mesh_config, http_password), PROXY_ACCESS},
	{"http", "onlyUser", CONFIG_BOOL, AT(mesh_config, http_only_user), PROXY_ACCESS},
	{"socks", "listen", CONFIG_TEXT, AT(mesh_config, socks_listen), .wants = FEATURE_SOCKS},
	{"socks", "user", CONFIG_TEXT, AT(mesh_config, socks_user), PROXY_ACCESS},
	{"socks", "password", CONFIG_TEXT, AT(mesh_config, socks_password), PROXY_ACCESS},
	{"socks", "onlyUser", CONFIG_BOOL, AT(mesh_config, socks_only_user), PROXY_ACCESS},
	{"loopback", "disable", CONFIG_BOOL, AT(mesh_config, loopback_disable),
		.requires = FEATURE_LOOPBACK_DISABLE},
	{"stateDir", "path", CONFIG_TEXT, AT(mesh_config, state_dir_path),
		.wants = FEATURE_HOSTALIASES},
	{"stateDir", "disable", CONFIG_BOOL, AT(mesh_config, state_dir_disable)},
	{NULL, "writeEtcHosts", CONFIG_BOOL, AT(mesh_config, write_etc_hosts),
		.wants = FEATURE_ETCHOSTS},
	{NULL, "routes", CONFIG_LIST, LIST(routes, mesh_route, route), .wants = FEATURE_ROUTES},
	{NULL, "nameServers", CONFIG_LIST, LIST(name_servers, mesh_port, port)},
	{NULL, "allow", CONFIG_LIST, LIST(allow, mesh_allowed, allowed),
		.told_with = FEATURE_ALLOW},
	{NULL, "anyPort", CONFIG_BOOL, AT(mesh_config, any_port), .told_with = FEATURE_SANDBOX,
		.wants = FEATURE_SANDBOX},
	{NULL, "expose", CONFIG_TEXTS, AT(mesh_config, expose), .told_with = FEATURE_EXPOSE,
		.requires = FEATURE_EXPOSE},
	{NULL, "identity", CONFIG_TEXT, AT(mesh_config, identity), .told_with = FEATURE_TAKEOVER},
	{NULL, "silence", CONFIG_NUMBER, AT(mesh_config, silence_s), .told_with = FEATURE_SILENCE},
	{NULL, "keep", CONFIG_NUMBER, AT(mesh_config, keep_s), .told_with = FEATURE_KEEP},
	{"sandbox", "command", CONFIG_TEXTS, AT(mesh_config, sandbox.command),
		.told_with = FEATURE_SANDBOX_RUN, .requires = FEATURE_SANDBOX_RUN},
	{"sandbox", "options", CONFIG_TEXTS, AT(mesh_config, sandbox.options),
		.told_with = FEATURE_SANDBOX_RUN},
	{"sandbox", "guestPort", CONFIG_NUMBER, AT(mesh_config, sandbox.guest_port),
		.told_with = FEATURE_SANDBOX_RUN},
	{"sandbox", "keep", CONFIG_BOOL, AT(mesh_config, sandbox.keep),
		.told_with = FEATURE_SANDBOX_RUN},
	{.name = NULL},
};

/* --- a member ----------------------------------------------------------------------------- */

static void *member(const struct config_field *field, const void *of)
{
	return (char *)of + field->offset;
}

static bool is_text(const struct config_field *field)
{
	return field->kind == CONFIG_TEXT || field->kind == CONFIG_TARGET;
}

size_t config_count(const struct config_field *list, const void *of)
{
	size_t count = 0;

	if (list->items)
		memcpy(&count, (const char *)of + list->count_offset, sizeof(count));
	return count;
}

void *config_item(const struct config_field *list, const void *of, size_t place)
{
	char *items;

	memcpy(&items, member(list, of), sizeof(items)); /* a pointer to whatever struct */
	return items ? items + place * list->item_bytes : NULL;
}

void *config_make_room(const struct config_field *list, void *of, size_t count)
{
	void *items = calloc(count, list->item_bytes);

	if (items) {
		memcpy(member(list, of), &items, sizeof(items));
		memcpy((char *)of + list->count_offset, &count, sizeof(count));
	}
	return items;
}

bool config_is_given(const struct config_field *field, const void *of)
{
	static const char zero[sizeof(void *)];

	if (field->items)
		return config_count(field, of) > 0;
	return memcmp(member(field, of), zero, field->bytes) != 0;
}

/* --- texts -------------------------------------------------------------------------------- */

static int copy_text(const char *text, char **out)
{
	*out = strdup(text);
	return *out ? 0 : -ENOMEM;
}

/* -ENOMEM leaves in *@out what there is. */
static int copy_texts(char *const *texts, char ***out)
{
	size_t count = g_strv_length((char **)texts);
	int result = 0;

	*out = calloc(count + 1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	for (size_t i = 0; result == 0 && i < count; i++)
		result = copy_text(texts[i], &(*out)[i]);
	return result;
}

/* --- all members -------------------------------------------------------------------------- */

static void free_members(const struct config_field *fields, void *of)
{
	for (const struct config_field *field = fields; field->name; field++) {
		if (is_text(field))
			free(*(char **)member(field, of));
		if (field->kind == CONFIG_TEXTS)
			g_strfreev(*(char ***)member(field, of));
		for (size_t i = 0; i < config_count(field, of); i++)
			free_members(field->items, config_item(field, of, i));
		if (field->items)
			free(config_item(field, of, 0));
	}
}

static int fill(const struct config_field *fields, void *of, const void *from)
{
	int result = 0;

	for (const struct config_field *field = fields; result == 0 && field->name; field++) {
		size_t count = config_count(field, from);

		if (!config_is_given(field, from) || config_is_given(field, of))
			continue;
		if (is_text(field))
			result = copy_text(*(char **)member(field, from), member(field, of));
		else if (field->kind == CONFIG_TEXTS)
			result = copy_texts(*(char ***)member(field, from), member(field, of));
		else if (field->items)
			result = config_make_room(field, of, count) ? 0 : -ENOMEM;
		else
			memcpy(member(field, of), member(field, from), field->bytes);
		for (size_t i = 0; result == 0 && i < count; i++)
			result = fill(field->items, config_item(field, of, i),
				config_item(field, from, i));
	}
	return result;
}

/* Who does not know IPv6 targets refuses everything that comes with one. */
static unsigned needs_ipv6(const struct config_field *field, const void *of)
{
	const char *text = field->kind == CONFIG_TARGET ? *(char **)member(field, of) : NULL;

	return text && strchr(text, ':') ? FEATURE_IPV6 : 0;
}

static unsigned section_told_with(const char *section, const void *of)
{
	unsigned told_with = 0;

	for (const struct config_field *field = config_fields; field->name; field++)
		if (field->section && strcmp(field->section, section) == 0 &&
			config_is_given(field, of))
			told_with |= field->told_with;
	return told_with;
}

unsigned config_told_with(const struct config_field *field, const void *of)
{
	if (!config_is_given(field, of))
		return 0;
	if (field->section)
		return section_told_with(field->section, of);
	return field->told_with | needs_ipv6(field, of);
}

static void add_needs(const struct config_field *fields, const void *of, struct config_needs *needs)
{
	for (const struct config_field *field = fields; field->name; field++) {
		if (!config_is_given(field, of))
			continue;
		needs->required |= field->requires;
		needs->wanted |= field->wants | needs_ipv6(field, of);
		for (size_t i = 0; i < config_count(field, of); i++)
			add_needs(field->items, config_item(field, of, i), needs);
	}
}

/* --- a configuration ---------------------------------------------------------------------- */

void config_free(struct mesh_config *config)
{
	free_members(config_fields, config);
	*config = (struct mesh_config){.offers = NULL};
}

void config_strip(struct mesh_config *config)
{
	struct in_addr me = config->me;

	config_free(config);
	config->me = me;
}

int config_fill(struct mesh_config *config, const struct mesh_config *from)
{
	return fill(config_fields, config, from);
}

struct config_needs config_needs(const struct mesh_config *config)
{
	struct config_needs needs = {0};

	add_needs(config_fields, config, &needs);
	if (config->state_dir_disable) /* nothing becomes of its path then */
		needs.wanted &= ~(unsigned)FEATURE_HOSTALIASES;
	return needs;
}
