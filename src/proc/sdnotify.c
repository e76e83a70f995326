/* SPDX-License-Identifier: Apache-2.0 */
/* proc/sdnotify - what is told to a service manager, as sd_notify(3) states it */
#include "proc/sdnotify.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

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

/* Send what is owed as far as there is room. Returns 0, or -errno: it is lost. */
static int pay(struct sdnotify *own)
{
	int result = 0;

	for (size_t i = 0; i < SDNOTIFY_KINDS; i++) {
		char *text = own->owed[i];

		if (text[0] == '\0')
			continue;
		ssize_t sent = fd_send(own->io.fd, text, strlen(text), NULL, 0);
		if (sent == -EAGAIN)
			return 0;
		text[0] = '\0';
		result = sent < 0 ? (int)sent : result;
	}
	loop_io_del(own->loop, &own->io);
	fd_close(&own->io.fd);
	own->owes = false;
	return result;
}

static void on_room(struct loop_io *io, uint32_t events)
{
	struct sdnotify *own = container_of(io, struct sdnotify, io);
	int result = pay(own);

	(void)events;
	if (result < 0)
		log_info("cannot tell the service manager: %s", strerror(-result));
	if (!own->owes && own->on_told)
		own->on_told(own);
}

int sdnotify_tell(struct sdnotify *own, enum sdnotify_kind kind, const char *text)
{
	if (!own->address)
		return 0;
	if (!own->owes) {
		own->io = (struct loop_io){sdnotify_open(own->address), on_room};
		if (own->io.fd < 0)
			return own->io.fd;
	}
	snprintf(own->owed[kind], SDNOTIFY_OWN_BYTES, "%s", text);
	if (own->owes)
		return 0;
	own->owes = true;
	int result = pay(own);
	if (own->owes)
		result = loop_io_add(own->loop, &own->io, EPOLLOUT);
	if (own->owes && result < 0)
		sdnotify_end(own, 0);
	return result;
}

void sdnotify_end(struct sdnotify *own, unsigned wait_ms)
{
	const uint64_t end_ns = clock_now_ns() + wait_ms * NS_PER_MS;

	while (own->owes && clock_now_ns() < end_ns) {
		struct pollfd room = {own->io.fd, POLLOUT, 0};

		poll(&room, 1, (int)wait_ms);
		pay(own);
	}
	if (!own->owes)
		return;
	loop_io_del(own->loop, &own->io);
	fd_close(&own->io.fd);
	own->owes = false;
	memset(own->owed, 0, sizeof(own->owed));
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
