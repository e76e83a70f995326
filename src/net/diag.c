/* SPDX-License-Identifier: Apache-2.0 */
/* net/diag - ask the kernel about sockets: who listens, who owns, who holds a port */
#include "net/diag.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "net/netlink.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/procfs.h"

/* lo is the first device of every network namespace (LOOPBACK_IFINDEX, include/net/net_namespace.h)
 */
#define LOOPBACK_INDEX 1

/* A TCP socket that is bound and neither listens nor connects; dumped since Linux 6.8 */
#define BOUND_INACTIVE 13

int diag_open(void)
{
	return netlink_open(NETLINK_SOCK_DIAG);
}

/* Make IPv4 inside IPv6 IPv4: udp_diag does not do so by itself. Returns 0 or -EAFNOSUPPORT. */
static int plain(const struct addr *addr, struct addr *out)
{
	struct in_addr v4;

	*out = *addr;
	if (addr->family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&addr->v6.sin6_addr)) {
		memcpy(&v4, &addr->v6.sin6_addr.s6_addr[12], sizeof(v4));
		*out = addr_of4(v4, addr_port(addr));
	}
	return addr->family == AF_INET || addr->family == AF_INET6 ? 0 : -EAFNOSUPPORT;
}

/* In inet_diag's form. Returns the device by which a packet from there would come, 0: any. */
static uint32_t write_end(const struct addr *addr, __be16 *port, __be32 ip[4])
{
	*port = htons(addr_port(addr));
	if (addr->family == AF_INET6) {
		memcpy(ip, &addr->v6.sin6_addr, sizeof(addr->v6.sin6_addr));
		return addr->v6.sin6_scope_id;
	}
	memcpy(ip, &addr->v4.sin_addr, sizeof(addr->v4.sin_addr));
	return 0;
}

/* Look up the socket at @own whose peer is @peer (all zero: a listener), whose packets come by the
 * device @ifindex unless addresses say by which. 0 or -errno. */
static int lookup_on(int nl, enum proto proto, const struct addr *own, const struct addr *peer,
	uint32_t ifindex, struct inet_diag_msg *out)
{
	struct inet_diag_req_v2 request = {
		.sdiag_family = (uint8_t)own->family,
		.sdiag_protocol = (uint8_t)addr_proto_number(proto),
		.idiag_states = ~0u,
		.id.idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE},
	};
	struct inet_diag_sockid *id = &request.id;
	struct netlink_msg msg;

	/* udp_diag_dump_one takes a packet's view: "dst" is the socket's own end */
	bool is_swapped = proto == PROTO_UDP;
	uint32_t src_device = write_end(is_swapped ? peer : own, &id->idiag_sport, id->idiag_src);
	uint32_t dst_device = write_end(is_swapped ? own : peer, &id->idiag_dport, id->idiag_dst);
	id->idiag_if = src_device ? src_device : dst_device ? dst_device : ifindex;
	netlink_begin(&msg, SOCK_DIAG_BY_FAMILY, 0, &request, sizeof(request));
	int len = netlink_call(nl, &msg, out, sizeof(*out));
	if (len < 0)
		return len;
	return (size_t)len < sizeof(*out) ? -EPROTO : 0;
}

/* The same for what is local: that goes over lo. */
static int lookup(int nl, enum proto proto, const struct addr *own, const struct addr *peer,
	struct inet_diag_msg *out)
{
	return lookup_on(nl, proto, own, peer, LOOPBACK_INDEX, out);
}

/* Each socket of either family in one of the states @states (a mask). As netlink_dump. */
static int each_socket(int nl, enum proto proto, uint32_t states,
	int (*on_message)(const void *body, size_t len, void *context), void *context)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	int result = 0;

	for (size_t i = 0; result == 0 && i < sizeof(families) / sizeof(families[0]); i++) {
		struct inet_diag_req_v2 request = {
			.sdiag_family = families[i],
			.sdiag_protocol = (uint8_t)addr_proto_number(proto),
			.idiag_states = states,
		};
		struct netlink_msg msg;

		netlink_begin(&msg, SOCK_DIAG_BY_FAMILY, 0, &request, sizeof(request));
		result = netlink_dump(nl, &msg, on_message, context);
	}
	return result;
}

