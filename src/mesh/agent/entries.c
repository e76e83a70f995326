/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/entries - on a plain host's loopback: a listener for each port of the mesh */
#include "mesh/agent/entries.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/owner.h"
#include "mesh/agent/kin.h"
#include "mesh/agent/ports.h"
#include "util/log.h"

struct entries {
	struct entries_start start;
	struct services *services;
	struct mesh_port *name_servers; /* of all hosts */
	size_t nname_servers;
	struct kin kin;
};

/* --- each entry --------------------------------------------------------------------------- */

/* Is it the name server of a host? */
static bool is_names(const struct entries *entries, const struct service *service)
{
	for (size_t i = 0; service->id == 0 && i < entries->nname_servers; i++) {
		const struct mesh_port *server = &entries->name_servers[i];
		const struct addr at = addr_of4(server->ip, server->port);

		if (server->proto == service->proto && addr_equal(&at, &service->addr))
			return true;
	}
	return false;
}

/* Several hosts of a mesh may be one machine: any of them leads into the mesh. */
static bool is_served(void *owner, const struct service *service)
{
	struct entries *entries = owner;

	return kin_serves(&entries->kin, loop_now_ns(entries->start.context->loop), service->proto,
		&service->addr);
}

/* A name server on the host's loopback is not what somebody asked for. */
static void on_missing(void *owner, const struct service *service, const struct err *err)
{
	const struct entries *entries = owner;

	if (is_names(entries, service))
		log_info("%s; it is tried again", err->text);
	else
		troubles_say(entries->start.troubles, "%s; it is tried again", err->text);
}

static void on_opened(void *owner, const struct service *service)
{
	const struct entries *entries = owner;

	if (!is_names(entries, service))
		troubles_works(entries->start.troubles, service->proto, &service->addr);
}

static void on_failed(void *owner, enum proto proto, uint16_t id, int result)
{
	const struct entries *entries = owner;

	entries->start.on_failed(entries->start.owner, proto, id, result);
}

static int take(void *owner, const struct service *service)
{
	const struct entries *entries = owner;

	return estate_take(entries->start.estate, service->proto, &service->addr);
}

static void on_served(void *owner, const struct service *service, int fd)
{
	const struct entries *entries = owner;

	estate_add(entries->start.estate, service->proto, &service->addr, fd);
}

static void on_client(void *owner, const struct service *service, int fd, const struct addr *peer)
{
	const struct entries *entries = owner;

	(void)service;
	nameservice_add_client(entries->start.names, fd, peer);
}

static int on_bound(void *owner, const struct service *service, int fd)
{
	const struct entries *entries = owner;

	(void)service;
	return nameservice_set_udp(entries->start.names, NAMESERVICE_OUTSIDE, fd);
}

static void on_closed(void *owner, const struct service *service)
{
	const struct entries *entries = owner;

	if (service->proto == PROTO_UDP && service->is_given)
		nameservice_set_udp(entries->start.names, NAMESERVICE_OUTSIDE, -1);
	estate_remove(entries->start.estate, service->proto, &service->addr);
}

/* --- a configuration ---------------------------------------------------------------------- */

static int know_name_servers(struct entries *entries, const struct mesh_config *config)
{
	struct mesh_port *list = calloc(config->nname_servers + 1, sizeof(*list));

	if (!list)
		return -ENOMEM;
	if (config->nname_servers > 0)
		memcpy(list, config->name_servers, config->nname_servers * sizeof(*list));
	free(entries->name_servers);
	entries->name_servers = list;
	entries->nname_servers = config->nname_servers;
	return 0;
}

/* What @other has on this host's loopback: a client is joined to it through the stack. */
static bool entry_of(
	const struct entries *entries, const struct mesh_port *other, struct service *out)
{
	struct stack *stack = entries->start.stack;
	const struct addr there = addr_of4(other->ip, other->port);

	*out = (struct service){
		.proto = other->proto,
		.addr = there,
		.target = stack->ops->target(stack, &there),
	};
	return addr_is_loopback(&there) && addresses_has(entries->start.addresses, other->ip);
}

