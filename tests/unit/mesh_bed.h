/* SPDX-License-Identifier: Apache-2.0 */
/* mesh_bed - a conn_context whose inside is the test's own namespace; a clock that can jump, names
 * that can hang */
#ifndef NSWRAP_TEST_MESH_BED_H
#define NSWRAP_TEST_MESH_BED_H

/* behind cmocka.h */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "clock_ahead.h"
#include "conn/bind.h"
#include "conn/context.h"
#include "conn/door.h"
#include "conn/inside.h"
#include "conn/relay.h"
#include "count_fds.h"
#include "exit/stack.h"
#include "net/netdev.h"
#include "netns.h"
#include "util/addr.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"

#define BED_WAIT_MS 10000 /* far above what anything here takes */

static atomic_bool are_names_let_go;
static atomic_int names_asked;

/*
 * Stands before the one of the C library: "two" is 127.0.0.2 and 127.0.0.1, "far" 192.0.2.2 and
 * 192.0.2.1, "gone" does not exist, "hang" waits until the names are let go and does not exist
 * either, others are 127.0.0.1.
 */
int getaddrinfo(
	const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
	const bool is_far = strcmp(name, "far") == 0, are_two = is_far || strcmp(name, "two") == 0;
	const char *ips[] = {
		is_far ? "192.0.2.1" : "127.0.0.1", is_far ? "192.0.2.2" : "127.0.0.2"};

	(void)service;
	(void)hints;
	names_asked++;
	while (strcmp(name, "hang") == 0 && !are_names_let_go)
		usleep(1000);
	if (strcmp(name, "gone") == 0 || strcmp(name, "hang") == 0)
		return EAI_NONAME;
	*out = NULL;
	for (size_t i = 0; i < (are_two ? 2 : 1); i++) {
		struct sockaddr_in addr = {.sin_family = AF_INET};
		struct addrinfo *item = calloc(1, sizeof(*item) + sizeof(addr));

		inet_pton(AF_INET, ips[i], &addr.sin_addr);
		item->ai_family = AF_INET;
		item->ai_addrlen = sizeof(addr);
		item->ai_addr = memcpy(item + 1, &addr, sizeof(addr));
		item->ai_next = *out;
		*out = item;
	}
	return 0;
}

void freeaddrinfo(struct addrinfo *list)
{
	while (list) {
		struct addrinfo *next = list->ai_next;

		free(list);
		list = next;
	}
}

struct mesh_bed {
	struct budget budget;
	struct conn_context context;
	int door[2], fds_before;
	pthread_t server; /* of the door: some wait for it without running the loop */
	pthread_mutex_t lock;
	bool is_shut; /* it is not served */
	atomic_bool is_over;
	struct stack stack; /* its sockets are those of the door */
};

static int bed_open_bound(struct stack *stack, enum proto proto, const struct addr *at)
{
	const struct mesh_bed *bed = container_of(stack, struct mesh_bed, stack);
	int fd = inside_take_now(
		bed->context.inside, proto == PROTO_TCP ? DOOR_TCP4 : DOOR_UDP4, 2000);
	int result = fd < 0 ? fd : bind_socket(fd, at, proto);

	if (result == 0)
		return fd;
	fd_close(&fd);
	return result;
}

static struct dial_target bed_target(struct stack *stack, const struct addr *at)
{
	(void)stack;
	return (struct dial_target){.where = DIAL_INSIDE, .addr = *at};
}

/* lo has all of 127.0.0.0/8 */
static int bed_change(struct stack *stack, enum stack_change change, struct in_addr vip)
{
	(void)stack;
	(void)change;
	(void)vip;
	return 0;
}

static inline int bed_open_aliases(
	struct stack *stack, struct in_addr self, struct in_addr *net, bool *turns)
{
	(void)stack, (void)self, (void)net, (void)turns;
	return -EOPNOTSUPP;
}

static const struct stack_ops bed_stack_ops = {
	.open_aliases = bed_open_aliases,
	.open_bound = bed_open_bound,
	.target = bed_target,
	.change = bed_change,
};

