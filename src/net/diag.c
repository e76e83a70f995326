/* SPDX-License-Identifier: Apache-2.0 */
/* net/diag - ask the kernel about sockets: who listens, who owns, who holds a port */
#include "net/diag.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/inet_diag.h>
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

/* lo is the first device of every network namespace (LOOPBACK_IFINDEX, include/net/net_namespace.h)
 */
#define LOOPBACK_INDEX 1

/* A TCP socket that is bound and neither listens nor connects; dumped since Linux 6.8 */
#define BOUND_INACTIVE 13

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
static struct endpoint endpoint_from(uint8_t family, uint16_t port_be, const void *addr)
{
	struct endpoint out = {.family = family, .port_be = port_be};

	if (family == AF_INET6 && IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)addr)) {
		out.family = AF_INET;
		addr = (const unsigned char *)addr + 12;
	}
	memcpy(out.addr, addr, out.family == AF_INET ? 4 : 16);
	return out;
}

static int endpoint_of(const struct addr *addr, struct endpoint *out)
{
	if (addr->family == AF_INET) {
		*out = endpoint_from(AF_INET, addr->v4.sin_port, &addr->v4.sin_addr);
		return 0;
	}
	if (addr->family != AF_INET6)
		return -EAFNOSUPPORT;
	*out = endpoint_from(AF_INET6, addr->v6.sin6_port, &addr->v6.sin6_addr);
	if (out->family == AF_INET6)
		out->scope_id = addr->v6.sin6_scope_id;
	return 0;
}

/* Look up the socket at @own whose peer is @peer (all zero: a listener). 0 or -errno. */
static int lookup(int nl, enum proto proto, const struct endpoint *own, const struct endpoint *peer,
	struct inet_diag_msg *out)
{
	struct inet_diag_req_v2 request = {
		.sdiag_family = own->family,
		.sdiag_protocol = (uint8_t)addr_proto_number(proto),
		.idiag_states = ~0u,
	};
	struct netlink_msg msg;

