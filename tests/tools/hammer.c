/* SPDX-License-Identifier: Apache-2.0 */
/* tools/hammer - many clients of an echo server that check every byte they get back */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/*
 * hammer [-h] [-r ROUNDS] [-t SECONDS] ADDRESS PORT COUNT AT_ONCE
 *
 * Makes COUNT connections, AT_ONCE of them at a time. Each sends a message of its own and waits for
 * its echo, ROUNDS times (1), ends its direction and waits for the end of the other. -h: when all
 * COUNT are open and have had their first echo, says "open" on stdout and goes on after a line from
 * stdin. Prints "DONE FAILED SECONDS"; what is not done after SECONDS (60) has failed. Ends with 0
 * if nothing failed. The reason of the first failure is on stderr.
 */
#define MESSAGE_BYTES 64
#define EVENTS        256

enum state { FREE, CONNECTING, ECHOING, HOLDING, ENDING };

struct client {
	enum state state;
	int fd;
	unsigned round;
	size_t got;
	unsigned long number;
};

struct hammer {
	struct sockaddr_in addr;
	unsigned long count, at_once, rounds;
	bool holds;
	unsigned long begun, done, failed, holding;
	struct client *clients;
	int epoll;
};

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void make_message(const struct client *client, char *out)
{
	memset(out, 'x', MESSAGE_BYTES);
	snprintf(out, MESSAGE_BYTES, "connection %lu round %u", client->number, client->round);
}

static void finish(struct hammer *hammer, struct client *client, const char *failure)
{
	if (failure && hammer->failed == 0)
		fprintf(stderr, "connection %lu, round %u: %s: %s\n", client->number, client->round,
			failure, strerror(errno));
	if (failure)
		hammer->failed++;
	else
		hammer->done++;
	close(client->fd);
	client->state = FREE;
}

static void begin(struct hammer *hammer, struct client *client)
{
	struct epoll_event event = {.events = EPOLLOUT, .data.ptr = client};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	*client = (struct client){CONNECTING, fd, 0, 0, hammer->begun++};
	if (fd < 0 || (connect(fd, (struct sockaddr *)&hammer->addr, sizeof(hammer->addr)) < 0 &&
			      errno != EINPROGRESS))
		finish(hammer, client, "connect");
	else
		epoll_ctl(hammer->epoll, EPOLL_CTL_ADD, fd, &event);
}

static void send_message(struct hammer *hammer, struct client *client)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
	char message[MESSAGE_BYTES];

	make_message(client, message);
	client->state = ECHOING;
	client->got = 0;
	if (write(client->fd, message, sizeof(message)) != sizeof(message))
		finish(hammer, client, "write");
	else
		epoll_ctl(hammer->epoll, EPOLL_CTL_MOD, client->fd, &event);
}

static void next_round(struct hammer *hammer, struct client *client)
{
	client->round++;
	if (hammer->holds && client->round == 1) {
		client->state = HOLDING;
		hammer->holding++;
	} else if (client->round < hammer->rounds) {
		send_message(hammer, client);
	} else {
		client->state = ENDING;
		shutdown(client->fd, SHUT_WR);
	}
}

static void on_echo(struct hammer *hammer, struct client *client)
{
	char message[MESSAGE_BYTES], got[MESSAGE_BYTES];
	ssize_t len = read(client->fd, got, MESSAGE_BYTES - client->got);

	if (len < 0 && errno == EAGAIN)
		return;
	make_message(client, message);
	if (len <= 0) {
		finish(hammer, client, len < 0 ? "read" : "an early end");
	} else if (memcmp(got, message + client->got, (size_t)len) != 0) {
		finish(hammer, client, "not what was sent");
	} else {
		client->got += (size_t)len;
		if (client->got == MESSAGE_BYTES)
			next_round(hammer, client);
	}
}

static void on_event(struct hammer *hammer, struct client *client)
{
	char byte;
	int error = 0;
	socklen_t size = sizeof(error);
	ssize_t len;

	switch (client->state) {
	case CONNECTING:
		getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size);
		errno = error;
		if (error != 0)
			finish(hammer, client, "connect");
		else
			send_message(hammer, client);
		break;
	case ECHOING:
		on_echo(hammer, client);
		break;
	case HOLDING:
		hammer->holding--;
		finish(hammer, client, "lost while it was held");
		break;
	case ENDING:
		len = read(client->fd, &byte, 1);
		if (len < 0 && errno == EAGAIN)
			return;
		finish(hammer, client,
			len == 0  ? NULL
			: len < 0 ? "read at the end"
				  : "more than was sent");
		break;
	case FREE:
		break;
	}
}

/* All are open: tell, and wait for the word. */
static void hold(struct hammer *hammer)
{
	char line[16];

	printf("open\n");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		exit(1);
	hammer->holds = false;
	for (unsigned long i = 0; i < hammer->at_once; i++) {
		struct client *client = &hammer->clients[i];

		if (client->state == HOLDING)
			send_message(hammer, client);
	}
}

static void run(struct hammer *hammer, double deadline)
{
	struct epoll_event events[EVENTS];

	while (hammer->done + hammer->failed < hammer->count) {
		for (unsigned long i = 0; i < hammer->at_once; i++)
			if (hammer->clients[i].state == FREE && hammer->begun < hammer->count)
				begin(hammer, &hammer->clients[i]);
		int count = epoll_wait(hammer->epoll, events, EVENTS, 100);
		for (int i = 0; i < count; i++)
			on_event(hammer, events[i].data.ptr);
		if (hammer->holds && hammer->holding + hammer->failed == hammer->count)
			hold(hammer);
		if (now() > deadline) {
			fprintf(stderr, "time is over\n");
			hammer->failed = hammer->count - hammer->done;
		}
	}
}

static unsigned long number(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*text == '\0' || *end != '\0') {
		fprintf(stderr, "hammer: no number: %s\n", text);
		exit(2);
	}
	return value;
}

int main(int argc, char **argv)
{
	struct hammer hammer = {.rounds = 1};
	unsigned long seconds = 60;
	struct rlimit limit;

	for (int option; (option = getopt(argc, argv, "hr:t:")) != -1;) {
		hammer.holds |= option == 'h';
		if (option == 'r')
			hammer.rounds = number(optarg);
		if (option == 't')
			seconds = number(optarg);
	}
	if (argc - optind != 4)
		return 2;
	hammer.addr.sin_family = AF_INET;
	hammer.addr.sin_port = htons((uint16_t)number(argv[optind + 1]));
	if (inet_pton(AF_INET, argv[optind], &hammer.addr.sin_addr) != 1)
		return 2;
	hammer.count = number(argv[optind + 2]);
	hammer.at_once = number(argv[optind + 3]);
	hammer.clients = calloc(hammer.at_once, sizeof(*hammer.clients));
	hammer.epoll = epoll_create1(0);
	if (!hammer.clients || hammer.epoll < 0)
		return 1;
	signal(SIGPIPE, SIG_IGN);
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	double start = now();
	run(&hammer, start + (double)seconds);
	printf("%lu %lu %.2f\n", hammer.done, hammer.failed, now() - start);
	return hammer.failed > 0;
}
