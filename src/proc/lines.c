/* SPDX-License-Identifier: Apache-2.0 */
/* proc/lines - what a program says on its stderr, line by line */
#include "proc/lines.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"

#define READ_BYTES    4096
#define LEFT_OUT_TEXT 64
#define DRAIN_BYTES   (256 * READ_BYTES)

static void say_left_out(struct lines *lines)
{
	char text[LEFT_OUT_TEXT];

	if (lines->left_out == 0)
		return;
	int len = snprintf(text, sizeof(text), "(%u lines left out)", lines->left_out);
	lines->left_out = 0;
	lines->on_line(lines, text, (size_t)len);
}

/* The line in the buffer is complete. */
static void finish_line(struct lines *lines)
{
	uint64_t now_ns = loop_now_ns(lines->loop);
	size_t len = lines->len;

	if (len > 0 && lines->partial[len - 1] == '\r')
		len--;
	lines->len = 0;
	lines->is_cut = false;
	if (len == 0)
		return;
	if (now_ns - lines->second_ns >= NS_PER_S) {
		lines->second_ns = now_ns;
		lines->count = 0;
		say_left_out(lines);
	}
	if (++lines->count > LINES_PER_SECOND)
		lines->left_out++;
	else
		lines->on_line(lines, lines->partial, len);
}

void lines_take(struct lines *lines, const char *bytes, size_t len)
{
	while (len > 0) {
		const char *end = memchr(bytes, '\n', len);
		size_t part = end ? (size_t)(end - bytes) : len;
		size_t room = sizeof(lines->partial) - lines->len;

		lines->is_cut = lines->is_cut || part > room;
		memcpy(lines->partial + lines->len, bytes, part < room ? part : room);
		lines->len += part < room ? part : room;
		if (lines->is_cut)
			memcpy(lines->partial + sizeof(lines->partial) - 3, "...", 3);
		if (end)
			finish_line(lines);
		bytes += part + (end ? 1 : 0);
		len -= part + (end ? 1 : 0);
	}
	if (lines->on_begun && lines->len > 0 && !lines->is_cut)
		loop_timer_set(lines->loop, &lines->pause, LINES_PAUSE_MS);
	else
		loop_timer_cancel(lines->loop, &lines->pause);
}

static void on_pause(struct loop_timer *timer)
{
	struct lines *lines = container_of(timer, struct lines, pause);
	size_t len = lines->len;

	lines->len = 0;
	if (len > 0 && ++lines->count <= LINES_PER_SECOND)
		lines->on_begun(lines, lines->partial, len);
}

/* False if there was nothing (more) to read. */
static bool read_some(struct lines *lines)
{
	char bytes[READ_BYTES];

	ssize_t got = read(lines->io.fd, bytes, sizeof(bytes));
	if (got > 0) {
		trickle_note(&lines->trickle, got >= TRICKLE_BYTES);
		lines_take(lines, bytes, (size_t)got);
		return true;
	}
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	finish_line(lines);
	say_left_out(lines);
	lines_close(lines);
	lines->on_end(lines);
	return false;
}

static void on_ready(struct loop_io *io, uint32_t events)
{
	(void)events;
	read_some(container_of(io, struct lines, io));
}

void lines_begin(struct lines *lines, struct loop *loop)
{
	lines->loop = loop;
	lines->io.fd = -1;
	lines->pause.on_expired = on_pause;
	lines->len = 0;
	lines->is_cut = false;
}

int lines_open(struct lines *lines, struct loop *loop, int fd)
{
	lines_begin(lines, loop);
	lines->io = (struct loop_io){fd, on_ready};
	int result = fd_set_nonblock(fd, 1);
	if (result == 0)
		result = loop_io_add(loop, &lines->io, EPOLLIN);
	if (result < 0)
		fd_close(&lines->io.fd);
	else
		trickle_begin(&lines->trickle, loop, &lines->io);
	return result;
}

void lines_drain(struct lines *lines)
{
	for (size_t left = DRAIN_BYTES; left > 0 && lines_is_open(lines); left -= READ_BYTES)
		if (!read_some(lines))
			return;
}

void lines_close(struct lines *lines)
{
	if (lines->loop)
		loop_timer_cancel(lines->loop, &lines->pause);
	if (!lines_is_open(lines))
		return;
	trickle_end(&lines->trickle);
	loop_io_del(lines->loop, &lines->io);
	fd_close(&lines->io.fd);
}

bool lines_is_open(const struct lines *lines)
{
	return lines->loop && lines->io.fd >= 0;
}
