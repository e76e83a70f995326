/* SPDX-License-Identifier: Apache-2.0 */
/* conn/bind - sockets bound to an address or a path, and why one could not be */
#include "conn/bind.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "net/diag.h"
#include "util/fd.h"
#include "util/parse.h"

#define BACKLOG      4096 /* net.core.somaxconn cuts it */
#define HOLDER_BYTES 128

static int explain_port(const struct addr *addr, enum proto proto, int code, struct err *err)
{
	char host[INET6_ADDRSTRLEN], holder[HOLDER_BYTES];
	const char *what = proto == PROTO_UDP ? "UDP port" : "port";
	unsigned port = addr_port(addr);

	addr_format_ip(addr, host, sizeof(host));
	switch (code) {
	case EADDRINUSE:
		if (port == 0)
			return err_set(err, code, "no %s of %s is free", what, host);
		if (diag_port_holder(proto, addr, holder, sizeof(holder)) < 0)
			snprintf(holder, sizeof(holder), "another program");
		return err_set(err, code, "%s %u of %s is in use by %s", what, port, host, holder);
	case EACCES:
		return err_set(err, code,
			"%s %u of %s is kept for the administrator: use a port from 1024 up, or "
			"have net.ipv4.ip_unprivileged_port_start lowered",
			what, port, host);
	case EADDRNOTAVAIL:
		return err_set(err, code, "%s is no address of this host", host);
	case EAFNOSUPPORT:
		return err_set(err, code, "cannot listen at %s: this host has no IPv%d", host,
			addr->family == AF_INET ? 4 : 6);
	default:
		return err_sys(err, code, "cannot listen at %s %u of %s", what, port, host);
	}
}

int bind_socket(int fd, const struct addr *addr, enum proto proto)
{
	int on = 1;

	if (proto == PROTO_TCP && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -errno;
	if (addr->family == AF_INET6 &&
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
		return -errno;
	if (bind(fd, &addr->any, addr_len(addr)) < 0)
		return -errno;
	if (proto != PROTO_TCP)
		return 0;
	fd_keep_alive(fd);
	return listen(fd, BACKLOG) < 0 ? -errno : 0;
}

/*
 * The port is in use. If nobody listens there it may be a sandbox of the same user that holds it
 * (conn/hold): listen beside that. SO_REUSEPORT does not stay, or a second listener could join.
 */
static int bind_beside_hold(int fd, const struct addr *addr)
{
	int on = 1, off = 0;

	if (diag_has_listener(PROTO_TCP, addr))
		return -EADDRINUSE;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0)
		return -errno;
	int result = bind_socket(fd, addr, PROTO_TCP);
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &off, sizeof(off)) < 0)
		return -errno;
	return result;
}

bool bind_is_broadcast(const struct addr *addr)
{
	_cleanup_fd_ int sock = socket(addr->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	/* connecting sends nothing, and that is what SO_BROADCAST is for */
	return sock >= 0 && connect(sock, &addr->any, addr_len(addr)) < 0 && errno == EACCES;
}

static int bind_port(struct addr *addr, enum proto proto, struct bound *out)
{
	_cleanup_fd_ int fd =
		socket(addr->family, addr_proto_type(proto) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int result = fd < 0 ? -errno : bind_socket(fd, addr, proto);
	struct addr own;

	if (result == 0 && proto == PROTO_TCP && bind_is_broadcast(addr))
		result = -EADDRNOTAVAIL;
	if (result == -EADDRINUSE && proto == PROTO_TCP && addr_port(addr) != 0)
		result = bind_beside_hold(fd, addr);
	if (result == 0)
		result = addr_get_own(fd, &own);
	if (result < 0)
		return result;
	*addr = own;
	out->fd = fd_take(&fd);
	return 0;
}

static int explain_path(const char *path, int code, struct err *err)
{
	char shown[PARSE_QUOTE_BYTES];

	parse_quote(path, shown, sizeof(shown));
	switch (code) {
	case EADDRINUSE:
		return err_set(err, code, "%s is in use by another program", shown);
	case EEXIST:
		return err_set(err, code,
			"%s exists and is no socket: remove it or choose another path", shown);
	case EINVAL:
		return err_set(err, code, "%s names no file: expected the path of a socket", shown);
	default:
		return err_sys(err, code, "cannot listen at %s", shown);
	}
}

/* Open the directory of @path; *@name points at the last component. Returns a fd or -errno. */
static int open_directory(const char *path, const char **name, struct err *err)
{
	char dir[ADDR_PATH_MAX + 1], shown[PARSE_QUOTE_BYTES];
	const char *slash = strrchr(path, '/');

	*name = slash ? slash + 1 : path;
	snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path) : 0, path);
	const char *opened = dir[0] != '\0' ? dir : slash ? "/" : ".";
	int fd = open(opened, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	parse_quote(opened, shown, sizeof(shown));
	if (errno == ENOENT || errno == ENOTDIR)
		return err_set(err, errno,
			"cannot listen at %s: there is no directory of that name, make it first",
			shown);
	return err_sys(err, errno, "cannot open the directory %s for a socket", shown);
}

static int bind_path(const char *path, struct bound *out, struct err *err)
{
	const char *name;
	_cleanup_fd_ int dir_fd = open_directory(path, &name, err);

	if (dir_fd < 0)
		return dir_fd;
	int fd = unixsock_listen(dir_fd, name, SOCK_STREAM, &out->id);
	if (fd < 0)
		return explain_path(path, -fd, err);
	out->fd = fd;
	out->dir_fd = fd_take(&dir_fd);
	return 0;
}

int bind_try(struct addr *addr, enum proto proto, struct bound *out)
{
	struct err err;

	*out = (struct bound){.fd = -1, .dir_fd = -1};
	if (addr->family != AF_UNIX)
		return bind_port(addr, proto, out);
	return bind_path(addr->local.sun_path, out, &err);
}

int bind_open(struct addr *addr, enum proto proto, struct bound *out, struct err *err)
{
	*out = (struct bound){.fd = -1, .dir_fd = -1};
	if (addr->family == AF_UNIX)
		return bind_path(addr->local.sun_path, out, err);
	int result = bind_port(addr, proto, out);
	return result < 0 ? explain_port(addr, proto, -result, err) : 0;
}

void bind_close(struct bound *bound)
{
	if (bound->dir_fd >= 0)
		unixsock_remove(bound->dir_fd, &bound->id);
	fd_close(&bound->fd);
	fd_close(&bound->dir_fd);
}
