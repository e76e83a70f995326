/* SPDX-License-Identifier: Apache-2.0 */
/* forward/guise - the client's own address for the socket that leads it to the guest */
#include "forward/guise.h"

#include <errno.h>
#include <sys/socket.h>

bool guise_is_kept(const struct forward *forward)
{
	const struct forward_context *context = forward->context;
	const struct addr *host = &forward->spec.host;

	if (host->family == AF_UNIX || (addr_is_loopback(host) && !context->keeps_local))
		return false;
	return driver_target(forward).family == AF_INET6 ? context->keeps_clients6
							 : context->keeps_clients4;
}

enum door_kind guise_kind(const struct forward *forward)
{
	return driver_target(forward).family == AF_INET6 ? DOOR_TCP6_CLIENT : DOOR_TCP4_CLIENT;
}

/* Has somebody inside the address? Whose port is chosen later can be bound again. */
static bool is_inside(const struct addr *ip, int fd)
{
	const struct addr any = ip->family == AF_INET ? addr_of4((struct in_addr){INADDR_ANY}, 0)
						      : addr_of6(&in6addr_any, 0);
	int on = 1;

	if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) < 0)
		return true;
	if (bind(fd, &ip->any, addr_len(ip)) < 0)
		return errno != EADDRNOTAVAIL;
	bind(fd, &any.any, addr_len(&any));
	return true;
}

bool guise_fits(const struct forward *forward, const struct addr *peer, int fd)
{
	struct addr ip = *peer;

	addr_set_port(&ip, 0);
	return peer->family == driver_target(forward).family && !addr_is_loopback(peer) &&
	       !(peer->family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&peer->v6.sin6_addr)) &&
	       !is_inside(&ip, fd);
}

int guise_wear(int fd, const struct addr *peer)
{
	struct addr ip = *peer;
	int on = 1;

	/* the same client may be here already, by another port of the host */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
		bind(fd, &peer->any, addr_len(peer)) == 0)
		return 0;
	addr_set_port(&ip, 0);
	return bind(fd, &ip.any, addr_len(&ip)) < 0 ? -errno : 0;
}
