/* SPDX-License-Identifier: Apache-2.0 */
/* proc/streams - what a command that is started has for stdin, stdout and stderr */
#include "proc/streams.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/fd.h"

/*
 * Sockets move more bytes in less time than pipes do (docs/design.md). But a shell takes a socket
 * for rshd's and reads ~/.bashrc, which may print, and nobody can open /dev/stdin then.
 */
static bool may_have_sockets(const char *name)
{
	const char *slash = strrchr(name, '/');

	return strcmp(slash ? slash + 1 : name, "nswrap") == 0;
}

int streams_open(struct streams *streams, const char *program, struct err *err)
{
	bool has_sockets = may_have_sockets(program);
	int result = 0;

	memset(streams->pairs, -1, sizeof(streams->pairs));
	for (size_t i = 0; result == 0 && i < STREAMS_COUNT; i++)
		result = has_sockets && i != STREAMS_STDERR
				 ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
					   streams->pairs[i])
				 : pipe2(streams->pairs[i], O_CLOEXEC);
	if (result == 0)
		return 0;
	result = err_sys(err, errno, "cannot make pipes for a command");
	streams_close(streams);
	return result;
}

void streams_close(struct streams *streams)
{
	for (size_t i = 0; i < STREAMS_COUNT; i++) {
		fd_close(&streams->pairs[i][0]);
		fd_close(&streams->pairs[i][1]);
	}
}
