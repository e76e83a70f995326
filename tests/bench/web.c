/* SPDX-License-Identifier: Apache-2.0 */
/* bench/web - a server that keeps connections: "GET /N" is answered with N bytes; a thread a client
 */
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/addr.h"
#include "util/parse.h"

#define BACKLOG     4096
#define STACK_BYTES 65536

static char body[1 << 20];

static int send_all(int fd, const void *bytes, size_t len, int flags)
{
	while (len > 0) {
		ssize_t sent = send(fd, bytes, len, flags);

		if (sent <= 0)
			return -1;
		bytes = (const char *)bytes + sent;
		len -= (size_t)sent;
	}
	return 0;
}

static int answer(int fd, const char *request)
{
	char number[20] = "0", head[100];
	unsigned long left = 0;

	sscanf(request, "GET /%19[0-9]", number);
	parse_uint(number, UINT64_MAX >> 1, &left);
	int len = snprintf(
		head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %lu\r\n\r\n", left);
	if (send_all(fd, head, (size_t)len, left > 0 ? MSG_MORE : 0) < 0)
		return -1;
	while (left > 0) {
		size_t part = left < sizeof(body) ? left : sizeof(body);

		if (send_all(fd, body, part, 0) < 0)
			return -1;
		left -= part;
	}
	return 0;
}

/* Heads of requests come whole, as from any proxy, and one after the other. */
static void *serve(void *arg)
{
	int fd = (int)(intptr_t)arg, on = 1;
	char request[4096];
	ssize_t len;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	while ((len = recv(fd, request, sizeof(request) - 1, 0)) > 0) {
		request[len] = '\0';
		/* a proxy may count on the end, whatever it says to its client */
		if (answer(fd, request) < 0 || strcasestr(request, "\r\nConnection: close\r\n"))
			break;
	}
	close(fd);
	return NULL;
}

int main(int argc, char **argv)
{
	struct addr addr = {0};
	uint16_t port;
	pthread_attr_t attr;
	pthread_t thread;
	int on = 1, listen_fd = socket(AF_INET, SOCK_STREAM, 0);

	signal(SIGPIPE, SIG_IGN);
	if (argc != 3 || addr_parse(argv[1], &addr, NULL) < 0 ||
		parse_port(argv[2], false, &port, NULL) < 0) {
		fprintf(stderr, "usage: web ADDRESS PORT\n");
		return 2;
	}
	addr_set_port(&addr, port);
	setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listen_fd, &addr.any, addr_len(&addr)) < 0 || listen(listen_fd, BACKLOG) < 0) {
		perror("web");
		return 1;
	}
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	for (;;) {
		int fd = accept(listen_fd, NULL, NULL);

		if (fd >= 0 && pthread_create(&thread, &attr, serve, (void *)(intptr_t)fd) != 0)
			close(fd);
	}
}
