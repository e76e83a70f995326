/* SPDX-License-Identifier: Apache-2.0 */
/* forward/guise - the client's own address for the socket that leads it to the guest */
#include "forward/guise.h"

#include <errno.h>
#include <sys/socket.h>

#define LOCAL_PORT_RANGE 51 /* IP_LOCAL_PORT_RANGE, which older headers lack */
/* net.ipv4.ip_local_port_range of a new namespace */
#define CHOSEN_FROM 32768
#define CHOSEN_TO   60999

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

/*
 * Who binds to a port keeps it for good; who lets the kernel choose one does not. So it has one to
 * choose from (Linux 6.3), of those that it may choose. Where root inside has changed which ones
 * these are, it is another port.
 */
static bool wear_loosely(int fd, const struct addr *peer)
{
	const uint16_t port = addr_port(peer);
	const bool may_be_chosen = port >= CHOSEN_FROM && port <= CHOSEN_TO;
	const uint32_t range = may_be_chosen ? (uint32_t)port << 16 | port : 0; /* 0: any */
	struct addr ip = *peer;

	addr_set_port(&ip, 0);
	/* also where there is no choice: it may have been somebody else's before */
	return setsockopt(fd, IPPROTO_IP, LOCAL_PORT_RANGE, &range, sizeof(range)) == 0 &&
	       may_be_chosen && bind(fd, &ip.any, addr_len(&ip)) == 0;
}

int guise_wear(int fd, const struct addr *peer, bool *is_loose)
{
	const uint32_t any_port = 0;
	struct addr ip = *peer;

	*is_loose = wear_loosely(fd, peer);
	/* the same client may be here already, by another port of the host: sockets of the mint
	 * have SO_REUSEADDR */
	if (*is_loose || bind(fd, &peer->any, addr_len(peer)) == 0)
		return 0;
	setsockopt(fd, IPPROTO_IP, LOCAL_PORT_RANGE, &any_port, sizeof(any_port));
	addr_set_port(&ip, 0);
	return bind(fd, &ip.any, addr_len(&ip)) < 0 ? -errno : 0;
}