/* The socket that a connection or datagram to @addr would find. 0, -ENOENT, or another -errno. */
static int find_listener(
	int nl, enum proto proto, const struct addr *addr, struct inet_diag_msg *found)
{
	struct addr own, nobody = {0};
	int result = plain(addr, &own);

	if (result == 0)
		result = lookup(nl, proto, &own, &nobody, found);
	if (result < 0)
		return result;
	return found->idiag_state == (proto == PROTO_TCP ? TCP_LISTEN : TCP_CLOSE) ? 0 : -ENOENT;
}

int diag_is_listening(int nl, enum proto proto, const struct addr *addr)
{
	struct inet_diag_msg found;
	int result = find_listener(nl, proto, addr, &found);

	return result == 0 ? 1 : result == -ENOENT ? 0 : result;
}

int diag_listener_uid(int nl, enum proto proto, const struct addr *addr, uid_t *uid)
{
	struct inet_diag_msg found;
	int result = find_listener(nl, proto, addr, &found);

	if (result == 0)
		*uid = found.idiag_uid;
	return result;
}

int diag_is_connected(int nl, const struct addr *own, const struct addr *peer, int ifindex)
{
	struct inet_diag_msg found;
	int result = lookup_on(
		nl, PROTO_TCP, own, peer, ifindex > 0 ? (uint32_t)ifindex : LOOPBACK_INDEX, &found);

	if (result < 0)
		return result == -ENOENT ? 0 : result;
	/* without one the kernel falls back to who listens there */
	return found.idiag_state != TCP_LISTEN;
}

int diag_socket_uid(
	int nl, enum proto proto, const struct addr *local, const struct addr *remote, uid_t *uid)
{
	struct addr own, peer;
	struct inet_diag_msg found;
	int result = plain(local, &own);

	if (result == 0)
		result = plain(remote, &peer);
	if (result < 0)
		return result;
	if (own.family != peer.family)
		return -EINVAL;
	result = lookup(nl, proto, &own, &peer, &found);
	if (result < 0)
		return result;
	/* with the connection gone the kernel falls back to whoever listens on that address now */
	if (proto == PROTO_TCP && found.idiag_state == TCP_LISTEN)
		return -ENOENT;
	/* no inode: nobody has the socket open, and most kernels then report uid 0 */
	if (found.idiag_inode == 0)
		return -EAGAIN;
	*uid = found.idiag_uid;
	return 0;
}

