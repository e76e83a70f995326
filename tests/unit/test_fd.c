/* SPDX-License-Identifier: Apache-2.0 */
/* test_fd - descriptors are closed once, passed whole or not at all, and never leak */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "count_fds.h"
#include "util/fd.h"

static int fds_at_start;

static int setup(void **state)
{
	static int pair[2];

	fds_at_start = count_fds();
	*state = pair;
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
}

static int teardown(void **state)
{
	int *pair = *state;

	fd_close(&pair[0]);
	fd_close(&pair[1]);
	return count_fds() == fds_at_start ? 0 : -1;
}

static int open_null(void)
{
	int fd = open("/dev/null", O_RDWR);

	assert_true(fd >= 0);
	return fd;
}

static void close_twice(int fd)
{
	_cleanup_fd_ int kept = fd;
	int taken = fd_take(&kept);

	assert_int_equal(kept, -1);
	fd_close(&taken);
	assert_int_equal(taken, -1);
	errno = ENOTDIR;
	fd_close(&taken);
	assert_int_equal(errno, ENOTDIR);
}

static void test_close(void **state)
{
	(void)state;
	int fd = open_null();
	close_twice(fd);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	fd = open_null();
	{
		_cleanup_fd_ int scoped = fd;
		assert_int_not_equal(scoped, -1);
	}
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void test_nonblock(void **state)
{
	int *pair = *state;
	char byte;

	assert_int_equal(fd_set_nonblock(pair[0], 1), 0);
	assert_int_equal(recv(pair[0], &byte, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(fd_set_nonblock(pair[0], 0), 0);
	assert_int_equal(fcntl(pair[0], F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(fd_set_nonblock(-1, 1), -EBADF);
}

static void send_many(int sock, const char *text, size_t count)
{
	int fd = open_null(), fds[FD_PASS_MAX];

	for (size_t i = 0; i < FD_PASS_MAX; i++)
		fds[i] = fd;
	assert_int_equal(fd_send(sock, text, strlen(text), fds, count), strlen(text));
	assert_int_not_equal(fcntl(fd, F_GETFD), -1);
	close(fd);
}

static void test_pass(void **state)
{
	static const size_t counts[] = {0, 1, 2, 3, 252, FD_PASS_MAX};
	int *pair = *state;

	for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
		int got[FD_PASS_MAX];
		char text[16];
		size_t ngot = 9999;

		send_many(pair[0], "hello", counts[c]);
		assert_int_equal(fd_recv(pair[1], text, sizeof(text), got, FD_PASS_MAX, &ngot), 5);
		assert_memory_equal(text, "hello", 5);
		assert_int_equal(ngot, counts[c]);
		for (size_t i = 0; i < ngot; i++) {
			assert_int_equal(fcntl(got[i], F_GETFD), FD_CLOEXEC);
			close(got[i]);
		}
	}
	assert_int_equal(fd_send(pair[0], "x", 1, NULL, FD_PASS_MAX + 1), -EINVAL);
}

/* More than is welcome, or a text that is cut: refused, and nothing stays open. */
static void test_pass_refused(void **state)
{
	static const size_t counts[] = {1, 3, FD_PASS_MAX};
	int *pair = *state, got[FD_PASS_MAX];
	char text[16];
	size_t ngot, fds = count_fds();

	for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
		send_many(pair[0], "hello", counts[c]);
		assert_int_equal(
			fd_recv(pair[1], text, sizeof(text), got, counts[c] - 1, &ngot), -EMSGSIZE);
		assert_int_equal(count_fds(), fds);
		send_many(pair[0], "hello", counts[c]);
		assert_int_equal(fd_recv(pair[1], text, sizeof(text), NULL, 0, NULL), -EMSGSIZE);
		assert_int_equal(count_fds(), fds);
		send_many(pair[0], "hello", counts[c]);
		assert_int_equal(fd_recv(pair[1], text, 4, got, FD_PASS_MAX, &ngot), -EMSGSIZE);
		assert_int_equal(count_fds(), fds);
	}
	/* the connection is still good */
	send_many(pair[0], "hello", 0);
	assert_int_equal(fd_recv(pair[1], text, sizeof(text), NULL, 0, NULL), 5);
}

static void test_pass_end(void **state)
{
	int *pair = *state;
	char byte;

	assert_int_equal(fd_set_nonblock(pair[1], 1), 0);
	assert_int_equal(fd_recv(pair[1], &byte, 1, NULL, 0, NULL), -EAGAIN);
	fd_close(&pair[0]);
	assert_int_equal(fd_recv(pair[1], &byte, 1, NULL, 0, NULL), 0);
	/* no SIGPIPE */
	assert_int_equal(fd_send(pair[1], "x", 1, NULL, 0), -EPIPE);
}

/* Who ends with something unread is an end like any other, after what it said. */
static void test_pass_end_unread(void **state)
{
	int ends[2];
	char byte;
	struct err err;

	(void)state;
	assert_int_equal(fd_pair(ends, SOCK_NONBLOCK, &err), 0);
	assert_int_equal(fd_send(ends[0], "a", 1, NULL, 0), 1);
	assert_int_equal(fd_send(ends[1], "unread", 6, NULL, 0), 6);
	fd_close(&ends[0]);
	assert_int_equal(fd_recv(ends[1], &byte, 1, NULL, 0, NULL), 1);
	assert_int_equal(byte, 'a');
	assert_int_equal(fd_recv(ends[1], &byte, 1, NULL, 0, NULL), 0);
	fd_close(&ends[1]);
}

static void test_pass_one(void **state)
{
	_cleanup_fd_ int null = open_null();
	int ends[2], fd;
	char text[4];
	struct err err;

	(void)state;
	assert_int_equal(fd_pair(ends, SOCK_NONBLOCK, &err), 0);
	assert_int_equal(fcntl(ends[0], F_GETFD), FD_CLOEXEC);
	assert_int_equal(fd_send_one(ends[0], "none", 4, -1), 0);
	assert_int_equal(fd_recv_one(ends[1], text, 4, &fd), 0);
	assert_int_equal(fd, -1);
	assert_int_equal(fd_send_one(ends[0], "with", 4, null), 0);
	assert_int_equal(fd_recv_one(ends[1], text, 4, &fd), 0);
	assert_memory_equal(text, "with", 4);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	fd_close(&fd);
	size_t before = count_fds();
	assert_int_equal(fd_send_one(ends[0], "odd", 3, null), 0);
	assert_int_equal(fd_recv_one(ends[1], text, 4, &fd), -EPROTO);
	assert_int_equal(fd, -1);
	assert_int_equal(fd_send_one(ends[0], "with", 4, null), 0);
	assert_int_equal(fd_recv_one(ends[1], text, 4, NULL), -EMSGSIZE);
	assert_int_equal(fd_recv_one(ends[1], text, 4, &fd), -EAGAIN);
	assert_int_equal(fd, -1);
	assert_int_equal(count_fds(), before);
	fd_close(&ends[0]);
	assert_int_equal(fd_recv_one(ends[1], text, 4, &fd), -EPIPE);
	fd_close(&ends[1]);
}

static void test_read_and_write_all(void **state)
{
	char text[32] = "";
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(fd_write_all(fds[1], "one two", 7), 0);
	assert_int_equal(fd_write_all(fds[1], "", 0), 0);
	assert_int_equal(fd_read_all(fds[0], text, 4), 4);
	assert_string_equal(text, "one ");
	fd_close(&fds[1]);
	assert_int_equal(fd_read_all(fds[0], text, sizeof(text)), 3);
	assert_memory_equal(text, "two", 3);
	assert_int_equal(fd_read_all(fds[0], text, sizeof(text)), 0);
	fd_close(&fds[0]);
	assert_int_equal(fd_read_all(-1, text, 1), -EBADF);
	assert_int_equal(fd_write_all(-1, text, 1), -EBADF);
}

static void test_read_file(void **state)
{
	char path[] = "/tmp/test_fd.XXXXXX", text[8];
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(fd_read_file(path, text, sizeof(text)), 0);
	assert_string_equal(text, "");
	assert_int_equal(fd_write_all(fd, "0123456789", 10), 0);
	assert_int_equal(fd_read_file(path, text, sizeof(text)), 7);
	assert_string_equal(text, "0123456");
	assert_int_equal(fd_read_file(path, text, 1), 0);
	assert_string_equal(text, "");
	close(fd);
	unlink(path);
	strcpy(text, "old");
	assert_int_equal(fd_read_file(path, text, sizeof(text)), -ENOENT);
	assert_string_equal(text, "");
	assert_int_equal(fd_read_file("/", text, sizeof(text)), -EISDIR);
	assert_string_equal(text, "");
}

/* Of sizes around those at which it takes more memory */
static void test_read_text(void **state)
{
	static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 8192, 8193, 100000};
	static char bytes[100000];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)('a' + i % 23);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (size_t cap = sizes[i] > 0 ? sizes[i] - 1 : 0; cap <= sizes[i] + 1; cap++) {
			int fd = memfd_create("text", MFD_CLOEXEC);
			size_t len = 7, wanted = cap < sizes[i] ? cap : sizes[i];

			assert_int_equal(fd_write_all(fd, bytes, sizes[i]), 0);
			assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
			char *text = fd_read_text(fd, cap, &len);
			assert_non_null(text);
			assert_int_equal(len, wanted);
			assert_int_equal(strlen(text), wanted);
			assert_memory_equal(text, bytes, wanted);
			free(text);
			close(fd);
		}
	}
	assert_null(fd_read_text(-1, 100, NULL));
	assert_int_equal(errno, EBADF);
}

