/* SPDX-License-Identifier: Apache-2.0 */
/* test_libnswrap - the library as a program in C has it; tests/e2e/test_library.py runs this, also
 * under valgrind. It needs $NSWRAP. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <nswrap/nswrap.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define LONG_MS 60000

static int count_fds(void)
{
	int count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static volatile sig_atomic_t children_ended;

static void on_child(int number)
{
	(void)number;
	children_ended = 1;
}

static int set_up(void **state)
{
	struct sigaction heard = {.sa_handler = on_child};

	*state = (void *)(intptr_t)count_fds();
	children_ended = 0;
	return sigaction(SIGCHLD, &heard, NULL);
}

/* No descriptor is left, and the caller has heard of no child and has none. */
static int tear_down(void **state)
{
	assert_int_equal(count_fds(), (intptr_t)*state);
	assert_int_equal(children_ended, 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG | __WALL), -1);
	assert_int_equal(errno, ECHILD);
	return 0;
}

/* --- sandboxes ---------------------------------------------------------------------------- */

static const char *const none[] = {"--network", "none", NULL};

static void test_status_of_a_command(void **state)
{
	const char *const command[] = {"sh", "-c", "exit 7", NULL};
	struct nswrap_error error;
	int status = -1;

	(void)state;
	struct nswrap_sandbox *sandbox = nswrap_sandbox_start(none, command, NULL, LONG_MS, &error);
	if (!sandbox)
		fail_msg("%s", error.text);
	assert_true(strlen(nswrap_sandbox_name(sandbox)) > 0);
	assert_true(nswrap_sandbox_pid(sandbox) > 0);
	assert_int_equal(nswrap_sandbox_wait(sandbox, LONG_MS, &status, &error), 0);
	assert_int_equal(error.code, 0);
	assert_int_equal(status, 7);
	nswrap_sandbox_stop(sandbox, LONG_MS);
}

static void test_output_goes_to_what_is_given(void **state)
{
	const char *const command[] = {"sh", "-c", "cat; echo words >&2", NULL};
	int in[2], out[2];
	char text[64] = "";

	(void)state;
	assert_int_equal(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC), 0);
	const int stdio[] = {in[0], out[1], out[1]};
	struct nswrap_sandbox *sandbox = nswrap_sandbox_start(none, command, stdio, LONG_MS, NULL);
	assert_non_null(sandbox);
	close(in[0]);
	close(out[1]);
	assert_int_equal(write(in[1], "given ", 6), 6);
	close(in[1]);
	size_t len = 0;
	for (ssize_t got; (got = read(out[0], text + len, sizeof(text) - 1 - len)) > 0;)
		len += (size_t)got;
	assert_string_equal(text, "given words\n");
	close(out[0]);
	nswrap_sandbox_stop(sandbox, LONG_MS);
}

static void test_signals(void **state)
{
	const char *const command[] = {"sleep", "1000", NULL};
	struct nswrap_error error;
	int status = -1;

	(void)state;
	struct nswrap_sandbox *sandbox = nswrap_sandbox_start(none, command, NULL, LONG_MS, NULL);
	assert_non_null(sandbox);
	assert_int_equal(nswrap_sandbox_wait(sandbox, 10, &status, &error), -ETIMEDOUT);
	assert_int_equal(error.code, ETIMEDOUT);
	assert_int_equal(nswrap_sandbox_signal(sandbox, SIGTERM), 0);
	assert_int_equal(nswrap_sandbox_wait(sandbox, LONG_MS, &status, &error), 0);
	assert_int_equal(status, 128 + SIGTERM);
	nswrap_sandbox_stop(sandbox, LONG_MS);
}

static void test_sandbox_errors(void **state)
{
	static const struct {
		const char *options[3], *command[2];
		int code;
		const char *words;
	} bad[] = {
		{{NULL}, {NULL}, EINVAL, "command is missing"},
		{{NULL}, {""}, EINVAL, "command is missing"},
		{{"-d"}, {"true"}, EINVAL, "-d is not for"},
		{{"--info-fd=7"}, {"true"}, EINVAL, "--info-fd is not for"},
		{{"--bogus"}, {"true"}, ECHILD, "bogus"},
		{{"-p", "x"}, {"true"}, ECHILD, "-p x"},
		{{NULL}, {"/no/such/program"}, ECHILD, "/no/such/program"},
	};
	const int closed[] = {-1, 999, -1};
	struct nswrap_error error;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_null(nswrap_sandbox_start(
			bad[i].options, bad[i].command, NULL, LONG_MS, &error));
		if (error.code != bad[i].code || !strstr(error.text, bad[i].words))
			fail_msg("%zu: %d %s", i, error.code, error.text);
		assert_null(
			nswrap_sandbox_start(bad[i].options, bad[i].command, NULL, LONG_MS, NULL));
	}
	assert_null(nswrap_sandbox_start(NULL, bad[2].command, closed, LONG_MS, &error));
	assert_int_equal(error.code, EBADF);
	assert_int_equal(nswrap_sandbox_port(NULL, "tcp", 80), -ENOENT);
	assert_int_equal(nswrap_sandbox_ready(NULL, 0, &error), -EINVAL);
	assert_int_equal(nswrap_sandbox_wait(NULL, 0, NULL, NULL), -EINVAL);
	assert_int_equal(nswrap_sandbox_signal(NULL, SIGTERM), -EINVAL);
	nswrap_sandbox_stop(NULL, 0);
}

