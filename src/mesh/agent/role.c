/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/role - what this host is in its mesh: its address, what it offers, what it enters */
#include "mesh/agent/role.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "conn/service.h"
#include "control/owner.h"
#include "mesh/agent/addresses.h"
#include "mesh/agent/behind.h"
#include "mesh/agent/kin.h"
#include "mesh/agent/ports.h"
#include "mesh/agent/taken.h"
#include "mesh/agent/troubles.h"
#include "mesh/info.h"
#include "util/log.h"

#define FEATURES                                                                                  \
	(FEATURE_TCP | FEATURE_LOOPBACK | FEATURE_LOOPBACK_DISABLE | FEATURE_UDP | FEATURE_ICMP | \
		FEATURE_RECONFIGURE | FEATURE_PING | FEATURE_ERROR | FEATURE_REPORT |             \
		FEATURE_IPV6 | FEATURE_DNS | FEATURE_ROUTES)
/* In a sandbox names just resolve, and its files are the host's. */
#define PLAIN_HOST (FEATURE_HOSTALIASES | FEATURE_ETCHOSTS | FEATURE_EXPOSE)

struct role {
	struct role_start start;
	struct addresses addresses;
	struct syns *syns;
	struct services *offers;  /* inside, at this host's VIP */
	struct services *entries; /* on the host's loopback */
	struct troubles *troubles;
	struct mesh_port *name_servers; /* of all hosts */
	size_t nname_servers;
	struct kin kin;
	struct mesh_report taken; /* hosts that are left out, each as a port 0 that is missing */
	bool has_reserved;        /* some ports */

	/* what the gate is told */
	struct ports ports;
	struct behind behind;
	bool any_port, turns;
	struct in_addr alias_net;
};

unsigned role_features(bool is_sandbox)
{
	return FEATURES | (is_sandbox ? FEATURE_SANDBOX : PLAIN_HOST);
}

/* --- what does not work ------------------------------------------------------------------- */

/* The target of our port @port, wherever its clients come from. */
static void on_failed(void *owner, enum proto proto, uint16_t port, int result)
{
	struct role *role = owner;
	const struct addr at = addr_of4(role->addresses.self, port);
	const struct service *service = services_find(role->offers, proto, &at);
	char where[REPORT_WHY_BYTES];

	if (!service)
		service = services_find(role->entries, proto, &at);
	if (service)
		troubles_fail(role->troubles, proto, port,
			dial_format(&service->target, where, sizeof(where)), result);
}

static void on_syn_failed(void *owner, const struct addr *own, int result)
{
	on_failed(owner, PROTO_TCP, addr_port(own), result);
}

static void on_refused(void *owner, uint8_t proto, uint16_t port, struct packet_end place)
{
	const struct role *role = owner;
	const struct addr at = addr_of4(place.ip, place.port);
	char where[ADDR_TEXT_BYTES];

	troubles_fail(role->troubles, proto == IPPROTO_TCP ? PROTO_TCP : PROTO_UDP, port,
		addr_format(&at, where, sizeof(where)), -ECONNREFUSED);
}

/* Is it the name server of a host? */
static bool is_names(const struct role *role, const struct service *service)
{
	for (size_t i = 0; service->id == 0 && i < role->nname_servers; i++) {
		const struct mesh_port *server = &role->name_servers[i];
		const struct addr at = addr_of4(server->ip, server->port);

		if (server->proto == service->proto && addr_equal(&at, &service->addr))
			return true;
	}
	return false;
}

/* Several hosts of a mesh may be one machine: any of them leads into the mesh. */
static bool is_entry_served(void *owner, const struct service *service)
{
	struct role *role = owner;

	return kin_serves(
		&role->kin, loop_now_ns(role->start.context->loop), service->proto, &service->addr);
}

/* A name server on the host's loopback is not what somebody asked for. */
static void on_entry_missing(void *owner, const struct service *service, const struct err *err)
{
	const struct role *role = owner;

	if (is_names(role, service))
		log_info("%s; it is tried again", err->text);
	else
		troubles_say(role->troubles, "%s; it is tried again", err->text);
}

