/* SPDX-License-Identifier: Apache-2.0 */
/* lib/network - exits and entrances: helpers at an end of a link, and sockets of the other side */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn/lender.h"
#include "fault.h"
#include "helper.h"

#define START_MS 30000
#define STOP_MS  5000

/*
 * How it works
 *
 * An entrance is a sandbox whose network is beyond the link (nswrap --via), and in which runs
 * `nswrap sockets` (conn/lender): it makes sockets of that network on request and hands them out.
 * To connect and bind them is ours. Each request brings the socket for its answer, so threads need
 * no turns. Names are resolved in there, by the exit's resolver.
 *
 * The helper has copies of the link; ours of its reading side is only looked at, for its end.
 */
struct nswrap_exit {
	struct nsw_helper helper;
	bool has_ended;          /* and it is known how: */
	struct nswrap_error end; /* no text: as it should */
};

struct nswrap_entrance {
	struct nsw_helper helper;
	int api_fd;
	int link_fd;
};

static void close_link(int in_fd, int out_fd)
{
	if (in_fd >= 0)
		close(in_fd);
	if (out_fd >= 0 && out_fd != in_fd)
		close(out_fd);
}

static int check_link(int in_fd, int out_fd, struct nswrap_error *error)
{
	if (in_fd >= 0 && out_fd >= 0 && fcntl(in_fd, F_GETFD) >= 0 && fcntl(out_fd, F_GETFD) >= 0)
		return 0;
	return nsw_fault(error, EBADF, "descriptors %d and %d are no link: expected open ones",
		in_fd, out_fd);
}

/* --- exits -------------------------------------------------------------------------------- */

/* Returns 0 when it has said so on @ready_fd. */
static int await_exit(struct nswrap_exit *exit, int ready_fd, struct nswrap_error *error)
{
	struct pollfd readable = {ready_fd, POLLIN, 0};
	int64_t deadline = nsw_deadline(START_MS);
	int ready;
	char byte;

	do
		ready = poll(&readable, 1, nsw_left_ms(deadline));
	while (ready < 0 && errno == EINTR);
	if (ready == 0)
		return nsw_fault(error, ETIMEDOUT, "nswrap exit is not ready in time");
	return read(ready_fd, &byte, 1) == 1
		       ? 0
		       : nsw_helper_fault(&exit->helper, ECHILD,
				 "nswrap exit has ended before it was ready", error);
}

static int start_exit(struct nswrap_exit *exit, int in_fd, int out_fd, const char **argv,
	struct nswrap_error *error)
{
	int ready[2];

	if (pipe2(ready, O_CLOEXEC) < 0)
		return nsw_fault_sys(error, errno, "cannot make a pipe");
	const struct nsw_start how = {.argv = argv,
		.fds = {in_fd, out_fd, -1, ready[1]},
		.nfds = 4,
		.words_at = STDERR_FILENO,
		.is_apart = true};
	int result = nsw_helper_start(&exit->helper, &how, error);
	close(ready[1]);
	if (result == 0)
		result = await_exit(exit, ready[0], error);
	close(ready[0]);
	return result;
}

struct nswrap_exit *nswrap_exit_start(
	int in_fd, int out_fd, const char *const *expose, struct nswrap_error *error)
{
	static const char *const ours[] = {"exit", "-q", "--ready-fd", "3"};
	struct nswrap_exit *exit = calloc(1, sizeof(*exit));
	size_t count = 0, at = sizeof(ours) / sizeof(ours[0]);

	nsw_fault_none(error);
	while (expose && expose[count])
		count++;
	const char **argv = calloc(at + 2 * count + 1, sizeof(*argv));
	int result = check_link(in_fd, out_fd, error);

	if (result == 0 && (!exit || !argv))
		result = nsw_fault_sys(error, ENOMEM, "cannot start an exit");
	if (result == 0) {
		memcpy(argv, ours, sizeof(ours));
		for (size_t i = 0; i < count; i++) {
			argv[at++] = "--expose";
			argv[at++] = expose[i];
		}
		exit->helper = (struct nsw_helper){.pidfd = -1, .words_fd = -1};
		result = start_exit(exit, in_fd, out_fd, argv, error);
		if (result < 0)
			nsw_helper_stop(&exit->helper, SIGTERM, STOP_MS);
	}
	close_link(in_fd, out_fd);
	free(argv);
	if (result == 0)
		return exit;
	free(exit);
	return NULL;
}