/* The name servers of all hosts, ours among them, to @out. Returns how many. */
static size_t enter_names(
	const struct entries *entries, const struct mesh_config *config, struct service *out)
{
	const struct addr here = addr_of4(config->me, 0);
	size_t count = 0;

	for (size_t i = 0; i < config->nname_servers; i++) {
		const struct mesh_port *server = &config->name_servers[i];

		if (server->ip.s_addr != config->me.s_addr)
			count += entry_of(entries, server, &out[count]);
		else if (entries->start.names && addr_is_loopback(&here) &&
			 ports_is_names(config, i))
			out[count++] = ports_names(server);
	}
	return count;
}

int entries_configure(struct entries *entries, const struct mesh_config *config, struct err *err)
{
	struct service *wanted = calloc(
		config->noffers + config->nothers + config->nname_servers + 1, sizeof(*wanted));
	size_t count = 0, left_out = 0;
	struct addr first_out = {0}, here = addr_of4(config->me, 0);
	char ip[ADDR_TEXT_BYTES];

	if (!wanted || know_name_servers(entries, config) < 0) {
		free(wanted);
		return err_sys(err, ENOMEM, "cannot listen for the mesh");
	}
	kin_set(&entries->kin, config->identity);
	for (size_t i = 0; addr_is_loopback(&here) && i < config->noffers; i++)
		wanted[count++] = ports_service(&config->offers[i], config->me);
	for (size_t i = 0; i < config->nothers; i++) {
		const struct mesh_port *other = &config->others[i];

		if (entry_of(entries, other, &wanted[count]))
			count++;
		else if (addresses_has(entries->start.addresses, other->ip) && left_out++ == 0)
			first_out = addr_of4(other->ip, other->port);
	}
	count += enter_names(entries, config, wanted + count);
	if (left_out > 0)
		log_notice("programs of this host cannot reach %zu of the mesh's ports, at %s%s: "
			   "only addresses of 127.0.0.0/8 are this host's own",
			left_out, addr_format_ip(&first_out, ip, sizeof(ip)),
			left_out > 1 ? " and so on" : "");
	int result = services_configure(entries->services, wanted, count, err);
	free(wanted);
	return result;
}

void entries_close(struct entries *entries)
{
	services_configure(entries->services, NULL, 0, &(struct err){0});
}

/* --- what is there ------------------------------------------------------------------------ */

void entries_keep(struct entries *entries)
{
	services_tell_served(entries->services);
	services_try_missing(entries->services);
}

const struct service *entries_find(
	const struct entries *entries, enum proto proto, const struct addr *at)
{
	return services_find(entries->services, proto, at);
}

struct missing {
	const struct entries *entries;
	struct mesh_report *report;
};

static void tell_missing(void *told, const struct service *service, const char *why)
{
	const struct missing *missing = told;

	if (!is_names(missing->entries, service))
		report_add_missing(missing->report, service->proto, service->addr.v4.sin_addr,
			addr_port(&service->addr), why);
}

void entries_report(const struct entries *entries, struct mesh_report *out)
{
	struct missing missing = {entries, out};

	services_each_missing(entries->services, tell_missing, &missing);
}

/* --- start and end ------------------------------------------------------------------------ */

struct entries *entries_new(const struct entries_start *start)
{
	static const struct service_ops ops = {
		.take = take,
		.on_served = on_served,
		.on_client = on_client,
		.on_bound = on_bound,
		.on_closed = on_closed,
		.is_served = is_served,
		.explain = owner_explain,
		.on_missing = on_missing,
		.on_opened = on_opened,
		.on_failed = on_failed,
	};
	struct entries *entries = calloc(1, sizeof(*entries));

	if (!entries)
		return NULL;
	entries->start = *start;
	entries->services = services_new(start->context, &ops, entries);
	if (entries->services)
		return entries;
	free(entries);
	return NULL;
}

void entries_free(struct entries *entries)
{
	if (!entries)
		return;
	services_free(entries->services);
	free(entries->name_servers);
	free(entries);
}
