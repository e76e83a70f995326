/* SPDX-License-Identifier: Apache-2.0 */
/* control/identity - who is at the other end of a control socket, before anything is asked */
#include "control/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proc/tree.h"
#include "util/fd.h"
#include "util/log.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

#define COMM_BYTES 16
#define PATH_BYTES 64

/* Whether /proc/PID/FILE is the same as our own: 1, 0, or -errno if it cannot be looked at. */
static int is_shared(pid_t pid, const char *file)
{
	char path[PATH_BYTES];
	struct stat own, other;

	snprintf(path, sizeof(path), "/proc/self/%s", file);
	if (stat(path, &own) < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	if (stat(path, &other) < 0)
		return -errno;
	return own.st_ino == other.st_ino && own.st_dev == other.st_dev;
}

/* What it calls itself, or "". */
static void read_comm(pid_t pid, char *out, size_t cap_bytes)
{
	char path[PATH_BYTES], comm[COMM_BYTES + 1] = "";

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? 0 : read(fd, comm, sizeof(comm) - 1);
	if (len > 0 && comm[len - 1] == '\n')
		len--;
	log_escape(comm, len > 0 ? (size_t)len : 0, out, cap_bytes);
}

/* A program with our own name will do: nobody says that it must be installed as nswrap. */
static bool is_nswrap(const char *comm)
{
	char own[COMM_BYTES + 1] = "";

	prctl(PR_GET_NAME, own);
	return comm[0] == '\0' || strncmp(comm, "nswrap", strlen("nswrap")) == 0 ||
	       strcmp(comm, own) == 0;
}

/* Returns 1: it lives, 0: it has ended, or -ENOPROTOOPT: this kernel cannot tell. */
static int is_alive(int sock, int *pidfd)
{
	struct pollfd pollfd = {.events = POLLIN};
	socklen_t len = sizeof(*pidfd);

	if (*pidfd < 0 && getsockopt(sock, SOL_SOCKET, SO_PEERPIDFD, pidfd, &len) < 0) {
		*pidfd = -1;
		return errno == ENOPROTOOPT ? -ENOPROTOOPT : 0;
	}
	pollfd.fd = *pidfd;
	return poll(&pollfd, 1, 0) == 0;
}

static const char *find_fault(pid_t pid, const char *comm)
{
	if (is_shared(pid, "ns/user") == 0)
		return "is inside a sandbox or a container of yours";
	if (is_shared(pid, "net/unix") == 0)
		return "is in another network namespace than this command; ask from where it was "
		       "started (such as outside of unshare -n, ip netns exec or a container)";
	if (!is_nswrap(comm))
		return "is no nswrap";
	return NULL;
}

bool identity_has_ended(int sock)
{
	_cleanup_fd_ int pidfd = -1;
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || peer.pid <= 0)
		return false;
	int state = is_alive(sock, &pidfd);
	if (state >= 0)
		return state == 0;
	return (kill(peer.pid, 0) < 0 && errno == ESRCH) || tree_is_ending(peer.pid);
}

/* The process, and its pidfd if it can be had: else -1. -ESRCH: it has ended. */
static int check(int sock, pid_t *pid, int *pidfd, struct err *err)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	char comm[COMM_BYTES * 4 + 1];

	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return err_sys(err, errno, "who answers cannot be found out");
	if (peer.uid != geteuid())
		return err_set(err, EPERM, "PID %d belongs to another user (uid %u)", peer.pid,
			(unsigned)peer.uid);
	if (peer.pid <= 0)
		return err_set(err, EPERM,
			"its process is in a PID namespace that cannot be seen from here; ask from "
			"where it was started");
	if (is_alive(sock, pidfd) == 0)
		return err_set(err, ESRCH,
			"PID %d has ended and left its socket to another process", peer.pid);
	read_comm(peer.pid, comm, sizeof(comm));
	const char *fault = find_fault(peer.pid, comm);
	if (fault)
		return err_set(err, EPERM, "PID %d (%s) %s", peer.pid, comm, fault);
	/* what we have looked at was not yet somebody else */
	if (is_alive(sock, pidfd) == 0)
		return err_set(err, ESRCH, "PID %d has just ended", peer.pid);
	*pid = peer.pid;
	return 0;
}

int identity_check(int sock, struct err *err)
{
	_cleanup_fd_ int pidfd = -1;
	pid_t pid = 0;
	int result = check(sock, &pid, &pidfd, err);

	return result == -ESRCH ? -EPERM : result;
}

/* Nobody has the listening socket any more, or not when that time is over. */
static bool has_hung_up_in(int sock, unsigned timeout_ms)
{
	struct pollfd end = {.fd = sock};

	return poll(&end, 1, (int)timeout_ms) > 0;
}

/*
 * Who passes the check. Returns a pidfd; -ESRCH: it has ended, and nobody else has its socket; or
 * another -errno with @err.
 */
static int find(int sock, unsigned timeout_ms, pid_t *pid, struct err *err)
{
	_cleanup_fd_ int pidfd = -1, again = -1;
	int result = check(sock, pid, &pidfd, err);

	if (result == 0 &&
		pidfd < 0) { /* before Linux 6.5: what is checked once more is what it was */
		pidfd = (int)syscall(SYS_pidfd_open, *pid, 0);
		if (pidfd >= 0)
			result = check(sock, pid, &again, err);
		else
			result = err_sys(err, errno, "cannot end PID %d", *pid);
	}
	if (result == -ESRCH && !has_hung_up_in(sock, timeout_ms))
		return -EPERM;
	return result < 0 ? result : fd_take(&pidfd);
}

static bool has_ended_in(int pidfd, unsigned timeout_ms)
{
	struct pollfd end = {.fd = pidfd, .events = POLLIN};

	return poll(&end, 1, (int)timeout_ms) > 0;
}

static int send_signal(int pidfd, int sig)
{
	return syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0) < 0 && errno != ESRCH ? -errno
											 : 0;
}

static int kill_it(int pidfd, pid_t pid, unsigned timeout_ms, struct err *err)
{
	int result = send_signal(pidfd, SIGKILL);

	if (result < 0)
		return err_sys(err, -result, "cannot end PID %d", pid);
	return has_ended_in(pidfd, timeout_ms)
		       ? 0
		       : err_set(err, ETIMEDOUT, "PID %d does not end in %u ms", pid, timeout_ms);
}

int identity_kill(int sock, unsigned timeout_ms, struct err *err)
{
	pid_t pid = 0;
	_cleanup_fd_ int pidfd = find(sock, timeout_ms, &pid, err);

	if (pidfd < 0)
		return pidfd == -ESRCH ? 0 : pidfd;
	return kill_it(pidfd, pid, timeout_ms, err);
}

int identity_end(int sock, unsigned grace_ms, unsigned timeout_ms, struct err *err)
{
	pid_t pid = 0;
	_cleanup_fd_ int pidfd = find(sock, timeout_ms, &pid, err);

	if (pidfd < 0)
		return pidfd == -ESRCH ? 0 : pidfd;
	int result = send_signal(pidfd, SIGTERM);
	if (result == 0)
		result = send_signal(pidfd, SIGCONT);
	if (result < 0)
		return err_sys(err, -result, "cannot end PID %d", pid);
	if (has_ended_in(pidfd, grace_ms))
		return 0;
	/* while it is there, and be it stopped, nothing leaves its tree: it is the last one */
	tree_kill_below(pid, timeout_ms);
	return kill_it(pidfd, pid, timeout_ms, err);
}