int nswrap_exit_wait(struct nswrap_exit *exit, int timeout_ms, struct nswrap_error *error)
{
	int64_t deadline = nsw_deadline(timeout_ms);
	int ready;

	nsw_fault_none(error);
	if (!exit)
		return nsw_fault(error, EINVAL, "no exit");
	struct pollfd end = {exit->helper.pidfd, POLLIN, 0};
	do
		ready = poll(&end, 1, nsw_left_ms(deadline));
	while (ready < 0 && errno == EINTR);
	if (ready == 0)
		return nsw_fault(error, ETIMEDOUT, "the exit has not ended in time");
	/* what it said can be read once */
	if (!exit->has_ended)
		nsw_helper_fault(&exit->helper, EPIPE, "", &exit->end);
	exit->has_ended = true;
	if (!exit->end.text[0])
		return 0;
	if (error)
		*error = exit->end;
	return -EPIPE;
}

void nswrap_exit_stop(struct nswrap_exit *exit)
{
	if (!exit)
		return;
	nsw_helper_stop(&exit->helper, SIGTERM, STOP_MS);
	free(exit);
}

/* --- what an entrance is asked ------------------------------------------------------------ */

/* It has ended? Then says why, and returns -EPIPE. */
static int check_life(const struct nswrap_entrance *entrance, struct nswrap_error *error)
{
	struct pollfd link = {entrance->link_fd, POLLRDHUP, 0};

	if (nsw_helper_is_gone(&entrance->helper))
		return nsw_helper_fault(&entrance->helper, EPIPE,
			"the entrance has ended: its helper was killed", error);
	if (poll(&link, 1, 0) > 0 && link.revents & (POLLRDHUP | POLLHUP | POLLERR))
		return nsw_fault(error, EPIPE, "the link of the entrance has ended");
	return 0;
}

/* Wait until @fd has one of @events, the entrance ends or time is over. Returns 0 or -errno. */
static int await(const struct nswrap_entrance *entrance, int fd, short events, int64_t deadline,
	const char *what, struct nswrap_error *error)
{
	for (;;) {
		struct pollfd fds[] = {{fd, events, 0}, {entrance->helper.pidfd, POLLIN, 0},
			{entrance->link_fd, POLLRDHUP, 0}};
		int ready = poll(fds, 3, nsw_left_ms(deadline));
		if (ready < 0 && errno != EINTR)
			return nsw_fault_sys(error, errno, what);
		if (ready > 0 && fds[0].revents)
			return 0;
		if (ready > 0 && (fds[1].revents || fds[2].revents))
			return check_life(entrance, error) < 0
				       ? -EPIPE
				       : nsw_fault(
						 error, EPIPE, "%s: the entrance has ended", what);
		if (ready == 0)
			return nsw_fault(error, ETIMEDOUT, "%s: not in time", what);
	}
}

/* Returns 0 or -errno. The lender may be stopped with a queue that is full. */
static int send_request(const struct nswrap_entrance *entrance,
	const struct lender_request *request, int reply_fd, int64_t deadline, const char *what,
	struct nswrap_error *error)
{
	struct iovec iov = {(void *)request, sizeof(*request)};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {{0}};
	struct msghdr message = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes)};

	control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)),
		.cmsg_level = SOL_SOCKET,
		.cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(&control.header), &reply_fd, sizeof(reply_fd));
	while (sendmsg(entrance->api_fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		int code = errno, result = 0;
		if (code == EAGAIN)
			result = await(entrance, entrance->api_fd, POLLOUT, deadline, what, error);
		else if (code != EINTR)
			result = check_life(entrance, error) < 0 ? -EPIPE
								 : nsw_fault_sys(error, code, what);
		if (result < 0)
			return result;
	}
	return 0;
}