/* As if another thread forked while the library has made a pair of sockets. */
static bool forks;
static pid_t forked;

int socketpair(int family, int type, int protocol, int fds[2])
{
	int result = (int)syscall(SYS_socketpair, family, type, protocol, fds);

	if (result == 0 && forks && (forked = fork()) == 0)
		for (;;)
			pause();
	return result;
}

/* It holds the other ends of all pipes, which nobody waits for without an end. */
static void test_another_thread_forks(void **state)
{
	const char *const command[] = {"sleep", "1000", NULL};
	struct nswrap_error error;

	(void)state;
	forks = true;
	struct nswrap_sandbox *sandbox = nswrap_sandbox_start(none, command, NULL, LONG_MS, &error);
	forks = false;
	if (!sandbox)
		fail_msg("%s", error.text);
	assert_int_equal(nswrap_sandbox_signal(sandbox, SIGKILL), 0);
	assert_int_equal(nswrap_sandbox_wait(sandbox, -1, NULL, &error), -ECHILD);
	nswrap_sandbox_stop(sandbox, LONG_MS);
	assert_int_equal(kill(forked, SIGKILL), 0);
	assert_int_equal(waitpid(forked, NULL, 0), forked);
	children_ended = 0; /* that one */
}

/* --- networks ----------------------------------------------------------------------------- */

struct joined {
	struct nswrap_exit *out;
	struct nswrap_entrance *in;
};

static struct joined join(void)
{
	struct nswrap_error error;
	int link[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, link), 0);
	struct joined joined = {nswrap_exit_start(link[0], link[0], NULL, &error), NULL};
	if (!joined.out)
		fail_msg("%s", error.text);
	joined.in = nswrap_entrance_start(link[1], link[1], &error);
	if (!joined.in)
		fail_msg("%s", error.text);
	return joined;
}

static void part(struct joined joined)
{
	nswrap_entrance_stop(joined.in);
	nswrap_exit_stop(joined.out);
}

static int port_of(int fd)
{
	struct sockaddr_in at;
	socklen_t len = sizeof(at);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	return ntohs(at.sin_port);
}

/* Within the entrance's own network. */
static void test_listen_and_dial(void **state)
{
	struct joined joined = join();
	struct nswrap_error error;
	char text[8] = "";

	(void)state;
	int listener = nswrap_listen(joined.in, "tcp", NULL, 0, 0, &error);
	assert_true(listener >= 0);
	int fd = nswrap_dial(
		joined.in, "tcp", "100.127.255.255", port_of(listener), LONG_MS, 0, &error);
	if (fd < 0)
		fail_msg("%s", error.text);
	assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_int_equal(send(peer, "hello", 5, MSG_NOSIGNAL), 5);
	assert_int_equal(recv(fd, text, sizeof(text), 0), 5);
	close(peer);
	close(fd);
	fd = nswrap_dial(
		joined.in, "tcp", "127.0.0.1", port_of(listener), LONG_MS, NSWRAP_NONBLOCK, &error);
	assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	close(fd);
	close(listener);

	int bound = nswrap_listen(joined.in, "udp", "127.0.0.1", 0, 0, &error);
	fd = nswrap_dial(joined.in, "udp", "127.0.0.1", port_of(bound), LONG_MS, 0, &error);
	assert_int_equal(send(fd, "datagram", 8, 0), 8);
	assert_int_equal(recv(bound, text, sizeof(text), 0), 8);
	close(fd);
	close(bound);
	part(joined);
}

#define THREADS 8