static void *serve_door(void *arg)
{
	struct mesh_bed *bed = arg;
	struct pollfd door = {.fd = bed->door[1], .events = POLLIN};

	while (!bed->is_over) {
		int ready = poll(&door, 1, 1);

		pthread_mutex_lock(&bed->lock);
		bool is_shut = bed->is_shut;
		if (ready > 0 && !is_shut)
			door_serve(door.fd, NULL);
		pthread_mutex_unlock(&bed->lock);
		if (is_shut)
			usleep(1000);
	}
	return NULL;
}

static inline void shut_door(struct mesh_bed *bed, bool is_shut)
{
	pthread_mutex_lock(&bed->lock);
	bed->is_shut = is_shut;
	pthread_mutex_unlock(&bed->lock);
}

/*
 * No descriptor is to be had, until no_shortage with what was returned. The server of the door has
 * some for a moment: it rests meanwhile, or there would be one more when it has closed its own.
 */
static inline struct rlimit shortage(struct mesh_bed *bed)
{
	struct rlimit limit, small;

	shut_door(bed, true);
	getrlimit(RLIMIT_NOFILE, &limit);
	small = limit;
	small.rlim_cur = (rlim_t)dup(0); /* the next one would have this number */
	close((int)small.rlim_cur);
	setrlimit(RLIMIT_NOFILE, &small);
	return limit;
}

static inline void no_shortage(struct mesh_bed *bed, const struct rlimit *limit)
{
	setrlimit(RLIMIT_NOFILE, limit);
	shut_door(bed, false);
}

/* The door is the caller's, which bed_close closes. */
static inline void bed_open_with_door(struct mesh_bed *bed, int door)
{
	struct loop *loop = loop_new();

	are_names_let_go = false;
	*bed = (struct mesh_bed){.door = {door, -1},
		.fds_before = count_fds() - 2,
		.budget = {.max = 10000},
		.stack = {.ops = &bed_stack_ops, .door = door}};
	assert_int_equal(context_open(&bed->context, loop, &bed->budget, door), 0);
}

static inline void bed_open(struct mesh_bed *bed)
{
	int pair[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	bed_open_with_door(bed, pair[0]);
	bed->fds_before--;
	bed->door[1] = pair[1];
	pthread_mutex_init(&bed->lock, NULL);
	assert_int_equal(pthread_create(&bed->server, NULL, serve_door, bed), 0);
}

/* What was made of the context must be gone. */
static inline void bed_close(struct mesh_bed *bed)
{
	if (bed->door[1] >= 0) {
		bed->is_over = true;
		pthread_join(bed->server, NULL);
	}
	struct loop *loop = bed->context.loop;
	context_close(&bed->context);
	assert_int_equal(bed->budget.used, 0);
	loop_free(loop);
	fd_close(&bed->door[0]);
	fd_close(&bed->door[1]);
	are_names_let_go = true;
	/* a look-up that was left alone closes its own behind itself */
	for (int i = 0; i < BED_WAIT_MS && count_fds() != bed->fds_before; i++)
		usleep(1000);
	assert_int_equal(count_fds(), bed->fds_before);
}

static inline void bed_round(struct mesh_bed *bed)
{
	assert_int_equal(loop_run_once(bed->context.loop, 1), 0);
}

#define run_until(bed, condition)                                        \
	do {                                                             \
		bool is_so_ = (condition);                               \
		for (int ms_ = 0; ms_ < BED_WAIT_MS && !is_so_; ms_++) { \
			bed_round(bed);                                  \
			is_so_ = (condition);                            \
		}                                                        \
		if (!is_so_)                                             \
			fail_msg("in vain: %s", #condition);             \
	} while (0)

/* Everything that is under way arrives. */
static inline void settle(struct mesh_bed *bed)
{
	for (int i = 0; i < 20; i++)
		bed_round(bed);
}

/* What waits for the clock happens. */
static inline void jump(struct mesh_bed *bed, uint64_t ms)
{
	bed_round(bed);
	clock_ahead_ns += ms * 1000000;
	bed_round(bed);
	bed_round(bed);
}

static inline struct sockaddr_in address(const char *ip, uint16_t port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port)};

	assert_int_equal(inet_pton(AF_INET, ip, &addr.sin_addr), 1);
	return addr;
}

