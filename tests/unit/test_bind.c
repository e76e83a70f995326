/* SPDX-License-Identifier: Apache-2.0 */
/* test_listen - ports and paths are taken, or it is said who has them */
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
#include "net/link.h"
#include "netns.h"

#define PORT     8080
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct forward_spec spec_at(const char *host, uint16_t port, enum proto proto)
{
	struct forward_spec spec = {.host_port = port, .guest_port = 80, .proto = proto};

	spec.host.family = strchr(host, ':') ? AF_INET6 : AF_INET;
	assert_int_equal(inet_pton(spec.host.family, host, &spec.host.v4), 1);
	return spec;
}

static struct forward_spec spec_of_path(const char *path)
{
	struct forward_spec spec = {.guest_port = 80, .host.family = AF_UNIX};

	assert_true(strlen(path) < sizeof(spec.host.path));
	strcpy(spec.host.path, path);
	return spec;
}

/* A client's connected socket, or -errno. */
static int client_of(const struct forward_spec *spec)
{
	struct sockaddr_storage addr;
	socklen_t len = forward_addr_to_sockaddr(&spec->host, spec->host_port, &addr);
	int fd =
		socket(spec->host.family, spec->proto == PROTO_UDP ? SOCK_DGRAM : SOCK_STREAM, 0);

	assert_true(fd >= 0);
	if (connect(fd, (struct sockaddr *)&addr, len) == 0)
		return fd;
	int code = errno;
	close(fd);
	return -code;
}

/* What libslirp does: a socket of its own with SO_REUSEADDR. Listening fd or -errno. */
static int listen_like_libslirp(const struct forward_spec *spec)
{
	struct sockaddr_storage addr;
	socklen_t len = forward_addr_to_sockaddr(&spec->host, spec->host_port, &addr);
	int fd = socket(spec->host.family, SOCK_STREAM, 0), on = 1;

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (spec->host.family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&addr, len) == 0 && listen(fd, 1) == 0)
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
		struct forward_spec spec = spec_at(hosts[i], PORT, PROTO_TCP);
		struct bound listener;

		assert_int_equal(bind_forward(&spec, false, &listener, NULL), 0);
		assert_int_equal(spec.host_port, PORT);
		assert_int_equal(spec.guest_port, 80);
		assert_int_equal(listener.dir_fd, -1);
		assert_int_equal(fcntl(listener.fd, F_GETFD), FD_CLOEXEC);
		assert_true(fcntl(listener.fd, F_GETFL) & O_NONBLOCK);
		int client = client_of(&spec);
		assert_true(client >= 0);
		int server = accept(listener.fd, NULL, NULL);
		assert_true(server >= 0);
		close(server); /* first: leaves TIME_WAIT, which must not matter */
		close(client);
		bind_close(&listener);
		assert_int_equal(listener.fd, -1);
		assert_int_equal(client_of(&spec), -ECONNREFUSED);
	}
}

/* Both families' wildcards are different places. */
static void wildcards_do_not_overlap(void **state)
{
	struct forward_spec v4 = spec_at("0.0.0.0", PORT, PROTO_TCP),
			    v6 = spec_at("::", PORT, PROTO_TCP);
	struct bound listener4, listener6;

	(void)state;
	assert_int_equal(bind_forward(&v6, false, &listener6, NULL), 0);
	assert_int_equal(bind_forward(&v4, false, &listener4, NULL), 0);
	bind_close(&listener4);
	bind_close(&listener6);
	v4.proto = v6.proto = PROTO_UDP;
	assert_int_equal(bind_forward(&v6, false, &listener6, NULL), 0);
	assert_int_equal(bind_forward(&v4, false, &listener4, NULL), 0);
	bind_close(&listener4);
	bind_close(&listener6);
}