bool diag_is_own_address(const struct addr *addr)
{
	struct addr own = *addr;
	_cleanup_fd_ int fd = socket(addr->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	addr_set_port(&own, 0);
	return addr_is_loopback(addr) || fd < 0 || bind(fd, &own.any, addr_len(&own)) == 0 ||
	       errno != EADDRNOTAVAIL;
}

enum rank { RANK_NOTHING, RANK_CONNECTED, RANK_BOUND, RANK_LISTENS };

/* What port_holder looks for and the best it has seen */
struct holder {
	struct addr wanted;
	enum rank rank;
	uint32_t inode;
	uid_t uid;
};

/* Whether an IPv6 socket refuses IPv4; the kernel says so in an attribute behind the message */
static bool is_v6only(const void *attrs, int len)
{
	for (const struct rtattr *attr = attrs; RTA_OK(attr, len); attr = RTA_NEXT(attr, len))
		if (attr->rta_type == INET_DIAG_SKV6ONLY && RTA_PAYLOAD(attr) > 0)
			return *(const uint8_t *)RTA_DATA(attr) != 0;
	return false;
}

/* Whether a socket bound to @own keeps @wanted from being bound */
static bool is_conflict(const struct addr *own, bool v6only, const struct addr *wanted)
{
	if (addr_port(own) != addr_port(wanted))
		return false;
	if (own->family == wanted->family)
		return addr_is_wildcard(own) || addr_is_wildcard(wanted) ||
		       addr_is_same_ip(own, wanted);
	/* one is IPv4: the other reaches into IPv4 as the dual-stack wildcard only */
	return own->family == AF_INET6 ? addr_is_wildcard(own) && !v6only
				       : addr_is_wildcard(wanted);
}

/* One end of a socket from inet_diag's form; IPv4 inside IPv6 is IPv4. */
static struct addr read_end(uint8_t family, __be16 port, const __be32 ip[4])
{
	struct in_addr v4;
	struct in6_addr v6;

	memcpy(&v4, ip, sizeof(v4));
	memcpy(&v6, ip, sizeof(v6));
	struct addr end =
		family == AF_INET ? addr_of4(v4, ntohs(port)) : addr_of6(&v6, ntohs(port));
	plain(&end, &end);
	return end;
}

static int on_socket(const void *body, size_t len, void *context)
{
	struct holder *holder = context;
	const struct inet_diag_msg *found = body;
	enum rank rank = RANK_CONNECTED;

	if (len < sizeof(*found))
		return -EPROTO;
	const struct addr own =
		read_end(found->idiag_family, found->id.idiag_sport, found->id.idiag_src);
	if (!is_conflict(&own, is_v6only(found + 1, (int)(len - sizeof(*found))), &holder->wanted))
		return 0;
	if (found->idiag_state == TCP_LISTEN)
		rank = RANK_LISTENS;
	else if (found->idiag_state == BOUND_INACTIVE || found->idiag_state == TCP_CLOSE)
		rank = RANK_BOUND; /* TCP_CLOSE: a UDP socket */
	if (rank > holder->rank) {
		holder->rank = rank;
		holder->inode = found->idiag_inode;
		holder->uid = found->idiag_uid;
	}
	return 0;
}

/* Of the sockets in one of @states; all but listeners cost a walk through all of the machine's. */
static int find_holder(enum proto proto, uint32_t states, struct holder *holder)
{
	_cleanup_fd_ int nl = diag_open();

	if (nl < 0)
		return nl;
	int result = each_socket(nl, proto, states, on_socket, holder);
	return result == 0 && holder->rank == RANK_NOTHING ? -ENOENT : result;
}

bool diag_has_listener(enum proto proto, const struct addr *addr)
{
	struct holder holder = {0};

	return plain(addr, &holder.wanted) == 0 &&
	       find_holder(proto, 1u << TCP_LISTEN, &holder) == 0;
}

static bool is_inode(void *owner, unsigned long inode)
{
	const uint32_t *wanted = owner;

	return inode == *wanted;
}

/* The first process that has the socket @inode open, or 0 when none can be seen. */
static pid_t find_process(uint32_t inode)
{
	DIR *dir = opendir("/proc");
	pid_t pid;

	while ((pid = procfs_next_pid(dir)) != 0 && !procfs_has_socket(pid, is_inode, &inode))
		;
	if (dir)
		closedir(dir);
	return pid;
}

static void name_process(pid_t pid, char *out, size_t cap_bytes)
{
	char path[64], name[64], safe[256];

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	ssize_t n = fd_read_file(path, name, sizeof(name));
	while (n > 0 && name[n - 1] == '\n')
		n--;
	log_escape(name, n > 0 ? (size_t)n : 0, safe, sizeof(safe));
	snprintf(out, cap_bytes, "%s (pid %d)", n > 0 ? safe : "?", (int)pid);
}

static void name_user(uid_t uid, char *out, size_t cap_bytes)
{
	struct passwd entry, *user = NULL;
	char text[4096], safe[256];

	if (getpwuid_r(uid, &entry, text, sizeof(text), &user) == 0 && user) {
		log_escape(user->pw_name, strlen(user->pw_name), safe, sizeof(safe));
		snprintf(out, cap_bytes, "a process of user %s", safe);
	} else {
		snprintf(out, cap_bytes, "a process of uid %u", (unsigned)uid);
	}
}

/* Fill @holder for @addr. 0 or -errno. */
static int look_for(enum proto proto, const struct addr *addr, struct holder *holder)
{
	int result = plain(addr, &holder->wanted);

	if (holder->wanted.family == AF_INET6)
		holder->wanted.v6.sin6_scope_id = 0; /* those that are found have none */
	return result < 0 ? result : find_holder(proto, ~(1u << TCP_TIME_WAIT), holder);
}

pid_t diag_port_pid(enum proto proto, const struct addr *addr)
{
	struct holder holder = {0};

	return look_for(proto, addr, &holder) == 0 && holder.inode ? find_process(holder.inode) : 0;
}

bool diag_port_is_held(enum proto proto, const struct addr *addr, const pid_t *pids, size_t count)
{
	struct holder holder = {0};
	bool is_held = false;

	if (count == 0 || look_for(proto, addr, &holder) < 0 || holder.inode == 0)
		return false;
	for (size_t i = 0; i < count && !is_held; i++)
		is_held = procfs_has_socket(pids[i], is_inode, &holder.inode);
	return is_held;
}

int diag_port_holder(enum proto proto, const struct addr *addr, char *out, size_t cap_bytes)
{
	struct holder holder = {0};

	if (cap_bytes)
		out[0] = '\0';
	int result = look_for(proto, addr, &holder);
	if (result < 0)
		return result;
	pid_t pid = holder.inode ? find_process(holder.inode) : 0;
	if (pid)
		name_process(pid, out, cap_bytes);
	else
		name_user(holder.uid, out, cap_bytes);
	return 0;
}

static int on_unsent(const void *body, size_t len, void *context)
{
	const struct inet_diag_msg *msg = body;
	int64_t *bytes = context;

	if (len >= sizeof(*msg))
		*bytes += 1 + (int64_t)msg->idiag_wqueue;
	return 0;
}

int64_t diag_unsent(int nl)
{
	const uint32_t states = 1u << TCP_FIN_WAIT1 | 1u << TCP_CLOSING | 1u << TCP_LAST_ACK;
	int64_t bytes = 0;
	int result = each_socket(nl, PROTO_TCP, states, on_unsent, &bytes);

	return result < 0 ? result : bytes;
}

struct connections {
	int (*on_connection)(void *owner, const struct addr *own, const struct addr *peer);
	void *owner;
};

static int on_connected(const void *body, size_t len, void *context)
{
	const struct connections *wanted = context;
	const struct inet_diag_msg *found = body;

	if (len < sizeof(*found))
		return -EPROTO;
	const uint8_t family = found->idiag_family;
	const struct addr own = read_end(family, found->id.idiag_sport, found->id.idiag_src);
	const struct addr peer = read_end(family, found->id.idiag_dport, found->id.idiag_dst);
	return wanted->on_connection(wanted->owner, &own, &peer);
}

int diag_each_connection(int nl,
	int (*on_connection)(void *owner, const struct addr *own, const struct addr *peer),
	void *owner)
{
	const uint32_t states = 1u << TCP_ESTABLISHED | 1u << TCP_FIN_WAIT1 | 1u << TCP_FIN_WAIT2;
	struct connections wanted = {on_connection, owner};

	return each_socket(nl, PROTO_TCP, states, on_connected, &wanted);
}

struct listeners {
	int (*on_listener)(void *owner, const struct addr *own, int ifindex);
	void *owner;
};

static int on_listening(const void *body, size_t len, void *context)
{
	const struct listeners *wanted = context;
	const struct inet_diag_msg *found = body;

	if (len < sizeof(*found))
		return -EPROTO;
	const struct addr own =
		read_end(found->idiag_family, found->id.idiag_sport, found->id.idiag_src);
	return wanted->on_listener(wanted->owner, &own, (int)found->id.idiag_if);
}

int diag_each_listener(int nl, enum proto proto,
	int (*on_listener)(void *owner, const struct addr *own, int ifindex), void *owner)
{
	/* TCP_CLOSE: a UDP socket that is not connected */
	const uint32_t states = 1u << (proto == PROTO_TCP ? TCP_LISTEN : TCP_CLOSE);
	struct listeners wanted = {on_listener, owner};

	return each_socket(nl, proto, states, on_listening, &wanted);
}