/* Returns 0 with *@answer, and *@fd if there is one; or -errno. */
static int take_answer(int reply_fd, struct lender_answer *answer, int *fd)
{
	ssize_t got = nsw_receive(reply_fd, answer, sizeof(*answer), fd);

	if (got < 0)
		return (int)got;
	if (got == sizeof(*answer) && answer->version == LENDER_VERSION &&
		answer->count <= LENDER_ADDRS_MAX)
		return 0;
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	return got == 0 ? -EPIPE : -EPROTO;
}

/* Ask the lender. Returns 0 with @answer and *@fd (-1: none came along), or -errno. */
static int ask(const struct nswrap_entrance *entrance, const struct lender_request *request,
	int64_t deadline, struct lender_answer *answer, int *fd, struct nswrap_error *error)
{
	static const char what[] = "cannot ask the entrance";
	int ends[2];

	*fd = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return nsw_fault_sys(error, errno, what);
	int result = send_request(entrance, request, ends[1], deadline, what, error);
	close(ends[1]);
	if (result == 0)
		result = await(entrance, ends[0], POLLIN, deadline, what, error);
	if (result == 0) {
		result = take_answer(ends[0], answer, fd);
		if (result == -EPIPE)
			result = nsw_helper_fault(
				&entrance->helper, EPIPE, "the entrance has ended", error);
		else if (result < 0)
			nsw_fault_sys(error, -result, what);
	}
	close(ends[0]);
	return result;
}

/* --- entrances ---------------------------------------------------------------------------- */

static const struct lender_request plain = {
	.version = LENDER_VERSION, .op = LENDER_SOCKET, .family = AF_INET, .type = SOCK_STREAM};

static int start_entrance(struct nswrap_entrance *entrance, int in_fd, int out_fd, int api_fd,
	struct nswrap_error *error)
{
	char path[PATH_MAX];
	int result = nsw_helper_find(path, error), fd;
	const char *const argv[] = {"run", "--no-config", "-q", "--via", "fd:3,4", "--dns-via",
		"--keep-fd", "5", "-t", "1", "-C", "/", "--", path, "sockets", "--api-fd", "5",
		NULL};
	const struct nsw_start how = {.argv = argv,
		.fds = {-1, -1, -1, in_fd, out_fd, api_fd},
		.nfds = 6,
		.words_at = STDERR_FILENO,
		.is_apart = true};
	struct lender_answer answer = {0};

	if (result == 0)
		result = nsw_helper_start(&entrance->helper, &how, error);
	close(api_fd);
	if (result < 0)
		return result;
	result = ask(entrance, &plain, nsw_deadline(START_MS), &answer, &fd, error);
	if (fd >= 0)
		close(fd);
	if (result == -EPIPE && error)
		error->code = ECHILD;
	return result;
}

struct nswrap_entrance *nswrap_entrance_start(int in_fd, int out_fd, struct nswrap_error *error)
{
	struct nswrap_entrance *entrance = calloc(1, sizeof(*entrance));
	int api[2];

	nsw_fault_none(error);
	int result = check_link(in_fd, out_fd, error);
	if (result == 0 && !entrance)
		result = nsw_fault_sys(error, ENOMEM, "cannot start an entrance");
	if (result == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, api) < 0)
		result = nsw_fault_sys(error, errno, "cannot make a socket");
	if (result < 0) {
		close_link(in_fd, out_fd);
		free(entrance);
		return NULL;
	}
	*entrance = (struct nswrap_entrance){{.pidfd = -1, .words_fd = -1}, api[0], in_fd};
	result = start_entrance(entrance, in_fd, out_fd, api[1], error);
	if (out_fd != in_fd)
		close(out_fd);
	if (result == 0)
		return entrance;
	nswrap_entrance_stop(entrance);
	return NULL;
}

