/* SPDX-License-Identifier: Apache-2.0 */
/* bench/lennut - a stand-in for lennut, which works as that was seen to: both ends, a thread each
 * way */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/addr.h"
#include "util/parse.h"

#define GREETING    "lennet01"
#define WAITING_MAX 128
#define BACKLOG     4096
#define STACK_BYTES (64 << 10)
#define PIPE_BYTES  (64 << 10)

static struct addr places[2]; /* server: proxy, clients; client: server, target */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int waiting[WAITING_MAX], nwaiting;

static int start(void *(*run)(void *), long arg)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	int result = pthread_create(&thread, &attr, run, (void *)arg);
	pthread_attr_destroy(&attr);
	return -result;
}

/* Two sockets, and who is the second to be done with them. */
struct pair {
	int fds[2], done;
	pthread_mutex_t lock;
};

struct way {
	struct pair *pair;
	int from;
};

/* Whichever way ends first ends both. */
static void *copy(void *arg)
{
	struct way *way = arg;
	struct pair *pair = way->pair;
	int from = pair->fds[way->from], to = pair->fds[!way->from], pipes[2];
	ssize_t got = pipe2(pipes, O_CLOEXEC) < 0 ? -1 : 1;

	while (got > 0 && (got = splice(from, NULL, pipes[1], NULL, PIPE_BYTES, SPLICE_F_MOVE)) > 0)
		for (ssize_t left = got, sent; left > 0 && got > 0; left -= sent) {
			sent = splice(pipes[0], NULL, to, NULL, (size_t)left, SPLICE_F_MOVE);
			if (sent <= 0)
				got = sent = -1;
		}
	shutdown(from, SHUT_RDWR);
	shutdown(to, SHUT_RDWR);
	close(pipes[0]);
	close(pipes[1]);
	pthread_mutex_lock(&pair->lock);
	bool is_last = pair->done++;
	pthread_mutex_unlock(&pair->lock);
	if (is_last) {
		close(from);
		close(to);
		free(pair);
	}
	free(way);
	return NULL;
}

static void join(int a, int b)
{
	struct pair *pair = calloc(1, sizeof(*pair));
	int on = 1;

	pair->fds[0] = a;
	pair->fds[1] = b;
	pthread_mutex_init(&pair->lock, NULL);
	for (int i = 0; i < 2; i++) {
		struct way *way = malloc(sizeof(*way));
		setsockopt(pair->fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		*way = (struct way){pair, i};
		if (start(copy, (long)way) < 0)
			_exit(1);
	}
}

static int listen_at(const struct addr *at)
{
	int on = 1, fd = socket(at->family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || bind(fd, &at->any, addr_len(at)) < 0 || listen(fd, BACKLOG) < 0) {
		perror("listen");
		_exit(1);
	}
	return fd;
}

static int connect_to(const struct addr *to)
{
	int fd = socket(to->family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, &to->any, addr_len(to)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* --- the server ------------------------------------------------------------------------------ */

static void *take_clients(void *arg)
{
	int listener = listen_at(&places[1]);

	(void)arg;
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		pthread_mutex_lock(&lock);
		bool is_room = nwaiting < WAITING_MAX;
		if (is_room)
			waiting[nwaiting++] = fd;
		pthread_mutex_unlock(&lock);
		if (!is_room)
			close(fd);
	}
	return NULL;
}

/* The longest waiting one, or -1. */
static int take(void)
{
	int fd = -1;

	pthread_mutex_lock(&lock);
	if (nwaiting > 0) {
		fd = waiting[0];
		memmove(waiting, waiting + 1, (size_t)--nwaiting * sizeof(*waiting));
	}
	pthread_mutex_unlock(&lock);
	return fd;
}

static void serve(void)
{
	int listener = listen_at(&places[0]);

	start(take_clients, 0);
	for (;;) {
		int inbound = accept4(listener, NULL, NULL, SOCK_CLOEXEC), client = take();

		if (inbound >= 0 && client >= 0 && send(client, GREETING, 8, MSG_NOSIGNAL) == 8) {
			join(inbound, client);
			continue;
		}
		close(inbound);
		close(client);
	}
}

/* --- the client ------------------------------------------------------------------------------ */

static void reach(void)
{
	for (;;) {
		char greeting[8];
		int server = connect_to(&places[0]);
		bool is_greeted = server >= 0 && recv(server, greeting, 8, 0) == 8 &&
				  memcmp(greeting, GREETING, 8) == 0;
		int target = is_greeted ? connect_to(&places[1]) : -1;

		if (target >= 0) {
			join(server, target);
			continue;
		}
		close(server);
		sleep(1);
	}
}

/* lennut server PROXY-PORT CLIENTS-PORT; lennut client SERVER-PORT TARGET-PORT: all of loopback */
int main(int argc, char **argv)
{
	struct err err = {0};

	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < 2; i++) {
		uint16_t port;
		if (argc != 4 || parse_port(argv[2 + i], false, &port, &err) < 0) {
			fprintf(stderr, "lennut server|client PORT PORT: %s\n", err.text);
			return 1;
		}
		places[i] = addr_loopback4(port);
	}
	if (strcmp(argv[1], "server") == 0)
		serve();
	reach();
}