static void on_missing(void *owner, const struct service *service, const struct err *err)
{
	const struct role *role = owner;

	(void)service;
	troubles_say(role->troubles, "%s; it is tried again", err->text);
}

static int tell_gate(struct role *role, struct err *err);

static void on_opened(void *owner, const struct service *service)
{
	struct role *role = owner;
	char ip[ADDR_TEXT_BYTES];
	struct err err;

	if (role->start.is_sandbox && tell_gate(role, &err) < 0)
		log_warning("%s", err.text);
	if (is_names(role, service))
		return;
	troubles_say(role->troubles, "%sport %u of %s works now",
		service->proto == PROTO_TCP ? "" : "UDP ", addr_port(&service->addr),
		addr_format_ip(&service->addr, ip, sizeof(ip)));
}

struct missing {
	const struct role *role;
	struct mesh_report *report;
};

static void tell_missing(void *told, const struct service *service, const char *why)
{
	const struct missing *missing = told;
	struct report_port port = {
		.ip = service->addr.v4.sin_addr,
		.port = addr_port(&service->addr),
		.proto = service->proto,
	};

	snprintf(port.why, sizeof(port.why), "%s", why);
	if (service->id != 0 || !is_names(missing->role, service))
		report_add_missing(missing->report, &port);
}

void role_report(const struct role *role, struct mesh_report *out)
{
	struct missing missing = {role, out};

	*out = role->taken;
	services_each_missing(role->offers, tell_missing, &missing);
	services_each_missing(role->entries, tell_missing, &missing);
	troubles_tell(role->troubles, role->addresses.self, out);
}

/* --- what is offered ---------------------------------------------------------------------- */

/* Whoever comes to a port is led on by mesh/agent/quay. */
static bool has_no_stack(const struct role *role)
{
	return role->start.stack->ops->kind == STACK_STREAMS;
}

int role_find_target(
	const struct role *role, enum proto proto, uint16_t port, struct dial_target *out)
{
	const struct addr at = addr_of4(role->addresses.self, port);
	const struct gate_port *mapped = ports_find(&role->ports, proto, port);
	const struct service *service = services_find(role->offers, proto, &at);

	*out = (struct dial_target){.addr = at};
	if (service && service->is_given && service->id == 0)
		return 1;
	if (service)
		*out = service->target;
	else if (mapped && mapped->action == GATE_MAP)
		out->addr = addr_of4(mapped->target_ip, mapped->target_port);
	else if (!role->any_port)
		return -ECONNREFUSED;
	return 0;
}

void role_on_failed(const struct role *role, enum proto proto, uint16_t port, int result)
{
	on_failed((void *)role, proto, port, result);
}

/* In a sandbox at any port, which the gate leads to: it stands in no program's way. */
static int bind_inside(
	void *owner, const struct service *service, struct bound *out, struct err *err)
{
	const struct role *role = owner;
	struct stack *stack = role->start.stack;
	struct addr at = service->addr;
	struct gate_port *port = ports_find(&role->ports, service->proto, addr_port(&at));
	char ip[ADDR_TEXT_BYTES];

	if (role->start.is_sandbox)
		addr_set_port(&at, 0);
	int fd = stack->ops->open_bound(stack, service->proto, &at);
	if (fd < 0)
		return err_sys(err, -fd, "cannot offer %sport %u at %s",
			service->proto == PROTO_TCP ? "" : "UDP ", addr_port(&service->addr),
			addr_format_ip(&service->addr, ip, sizeof(ip)));
	out->fd = fd;
	if (role->start.is_sandbox && port && addr_get_own(fd, &at) == 0)
		port->target_port = addr_port(&at);
	return 0;
}

static void on_client(void *owner, const struct service *service, int fd, const struct addr *peer)
{
	const struct role *role = owner;

	if (service->is_given && service->id == 0)
		nameservice_add_client(role->start.names, fd);
	else if (!syns_meet(role->syns, peer, &service->addr, fd))
		services_join(role->offers, fd, service);
}

