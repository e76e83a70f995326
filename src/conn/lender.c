/* SPDX-License-Identifier: Apache-2.0 */
/* conn/lender - sockets of the network we are in, and its names, for a program that is not in it */
#include "conn/lender.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/fd.h"

static void answer(int reply, struct lender_answer *words, int fd)
{
	words->version = LENDER_VERSION;
	/* who does not wait for his answer gets none */
	fd_send_one(reply, words, sizeof(*words), fd);
}

static void lend(int reply, const struct lender_request *request)
{
	struct lender_answer words = {.result = -EINVAL};
	_cleanup_fd_ int fd = -1;

	if ((request->family == AF_INET || request->family == AF_INET6) &&
		(request->type == SOCK_STREAM || request->type == SOCK_DGRAM)) {
		fd = socket(
			(int)request->family, (int)request->type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		words.result = fd < 0 ? -errno : 0;
	}
	answer(reply, &words, fd);
}

static bool add(struct lender_answer *words, const struct addrinfo *found)
{
	struct lender_addr *addr = &words->addrs[words->count];

	if (words->count == LENDER_ADDRS_MAX)
		return false;
	addr->family = (uint32_t)found->ai_family;
	if (found->ai_family == AF_INET)
		memcpy(addr->ip, &((struct sockaddr_in *)found->ai_addr)->sin_addr, 4);
	else if (found->ai_family == AF_INET6)
		memcpy(addr->ip, &((struct sockaddr_in6 *)found->ai_addr)->sin6_addr, 16);
	else
		return true;
	words->count++;
	return true;
}

static void look_up(int reply, const char *name)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
	struct lender_answer words = {.result = -ENXIO};
	struct addrinfo *found = NULL;

	if (getaddrinfo(name, NULL, &hints, &found) == 0) {
		for (struct addrinfo *each = found; each && add(&words, each); each = each->ai_next)
			;
		words.result = words.count > 0 ? 0 : -ENXIO;
		freeaddrinfo(found);
	}
	answer(reply, &words, -1);
}

static void resolve(int api, int reply, const struct lender_request *request)
{
	struct lender_answer words = {.result = -EINVAL};
	pid_t pid = -1;

	if (memchr(request->name, '\0', sizeof(request->name)) && request->name[0]) {
		pid = fork();
		words.result = -EAGAIN;
	}
	if (pid == 0) {
		close(api);
		look_up(reply, request->name);
		_exit(0);
	}
	if (pid < 0)
		answer(reply, &words, -1);
}

int lender_run(int api)
{
	struct lender_request request;

	signal(SIGCHLD, SIG_IGN); /* nobody waits for those of resolve() */
	for (;;) {
		_cleanup_fd_ int reply = -1;
		ssize_t got = fd_recv(api, &request, sizeof(request), &reply, 1, NULL);

		if (got == 0 || got == -ECONNRESET)
			return 0;
		if (got < 0 && got != -EINTR && got != -EMSGSIZE)
			return (int)got;
		if (got != sizeof(request) || reply < 0 || request.version != LENDER_VERSION)
			continue; /* his end of the answers is closed: that is one, too */
		if (request.op == LENDER_SOCKET)
			lend(reply, &request);
		else if (request.op == LENDER_RESOLVE)
			resolve(api, reply, &request);
	}
}
