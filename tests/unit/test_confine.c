/* SPDX-License-Identifier: Apache-2.0 */
/* unit/test_confine - what a confined program is refused, each call in a child */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <linux/if_alg.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/confine.h"

static const struct confine with_network = {.keeps_signals_inside = true};
static const struct confine without = {.keeps_signals_inside = true, .has_no_network = true};

/* The errno of @call in a confined child, 0 if it works. */
static int try(const struct confine *confine, int (*call)(int told), int told)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL); /* cmocka would go on with the next test here */
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || confine_self(confine) < 0)
			_exit(255);
		_exit(call(told) < 0 ? errno : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int make_socket(int family)
{
	return socket(family, SOCK_STREAM, 0);
}

static int make_pair(int family)
{
	int fds[2];

	return socketpair(family, SOCK_STREAM, 0, fds);
}

static void families(void **state)
{
	static const int refused[] = {AF_VSOCK, AF_BLUETOOTH, AF_NFC, AF_RDS, AF_IUCV, 34, 42};

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		assert_int_equal(try(&with_network, make_socket, refused[i]), EAFNOSUPPORT);
		assert_int_equal(try(&without, make_socket, refused[i]), EAFNOSUPPORT);
		assert_int_equal(try(&with_network, make_pair, refused[i]), EAFNOSUPPORT);
	}
	assert_int_equal(try(&without, make_socket, AF_UNIX), 0);
	assert_int_equal(try(&without, make_socket, AF_INET), 0);
	assert_int_equal(try(&without, make_socket, AF_INET6), 0);
	assert_int_equal(try(&without, make_pair, AF_UNIX), 0);
}

#ifdef __x86_64__
/* A call of a 32-bit program, which a 64-bit one can make as well. Returns -1 with errno. */
static int call_32(int number, int first, int second, int third)
{
	int result;

	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(number), "b"(first), "c"(second), "d"(third)
			 : "memory", "r8", "r9", "r10", "r11");
	if (result >= 0)
		return result;
	errno = -result;
	return -1;
}

static int make_socket_32(int family)
{
	return call_32(359, family, SOCK_STREAM, 0);
}

/* socketcall(SYS_SOCKET, a bad address) */
static int make_socketcall_32(int told)
{
	(void)told;
	return call_32(102, 1, 8, 0);
}

static int type_32(int told)
{
	(void)told;
	return call_32(54, 0, TIOCSTI, 0);
}

static int make_socket_x32(int family)
{
	return (int)syscall(0x40000000 + SYS_socket, family, SOCK_STREAM, 0);
}

/* Under some hypervisors the instruction faults although the kernel has the calls. */
static bool has_32(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL);
		_exit(call_32(20, 0, 0, 0) < 0); /* getpid */
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void other_architectures(void **state)
{
	(void)state;
	assert_int_equal(try(&with_network, make_socket_x32, AF_VSOCK), EAFNOSUPPORT);
	if (!has_32())
		skip(); /* this machine has no 32-bit calls */
	assert_int_equal(try(&without, make_socket_32, AF_VSOCK), EAFNOSUPPORT);
	assert_int_equal(try(&without, make_socket_32, AF_INET), 0);
	assert_int_equal(try(&without, make_socketcall_32, 0), EAFNOSUPPORT);
	/* 32-bit programs have a network where there is one */
	assert_int_equal(try(&with_network, make_socketcall_32, 0), EFAULT);
	assert_int_equal(try(&with_network, type_32, 0), EPERM);
}
#endif

static int type(int request)
{
	return ioctl(-1, (unsigned)request, "x");
}

/* The kernel does not look at the upper half of the request. */
static int type_with_more(int request)
{
	return (int)syscall(SYS_ioctl, -1, (1ul << 40) | (unsigned)request, "x");
}

static void terminals(void **state)
{
	static const int refused[] = {TIOCSTI, TIOCLINUX};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(try(&with_network, type, refused[i]), EPERM);
		assert_int_equal(try(&with_network, type_with_more, refused[i]), EPERM);
	}
	assert_int_equal(try(&with_network, type, TIOCGWINSZ), EBADF);
}

static int make_ring(int told)
{
	struct io_uring_params params = {0};

	(void)told;
	return (int)syscall(SYS_io_uring_setup, 4, &params);
}

static void rings(void **state)
{
	(void)state;
	assert_int_equal(try(&without, make_ring, 0), EPERM);
	if (make_ring(0) >= 0) /* no container or sysctl refuses it already */
		assert_int_equal(try(&with_network, make_ring, 0), 0);
}

static int signal_parent(int told)
{
	(void)told;
	return kill(getppid(), 0);
}

static int signal_child(int told)
{
	(void)told;
	pid_t pid = fork();

	if (pid == 0) {
		pause();
		_exit(0);
	}
	return kill(pid, SIGKILL);
}

