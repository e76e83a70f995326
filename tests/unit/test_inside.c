/* SPDX-License-Identifier: Apache-2.0 */
/* test_inside - the pool of sockets while descriptors are short here; the door is a child's */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conn/door.h"
#include "conn/inside.h"
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

/* As many as the pool asks for when it is used up quickly would not fit any more; a few would. */
static void asks_for_less_when_descriptors_are_short(void **state)
{
	struct rlimit before, low;
	int door[2], fds[TAKEN_MAX], highest = 0;
	size_t count = 0;
	struct loop *loop = loop_new();

	(void)state;
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, door), 0);
	pid_t pid = fork();
	if (pid == 0) {
		close(door[0]);
		serve(door[1]);
	}
	fd_close(&door[1]);
	struct inside *inside = inside_new(loop, door[0]);
	assert_non_null(inside);
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
	inside_free(inside);
	loop_free(loop);
	close(door[0]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(asks_for_less_when_descriptors_are_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
