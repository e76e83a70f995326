/* SPDX-License-Identifier: Apache-2.0 */
/* net/diag - ask the kernel about sockets: who listens, who owns, who holds a port */
#include "net/diag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>

#include "net/netlink.h"

/* lo is the first device of every network namespace (LOOPBACK_IFINDEX, include/net/net_namespace.h)
 */
#define LOOPBACK_INDEX 1

/* One end of a connection in inet_diag's form */
struct endpoint {
	uint8_t family;
	uint16_t port_be;
	uint32_t scope_id;
	uint32_t addr[4];
};

int diag_open(void)
{
	return netlink_open(NETLINK_SOCK_DIAG);
}

/* IPv4 inside IPv6 becomes IPv4: udp_diag does not do so by itself */
static int endpoint_of(const struct sockaddr *addr, struct endpoint *out)
{
	*out = (struct endpoint){.family = (uint8_t)addr->sa_family};
	if (addr->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)addr;

		out->port_be = in->sin_port;
		out->addr[0] = in->sin_addr.s_addr;
		return 0;
	}
	if (addr->sa_family != AF_INET6)
		return -EAFNOSUPPORT;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)addr;
	out->port_be = in6->sin6_port;
	memcpy(out->addr, &in6->sin6_addr, sizeof(out->addr));
	if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
		out->family = AF_INET;
		memset(out->addr, 0, sizeof(out->addr));
		memcpy(&out->addr[0], &in6->sin6_addr.s6_addr[12], sizeof(out->addr[0]));
	} else {
		out->scope_id = in6->sin6_scope_id;
	}
	return 0;
}

/* Look up the socket at @own whose peer is @peer (all zero: a listener). 0 or -errno. */
static int lookup(int nl, int ip_proto, const struct endpoint *own, const struct endpoint *peer,
	struct inet_diag_msg *out)
{
	struct inet_diag_req_v2 request = {
		.sdiag_family = own->family,
		.sdiag_protocol = (uint8_t)ip_proto,
		.idiag_states = ~0u,
	};
	struct netlink_msg msg;

	if (ip_proto != IPPROTO_TCP && ip_proto != IPPROTO_UDP)
		return -EPROTONOSUPPORT;
	/* udp_diag_dump_one takes a packet's view: "dst" is the socket's own end */
	if (ip_proto == IPPROTO_UDP) {
		const struct endpoint *swap = own;

		own = peer;
		peer = swap;
	}
	request.id.idiag_sport = own->port_be;
	request.id.idiag_dport = peer->port_be;
	memcpy(request.id.idiag_src, own->addr, sizeof(own->addr));
	memcpy(request.id.idiag_dst, peer->addr, sizeof(peer->addr));
	/* the device by which the packet would come: local traffic goes over lo */
	request.id.idiag_if = own->scope_id ? own->scope_id : peer->scope_id;
	if (!request.id.idiag_if)
		request.id.idiag_if = LOOPBACK_INDEX;
	request.id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
	request.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	netlink_begin(&msg, SOCK_DIAG_BY_FAMILY, 0, &request, sizeof(request));
	int len = netlink_call(nl, &msg, out, sizeof(*out));
	if (len < 0)
		return len;
	return (size_t)len < sizeof(*out) ? -EPROTO : 0;
}

int diag_is_listening(int nl, int ip_proto, const struct sockaddr *addr)
{
	struct endpoint own, nobody;
	struct inet_diag_msg found;
	int result = endpoint_of(addr, &own);

	if (result < 0)
		return result;
	nobody = (struct endpoint){.family = own.family};
	result = lookup(nl, ip_proto, &own, &nobody, &found);
	if (result < 0)
		return result == -ENOENT ? 0 : result;
	return found.idiag_state == (ip_proto == IPPROTO_TCP ? TCP_LISTEN : TCP_CLOSE);
}

int diag_socket_uid(int nl, int ip_proto, const struct sockaddr *local,
	const struct sockaddr *remote, uid_t *uid)
{
	struct endpoint own, peer;
	struct inet_diag_msg found;
	int result = endpoint_of(local, &own);

	if (result == 0)
		result = endpoint_of(remote, &peer);
	if (result < 0)
		return result;
	if (own.family != peer.family)
		return -EINVAL;
	result = lookup(nl, ip_proto, &own, &peer, &found);
	if (result < 0)
		return result;
	/* with the connection gone the kernel falls back to whoever listens on that address now */
	if (ip_proto == IPPROTO_TCP && found.idiag_state == TCP_LISTEN)
		return -ENOENT;
	/* no inode: nobody has the socket open, and most kernels then report uid 0 */
	if (found.idiag_inode == 0)
		return -EAGAIN;
	*uid = found.idiag_uid;
	return 0;
}