static void signals(void **state)
{
	static const struct confine nothing = {0};

	(void)state;
	if (!confine_can_keep_signals())
		skip();
	assert_int_equal(try(&with_network, signal_parent, 0), EPERM);
	assert_int_equal(try(&with_network, signal_child, 0), 0);
	assert_int_equal(try(&nothing, signal_parent, 0), 0);
}

/* No processor time, for the parent or for itself; as it was for the sake of the tests. */
static int limit_parent(int resource)
{
	struct rlimit limit;

	return prlimit(getppid(), (__rlimit_resource_t)resource, NULL, &limit) < 0
		       ? -1
		       : prlimit(getppid(), (__rlimit_resource_t)resource, &limit, NULL);
}

static int ask_parent(int resource)
{
	struct rlimit limit;

	return prlimit(getppid(), (__rlimit_resource_t)resource, NULL, &limit);
}

static int limit_self(int resource)
{
	struct rlimit limit;

	return getrlimit((__rlimit_resource_t)resource, &limit) < 0
		       ? -1
		       : setrlimit((__rlimit_resource_t)resource, &limit);
}

static void limits(void **state)
{
	static const struct confine nothing = {0};

	(void)state;
	assert_int_equal(try(&with_network, limit_parent, RLIMIT_CPU), EPERM);
	assert_int_equal(try(&without, limit_parent, RLIMIT_NOFILE), EPERM);
	assert_int_equal(try(&with_network, ask_parent, RLIMIT_CPU), 0);
	assert_int_equal(try(&with_network, limit_self, RLIMIT_CPU), 0);
	assert_int_equal(try(&nothing, limit_parent, RLIMIT_CPU), 0);
}

static int has_session_keyring(int serial)
{
	long own = syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);

	errno = EEXIST;
	return own == serial ? 0 : -1;
}

static void keyrings(void **state)
{
	long serial = syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);

	(void)state;
	if (serial < 0)
		skip(); /* a kernel or container without */
	assert_int_equal(try(&with_network, has_session_keyring, (int)serial), EEXIST);
}

static int add_keyring(const char *name, int parent)
{
	return (int)syscall(SYS_add_key, "keyring", name, NULL, 0, parent);
}

static int link_key(int serial)
{
	return (int)syscall(SYS_keyctl, KEYCTL_LINK, serial, KEY_SPEC_SESSION_KEYRING);
}

static int move_key(int serial)
{
	return (int)syscall(SYS_keyctl, KEYCTL_MOVE, serial, KEY_SPEC_USER_SESSION_KEYRING,
		KEY_SPEC_SESSION_KEYRING, 0);
}

static int search_key(int serial)
{
	return (int)syscall(SYS_keyctl, KEYCTL_SEARCH, serial, "keyring", "nswrap-test", 0);
}

static int search_into(int serial)
{
	return (int)syscall(
		SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, "user", "none", serial);
}

static int move_into(int serial)
{
	return (int)syscall(SYS_keyctl, KEYCTL_MOVE, add_keyring("new", KEY_SPEC_SESSION_KEYRING),
		KEY_SPEC_SESSION_KEYRING, serial, 0);
}

static int link_into(int serial)
{
	return (int)syscall(
		SYS_keyctl, KEYCTL_LINK, add_keyring("new", KEY_SPEC_SESSION_KEYRING), serial);
}

static int add_into(int serial)
{
	return add_keyring("nswrap-test", serial);
}

static int request_into(int serial)
{
	return (int)syscall(SYS_request_key, "user", "none", NULL, serial);
}

/* A keyring of one's own into another one by its number, as Kerberos does. */
static int link_own(int told)
{
	int own = add_keyring("nswrap-own", KEY_SPEC_SESSION_KEYRING);
	int parent = add_keyring("nswrap-parent", KEY_SPEC_SESSION_KEYRING);

	(void)told;
	return own < 0 || parent < 0 ? -1 : (int)syscall(SYS_keyctl, KEYCTL_LINK, own, parent);
}

#ifdef __x86_64__
static int link_32(int serial)
{
	return call_32(288, KEYCTL_LINK, serial, KEY_SPEC_SESSION_KEYRING); /* keyctl */
}
#endif

static void strange_keys(void **state)
{
	static int (*const calls[])(int serial) = {
		link_key,
		move_key,
		search_key,
		search_into,
		move_into,
		link_into,
		add_into,
		request_into,
	};

	(void)state;
	confine_prepare();
	int serial = (int)syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_USER_KEYRING, 0);
	if (serial < 0)
		skip(); /* a kernel or container without */
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		assert_int_equal(try(&with_network, calls[i], serial), EACCES);
#ifdef __x86_64__
	if (has_32())
		assert_int_equal(try(&with_network, link_32, serial), EACCES);
