/* SPDX-License-Identifier: Apache-2.0 */
/* forward/listen - what is bound on the host for a forward, before anything starts */
#include "forward/listen.h"

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

static int explain_port(const struct forward_spec *spec, int code, struct err *err)
{
	struct sockaddr_storage addr;
	char host[INET6_ADDRSTRLEN], holder[HOLDER_BYTES];
	bool is_udp = spec->proto == FORWARD_UDP;
	const char *port = is_udp ? "UDP port" : "port";

	inet_ntop(spec->host.family, &spec->host.v4, host, sizeof(host));
	forward_addr_to_sockaddr(&spec->host, spec->host_port, &addr);
	switch (code) {
	case EADDRINUSE:
		if (spec->host_port == 0)
			return err_set(err, code, "no %s of %s is free", port, host);
		if (diag_port_holder(is_udp ? IPPROTO_UDP : IPPROTO_TCP, (struct sockaddr *)&addr,
			    holder, sizeof(holder)) < 0)
			snprintf(holder, sizeof(holder), "another program");
		return err_set(err, code, "%s %u of %s is in use by %s", port, spec->host_port,
			host, holder);
	case EACCES:
		return err_set(err, code,
			"%s %u of %s is kept for the administrator: use a port from 1024 up, or "
			"have net.ipv4.ip_unprivileged_port_start lowered",
			port, spec->host_port, host);
	case EADDRNOTAVAIL:
		return err_set(err, code, "%s is no address of this host", host);
	case EAFNOSUPPORT:
		return err_set(err, code, "cannot listen at %s: this host has no IPv%d", host,
			spec->host.family == AF_INET ? 4 : 6);
	default:
		return err_sys(
			err, code, "cannot listen at %s %u of %s", port, spec->host_port, host);
	}
}

/* A bound socket. SO_REUSEADDR is for TCP: UDP sockets that have it share their port. */
static int bind_port(const struct forward_spec *spec)
{
	struct sockaddr_storage addr;
	socklen_t len = forward_addr_to_sockaddr(&spec->host, spec->host_port, &addr);
	bool is_tcp = spec->proto == FORWARD_TCP;
	int type = is_tcp ? SOCK_STREAM : SOCK_DGRAM, on = 1;
	_cleanup_fd_ int fd = socket(spec->host.family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (is_tcp && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -errno;
	if (spec->host.family == AF_INET6 &&
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&addr, len) < 0)
		return -errno;
	return fd_take(&fd);
}

/* Returns the port of @fd in host order, or -errno. */
static int bound_port(int fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} addr = {0};
	socklen_t len = sizeof(addr);

	if (getsockname(fd, &addr.any, &len) < 0)
		return -errno;
	return ntohs(addr.any.sa_family == AF_INET ? addr.v4.sin_port : addr.v6.sin6_port);
}

static int listen_port(
	struct forward_spec *spec, bool reserve_only, struct forward_listener *out, struct err *err)
{
	_cleanup_fd_ int fd = bind_port(spec);

	if (fd < 0)
		return explain_port(spec, -fd, err);
	if (!reserve_only && spec->proto == FORWARD_TCP && listen(fd, BACKLOG) < 0)
		return explain_port(spec, errno, err);
	int port = bound_port(fd);
	if (port < 0)
		return explain_port(spec, -port, err);
	spec->host_port = (uint16_t)port;
	if (spec->guest_port == 0)
		spec->guest_port = spec->host_port;
	if (!reserve_only || spec->proto == FORWARD_TCP)
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
	char dir[sizeof(((struct forward_addr *)NULL)->path)], shown[PARSE_QUOTE_BYTES];
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

static int listen_path(
	const struct forward_spec *spec, struct forward_listener *out, struct err *err)
{
	const char *name;
	_cleanup_fd_ int dir_fd = open_directory(spec->host.path, &name, err);

	if (dir_fd < 0)
		return dir_fd;
	int fd = unixsock_listen(dir_fd, name, SOCK_STREAM, &out->id);
	if (fd < 0)
		return explain_path(spec->host.path, -fd, err);
	out->fd = fd;
	out->dir_fd = fd_take(&dir_fd);
	return 0;
}

int forward_listen(
	struct forward_spec *spec, bool reserve_only, struct forward_listener *out, struct err *err)
{
	*out = (struct forward_listener){.fd = -1, .dir_fd = -1};
	if (spec->host.family != AF_UNIX)
		return listen_port(spec, reserve_only, out, err);
	if (reserve_only)
		return err_set(err, EINVAL, "libslirp does not serve unix sockets");
	return listen_path(spec, out, err);
}

void forward_listener_close(struct forward_listener *listener)
{
	if (listener->dir_fd >= 0)
		unixsock_remove(listener->dir_fd, &listener->id);
	fd_close(&listener->fd);
	fd_close(&listener->dir_fd);
}
