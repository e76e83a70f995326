/* SPDX-License-Identifier: Apache-2.0 */
/* test_bind - ports and paths are taken, or it is said who has them */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conn/bind.h"
#include "net/netdev.h"
#include "netns.h"

#define PORT     8080
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct addr addr_at(const char *host, uint16_t port)
{
	struct addr addr;

	assert_int_equal(addr_parse(host, &addr, NULL), 0);
	addr_set_port(&addr, port);
	return addr;
}

static struct addr addr_of_path(const char *path)
{
	struct addr addr = {.family = AF_UNIX};

	assert_true(strlen(path) < sizeof(addr.local.sun_path));
	strcpy(addr.local.sun_path, path);
	return addr;
}

/* A client's connected socket, or -errno. */
static int client_of(const struct addr *addr, enum proto proto)
{
	int fd = socket(addr->family, addr_proto_type(proto), 0);

	assert_true(fd >= 0);
	if (connect(fd, &addr->any, addr_len(addr)) == 0)
		return fd;
	int code = errno;
	close(fd);
	return -code;
}

static const char *const hosts[] = {"127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::"};

static void tcp_listens(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(hosts); i++) {
		struct addr addr = addr_at(hosts[i], PORT);
		struct bound listener;

		assert_int_equal(bind_open(&addr, PROTO_TCP, &listener, NULL), 0);
		assert_int_equal(addr_port(&addr), PORT);
		assert_int_equal(listener.dir_fd, -1);
		assert_int_equal(fcntl(listener.fd, F_GETFD), FD_CLOEXEC);
		assert_true(fcntl(listener.fd, F_GETFL) & O_NONBLOCK);
		int client = client_of(&addr, PROTO_TCP);
		assert_true(client >= 0);
		int server = accept(listener.fd, NULL, NULL);
		assert_true(server >= 0);
		int is_kept = 0;
		socklen_t len = sizeof(is_kept);
		assert_int_equal(getsockopt(server, SOL_SOCKET, SO_KEEPALIVE, &is_kept, &len), 0);
		assert_true(is_kept);
		close(server); /* first: leaves TIME_WAIT, which must not matter */
		close(client);
		bind_close(&listener);
		assert_int_equal(listener.fd, -1);
		assert_int_equal(client_of(&addr, PROTO_TCP), -ECONNREFUSED);
	}
}

/* Both families' wildcards are different places. */
static void wildcards_do_not_overlap(void **state)
{
	struct addr v4 = addr_at("0.0.0.0", PORT), v6 = addr_at("::", PORT);
	struct bound listener4, listener6;

	(void)state;
	assert_int_equal(bind_open(&v6, PROTO_TCP, &listener6, NULL), 0);
	assert_int_equal(bind_open(&v4, PROTO_TCP, &listener4, NULL), 0);
	bind_close(&listener4);
	bind_close(&listener6);
	assert_int_equal(bind_open(&v6, PROTO_UDP, &listener6, NULL), 0);
	assert_int_equal(bind_open(&v4, PROTO_UDP, &listener4, NULL), 0);
	bind_close(&listener4);
	bind_close(&listener6);
}

static void picks_ports(void **state)
{
	(void)state;
	for (enum proto proto = PROTO_TCP; proto <= PROTO_UDP; proto++) {
		struct addr addr = addr_at("127.0.0.1", 0), own;
		struct bound listener;

		assert_int_equal(bind_open(&addr, proto, &listener, NULL), 0);
		assert_true(addr_port(&addr) != 0);
		assert_int_equal(addr_get_own(listener.fd, &own), 0);
		assert_true(addr_equal(&own, &addr));
		bind_close(&listener);
	}
}

/* Somebody else tries for @addr's port at @host, with @option set. What bind(2) or listen(2) says.
 */
