/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/nameservice - the built-in DNS of a host: names of the mesh, and what its resolver
 * knows */
#include "mesh/agent/nameservice.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dns/hostservers.h"

struct entry {
	char *name; /* small letters, without a final dot */
	struct in_addr ip;
};

struct nameservice {
	struct loop *loop;
	struct forwarder *forwarder;
	struct nameserver *nameserver;
	const struct nameservice_ops *ops;
	void *owner;
	struct entry *names; /* sorted */
	size_t nnames;
	struct entry *addresses; /* sorted, each once; their names are those of names */
	size_t naddresses;
	int udp_fds[NAMESERVICE_SIDES];

	struct hostservers servers;
	char *resolv_conf; /* NULL: the host's own */
};

/* --- names -------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
	const struct entry *first = a, *second = b;

	return strcmp(first->name, second->name);
}

static int compare_addresses(const void *a, const void *b)
{
	const struct entry *first = a, *second = b;

	return memcmp(&first->ip, &second->ip, sizeof(first->ip));
}

static void free_names(struct entry *names, size_t count)
{
	for (size_t i = 0; names && i < count; i++)
		free(names[i].name);
	free(names);
}

/* As dns/query writes them. */
static char *plain(const char *name)
{
	size_t len = strlen(name);
	char *copy = strndup(name, len > 1 && name[len - 1] == '.' ? len - 1 : len);

	for (char *c = copy; c && *c; c++)
		*c = (char)tolower((unsigned char)*c);
	return copy;
}

/* Of each address the first name, which is the host's own if the manager says so: in @out, with
 * room for all. Returns how many. */
static size_t list_addresses(const struct entry *names, size_t count, struct entry *out)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		struct entry *at =
			n > 0 ? bsearch(&names[i], out, n, sizeof(*out), compare_addresses) : NULL;
		if (at)
			continue;
		/* insertion: names of one host mostly follow one another */
		size_t place = n++;
		while (place > 0 && compare_addresses(&names[i], &out[place - 1]) < 0) {
			out[place] = out[place - 1];
			place--;
		}
		out[place] = names[i];
	}
	return n;
}

int nameservice_configure(struct nameservice *service, const struct mesh_config *config)
{
	size_t count = config->nnames;
	struct entry *names = calloc(count + 1, sizeof(*names));
	struct entry *addresses = calloc(count + 1, sizeof(*addresses));
	bool has_all = names && addresses;

	for (size_t i = 0; has_all && i < count; i++) {
		names[i] = (struct entry){plain(config->names[i].name), config->names[i].ip};
		has_all = names[i].name;
	}
	if (!has_all) {
		free_names(names, count);
		free(addresses);
		return -ENOMEM;
	}
	free_names(service->names, service->nnames);
	free(service->addresses);
	service->addresses = addresses;
	service->naddresses = list_addresses(names, count, addresses);
	qsort(names, count, sizeof(*names), compare_names);
	service->names = names;
	service->nnames = count;
	return 0;
}

/* --- questions ---------------------------------------------------------------------------- */

/* Is it about the address of a host? Then @out says its name. */
static bool answer_reverse(
	const struct nameservice *service, const struct query *query, struct reply *out)
{
	struct entry key = {NULL, {0}};
	struct addr addr;

	if (query->type != QUERY_PTR || !query_reverse(query->name, &addr) ||
		addr.family != AF_INET || service->naddresses == 0)
		return false;
	key.ip = addr.v4.sin_addr;
	const struct entry *found = bsearch(&key, service->addresses, service->naddresses,
		sizeof(*service->addresses), compare_addresses);
	if (found)
		out->target = found->name;
	return found;
}

static int on_query(void *owner, struct nameserver_question *question, const struct query *query,
	struct reply *out)
{
	struct nameservice *service = owner;
	const struct entry key = {(char *)query->name, {0}};
	const struct entry *found = service->nnames > 0
					    ? bsearch(&key, service->names, service->nnames,
						      sizeof(*service->names), compare_names)
					    : NULL;

	if (query->is_inet && found) {
		out->addrs[out->count++] = addr_of4(found->ip, 0);
		return 0;
	}
	if (query->is_inet && answer_reverse(service, query, out))
		return 0;
	int result = service->ops && service->ops->on_other
			     ? service->ops->on_other(service->owner, question, query, out)
			     : -ENOENT;
	if (result != -ENOENT)
		return result;
	return hostservers_look(&service->servers) > 0 ? -ENOENT : -EHOSTUNREACH;
}

void nameservice_add_client(struct nameservice *service, int fd, const struct addr *peer)
{
	nameserver_add_client(service->nameserver, fd, peer);
}

int nameservice_set_udp(struct nameservice *service, enum nameservice_side side, int fd)
{
	int *own = &service->udp_fds[side];

	if (*own >= 0)
		nameserver_del_udp(service->nameserver, *own);
	*own = -1;
	int result = fd >= 0 ? nameserver_add_udp(service->nameserver, fd) : 0;
	if (result == 0)
		*own = fd;
	return result;
}

/* --- start and end ------------------------------------------------------------------------ */

struct nameservice *nameservice_new(struct loop *loop, struct budget *budget,
	const char *resolv_conf, const struct nameservice_ops *ops, void *owner)
{
	static const struct nameserver_ops nameserver_ops = {on_query};
	struct nameservice *service = calloc(1, sizeof(*service));

	if (!service)
		return NULL;
	service->loop = loop;
	service->ops = ops;
	service->owner = owner;
	for (int side = 0; side < NAMESERVICE_SIDES; side++)
		service->udp_fds[side] = -1;
	service->resolv_conf = resolv_conf ? strdup(resolv_conf) : NULL;
	service->forwarder = forwarder_new(loop, budget);
	service->servers = (struct hostservers){
		.loop = loop, .forwarder = service->forwarder, .resolv_conf = service->resolv_conf};
	if (service->forwarder)
		service->nameserver =
			nameserver_new(loop, budget, service->forwarder, &nameserver_ops, service);
	if (service->nameserver && (service->resolv_conf || !resolv_conf))
		return service;
	nameservice_free(service);
	errno = ENOMEM;
	return NULL;
}

void nameservice_free(struct nameservice *service)
{
	if (!service)
		return;
	nameserver_free(service->nameserver);
	forwarder_free(service->forwarder);
	free_names(service->names, service->nnames);
	free(service->addresses);
	free(service->resolv_conf);
	free(service);
}
