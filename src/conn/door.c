/* SPDX-License-Identifier: Apache-2.0 */
/* conn/door - sockets of a namespace, handed out to a process that is not in it */
#include "conn/door.h"

#include <errno.h>
#include <sys/socket.h>

#include "conn/mint.h"
#include "util/fd.h"

static const struct {
	int family, type;
} kinds[DOOR_KINDS] = {
	[DOOR_TCP4] = {AF_INET, SOCK_STREAM},
	[DOOR_TCP6] = {AF_INET6, SOCK_STREAM},
	[DOOR_UDP4] = {AF_INET, SOCK_DGRAM},
	[DOOR_UDP6] = {AF_INET6, SOCK_DGRAM},
	[DOOR_TCP4_CLIENT] = {AF_INET, SOCK_STREAM},
	[DOOR_TCP6_CLIENT] = {AF_INET6, SOCK_STREAM},
};

enum door_kind door_kind_of(sa_family_t family, enum proto proto)
{
	enum door_kind kind = 0;

	while (kind < DOOR_KINDS &&
		(kinds[kind].family != family || kinds[kind].type != addr_proto_type(proto)))
		kind++;
	return kind;
}

int door_request(int door, enum door_kind kind, unsigned count)
{
	struct door_message request = {kind, count < DOOR_BATCH_MAX ? count : DOOR_BATCH_MAX};

	return fd_send_one(door, &request, sizeof(request), -1);
}

static void close_all(int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		fd_close(&fds[i]);
}

ssize_t door_receive(int door, enum door_kind *kind, int *fds)
{
	struct door_message answer;
	size_t count;
	ssize_t got = fd_recv(door, &answer, sizeof(answer), fds, DOOR_BATCH_MAX, &count);

	if (got < 0)
		return got;
	if (got == 0)
		return -EPIPE;
	if (got != sizeof(answer) || answer.kind >= DOOR_KINDS) {
		close_all(fds, count);
		return -EPROTO;
	}
	*kind = answer.kind;
	return (ssize_t)count;
}

/* Up to @count of @kind; returns their number. */
static unsigned make(enum door_kind kind, const struct door_mints *mints, int *fds, unsigned count)
{
	unsigned made = 0;

	if (kind == DOOR_TCP4_CLIENT || kind == DOOR_TCP6_CLIENT) {
		int mint = !mints ? -1 : kind == DOOR_TCP4_CLIENT ? mints->mint4 : mints->mint6;
		int result = mint < 0 || count == 0 ? 0 : mint_take(mint, fds, count);

		return result > 0 ? (unsigned)result : 0;
	}
	while (made < count) {
		fds[made] = socket(
			kinds[kind].family, kinds[kind].type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (fds[made] < 0)
			break;
		if (kinds[kind].type == SOCK_STREAM)
			fd_keep_in_line(fds[made]);
		made++;
	}
	return made;
}

int door_serve(int door, const struct door_mints *mints)
{
	struct door_message request;
	int fds[DOOR_BATCH_MAX];
	ssize_t got = fd_recv(door, &request, sizeof(request), NULL, 0, NULL);

	if (got == -EMSGSIZE)
		return 0; /* no honest request */
	if (got < 0)
		return (int)got;
	if (got == 0)
		return -EPIPE;
	if (got != sizeof(request) || request.kind >= DOOR_KINDS || request.count > DOOR_BATCH_MAX)
		return 0;
	const unsigned made = make(request.kind, mints, fds, request.count);
	request.count = made;
	ssize_t sent = fd_send(door, &request, sizeof(request), fds, made);
	close_all(fds, made);
	/* a client that does not read its answers gets none */
	return sent < 0 && sent != -EAGAIN ? (int)sent : 0;
}
