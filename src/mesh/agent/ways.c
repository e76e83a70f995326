/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/ways - where a host and a port lead: into the mesh, behind one of its hosts, or out of
 * this one */
#include "mesh/agent/ways.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dns/query.h"
#include "dns/response.h"
#include "mesh/agent/atlas.h"
#include "net/packet.h"
#include "util/list.h"

struct ways {
	struct ways_start start;
	struct atlas *atlas; /* NULL: not configured yet */
	struct in_addr self; /* if it is */
};

int ways_configure(struct ways *ways, const struct mesh_config *config)
{
	struct atlas *atlas = atlas_new(config, ways->atlas);

	if (!atlas)
		return -ENOMEM;
	atlas_free(ways->atlas);
	ways->atlas = atlas;
	ways->self = config->me;
	return 0;
}

bool ways_find_host(const struct ways *ways, struct in_addr ip, struct in_addr *host)
{
	return ways->atlas && atlas_find_host(ways->atlas, ip, host);
}

void ways_each_network(const struct ways *ways,
	void (*each)(void *told, struct in_addr ip, int prefix_len), void *told)
{
	if (ways->atlas)
		atlas_each_network(ways->atlas, each, told);
}

/* --- names of other hosts ----------------------------------------------------------------- */

bool ways_is_asked(const struct ways *ways, const char *name)
{
	struct in_addr via;
	struct addr server;

	return ways->atlas && atlas_find_asked(ways->atlas, name, &via, &server);
}

static void learn(struct ways *ways, const uint8_t *answer, size_t len, struct in_addr via)
{
	struct addr addrs[WAYS_ADDRS_MAX];
	struct in_addr ips[WAYS_ADDRS_MAX];
	size_t count = 0, found = response_addresses(answer, len, addrs, WAYS_ADDRS_MAX);

	for (size_t i = 0; i < found; i++)
		if (addrs[i].family == AF_INET &&
			atlas_learn(ways->atlas, addrs[i].v4.sin_addr, via))
			ips[count++] = addrs[i].v4.sin_addr;
	if (count > 0 && ways->start.on_learnt)
		ways->start.on_learnt(ways->start.owner, ips, count, via);
}

static void on_via_answer(struct via_ask *via, int result, const uint8_t *answer, size_t len)
{
	struct ways_ask *ask = container_of(via, struct ways_ask, via);
	struct ways *ways = ask->ways;

	if (result == 0)
		learn(ways, answer, len, ask->host);
	ask->ways = NULL;
	ask->on_answer(ask, result, answer, len);
}

int ways_ask_start(struct ways_ask *ask, struct ways *ways, const char *name,
	const uint8_t *message, size_t len)
{
	struct addr server;

	if (!ways->atlas || !atlas_find_asked(ways->atlas, name, &ask->host, &server))
		return -ENOENT;
	if (server.family == AF_UNSPEC)
		return -EHOSTUNREACH;
	ask->ways = ways;
	ask->via.on_answer = on_via_answer;
	int result = via_ask_start(
		&ask->via, ways->start.context, ways->start.stack, &server, message, len);
	if (result < 0)
		ask->ways = NULL;
	return result;
}

void ways_ask_cancel(struct ways_ask *ask)
{
	if (ask->ways)
		via_ask_cancel(&ask->via);
	ask->ways = NULL;
}

/* --- where it leads ----------------------------------------------------------------------- */

/* As ways_find; so are those below. */
static int lead_inside(const struct ways_query *query, struct in_addr ip, struct dial_target *out)
{
	const struct ways *ways = query->ways;
	const struct addr at = addr_of4(ip, query->port);

	if (ways->start.find_own && packet_is_same_ip(ip, ways->self))
		return ways->start.find_own(ways->start.owner, query->proto, query->port, out);
	*out = ways->start.stack->ops->target(ways->start.stack, &at);
	return 0;
}

/* ::ffff:10.1.2.3 is 10.1.2.3, and leads where that does. */
static struct addr unmapped(struct addr addr)
{
	struct in_addr ip;

	if (addr.family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&addr.v6.sin6_addr))
		return addr;
	memcpy(&ip, &addr.v6.sin6_addr.s6_addr[12], sizeof(ip));
	return addr_of4(ip, addr_port(&addr));
}

static bool is_in_mesh(const struct ways *ways, const struct addr *addr)
{
	const struct addr plain = unmapped(*addr);

	return ways->atlas && plain.family == AF_INET &&
	       atlas_is_in_mesh(ways->atlas, plain.v4.sin_addr);
}