static int on_bound(void *owner, const struct service *service, int fd)
{
	const struct role *role = owner;

	(void)service;
	if (has_no_stack(role))
		return 0;
	return nameservice_set_udp(role->start.names, NAMESERVICE_INSIDE, fd);
}

static void on_closed(void *owner, const struct service *service)
{
	const struct role *role = owner;

	if (service->proto == PROTO_UDP && service->is_given && !has_no_stack(role))
		nameservice_set_udp(role->start.names, NAMESERVICE_INSIDE, -1);
	if (service->proto == PROTO_TCP && role->syns) /* not at the very end */
		syns_drop(role->syns, &service->addr);
}

/* May what is no offer lead to this host's loopback? */
static bool leads_on(const struct role *role)
{
	return role->start.outlet && outlet_leads_here(role->start.outlet);
}

void role_on_syn(struct role *role, const struct packet_view *packet)
{
	const struct addr own = addr_of4(packet->dst.ip, packet->dst.port);
	const struct service *service = services_find(role->offers, PROTO_TCP, &own);

	const struct syns_packet syn = syns_packet_of(packet);
	if (service)
		syns_on_packet(role->syns, &syn, &service->target);
	else if (leads_on(role))
		outlet_take(role->start.outlet, packet);
	else
		role->start.syns_ops->refuse(role->start.syns_owner, &syn, -ECONNREFUSED);
}

static void let_in(void *owner, const struct syns_packet *packet)
{
	const struct role *role = owner;

	role->start.syns_ops->let_in(role->start.syns_owner, packet);
}

static void refuse(void *owner, const struct syns_packet *packet, int result)
{
	const struct role *role = owner;

	role->start.syns_ops->refuse(role->start.syns_owner, packet, result);
}

/* Our own name server, at @server of the configuration. */
static struct service names_of(const struct mesh_port *server)
{
	return (struct service){
		.proto = server->proto,
		.addr = addr_of4(server->ip, server->port),
		.is_given = true,
	};
}

static struct service service_of(const struct mesh_offer *offer, struct in_addr self)
{
	return (struct service){
		.proto = offer->proto,
		.addr = addr_of4(self, offer->listen_port),
		.id = offer->listen_port,
		.target = {.host = offer->connect_host, .port = offer->connect_port},
	};
}

/* --- what is entered ---------------------------------------------------------------------- */

static int take_entry(void *owner, const struct service *service)
{
	const struct role *role = owner;

	return estate_take(role->start.estate, service->proto, &service->addr);
}

static void on_entry_served(void *owner, const struct service *service, int fd)
{
	const struct role *role = owner;

	estate_add(role->start.estate, service->proto, &service->addr, fd);
}

static void on_entry_client(
	void *owner, const struct service *service, int fd, const struct addr *peer)
{
	const struct role *role = owner;

	(void)service;
	(void)peer;
	nameservice_add_client(role->start.names, fd);
}

static int on_entry_bound(void *owner, const struct service *service, int fd)
{
	const struct role *role = owner;

	(void)service;
	return nameservice_set_udp(role->start.names, NAMESERVICE_OUTSIDE, fd);
}

static void on_entry_closed(void *owner, const struct service *service)
{
	const struct role *role = owner;

	if (service->proto == PROTO_UDP && service->is_given)
		nameservice_set_udp(role->start.names, NAMESERVICE_OUTSIDE, -1);
	estate_remove(role->start.estate, service->proto, &service->addr);
}

void role_keep(struct role *role)
{
	services_tell_served(role->entries);
}

/* What @other has on this host's loopback: a client is joined to it through the stack. */
static bool entry_of(const struct role *role, const struct mesh_port *other, struct service *out)
{
	struct stack *stack = role->start.stack;
	const struct addr there = addr_of4(other->ip, other->port);

	*out = (struct service){
		.proto = other->proto,
		.addr = there,
		.target = stack->ops->target(stack, &there),
	};
	return addr_is_loopback(&there) && addresses_has(&role->addresses, other->ip);
}

