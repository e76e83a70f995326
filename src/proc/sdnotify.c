/* SPDX-License-Identifier: Apache-2.0 */
/* proc/sdnotify - what is told to a service manager, as sd_notify(3) states it */
#include "proc/sdnotify.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/fd.h"

#define BARRIER "BARRIER=1"

/* sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3), systemd.exec(5) */
const char *const sdnotify_variables[] = {"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC",
	"FDSTORE", "LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES", NULL};

int sdnotify_open(const char *address)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	size_t len = strlen(address);

	if ((address[0] != '/' && address[0] != '@') || len < 2 || len >= sizeof(to.sun_path))
		return -EINVAL;
	memcpy(to.sun_path, address, len);
	if (address[0] == '@')
		to.sun_path[0] = '\0';
	_cleanup_fd_ int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	if (sock < 0 || connect(sock, (struct sockaddr *)&to, to_len) < 0)
		return -errno;
	return fd_take(&sock);
}

int sdnotify_tell(const char *address, const char *text)
{
	_cleanup_fd_ int sock = sdnotify_open(address);

	if (sock < 0)
		return sock;
	ssize_t sent = fd_send(sock, text, strlen(text), NULL, 0);
	return sent < 0 ? (int)sent : 0;
}

static bool begins_with(const char *line, size_t len, const char *word)
{
	return len >= strlen(word) && memcmp(line, word, strlen(word)) == 0;
}

size_t sdnotify_cut(char *text, size_t len, unsigned *cut)
{
	size_t left = 0;

	*cut = 0;
	for (size_t at = 0; at < len;) {
		const char *line = text + at;
		const char *end = memchr(line, '\n', len - at);
		size_t line_len = end ? (size_t)(end - line) + 1 : len - at;
		unsigned kind = begins_with(line, line_len, "MAINPID") ? SDNOTIFY_MAINPID
				: begins_with(line, line_len, "FD")    ? SDNOTIFY_FDS
								       : 0;

		*cut |= kind;
		if (!kind) {
			memmove(text + left, line, line_len);
			left += line_len;
		}
		at += line_len;
	}
	return left;
}

bool sdnotify_is_barrier(const char *text, size_t len)
{
	if (len > 0 && text[len - 1] == '\n')
		len--;
	return len == strlen(BARRIER) && memcmp(text, BARRIER, len) == 0;
}