static void picks_ports(void **state)
{
	(void)state;
	for (int i = 0; i < 8; i++) {
		bool is_udp = i & 1, reserve_only = i & 2;
		struct forward_spec spec =
			spec_at("127.0.0.1", 0, is_udp ? PROTO_UDP : PROTO_TCP);
		struct bound listener;

		spec.guest_port = i & 4 ? 0 : 80;
		assert_int_equal(bind_forward(&spec, reserve_only, &listener, NULL), 0);
		assert_true(spec.host_port != 0);
		assert_int_equal(spec.guest_port, i & 4 ? spec.host_port : 80);
		assert_int_equal(listener.fd < 0, is_udp && reserve_only);
		if (listener.fd >= 0) {
			struct sockaddr_in addr;
			socklen_t len = sizeof(addr);

			getsockname(listener.fd, (struct sockaddr *)&addr, &len);
			assert_int_equal(ntohs(addr.sin_port), spec.host_port);
		}
		bind_close(&listener);
	}
}

/* Reserved: nobody is answered, nobody but libslirp's socket gets the port, and that one does. */
static void reserves_for_libslirp(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(hosts); i++) {
		struct forward_spec spec = spec_at(hosts[i], PORT, PROTO_TCP);
		struct bound reserved, second;
		struct err err = {0};
		int plain = socket(spec.host.family, SOCK_STREAM, 0), on = 1;
		struct sockaddr_storage addr;
		socklen_t len = forward_addr_to_sockaddr(&spec.host, PORT, &addr);

		assert_int_equal(bind_forward(&spec, true, &reserved, &err), 0);
		assert_int_equal(client_of(&spec), -ECONNREFUSED);
		if (spec.host.family == AF_INET6)
			setsockopt(plain, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
		assert_int_equal(bind(plain, (struct sockaddr *)&addr, len), -1);
		assert_int_equal(errno, EADDRINUSE);
		close(plain);

		int theirs = listen_like_libslirp(&spec);
		assert_true(theirs >= 0);
		int client = client_of(&spec);
		assert_true(client >= 0);
		/* and now nobody else, however he asks */
		assert_int_equal(bind_forward(&spec, true, &second, &err), -EADDRINUSE);
		assert_int_equal(bind_forward(&spec, false, &second, &err), -EADDRINUSE);
		assert_int_equal(second.fd, -1);
		close(client);
		/* the net process died: the next one's libslirp listens again */
		close(theirs);
		theirs = listen_like_libslirp(&spec);
		assert_true(theirs >= 0);
		close(theirs);
		bind_close(&reserved);
	}
}

static void says_who_has_the_port(void **state)
{
	enum proto protos[] = {PROTO_TCP, PROTO_UDP};
	char expected[128], name[17] = {0};
	int comm = open("/proc/self/comm", O_RDONLY);
	ssize_t len = read(comm, name, sizeof(name) - 1);

	(void)state;
	assert_true(len > 0);
	name[len - 1] = '\0';
	close(comm);
	for (size_t i = 0; i < 4; i++) {
		const char *host = i & 2 ? "::1" : "127.0.0.1";
		struct forward_spec spec = spec_at(host, PORT, protos[i & 1]);
		struct bound holder, listener;
		struct err err = {0};

		assert_int_equal(bind_forward(&spec, false, &holder, &err), 0);
		spec.guest_port = 0;
		for (int reserve_only = 0; reserve_only < 2; reserve_only++) {
			assert_int_equal(
				bind_forward(&spec, reserve_only, &listener, &err), -EADDRINUSE);
			assert_int_equal(listener.fd, -1);
			assert_int_equal(spec.guest_port, 0);
			snprintf(expected, sizeof(expected), "%s %d of %s is in use by %s (pid %d)",
				i & 1 ? "UDP port" : "port", PORT, host, name, getpid());
			assert_string_equal(err.text, expected);
			assert_int_equal(err.code, EADDRINUSE);
		}
		bind_close(&holder);
	}
}

