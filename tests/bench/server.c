/* SPDX-License-Identifier: Apache-2.0 */
/* bench/server - answers as fast as it can: HTTP for a client that sends 'G', else an echo */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "util/addr.h"
#include "util/parse.h"

#define EVENTS_MAX 64
#define BACKLOG    4096

static const char answer[] = "HTTP/1.1 200 OK\r\n"
			     "Content-Length: 3\r\n"
			     "Connection: close\r\n"
			     "\r\n"
			     "ok\n";

static int watch(int epoll_fd, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static void on_client(int epoll_fd, int listen_fd)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int on = 1;

	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (watch(epoll_fd, fd) < 0)
		close(fd);
}

/* The requests are smaller than any socket buffer: what cannot be written at once is an error. */
static void on_request(int fd)
{
	char request[4096];
	ssize_t len = read(fd, request, sizeof(request));

	if (len < 0 && errno == EAGAIN)
		return;
	if (len <= 0 || request[0] == 'G') {
		if (len > 0 && write(fd, answer, sizeof(answer) - 1) < 0)
			perror("write");
		close(fd);
		return;
	}
	if (write(fd, request, (size_t)len) != len)
		close(fd);
}

static int listen_at(const char *address, const char *port_text, struct err *err)
{
	struct addr addr;
	uint16_t port;
	int on = 1;

	if (addr_parse(address, &addr, err) < 0 || parse_port(port_text, false, &port, err) < 0)
		return -EINVAL;
	addr_set_port(&addr, port);
	int fd = socket(addr.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, &addr.any, addr_len(&addr)) < 0 || listen(fd, BACKLOG) < 0) {
		close(fd);
		return -errno;
	}
	return fd;
}

/* bench_server ADDRESS PORT: prints the time (CLOCK_MONOTONIC, seconds) at which it listens. */
int main(int argc, char **argv)
{
	struct err err = {0};
	struct epoll_event events[EVENTS_MAX];
	struct timespec now;

	int listen_fd = argc == 3 ? listen_at(argv[1], argv[2], &err) : -EINVAL;
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (listen_fd < 0 || epoll_fd < 0 || watch(epoll_fd, listen_fd) < 0) {
		fprintf(stderr, "server ADDRESS PORT: %s\n", strerror(-listen_fd));
		return 1;
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	printf("%lld.%09ld\n", (long long)now.tv_sec, now.tv_nsec);
	fflush(stdout);
	for (;;) {
		int n = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);
		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == listen_fd)
				on_client(epoll_fd, listen_fd);
			else
				on_request(events[i].data.fd);
		}
	}
}