void nswrap_entrance_stop(struct nswrap_entrance *entrance)
{
	if (!entrance)
		return;
	close(entrance->api_fd);
	close(entrance->link_fd);
	nsw_helper_stop(&entrance->helper, SIGTERM, STOP_MS);
	free(entrance);
}

/* --- sockets ------------------------------------------------------------------------------ */

static int type_of(const char *protocol, struct nswrap_error *error)
{
	if (protocol && strcmp(protocol, "tcp") == 0)
		return SOCK_STREAM;
	if (protocol && strcmp(protocol, "udp") == 0)
		return SOCK_DGRAM;
	return nsw_fault(error, EINVAL, "%.40s is no protocol: expected tcp or udp",
		protocol ? protocol : "NULL");
}

/* An address in @answer, as if it had been asked for. Returns false for a name. */
static bool read_address(const char *host, struct lender_answer *answer)
{
	struct lender_addr *addr = &answer->addrs[0];

	addr->family = AF_INET;
	answer->count = 1;
	if (inet_pton(AF_INET, host, addr->ip) == 1)
		return true;
	addr->family = AF_INET6;
	answer->count = inet_pton(AF_INET6, host, addr->ip) == 1;
	return answer->count == 1;
}

static int resolve(const struct nswrap_entrance *entrance, const char *host, int64_t deadline,
	struct lender_answer *answer, struct nswrap_error *error)
{
	struct lender_request request = {.version = LENDER_VERSION, .op = LENDER_RESOLVE};
	int fd;

	*answer = (struct lender_answer){.version = LENDER_VERSION};
	if (read_address(host, answer))
		return 0;
	if (!*host || strlen(host) >= sizeof(request.name))
		return nsw_fault(error, EINVAL, "%.300s is no host: expected a name or an address",
			*host ? host : "\"\"");
	strcpy(request.name, host);
	int result = ask(entrance, &request, deadline, answer, &fd, error);
	if (fd >= 0)
		close(fd);
	if (result < 0)
		return result;
	return answer->result < 0 || answer->count == 0
		       ? nsw_fault(error, ENXIO, "%.300s: the exit's resolver knows no such name",
				 host)
		       : 0;
}

static int borrow(const struct nswrap_entrance *entrance, int family, int type, int64_t deadline,
	struct nswrap_error *error)
{
	struct lender_request request = plain;
	struct lender_answer answer = {0};
	int fd;

	request.family = (uint32_t)family;
	request.type = (uint32_t)type;
	int result = ask(entrance, &request, deadline, &answer, &fd, error);
	if (result == 0 && fd < 0)
		result = nsw_fault_sys(error, answer.result < 0 ? -answer.result : EMFILE,
			"the entrance has no socket");
	return result < 0 ? result : fd;
}

static socklen_t make_sockaddr(
	const struct lender_addr *addr, int port, struct sockaddr_storage *out)
{
	struct sockaddr_in *in = (struct sockaddr_in *)out;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	out->ss_family = (sa_family_t)addr->family;
	if (addr->family == AF_INET) {
		in->sin_port = htons((uint16_t)port);
		memcpy(&in->sin_addr, addr->ip, sizeof(in->sin_addr));
		return sizeof(*in);
	}
	in6->sin6_port = htons((uint16_t)port);
	memcpy(&in6->sin6_addr, addr->ip, sizeof(in6->sin6_addr));
	return sizeof(*in6);
}

static void set_flags(int fd, int flags)
{
	int old = fcntl(fd, F_GETFL);

	fcntl(fd, F_SETFL, flags & NSWRAP_NONBLOCK ? old | O_NONBLOCK : old & ~O_NONBLOCK);
}

