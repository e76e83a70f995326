/* SPDX-License-Identifier: Apache-2.0 */
#include "conn/lender.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "util/fd.h"

struct bed {
	int api;
	pid_t pid;
};

static int set_up(void **state)
{
	static struct bed bed;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -1;
	bed = (struct bed){ends[0], fork()};
	if (bed.pid == 0) {
		close(ends[0]);
		_exit(lender_run(ends[1]) == 0 ? 0 : 1);
	}
	close(ends[1]);
	*state = &bed;
	return 0;
}

static int tear_down(void **state)
{
	struct bed *bed = *state;
	int status;

	close(bed->api);
	return waitpid(bed->pid, &status, 0) == bed->pid && status == 0 ? 0 : -1;
}

/* Returns 0 with an answer, or -errno: -EPIPE: there is none. */
static int ask(const struct bed *bed, const void *request, size_t len, struct lender_answer *answer,
	int *fd)
{
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	assert_int_equal(fd_send_one(bed->api, request, len, ends[1]), 0);
	close(ends[1]);
	int result = fd_recv_one(ends[0], answer, sizeof(*answer), fd);
	close(ends[0]);
	return result;
}

static void test_sockets(void **state)
{
	const int families[] = {AF_INET, AF_INET6}, types[] = {SOCK_STREAM, SOCK_DGRAM};
	struct lender_answer answer;

	for (int i = 0; i < 4; i++) {
		struct lender_request request = {.version = LENDER_VERSION,
			.op = LENDER_SOCKET,
			.family = (uint32_t)families[i / 2],
			.type = (uint32_t)types[i % 2]};
		int fd, type = 0, family = 0;
		socklen_t len = sizeof(int);
		assert_int_equal(ask(*state, &request, sizeof(request), &answer, &fd), 0);
		assert_int_equal(answer.result, 0);
		assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len), 0);
		assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len), 0);
		assert_int_equal(type, types[i % 2]);
		assert_int_equal(family, families[i / 2]);
		close(fd);
	}
}

static void test_names(void **state)
{
	struct lender_request request = {
		.version = LENDER_VERSION, .op = LENDER_RESOLVE, .name = "127.0.0.7"};
	const unsigned char ip[4] = {127, 0, 0, 7};
	struct lender_answer answer;
	int fd;

	assert_int_equal(ask(*state, &request, sizeof(request), &answer, &fd), 0);
	assert_int_equal(fd, -1);
	assert_int_equal(answer.result, 0);
	assert_int_equal(answer.count, 1);
	assert_int_equal(answer.addrs[0].family, AF_INET);
	assert_memory_equal(answer.addrs[0].ip, ip, 4);
	strcpy(request.name, "300.1.1.1:x");
	assert_int_equal(ask(*state, &request, sizeof(request), &answer, &fd), 0);
	assert_int_equal(answer.result, -ENXIO);
}

static void test_bad_requests(void **state)
{
	struct lender_request request = {.version = LENDER_VERSION,
		.op = LENDER_SOCKET,
		.family = AF_UNIX,
		.type = SOCK_STREAM};
	struct lender_answer answer;
	int fd;

	assert_int_equal(ask(*state, &request, sizeof(request), &answer, &fd), 0);
	assert_int_equal(answer.result, -EINVAL);
	request.family = AF_INET;
	request.type = SOCK_RAW;
	assert_int_equal(ask(*state, &request, sizeof(request), &answer, &fd), 0);
	assert_int_equal(answer.result, -EINVAL);
	request.op = LENDER_RESOLVE;
	memset(request.name, 'a', sizeof(request.name));
	assert_int_equal(ask(*state, &request, sizeof(request), &answer, &fd), 0);
	assert_int_equal(answer.result, -EINVAL);
	/* of another version, another length, another kind: no answer */
	request.op = 9;
	assert_int_equal(ask(*state, &request, sizeof(request), &answer, &fd), -EPIPE);
	assert_int_equal(ask(*state, &request, 5, &answer, &fd), -EPIPE);
	request.version++;
	assert_int_equal(ask(*state, &request, sizeof(request), &answer, &fd), -EPIPE);
	char longer[sizeof(request) + 1] = "";
	assert_int_equal(ask(*state, longer, sizeof(longer), &answer, &fd), -EPIPE);
	assert_int_equal(
		fd_send_one(((struct bed *)*state)->api, &request, sizeof(request), -1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_sockets, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_names, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bad_requests, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
