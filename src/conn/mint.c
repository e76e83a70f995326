/* SPDX-License-Identifier: Apache-2.0 */
/* conn/mint - sockets that may have an address which is not this host's, made without rights */
#include "conn/mint.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "util/addr.h"
#include "util/fd.h"

#define STRANGERS 16
#define WAIT_MS   20

int mint_open(int family, uint32_t mark)
{
	const bool is_four = family == AF_INET;
	const struct addr at = is_four ? addr_loopback4(0) : addr_of6(&in6addr_loopback, 0);
	_cleanup_fd_ int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1, off = 0;

	/* no port is taken before it listens */
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)) < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
		setsockopt(fd, is_four ? IPPROTO_IP : IPPROTO_IPV6,
			is_four ? IP_TRANSPARENT : IPV6_TRANSPARENT, &on, sizeof(on)) < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0 ||
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) < 0 ||
		bind(fd, &at.any, addr_len(&at)) < 0 ||
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &off, sizeof(off)) < 0)
		return -errno;
	return fd_take(&fd);
}

/* The one that comes from @own, or -errno. Over lo it is there when connect(2) is over. */
static int accept_own(int mint, const struct addr *own)
{
	struct pollfd pollfd = {mint, POLLIN, 0};

	for (int i = 0; i < STRANGERS; i++) {
		struct addr peer = {0};
		socklen_t len = sizeof(peer);
		_cleanup_fd_ int fd = accept4(mint, &peer.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0 && addr_equal(&peer, own))
			return fd_take(&fd);
		if (fd < 0 && errno == EAGAIN && poll(&pollfd, 1, WAIT_MS) <= 0)
			break;
	}
	return -EAGAIN;
}

/* Have @self connected to the mint, which listens at @at, and both disconnected again. */
static int strike(int mint, const struct addr *at, int self)
{
	struct addr own;
	int error;
	socklen_t len = sizeof(error);

	if (connect(self, &at->any, addr_len(at)) < 0 && errno != EINPROGRESS)
		return -errno;
	int result = addr_get_own(self, &own);
	_cleanup_fd_ int fd = result < 0 ? result : accept_own(mint, &own);
	if (fd < 0)
		return fd;
	result = fd_disconnect(fd);
	fd_disconnect(self);
	/* that it was reset is left as its error */
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	return result < 0 ? result : fd_take(&fd);
}

int mint_take(int mint, int *fds, unsigned count)
{
	struct addr at;
	unsigned made = 0;

	if (listen(mint, STRANGERS) < 0)
		return -errno;
	int result = addr_get_own(mint, &at);
	_cleanup_fd_ int self = socket(at.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (result == 0 && self < 0)
		result = -errno;
	while (result >= 0 && made < count) {
		result = strike(mint, &at, self);
		if (result >= 0)
			fds[made++] = result;
	}
	shutdown(mint, SHUT_RD); /* a listener's end: its port is free again */
	return made > 0 ? (int)made : result;
}