static void explains_addresses_and_rights(void **state)
{
	struct forward_spec spec = spec_at("192.0.2.1", PORT, PROTO_TCP);
	struct bound listener;
	struct err err = {0};
	int status;

	(void)state;
	assert_int_equal(bind_forward(&spec, false, &listener, &err), -EADDRNOTAVAIL);
	assert_string_equal(err.text, "192.0.2.1 is no address of this host");
	spec = spec_at("2001:db8::1", PORT, PROTO_UDP);
	assert_int_equal(bind_forward(&spec, true, &listener, &err), -EADDRNOTAVAIL);
	assert_string_equal(err.text, "2001:db8::1 is no address of this host");

	pid_t child = fork();
	if (child == 0) {
		cap_t none = cap_init();

		spec = spec_at("127.0.0.1", 80, PROTO_TCP);
		if (cap_set_proc(none) < 0)
			_exit(2);
		int result = bind_forward(&spec, false, &listener, &err);
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
	struct forward_spec spec = spec_at("127.0.0.1", PORT, PROTO_UDP);
	struct bound listener, second;
	char byte = 0;

	(void)state;
	assert_int_equal(bind_forward(&spec, false, &listener, NULL), 0);
	/* no two share a port */
	assert_int_equal(bind_forward(&spec, false, &second, NULL), -EADDRINUSE);
	int client = client_of(&spec);
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
	char dir[] = "/tmp/test_listen.XXXXXX", path[100], here[PATH_MAX];
	struct bound listener, second;
	struct err err = {0};

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	struct forward_spec spec = spec_of_path(path), relative = spec_of_path("s");
	assert_int_equal(bind_forward(&spec, false, &listener, &err), 0);
	int client = client_of(&spec);
	assert_true(client >= 0);
	close(client);
	assert_int_equal(bind_forward(&spec, false, &second, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, path));
	assert_non_null(strstr(err.text, "is in use by another program"));
	assert_int_equal(second.fd, -1);

	/* stale, and by a relative path; the place is known even when the directory changes */
	close(listener.fd);
	close(listener.dir_fd);
	assert_non_null(getcwd(here, sizeof(here)));
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(bind_forward(&relative, false, &listener, &err), 0);
	assert_int_equal(chdir("/"), 0);
	assert_true((client = client_of(&spec)) >= 0);
	close(client);
	bind_close(&listener);
	assert_int_equal(listener.fd, -1);
	assert_int_equal(listener.dir_fd, -1);
	assert_int_equal(access(path, F_OK), -1);

	/* not ours any more: stays */
	assert_int_equal(bind_forward(&spec, false, &listener, &err), 0);
	assert_int_equal(unlink(path), 0);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(bind_forward(&spec, false, &second, &err), -EEXIST);
	assert_non_null(strstr(err.text, "is no socket"));
	bind_close(&listener);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);

	assert_int_equal(bind_forward(&spec, false, &listener, &err), -ENOENT);
	assert_non_null(strstr(err.text, dir));
	assert_non_null(strstr(err.text, "no directory"));
	spec = spec_of_path("/tmp/");
	assert_int_equal(bind_forward(&spec, false, &listener, &err), -EINVAL);
	assert_int_equal(bind_forward(&spec, true, &listener, &err), -EINVAL);
	assert_int_equal(chdir(here), 0);
}

static int set_lo_up(void **state)
{
	int rtnl = link_open();

	(void)state;
	return link_set_up(rtnl, link_index(rtnl, "lo"), 0) || close(rtnl);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tcp_listens),
		cmocka_unit_test(wildcards_do_not_overlap),
		cmocka_unit_test(picks_ports),
		cmocka_unit_test(reserves_for_libslirp),
		cmocka_unit_test(says_who_has_the_port),
		cmocka_unit_test(explains_addresses_and_rights),
		cmocka_unit_test(udp_is_bound),
		cmocka_unit_test(unix_paths),
	};

	netns_enter_or_skip();
	return cmocka_run_group_tests(tests, set_lo_up, NULL);
}
