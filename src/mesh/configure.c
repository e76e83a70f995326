/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/configure - read the arguments of `configure` */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/members.h"
#include "mesh/message.h"

#define HOST_NAME_MAX_BYTES 253
#define LETTERS             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS              "0123456789"

/* A copy of @text, which may be NULL. */
static int keep(const struct members *from, const char *text, char **out)
{
	*out = text ? strdup(text) : NULL;
	if (text && !*out)
		return err_sys(from->err, ENOMEM, "cannot read the configuration");
	return 0;
}

/* Zeroed room for as many items as the list @name has; NULL for none, or with *@result < 0. */
static void *make_room(
	const struct members *from, const char *name, size_t item_bytes, size_t *count, int *result)
{
	const json_t *list;
	void *items = NULL;

	*count = 0;
	*result = members_list(from, name, &list);
	if (*result < 0 || json_array_size(list) == 0)
		return NULL;
	items = calloc(json_array_size(list), item_bytes);
	if (items)
		*count = json_array_size(list);
	else
		*result = err_sys(from->err, ENOMEM, "cannot read the configuration");
	return items;
}

static int decode_proto(const struct members *from, enum proto *out)
{
	const char *name = NULL;
	int result = members_text(from, "proto", &name);

	if (result < 0)
		return result;
	if (!name || name[0] == '\0' || strcmp(name, "tcp") == 0)
		*out = PROTO_TCP;
	else if (strcmp(name, "udp") == 0)
		*out = PROTO_UDP;
	else
		return members_refuse(from, "proto", json_object_get(from->object, "proto"),
			"\"tcp\" or \"udp\"");
	return 0;
}

/* Digits and dots are an address or a mistake: a resolver would make one out of "127.1" as well. */
static bool is_connectable(const char *text)
{
	size_t len = strlen(text);
	struct in_addr addr;

	if (strspn(text, DIGITS ".") == len)
		return inet_pton(AF_INET, text, &addr) == 1;
	return len <= HOST_NAME_MAX_BYTES && strspn(text, LETTERS DIGITS ".-_") == len;
}

static int decode_offer(const struct members *from, struct mesh_offer *out)
{
	const char *host = "";
	int result = members_need_port(from, "listen_port", &out->listen_port);

	if (result == 0)
		result = members_need_text(from, "connect_ip", &host);
	if (result == 0)
		result = members_need_port(from, "connect_port", &out->connect_port);
	if (result == 0)
		result = decode_proto(from, &out->proto);
	if (result < 0)
		return result;
	if (!is_connectable(host))
		return members_refuse(from, "connect_ip",
			json_object_get(from->object, "connect_ip"),
			strchr(host, ':') ? "an IPv4 address or a host name (no IPv6 here)"
					  : "an IPv4 address or a host name");
	return keep(from, host, &out->connect_host);
}

static int decode_offers(const struct members *from, struct mesh_config *out)
{
	struct members item;
	int result;

	out->offers = make_room(from, "forwards", sizeof(*out->offers), &out->noffers, &result);
	for (size_t i = 0; result == 0 && i < out->noffers; i++) {
		result = members_item(from, "forwards", i, &item);
		if (result == 0)
			result = decode_offer(&item, &out->offers[i]);
	}
	return result;
}

static int decode_ports(
	const struct members *from, const char *name, struct mesh_port **out, size_t *count)
{
	struct members item;
	int result;

	struct mesh_port *ports = make_room(from, name, sizeof(*ports), count, &result);
	*out = ports;
	for (size_t i = 0; result == 0 && i < *count; i++) {
		result = members_item(from, name, i, &item);
		if (result == 0)
			result = members_need_host(&item, "ip", &ports[i].ip);
		if (result == 0)
			result = members_need_port(&item, "port", &ports[i].port);
		if (result == 0)
			result = decode_proto(&item, &ports[i].proto);
	}
	return result;
}

