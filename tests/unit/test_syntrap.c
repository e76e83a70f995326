/* SPDX-License-Identifier: Apache-2.0 */
/* test_syntrap - who connects waits for a word; the listener's kernel does the rest */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "net/icmp6.h"
#include "net/netdev.h"
#include "net/packet.h"
#include "net/refusal.h"
#include "net/syntrap.h"
#include "netns.h"
#include "util/fd.h"

#define PORT    4711
#define SOON_MS 5000

static const struct net_plan plan = {.mtu = 1500};

static struct addr at_of(int family)
{
	return family == AF_INET ? addr_loopback4(PORT) : addr_of6(&in6addr_loopback, PORT);
}

static int begin(const struct addr *at)
{
	int fd = socket(at->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, &at->any, addr_len(at)), -1);
	assert_int_equal(errno, EINPROGRESS);
	return fd;
}

static bool is_ready(int fd, short events, int timeout_ms)
{
	struct pollfd pollfd = {fd, events, 0};

	return poll(&pollfd, 1, timeout_ms) == 1;
}

static int outcome(int fd)
{
	int error = -1;
	socklen_t len = sizeof(error);

	assert_true(is_ready(fd, POLLOUT, SOON_MS));
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
	return error;
}

static size_t next_syn(const struct syntrap *trap, uint8_t frame[SYNTRAP_FRAME_BYTES])
{
	assert_true(is_ready(trap->trap, POLLIN, SOON_MS));
	ssize_t len = syntrap_read(trap->trap, frame, SYNTRAP_FRAME_BYTES);
	assert_true(len > ETH_HLEN);
	return (size_t)len;
}

static void close_trap(struct syntrap *trap)
{
	fd_close(&trap->listener);
	fd_close(&trap->trap);
}

static void who_is_let_in_is_accepted(int family)
{
	const struct addr at = at_of(family);
	const size_t tcp_at = ETH_HLEN + (family == AF_INET ? 20 : 40);
	uint8_t frame[SYNTRAP_FRAME_BYTES];
	struct syntrap trap;
	char byte = 'x';

	assert_int_equal(syntrap_open(&at, &trap), 0);
	assert_true(trap.trap >= 0);
	int fd = begin(&at);
	size_t len = next_syn(&trap, frame);
	/* nobody has been accepted, and the question comes once */
	assert_int_equal(syntrap_read(trap.trap, frame + 200, 20), -EAGAIN);
	assert_false(is_ready(fd, POLLOUT, 0));
	assert_int_equal(syntrap_let_in(trap.trap, frame, len, tcp_at), 0);
	assert_int_equal(outcome(fd), 0);
	assert_true(is_ready(trap.listener, POLLIN, SOON_MS));
	int accepted = accept(trap.listener, NULL, NULL);
	assert_true(accepted >= 0);
	/* what was let in is no question again, nor is what follows */
	assert_int_equal(send(fd, &byte, 1, 0), 1);
	assert_true(is_ready(accepted, POLLIN, SOON_MS));
	assert_int_equal(recv(accepted, &byte, 1, 0), 1);
	assert_int_equal(syntrap_read(trap.trap, frame, sizeof(frame)), -EAGAIN);
	close(accepted);
	close(fd);
	close_trap(&trap);
}

static void who_is_refused_hears_it(int family)
{
	const struct addr at = at_of(family);
	uint8_t frame[SYNTRAP_FRAME_BYTES], answer[REFUSAL_FRAME_BYTES];
	static const int errors[] = {ECONNREFUSED, EHOSTUNREACH, ENETUNREACH};
	struct net_plan here = plan;
	struct syntrap trap;

	here.host.s_addr = htonl(INADDR_LOOPBACK);
	here.host6 = in6addr_loopback;
	assert_int_equal(syntrap_open(&at, &trap), 0);
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		int fd = begin(&at);
		size_t len = next_syn(&trap, frame);
		size_t size = refusal_make(&here, frame, len, -errors[i], answer);

		assert_true(size > 0);
		assert_int_equal(syntrap_send(trap.trap, answer, size), 0);
		assert_int_equal(outcome(fd), errors[i]);
		close(fd);
	}
	close_trap(&trap);
}

static void four_in(void **state)
{
	(void)state;
	who_is_let_in_is_accepted(AF_INET);
}

static void six_in(void **state)
{
	(void)state;
	who_is_let_in_is_accepted(AF_INET6);
}

static void four_refused(void **state)
{
	(void)state;
	who_is_refused_hears_it(AF_INET);
}

static void six_refused(void **state)
{
	(void)state;
	who_is_refused_hears_it(AF_INET6);
}

/* Others of lo's are none of its business, and a port that is taken is said. */
static void others_are_left_alone(void **state)
{
	const struct addr at = at_of(AF_INET), beside = addr_loopback4(PORT + 1);
	uint8_t frame[SYNTRAP_FRAME_BYTES];
	struct syntrap trap, second;
	int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_int_equal(syntrap_open(&at, &trap), 0);
	assert_int_equal(syntrap_open(&at, &second), -EADDRINUSE);
	assert_int_equal(second.trap, -1);
	assert_int_equal(bind(server, &beside.any, addr_len(&beside)), 0);
	assert_int_equal(listen(server, 1), 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, &beside.any, addr_len(&beside)), 0);
	assert_int_equal(syntrap_read(trap.trap, frame, sizeof(frame)), -EAGAIN);
	assert_int_equal(syntrap_let_in(trap.trap, frame, 30, 34), -EINVAL);
	close(fd);
	close(server);
	close_trap(&trap);
}

/* A listener at every address, asked at two of them. */
static void every_address(void **state)
{
	const struct addr at = addr_of4((struct in_addr){htonl(INADDR_ANY)}, PORT);
	struct addr to = addr_of4((struct in_addr){htonl(0x7f010203)}, PORT);
	uint8_t frame[SYNTRAP_FRAME_BYTES];
	struct syntrap trap;

	(void)state;
	assert_int_equal(syntrap_open(&at, &trap), 0);
	for (int i = 0; i < 2; i++, to = addr_loopback4(PORT)) {
		int fd = begin(&to);
		size_t len = next_syn(&trap, frame);

		assert_int_equal(syntrap_let_in(trap.trap, frame, len, ETH_HLEN + 20), 0);
		assert_int_equal(outcome(fd), 0);
		close(fd);
	}
	close_trap(&trap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(four_in),
		cmocka_unit_test(six_in),
		cmocka_unit_test(four_refused),
		cmocka_unit_test(six_refused),
		cmocka_unit_test(others_are_left_alone),
		cmocka_unit_test(every_address),
	};

	netns_enter_or_skip();
	int nl = netdev_open();
	netdev_set_up(nl, 1, 0);
	close(nl);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
