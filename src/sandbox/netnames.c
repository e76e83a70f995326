/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/netnames - the sandbox's own name server, in the net process */
#include "sandbox/netnames.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conn/accept.h"
#include "conn/dial.h"
#include "dns/ask.h"
#include "dns/nameserver.h"
#include "dns/zone.h"
#include "util/list.h"

#define ASK_MS      5000
#define DNS_HEADERS 28 /* bytes of IPv4 and UDP in front of an answer */
#define REMOTE_MAX  64 /* queries under way to servers inside */

struct netnames {
	struct loop *loop;
	struct conn_context context; /* of connections to the inside */
	const struct net_plan *plan;
	struct forwarder *forwarder;
	struct nameserver *nameserver;
	struct zone *zone;
	struct acceptor acceptor;
	struct list remotes;
	unsigned nremotes;
	int udp, tcp;
	bool is_open; /* questions are taken */
};

/* A query that a server inside is asked. */
struct remote {
	struct netnames *service;
	struct nameserver_question *question;
	struct list link;
	struct dial dial;
	struct ask ask;
};

/* --- servers inside ----------------------------------------------------------------------- */

/* @answer NULL: there is none. */
static void end_remote(struct remote *remote, const uint8_t *answer, size_t len)
{
	const struct reply failed = {.rcode = DNS_SERVFAIL};

	if (answer)
		nameserver_pass(remote->question, answer, len);
	else
		nameserver_answer(remote->question, &failed);
	list_del(&remote->link);
	remote->service->nremotes--;
	free(remote);
}

static void on_asked(struct ask *ask, int result, const uint8_t *answer, size_t len)
{
	(void)result;
	end_remote(container_of(ask, struct remote, ask), answer, len);
}

static void on_dialled(struct dial *dial, int result)
{
	struct remote *remote = container_of(dial, struct remote, dial);
	size_t len;
	const uint8_t *message = nameserver_message(remote->question, &len);

	if (result < 0 ||
		ask_start(&remote->ask, remote->service->loop, result, message, len, ASK_MS) < 0)
		end_remote(remote, NULL, 0);
}

/* Returns as on_query does. */
static int ask_inside(
	struct netnames *service, struct nameserver_question *question, const struct addr *server)
{
	const struct dial_target target = {.where = DIAL_INSIDE, .addr = *server};
	struct remote *remote;

	if (service->nremotes == REMOTE_MAX || !(remote = calloc(1, sizeof(*remote))))
		return -EAGAIN;
	remote->service = service;
	remote->question = question;
	remote->dial.on_done = on_dialled;
	remote->ask.on_done = on_asked;
	size_t len;
	const uint8_t *message = nameserver_message(question, &len);
	int fd = dial_start(&remote->dial, &service->context, &target);
	if (fd >= 0)
		fd = ask_start(&remote->ask, service->loop, fd, message, len, ASK_MS);
	if (fd < 0 && fd != -EINPROGRESS) {
		free(remote);
		return fd;
	}
	list_add_last(&service->remotes, &remote->link);
	service->nremotes++;
	return -EINPROGRESS;
}

/* --- queries ------------------------------------------------------------------------------ */

static int on_query(void *owner, struct nameserver_question *question, const struct query *query,
	struct reply *out)
{
	struct netnames *service = owner;
	struct addr server;
	int result = zone_find(service->zone, query, out, &server);

	return result == -EREMOTE ? ask_inside(service, question, &server) : result;
}

static const struct nameserver_ops nameserver_ops = {.on_query = on_query};

static void on_client(struct acceptor *acceptor, int fd, const struct addr *peer)
{
	nameserver_add_client(
		container_of(acceptor, struct netnames, acceptor)->nameserver, fd, peer);
}

/* --- what it knows ------------------------------------------------------------------------ */

static bool read_address(const json_t *json, uint16_t port, struct addr *out)
{
	const char *text = json_string_value(json);
	struct err err;

	if (!text || addr_parse(text, out, &err) < 0)
		return false;
	addr_set_port(out, port);
	return true;
}

static struct zone *read_zone(json_t *root)
{
	struct zone *zone = zone_new();
	json_t *item;
	size_t i;
	struct addr addr;

