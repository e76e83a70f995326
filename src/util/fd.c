/* SPDX-License-Identifier: Apache-2.0 */
/* util/fd - owning, passing and marking file descriptors */
#include "util/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/major.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <termios.h>

#include "util/clock.h"

#define TEXT_BYTES 4096 /* what a text has room for at first */
/* How the names begin of unix sockets that were reset; abstract (unix(7)): they go with them */
#define RESET_MARK "\0nswrap-reset"
#define MARK_BYTES (offsetof(struct sockaddr_un, sun_path) + sizeof(RESET_MARK))

void fd_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

int fd_set_nonblock(int fd, int on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	flags = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
	return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}

bool fd_is_open(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && (fd > STDERR_FILENO || !(flags & O_PATH));
}

bool fd_can_write(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && (flags & O_ACCMODE) != O_RDONLY && !(flags & O_PATH);
}

int fd_lock(int fd, unsigned timeout_ms)
{
	struct clock_wait wait = clock_wait_start(timeout_ms);

	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int code = errno;
		if ((code != EINTR && code != EWOULDBLOCK) || !clock_wait_go_on(&wait))
			return -code;
	}
	return 0;
}

int fd_disconnect(int sock)
{
	const struct sockaddr nobody = {.sa_family = AF_UNSPEC};

	return connect(sock, &nobody, sizeof(nobody)) < 0 ? -errno : 0;
}

