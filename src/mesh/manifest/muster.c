/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/muster - the hosts of a manifest and those of its lists, as one manifest */
#include "mesh/manifest/muster.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/configure.h"
#include "mesh/manifest/reader.h"
#include "wire/frame.h"

#define BESIDES_BYTES \
	1024 /* of `configure`: what the manager adds, and other digits of an address */

/* Who is on any of the lists. */
struct company {
	struct in_addr *vips;
	size_t count;
};

static int copy_host(const struct manifest_host *from, const char *name, struct manifest_host *out)
{
	*out = *from;
	out->own = (struct mesh_config){.offers = NULL};
	out->name = strdup(name);
	out->cmd = g_strdupv(from->cmd);
	out->aliases = g_strdupv(from->aliases);
	return out->name ? config_fill(&out->own, &from->own) : -ENOMEM;
}

/* In each word. */
static void put_name(char **cmd, const char *given)
{
	for (; cmd && *cmd; cmd++) {
		char **parts = g_strsplit(*cmd, MANIFEST_NAME, -1);

		g_free(*cmd);
		*cmd = g_strjoinv(given, parts);
		g_strfreev(parts);
	}
}

/* What stands for others in whom @host allows is those others. */
static int settle_allowed(struct manifest_host *host, const struct company *company)
{
	struct mesh_config *own = &host->own;
	size_t nall = 0, count = 0;

	for (size_t i = 0; i < own->nallow; i++)
		nall += own->allow[i].ip.s_addr == MANIFEST_LISTED;
	if (own->nallow == 0)
		return 0;
	struct mesh_allowed *list = calloc(own->nallow + nall * company->count, sizeof(*list));
	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < own->nallow; i++) {
		const struct mesh_allowed *item = &own->allow[i];

		if (item->ip.s_addr != MANIFEST_LISTED) {
			list[count] = *item;
			if (item->ip.s_addr == MANIFEST_ITSELF)
				list[count].ip = host->vip;
			count++;
		}
		for (size_t k = 0; item->ip.s_addr == MANIFEST_LISTED && k < company->count; k++)
			list[count++] =
				(struct mesh_allowed){company->vips[k], item->port, item->proto};
	}
	free(own->allow);
	own->allow = list;
	own->nallow = count;
	return 0;
}

static int add_member(const struct manifest_crowd *crowd, const struct roll_member *member,
	struct company *company, struct manifest *out)
{
	struct manifest_host *host = &out->hosts[out->nhosts++];
	int result = copy_host(&crowd->each, member->name, host);

	host->vip = member->vip;
	put_name(host->cmd, member->given);
	company->vips[company->count++] = member->vip;
	return result;
}

static int check_size(
	const struct manifest *base, size_t listed, const struct roll *rolls, struct err *err)
{
	size_t ports = 0, hosts = base->nhosts + listed;

	for (size_t i = 0; i < base->nhosts; i++)
		ports += base->hosts[i].own.noffers;
	for (size_t i = 0; i < base->ncrowds; i++)
		ports += base->crowds[i].each.own.noffers * roll_present(&rolls[i]);
	if (hosts > ROLL_HOSTS_MAX)
		return err_set(err, EINVAL,
			"%zu hosts with those of all lists: expected at most %d", hosts,
			ROLL_HOSTS_MAX);
	if (ports > READER_PORTS_MAX)
		return err_set(err, EINVAL,
			"%zu ports with those of all lists: expected at most %d", ports,
			READER_PORTS_MAX);
	return 0;
}

/* As it is told to who understands all of it. */
static size_t encoded_len(const struct mesh_config *config)
{
	json_t *args = configure_encode(config, ~0U);
	size_t len = args ? json_dumpb(args, NULL, 0, JSON_COMPACT) : 0;

	json_decref(args);
	return len;
}

/* Is what number @host is told one message, when what all are told takes @all bytes? */
static int check_message(const struct manifest *manifest, size_t host, size_t all, struct err *err)
{
	const struct manifest one = {.hosts = &manifest->hosts[host], .nhosts = 1};
	struct mesh_config told;

	if (manifest_tell(&one, &told) < 0)
		return -ENOMEM;
	/* its own ports are among those of all */
	const struct mesh_config ports = {.others = told.others, .nothers = told.nothers};
	const size_t len = all + encoded_len(&one.hosts->own) - encoded_len(&ports);
	config_free(&told);
	if (len + BESIDES_BYTES <= FRAME_MESSAGE_MAX)
		return 0;
	return err_set(err, EINVAL,
		"host %s would be told more than 1 MiB: expected fewer hosts, fewer ports or "
		"shorter names",
		one.hosts->name);
}

/* Those of one list are told the same, but for their address. */
static int check_messages(const struct manifest *base, const struct roll *rolls,
	const struct manifest *manifest, struct err *err)
{
	const struct mesh_config routes = {
		.routes = manifest->routes, .nroutes = manifest->nroutes};
	struct mesh_config told;
	size_t at = base->nhosts;
	int result = manifest_tell(manifest, &told);

	if (result < 0)
		return result;
	const size_t all = encoded_len(&told) + encoded_len(&routes);
	config_free(&told);
	for (size_t i = 0; result == 0 && i < base->nhosts; i++)
		result = check_message(manifest, i, all, err);
	for (size_t i = 0; result == 0 && i < base->ncrowds; at += roll_present(&rolls[i++]))
		if (roll_present(&rolls[i]) > 0)
			result = check_message(manifest, at, all, err);
	return result;
}

static int fill(const struct manifest *base, const struct roll *rolls, struct company *company,
	struct manifest *out)
{
	struct mesh_config routes = {.routes = base->routes, .nroutes = base->nroutes};
	struct mesh_config copied = {.offers = NULL};
	int result = config_fill(&copied, &routes);

	out->routes = copied.routes;
	out->nroutes = copied.nroutes;
	for (size_t i = 0; result == 0 && i < base->nhosts; i++)
		result =
			copy_host(&base->hosts[i], base->hosts[i].name, &out->hosts[out->nhosts++]);
	for (size_t i = 0; i < base->ncrowds; i++)
		for (size_t k = 0; result == 0 && k < rolls[i].count; k++)
			if (roll_has(&rolls[i], &rolls[i].members[k]))
				result = add_member(
					&base->crowds[i], &rolls[i].members[k], company, out);
	for (size_t i = 0; result == 0 && i < out->nhosts; i++)
		result = settle_allowed(&out->hosts[i], company);
	return result;
}

int muster_make(const struct manifest *base, const struct roll *rolls, struct manifest *out,
	struct err *err)
{
	struct company company = {.count = 0};
	size_t listed = 0;

	*out = (struct manifest){.hosts = NULL};
	for (size_t i = 0; i < base->ncrowds; i++)
		listed += roll_present(&rolls[i]);
	int result = check_size(base, listed, rolls, err);
	if (result < 0)
		return result;
	out->hosts = calloc(base->nhosts + listed + 1, sizeof(*out->hosts));
	company.vips = calloc(listed + 1, sizeof(*company.vips));
	result = out->hosts && company.vips ? fill(base, rolls, &company, out) : -ENOMEM;
	free(company.vips);
	if (result == 0)
		result = check_messages(base, rolls, out, err);
	if (result == 0)
		return 0;
	manifest_free(out);
	return result == -ENOMEM ? err_sys(err, ENOMEM, "cannot follow the lists of hosts")
				 : result;
}
