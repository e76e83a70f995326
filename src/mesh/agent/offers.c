/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/offers - serve what a host offers at its VIP by relays to where it runs */
#include "mesh/agent/offers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "conn/bind.h"
#include "conn/inside.h"
#include "conn/service.h"
#include "mesh/agent/syns.h"
#include "util/fd.h"

struct offers {
	const struct conn_context *context;
	struct dialer *dialer;
	struct syns *syns;
	struct services *services;
};

static int bind_inside(void *owner, const struct service *service, struct err *err)
{
	const struct offers *offers = owner;
	bool is_tcp = service->proto == PROTO_TCP;
	char ip[INET_ADDRSTRLEN];

	_cleanup_fd_ int fd = inside_take_now(
		offers->context->inside, is_tcp ? DOOR_TCP4 : DOOR_UDP4, OFFERS_SOCKET_MS);
	const struct addr addr = addr_of4(service->ip, service->port);
	int result = fd < 0 ? fd : bind_socket(fd, &addr, service->proto, true);
	if (result == 0)
		return fd_take(&fd);
	inet_ntop(AF_INET, &service->ip, ip, sizeof(ip));
	return err_sys(err, -result, "cannot offer %sport %u at %s", is_tcp ? "" : "UDP ",
		service->port, ip);
}

static bool on_client(
	void *owner, const struct service *service, int fd, const struct sockaddr_in *peer)
{
	const struct offers *offers = owner;

	return syns_meet(offers->syns, (struct packet_end){peer->sin_addr, ntohs(peer->sin_port)},
		(struct packet_end){service->ip, service->port}, fd);
}

static void on_closed(void *owner, const struct service *service)
{
	const struct offers *offers = owner;

	if (service->proto == PROTO_TCP && offers->syns) /* not at the very end */
		syns_drop(offers->syns, (struct packet_end){service->ip, service->port});
}

struct offers *offers_new(
	const struct conn_context *context, const struct syns_ops *syns_ops, void *owner)
{
	static const struct service_ops ops = {bind_inside, on_client, on_closed};
	struct offers *offers = calloc(1, sizeof(*offers));

	if (!offers)
		return NULL;
	offers->context = context;
	offers->dialer = dialer_new(context);
	if (offers->dialer)
		offers->syns = syns_new(context, offers->dialer, syns_ops, owner);
	if (offers->syns)
		offers->services = services_new(context, offers->dialer, &ops, offers);
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
	dialer_free(offers->dialer);
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
			.ip = self,
			.port = list[i].listen_port,
			.target = {.host = list[i].connect_host, .port = list[i].connect_port},
		};
	int result = services_configure(offers->services, wanted, count, err);
	free(wanted);
	return result;
}

void offers_on_syn(struct offers *offers, const struct packet_view *packet)
{
	const struct service *service =
		services_find(offers->services, PROTO_TCP, packet->dst.ip, packet->dst.port);

	if (service)
		syns_on_packet(offers->syns, packet, &service->target);
}