void fd_reset_at_close(int sock, bool on)
{
	struct linger linger = {.l_onoff = on, .l_linger = 0};

	setsockopt(sock, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static void mark_reset(int sock)
{
	struct sockaddr_un mark = {.sun_family = AF_UNIX, .sun_path = RESET_MARK};
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	getsockopt(sock, SOL_SOCKET, SO_COOKIE, &cookie, &len);
	memcpy(mark.sun_path + sizeof(RESET_MARK), &cookie, sizeof(cookie));
	/* of other families it fails */
	bind(sock, (struct sockaddr *)&mark, MARK_BYTES + sizeof(cookie));
}

void fd_discard(int *fd)
{
	const int saved = errno;
	struct linger linger = {0};
	socklen_t len = sizeof(linger);

	/* a linger of 0 s resets, and does not wait */
	if (*fd >= 0 && getsockopt(*fd, SOL_SOCKET, SO_LINGER, &linger, &len) == 0 &&
		linger.l_onoff && linger.l_linger != 0)
		fd_reset_at_close(*fd, false);
	errno = saved;
	fd_close(fd);
}

bool fd_is_taken(int fd)
{
	int left = 0;

	/* for a pipe, pipe(7); for a socket, unix(7) and tcp(7) */
	if (ioctl(fd, SIOCOUTQ, &left) < 0 && ioctl(fd, FIONREAD, &left) < 0)
		left = 0;
	return left == 0;
}

void fd_reset(int *sock)
{
	const int saved = errno;

	if (*sock >= 0) {
		fd_reset_at_close(*sock, true);
		mark_reset(*sock);
	}
	errno = saved;
	fd_close(sock);
}

bool fd_was_reset(int sock)
{
	struct sockaddr_un peer;
	socklen_t len = sizeof(peer);

	return getpeername(sock, (struct sockaddr *)&peer, &len) == 0 &&
	       peer.sun_family == AF_UNIX && len > MARK_BYTES &&
	       memcmp(peer.sun_path, RESET_MARK, sizeof(RESET_MARK)) == 0;
}

void fd_keep_alive(int sock)
{
	const int idle_s = FD_ALIVE_IDLE_S, every_s = FD_ALIVE_EVERY_S, probes = FD_ALIVE_PROBES;
	int on = 1;

	/* first: it fails where it is not TCP */
	if (setsockopt(sock, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s)) < 0)
		return;
	setsockopt(sock, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof(every_s));
	setsockopt(sock, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	setsockopt(sock, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

void fd_keep_in_line(int sock)
{
	int on = 1;

	setsockopt(sock, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
}

union fd_control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(FD_PASS_MAX * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
};

/* One message with at most one piece of control. Returns bytes sent or -errno. */
static ssize_t send_with(
	int sock, const void *data, size_t len, int type, const void *piece, size_t piece_len)
{
	union fd_control control;
	struct iovec iov = {(void *)data, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (piece_len > 0) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(piece_len);
		struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = type;
		cmsg->cmsg_len = CMSG_LEN(piece_len);
		memcpy(CMSG_DATA(cmsg), piece, piece_len);
	}
	ssize_t sent = TEMP_FAILURE_RETRY(sendmsg(sock, &msg, MSG_NOSIGNAL));
	return sent < 0 ? -errno : sent;
}

ssize_t fd_send(int sock, const void *data, size_t len, const int *fds, size_t nfds)
{
	if (nfds > FD_PASS_MAX)
		return -EINVAL;
	return send_with(sock, data, len, SCM_RIGHTS, fds, nfds * sizeof(int));
}

/* Move the descriptors of @msg to @fds; those past @max_fds are discarded. Returns how many came.
 */
static size_t take_fds(struct msghdr *msg, int *fds, size_t max_fds)
{
	size_t count = 0;

	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		size_t here = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < here; i++, count++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
			if (count < max_fds)
				fds[count] = fd;
			else
				fd_discard(&fd);
		}
	}
	return count;
}

static void take_pid(struct msghdr *msg, pid_t *pid)
{
	struct ucred sender;

	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg))
		if (cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_CREDENTIALS) {
			memcpy(&sender, CMSG_DATA(cmsg), sizeof(sender));
			*pid = sender.pid;
		}
}

/* fd_recv; @pid of the sender, if that comes; NULL: nobody asks. */
static ssize_t receive(
	int sock, void *data, size_t cap_bytes, int *fds, size_t max_fds, size_t *nfds, pid_t *pid)
{
	union fd_control control;
	/* cppcheck-suppress ctuuninitvar ; it is filled here */
	struct iovec iov = {data, cap_bytes};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t got = TEMP_FAILURE_RETRY(recvmsg(sock, &msg, MSG_CMSG_CLOEXEC));

	/* the other side closed and had not read all: told once, before what it said */
	if (got < 0 && errno == ECONNRESET)
		got = TEMP_FAILURE_RETRY(recvmsg(sock, &msg, MSG_CMSG_CLOEXEC));
	for (size_t i = 0; i < max_fds; i++)
		/* cppcheck-suppress nullPointerRedundantCheck ; none is 0 of them */
		fds[i] = -1;
	if (got < 0)
		return -errno;

	if (pid)
		take_pid(&msg, pid);
	size_t count = take_fds(&msg, fds, max_fds);
	if (count > max_fds || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		for (size_t i = 0; i < count && i < max_fds; i++)
			fd_discard(&fds[i]);
		return -EMSGSIZE;
	}
	if (nfds)
		*nfds = count;
	return got;
}

ssize_t fd_recv(int sock, void *data, size_t cap_bytes, int *fds, size_t max_fds, size_t *nfds)
{
	return receive(sock, data, cap_bytes, fds, max_fds, nfds, NULL);
}

ssize_t fd_recv_told(
	int sock, void *data, size_t cap_bytes, int *fds, size_t max_fds, size_t *nfds, pid_t *pid)
{
	return receive(sock, data, cap_bytes, fds, max_fds, nfds, pid);
}

int fd_pair(int ends[2], int flags, struct err *err)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0, ends) == 0)
		return 0;
	ends[0] = ends[1] = -1;
	return err_sys(err, errno, "cannot make a socket pair");
}

int fd_send_one(int sock, const void *data, size_t len, int fd)
{
	ssize_t sent = fd_send(sock, data, len, &fd, fd >= 0 ? 1 : 0);

	return sent < 0 ? (int)sent : 0;
}

/* Of a message that wants to have @len bytes. */
static int result_of(ssize_t got, size_t len)
{
	if (got == (ssize_t)len)
		return 0;
	return got < 0 ? (int)got : got == 0 ? -EPIPE : -EPROTO;
}

int fd_recv_one(int sock, void *data, size_t len, int *fd)
{
	int result = result_of(fd_recv(sock, data, len, fd, fd ? 1 : 0, NULL), len);

	if (result < 0 && fd)
		fd_close(fd);
	return result;
}