static int try_port(const struct addr *addr, const char *host, enum proto proto, int option)
{
	struct addr at = addr_at(host, addr_port(addr));
	int fd = socket(at.family, addr_proto_type(proto) | SOCK_CLOEXEC, 0), on = 1, code = 0;

	if (at.family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (option)
		assert_int_equal(setsockopt(fd, SOL_SOCKET, option, &on, sizeof(on)), 0);
	if (bind(fd, &at.any, addr_len(&at)) < 0 || (proto == PROTO_TCP && listen(fd, 1) < 0))
		code = errno;
	close(fd);
	return code;
}

/* However they ask: at the same address, at the wildcard and, below that, at one address. */
static void nobody_else_gets_the_port(void **state)
{
	static const int options[] = {0, SO_REUSEADDR, SO_REUSEPORT};

	(void)state;
	for (size_t i = 0; i < COUNT(hosts) * 2; i++) {
		const char *host = hosts[i / 2];
		enum proto proto = i & 1 ? PROTO_UDP : PROTO_TCP;
		struct addr addr = addr_at(host, PORT);
		bool is_v6 = addr.family == AF_INET6;
		struct bound listener;

		assert_int_equal(bind_open(&addr, proto, &listener, NULL), 0);
		for (size_t k = 0; k < COUNT(options); k++) {
			const char *wildcard = is_v6 ? "::" : "0.0.0.0";
			const char *one =
				addr_is_wildcard(&addr) ? is_v6 ? "::1" : "127.0.0.1" : host;

			assert_int_equal(try_port(&addr, wildcard, proto, options[k]), EADDRINUSE);
			assert_int_equal(try_port(&addr, one, proto, options[k]), EADDRINUSE);
		}
		bind_close(&listener);
	}
}

static void says_who_has_the_port(void **state)
{
	char expected[128], name[17] = {0};
	int comm = open("/proc/self/comm", O_RDONLY);
	ssize_t len = read(comm, name, sizeof(name) - 1);

	(void)state;
	assert_true(len > 0);
	name[len - 1] = '\0';
	close(comm);
	for (size_t i = 0; i < 4; i++) {
		const char *host = i & 2 ? "::1" : "127.0.0.1";
		enum proto proto = i & 1 ? PROTO_UDP : PROTO_TCP;
		struct addr addr = addr_at(host, PORT), before = addr;
		struct bound holder, listener;
		struct err err = {0};

		assert_int_equal(bind_open(&addr, proto, &holder, &err), 0);
		assert_int_equal(bind_open(&addr, proto, &listener, &err), -EADDRINUSE);
		assert_int_equal(listener.fd, -1);
		assert_true(addr_equal(&addr, &before));
		snprintf(expected, sizeof(expected), "%s %d of %s is in use by %s (pid %d)",
			i & 1 ? "UDP port" : "port", PORT, host, name, getpid());
		assert_string_equal(err.text, expected);
		assert_int_equal(err.code, EADDRINUSE);
		bind_close(&holder);
	}
}

static void explains_addresses_and_rights(void **state)
{
	struct addr addr = addr_at("192.0.2.1", PORT);
	struct bound listener;
	struct err err = {0};
	int status;

	(void)state;
	assert_int_equal(bind_open(&addr, PROTO_TCP, &listener, &err), -EADDRNOTAVAIL);
	assert_string_equal(err.text, "192.0.2.1 is no address of this host");
	addr = addr_at("2001:db8::1", PORT);
	assert_int_equal(bind_open(&addr, PROTO_UDP, &listener, &err), -EADDRNOTAVAIL);
	assert_string_equal(err.text, "2001:db8::1 is no address of this host");
	/* datagrams to a network come there, connections do not */
	addr = addr_at("127.255.255.255", 0);
	assert_int_equal(bind_open(&addr, PROTO_TCP, &listener, &err), -EADDRNOTAVAIL);
	assert_string_equal(err.text, "127.255.255.255 is no address of this host");
	assert_int_equal(bind_open(&addr, PROTO_UDP, &listener, &err), 0);
	bind_close(&listener);

	pid_t child = fork();
	if (child == 0) {
		cap_t none = cap_init();

		addr = addr_at("127.0.0.1", 80);
		if (cap_set_proc(none) < 0)
			_exit(2);
		int result = bind_open(&addr, PROTO_TCP, &listener, &err);
		_exit(result == -EACCES && strstr(err.text, "port 80 of 127.0.0.1") == err.text &&
					strstr(err.text, "1024") &&
					strstr(err.text, "net.ipv4.ip_unprivileged_port_start")
				? 0
				: 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void udp_is_bound(void **state)
{
	struct addr addr = addr_at("127.0.0.1", PORT);
	struct bound listener, second;
	char byte = 0;

	(void)state;
	assert_int_equal(bind_open(&addr, PROTO_UDP, &listener, NULL), 0);
	/* no two share a port */
	assert_int_equal(bind_open(&addr, PROTO_UDP, &second, NULL), -EADDRINUSE);
	int client = client_of(&addr, PROTO_UDP);
	assert_int_equal(send(client, "x", 1, 0), 1);
	struct pollfd ready = {listener.fd, POLLIN, 0};
	assert_int_equal(poll(&ready, 1, 5000), 1);
	assert_int_equal(recv(listener.fd, &byte, 1, 0), 1);
	assert_int_equal(byte, 'x');
	assert_int_equal(recv(listener.fd, &byte, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
	close(client);
	bind_close(&listener);
}

static void unix_paths(void **state)
{
	char dir[] = "/tmp/test_bind.XXXXXX", path[100], here[PATH_MAX];
	struct bound listener, second;
	struct err err = {0};

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	struct addr addr = addr_of_path(path), relative = addr_of_path("s");
	assert_int_equal(bind_open(&addr, PROTO_TCP, &listener, &err), 0);
	int client = client_of(&addr, PROTO_TCP);
	assert_true(client >= 0);
	close(client);
	assert_int_equal(bind_open(&addr, PROTO_TCP, &second, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, path));
	assert_non_null(strstr(err.text, "is in use by another program"));
	assert_int_equal(second.fd, -1);

	/* stale, and by a relative path; the place is known even when the directory changes */
	close(listener.fd);
	close(listener.dir_fd);
	assert_non_null(getcwd(here, sizeof(here)));
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(bind_open(&relative, PROTO_TCP, &listener, &err), 0);
	assert_int_equal(chdir("/"), 0);
	assert_true((client = client_of(&addr, PROTO_TCP)) >= 0);
	close(client);
	bind_close(&listener);
	assert_int_equal(listener.fd, -1);
	assert_int_equal(listener.dir_fd, -1);
	assert_int_equal(access(path, F_OK), -1);

	/* not ours any more: stays */
	assert_int_equal(bind_open(&addr, PROTO_TCP, &listener, &err), 0);
	assert_int_equal(unlink(path), 0);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(bind_open(&addr, PROTO_TCP, &second, &err), -EEXIST);
	assert_non_null(strstr(err.text, "is no socket"));
	bind_close(&listener);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);

	assert_int_equal(bind_open(&addr, PROTO_TCP, &listener, &err), -ENOENT);
	assert_non_null(strstr(err.text, dir));
	assert_non_null(strstr(err.text, "no directory"));
	addr = addr_of_path("/tmp/");
	assert_int_equal(bind_open(&addr, PROTO_TCP, &listener, &err), -EINVAL);
	assert_int_equal(chdir(here), 0);
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
		cmocka_unit_test(tcp_listens),
		cmocka_unit_test(wildcards_do_not_overlap),
		cmocka_unit_test(picks_ports),
		cmocka_unit_test(nobody_else_gets_the_port),
		cmocka_unit_test(says_who_has_the_port),
		cmocka_unit_test(explains_addresses_and_rights),
		cmocka_unit_test(udp_is_bound),
		cmocka_unit_test(unix_paths),
	};

	netns_enter_or_skip();
	return cmocka_run_group_tests(tests, set_lo_up, NULL);
}