#define ROOM_BYTES 4096

/* A pipe with one page of room: a write(2) of more waits for a reader. */
static void test_tell_waits_for_nobody(void **state)
{
	static const char text[2 * ROOM_BYTES];
	char got[3 * ROOM_BYTES];
	int pipes[2], *pair = *state;

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(fcntl(pipes[1], F_SETPIPE_SZ, 2 * ROOM_BYTES), 2 * ROOM_BYTES);
	assert_int_equal(fd_tell(pipes[1], text, ROOM_BYTES, 0), 0);
	assert_int_equal(fd_tell(pipes[1], text, sizeof(text), 0), -EAGAIN);
	assert_int_equal(fd_tell(pipes[1], text, 1, 20), -EAGAIN);
	assert_false(fcntl(pipes[1], F_GETFL) & O_NONBLOCK);
	assert_int_equal(read(pipes[0], got, sizeof(got)), 2 * ROOM_BYTES);
	assert_int_equal(fd_tell(pipes[1], text, 1, -1), 0);
	close(pipes[0]);
	close(pipes[1]);
	int result;
	for (int i = 0; i < 100000 && (result = fd_tell(pair[0], text, 100, 0)) == 0; i++)
		;
	assert_int_equal(result, -EAGAIN);
	assert_int_equal(fd_tell(999, text, 1, 0), -EBADF);
}

