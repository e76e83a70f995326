/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/chart - what belongs to whom in a mesh: hosts, what they offer, routes */
#include "mesh/manager/chart.h"

#include <arpa/inet.h>

#include "control/control.h"
#include "util/clock.h"

#define PAGE_BYTES (CONTROL_MESSAGE_MAX / 8) /* one more host or route is shorter than the rest */

static json_t *texts_json(char *const *texts, size_t *count)
{
	json_t *list = json_array();

	for (*count = 0; texts && texts[*count]; ++*count)
		if (*count < CHART_ITEMS_MAX)
			json_array_append_new(list, control_text(texts[*count]));
	return list;
}

static json_t *offers_json(const struct mesh_config *own)
{
	json_t *list = json_array();

	for (size_t i = 0; i < own->noffers && i < CHART_ITEMS_MAX; i++) {
		const struct mesh_offer *offer = &own->offers[i];

		json_array_append_new(
			list, json_pack("{s:i, s:s, s:o, s:i}", "port", (int)offer->listen_port,
				      "proto", addr_proto_name(offer->proto), "host",
				      control_text(offer->connect_host), "target",
				      (int)offer->connect_port));
	}
	return list;
}

static json_t *name_json(const struct manifest *manifest, struct in_addr vip)
{
	for (size_t i = 0; i < manifest->nhosts; i++)
		if (manifest->hosts[i].vip.s_addr == vip.s_addr)
			return control_text(manifest->hosts[i].name);
	return json_null();
}

/* Who may reach it, but for itself; null: everybody. */
static json_t *allow_json(const struct manifest *manifest, const struct manifest_host *host)
{
	const struct mesh_config *own = &host->own;
	json_t *list = own->nallow > 0 ? json_array() : json_null();

	for (size_t i = 0; i < own->nallow && json_array_size(list) < CHART_ITEMS_MAX; i++)
		if (own->allow[i].ip.s_addr != host->vip.s_addr)
			json_array_append_new(
				list, json_pack("{s:o, s:i, s:s}", "name",
					      name_json(manifest, own->allow[i].ip), "port",
					      (int)own->allow[i].port, "proto",
					      addr_proto_name(own->allow[i].proto)));
	return list;
}

/* What routes may lead to by way of it; null: all that its agent exposes. */
static json_t *expose_json(const struct mesh_config *own, size_t *count)
{
	json_t *list = texts_json(own->expose, count);

	if (own->expose)
		return list;
	json_decref(list);
	return json_null();
}

static json_t *listen_json(const char *listen)
{
	return listen ? control_text(listen) : json_null();
}

static json_t *host_json(const struct manifest *manifest, const struct peer *peer)
{
	const struct manifest_host *host = peer->host;
	const uint64_t rtt_ns = peer->state == PEER_READY ? peer->session.rtt_ns : 0;
	char vip[INET_ADDRSTRLEN];
	size_t naliases, nexposed;
	json_t *expose = expose_json(&host->own, &nexposed);

	return json_pack("{s:o, s:s, s:s, s:o, s:o, s:o, s:I, s:b, s:o, s:o, s:o, s:o, s:I}",
		"name", control_text(peer->name), "vip",
		inet_ntop(AF_INET, &host->vip, vip, sizeof(vip)), "state", peer_state_name(peer),
		"rtt_ms", rtt_ns ? json_real((double)rtt_ns / NS_PER_MS) : json_null(), "aliases",
		texts_json(host->aliases, &naliases), "offers", offers_json(&host->own),
		"offers_total", (json_int_t)host->own.noffers, "any_port", host->own.any_port,
		"http", listen_json(host->own.http_listen), "socks",
		listen_json(host->own.socks_listen), "allow", allow_json(manifest, host), "expose",
		expose, "expose_total", (json_int_t)nexposed);
}

static json_t *route_json(const struct manifest *manifest, const struct mesh_route *route)
{
	size_t ncidrs, nglobs;
	json_t *to = texts_json(route->cidrs, &ncidrs), *globs = texts_json(route->globs, &nglobs);

	json_array_extend(to, globs);
	json_decref(globs);
	return json_pack("{s:o, s:I, s:o}", "to", to, "to_total", (json_int_t)(ncidrs + nglobs),
		"via", name_json(manifest, route->via));
}

json_t *chart_json(const struct roster *roster, const char *name, size_t from)
{
	const struct manifest *manifest = &roster->manifest;
	json_t *hosts = json_array(), *routes = json_array();
	size_t bytes = 0;

	for (size_t i = from; i < manifest->nhosts + manifest->nroutes && bytes < PAGE_BYTES; i++) {
		bool is_host = i < manifest->nhosts;
		json_t *item =
			is_host ? host_json(manifest, roster->peers[i])
				: route_json(manifest, &manifest->routes[i - manifest->nhosts]);

		bytes += json_dumpb(item, NULL, 0, JSON_ENSURE_ASCII);
		json_array_append_new(is_host ? hosts : routes, item);
	}
	return json_pack("{s:b, s:s, s:o, s:o, s:I}", "ok", 1, "name", name, "hosts", hosts,
		"routes", routes, "total", (json_int_t)(manifest->nhosts + manifest->nroutes));
}
