/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/watch - what a command shows again and again, on the whole of a terminal or one below another
 */
#include "cmd/watch.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
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

static void enter(struct watch *watch)
{
	if (watch->is_terminal && !watch->is_shown)
		fd_write_all(STDOUT_FILENO, ENTER, strlen(ENTER));
	watch->is_shown = watch->is_terminal;
}

static void leave(struct watch *watch)
{
	if (watch->is_shown)
		fd_write_all(STDOUT_FILENO, LEAVE, strlen(LEAVE));
	watch->is_shown = false;
}

int watch_open(struct watch *watch, bool is_text, struct err *err)
{
	const char *term = getenv("TERM");
	sigset_t ours;

	*watch = (struct watch){.signal_fd = -1,
		.is_terminal = !is_text && isatty(STDOUT_FILENO) && term && term[0] != '\0' &&
			       strcmp(term, "dumb") != 0};
	sigemptyset(&ours);
	sigaddset(&ours, SIGINT);
	sigaddset(&ours, SIGTERM);
	sigaddset(&ours, SIGHUP);
	sigaddset(&ours, SIGQUIT);
	sigaddset(&ours, SIGTSTP);
	sigaddset(&ours, SIGWINCH);
	sigprocmask(SIG_BLOCK, &ours, &watch->before);
	watch->signal_fd = signalfd(-1, &ours, SFD_NONBLOCK | SFD_CLOEXEC);
	if (watch->signal_fd < 0) {
		sigprocmask(SIG_SETMASK, &watch->before, NULL);
		return err_sys(err, errno, "cannot receive signals");
	}
	enter(watch);
	return 0;
}

void watch_close(struct watch *watch)
{
	if (watch->signal_fd < 0)
		return;
	leave(watch);
	fd_close(&watch->signal_fd);
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
		return fd_write_all(STDOUT_FILENO, text, strlen(text));
	FILE *out = open_memstream(&screen, &len);
	if (!out)
		return -ENOMEM;
	watch_size(watch, &columns, &lines);
	write_screen(out, text, columns, lines);
	if (fclose(out) != 0)
		result = -ENOMEM;
	if (result == 0)
		result = fd_write_all(STDOUT_FILENO, screen, len);
	free(screen);
	return result;
}