/* A terminal that has room, but not for the whole line, and nobody reads it. */
static void test_tell_waits_for_no_terminal(void **state)
{
	char line[1024];
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), result = 0;

	(void)state;
	memset(line, 'x', sizeof(line));
	assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
	int terminal = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(terminal >= 0);
	alarm(60); /* for one that waits */
	for (int i = 0; i < 100000 && result == 0; i++)
		result = fd_tell(terminal, line, sizeof(line), 0);
	alarm(0);
	assert_int_equal(result, -EAGAIN);
	assert_false(fcntl(terminal, F_GETFL) & O_NONBLOCK);
	assert_int_equal(fd_open_own(master), -1);
	close(terminal);
	close(master);
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	if (!file || fputs(text, file) < 0 || fclose(file) != 0)
		_exit(1);
}

/* The first of a PID namespace: its child says "a" itself and ends, "b" is said in its name. */
static void speak_for_another(int sock)
{
	siginfo_t info;
	pid_t child = fork();

	if (child == 0)
		_exit(send(sock, "a", 1, 0) != 1);
	if (waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT) < 0 || info.si_status != 0 ||
		fd_send_as(sock, "b", 1, child) < 0)
		_exit(1);
	waitpid(child, NULL, 0);
	_exit(fd_send_as(sock, "c", 1, child) == 0);
}

static void make_namespace(int sock)
{
	char users[32], groups[32];
	int status;

	snprintf(users, sizeof(users), "0 %u 1", getuid());
	snprintf(groups, sizeof(groups), "0 %u 1", getgid());
	if (unshare(CLONE_NEWUSER | CLONE_NEWPID) < 0)
		_exit(1);
	write_file("/proc/self/uid_map", users);
	write_file("/proc/self/setgroups", "deny");
	write_file("/proc/self/gid_map", groups);
	pid_t first = fork();
	if (first == 0)
		speak_for_another(sock);
	waitpid(first, &status, 0);
	_exit(status != 0);
}