/* The name servers of all hosts, ours among them, to @out. Returns how many. */
static size_t enter_names(
	const struct role *role, const struct mesh_config *config, struct service *out)
{
	const struct addr here = addr_of4(config->me, 0);
	size_t count = 0;

	for (size_t i = 0; i < config->nname_servers; i++) {
		const struct mesh_port *server = &config->name_servers[i];

		if (server->ip.s_addr != config->me.s_addr)
			count += entry_of(role, server, &out[count]);
		else if (role->start.names && addr_is_loopback(&here) && ports_is_names(config, i))
			out[count++] = names_of(server);
	}
	return count;
}

static int enter(struct role *role, const struct mesh_config *config, struct err *err)
{
	struct service *wanted = calloc(
		config->noffers + config->nothers + config->nname_servers + 1, sizeof(*wanted));
	size_t count = 0, left_out = 0;
	struct addr first_out = {0}, here = addr_of4(config->me, 0);
	char ip[ADDR_TEXT_BYTES];

	if (!wanted)
		return err_sys(err, ENOMEM, "cannot listen for the mesh");
	for (size_t i = 0; addr_is_loopback(&here) && i < config->noffers; i++)
		wanted[count++] = service_of(&config->offers[i], config->me);
	for (size_t i = 0; i < config->nothers; i++) {
		const struct mesh_port *other = &config->others[i];

		if (entry_of(role, other, &wanted[count]))
			count++;
		else if (addresses_has(&role->addresses, other->ip) && left_out++ == 0)
			first_out = addr_of4(other->ip, other->port);
	}
	count += enter_names(role, config, wanted + count);
	if (left_out > 0)
		log_notice("programs of this host cannot reach %zu of the mesh's ports, at %s%s: "
			   "only addresses of 127.0.0.0/8 are this host's own",
			left_out, addr_format_ip(&first_out, ip, sizeof(ip)),
			left_out > 1 ? " and so on" : "");
	int result = services_configure(role->entries, wanted, count, err);
	free(wanted);
	return result;
}

/* --- a configuration ---------------------------------------------------------------------- */

/* Addresses of other hosts, and our own behind them. */
struct vips {
	struct role *role;
	struct in_addr *list;
	size_t count;
	struct err fault; /* it cannot be */
};

/* This host's own address is needed, and no manager gives out what no host can have; but another
 * host whose address is one of ours is left out. */
static void on_taken(void *owner, size_t place, const struct err *err)
{
	struct vips *vips = owner;
	struct role *role = vips->role;
	struct report_port port = {.ip = vips->list[place]};

	if (place == vips->count || err->code != EADDRINUSE) {
		vips->fault = *err;
		return;
	}
	snprintf(port.why, sizeof(port.why), "%.*s", (int)sizeof(port.why) - 1, err->text);
	report_add_missing(&role->taken, &port);
	troubles_say(role->troubles, "a host of the mesh is left out: %s", err->text);
	vips->list[place] = (struct in_addr){0};
}

/* The rest of the mesh is there all the same. */
static void on_lost_address(void *owner, struct in_addr ip, int result)
{
	struct role *role = owner;
	struct report_port port = {.ip = ip};
	char text[INET_ADDRSTRLEN];

	snprintf(
		port.why, sizeof(port.why), "a route to it cannot be added: %s", strerror(-result));
	report_add_missing(&role->taken, &port);
	troubles_say(role->troubles, "a host of the mesh is left out: %s: %s",
		inet_ntop(AF_INET, &ip, text, sizeof(text)), port.why);
}

