/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/manifest_configure - what the hosts of a manifest are told, and whether that is
 * still so */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/manifest/manifest.h"
#include "mesh/manifest/manifest_port.h"

/* --- is it still so ------------------------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_texts(char **a, char **b)
{
	if (!a || !b)
		return a == b;
	while (*a && *b && strcmp(*a, *b) == 0) {
		a++;
		b++;
	}
	return !*a && !*b;
}

static bool same_offers(const struct manifest_host *a, const struct manifest_host *b)
{
	if (a->noffers != b->noffers)
		return false;
	for (size_t i = 0; i < a->noffers; i++) {
		const struct mesh_offer *x = &a->offers[i], *y = &b->offers[i];
		if (x->listen_port != y->listen_port || x->connect_port != y->connect_port ||
			x->proto != y->proto || strcmp(x->connect_host, y->connect_host) != 0)
			return false;
	}
	return true;
}

bool manifest_host_equal(const struct manifest_host *a, const struct manifest_host *b)
{
	return same_text(a->name, b->name) && a->vip.s_addr == b->vip.s_addr &&
	       same_texts(a->cmd, b->cmd) && same_offers(a, b) &&
	       same_text(a->http_listen, b->http_listen) &&
	       same_text(a->socks_listen, b->socks_listen) &&
	       a->loopback_disable == b->loopback_disable &&
	       same_text(a->state_dir_path, b->state_dir_path) &&
	       a->state_dir_disable == b->state_dir_disable && same_texts(a->aliases, b->aliases) &&
	       a->write_etc_hosts == b->write_etc_hosts && a->no_restart == b->no_restart &&
	       a->any_port == b->any_port;
}

/* --- what a host is told -------------------------------------------------------------------- */

static size_t count_texts(char **texts)
{
	size_t count = 0;

	while (texts && texts[count])
		count++;
	return count;
}

/* Copies of texts, which may be NULL; -ENOMEM leaves in *@out what there is. */
static int copy_text(const char *text, char **out)
{
	*out = text ? strdup(text) : NULL;
	return text && !*out ? -ENOMEM : 0;
}

static int copy_texts(char **texts, char ***out)
{
	size_t count = count_texts(texts);
	int rc = 0;

	if (!texts)
		return 0;
	*out = calloc(count + 1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = copy_text(texts[i], &(*out)[i]);
	return rc;
}

static int add_name(struct mesh_config *out, const char *name, struct in_addr ip)
{
	struct mesh_name *slot = &out->names[out->nnames++];

	slot->ip = ip;
	return copy_text(name, &slot->name);
}

static int tell_own(const struct manifest_host *host, struct mesh_config *out)
{
	int rc = 0;

	out->me = host->vip;
	out->loopback_disable = host->loopback_disable;
	out->state_dir_disable = host->state_dir_disable;
	out->write_etc_hosts = host->write_etc_hosts;
	out->any_port = host->any_port;
	out->offers = calloc(host->noffers + 1, sizeof(*out->offers));
	if (!out->offers)
		return -ENOMEM;
	for (size_t i = 0; rc == 0 && i < host->noffers; i++) {
		out->offers[i] = host->offers[i];
		out->noffers++;
		rc = copy_text(host->offers[i].connect_host, &out->offers[i].connect_host);
	}
	if (rc < 0 || (rc = copy_text(host->http_listen, &out->http_listen)) < 0 ||
		(rc = copy_text(host->socks_listen, &out->socks_listen)) < 0)
		return rc;
	return copy_text(host->state_dir_path, &out->state_dir_path);
}

static int tell_hosts(const struct manifest *manifest, size_t self, struct mesh_config *out)
{
	size_t nothers = 0, nnames = manifest->nhosts;
	int rc = 0;

	for (size_t i = 0; i < manifest->nhosts; i++) {
		nothers += i == self ? 0 : manifest->hosts[i].noffers;
		nnames += count_texts(manifest->hosts[i].aliases);
	}
	out->others = calloc(nothers + 1, sizeof(*out->others));
	out->names = calloc(nnames + 1, sizeof(*out->names));
	out->name_servers = calloc(manifest->nhosts + 1, sizeof(*out->name_servers));
	if (!out->others || !out->names || !out->name_servers)
		return -ENOMEM;
	for (size_t i = 0; rc == 0 && i < manifest->nhosts; i++) {
		const struct manifest_host *host = &manifest->hosts[i];

		for (size_t k = 0; i != self && k < host->noffers; k++)
			out->others[out->nothers++] = (struct mesh_port){.ip = host->vip,
				.port = host->offers[k].listen_port,
				.proto = host->offers[k].proto};
		out->name_servers[out->nname_servers++] = (struct mesh_port){
			.ip = host->vip, .port = MANIFEST_NAME_SERVER_PORT, .proto = PROTO_TCP};
		rc = add_name(out, host->name, host->vip);
		for (char **alias = host->aliases; rc == 0 && alias && *alias; alias++)
			rc = add_name(out, *alias, host->vip);
	}
	return rc;
}

static int tell_routes(const struct manifest *manifest, struct mesh_config *out)
{
	int rc = 0;

	out->routes = calloc(manifest->nroutes + 1, sizeof(*out->routes));
	if (!out->routes)
		return -ENOMEM;
	for (size_t i = 0; rc == 0 && i < manifest->nroutes; i++) {
		const struct mesh_route *from = &manifest->routes[i];
		struct mesh_route *to = &out->routes[out->nroutes++];

		to->via = from->via;
		rc = copy_texts(from->cidrs, &to->cidrs);
		if (rc == 0)
			rc = copy_texts(from->globs, &to->globs);
	}
	return rc;
}

int manifest_configure(const struct manifest *manifest, size_t host, struct mesh_config *out)
{
	struct mesh_config config = {.offers = NULL};
	int rc = tell_own(&manifest->hosts[host], &config);

	if (rc == 0)
		rc = tell_hosts(manifest, host, &config);
	if (rc == 0)
		rc = tell_routes(manifest, &config);
	if (rc < 0)
		mesh_config_free(&config);
	else
		*out = config;
	return rc;
}