static void *dial_often(void *argument)
{
	struct nswrap_error error;
	intptr_t refused = 0;

	/* the network of this exit refuses that, or nobody is there: never reached */
	for (int i = 0; i < 5; i++) {
		int fd = nswrap_dial(argument, "tcp", "100.127.255.255", 1, LONG_MS, 0, &error);
		refused += fd == -ECONNREFUSED && error.code == ECONNREFUSED;
		if (fd >= 0)
			close(fd);
	}
	return (void *)refused;
}

static void test_threads(void **state)
{
	struct joined joined = join();
	pthread_t threads[THREADS];

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, dial_often, joined.in), 0);
	for (int i = 0; i < THREADS; i++) {
		void *refused;
		pthread_join(threads[i], &refused);
		assert_int_equal((intptr_t)refused, 5);
	}
	part(joined);
}

/* Whatever is said: an answer, and if it is none a code and one line of words; nothing is left
 * open. */
static void test_random_calls(void **state)
{
	static const char *const protocols[] = {"tcp", "udp", "", "TCP", "tcp\n", NULL};
	static const int ports[] = {0, 1, 80, 65535, 65536, -1, INT32_MAX, INT32_MIN};
	static const char alphabet[] = "0123456789.:[]%/abcf-_ \t\n\x1b\x7f\xc3\xff";
	struct joined joined = join();
	uint32_t random = 12345;

	(void)state;
	for (int i = 0; i < 300; i++) {
		struct nswrap_error error;
		char host[1024];
		size_t len = 0;

		random = random * 1664525 + 1013904223;
		const uint32_t many = random >> 8;
		if (many % 4 == 0)
			len = (size_t)snprintf(host, sizeof(host), "127.0.0.%u", many % 300);
		else
			for (; len < (many % 16 ? many % 40 : sizeof(host) - 1); len++) {
				random = random * 1664525 + 1013904223;
				host[len] = alphabet[(random >> 8) % (sizeof(alphabet) - 1)];
			}
		host[len] = '\0';
		memset(&error, 'x', sizeof(error));
		const char *protocol = protocols[many % 7 % 6];
		int port = ports[many % 11 % 8], flags = many % 13 ? (int)(many % 2) : (int)many;
		int fd = many % 3 ? nswrap_dial(joined.in, protocol, host, port, (int)(many % 5),
					    flags, &error)
				  : nswrap_listen(joined.in, protocol, host, port, flags, &error);
		assert_int_equal(error.code, fd < 0 ? -fd : 0);
		size_t words = strnlen(error.text, sizeof(error.text));
		assert_true(words < sizeof(error.text) && (words > 0) == (fd < 0));
		for (size_t at = 0; at < words; at++)
			if ((unsigned char)error.text[at] < ' ' || error.text[at] == 0x7f)
				fail_msg("%d: byte %d in: %s", i, error.text[at], error.text);
		if (fd >= 0)
			close(fd);
	}
	/* and it is as it was */
	int listener = nswrap_listen(joined.in, "tcp", NULL, 0, 0, NULL);
	int fd = nswrap_dial(joined.in, "tcp", "127.0.0.1", port_of(listener), LONG_MS, 0, NULL);
	assert_true(fd >= 0);
	close(fd);
	close(listener);
	part(joined);
}

