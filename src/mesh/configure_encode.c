/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/configure_encode - write the arguments of `configure`, as a NoRouter manager does */
#include <arpa/inet.h>

#include "mesh/message.h"

/*
 * Helpers return NULL when memory ran out. json_pack and json_object_set_new take that for a value
 * that cannot be, and fail as well: only the ends of a chain are looked at.
 */

static json_t *encode_addr(struct in_addr addr)
{
	char text[INET_ADDRSTRLEN];

	return json_string(inet_ntop(AF_INET, &addr, text, sizeof(text)));
}

static const char *proto_name(enum proto proto)
{
	return proto == PROTO_UDP ? "udp" : "tcp";
}

static bool may_see(enum proto proto, unsigned features)
{
	return proto == PROTO_TCP || (features & FEATURE_UDP);
}

/* Like NoRouter's, a list or map without items is not there at all. */
static int put(json_t *object, const char *name, json_t *value)
{
	if (value && json_array_size(value) == 0 && json_object_size(value) == 0) {
		json_decref(value);
		return 0;
	}
	return json_object_set_new(object, name, value);
}

static int put_offers(json_t *args, const struct mesh_config *config, unsigned features)
{
	json_t *list = json_array();
	int failed = 0;

	for (size_t i = 0; i < config->noffers; i++) {
		const struct mesh_offer *offer = &config->offers[i];

		if (may_see(offer->proto, features))
			failed |= json_array_append_new(list,
				json_pack("{s:i, s:s, s:i, s:s}", "listen_port", offer->listen_port,
					"connect_ip", offer->connect_host, "connect_port",
					offer->connect_port, "proto", proto_name(offer->proto)));
	}
	return failed | put(args, "forwards", list);
}

static int put_ports(json_t *args, const char *name, const struct mesh_port *ports, size_t count,
	unsigned features)
{
	json_t *list = json_array();
	int failed = 0;

	for (size_t i = 0; i < count; i++)
		if (may_see(ports[i].proto, features))
			failed |= json_array_append_new(list,
				json_pack("{s:o, s:i, s:s}", "ip", encode_addr(ports[i].ip), "port",
					ports[i].port, "proto", proto_name(ports[i].proto)));
	return failed | put(args, name, list);
}

static int put_names(json_t *args, const struct mesh_config *config)
{
	json_t *map = json_object();
	int failed = 0;

	for (size_t i = 0; i < config->nnames; i++)
		failed |= json_object_set_new(
			map, config->names[i].name, encode_addr(config->names[i].ip));
	return failed | put(args, "hostnameMap", map);
}

/* A list; null for none, as an empty one is in NoRouter. */
static json_t *encode_texts(char *const *texts)
{
	json_t *list = texts && texts[0] ? json_array() : json_null();
	int failed = 0;

	for (char *const *text = texts; text && *text; text++)
		failed |= json_array_append_new(list, json_string(*text));
	if (!failed)
		return list;
	json_decref(list);
	return NULL;
}

static int put_routes(json_t *args, const struct mesh_config *config)
{
	json_t *list = json_array();
	int failed = 0;

	for (size_t i = 0; i < config->nroutes; i++)
		failed |= json_array_append_new(
			list, json_pack("{s:o, s:o, s:o}", "toCIDR",
				      encode_texts(config->routes[i].cidrs), "toHostnameGlob",
				      encode_texts(config->routes[i].globs), "via",
				      encode_addr(config->routes[i].via)));
	return failed | put(args, "routes", list);
}

/* {} where nothing is said. */
static int put_listen(json_t *args, const char *name, const char *listen)
{
	return json_object_set_new(args, name, json_pack("{s:s*}", "listen", listen));
}

static int put_switches(json_t *args, const struct mesh_config *config)
{
	json_t *loopback = json_object(),
	       *state_dir = json_pack("{s:s*}", "path", config->state_dir_path);
	int failed = 0;

	if (config->loopback_disable)
		failed |= json_object_set_new(loopback, "disable", json_true());
	if (config->state_dir_disable)
		failed |= json_object_set_new(state_dir, "disable", json_true());
	failed |= json_object_set_new(args, "loopback", loopback);
	failed |= json_object_set_new(args, "stateDir", state_dir);
	if (config->write_etc_hosts)
		failed |= json_object_set_new(args, "writeEtcHosts", json_true());
	return failed;
}

json_t *configure_encode(const struct mesh_config *config, unsigned features)
{
	json_t *args = json_pack("{s:o}", "me", encode_addr(config->me));
	int failed = put_offers(args, config, features);

	failed |= put_ports(args, "others", config->others, config->nothers, features);
	failed |= put_names(args, config);
	failed |= put_listen(args, "http", config->http_listen);
	failed |= put_listen(args, "socks", config->socks_listen);
	failed |= put_switches(args, config);
	failed |= put_routes(args, config);
	failed |= put_ports(
		args, "nameServers", config->name_servers, config->nname_servers, features);
	if (config->any_port && (features & FEATURE_SANDBOX))
		failed |= json_object_set_new(args, "anyPort", json_true());
	if (!failed && args)
		return args;
	json_decref(args);
	return NULL;
}
