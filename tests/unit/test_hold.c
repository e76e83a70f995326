/* SPDX-License-Identifier: Apache-2.0 */
/* test_hold - what is held is nobody else's, however he asks, and in nobody's way */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conn/bind.h"
#include "conn/hold.h"
#include "net/netdev.h"
#include "netns.h"
#include "util/fd.h"

#define PORT      8888
#define OTHER_UID 4321
#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))

static const char *const loopbacks[] = {"127.0.0.1", "127.0.1.1", "::1"};
static const char *const all[] = {"127.0.0.1", "127.0.1.1", "::1", "0.0.0.0", "::"};

static struct addr addr_at(const char *host)
{
	struct addr addr;

	assert_int_equal(addr_parse(host, &addr, NULL), 0);
	addr_set_port(&addr, PORT);
	return addr;
}

enum { REUSES_ADDR = 1, REUSES_PORT = 2, IS_DUAL = 4, WAYS = 8 };

/* Returns a listener or -errno. */
static int listen_at(const struct addr *addr, int ways)
{
	int fd = socket(addr->family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	int only = !(ways & IS_DUAL);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, ways & REUSES_ADDR ? sizeof(on) : 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, ways & REUSES_PORT ? sizeof(on) : 0);
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
	if (bind(fd, &addr->any, addr_len(addr)) == 0 && listen(fd, 1) == 0)
		return fd;
	int code = errno;
	close(fd);
	return -code;
}

/*
 * In how many ways can another user listen at @addr? @expected where this user cannot become
 * another one: then tests/e2e/test_hold.py alone knows.
 */
static int ways_of_another_user(const struct addr *addr, int expected)
{
	int status, taken = 0;

	if (geteuid() != 0)
		return expected;
	pid_t child = fork();
	if (child == 0) {
		if (setresuid(OTHER_UID, OTHER_UID, OTHER_UID) < 0)
			_exit(100);
		for (int ways = 0; ways < WAYS; ways++) {
			int fd = listen_at(addr, ways);

			taken += fd >= 0;
			fd_close(&fd);
		}
		_exit(taken);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= WAYS);
	return WEXITSTATUS(status);
}

static bool nothing_is_ours(const void *owner, const struct addr *addr)
{
	(void)owner, (void)addr;
	return false;
}

static bool is_ours(const void *owner, const struct addr *addr)
{
	return addr_equal(owner, addr);
}

static int hold_all(struct hold *hold, struct addr *taken)
{
	hold_init(hold);
	*taken = (struct addr){0};
	return hold_port(hold, PORT, nothing_is_ours, NULL, taken);
}