/* A name ends up in files of lines and on terminals. */
static bool is_name(const char *text)
{
	for (const char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return false;
	return text[0] != '\0' && strlen(text) <= HOST_NAME_MAX_BYTES;
}

static int decode_names(const struct members *from, struct mesh_config *out)
{
	struct members map;
	const char *name = NULL;
	json_t *value;
	int result = members_object(from, "hostnameMap", &map);

	if (result < 0 || json_object_size(map.object) == 0)
		return result;
	out->names = calloc(json_object_size(map.object), sizeof(*out->names));
	if (!out->names)
		return err_sys(from->err, ENOMEM, "cannot read the configuration");
	json_object_foreach(json_object_get(from->object, "hostnameMap"), name, value)
	{
		struct mesh_name *entry = &out->names[out->nnames];

		if (!is_name(name))
			return members_refuse(&map, name, value,
				"a name of 1 to 253 bytes without control characters");
		result = members_need_host(&map, name, &entry->ip);
		if (result == 0)
			result = keep(&map, name, &entry->name);
		if (result < 0)
			return result;
		out->nnames++;
	}
	return 0;
}

static int decode_patterns(const struct members *from, const char *name, char ***out)
{
	const json_t *list;
	int result = members_list(from, name, &list);
	size_t count = json_array_size(list);

	if (result < 0 || count == 0)
		return result;
	*out = calloc(count + 1, sizeof(**out));
	if (!*out)
		return err_sys(from->err, ENOMEM, "cannot read the configuration");
	for (size_t i = 0; result == 0 && i < count; i++) {
		const char *text = json_string_value(json_array_get(list, i));

		result = text ? keep(from, text, &(*out)[i])
			      : members_refuse(from, name, list, "a list of texts");
	}
	return result;
}

static int decode_routes(const struct members *from, struct mesh_config *out)
{
	struct members item;
	int result;

	out->routes = make_room(from, "routes", sizeof(*out->routes), &out->nroutes, &result);
	for (size_t i = 0; result == 0 && i < out->nroutes; i++) {
		result = members_item(from, "routes", i, &item);
		if (result == 0)
			result = decode_patterns(&item, "toCIDR", &out->routes[i].cidrs);
		if (result == 0)
			result = decode_patterns(&item, "toHostnameGlob", &out->routes[i].globs);
		if (result == 0)
			result = members_need_host(&item, "via", &out->routes[i].via);
	}
	return result;
}

/* {"listen": TEXT}; an empty text is off as well. */
static int decode_listen(const struct members *from, const char *name, char **out)
{
	struct members proxy;
	const char *listen = NULL;
	int result = members_object(from, name, &proxy);

	if (result == 0)
		result = members_text(&proxy, "listen", &listen);
	if (result < 0 || !listen || listen[0] == '\0')
		return result;
	return keep(&proxy, listen, out);
}

static int decode_switches(const struct members *from, struct mesh_config *out)
{
	struct members loopback, state_dir;
	const char *path = NULL;
	int result = members_object(from, "loopback", &loopback);

	if (result == 0)
		result = members_bool(&loopback, "disable", &out->loopback_disable);
	if (result == 0)
		result = members_object(from, "stateDir", &state_dir);
	if (result == 0)
		result = members_bool(&state_dir, "disable", &out->state_dir_disable);
	if (result == 0)
		result = members_text(&state_dir, "path", &path);
	if (result == 0 && path && path[0])
		result = keep(&state_dir, path, &out->state_dir_path);
	if (result == 0)
		result = members_bool(from, "writeEtcHosts", &out->write_etc_hosts);
	if (result == 0)
		result = members_bool(from, "anyPort", &out->any_port);
	return result;
}

int configure_decode(const json_t *args, struct mesh_config *out, struct err *err)
{
	struct members root = {.object = args, .err = err};

	*out = (struct mesh_config){0};
	if (!json_is_object(args))
		return members_refuse(&root, "args", args, "an object");
	int result = members_need_host(&root, "me", &out->me);
	if (result == 0)
		result = decode_offers(&root, out);
	if (result == 0)
		result = decode_ports(&root, "others", &out->others, &out->nothers);
	if (result == 0)
		result = decode_names(&root, out);
	if (result == 0)
		result = decode_listen(&root, "http", &out->http_listen);
	if (result == 0)
		result = decode_listen(&root, "socks", &out->socks_listen);
	if (result == 0)
		result = decode_switches(&root, out);
	if (result == 0)
		result = decode_routes(&root, out);
	if (result == 0)
		result =
			decode_ports(&root, "nameServers", &out->name_servers, &out->nname_servers);
	if (result < 0) {
		config_free(out);
		*out = (struct mesh_config){0};
	}
	return result;
}
