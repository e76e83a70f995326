/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/watch - what a command shows again and again, on the whole of a terminal or one below another
 */
#include "cmd/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/param.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cmd/output.h"
#include "util/clock.h"
#include "util/fd.h"

/* xterm's controls, which every terminal emulator of today has: the other screen, the cursor away,
 * no wrapping; to the begin; the rest of the line, of the screen */
#define ENTER      "\033[?1049h\033[?25l\033[?7l"
#define LEAVE      "\033[?7h\033[?25h\033[?1049l"
#define HOME       "\033[H"
#define CLEAR_LINE "\033[K"
#define CLEAR_REST "\033[J"
#define LEAVE_MS   200 /* for a terminal that is stopped */

/*
 * stdout once more, nonblocking: the description that others share stays as it is. What cannot be
 * opened so, such as a socket, gets so little at a time that there is room for it.
 */
static void open_out(struct watch *watch)
{
	watch->out_fd = fd_open_own(STDOUT_FILENO);
	watch->write_max = watch->out_fd < 0 ? PIPE_BUF : SIZE_MAX;
	if (watch->out_fd < 0)
		watch->out_fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

/* Write it all, waiting at most @wait_ms (-1: for ever) for room, and not past a readable @end_fd.
 * Returns 0, -ECANCELED or -errno. */
static int write_out(
	const struct watch *watch, const char *text, size_t len, int end_fd, int wait_ms)
{
	while (len > 0) {
		struct pollfd fds[] = {{watch->out_fd, POLLOUT, 0}, {end_fd, POLLIN, 0}};

		if (TEMP_FAILURE_RETRY(poll(fds, 2, wait_ms)) <= 0 || fds[1].revents)
			return -ECANCELED;
		ssize_t done = write(watch->out_fd, text, MIN(len, watch->write_max));
		if (done < 0 && errno != EAGAIN)
			return -errno;
		if (done > 0) {
			text += done;
			len -= (size_t)done;
		}
	}
	return 0;
}

static void enter(struct watch *watch)
{
	if (watch->is_terminal && !watch->is_shown)
		write_out(watch, ENTER, strlen(ENTER), watch->end_fd, -1);
	watch->is_shown = watch->is_terminal;
}

static void leave(struct watch *watch)
{
	if (watch->is_shown)
		write_out(watch, LEAVE, strlen(LEAVE), -1, LEAVE_MS);
	watch->is_shown = false;
}

int watch_open(struct watch *watch, bool is_text, struct err *err)
{
	const char *term = getenv("TERM");
	sigset_t ours;

	*watch = (struct watch){.signal_fd = -1,
		.end_fd = -1,
		.out_fd = -1,
		.is_terminal = !is_text && isatty(STDOUT_FILENO) && term && term[0] != '\0' &&
			       strcmp(term, "dumb") != 0};
	sigemptyset(&ours);
	sigaddset(&ours, SIGINT);
	sigaddset(&ours, SIGTERM);
	sigaddset(&ours, SIGHUP);
	sigaddset(&ours, SIGQUIT);
	watch->end_fd = signalfd(-1, &ours, SFD_NONBLOCK | SFD_CLOEXEC);
	sigaddset(&ours, SIGTSTP);
	sigaddset(&ours, SIGWINCH);
	sigprocmask(SIG_BLOCK, &ours, &watch->before);
	watch->signal_fd = signalfd(-1, &ours, SFD_NONBLOCK | SFD_CLOEXEC);
	open_out(watch);
	if (watch->signal_fd < 0 || watch->end_fd < 0 || watch->out_fd < 0) {
		int result = err_sys(err, errno, "cannot watch");
		watch_close(watch);
		return result;
	}
	enter(watch);
	return 0;
}

void watch_close(struct watch *watch)
{
	struct signalfd_siginfo info;

	leave(watch);
	/* what has ended this does not end the process */
	while (read(watch->end_fd, &info, sizeof(info)) > 0)
		;
	fd_close(&watch->signal_fd);
	fd_close(&watch->end_fd);
	fd_close(&watch->out_fd);
	sigprocmask(SIG_SETMASK, &watch->before, NULL);
}

void watch_size(const struct watch *watch, int *columns, int *lines)
{
	struct winsize size = {0};

	if (watch->is_terminal)
		ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	*columns = size.ws_col;
	*lines = size.ws_row;
}

/* Returns 0 or -ECANCELED. */
static int on_signal(struct watch *watch)
{
	struct signalfd_siginfo info;

	while (read(watch->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGTSTP) {
			leave(watch);
			raise(SIGSTOP);
			enter(watch);
		} else if (info.ssi_signo != SIGWINCH) {
			return -ECANCELED;
		}
	}
	return 0;
}

int watch_wait(struct watch *watch, int fd, int wait_ms)
{
	struct pollfd fds[] = {{watch->signal_fd, POLLIN, 0}, {fd, POLLIN, 0}};
	int count = TEMP_FAILURE_RETRY(poll(fds, 2, wait_ms));

	if (count < 0)
		return -errno;
	if (fds[0].revents)
		return on_signal(watch);
	return fds[1].revents != 0;
}

/* The text on the screen, in one piece. */
static void write_screen(FILE *out, const char *text, int columns, int lines)
{
	const char *end;

	fputs(HOME, out);
	for (int line = 0; *text && (lines == 0 || line < lines);
		line++, text = end + (*end == '\n')) {
		end = text + strcspn(text, "\n");
		if (line > 0)
			fputs("\r\n", out);
		output_cut(out, text, (size_t)(end - text), columns);
		fputs(CLEAR_LINE, out);
	}
	fputs(CLEAR_REST, out);
}

int watch_show(struct watch *watch, const char *text)
{
	int columns, lines, result = 0;
	char *screen = NULL;
	size_t len = 0;

	if (!watch->is_terminal)
		return write_out(watch, text, strlen(text), watch->end_fd, -1);
	FILE *out = open_memstream(&screen, &len);
	if (!out)
		return -ENOMEM;
	watch_size(watch, &columns, &lines);
	write_screen(out, text, columns, lines);
	if (fclose(out) != 0)
		result = -ENOMEM;
	if (result == 0)
		result = write_out(watch, screen, len, watch->end_fd, -1);
	free(screen);
	return result;
}
