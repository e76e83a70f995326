/* SPDX-License-Identifier: Apache-2.0 */
/* bench/ask - clients of an HTTP or SOCKS5 proxy, a thread each: how many answers in some seconds
 */
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "util/addr.h"
#include "util/clock.h"
#include "util/parse.h"

#define THREADS_MAX 256
#define BODY        100

static struct addr proxy;
static char request[300];
static bool keeps;
static uint16_t target; /* by SOCKS5, a port of 127.0.0.1; 0: it is HTTP */
static uint64_t end_ns;
static atomic_ulong answers, failures;

/* No authentication, CONNECT (RFC 1928). */
static bool pass(int fd)
{
	const unsigned char hello[] = {5, 1, 0},
			    wish[] = {5, 1, 0, 1, 127, 0, 0, 1, (unsigned char)(target >> 8),
				    target & 0xff};
	unsigned char answer[10];

	return send(fd, hello, sizeof(hello), MSG_NOSIGNAL) == sizeof(hello) &&
	       recv(fd, answer, 2, MSG_WAITALL) == 2 && answer[1] == 0 &&
	       send(fd, wish, sizeof(wish), MSG_NOSIGNAL) == sizeof(wish) &&
	       recv(fd, answer, 10, MSG_WAITALL) == 10 && answer[1] == 0;
}

static int dial(void)
{
	int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(fd, &proxy.any, addr_len(&proxy)) == 0 && (target == 0 || pass(fd)))
		return fd;
	close(fd);
	return -1;
}

/* A whole answer: a head and BODY bytes. */
static bool ask(int fd)
{
	char bytes[2000];
	const char *end = NULL;
	size_t have = 0, len = strlen(request);

	if (send(fd, request, len, MSG_NOSIGNAL) != (ssize_t)len)
		return false;
	while (!end || have < (size_t)(end - bytes) + 4 + BODY) {
		ssize_t got = recv(fd, bytes + have, sizeof(bytes) - have, 0);

		if (got <= 0)
			return false;
		have += (size_t)got;
		end = memmem(bytes, have, "\r\n\r\n", 4);
	}
	return memcmp(bytes + 8, " 200 ", 5) == 0;
}

static void *run(void *arg)
{
	int fd = -1;

	(void)arg;
	while (clock_now_ns() < end_ns) {
		if (fd < 0)
			fd = dial();
		bool is_fine = fd >= 0 && ask(fd);
		atomic_fetch_add(is_fine ? &answers : &failures, 1);
		if (fd >= 0 && (!keeps || !is_fine)) {
			close(fd);
			fd = -1;
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned long count, seconds;
	uint16_t port;
	pthread_t threads[THREADS_MAX];

	if (argc < 7 || argc > 8 || addr_parse("127.0.0.1", &proxy, NULL) < 0 ||
		parse_port(argv[1], false, &port, NULL) < 0 ||
		parse_uint(argv[4], THREADS_MAX, &count) < 0 ||
		parse_uint(argv[5], 3600, &seconds) < 0 ||
		(argc == 8 && parse_port(argv[7], false, &target, NULL) < 0)) {
		fprintf(stderr, "usage: ask PORT URL HOST CLIENTS SECONDS keep|close [PORT]\n");
		return 2;
	}
	addr_set_port(&proxy, port);
	keeps = strcmp(argv[6], "keep") == 0;
	snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", argv[2],
		argv[3], keeps ? "" : "Connection: close\r\n");
	end_ns = clock_now_ns() + seconds * NS_PER_S;
	for (unsigned long i = 0; i < count; i++)
		pthread_create(&threads[i], NULL, run, NULL);
	for (unsigned long i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	printf("%lu %lu\n", answers / seconds, failures);
	return 0;
}