static int connect_to(const struct nswrap_entrance *entrance, int fd,
	const struct lender_addr *addr, int port, int64_t deadline, struct nswrap_error *error)
{
	char text[INET6_ADDRSTRLEN] = "", what[INET6_ADDRSTRLEN + 40];
	struct sockaddr_storage to;
	socklen_t len = make_sockaddr(addr, port, &to), size = sizeof(int);
	int code = 0;

	inet_ntop((int)addr->family, addr->ip, text, sizeof(text));
	snprintf(what, sizeof(what), "cannot connect to %s port %d", text, port);
	set_flags(fd, NSWRAP_NONBLOCK);
	if (connect(fd, (struct sockaddr *)&to, len) < 0 && errno != EINPROGRESS)
		return nsw_fault_sys(error, errno, what);
	int result = await(entrance, fd, POLLOUT, deadline, what, error);
	if (result < 0)
		return result;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size) < 0)
		code = errno;
	return code ? nsw_fault_sys(error, code, what) : 0;
}

static int check_call(const struct nswrap_entrance *entrance, int port, int least, int flags,
	struct nswrap_error *error)
{
	nsw_fault_none(error);
	if (!entrance)
		return nsw_fault(error, EINVAL, "no entrance");
	if (port < least || port > 65535)
		return nsw_fault(error, EINVAL, "%d is no port: expected %d to 65535", port, least);
	if (flags & ~NSWRAP_NONBLOCK)
		return nsw_fault(error, EINVAL, "%#x: unknown flags", (unsigned)flags);
	return check_life(entrance, error);
}

int nswrap_dial(struct nswrap_entrance *entrance, const char *protocol, const char *host, int port,
	int timeout_ms, int flags, struct nswrap_error *error)
{
	int64_t deadline = nsw_deadline(timeout_ms);
	struct lender_answer at;
	int result = check_call(entrance, port, 1, flags, error);
	int type = result < 0 ? result : type_of(protocol, error);

	if (type < 0)
		return type;
	result = host ? resolve(entrance, host, deadline, &at, error)
		      : nsw_fault(error, EINVAL, "a host is missing");
	if (result < 0)
		return result;
	for (uint32_t i = 0; i < at.count; i++) {
		int fd = borrow(entrance, (int)at.addrs[i].family, type, deadline, error);
		if (fd < 0)
			return fd;
		result = connect_to(entrance, fd, &at.addrs[i], port, deadline, error);
		if (result == 0) {
			set_flags(fd, flags);
			nsw_fault_none(error);
			return fd;
		}
		close(fd);
		if (result == -EPIPE || (deadline >= 0 && nsw_left_ms(deadline) == 0))
			break;
	}
	return result;
}

int nswrap_listen(struct nswrap_entrance *entrance, const char *protocol, const char *host,
	int port, int flags, struct nswrap_error *error)
{
	struct lender_answer at = {.count = 0};
	struct sockaddr_storage addr;
	int result = check_call(entrance, port, 0, flags, error), on = 1;
	int type = result < 0 ? result : type_of(protocol, error);

	if (type < 0)
		return type;
	if (!read_address(host ? host : "0.0.0.0", &at))
		return nsw_fault(error, EINVAL, "%.300s is no address", host);
	int fd = borrow(entrance, (int)at.addrs[0].family, type, nsw_deadline(START_MS), error);
	if (fd < 0)
		return fd;
	socklen_t len = make_sockaddr(&at.addrs[0], port, &addr);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, type == SOCK_STREAM ? sizeof(on) : 0);
	if (bind(fd, (struct sockaddr *)&addr, len) < 0 ||
		(type == SOCK_STREAM && listen(fd, SOMAXCONN) < 0)) {
		result = nsw_fault_sys(error, errno, "cannot listen");
		close(fd);
		return result;
	}
	set_flags(fd, flags);
	return fd;
}
