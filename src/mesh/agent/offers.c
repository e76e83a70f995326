/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/offers - serve what a host offers at its VIP by relays to where it runs */
#include "mesh/agent/offers.h"

#include <errno.h>
#include <stdlib.h>

#include "conn/service.h"

struct offers {
	struct stack *stack;
	struct syns *syns;
	struct services *services;
};

static struct packet_end end_of(const struct addr *addr)
{
	return (struct packet_end){addr->v4.sin_addr, addr_port(addr)};
}

static int bind_inside(
	void *owner, const struct service *service, struct bound *out, struct err *err)
{
	const struct offers *offers = owner;
	bool is_tcp = service->proto == PROTO_TCP;
	char ip[ADDR_TEXT_BYTES];

	int fd = offers->stack->ops->open_bound(offers->stack, service->proto, &service->addr);
	if (fd >= 0) {
		out->fd = fd;
		return 0;
	}
	return err_sys(err, -fd, "cannot offer %sport %u at %s", is_tcp ? "" : "UDP ",
		addr_port(&service->addr), addr_format_ip(&service->addr, ip, sizeof(ip)));
}

static void on_client(void *owner, const struct service *service, int fd, const struct addr *peer)
{
	const struct offers *offers = owner;

	if (!syns_meet(offers->syns, end_of(peer), end_of(&service->addr), fd))
		services_join(offers->services, fd, &service->target);
}

static void on_closed(void *owner, const struct service *service)
{
	const struct offers *offers = owner;

	if (service->proto == PROTO_TCP && offers->syns) /* not at the very end */
		syns_drop(offers->syns, end_of(&service->addr));
}

struct offers *offers_new(const struct conn_context *context, struct stack *stack,
	const struct syns_ops *syns_ops, void *owner)
{
	static const struct service_ops ops = {
		.bind = bind_inside, .on_client = on_client, .on_closed = on_closed};
	struct offers *offers = calloc(1, sizeof(*offers));

	if (!offers)
		return NULL;
	offers->stack = stack;
	offers->syns = syns_new(context, syns_ops, owner);
	if (offers->syns)
		offers->services = services_new(context, &ops, offers);
	if (!offers->services) {
		offers_free(offers);
		return NULL;
	}
	return offers;
}

void offers_free(struct offers *offers)
{
	if (!offers)
		return;
	syns_free(offers->syns);
	offers->syns = NULL;
	services_free(offers->services);
	free(offers);
}

int offers_configure(struct offers *offers, struct in_addr self, const struct mesh_offer *list,
	size_t count, struct err *err)
{
	struct service *wanted = calloc(count + 1, sizeof(*wanted));

	if (!wanted)
		return err_sys(err, ENOMEM, "cannot offer ports");
	for (size_t i = 0; i < count; i++)
		wanted[i] = (struct service){
			.proto = list[i].proto,
			.addr = addr_of4(self, list[i].listen_port),
			.is_given = list[i].proto == PROTO_TCP,
			.target = {.host = list[i].connect_host, .port = list[i].connect_port},
		};
	int result = services_configure(offers->services, wanted, count, err);
	free(wanted);
	return result;
}

void offers_on_syn(struct offers *offers, const struct packet_view *packet)
{
	const struct addr own = addr_of4(packet->dst.ip, packet->dst.port);
	const struct service *service = services_find(offers->services, PROTO_TCP, &own);

	if (service)
		syns_on_packet(offers->syns, packet, &service->target);
}