#endif
	assert_int_equal(try(&with_network, link_key, KEY_SPEC_USER_KEYRING), 0);
	assert_int_equal(try(&with_network, link_own, 0), 0);
}

/* Their keys have their numbers in memory. */
static int compute(int operation)
{
	return (int)syscall(SYS_keyctl, operation, NULL, NULL, 0, NULL);
}

static int set_cipher_key(int name)
{
	int serial = 1;

	return setsockopt(-1, SOL_ALG, name, &serial, sizeof(serial));
}

static void hidden_numbers(void **state)
{
	(void)state;
	for (int operation = KEYCTL_DH_COMPUTE; operation <= KEYCTL_PKEY_VERIFY; operation++)
		if (operation != KEYCTL_PKEY_QUERY)
			assert_int_equal(try(&with_network, compute, operation), EACCES);
	assert_int_equal(try(&with_network, set_cipher_key, 9), EACCES);
	assert_int_equal(try(&without, set_cipher_key, 9), EACCES);
	assert_int_equal(try(&with_network, set_cipher_key, ALG_SET_KEY), EBADF);
}

/* Into a session keyring of one's own, with these permissions. */
static int open_key_for(const char *type, const char *name, unsigned permissions)
{
	int serial =
		(int)syscall(SYS_add_key, type, name, strcmp(type, "user") == 0 ? "told" : NULL,
			strcmp(type, "user") == 0 ? 4 : 0, KEY_SPEC_SESSION_KEYRING);

	assert_true(serial > 0);
	assert_int_equal(syscall(SYS_keyctl, KEYCTL_SETPERM, serial, permissions), 0);
	return serial;
}

static int open_key(const char *type, const char *name)
{
	return open_key_for(type, name, 0x3f3f0000);
}

static int invalidate_key(int serial)
{
	return (int)syscall(SYS_keyctl, KEYCTL_INVALIDATE, serial);
}

static int close_key(int serial)
{
	return (int)syscall(SYS_keyctl, KEYCTL_SETPERM, serial, 0x3f000000);
}

static int clear_key(int serial)
{
	return (int)syscall(SYS_keyctl, KEYCTL_CLEAR, serial);
}

static int read_key(int serial)
{
	char said[9];

	return (int)syscall(SYS_keyctl, KEYCTL_READ, serial, said, sizeof(said));
}

/* Reads with a length that a description pretends to be the number of a key. */
static int read_own(int told)
{
	(void)told;
	return read_key((int)syscall(
		SYS_add_key, "user", "nswrap-own", "told", 4, KEY_SPEC_SESSION_KEYRING));
}

static void open_keys(void **state)
{
	static int (*const calls[])(int serial) = {link_key, search_key, add_into, request_into,
		read_key, invalidate_key, close_key, clear_key, link_own};
	char name[32];

	(void)state;
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0)
		skip(); /* a kernel or container without */
	open_key("user", "x\n00000009 I--Q--- 1 perm 3f3f0000 0 0 keyring x");
	assert_int_equal(try(&with_network, read_own, 0), 0);
	assert_int_equal(try(&with_network, read_key, open_key("user", "nswrap-test")), EACCES);
	/* view and search are enough for that */
	assert_int_equal(try(&with_network, invalidate_key,
				 open_key_for("user", "nswrap-found", 0x3f090000)),
		EACCES);
	/* more than are looked at one by one */
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "nswrap-%d", i);
		open_key("keyring", name);
	}
	int serial = open_key("keyring", "nswrap-test");
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		assert_int_equal(try(&with_network, calls[i], serial), ENOSYS);
	syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
}

/* A filter that is made before says what was there then. */
static void made_before(void **state)
{
	struct confine confine = with_network;

	(void)state;
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0)
		skip(); /* a kernel or container without */
	int serial = open_key("user", "nswrap-before");
	confine_make_filter(&confine);
	assert_non_null(confine.filter);
	assert_int_equal(try(&confine, read_key, serial), EACCES);
	assert_int_equal(try(&confine, read_key, open_key("user", "nswrap-after")), 0);
	assert_int_equal(try(&confine, type, TIOCSTI), EPERM);
	assert_int_equal(try(&confine, make_socket, AF_VSOCK), EAFNOSUPPORT);
	free(confine.filter);
	syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(families),
#ifdef __x86_64__
		cmocka_unit_test(other_architectures),
#endif
		cmocka_unit_test(terminals),
		cmocka_unit_test(rings),
		cmocka_unit_test(signals),
		cmocka_unit_test(limits),
		cmocka_unit_test(keyrings),
		cmocka_unit_test(strange_keys),
		cmocka_unit_test(hidden_numbers),
		cmocka_unit_test(made_before),
		/* many, which are gone some time later */
		cmocka_unit_test(open_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
