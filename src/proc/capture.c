/* SPDX-License-Identifier: Apache-2.0 */
/* proc/capture - run a command and take what it prints */
#include "proc/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"

#define READ_BYTES 4096

static void close_streams(struct capture *capture)
{
	if (capture->out_io.fd >= 0) {
		loop_io_del(capture->loop, &capture->out_io);
		fd_close(&capture->out_io.fd);
	}
	lines_close(&capture->errors);
	loop_timer_cancel(capture->loop, &capture->patience);
}

static void forget(struct capture *capture)
{
	free(capture->text);
	capture->text = NULL;
	capture->len = capture->cap = 0;
}

/* The command has ended, and what it said is read. */
static void finish(struct capture *capture)
{
	char *text = capture->text, why[CAPTURE_WHY_BYTES];

	close_streams(capture);
	capture->has_ended = false;
	if (capture->said[0] != '\0')
		snprintf(why, sizeof(why), "%.250s: %.250s", capture->trouble, capture->said);
	else
		snprintf(why, sizeof(why), "%s", capture->trouble);
	capture->on_done(capture, capture->trouble[0] != '\0' ? why : NULL);
	/* it may have been started again */
	if (text && capture->text == text && !capture_is_running(capture))
		forget(capture);
}

__attribute__((format(printf, 2, 3))) static void give_up(
	struct capture *capture, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (capture->trouble[0] == '\0')
		vsnprintf(capture->trouble, sizeof(capture->trouble), format, args);
	va_end(args);
	child_signal(&capture->child, SIGKILL);
	capture->len = 0;
}

static void finish_if_over(struct capture *capture)
{
	if (capture->has_ended && capture->out_io.fd < 0 && !lines_is_open(&capture->errors))
		finish(capture);
}

static bool make_room(struct capture *capture)
{
	const size_t cap = capture->cap ? 2 * capture->cap : 4 * READ_BYTES;

	if (capture->cap - capture->len >= READ_BYTES)
		return true;
	char *grown = realloc(capture->text, cap);
	if (!grown)
		return false;
	capture->text = grown;
	capture->cap = cap;
	return true;
}

static void on_output(struct loop_io *io, uint32_t events)
{
	struct capture *capture = container_of(io, struct capture, out_io);
	ssize_t len;

	(void)events;
	for (;;) {
		if (!make_room(capture)) {
			give_up(capture, "no memory for what it says");
			return;
		}
		len = read(io->fd, capture->text + capture->len, capture->cap - capture->len);
		if (len <= 0)
			break;
		capture->len += (size_t)len;
		if (capture->len > capture->max_bytes) {
			give_up(capture, "it says more than %zu bytes: expected %s",
				capture->max_bytes, capture->expected);
			return;
		}
	}
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	loop_io_del(capture->loop, io);
	fd_close(&io->fd);
	finish_if_over(capture);
}

static void on_error_line(struct lines *lines, const char *text, size_t len)
{
	struct capture *capture = lines->owner;

	snprintf(capture->said, sizeof(capture->said), "%.*s", (int)len, text);
}

static void on_errors_end(struct lines *lines)
{
	finish_if_over(lines->owner);
}

static void on_child_end(struct child *child, const struct child_end *end)
{
	struct capture *capture = container_of(child, struct capture, child);
	char text[256];

	if (capture->trouble[0] == '\0' && child_has_failed(end))
		snprintf(capture->trouble, sizeof(capture->trouble), "%s",
			child_describe_end(end, capture->program, text, sizeof(text)));
	capture->has_ended = true;
	loop_timer_set(capture->loop, &capture->patience, CAPTURE_LAST_MS);
	finish_if_over(capture);
}

static void on_patience(struct loop_timer *timer)
{
	struct capture *capture = container_of(timer, struct capture, patience);

	if (capture->has_ended) {
		lines_drain(&capture->errors);
		finish(capture);
		return;
	}
	give_up(capture, "it has not ended in %llu s",
		(unsigned long long)(capture->patience_ms / MS_PER_S));
	loop_timer_set(capture->loop, timer, capture->patience_ms);
}

/* --- start and end ------------------------------------------------------------------------ */

/* Returns 0 or -errno with @err filled; what is open is capture's, but for the write ends. */
static int open_streams(struct capture *capture, int *out_write, int *err_write, struct err *err)
{
	int out[2], errors[2];

	if (pipe2(out, O_CLOEXEC) < 0)
		return err_sys(err, errno, "cannot start it");
	*out_write = out[1];
	capture->out_io = (struct loop_io){out[0], on_output};
	if (pipe2(errors, O_CLOEXEC) < 0)
		return err_sys(err, errno, "cannot start it");
	*err_write = errors[1];
	int result = lines_open(&capture->errors, capture->loop, errors[0]);
	if (result == 0)
		result = fd_set_nonblock(out[0], 1);
	if (result == 0)
		result = loop_io_add(capture->loop, &capture->out_io, EPOLLIN);
	return result < 0 ? err_sys(err, -result, "cannot watch it") : 0;
}

int capture_start(struct capture *capture, char *const *argv, struct err *err)
{
	_cleanup_fd_ int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
	_cleanup_fd_ int out_write = -1;
	_cleanup_fd_ int err_write = -1;

	forget(capture);
	capture->trouble[0] = capture->said[0] = '\0';
	capture->program = argv[0];
	int result = in < 0 ? err_sys(err, errno, "cannot start it")
			    : open_streams(capture, &out_write, &err_write, err);
	const struct command command = {
		.argv = argv,
		.streams = (int[]){in, out_write, err_write},
		.rights = COMMAND_KEEPS_ALL,
		.new_session = true,
		.is_subreaper = true,
		.restores_pipe = true,
		.death_signal = SIGTERM,
		.nofile = capture->nofile,
	};
	if (result == 0)
		result = child_start(&capture->child, capture->children, &command, err);
	if (result < 0) {
		close_streams(capture);
		return result;
	}
	loop_timer_set(capture->loop, &capture->patience, capture->patience_ms);
	return 0;
}

bool capture_is_running(const struct capture *capture)
{
	return capture->child.pid > 0 || capture->has_ended;
}

void capture_init(struct capture *capture)
{
	capture->out_io.fd = -1;
	capture->child.on_end = on_child_end;
	capture->errors.on_line = on_error_line;
	capture->errors.on_end = on_errors_end;
	capture->errors.owner = capture;
	capture->patience.on_expired = on_patience;
}

void capture_stop(struct capture *capture)
{
	close_streams(capture);
	child_drop(&capture->child);
	forget(capture);
	capture->has_ended = false;
}
