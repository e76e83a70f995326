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
#include "mesh/agent/addresses.h"
#include "mesh/agent/behind.h"
#include "mesh/agent/entries.h"
#include "mesh/agent/ports.h"
#include "mesh/agent/taken.h"
#include "mesh/agent/troubles.h"
#include "mesh/info.h"
#include "net/packet.h"
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
	struct services *offers; /* inside, at this host's VIP */
	struct entries *entries; /* on the host's loopback */
	struct troubles *troubles;
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
		service = entries_find(role->entries, proto, &at);
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

/* Is it our name server? */
static bool is_names(const struct service *service)
{
	return service->is_given && service->id == 0;
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
	struct err err;

	if (role->start.is_sandbox && tell_gate(role, &err) < 0)
		log_warning("%s", err.text);
	if (!is_names(service))
		troubles_works(role->troubles, service->proto, &service->addr);
}

static void tell_missing(void *report, const struct service *service, const char *why)
{
	if (!is_names(service))
		report_add_missing(report, service->proto, service->addr.v4.sin_addr,
			addr_port(&service->addr), why);
}

void role_report(const struct role *role, struct mesh_report *out)
{
	*out = role->taken;
	services_each_missing(role->offers, tell_missing, out);
	entries_report(role->entries, out);
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
	if (service && is_names(service))
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

	if (is_names(service))
		nameservice_add_client(role->start.names, fd, peer);
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

static void refuse(void *owner, const struct syns_packet *packet, int result)
{
	const struct role *role = owner;

	role->start.syns_ops->refuse(role->start.syns_owner, packet, result);
}

/* The ends of a datagram are all that is left of it, and enough. */
static void on_unsent(
	void *owner, const struct service *service, const struct addr *peer, int result)
{
	struct role *role = owner;
	unsigned char packet[PACKET_DATAGRAM_BYTES];
	struct packet_view view;
	const size_t len =
		packet_make_udp(packet, (struct packet_end){peer->v4.sin_addr, addr_port(peer)},
			(struct packet_end){role->addresses.self, addr_port(&service->addr)}, 0);

	/* a program of this host's has an alias here, which it does not know itself */
	if (IN_BADCLASS(ntohl(peer->v4.sin_addr.s_addr)) || !packet_parse(packet, len, &view))
		return;
	const struct syns_packet sent = syns_packet_of(&view);
	refuse(role, &sent, result);
}

static void let_in(void *owner, const struct syns_packet *packet)
{
	const struct role *role = owner;

	role->start.syns_ops->let_in(role->start.syns_owner, packet);
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

	if (place == vips->count || err->code != EADDRINUSE) {
		vips->fault = *err;
		return;
	}
	report_add_missing(&role->taken, PROTO_TCP, vips->list[place], 0, err->text);
	troubles_say(role->troubles, "a host of the mesh is left out: %s", err->text);
	vips->list[place] = (struct in_addr){0};
}

/* The rest of the mesh is there all the same. */
static void on_lost_address(void *owner, struct in_addr ip, int result)
{
	struct role *role = owner;
	char why[REPORT_WHY_BYTES], text[INET_ADDRSTRLEN];

	snprintf(why, sizeof(why), "a route to it cannot be added: %s", strerror(-result));
	report_add_missing(&role->taken, PROTO_TCP, ip, 0, why);
	troubles_say(role->troubles, "a host of the mesh is left out: %s: %s",
		inet_ntop(AF_INET, &ip, text, sizeof(text)), why);
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
		out[count] = ports_service(&config->offers[i], config->me);
		out[count++].is_given = config->offers[i].proto == PROTO_TCP || has_no_stack(role);
	}
	for (size_t i = 0; role->start.names && i < config->nname_servers; i++)
		if (ports_is_names(config, i))
			out[count++] = ports_names(&config->name_servers[i]);
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

int role_configure(struct role *role, const struct mesh_config *config, struct err *err)
{
	troubles_sift(role->troubles, is_offered, (void *)config);
	if (ports_plan(&role->ports, config) < 0 ||
		(!role->start.is_sandbox && behind_plan(&role->behind, config) < 0))
		return err_sys(err, ENOMEM, "cannot read the configuration");
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
	if (!role->start.is_sandbox && !config->loopback_disable)
		return entries_configure(role->entries, config, err);
	entries_close(role->entries);
	return 0;
}

void role_keep(struct role *role)
{
	entries_keep(role->entries);
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
		.on_unsent = on_unsent,
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
	role->entries = entries_new(&(struct entries_start){
		.context = start->context,
		.stack = start->stack,
		.estate = start->estate,
		.names = start->names,
		.addresses = &role->addresses,
		.troubles = role->troubles,
		.on_failed = on_failed,
		.owner = role,
	});
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
	entries_free(role->entries);
	syns_free(role->syns);
	role->syns = NULL;
	services_free(role->offers);
	addresses_fini(&role->addresses);
	ports_fini(&role->ports);
	behind_fini(&role->behind);
	troubles_free(role->troubles);
	free(role);
}