static inline int tcp_listen(const char *ip, uint16_t port, int backlog)
{
	struct sockaddr_in addr = address(ip, port);
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

/* The same by text: IPv4, IPv6, or a path that begins with a slash, in which @port is not used. */
static inline struct addr addr_at(const char *text, uint16_t port)
{
	struct addr addr = {0};

	if (text[0] == '/') {
		addr.local.sun_family = AF_UNIX;
		snprintf(addr.local.sun_path, sizeof(addr.local.sun_path), "%s", text);
	} else {
		assert_int_equal(addr_parse(text, &addr, NULL), 0);
		addr_set_port(&addr, port);
	}
	return addr;
}

/* Nonblocking; may have failed. */
static inline int connect_to(const struct addr *to)
{
	int fd = socket(to->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (connect(fd, &to->any, addr_len(to)) < 0 && errno != EINPROGRESS)
		fd_close(&fd);
	return fd;
}

/* Nonblocking; of a path, the file must not exist yet. */
static inline int listen_at(const struct addr *addr, int backlog)
{
	int on = 1, fd = socket(addr->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	assert_int_equal(bind(fd, &addr->any, addr_len(addr)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

/* From @own:@own_port, which may be NULL: from anywhere. Nonblocking; may have failed. */
static inline int tcp_connect(const char *own, uint16_t own_port, const char *ip, uint16_t port)
{
	struct sockaddr_in to = address(ip, port);
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (own) {
		struct sockaddr_in from = address(own, own_port);

		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
	}
	connect(fd, (struct sockaddr *)&to, sizeof(to));
	return fd;
}

/* The errno by which @fd was ended, 0 for an end of file; it must be one of both. */
static inline int wait_end(struct mesh_bed *bed, int fd)
{
	char byte;
	ssize_t got = -1;

	run_until(bed, (got = recv(fd, &byte, 1, MSG_DONTWAIT)) >= 0 || errno != EAGAIN);
	assert_true(got <= 0);
	return got < 0 ? errno : 0;
}

static inline int wait_accept(struct mesh_bed *bed, int listener)
{
	int fd = -1;

	run_until(bed, (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
	return fd;
}

static inline void expect_bytes(struct mesh_bed *bed, int fd, const char *text)
{
	char bytes[64];
	size_t len = strlen(text), have = 0;
	ssize_t got = 0;

	while (have < len) {
		run_until(bed, (got = recv(fd, bytes + have, len - have, MSG_DONTWAIT)) > 0);
		have += (size_t)got;
	}
	assert_memory_equal(bytes, text, len);
}

/* @a and @b are two ends of one connection: bytes go both ways, then ends do. */
static inline void expect_joined(struct mesh_bed *bed, int a, int b)
{
	assert_int_equal(send(a, "ping", 4, MSG_NOSIGNAL), 4);
	expect_bytes(bed, b, "ping");
	assert_int_equal(shutdown(a, SHUT_WR), 0);
	assert_int_equal(wait_end(bed, b), 0);
	assert_int_equal(send(b, "pong", 4, MSG_NOSIGNAL), 4);
	expect_bytes(bed, a, "pong");
	close(b);
	assert_int_equal(wait_end(bed, a), 0);
	close(a);
}

/* For main(). */
static inline void bed_enter_namespace(void)
{
	struct rlimit limit;

	netns_enter_or_skip();
	int nl = netdev_open();
	if (netdev_set_up(nl, netdev_index(nl, "lo"), 0) < 0)
		exit(1);
	close(nl);
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	signal(SIGPIPE, SIG_IGN);
}

#endif
