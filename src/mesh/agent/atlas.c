/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/atlas - what a host knows of its mesh: names, addresses, and what is behind which host
 */
#include "mesh/agent/atlas.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "mesh/routes.h"

/* All lists and texts are in the same piece of memory. */
struct atlas {
	struct in_addr self;
	struct mesh_name *names; /* sorted */
	size_t nnames;
	struct mesh_port *servers; /* name servers over TCP */
	size_t nservers;
	struct in_addr *vips; /* sorted */
	size_t nvips;
	struct routes *routes;
};

/* --- names and addresses ------------------------------------------------------------------ */

static int compare_names(const void *a, const void *b)
{
	return strcasecmp(((const struct mesh_name *)a)->name, ((const struct mesh_name *)b)->name);
}

static int compare_ips(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct in_addr));
}

/* A copy of @name without its final dot, at *@room. */
static char *put_name(const char *name, char **room)
{
	size_t len = strlen(name);
	char *text = *room;

	if (len > 1 && name[len - 1] == '.')
		len--;
	memcpy(text, name, len);
	text[len] = '\0';
	*room += len + 1;
	return text;
}

/* One without anything in it, and in *@room the place for texts. */
static struct atlas *make_room(const struct mesh_config *config, char **room)
{
	const size_t nvips = config->nnames + config->nothers + 1;
	size_t bytes = 0;

	for (size_t i = 0; i < config->nnames; i++)
		bytes += strlen(config->names[i].name) + 1;
	struct atlas *atlas = calloc(1, sizeof(*atlas) + config->nnames * sizeof(*atlas->names) +
						config->nname_servers * sizeof(*atlas->servers) +
						nvips * sizeof(*atlas->vips) + bytes);
	if (!atlas)
		return NULL;
	atlas->names = (struct mesh_name *)(atlas + 1);
	atlas->servers = (struct mesh_port *)(atlas->names + config->nnames);
	atlas->vips = (struct in_addr *)(atlas->servers + config->nname_servers);
	*room = (char *)(atlas->vips + nvips);
	return atlas;
}

static void add_hosts(struct atlas *atlas, const struct mesh_config *config, char *room)
{
	for (size_t i = 0; i < config->nnames; i++) {
		const struct mesh_name *name = &config->names[i];

		atlas->names[atlas->nnames++] =
			(struct mesh_name){put_name(name->name, &room), name->ip};
		atlas->vips[atlas->nvips++] = name->ip;
	}
	for (size_t i = 0; i < config->nothers; i++)
		atlas->vips[atlas->nvips++] = config->others[i].ip;
	for (size_t i = 0; i < config->nname_servers; i++)
		if (config->name_servers[i].proto == PROTO_TCP)
			atlas->servers[atlas->nservers++] = config->name_servers[i];
	atlas->vips[atlas->nvips++] = atlas->self = config->me;
	qsort(atlas->names, atlas->nnames, sizeof(*atlas->names), compare_names);
	qsort(atlas->vips, atlas->nvips, sizeof(*atlas->vips), compare_ips);
}

static bool is_vip(const struct atlas *atlas, struct in_addr ip)
{
	return bsearch(&ip, atlas->vips, atlas->nvips, sizeof(ip), compare_ips) != NULL;
}

bool atlas_find_name(const struct atlas *atlas, const char *name, struct in_addr *vip)
{
	char text[ATLAS_NAME_MAX + 1], *room = text;

	if (strlen(name) > ATLAS_NAME_MAX)
		return false;
	const struct mesh_name key = {.name = put_name(name, &room)};
	const struct mesh_name *found =
		bsearch(&key, atlas->names, atlas->nnames, sizeof(key), compare_names);
	if (found)
		*vip = found->ip;
	return found;
}

/* --- what is behind others ---------------------------------------------------------------- */

/* Can @ip be an address behind a host? 127.0.0.0/8 is each host's own. */
static bool can_be_behind(const struct atlas *atlas, struct in_addr ip)
{
	const unsigned first = ntohl(ip.s_addr) >> 24;

	return first != 0 && first != 127 && first < 224 && !is_vip(atlas, ip);
}

bool atlas_find_host(const struct atlas *atlas, struct in_addr ip, struct in_addr *host)
{
	*host = ip;
	return is_vip(atlas, ip) ||
	       (can_be_behind(atlas, ip) && routes_find(atlas->routes, ip, host) &&
		       host->s_addr != atlas->self.s_addr);
}

bool atlas_is_in_mesh(const struct atlas *atlas, struct in_addr ip)
{
	struct in_addr host;

	return atlas_find_host(atlas, ip, &host);
}

bool atlas_has_networks(const struct atlas *atlas)
{
	return routes_have_networks(atlas->routes);
}

struct telling {
	const struct atlas *atlas;
	void (*each)(void *told, struct in_addr ip, int prefix_len);
	void *told;
};

static void tell_network(void *owner, struct in_addr ip, int prefix_len, struct in_addr via)
{
	const struct telling *telling = owner;

	if (via.s_addr != telling->atlas->self.s_addr)
		telling->each(telling->told, ip, prefix_len);
}

void atlas_each_network(const struct atlas *atlas,
	void (*each)(void *told, struct in_addr ip, int prefix_len), void *told)
{
	struct telling telling = {atlas, each, told};

	routes_each(atlas->routes, tell_network, &telling);
}

bool atlas_find_asked(
	const struct atlas *atlas, const char *name, struct in_addr *via, struct addr *server)
{
	struct in_addr vip;

	*server = (struct addr){0};
	if (atlas_find_name(atlas, name, &vip) || !routes_find_name(atlas->routes, name, via) ||
		via->s_addr == atlas->self.s_addr)
		return false;
	for (size_t i = 0; i < atlas->nservers; i++)
		if (atlas->servers[i].ip.s_addr == via->s_addr)
			*server = addr_of4(*via, atlas->servers[i].port);
	return true;
}

bool atlas_learn(struct atlas *atlas, struct in_addr ip, struct in_addr via)
{
	struct in_addr forgotten;

	if (!can_be_behind(atlas, ip) || !routes_ask(atlas->routes, via))
		return false;
	routes_learn(atlas->routes, ip, via, &forgotten);
	return true;
}

/* --- start and end ------------------------------------------------------------------------ */

static bool is_wanted(void *owner, struct in_addr ip, struct in_addr via)
{
	const struct atlas *atlas = owner;

	return can_be_behind(atlas, ip) && routes_ask(atlas->routes, via);
}

struct atlas *atlas_new(const struct mesh_config *config, const struct atlas *old)
{
	char *room;
	struct atlas *atlas = make_room(config, &room);

	if (!atlas)
		return NULL;
	add_hosts(atlas, config, room);
	atlas->routes = routes_new(config->routes, config->nroutes);
	if (!atlas->routes) {
		atlas_free(atlas);
		return NULL;
	}
	if (old)
		routes_inherit(atlas->routes, old->routes, is_wanted, atlas);
	return atlas;
}

void atlas_free(struct atlas *atlas)
{
	if (!atlas)
		return;
	routes_free(atlas->routes);
	free(atlas);
}
