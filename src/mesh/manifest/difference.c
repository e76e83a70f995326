/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/difference - what two manifests say of a mesh's hosts to the others */
#include "mesh/manifest/difference.h"

#include <errno.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/amend.h"
#include "mesh/configure.h"

static bool tells_same(const struct mesh_config *a, const struct mesh_config *b)
{
	return configure_tells_same(a, ~0U, b, ~0U);
}

static bool offers_same(const struct mesh_config *a, const struct mesh_config *b)
{
	bool is_same = a->noffers == b->noffers;

	for (size_t i = 0; is_same && i < a->noffers; i++)
		is_same = a->offers[i].listen_port == b->offers[i].listen_port &&
			  a->offers[i].proto == b->offers[i].proto;
	return is_same;
}

static bool are_same_to_others(const struct manifest_host *a, const struct manifest_host *b)
{
	return a->vip.s_addr == b->vip.s_addr && manifest_texts_equal(a->aliases, b->aliases) &&
	       offers_same(&a->own, &b->own);
}

int difference_make(
	const struct manifest *before, const struct manifest *after, struct difference *out)
{
	const struct mesh_config routes_before = {
		.routes = before->routes, .nroutes = before->nroutes};
	const struct mesh_config routes_after = {
		.routes = after->routes, .nroutes = after->nroutes};
	GHashTable *by_name = g_hash_table_new(g_str_hash, g_str_equal);
	size_t last = 0;

	*out = (struct difference){
		.is_in_order = true, .has_same_routes = tells_same(&routes_before, &routes_after)};
	out->left = calloc(before->nhosts + 1, sizeof(*out->left));
	out->came = calloc(after->nhosts + 1, sizeof(*out->came));
	bool *stays = calloc(before->nhosts + 1, sizeof(*stays));
	bool *changes = calloc(before->nhosts + 1, sizeof(*changes));
	bool is_made = out->left && out->came && stays && changes;
	for (size_t i = 0; is_made && i < before->nhosts; i++)
		g_hash_table_insert(by_name, before->hosts[i].name, GSIZE_TO_POINTER(i + 1));
	for (size_t i = 0; is_made && i < after->nhosts; i++) {
		const struct manifest_host *is = &after->hosts[i];
		const size_t place = GPOINTER_TO_SIZE(g_hash_table_lookup(by_name, is->name));
		const struct manifest_host *was = place ? &before->hosts[place - 1] : NULL;

		if (was && are_same_to_others(was, is)) {
			stays[place - 1] = true;
			out->is_in_order = out->is_in_order && place > last;
			last = place;
			continue;
		}
		out->came[out->ncame++] = i;
		out->has_other_hosts |= !was || was->vip.s_addr != is->vip.s_addr;
		if (was)
			changes[place - 1] = true;
	}
	for (size_t i = 0; is_made && i < before->nhosts; i++)
		if (!stays[i]) {
			out->left[out->nleft++] = i;
			out->has_other_hosts |= !changes[i];
		}
	g_hash_table_destroy(by_name);
	free(stays);
	free(changes);
	if (is_made)
		return 0;
	difference_fini(out);
	return -ENOMEM;
}

void difference_fini(struct difference *difference)
{
	free(difference->left);
	free(difference->came);
	*difference = (struct difference){.left = NULL};
}

/* What those of @manifest with the @count numbers @hosts tell. */
static int tell(
	const struct manifest *manifest, const size_t *hosts, size_t count, struct mesh_config *out)
{
	struct manifest part = {.hosts = calloc(count + 1, sizeof(*part.hosts))};

	*out = (struct mesh_config){.offers = NULL};
	if (!part.hosts)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		part.hosts[part.nhosts++] = manifest->hosts[hosts[i]];
	int result = manifest_tell(&part, out);
	free(part.hosts);
	return result;
}

json_t *difference_encode(const struct difference *difference, const struct manifest *before,
	const struct manifest *after)
{
	struct mesh_config removed = {.offers = NULL}, added = {.offers = NULL};
	json_t *args = NULL;

	if (tell(before, difference->left, difference->nleft, &removed) == 0 &&
		tell(after, difference->came, difference->ncame, &added) == 0)
		args = amend_encode(&removed, &added);
	config_free(&removed);
	config_free(&added);
	return args;
}
