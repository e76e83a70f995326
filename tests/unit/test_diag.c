/* SPDX-License-Identifier: Apache-2.0 */
/* test_diag - what net/diag says about sockets is what connect and bind find */
#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/diag.h"
#include "net/netdev.h"
#include "netns.h"
#include "util/addr.h"

#define WAIT_MS   5000 /* far above what anything here takes */
#define OTHER_UID 4321
#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))

/* Where a socket may be bound, and where a client may knock */
static const char *const owns[] = {
	"127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0"};
static const char *const targets[] = {"127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"};

static struct addr at(const char *text, uint16_t port)
{
	struct addr out;

	assert_int_equal(addr_parse(text, &out, NULL), 0);
	addr_set_port(&out, port);
	return out;
}

static enum proto proto_of(int type)
{
	return type == SOCK_STREAM ? PROTO_TCP : PROTO_UDP;
}

/* A bound socket, or -errno; IPv6 is dual-stack unless @v6only */
static int bound(int type, const char *text, uint16_t port, bool v6only)
{
	struct addr addr = at(text, port);
	int fd = socket(addr.family, type | SOCK_CLOEXEC, 0), value = v6only;

	assert_true(fd >= 0);
	if (addr.family == AF_INET6)
		assert_int_equal(
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &value, sizeof(value)), 0);
	if (bind(fd, &addr.any, addr_len(&addr)) == 0)
		return fd;
	int code = errno;
	close(fd);
	return -code;
}

static int listener(int type, const char *text, uint16_t port, bool v6only)
{
	int fd = bound(type, text, port, v6only);

	assert_true(fd >= 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 8), 0);
	return fd;
}

static struct addr own_name(int fd)
{
	struct addr out;

	assert_int_equal(addr_get_own(fd, &out), 0);
	return out;
}

static struct addr peer_name(int fd)
{
	struct addr out;

	assert_int_equal(addr_get_peer(fd, &out), 0);
	return out;
}

static uint16_t port_of(int fd)
{
	const struct addr own = own_name(fd);

	return addr_port(&own);
}