static int lead(const struct ways_query *query, struct addr addr, struct dial_target *out)
{
	addr = unmapped(addr);
	addr_set_port(&addr, query->port);
	if (is_in_mesh(query->ways, &addr))
		return lead_inside(query, addr.v4.sin_addr, out);
	*out = (struct dial_target){.addr = addr};
	return 0;
}

/* The one of @answer that is behind another host; or the name, whose addresses conn/dial tries one
 * after the other. */
static int lead_found(
	const struct ways_query *query, const struct lookup_answer *answer, struct dial_target *out)
{
	for (size_t i = 0; i < answer->count; i++)
		if (is_in_mesh(query->ways, &answer->addrs[i]))
			return lead(query, answer->addrs[i], out);
	if (answer->count == 1)
		return lead(query, answer->addrs[0], out);
	*out = (struct dial_target){.host = query->name, .port = query->port};
	return 0;
}

static void on_looked_up(
	struct lookup_query *lookup, int result, const struct lookup_answer *answer)
{
	struct ways_query *query = container_of(lookup, struct ways_query, lookup);
	struct dial_target target;

	if (result == 0)
		result = lead_found(query, answer, &target);
	query->on_answer(query, result, result == 0 ? &target : NULL);
}

/* What another host's name server says of the name. Returns 0 or -errno of conn/dial. */
static int lead_answered(
	const struct ways_query *query, const uint8_t *answer, size_t len, struct dial_target *out)
{
	struct addr addrs[WAYS_ADDRS_MAX];
	const enum dns_rcode rcode = response_rcode(answer);
	size_t count = response_addresses(answer, len, addrs, WAYS_ADDRS_MAX);

	if (rcode != DNS_OK && rcode != DNS_NXDOMAIN)
		return -EAGAIN;
	for (size_t i = 0; i < count; i++)
		if (addrs[i].family == AF_INET) {
			if (!is_in_mesh(query->ways, &addrs[i]))
				return -EHOSTUNREACH;
			return lead(query, addrs[i], out);
		}
	return -ENOENT;
}

static void on_asked(struct ways_ask *ask, int result, const uint8_t *answer, size_t len)
{
	struct ways_query *query = container_of(ask, struct ways_query, ask);
	struct dial_target target;

	result = result == 0 ? lead_answered(query, answer, len, &target) : -EAGAIN;
	query->on_answer(query, result, result == 0 ? &target : NULL);
}

static int ask_for(struct ways_query *query)
{
	uint8_t message[WAYS_QUERY_BYTES];
	ssize_t len = query_make(query->name, QUERY_A, message, sizeof(message));

	if (len < 0)
		return -ENOENT;
	query->ask.on_answer = on_asked;
	int result = ways_ask_start(&query->ask, query->ways, query->name, message, (size_t)len);
	return result == 0 ? -EINPROGRESS : result;
}

int ways_find(struct ways *ways, const char *host, uint16_t port, struct ways_query *query,
	struct dial_target *out)
{
	const size_t len = strlen(host);
	struct lookup_answer answer;
	struct in_addr vip;
	struct addr addr;

	if (len == 0 || len > ATLAS_NAME_MAX)
		return -ENOENT;
	query->ways = ways;
	query->port = port;
	memcpy(query->name, host, len + 1);
	if (addr_parse(host, &addr, NULL) == 0)
		return lead(query, addr, out);
	if (ways->atlas && atlas_find_name(ways->atlas, host, &vip))
		return lead_inside(query, vip, out);
	if (ways_is_asked(ways, host))
		return ask_for(query);
	if (!ways->atlas || !atlas_has_networks(ways->atlas)) {
		*out = (struct dial_target){.host = query->name, .port = port};
		return 0;
	}
	query->lookup.on_answer = on_looked_up;
	int result = names_start(ways->start.context->names, query->name, &query->lookup, &answer);
	return result == 0 ? lead_found(query, &answer, out) : result;
}

void ways_find_cancel(struct ways_query *query)
{
	if (!query->ways)
		return;
	lookup_cancel(&query->lookup);
	ways_ask_cancel(&query->ask);
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
	const struct conn_context *context = query->ways->start.context;

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
	return result < 0 ? result : dial_start(&dial->dial, ways->start.context, &target);
}

void ways_dial_cancel(struct ways_dial *dial)
{
	ways_find_cancel(&dial->query);
	dial_cancel(&dial->dial);
}

/* --- start and end ------------------------------------------------------------------------ */

struct ways *ways_new(const struct ways_start *start)
{
	struct ways *ways = calloc(1, sizeof(*ways));

	if (ways)
		ways->start = *start;
	return ways;
}

void ways_free(struct ways *ways)
{
	if (!ways)
		return;
	atlas_free(ways->atlas);
	free(ways);
}