static void test_network_errors(void **state)
{
	struct joined joined = join();
	struct nswrap_error error;

	(void)state;
	const struct {
		const char *protocol, *host;
		int port, flags, code;
	} bad[] = {
		{"sctp", "10.0.0.1", 80, 0, EINVAL},
		{NULL, "10.0.0.1", 80, 0, EINVAL},
		{"tcp", NULL, 80, 0, EINVAL},
		{"tcp", "", 80, 0, EINVAL},
		{"tcp", "10.0.0.1", 0, 0, EINVAL},
		{"tcp", "10.0.0.1", 65536, 0, EINVAL},
		{"tcp", "10.0.0.1", -1, 0, EINVAL},
		{"tcp", "10.0.0.1", 80, 2, EINVAL},
		{"tcp", "256.0.0.1:80", 80, 0, ENXIO},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int fd = nswrap_dial(joined.in, bad[i].protocol, bad[i].host, bad[i].port, LONG_MS,
			bad[i].flags, &error);
		if (fd != -bad[i].code || error.code != bad[i].code || !error.text[0])
			fail_msg("%zu: %d, %d %s", i, fd, error.code, error.text);
	}
	char name[4096];
	memset(name, 'a', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(nswrap_dial(joined.in, "tcp", name, 80, LONG_MS, 0, NULL), -EINVAL);
	assert_int_equal(nswrap_listen(joined.in, "tcp", name, 80, 0, NULL), -EINVAL);
	assert_int_equal(
		nswrap_listen(joined.in, "tcp", "192.0.2.77", 80, 0, &error), -EADDRNOTAVAIL);
	assert_int_equal(nswrap_dial(NULL, "tcp", "10.0.0.1", 80, 0, 0, NULL), -EINVAL);
	part(joined);

	assert_null(nswrap_exit_start(-1, 999, NULL, &error));
	assert_int_equal(error.code, EBADF);
	assert_null(nswrap_entrance_start(999, 999, NULL));
	assert_int_equal(nswrap_exit_wait(NULL, 0, NULL), -EINVAL);
	nswrap_exit_stop(NULL);
	nswrap_entrance_stop(NULL);
}

/* How it ended is known however often it is asked, and with no room for words. */
static void test_end_of_an_exit(void **state)
{
	struct nswrap_error error;
	int link[2];

	(void)state;
	for (int breaks = 0; breaks < 2; breaks++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, link), 0);
		struct nswrap_exit *out = nswrap_exit_start(link[0], link[0], NULL, &error);
		if (!out)
			fail_msg("%s", error.text);
		assert_int_equal(nswrap_exit_wait(out, 0, NULL), -ETIMEDOUT);
		if (breaks)
			assert_int_equal(send(link[1], "these are no frames", 19, 0), 19);
		else
			shutdown(link[1], SHUT_WR);
		const int code = breaks ? EPIPE : 0;
		assert_int_equal(nswrap_exit_wait(out, LONG_MS, NULL), -code);
		for (int again = 0; again < 2; again++) {
			assert_int_equal(nswrap_exit_wait(out, LONG_MS, &error), -code);
			assert_int_equal(error.code, code);
			assert_int_equal(error.text[0] != '\0', breaks);
		}
		nswrap_exit_stop(out);
		close(link[1]);
	}
}

/* All of its processes are this one's then, sooner or later. */
static void test_a_subreaper(void **state)
{
	const char *const command[] = {"sleep", "1000", NULL};

	(void)state;
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	struct nswrap_sandbox *sandbox = nswrap_sandbox_start(none, command, NULL, LONG_MS, NULL);
	assert_non_null(sandbox);
	nswrap_sandbox_stop(sandbox, LONG_MS);
	part(join());
	assert_int_equal(waitpid(-1, NULL, WNOHANG | __WALL), -1);
	assert_int_equal(errno, ECHILD);
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
}

/* --- pumps -------------------------------------------------------------------------------- */

static ssize_t pump_read(void *context, void *bytes, size_t len)
{
	return recv(*(int *)context, bytes, len < 1000 ? len : 1000, 0);
}

static ssize_t pump_write(void *context, const void *bytes, size_t len)
{
	return send(*(int *)context, bytes, len < 700 ? len : 700, MSG_NOSIGNAL);
}

static void pump_close(void *context)
{
	shutdown(*(int *)context, SHUT_RDWR);
}

static void test_callbacks_are_a_link(void **state)
{
	const struct nswrap_pump_ops ops = {pump_read, pump_write, pump_close};
	struct nswrap_error error;
	int pair[2], fd = -1;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	struct nswrap_pump *pump = nswrap_pump_start(&ops, &pair[0], &fd, &error);
	assert_non_null(pump);
	struct nswrap_exit *out = nswrap_exit_start(fd, fd, NULL, &error);
	struct nswrap_entrance *in = nswrap_entrance_start(pair[1], pair[1], &error);
	assert_non_null(out);
	assert_non_null(in);
	/* what no exit can be asked for is refused by it, which is an answer through the pump */
	int dialled = nswrap_dial(in, "tcp", "169.254.169.254", 80, LONG_MS, 0, &error);
	assert_true(dialled == -ECONNREFUSED || dialled == -EHOSTUNREACH ||
		    dialled == -ENETUNREACH || dialled == -EACCES);
	nswrap_entrance_stop(in);
	nswrap_exit_stop(out);
	nswrap_pump_stop(pump);
	close(pair[0]);

	assert_null(nswrap_pump_start(NULL, NULL, &fd, &error));
	assert_int_equal(error.code, EINVAL);
	assert_null(nswrap_pump_start(&ops, NULL, NULL, NULL));
	nswrap_pump_stop(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_status_of_a_command, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_output_goes_to_what_is_given, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_signals, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_sandbox_errors, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_another_thread_forks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_listen_and_dial, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_threads, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_random_calls, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_end_of_an_exit, set_up, tear_down),
		cmocka_unit_test(test_a_subreaper),
		cmocka_unit_test_setup_teardown(test_network_errors, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_callbacks_are_a_link, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