static void test_in_the_name_of_another(void **state)
{
	int *pair = *state, on = 1, status;
	pid_t pids[2] = {0};
	char said;

	assert_int_equal(setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
	pid_t child = fork();
	if (child == 0)
		make_namespace(pair[1]);
	fd_close(&pair[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(fd_recv_from(pair[0], &said, 1, &pids[i]), 0);
		assert_int_equal(said, "ab"[i]);
	}
	/* not the numbers of the inside, 1 and 2 */
	assert_true(pids[0] > 2);
	assert_int_equal(pids[1], pids[0]);
	assert_int_equal(fd_recv_from(pair[0], &said, 1, &pids[0]), -EPIPE);
}

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

static void test_keep_alive(void **state)
{
	int tcp = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)state;
	fd_keep_alive(tcp);
	assert_int_equal(option(tcp, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(option(tcp, IPPROTO_TCP, TCP_KEEPIDLE), FD_ALIVE_IDLE_S);
	assert_int_equal(option(tcp, IPPROTO_TCP, TCP_KEEPINTVL), FD_ALIVE_EVERY_S);
	assert_int_equal(option(tcp, IPPROTO_TCP, TCP_KEEPCNT), FD_ALIVE_PROBES);
	fd_keep_alive(udp);
	assert_int_equal(option(udp, SOL_SOCKET, SO_KEEPALIVE), 0);
	close(tcp);
	close(udp);
}

/* Whether the other end of a pair sees it as reset once @close_it has had it. */
static bool sees_reset(int type, void (*close_it)(int *fd))
{
	int pair[2];
	char byte;

	assert_return_code(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair), errno);
	assert_false(fd_was_reset(pair[0]));
	assert_int_equal(write(pair[1], "x", 1), 1);
	close_it(&pair[1]);
	assert_int_equal(pair[1], -1);
	bool is_reset = fd_was_reset(pair[0]);
	assert_int_equal(
		read(pair[0], &byte, 1), 1); /* what was sent before is there all the same */
	assert_int_equal(read(pair[0], &byte, 1), 0);
	assert_int_equal(fd_was_reset(pair[0]), is_reset);
	close(pair[0]);
	return is_reset;
}

/* As the kernel gives it to who asks for credentials and has none (unix(7), autobind). */
static void close_with_name(int *fd)
{
	const struct sockaddr any = {.sa_family = AF_UNIX};

	assert_return_code(bind(*fd, &any, sizeof(any.sa_family)), errno);
	fd_close(fd);
}

static void test_is_taken(void **state)
{
	int ends[2];
	char byte;

	(void)state;
	for (int is_pipe = 0; is_pipe < 2; is_pipe++) {
		assert_return_code(is_pipe ? pipe2(ends, O_CLOEXEC)
					   : socketpair(AF_UNIX, SOCK_STREAM, 0, ends),
			errno);
		assert_true(fd_is_taken(ends[1]));
		assert_int_equal(write(ends[1], "x", 1), 1);
		assert_false(fd_is_taken(ends[1]));
		assert_int_equal(read(ends[0], &byte, 1), 1);
		assert_true(fd_is_taken(ends[1]));
		close(ends[0]);
		close(ends[1]);
	}
	int file = open("/dev/null", O_WRONLY | O_CLOEXEC);
	assert_true(fd_is_taken(file));
	close(file);
}

static void test_reset(void **state)
{
	int tcp = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct linger linger = {0};
	socklen_t len = sizeof(linger);

	(void)state;
	assert_true(sees_reset(SOCK_STREAM, fd_reset));
	assert_false(sees_reset(SOCK_STREAM, fd_close));
	assert_false(sees_reset(SOCK_STREAM, close_with_name));
	assert_false(fd_was_reset(tcp));
	fd_reset_at_close(tcp, true);
	assert_return_code(getsockopt(tcp, SOL_SOCKET, SO_LINGER, &linger, &len), errno);
	assert_true(linger.l_onoff == 1 && linger.l_linger == 0);
	fd_reset_at_close(tcp, false);
	assert_return_code(getsockopt(tcp, SOL_SOCKET, SO_LINGER, &linger, &len), errno);
	assert_int_equal(linger.l_onoff, 0);
	errno = ENOTDIR;
	fd_reset(&tcp);
	assert_int_equal(errno, ENOTDIR);
	assert_int_equal(tcp, -1);
}

/* The end of a connection whose close(2) waits for a peer that does not read. */
static int open_lingering(int *peer)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	const struct linger linger = {.l_onoff = 1, .l_linger = 1000};
	_cleanup_fd_ int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(at);
	char data[65536] = {0};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	*peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(*peer >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	while (send(fd, data, sizeof(data), MSG_DONTWAIT) > 0)
		;
	return fd;
}

/* Who sends a descriptor that nobody wants cannot have the receiver wait. */
static void test_discard(void **state)
{
	int *pair = *state, peers[2];
	int fd = open_lingering(&peers[0]), sent = open_lingering(&peers[1]);
	char byte;

	alarm(20);
	errno = ENOTDIR;
	fd_discard(&fd);
	assert_int_equal(fd, -1);
	fd_discard(&fd);
	assert_int_equal(errno, ENOTDIR);
	assert_int_equal(fd_send(pair[0], "x", 1, &sent, 1), 1);
	fd_close(&sent); /* under way: it is not the last one */
	assert_int_equal(fd_recv(pair[1], &byte, 1, NULL, 0, NULL), -EMSGSIZE);
	alarm(0);
	fd_close(&peers[0]);
	fd_close(&peers[1]);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_close),
		T(test_nonblock),
		T(test_pass),
		T(test_pass_refused),
		T(test_pass_end),
		cmocka_unit_test(test_pass_end_unread),
		T(test_pass_one),
		T(test_in_the_name_of_another),
		T(test_read_and_write_all),
		T(test_read_file),
		T(test_read_text),
		T(test_tell_waits_for_nobody),
		T(test_tell_waits_for_no_terminal),
		cmocka_unit_test(test_keep_alive),
		T(test_is_taken),
		cmocka_unit_test(test_reset),
		T(test_discard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