int fd_send_as(int sock, const void *data, size_t len, pid_t pid)
{
	const struct ucred sender = {pid, getuid(), getgid()};
	ssize_t sent = send_with(sock, data, len, SCM_CREDENTIALS, &sender, sizeof(sender));

	return sent < 0 ? (int)sent : 0;
}

int fd_recv_from(int sock, void *data, size_t len, pid_t *pid)
{
	return result_of(receive(sock, data, len, NULL, 0, NULL, pid), len);
}

int fd_write_all(int fd, const void *data, size_t len)
{
	const char *next = data;

	while (len > 0) {
		ssize_t done = TEMP_FAILURE_RETRY(write(fd, next, len));
		if (done < 0)
			return -errno;
		next += done;
		len -= (size_t)done;
	}
	return 0;
}

int fd_open_own(int fd)
{
	const int flags = O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	char path[32];
	struct stat info;

	/* the other end of a terminal would be another one's */
	if (fstat(fd, &info) < 0 || info.st_rdev == makedev(TTYAUX_MAJOR, 2) ||
		(!S_ISFIFO(info.st_mode) && !isatty(fd)))
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int own = open(path, flags);
	/* somebody else's terminal, after su(1): it can be opened as ours all the same */
	return own < 0 && tcgetsid(fd) == getsid(0) ? open("/dev/tty", flags) : own;
}

/* Past the limit of a file's size a write is SIGXFSZ. */
static bool is_past_limit(int fd, const struct stat *info, size_t len)
{
	struct rlimit limit;
	off_t at = fcntl(fd, F_GETFL) & O_APPEND ? info->st_size : lseek(fd, 0, SEEK_CUR);

	return S_ISREG(info->st_mode) && getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
	       limit.rlim_cur != RLIM_INFINITY && at >= 0 && (rlim_t)at + len > limit.rlim_cur;
}

int fd_tell(int fd, const void *data, size_t len, int wait_ms)
{
	struct pollfd room = {.fd = fd, .events = POLLOUT};
	struct stat info;
	ssize_t done;

	if (wait_ms < 0)
		return fd_write_all(fd, data, len);
	if (TEMP_FAILURE_RETRY(poll(&room, 1, wait_ms)) != 1)
		return -EAGAIN;
	if (fstat(fd, &info) < 0)
		return -errno;
	if (is_past_limit(fd, &info, len))
		return -EFBIG;
	/* others may fill it before we write, and a terminal with some room takes no line in whole
	 */
	_cleanup_fd_ int own = fcntl(fd, F_GETFL) & O_NONBLOCK ? -1 : fd_open_own(fd);
	if (S_ISSOCK(info.st_mode))
		done = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	else
		done = write(own >= 0 ? own : fd, data, len);
	if (done < 0)
		return -errno;
	return (size_t)done == len ? 0 : -EAGAIN;
}

ssize_t fd_read_all(int fd, void *data, size_t cap_bytes)
{
	size_t used = 0;

	while (used < cap_bytes) {
		ssize_t got = TEMP_FAILURE_RETRY(read(fd, (char *)data + used, cap_bytes - used));
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		used += (size_t)got;
	}
	return (ssize_t)used;
}

char *fd_read_text(int fd, size_t cap_bytes, size_t *len)
{
	size_t used = 0, room = cap_bytes < TEXT_BYTES ? cap_bytes : TEXT_BYTES;
	char *text = NULL;

	for (;;) {
		char *grown = realloc(text, room + 1);
		ssize_t got = grown ? fd_read_all(fd, grown + used, room - used) : -ENOMEM;

		text = grown ? grown : text;
		if (got < 0) {
			free(text);
			errno = (int)-got;
			return NULL;
		}
		used += (size_t)got;
		if (used < room || room == cap_bytes)
			break;
		room = room < cap_bytes / 2 ? 2 * room : cap_bytes;
	}
	text[used] = '\0';
	if (len)
		*len = used;
	return text;
}

ssize_t fd_read_file(const char *path, char *text, size_t cap_bytes)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	text[0] = '\0';
	if (fd < 0)
		return -errno;
	ssize_t len = fd_read_all(fd, text, cap_bytes - 1);
	text[len < 0 ? 0 : len] = '\0';
	return len;
}