	/* udp_diag_dump_one takes a packet's view: "dst" is the socket's own end */
	if (proto == PROTO_UDP) {
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

int diag_is_listening(int nl, enum proto proto, const struct addr *addr)
{
	struct endpoint own, nobody;
	struct inet_diag_msg found;
	int result = endpoint_of(addr, &own);

	if (result < 0)
		return result;
	nobody = (struct endpoint){.family = own.family};
	result = lookup(nl, proto, &own, &nobody, &found);
	if (result < 0)
		return result == -ENOENT ? 0 : result;
	return found.idiag_state == (proto == PROTO_TCP ? TCP_LISTEN : TCP_CLOSE);
}

int diag_socket_uid(
	int nl, enum proto proto, const struct addr *local, const struct addr *remote, uid_t *uid)
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

/* What port_holder looks for and the best it has seen */
struct holder {
	struct endpoint wanted;
	int rank; /* 0: nothing yet, 1: a connection, 2: bound, 3: listening */
	uint32_t inode;
	uid_t uid;
};

static bool is_wildcard(const uint32_t addr[4])
{
	return !(addr[0] | addr[1] | addr[2] | addr[3]);
}

/* Whether an IPv6 socket refuses IPv4; the kernel says so in an attribute behind the message */
static bool is_v6only(const unsigned char *attrs, size_t len)
{
	struct nlattr attr;

	while (len >= sizeof(attr)) {
		memcpy(&attr, attrs, sizeof(attr));
		if (attr.nla_len < sizeof(attr) || attr.nla_len > len)
			return false;
		if (attr.nla_type == INET_DIAG_SKV6ONLY && attr.nla_len > sizeof(attr))
			return attrs[sizeof(attr)] != 0;
		size_t step = NLA_ALIGN(attr.nla_len);
		attrs += step < len ? step : len;
		len -= step < len ? step : len;
	}
	return false;
}

/* Whether a socket bound to @own keeps @wanted from being bound */
static bool is_conflict(const struct endpoint *own, bool v6only, const struct endpoint *wanted)
{
	size_t len = own->family == AF_INET ? sizeof(own->addr[0]) : sizeof(own->addr);

	if (own->port_be != wanted->port_be)
		return false;
	if (own->family == wanted->family)
		return is_wildcard(own->addr) || is_wildcard(wanted->addr) ||
		       !memcmp(own->addr, wanted->addr, len);
	/* one is IPv4: the other reaches into IPv4 as the dual-stack wildcard only */
	return own->family == AF_INET6 ? is_wildcard(own->addr) && !v6only
				       : is_wildcard(wanted->addr);
}

static int on_socket(const void *body, size_t len, void *context)
{
	struct holder *holder = context;
	struct inet_diag_msg found;
	struct endpoint own;
	int rank;

	if (len < sizeof(found))
		return -EPROTO;
	memcpy(&found, body, sizeof(found));
	own = endpoint_from(found.idiag_family, found.id.idiag_sport, found.id.idiag_src);
	bool v6only = is_v6only((const unsigned char *)body + sizeof(found), len - sizeof(found));
	if (!is_conflict(&own, v6only, &holder->wanted))
		return 0;
	switch (found.idiag_state) {
	case TCP_LISTEN:
		rank = 3;
		break;
	case TCP_CLOSE: /* a UDP socket */
	case BOUND_INACTIVE:
		rank = 2;
		break;
	default:
		rank = 1;
		break;
	}
	if (rank > holder->rank) {
		holder->rank = rank;
		holder->inode = found.idiag_inode;
		holder->uid = found.idiag_uid;
	}
	return 0;
}

static int find_holder(enum proto proto, struct holder *holder)
{
	_cleanup_fd_ int nl = diag_open();
	static const uint8_t families[] = {AF_INET, AF_INET6};

	if (nl < 0)
		return nl;
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		struct inet_diag_req_v2 request = {
			.sdiag_family = families[i],
			.sdiag_protocol = (uint8_t)addr_proto_number(proto),
			.idiag_states = ~(1u << TCP_TIME_WAIT),
		};
		struct netlink_msg msg;

		netlink_begin(&msg, SOCK_DIAG_BY_FAMILY, 0, &request, sizeof(request));
		int result = netlink_dump(nl, &msg, on_socket, holder);
		if (result < 0)
			return result;
	}
	return holder->rank ? 0 : -ENOENT;
}

/* Whether the process whose directory below /proc is @pid has the socket @inode open */
static bool has_socket(const char *pid, uint32_t inode)
{
	char path[64], wanted[32], target[32];
	struct dirent *entry;
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
	snprintf(wanted, sizeof(wanted), "socket:[%" PRIu32 "]", inode);
	DIR *dir = opendir(path);
	while (dir && !found && (entry = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);

		target[n < 0 ? 0 : n] = '\0';
		found = !strcmp(target, wanted);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* Name the first process that has the socket @inode open. 0, or -ENOENT when none can be seen. */
static int name_process(uint32_t inode, char *out, size_t cap_bytes)
{
	char path[64], name[64], safe[256];
	struct dirent *entry;
	int result = -ENOENT;

	DIR *dir = opendir("/proc");
	while (dir && result && (entry = readdir(dir))) {
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		if (!has_socket(entry->d_name, inode))
			continue;
		snprintf(path, sizeof(path), "/proc/%.16s/comm", entry->d_name);
		ssize_t n = fd_read_file(path, name, sizeof(name));
		while (n > 0 && name[n - 1] == '\n')
			n--;
		log_escape(name, n > 0 ? (size_t)n : 0, safe, sizeof(safe));
		snprintf(out, cap_bytes, "%s (pid %.16s)", n > 0 ? safe : "?", entry->d_name);
		result = 0;
	}
	if (dir)
		closedir(dir);
	return result;
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

int diag_port_holder(enum proto proto, const struct addr *addr, char *out, size_t cap_bytes)
{
	struct holder holder = {0};
	int result = endpoint_of(addr, &holder.wanted);

	if (cap_bytes)
		out[0] = '\0';
	if (result == 0)
		result = find_holder(proto, &holder);
	if (result < 0)
		return result;
	if (holder.inode && name_process(holder.inode, out, cap_bytes) == 0)
		return 0;
	name_user(holder.uid, out, cap_bytes);
	return 0;
}

static int on_unsent(const void *body, size_t len, void *context)
{
	(void)body, (void)len, (void)context;
	return 1;
}

int diag_has_unsent(int nl)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	int result = 0;

	for (size_t i = 0; result == 0 && i < sizeof(families) / sizeof(families[0]); i++) {
		struct inet_diag_req_v2 request = {
			.sdiag_family = families[i],
			.sdiag_protocol = IPPROTO_TCP,
			.idiag_states =
				1u << TCP_FIN_WAIT1 | 1u << TCP_CLOSING | 1u << TCP_LAST_ACK,
		};
		struct netlink_msg msg;

		netlink_begin(&msg, SOCK_DIAG_BY_FAMILY, 0, &request, sizeof(request));
		result = netlink_dump(nl, &msg, on_unsent, NULL);
	}
	return result;
}