static int connect_to(const struct addr *addr)
{
	_cleanup_fd_ int fd = socket(addr->family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return connect(fd, &addr->any, addr_len(addr)) < 0 ? -errno : fd_take(&fd);
}

static void nobody_else_listens(void **state)
{
	struct hold hold;
	struct addr taken;

	(void)state;
	assert_int_equal(hold_all(&hold, &taken), 0);
	for (size_t i = 0; i < COUNT(all); i++) {
		struct addr addr = addr_at(all[i]);

		assert_int_equal(ways_of_another_user(&addr, 0), 0);
	}
	for (size_t i = 0; i < COUNT(loopbacks); i++) {
		struct addr addr = addr_at(loopbacks[i]);

		assert_int_equal(connect_to(&addr), -ECONNREFUSED);
	}
	hold_release(&hold);
	for (size_t i = 0; i < COUNT(all); i++) {
		struct addr addr = addr_at(all[i]);

		assert_int_equal(ways_of_another_user(&addr, WAYS), WAYS);
	}
}

/* Old connections of a server that has ended are not in the way, and change nothing. */
static void old_connections_do_not_matter(void **state)
{
	struct hold hold;
	struct addr taken;

	(void)state;
	for (size_t i = 0; i < COUNT(loopbacks); i++) {
		struct addr addr = addr_at(loopbacks[i]);
		int listener = listen_at(&addr, REUSES_ADDR), client = connect_to(&addr);
		int server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		assert_true(server >= 0);
		close(server); /* first: TIME_WAIT is here */
		close(client);
		close(listener);
		assert_int_equal(listen_at(&addr, 0), -EADDRINUSE);
	}
	assert_int_equal(hold_all(&hold, &taken), 0);
	for (size_t i = 0; i < COUNT(all); i++) {
		struct addr addr = addr_at(all[i]);

		for (int ways = 0; ways < WAYS; ways++)
			if (!(ways & REUSES_PORT)) /* the same user */
				assert_int_equal(listen_at(&addr, ways), -EADDRINUSE);
		assert_int_equal(ways_of_another_user(&addr, 0), 0);
	}
	hold_release(&hold);
}

static void says_what_is_somebody_elses(void **state)
{
	struct hold hold;
	struct addr taken;

	(void)state;
	for (size_t i = 0; i < COUNT(all); i++) {
		struct addr addr = addr_at(all[i]);
		int listener = listen_at(&addr, REUSES_ADDR);

		assert_true(listener >= 0);
		assert_int_equal(hold_all(&hold, &taken), -EADDRINUSE);
		assert_int_equal(taken.family, addr.family);
		assert_true(addr_is_wildcard(&addr) || addr_equal(&taken, &addr));
		/* the rest is held */
		for (size_t j = 0; j < COUNT(loopbacks); j++) {
			struct addr other = addr_at(loopbacks[j]);
			int fd = listen_at(&other, 0);

			assert_int_equal(fd, -EADDRINUSE);
		}
		hold_release(&hold);
		/* unless it is ours */
		hold_init(&hold);
		if (!addr_is_wildcard(&addr))
			assert_int_equal(hold_port(&hold, PORT, is_ours, &addr, &taken), 0);
		hold_release(&hold);
		close(listener);
	}
}

/* Sandboxes of one user: any number hold a port, and one of them may lead it in after all. */
static void a_users_holds_share(void **state)
{
	struct hold holds[3];
	struct addr taken;

	(void)state;
	for (size_t i = 0; i < COUNT(holds); i++)
		assert_int_equal(hold_all(&holds[i], &taken), 0);
	for (size_t i = 0; i < COUNT(all); i++) {
		struct addr addr = addr_at(all[i]), specific = addr;
		struct bound listener, second;
		struct err err;

		assert_int_equal(bind_open(&addr, PROTO_TCP, &listener, &err), 0);
		if (addr_is_wildcard(&addr))
			specific = addr_at(addr.family == AF_INET ? "127.0.0.1" : "::1");
		int client = connect_to(&specific);
		assert_true(client >= 0);
		close(client);
		/* one: a port in use is an error as ever */
		assert_int_equal(bind_open(&addr, PROTO_TCP, &second, &err), -EADDRINUSE);
		assert_int_equal(bind_open(&specific, PROTO_TCP, &second, &err), -EADDRINUSE);
		bind_close(&listener);
	}
	for (size_t i = 0; i < COUNT(holds); i++) {
		struct addr addr = addr_at("127.0.0.1");

		assert_int_equal(listen_at(&addr, REUSES_ADDR), -EADDRINUSE);
		hold_release(&holds[i]);
	}
	struct addr addr = addr_at("127.0.0.1");
	int listener = listen_at(&addr, REUSES_ADDR);
	assert_true(listener >= 0);
	close(listener);
}

static void ports_of_the_administrator_are_left_out(void **state)
{
	struct addr taken = {0};
	struct hold hold;
	int status;
	pid_t child = fork();

	(void)state;
	if (child == 0) {
		/* without rights over the namespace */
		if (geteuid() == 0 ? setresuid(OTHER_UID, OTHER_UID, OTHER_UID) < 0
				   : unshare(CLONE_NEWUSER) < 0)
			_exit(2);
		hold_init(&hold);
		_exit(hold_port(&hold, 80, nothing_is_ours, NULL, &taken) != 0 || hold.fds[0] >= 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static int set_lo_up(void **state)
{
	int rtnl = netdev_open();

	(void)state;
	return netdev_set_up(rtnl, netdev_index(rtnl, "lo"), 0) || close(rtnl);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_else_listens),
		cmocka_unit_test(old_connections_do_not_matter),
		cmocka_unit_test(says_what_is_somebody_elses),
		cmocka_unit_test(a_users_holds_share),
		cmocka_unit_test(ports_of_the_administrator_are_left_out),
	};

	netns_enter_or_skip();
	return cmocka_run_group_tests(tests, set_lo_up, NULL);
}