static int client(int type, const struct addr *to)
{
	int fd = socket(to->family, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (connect(fd, &to->any, addr_len(to)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* Whether a real client finds somebody; a datagram either arrives at @server or is refused */
static int is_found(int type, int server, const struct addr *to)
{
	int fd = client(type, to);
	char byte;

	if (fd < 0)
		return 0;
	if (type == SOCK_STREAM) {
		close(fd);
		return 1;
	}
	struct pollfd pfd[] = {{.fd = fd, .events = POLLIN}, {.fd = server, .events = POLLIN}};
	assert_int_equal(send(fd, "x", 1, 0), 1);
	assert_true(poll(pfd, 2, WAIT_MS) > 0);
	int found = (pfd[1].revents & POLLIN) != 0;
	if (found)
		assert_int_equal(recv(server, &byte, 1, 0), 1);
	close(fd);
	return found;
}

static int asks(int nl, int type, const char *text, uint16_t port)
{
	struct addr addr = at(text, port);

	return diag_is_listening(nl, proto_of(type), &addr);
}

static void check_targets(int nl, int type, int server, const char *own)
{
	uint16_t port = port_of(server);

	for (size_t i = 0; i < COUNT(targets); i++) {
		struct addr to = at(targets[i], port);
		int really = is_found(type, server, &to);

		if (asks(nl, type, targets[i], port) != really)
			fail_msg("type %d at %s: connect to %s says %d", type, own, targets[i],
				really);
	}
}

static void listening_is_what_connect_finds(int nl, int type)
{
	for (size_t i = 0; i < COUNT(owns); i++) {
		for (int v6only = 0; v6only < 2; v6only++) {
			if (v6only && strncmp(owns[i], "::", 2))
				continue;
			if (v6only && strstr(owns[i], "ffff"))
				continue;
			int server = listener(type, owns[i], 0, v6only);

			check_targets(nl, type, server, owns[i]);
			close(server);
		}
	}
}

static void test_listening_tcp(void **state)
{
	listening_is_what_connect_finds(*(int *)*state, SOCK_STREAM);
}

static void test_listening_udp(void **state)
{
	listening_is_what_connect_finds(*(int *)*state, SOCK_DGRAM);
}

static void test_listening_on_device(void **state)
{
	int nl = *(int *)*state, server = bound(SOCK_STREAM, "0.0.0.0", 0, false);
	uint16_t port = port_of(server);

	assert_int_equal(setsockopt(server, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3), 0);
	assert_int_equal(asks(nl, SOCK_STREAM, "127.0.0.1", port), 0); /* bound, that is all */
	assert_int_equal(listen(server, 8), 0);
	assert_int_equal(asks(nl, SOCK_STREAM, "127.0.0.1", port), 1);
	close(server);
	assert_int_equal(asks(nl, SOCK_STREAM, "127.0.0.1", port), 0);
}

/* Sockets that are there and take no connections */
static void test_not_listening(void **state)
{
	int nl = *(int *)*state, server = listener(SOCK_STREAM, "127.0.0.1", 0, false);
	struct addr to = at("127.0.0.1", port_of(server));
	int fd = client(SOCK_STREAM, &to);

	assert_int_equal(asks(nl, SOCK_STREAM, "127.0.0.1", port_of(fd)), 0);
	assert_int_equal(asks(nl, SOCK_DGRAM, "127.0.0.1", port_of(server)), 0);
	close(fd);
	fd = client(SOCK_DGRAM, &to);
	assert_int_equal(asks(nl, SOCK_DGRAM, "127.0.0.1", port_of(fd)), 0);
	close(fd);
	close(server);
	to.family = AF_UNIX;
	assert_int_equal(diag_is_listening(nl, PROTO_TCP, &to), -EAFNOSUPPORT);
	to.family = AF_INET;
	assert_int_equal(diag_is_listening(-1, PROTO_TCP, &to), -EBADF);
}

/* Unread answers of others' requests, one of them a dump, stand in front of ours */
static void test_leftovers(void **state)
{
	int nl = *(int *)*state, server = listener(SOCK_STREAM, "127.0.0.1", 0, false);
	struct {
		struct nlmsghdr header;
		struct inet_diag_req_v2 body;
	} request = {
		.header = {.nlmsg_len = sizeof(request), .nlmsg_type = SOCK_DIAG_BY_FAMILY},
		.body = {.sdiag_family = AF_INET,
			.sdiag_protocol = IPPROTO_TCP,
			.idiag_states = ~0u},
	};
	int many[100];
	char first[16384];

	for (size_t i = 0; i < COUNT(many); i++)
		many[i] = listener(SOCK_STREAM, "127.0.0.1", 0, false);
	request.header.nlmsg_flags = NLM_F_REQUEST;
	assert_int_equal(send(nl, &request, sizeof(request), 0), sizeof(request));
	request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	assert_int_equal(send(nl, &request, sizeof(request), 0), sizeof(request));
	/* the kernel makes later parts of a dump as large as the largest read so far */
	assert_true(recv(nl, first, sizeof(first), 0) > 0);
	assert_int_equal(asks(nl, SOCK_STREAM, "127.0.0.1", port_of(server)), 1);
	assert_int_equal(asks(nl, SOCK_STREAM, "127.0.0.1", 1), 0);
	for (size_t i = 0; i < COUNT(many); i++)
		close(many[i]);
	close(server);
}

static void test_open(void **state)
{
	(void)state;
	struct addr to = at("127.0.0.1", 1);
	int nl = diag_open(), mute[2];

	assert_true(nl >= 0);
	assert_int_equal(fcntl(nl, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(fcntl(nl, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	close(nl);
	/* what does not answer is not waited for */
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, mute), 0);
	assert_int_equal(diag_is_listening(mute[0], PROTO_TCP, &to), -EPROTO);
	close(mute[0]);
	close(mute[1]);
}

static int exit_status_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* The descriptor looks at the namespace where it was opened */
static void test_other_namespace(void **state)
{
	int nl = *(int *)*state, server = listener(SOCK_STREAM, "127.0.0.1", 0, false);
	uint16_t port = port_of(server);
	pid_t pid = fork();

	if (pid == 0) {
		if (unshare(CLONE_NEWNET) < 0)
			_exit(99);
		int here = diag_open();
		_exit(10 * asks(nl, SOCK_STREAM, "127.0.0.1", port) +
			asks(here, SOCK_STREAM, "127.0.0.1", port));
	}
	assert_int_equal(exit_status_of(pid), 10);
	close(server);
}

/* send, recvfrom and nothing else */
static void test_under_seccomp(void **state)
{
	int nl = *(int *)*state, server = listener(SOCK_STREAM, "127.0.0.1", 0, false);
	struct addr to = at("127.0.0.1", port_of(server));
	int fd = client(SOCK_STREAM, &to);
	struct addr local = own_name(fd);
	static const int calls[] = {SCMP_SYS(sendto), SCMP_SYS(recvfrom), SCMP_SYS(clock_gettime),
		SCMP_SYS(exit_group)};
	pid_t pid = fork();

	if (pid == 0) {
		scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
		uid_t uid;

		for (size_t i = 0; i < COUNT(calls); i++)
			seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
		if (seccomp_load(filter) != 0)
			_exit(99);
		int result = diag_is_listening(nl, PROTO_TCP, &to);
		result = 10 * result + diag_socket_uid(nl, PROTO_TCP, &local, &to, &uid);
		syscall(SYS_exit_group, result); /* _exit does more under AddressSanitizer */
	}
	assert_int_equal(exit_status_of(pid), 10);
	close(fd);
	close(server);
}

/* A client in another process, where possible of another user; it lives until its stdin ends */
struct other {
	pid_t pid;
	int door;
	uid_t uid;
};

static struct other other_client(int type, const struct addr *to)
{
	int pipe_fd[2];
	char byte;

	assert_int_equal(pipe2(pipe_fd, O_CLOEXEC), 0);
	struct other out = {.uid = geteuid() == 0 ? OTHER_UID : geteuid(), .door = pipe_fd[1]};
	out.pid = fork();
	if (out.pid == 0) {
		close(pipe_fd[1]);
		if (out.uid == OTHER_UID && setresuid(OTHER_UID, OTHER_UID, OTHER_UID) < 0)
			_exit(99);
		int fd = socket(to->family, type, 0);
		if (type == SOCK_STREAM && connect(fd, &to->any, addr_len(to)) < 0)
			_exit(98);
		if (type == SOCK_DGRAM && sendto(fd, "x", 1, 0, &to->any, addr_len(to)) != 1)
			_exit(97);
		_exit(read(pipe_fd[0], &byte, 1) != 0);
	}
	close(pipe_fd[0]);
	return out;
}

static void other_end(struct other *other)
{
	close(other->door);
	assert_int_equal(exit_status_of(other->pid), 0);
}

/* A client to @target of a server at @own belongs to whom it belongs, as the server sees it */
static void check_uid_tcp(int nl, const char *own, const char *target)
{
	int server = listener(SOCK_STREAM, own, 0, false);
	struct addr to = at(target, port_of(server));
	struct other other = other_client(SOCK_STREAM, &to);
	int fd = accept4(server, NULL, NULL, SOCK_CLOEXEC);
	struct addr local = peer_name(fd), remote = own_name(fd);
	uid_t uid = 99;

	assert_int_equal(diag_socket_uid(nl, PROTO_TCP, &local, &remote, &uid), 0);
	assert_int_equal(uid, other.uid);
	/* the other way round it is our own socket */
	assert_int_equal(diag_socket_uid(nl, PROTO_TCP, &remote, &local, &uid), 0);
	assert_int_equal(uid, geteuid());
	/* who listens is known, too, not who has connected, and not who listened */
	uid = 99;
	assert_int_equal(diag_listener_uid(nl, PROTO_TCP, &to, &uid), 0);
	assert_int_equal(uid, geteuid());
	other_end(&other);
	close(fd);
	close(server);
	assert_int_equal(diag_listener_uid(nl, PROTO_TCP, &to, &uid), -ENOENT);
}

static void test_uid_tcp(void **state)
{
	int nl = *(int *)*state;

	check_uid_tcp(nl, "127.0.0.1", "127.0.0.1");
	check_uid_tcp(nl, "127.0.0.1", "::ffff:127.0.0.1"); /* a dual-stack client */
	check_uid_tcp(nl, "::", "127.0.0.1");               /* a dual-stack server */
	check_uid_tcp(nl, "::", "::ffff:127.0.0.1");
	check_uid_tcp(nl, "::1", "::1");
}

static void check_uid_udp(int nl, const char *own, const char *target)
{
	int server = listener(SOCK_DGRAM, own, 0, false);
	struct addr to = at(target, port_of(server)), local = {0};
	struct other other = other_client(SOCK_DGRAM, &to);
	socklen_t len = sizeof(local);
	char byte;
	uid_t uid = 99;

	assert_int_equal(recvfrom(server, &byte, 1, 0, &local.any, &len), 1);
	assert_int_equal(diag_socket_uid(nl, PROTO_UDP, &local, &to, &uid), 0);
	assert_int_equal(uid, other.uid);
	other_end(&other);
	assert_int_equal(diag_socket_uid(nl, PROTO_UDP, &local, &to, &uid), -ENOENT);
	close(server);
}

static void test_uid_udp(void **state)
{
	int nl = *(int *)*state;

	check_uid_udp(nl, "127.0.0.1", "127.0.0.1");
	check_uid_udp(nl, "127.0.0.1", "::ffff:127.0.0.1");
	check_uid_udp(nl, "::", "127.0.0.1");
	check_uid_udp(nl, "::1", "::1");

	int server = listener(SOCK_DGRAM, "127.0.0.1", 0, false);
	struct addr to = at("127.0.0.1", port_of(server));
	int fd = client(SOCK_DGRAM, &to); /* a connected one */
	struct addr local = own_name(fd), elsewhere = at("127.0.0.1", 1);
	uid_t uid = 99;

	assert_int_equal(diag_socket_uid(nl, PROTO_UDP, &local, &to, &uid), 0);
	assert_int_equal(uid, geteuid());
	assert_int_equal(diag_socket_uid(nl, PROTO_UDP, &local, &elsewhere, &uid), -ENOENT);
	close(fd);
	close(server);
}

/* Closed but still in the kernel: the kernel says uid 0, or nothing; we say that we cannot know */
static void test_uid_closed(void **state)
{
	int nl = *(int *)*state, server = listener(SOCK_STREAM, "127.0.0.1", 0, false);
	struct addr to = at("127.0.0.1", port_of(server));
	int fd = client(SOCK_STREAM, &to), peer = accept4(server, NULL, NULL, SOCK_CLOEXEC);
	struct addr local = own_name(fd);
	uid_t uid = 99;

	close(fd);
	assert_int_equal(diag_socket_uid(nl, PROTO_TCP, &local, &to, &uid), -EAGAIN);
	close(peer); /* FIN_WAIT2 becomes TIME_WAIT */
	assert_int_equal(diag_socket_uid(nl, PROTO_TCP, &local, &to, &uid), -EAGAIN);
	assert_int_equal(uid, 99);
	close(server);
}

/* Reset, and then somebody else listens where the client was */
static void test_uid_gone(void **state)
{
	int nl = *(int *)*state, server = listener(SOCK_STREAM, "127.0.0.1", 0, false);
	struct linger reset = {.l_onoff = 1};
	struct addr to = at("127.0.0.1", port_of(server));
	int fd = client(SOCK_STREAM, &to);
	struct addr local = own_name(fd);
	uid_t uid = 99;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
	close(fd);
	assert_int_equal(diag_socket_uid(nl, PROTO_TCP, &local, &to, &uid), -ENOENT);
	fd = listener(SOCK_STREAM, "127.0.0.1", addr_port(&local), false);
	assert_int_equal(diag_socket_uid(nl, PROTO_TCP, &local, &to, &uid), -ENOENT);
	assert_int_equal(uid, 99);
	close(fd);
	close(server);
}

/* For each pair of addresses: a holder is named exactly when bind fails, and it is this process */
static void holder_is_what_bind_meets(int type)
{
	char me[64], name[32] = "", out[128];
	FILE *file = fopen("/proc/self/comm", "re");

	assert_int_equal(fscanf(file, "%31s", name), 1);
	fclose(file);
	snprintf(me, sizeof(me), "%s (pid %d)", name, (int)getpid());
	for (size_t i = 0; i < COUNT(owns) * 2; i++) {
		bool v6only = i >= COUNT(owns);
		const char *own = owns[i % COUNT(owns)];

		if (v6only && (strncmp(own, "::", 2) || strstr(own, "ffff")))
			continue;
		int server = listener(type, own, 0, v6only);
		for (size_t j = 0; j < COUNT(owns); j++) {
			struct addr wanted = at(owns[j], port_of(server));
			int fd = bound(type, owns[j], port_of(server), false);
			int result = diag_port_holder(proto_of(type), &wanted, out, sizeof(out));

			if (fd >= 0) {
				/* ours is then a holder, too */
				close(fd);
				result =
					diag_port_holder(proto_of(type), &wanted, out, sizeof(out));
			}
			if (result != (fd >= 0 ? -ENOENT : 0))
				fail_msg("%s%s, then %s: bind %d, holder %d", own,
					v6only ? " (v6only)" : "", owns[j], fd, result);
			assert_string_equal(out, result ? "" : me);
		}
		close(server);
	}
}

static void test_holder_tcp(void **state)
{
	(void)state;
	holder_is_what_bind_meets(SOCK_STREAM);
}

static void test_holder_udp(void **state)
{
	(void)state;
	holder_is_what_bind_meets(SOCK_DGRAM);
}

/* A process may call itself anything; a terminal must not see it raw */
static void test_holder_escaped(void **state)
{
	(void)state;
	int server = listener(SOCK_STREAM, "127.0.0.1", 0, false);
	struct addr wanted = at("127.0.0.1", port_of(server));
	char name[16], wish[64], out[128];

	assert_int_equal(prctl(PR_GET_NAME, name), 0);
	assert_int_equal(prctl(PR_SET_NAME, "odd\033[1m\n"), 0);
	assert_int_equal(diag_port_holder(PROTO_TCP, &wanted, out, sizeof(out)), 0);
	assert_int_equal(prctl(PR_SET_NAME, name), 0);
	snprintf(wish, sizeof(wish), "odd\\x1b[1m (pid %d)", (int)getpid());
	assert_string_equal(out, wish);
	close(server);
}

/* A process that we cannot look into: its user, at least */
static void test_holder_of_other_user(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	int server = listener(SOCK_STREAM, "127.0.0.1", 0, false);
	struct addr wanted = at("127.0.0.1", port_of(server));
	pid_t pid = fork();

	if (pid == 0) {
		char out[128], cut[6];

		if (setresuid(OTHER_UID, OTHER_UID, OTHER_UID) < 0)
			_exit(99);
		close(server); /* this process must not be the one that is found */
		int wrong = diag_port_holder(PROTO_TCP, &wanted, out, sizeof(out)) != 0;
		wrong += strcmp(out, "a process of user root") != 0;
		wrong += diag_port_holder(PROTO_TCP, &wanted, cut, sizeof(cut)) != 0;
		wrong += strcmp(cut, "a pro") != 0;
		_exit(wrong);
	}
	assert_int_equal(exit_status_of(pid), 0);
	close(server);
}

/* Closed, but with more to be sent than the other side has room for */
static void test_unsent(void **state)
{
	static const char *const hosts[] = {"127.0.0.1", "::1"};
	int nl = *(int *)*state;
	char bytes[65536] = {0};

	assert_int_equal(diag_unsent(nl), 0);
	for (size_t i = 0; i < COUNT(hosts); i++) {
		int server = listener(SOCK_STREAM, hosts[i], 0, true);
		struct addr to = at(hosts[i], port_of(server));
		int ours = client(SOCK_STREAM, &to), theirs = accept(server, NULL, NULL);

		while (send(ours, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
			;
		assert_int_equal(diag_unsent(nl), 0); /* not closed yet */
		close(ours);
		int64_t most = diag_unsent(nl), less = most;
		assert_true(most > (int64_t)sizeof(bytes));
		/* it becomes less with what is read */
		for (size_t got = 0; got < sizeof(bytes);)
			got += (size_t)recv(theirs, bytes, sizeof(bytes), 0);
		for (int tries = 0; less == most && tries < 5000; tries++) {
			poll(NULL, 0, 1);
			less = diag_unsent(nl);
		}
		assert_in_range(less, 1, most - 1);
		while (recv(theirs, bytes, sizeof(bytes), 0) > 0)
			;
		/* the last acknowledgement may be delayed by 40 ms (TCP_DELACK_MIN) and more */
		for (int tries = 0; less > 0 && tries < 5000; tries++) {
			poll(NULL, 0, 1);
			less = diag_unsent(nl);
		}
		assert_int_equal(less, 0);
		close(theirs);
		close(server);
	}
}

struct seen {
	struct addr own[8], peer[8];
	size_t count;
};

static int see(void *owner, const struct addr *own, const struct addr *peer)
{
	struct seen *seen = owner;

	seen->own[seen->count] = *own;
	seen->peer[seen->count] = *peer;
	return ++seen->count == 8;
}

static bool has_seen(int nl, int fd, const char *own_ip, const char *peer_ip)
{
	const struct addr own = at(own_ip, port_of(fd)), peer_name_of = peer_name(fd);
	const struct addr peer = at(peer_ip, addr_port(&peer_name_of));
	struct seen seen = {.count = 0};
	bool found = false;

	assert_int_equal(diag_each_connection(nl, see, &seen), 0);
	for (size_t i = 0; i < seen.count; i++)
		found = found ||
			(addr_equal(&seen.own[i], &own) && addr_equal(&seen.peer[i], &peer));
	return found;
}

/* Whoever has heard the end of the other side is left out. */
static void test_connections(void **state)
{
	static const char *const hosts[] = {"127.0.0.2", "::ffff:127.0.0.2", "::1"};
	int nl = *(int *)*state, server = listener(SOCK_STREAM, "::", 0, false);
	struct seen seen = {.count = 0};

	for (size_t i = 0; i < COUNT(hosts); i++) {
		struct addr to = at(hosts[i], port_of(server));
		int ours = client(SOCK_STREAM, &to), theirs = accept(server, NULL, NULL);
		const char *from = i == 2 ? "::1" : "127.0.0.1",
			   *there = i == 2 ? "::1" : "127.0.0.2";

		assert_true(has_seen(nl, ours, from, there));
		assert_true(has_seen(nl, theirs, there, from));
		shutdown(ours, SHUT_WR);
		assert_int_equal(recv(theirs, &seen, 1, 0), 0);
		assert_true(has_seen(nl, ours, from, there));
		assert_false(has_seen(nl, theirs, there, from));
		close(ours);
		close(theirs);
	}
	close(server);
}

struct heard {
	uint16_t port;
	struct addr own[8];
	int ifindex[8];
	size_t count;
};

static int hear(void *owner, const struct addr *own, int ifindex)
{
	struct heard *heard = owner;

	if (addr_port(own) != heard->port)
		return 0;
	heard->own[heard->count] = *own;
	heard->ifindex[heard->count] = ifindex;
	return ++heard->count == 8;
}

static void expect_heard(int nl, enum proto proto, int fd, const char *ip, int ifindex)
{
	const struct addr own = at(ip, port_of(fd));
	struct heard heard = {.port = addr_port(&own)};

	assert_int_equal(diag_each_listener(nl, proto, hear, &heard), 0);
	assert_int_equal(heard.count, 1);
	assert_true(addr_equal(&heard.own[0], &own));
	assert_int_equal(heard.ifindex[0], ifindex);
}

/* Not those that are connected, nor what is only bound. */
static void test_listeners(void **state)
{
	static const char *const hosts[] = {
		"127.0.0.2", "0.0.0.0", "::1", "::", "::ffff:127.0.0.3"};
	int nl = *(int *)*state, one = 1;
	struct heard heard = {.port = 0};

	for (size_t i = 0; i < COUNT(hosts); i++) {
		const char *shown = i == 4 ? "127.0.0.3" : hosts[i];
		int tcp = listener(SOCK_STREAM, hosts[i], 0, false);
		int udp = listener(SOCK_DGRAM, hosts[i], 0, false);
		struct addr to = at(i == 2 ? "::1" : shown, port_of(tcp));
		int ours = client(SOCK_STREAM, &to), theirs = accept(tcp, NULL, NULL);

		expect_heard(nl, PROTO_TCP, tcp, shown, 0);
		expect_heard(nl, PROTO_UDP, udp, shown, 0);
		assert_int_equal(
			setsockopt(tcp, SOL_SOCKET, SO_BINDTOIFINDEX, &one, sizeof(one)), 0);
		expect_heard(nl, PROTO_TCP, tcp, shown, 1);
		to = at(i == 2 || i == 3 ? "::1" : "127.0.0.1", 9);
		assert_int_equal(connect(udp, &to.any, addr_len(&to)), 0);
		heard = (struct heard){.port = port_of(udp)};
		assert_int_equal(diag_each_listener(nl, PROTO_UDP, hear, &heard), 0);
		assert_int_equal(heard.count, 0);
		close(ours);
		close(theirs);
		close(udp);
		close(tcp);
	}
	int idle = bound(SOCK_STREAM, "127.0.0.2", 0, false);
	heard = (struct heard){.port = port_of(idle)};
	assert_int_equal(diag_each_listener(nl, PROTO_TCP, hear, &heard), 0);
	assert_int_equal(heard.count, 0);
	close(idle);
}

static int open_all(void **state)
{
	static int nl;
	int rtnl = netdev_open();

	nl = diag_open();
	*state = &nl;
	return nl < 0 || netdev_set_up(rtnl, netdev_index(rtnl, "lo"), 0) || close(rtnl);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* first: what the others leave behind is unsent, too */
		cmocka_unit_test(test_unsent),
		cmocka_unit_test(test_connections),
		cmocka_unit_test(test_listeners),
		cmocka_unit_test(test_listening_tcp),
		cmocka_unit_test(test_listening_udp),
		cmocka_unit_test(test_listening_on_device),
		cmocka_unit_test(test_not_listening),
		cmocka_unit_test(test_leftovers),
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_other_namespace),
		cmocka_unit_test(test_under_seccomp),
		cmocka_unit_test(test_uid_tcp),
		cmocka_unit_test(test_uid_udp),
		cmocka_unit_test(test_uid_closed),
		cmocka_unit_test(test_uid_gone),
		cmocka_unit_test(test_holder_tcp),
		cmocka_unit_test(test_holder_udp),
		cmocka_unit_test(test_holder_escaped),
		cmocka_unit_test(test_holder_of_other_user),
	};

	netns_enter_or_skip();
	return cmocka_run_group_tests(tests, open_all, NULL);
}
