/* SPDX-License-Identifier: Apache-2.0 */
/* test_inside - the pool of sockets while descriptors are short here; the door is a child's */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conn/door.h"
#include "conn/inside.h"
#include "util/addr.h"
#include "util/fd.h"

#define TAKEN     60
#define TAKEN_MAX 400
#define ROOM      20 /* less than is asked for then */
#define WAIT_MS   2000

static void serve(int door)
{
	struct pollfd pollfd = {.fd = door, .events = POLLIN};

	while (poll(&pollfd, 1, -1) == 1)
		if (door_serve(door, NULL) == -EPIPE)
			break;
	_exit(0);
}

/* The pool, and its door, of which a child has the other end. */
struct pool {
	struct loop *loop;
	struct inside *inside;
	int door;
	pid_t pid;
};

static struct pool pool_open(void)
{
	struct pool pool = {.loop = loop_new()};
	int door[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, door), 0);
	pool.pid = fork();
	if (pool.pid == 0) {
		close(door[0]);
		serve(door[1]);
	}
	close(door[1]);
	pool.door = door[0];
	pool.inside = inside_new(pool.loop, pool.door);
	assert_non_null(pool.inside);
	return pool;
}

static void pool_close(struct pool *pool)
{
	inside_free(pool->inside);
	loop_free(pool->loop);
	close(pool->door);
	assert_int_equal(waitpid(pool->pid, NULL, 0), pool->pid);
}

/* As many as the pool asks for when it is used up quickly would not fit any more; a few would. */
static void asks_for_less_when_descriptors_are_short(void **state)
{
	struct rlimit before, low;
	int fds[TAKEN_MAX], highest = 0;
	size_t count = 0;
	struct pool pool = pool_open();
	struct inside *inside = pool.inside;

	(void)state;
	/* until nothing is left but a request for as many as there may be */
	for (; count < TAKEN_MAX; count++) {
		fds[count] = inside_take_now(inside, DOOR_TCP4, count < TAKEN ? WAIT_MS : 0);
		if (fds[count] < 0)
			break;
		if (fds[count] > highest)
			highest = fds[count];
	}
	assert_in_range(count, TAKEN, TAKEN_MAX - 1);
	getrlimit(RLIMIT_NOFILE, &before);
	low = before;
	low.rlim_cur = (rlim_t)highest + ROOM;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	int fd = inside_take_now(inside, DOOR_TCP4, WAIT_MS);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	while (count > 0)
		close(fds[--count]);
	pool_close(&pool);
}

/* A socket of the pool, connected; the other end to @peer. */
static int connected(struct pool *pool, int server, int *peer)
{
	struct addr at;
	int fd = inside_take_now(pool->inside, DOOR_TCP4, WAIT_MS);

	assert_true(fd >= 0);
	assert_int_equal(addr_get_own(server, &at), 0);
	assert_true(connect(fd, &at.any, addr_len(&at)) == 0 || errno == EINPROGRESS);
	*peer = accept4(server, NULL, NULL, SOCK_CLOEXEC);
	assert_true(*peer >= 0);
	return fd;
}

static void expect_readable(int fd)
{
	struct pollfd pollfd = {.fd = fd, .events = POLLIN};

	assert_int_equal(poll(&pollfd, 1, WAIT_MS), 1);
}

/* Whoever ended first. What the other end has not heard of or ended itself is no use. */
static void what_is_over_is_used_again(void **state)
{
	const struct addr at = addr_loopback4(0);
	struct pool pool = pool_open();
	int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), peer;
	char bytes[4];

	(void)state;
	assert_int_equal(bind(server, &at.any, addr_len(&at)), 0);
	assert_int_equal(listen(server, 4), 0);
	int first = connected(&pool, server, &peer);
	for (int i = 0; i < 20; i++) {
		const bool is_first = i % 2;

		assert_int_equal(send(peer, "what", 4, 0), 4);
		expect_readable(first);
		assert_int_equal(recv(first, bytes, 4, 0), 4);
		if (is_first)
			shutdown(first, SHUT_WR);
		close(peer);
		expect_readable(first);
		assert_int_equal(recv(first, bytes, 4, 0), 0);
		inside_recycle(pool.inside, DOOR_TCP4, first);
		assert_int_equal(connected(&pool, server, &peer), first);
	}
	inside_recycle(pool.inside, DOOR_TCP4, first);
	expect_readable(peer);
	assert_int_equal(recv(peer, bytes, 4, 0), 0);
	assert_int_equal(fcntl(first, F_GETFD), -1);
	close(peer);
	close(server);
	pool_close(&pool);
}

/* What a crowd leaves does not stay. */
static void not_all_are_kept(void **state)
{
	const struct addr at = addr_loopback4(0);
	struct pool pool = pool_open();
	int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fds[TAKEN_MAX],
	    peers[TAKEN_MAX];
	size_t closed = 0;

	(void)state;
	assert_int_equal(bind(server, &at.any, addr_len(&at)), 0);
	assert_int_equal(listen(server, 4), 0);
	for (size_t i = 0; i < TAKEN_MAX; i++)
		fds[i] = connected(&pool, server, &peers[i]);
	for (size_t i = 0; i < TAKEN_MAX; i++) {
		close(peers[i]);
		expect_readable(fds[i]);
		inside_recycle(pool.inside, DOOR_TCP4, fds[i]);
		closed += fcntl(fds[i], F_GETFD) < 0;
	}
	assert_in_range(closed, TAKEN_MAX / 2, TAKEN_MAX);
	close(server);
	pool_close(&pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(asks_for_less_when_descriptors_are_short),
		cmocka_unit_test(what_is_over_is_used_again),
		cmocka_unit_test(not_all_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