static int configure_addresses(struct role *role, const struct mesh_config *config, struct err *err)
{
	struct in_addr *peers = calloc(config->nnames + config->nothers + 1, sizeof(*peers));
	size_t count = 0;

	if (!peers)
		return err_sys(err, ENOMEM, "cannot list the hosts");
	for (size_t i = 0; i < config->nnames; i++)
		peers[count++] = config->names[i].ip;
	for (size_t i = 0; i < config->nothers; i++)
		peers[count++] = config->others[i].ip;
	peers[count] = config->me;
	struct vips vips = {role, peers, count, {0}};
	role->taken = (struct mesh_report){.nmissing = 0};
	int result = taken_check(role->start.is_sandbox, peers, count + 1, on_taken, &vips, err);
	if (result == 0 && vips.fault.code != 0)
		result = err_set(err, vips.fault.code, "%s", vips.fault.text);
	if (result < 0) {
		free(peers);
		return result;
	}
	size_t left = 0;
	for (size_t i = 0; i < count; i++)
		if (peers[i].s_addr != 0)
			peers[left++] = peers[i];
	role->addresses.on_lost = on_lost_address;
	role->addresses.owner = role;
	return addresses_set(&role->addresses, role->start.stack, config->me, peers, left, err);
}

void role_on_takeover(struct role *role)
{
	addresses_forget(&role->addresses);
}

static void reserve_ports(struct role *role)
{
	struct stack *stack = role->start.stack;
	char text[STACK_PORTS_BYTES];

	ports_reserved(&role->ports, text, sizeof(text));
	int result = text[0] || role->has_reserved ? stack->ops->reserve_ports(stack, text) : 0;
	if (result < 0)
		log_info("cannot reserve the ports that are offered: %s", strerror(-result));
	role->has_reserved = text[0];
}

static int tell_gate(struct role *role, struct err *err)
{
	struct gate_rules rules = {
		.self = role->addresses.self,
		.members = role->addresses.peers,
		.nmembers = role->addresses.npeers,
		.any_port = role->any_port,
		.leads_on = leads_on(role),
		.networks = role->behind.list,
		.nnetworks = role->behind.count,
		.alias_net = role->alias_net,
		.turns = role->turns,
	};
	struct gate_port *ports = ports_served(&role->ports, &rules.nports);

	rules.ports = ports;
	int result = ports ? gate_configure(role->start.gate, &rules) : -ENOMEM;
	free(ports);
	return result < 0 ? err_sys(err, -result, "cannot set up the gate") : 0;
}

/* Where it cannot be had, an own port is not reached by own programs, nor a second one by anybody.
 */
static void open_aliases(struct role *role)
{
	struct stack *stack = role->start.stack;

	/* a plain host's namespace has no programs but its agent, which reaches its own VIP itself
	 */
	role->turns = role->start.is_sandbox;
	int result = stack->ops->open_aliases(
		stack, role->addresses.self, &role->alias_net, &role->turns);

	if (result < 0)
		role->alias_net = (struct in_addr){0};
	if (role->start.is_sandbox && (result < 0 || !role->turns))
		log_info("programs of this sandbox cannot reach its own ports at its VIP%s%s",
			result < 0 ? ": " : "", result < 0 ? strerror(-result) : "");
}

static bool is_offered(void *owner, enum proto proto, uint16_t port)
{
	const struct mesh_config *config = owner;

	for (size_t i = 0; i < config->noffers; i++)
		if (config->offers[i].listen_port == port && config->offers[i].proto == proto)
			return true;
	return false;
}

/* Those that are not mapped, and our name server, in @out, which has room. Returns how many. */
static size_t relayed(
	const struct role *role, const struct mesh_config *config, struct service *out)
{
	size_t count = 0;

	for (size_t i = 0; i < config->noffers; i++) {
		if (role->ports.list[i].action == GATE_MAP)
			continue;
		out[count] = service_of(&config->offers[i], config->me);
		out[count++].is_given = config->offers[i].proto == PROTO_TCP || has_no_stack(role);
	}
	for (size_t i = 0; role->start.names && i < config->nname_servers; i++)
		if (ports_is_names(config, i))
			out[count++] = names_of(&config->name_servers[i]);
	return count;
}

