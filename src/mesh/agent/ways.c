/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/ways - where a host and a port lead: into the mesh, or out of this host */
#include "mesh/agent/ways.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util/list.h"

/* What a configuration says; never changed afterwards. */
struct known {
	struct mesh_name *names; /* sorted; their texts are in the same piece of memory */
	size_t nnames;
	struct in_addr *vips; /* sorted */
	size_t nvips;
};

struct ways {
	const struct conn_context *context;
	struct stack *stack;
	struct known *known; /* NULL: not configured yet */
};

/* --- what is known ------------------------------------------------------------------------ */

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

static struct known *known_new(const struct mesh_config *config)
{
	const size_t nvips = config->nnames + config->nothers + 1;
	size_t bytes = 0;

	for (size_t i = 0; i < config->nnames; i++)
		bytes += strlen(config->names[i].name) + 1;
	struct known *known = calloc(1, sizeof(*known) + config->nnames * sizeof(*known->names) +
						nvips * sizeof(*known->vips) + bytes);
	if (!known)
		return NULL;
	known->names = (struct mesh_name *)(known + 1);
	known->vips = (struct in_addr *)(known->names + config->nnames);
	char *room = (char *)(known->vips + nvips);
	for (size_t i = 0; i < config->nnames; i++) {
		const struct mesh_name *name = &config->names[i];

		known->names[known->nnames++] =
			(struct mesh_name){put_name(name->name, &room), name->ip};
		known->vips[known->nvips++] = name->ip;
	}
	for (size_t i = 0; i < config->nothers; i++)
		known->vips[known->nvips++] = config->others[i].ip;
	known->vips[known->nvips++] = config->me;
	qsort(known->names, known->nnames, sizeof(*known->names), compare_names);
	qsort(known->vips, known->nvips, sizeof(*known->vips), compare_ips);
	return known;
}

static bool is_vip(const struct known *known, struct in_addr ip)
{
	return bsearch(&ip, known->vips, known->nvips, sizeof(ip), compare_ips) != NULL;
}

static const struct mesh_name *find_name(const struct known *known, char *name)
{
	const struct mesh_name key = {.name = name};

	return bsearch(&key, known->names, known->nnames, sizeof(key), compare_names);
}

int ways_configure(struct ways *ways, const struct mesh_config *config)
{
	struct known *known = known_new(config);

	if (!known)
		return -ENOMEM;
	free(ways->known);
	ways->known = known;
	return 0;
}

/* --- where it leads ----------------------------------------------------------------------- */

static void lead_inside(
	const struct ways *ways, struct in_addr ip, uint16_t port, struct dial_target *out)
{
	const struct addr at = addr_of4(ip, port);

	*out = ways->stack->ops->target(ways->stack, &at);
}

int ways_find(struct ways *ways, const char *host, uint16_t port, struct ways_query *query,
	struct dial_target *out)
{
	size_t len = strlen(host);
	struct addr addr;

	if (len == 0 || len > WAYS_NAME_MAX)
		return -ENOENT;
	if (addr_parse(host, &addr, NULL) == 0) {
		addr_set_port(&addr, port);
		*out = (struct dial_target){.addr = addr};
		if (ways->known && addr.family == AF_INET && is_vip(ways->known, addr.v4.sin_addr))
			lead_inside(ways, addr.v4.sin_addr, port, out);
		return 0;
	}
	memcpy(query->name, host, len + 1);
	if (len > 1 && query->name[len - 1] == '.')
		query->name[len - 1] = '\0';
	const struct mesh_name *name = ways->known ? find_name(ways->known, query->name) : NULL;
	if (name)
		lead_inside(ways, name->ip, port, out);
	else
		/* as it was asked: a final dot keeps search domains away */
		*out = (struct dial_target){
			.host = memcpy(query->name, host, len + 1), .port = port};
	return 0;
}

void ways_find_cancel(struct ways_query *query)
{
	if (!query->ways)
		return;
	lookup_cancel(&query->lookup);
	query->ways = NULL;
}

/* --- connections -------------------------------------------------------------------------- */

static void on_dialled(struct dial *dial, int result)
{
	struct ways_dial *way = container_of(dial, struct ways_dial, dial);

	way->on_done(way, result);
}

static void on_found(struct ways_query *query, int result, const struct dial_target *target)
{
	struct ways_dial *way = container_of(query, struct ways_dial, query);
	const struct conn_context *context = query->ways->context;

	if (result == 0)
		result = dial_start(&way->dial, context, target);
	if (result != -EINPROGRESS)
		way->on_done(way, result);
}

int ways_dial_start(struct ways_dial *dial, struct ways *ways, const char *host, uint16_t port)
{
	struct dial_target target;

	dial->query.on_answer = on_found;
	dial->dial.on_done = on_dialled;
	int result = ways_find(ways, host, port, &dial->query, &target);
	return result < 0 ? result : dial_start(&dial->dial, ways->context, &target);
}

void ways_dial_cancel(struct ways_dial *dial)
{
	ways_find_cancel(&dial->query);
	dial_cancel(&dial->dial);
}

/* --- start and end ------------------------------------------------------------------------ */

struct ways *ways_new(const struct conn_context *context, struct stack *stack)
{
	struct ways *ways = calloc(1, sizeof(*ways));

	if (!ways)
		return NULL;
	ways->context = context;
	ways->stack = stack;
	return ways;
}

void ways_free(struct ways *ways)
{
	if (!ways)
		return;
	free(ways->known);
	free(ways);
}
