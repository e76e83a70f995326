/* SPDX-License-Identifier: Apache-2.0 */
/* tools/guest - an echo server for many connections, with a daemon beside it and a deaf ear */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * guest [-d] [-i] PORT
 *
 * Echoes what clients of 127.0.0.1:PORT send and closes after their end. -d: first starts a daemon
 * (forked twice, in a session of its own) that does nothing; -i: both ignore SIGTERM and SIGHUP.
 */
#define EVENTS 256

__attribute__((noreturn)) static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void start_daemon(void)
{
	int ready[2];
	char discard;

	if (pipe(ready) < 0)
		die("pipe");
	pid_t pid = fork();
	if (pid == 0) {
		setsid();
		if (fork() != 0)
			_exit(0);
		close(ready[0]);
		close(ready[1]);
		for (;;)
			pause();
	}
	if (pid < 0)
		die("fork");
	waitpid(pid, NULL, 0);
	close(ready[1]);
	while (read(ready[0], &discard, 1) > 0)
		;
	close(ready[0]);
}

static int open_listener(unsigned short port)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
		bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 4096) < 0)
		die("listen");
	return fd;
}

static void watch(int epoll, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		die("epoll_ctl");
}

/* Sends are small here: they fit, or the client gets none of the rest. */
static void serve(int fd)
{
	char data[4096];
	ssize_t got = read(fd, data, sizeof(data));

	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0 || write(fd, data, (size_t)got) != got)
		close(fd);
}

int main(int argc, char **argv)
{
	struct rlimit limit;
	struct epoll_event events[EVENTS];
	bool has_daemon = false;
	char *end;

	for (int option; (option = getopt(argc, argv, "di")) != -1;) {
		has_daemon |= option == 'd';
		if (option == 'i') {
			signal(SIGTERM, SIG_IGN);
			signal(SIGHUP, SIG_IGN);
		}
	}
	unsigned long port = optind < argc ? strtoul(argv[optind], &end, 10) : 0;
	if (port == 0 || port > 65535 || *end != '\0')
		return 2;
	signal(SIGPIPE, SIG_IGN);
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (has_daemon)
		start_daemon();
	int listener = open_listener((unsigned short)port), epoll = epoll_create1(0);
	watch(epoll, listener);
	for (;;) {
		int count = epoll_wait(epoll, events, EVENTS, -1);

		for (int i = 0; i < count; i++) {
			if (events[i].data.fd != listener) {
				serve(events[i].data.fd);
				continue;
			}
			int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
			if (fd >= 0)
				watch(epoll, fd);
		}
	}
}