static int offer(struct role *role, const struct mesh_config *config, struct err *err)
{
	struct service *list = calloc(config->noffers + config->nname_servers + 1, sizeof(*list));

	if (!list)
		return err_sys(err, ENOMEM, "cannot open a port");
	int result = services_configure(role->offers, list, relayed(role, config, list), err);
	free(list);
	return result < 0 ? result : tell_gate(role, err);
}

static int know_name_servers(struct role *role, const struct mesh_config *config)
{
	struct mesh_port *list = calloc(config->nname_servers + 1, sizeof(*list));

	if (!list)
		return -ENOMEM;
	if (config->nname_servers > 0)
		memcpy(list, config->name_servers, config->nname_servers * sizeof(*list));
	free(role->name_servers);
	role->name_servers = list;
	role->nname_servers = config->nname_servers;
	return 0;
}

int role_configure(struct role *role, const struct mesh_config *config, struct err *err)
{
	troubles_sift(role->troubles, is_offered, (void *)config);
	if (ports_plan(&role->ports, config) < 0 || know_name_servers(role, config) < 0 ||
		(!role->start.is_sandbox && behind_plan(&role->behind, config) < 0))
		return err_sys(err, ENOMEM, "cannot read the configuration");
	kin_set(&role->kin, config->identity);
	role->any_port = config->any_port && role->start.is_sandbox;
	if (gate_allow(role->start.gate, config->me, config->allow, config->nallow) < 0)
		return err_sys(err, ENOMEM, "cannot read the configuration");
	int result = configure_addresses(role, config, err);
	if (result == 0)
		open_aliases(role);
	if (result == 0)
		result = offer(role, config, err);
	if (result < 0)
		return result;
	reserve_ports(role);
	if (role->start.is_sandbox || config->loopback_disable)
		return services_configure(role->entries, NULL, 0, err);
	return enter(role, config, err);
}

const struct in_addr *role_peers(const struct role *role, size_t *count)
{
	*count = role->addresses.npeers;
	return role->addresses.peers;
}

/* --- start and end ------------------------------------------------------------------------ */

struct role *role_new(const struct role_start *start)
{
	static const struct service_ops offers_ops = {
		.bind = bind_inside,
		.on_client = on_client,
		.on_bound = on_bound,
		.on_closed = on_closed,
		.on_missing = on_missing,
		.on_opened = on_opened,
		.on_failed = on_failed,
	};
	static const struct service_ops entries_ops = {
		.take = take_entry,
		.on_served = on_entry_served,
		.on_client = on_entry_client,
		.on_bound = on_entry_bound,
		.on_closed = on_entry_closed,
		.is_served = is_entry_served,
		.explain = owner_explain,
		.on_missing = on_entry_missing,
		.on_opened = on_opened,
		.on_failed = on_failed,
	};
	static const struct syns_ops syns_ops = {
		.let_in = let_in, .refuse = refuse, .failed = on_syn_failed};
	struct role *role = calloc(1, sizeof(*role));

	if (!role)
		return NULL;
	role->start = *start;
	role->ports.is_sandbox = start->is_sandbox;
	role->troubles = troubles_new(start->context->loop, start->on_change, start->owner);
	role->syns = syns_new(start->context, &syns_ops, role);
	role->offers = services_new(start->context, &offers_ops, role);
	role->entries = services_new(start->context, &entries_ops, role);
	gate_on_refused(start->gate, on_refused, role);
	if (role->troubles && role->syns && role->offers && role->entries)
		return role;
	role_free(role);
	return NULL;
}

void role_free(struct role *role)
{
	if (!role)
		return;
	gate_on_refused(role->start.gate, NULL, NULL);
	services_free(role->entries);
	syns_free(role->syns);
	role->syns = NULL;
	services_free(role->offers);
	addresses_fini(&role->addresses);
	ports_fini(&role->ports);
	behind_fini(&role->behind);
	free(role->name_servers);
	troubles_free(role->troubles);
	free(role);
}
