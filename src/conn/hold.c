/* SPDX-License-Identifier: Apache-2.0 */
/* conn/hold - a TCP port of this host's loopback that nobody else shall listen at */
#include "conn/hold.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>

#include "util/fd.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

void hold_init(struct hold *hold)
{
	for (size_t i = 0; i < COUNT(hold->fds); i++)
		hold->fds[i] = -1;
}

void hold_release(struct hold *hold)
{
	for (size_t i = 0; i < COUNT(hold->fds); i++)
		fd_close(&hold->fds[i]);
}

/* As bind(2) with or without SO_REUSEADDR, which is off afterwards. */
static int bind_with(int fd, const struct addr *addr, int reuses)
{
	int off = 0;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuses, sizeof(reuses)) < 0)
		return -errno;
	int result = bind(fd, &addr->any, addr_len(addr)) < 0 ? -errno : 0;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &off, sizeof(off)) < 0)
		return -errno;
	return result;
}

/* Returns a socket or -errno. */
static int hold_address(const struct addr *addr)
{
	_cleanup_fd_ int fd = socket(addr->family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0)
		return -errno;
	int result = bind_with(fd, addr, 0);
	if (result == -EADDRINUSE)
		result = bind_with(fd, addr, 1);
	return result < 0 ? result : fd_take(&fd);
}

int hold_port(struct hold *hold, uint16_t port,
	bool (*is_ours)(const void *owner, const struct addr *addr), const void *owner,
	struct addr *taken)
{
	const struct addr addrs[] = {
		addr_loopback4(port),
		addr_of6(&in6addr_loopback, port),
		addr_of4((struct in_addr){htonl(INADDR_LOOPBACK + 0x100)}, port),
	};
	int result = 0;

	_Static_assert(COUNT(addrs) == COUNT(hold->fds), "a descriptor for each");
	for (size_t i = 0; i < COUNT(addrs); i++) {
		if (hold->fds[i] >= 0 || is_ours(owner, &addrs[i]))
			continue;
		hold->fds[i] = hold_address(&addrs[i]);
		if (hold->fds[i] == -EADDRINUSE && result == 0) {
			*taken = addrs[i];
			result = -EADDRINUSE;
		}
		if (hold->fds[i] < 0)
			hold->fds[i] = -1;
	}
	return result;
}