	if (!zone)
		return NULL;
	json_array_foreach(json_object_get(root, "names"), i, item)
	{
		if (read_address(json_array_get(item, 1), 0, &addr))
			zone_add(zone, json_string_value(json_array_get(item, 0)), &addr);
	}
	json_array_foreach(json_object_get(root, "patterns"), i, item)
	{
		const json_t *port = json_array_get(item, 2);

		if (read_address(json_array_get(item, 1),
			    port ? (uint16_t)json_integer_value(port) : NETNAMES_PORT, &addr))
			zone_add_pattern(zone, json_string_value(json_array_get(item, 0)), &addr);
	}
	json_array_foreach(json_object_get(root, "search"), i, item)
	{
		zone_add_search(zone, json_string_value(item));
	}
	return zone;
}

static void read_servers(struct netnames *service, json_t *servers)
{
	struct addr addrs[FORWARDER_SERVERS_MAX];
	size_t count = 0, i;
	json_t *item;

	json_array_foreach(servers, i, item)
	{
		if (count == FORWARDER_SERVERS_MAX ||
			!read_address(json_object_get(item, "ip"), DNS_PORT, &addrs[count]))
			continue;
		if (addrs[count].family == AF_INET6)
			addrs[count].v6.sin6_scope_id =
				(uint32_t)json_integer_value(json_object_get(item, "scope"));
		count++;
	}
	forwarder_set_servers(service->forwarder, addrs, count);
}

static int open_sockets(struct netnames *service)
{
	int result = nameserver_add_udp(service->nameserver, service->udp);

	if (result < 0)
		return result;
	result = acceptor_open(
		&service->acceptor, service->loop, service->context.budget, service->tcp);
	if (result < 0)
		nameserver_del_udp(service->nameserver, service->udp);
	service->is_open = result == 0;
	return result;
}

/* json_loadfd() asks for one byte at a time. */
static size_t read_some(void *buffer, size_t len, void *fd)
{
	ssize_t got = read(*(int *)fd, buffer, len);

	return got < 0 ? (size_t)-1 : (size_t)got;
}

int netnames_read(struct netnames *service, int fd)
{
	lseek(fd, 0, SEEK_SET);
	json_t *root = json_load_callback(read_some, &fd, 0, NULL);
	struct zone *zone = root ? read_zone(root) : NULL;

	if (zone) {
		zone_free(service->zone);
		service->zone = zone;
		read_servers(service, json_object_get(root, "servers"));
	}
	json_decref(root);
	if (!zone)
		return -EPROTO;
	return service->is_open ? 0 : open_sockets(service);
}

/* ------------------------------------------------------------------------------------------ */

struct hairpin netnames_hairpin(const struct net_plan *plan, int udp, int tcp)
{
	struct addr own;
	struct hairpin hairpin = {.outer = plan->dns, .outer_port = DNS_PORT};

	if (addr_get_own(udp, &own) == 0)
		hairpin.udp_port = addr_port(&own);
	if (addr_get_own(tcp, &own) == 0)
		hairpin.tcp_port = addr_port(&own);
	return hairpin;
}

struct netnames *netnames_new(struct loop *loop, struct budget *budget, struct inside *inside,
	const struct net_plan *plan, int udp, int tcp)
{
	struct netnames *service = calloc(1, sizeof(*service));

	if (!service)
		return NULL;
	service->loop = loop;
	service->context = (struct conn_context){.loop = loop, .budget = budget, .inside = inside};
	service->plan = plan;
	service->udp = udp;
	service->tcp = tcp;
	list_init(&service->remotes);
	service->zone = zone_new();
	service->forwarder = forwarder_new(loop, budget);
	service->nameserver =
		nameserver_new(loop, budget, service->forwarder, &nameserver_ops, service);
	service->acceptor.on_client = on_client;
	service->acceptor.fds_each = 1;
	if (!service->zone || !service->forwarder || !service->nameserver) {
		netnames_free(service);
		errno = ENOMEM;
		return NULL;
	}
	nameserver_set_udp_max(service->nameserver, plan->mtu - DNS_HEADERS);
	return service;
}

void netnames_free(struct netnames *service)
{
	if (!service)
		return;
	if (service->is_open)
		acceptor_close(&service->acceptor);
	list_each_safe (at, following, &service->remotes) {
		struct remote *remote = container_of(at, struct remote, link);

		dial_cancel(&remote->dial);
		ask_cancel(&remote->ask);
		end_remote(remote, NULL, 0);
	}
	nameserver_free(service->nameserver);
	forwarder_free(service->forwarder);
	zone_free(service->zone);
	free(service);
}
