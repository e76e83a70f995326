/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/link - frames over a command that was started, a socket, or descriptors that are there */
#include "mesh/link.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proc/streams.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"

#define LOST_MS       250  /* from the end of its stdin to SIGKILL, for one that is broken anyway */
#define KILLED_MS     1000 /* and to the next one */
#define LAST_WORDS_MS 200  /* for what a command that has ended left in its pipes */

/* --- end ---------------------------------------------------------------------------------- */

static void close_wire(struct link *link)
{
	if (!link->wire.is_open)
		return;
	/* frames that were collected lie in a buffer that will be used again */
	link->ops->on_round_end(link);
	wire_close(&link->wire);
}

static void begin_ending(struct link *link, unsigned grace_ms)
{
	link->state = LINK_ENDING;
	loop_timer_set(link->loop, &link->timer, grace_ms);
	link->ops->on_ending(link);
	fd_close(&link->held_in);
	fd_close(&link->held_out);
}

/* What was wrong says more than how it ended, which may have been our doing. */
static void make_reason(struct link *link)
{
	char *reason = link->reason;
	struct frame frame;
	struct err err;

	if (link->trouble[0] == '\0' && link_has_noise(link)) {
		size_t len = link->wire.noise;

		if (len > sizeof(link->noise))
			len = sizeof(link->noise);
		frame_decode(link->noise, len, &frame, &err);
		snprintf(link->trouble, sizeof(link->trouble), "at byte 0: %.480s", err.text);
	}
	if (link->trouble[0] == '\0' &&
		(link->is_killed || link->is_left || link->ending[0] == '\0'))
		snprintf(link->trouble, sizeof(link->trouble), "closed its output");
	if (link->trouble[0] == '\0')
		snprintf(reason, LINK_REASON_BYTES, "%s", link->ending);
	else if (!link->has_failed || link->is_killed)
		snprintf(reason, LINK_REASON_BYTES, "%s", link->trouble);
	else
		snprintf(reason, LINK_REASON_BYTES, "%.380s; it %.120s", link->trouble,
			link->ending);
}

/* ENDING is over when the command is reaped and all that it had written is read. */
static void finish_if_over(struct link *link)
{
	if (link->state != LINK_ENDING || link->child.pid > 0 || link->wire.is_open ||
		lines_is_open(&link->lines))
		return;
	loop_timer_cancel(link->loop, &link->timer);
	if (link->wire.noise > 0)
		lines_take(&link->noise_lines, "\n", 1);
	make_reason(link);
	link->state = LINK_CLOSED;
	link->ops->on_end(link);
}

void link_lose(struct link *link, const char *format, ...)
{
	va_list args;

	if (format && link->trouble[0] == '\0') {
		va_start(args, format);
		vsnprintf(link->trouble, sizeof(link->trouble), format, args);
		va_end(args);
	}
	link_end(link, LOST_MS);
}

void link_end(struct link *link, unsigned grace_ms)
{
	if (link->state != LINK_OPEN)
		return;
	close_wire(link);
	begin_ending(link, link->child.pid > 0 ? grace_ms : 0);
}

void link_kill(struct link *link)
{
	if (link->state != LINK_ENDING || link->child.pid == 0)
		return;
	if (child_serves(&link->child)) {
		link->is_left = true;
		child_leave(&link->child, link->ops->on_left ? link->ops->on_left(link) : -1);
		loop_timer_set(link->loop, &link->timer, 0);
		return;
	}
	child_signal(&link->child, SIGKILL);
	link->is_killed = true;
	loop_timer_set(link->loop, &link->timer, KILLED_MS);
}

void link_close(struct link *link)
{
	loop_timer_cancel(link->loop, &link->timer);
	wire_close(&link->wire);
	if (link->state == LINK_OPEN) {
		fd_close(&link->held_in);
		fd_close(&link->held_out);
	}
	lines_close(&link->lines);
	lines_close(&link->noise_lines);
	child_drop(&link->child);
	link->state = LINK_CLOSED;
}

/* --- what happens ------------------------------------------------------------------------- */

static void on_frame(struct wire *wire, struct frame *frame)
{
	struct link *link = container_of(wire, struct link, wire);

	link->ops->on_frame(link, frame);
}

static void on_round_end(struct wire *wire)
{
	struct link *link = container_of(wire, struct link, wire);

	link->ops->on_round_end(link);
}

static void on_broken(struct wire *wire, const struct err *err)
{
	struct link *link = container_of(wire, struct link, wire);

	link_lose(link, err->code != 0 ? "%s" : NULL, err->text);
	close_wire(link); /* of one that was ENDING already */
	finish_if_over(link);
}

static void on_noise(struct wire *wire, const char *bytes, size_t len)
{
	struct link *link = container_of(wire, struct link, wire);
	size_t before = (size_t)wire->noise - len, room = sizeof(link->noise);

	if (before < room)
		memcpy(link->noise + before, bytes, len < room - before ? len : room - before);
	lines_take(&link->noise_lines, bytes, len);
}

static const struct wire_ops wire_ops = {.on_frame = on_frame,
	.on_round_end = on_round_end,
	.on_noise = on_noise,
	.on_broken = on_broken};

static void on_line(struct lines *lines, const char *text, size_t len)
{
	struct link *link = lines->owner;

	link->ops->on_line(link, text, len);
}

static void on_begun(struct lines *lines, const char *text, size_t len)
{
	struct link *link = lines->owner;

	link->ops->on_begun(link, text, len);
}

static void on_stderr_end(struct lines *lines)
{
	finish_if_over(lines->owner);
}

static void on_child_end(struct child *child, const struct child_end *end)
{
	struct link *link = container_of(child, struct link, child);

	child_describe_end(end, link->program, link->ending, sizeof(link->ending));
	link->has_failed = child_has_failed(end);
	if (end->not_executed != 0)
		link->status = command_failure_status(COMMAND_EXEC_FAILED, end->not_executed);
	else if (end->code == CLD_EXITED)
		link->status = end->status;
	if (link->state == LINK_OPEN)
		begin_ending(link, LAST_WORDS_MS);
	else
		loop_timer_set(link->loop, &link->timer, LAST_WORDS_MS);
	finish_if_over(link);
}

static void beat(struct link *link)
{
	loop_timer_set(link->loop, &link->timer, link->beat_ms);
	if (link->wire.bytes_in != link->heard_bytes) {
		link->heard_bytes = link->wire.bytes_in;
		link->silent = 0;
	} else if (++link->silent == link->silent_max) {
		link_lose(link, "no answer for %llu s",
			link->silent_max * (link->beat_ms / MS_PER_S));
		return;
	}
	link->ops->on_beat(link);
}

static void on_timer(struct loop_timer *timer)
{
	struct link *link = container_of(timer, struct link, timer);

	if (link->state == LINK_OPEN) {
		beat(link);
	} else if (link->child.pid > 0) {
		link_kill(link);
	} else {
		close_wire(link);
		lines_close(&link->lines);
		finish_if_over(link);
	}
}

bool link_has_noise(const struct link *link)
{
	return link->wire.noise > 0 && link->wire.bytes_in == 0;
}

/* --- start -------------------------------------------------------------------------------- */

static void begin(struct link *link)
{
	link->wire = (struct wire){0};
	link->timer.on_expired = on_timer;
	link->lines.on_line = link->noise_lines.on_line = on_line;
	link->lines.on_begun = link->noise_lines.on_begun = on_begun;
	link->lines.on_end = on_stderr_end;
	link->lines.owner = link->noise_lines.owner = link;
	lines_begin(&link->noise_lines, link->loop);
	link->child.on_end = on_child_end;
	link->trouble[0] = link->ending[0] = link->program[0] = '\0';
	link->status = -1;
	link->has_failed = link->is_killed = link->is_left = false;
	link->held_in = link->held_out = -1;
	link->state = LINK_OPEN;
}

void link_attach(struct link *link, int in_fd, int out_fd)
{
	begin(link);
	int result = wire_open(&link->wire, link->hub, &wire_ops, in_fd, out_fd);
	if (result < 0)
		link_lose(link, "cannot watch its descriptors: %s", strerror(-result));
}

static int start(struct link *link, struct children *children, const struct command *command,
	struct err *err)
{
	struct streams streams;
	int(*pairs)[2] = streams.pairs;
	int result = streams_open(&streams, command->argv[0], err);

	if (result < 0)
		return result;
	struct command whole = *command;
	whole.streams = (int[]){
		pairs[STREAMS_STDIN][0], pairs[STREAMS_STDOUT][1], pairs[STREAMS_STDERR][1]};
	result = child_start(&link->child, children, &whole, err);
	if (result == 0) {
		/* both take what they are given, also when they fail */
		link->held_in = fd_take(&pairs[STREAMS_STDOUT][0]);
		link->held_out = fd_take(&pairs[STREAMS_STDIN][1]);
		if (!link->holds)
			result = wire_open(&link->wire, link->hub, &wire_ops,
				fd_take(&link->held_in), fd_take(&link->held_out));
		int second =
			lines_open(&link->lines, link->loop, fd_take(&pairs[STREAMS_STDERR][0]));
		if (result == 0)
			result = second;
		if (result < 0)
			err_sys(err, -result, "cannot watch its command");
	}
	streams_close(&streams);
	return result;
}

void link_start(struct link *link, struct children *children, const struct command *command)
{
	struct err err;

	begin(link);
	if (!command->argv) {
		link_lose(link, "no memory");
		return;
	}
	snprintf(link->program, sizeof(link->program), "%s",
		command->program ? command->program : command->argv[0]);
	if (start(link, children, command, &err) < 0)
		link_lose(link, "%s", err.text);
}

void link_go(struct link *link)
{
	if (link->state != LINK_OPEN || link->held_in < 0)
		return;
	int result = wire_open(&link->wire, link->hub, &wire_ops, fd_take(&link->held_in),
		fd_take(&link->held_out));
	if (result < 0)
		link_lose(link, "cannot watch its command: %s", strerror(-result));
}

void link_hear(struct link *link, const char *text, size_t len)
{
	lines_take(&link->noise_lines, text, len);
}

void link_watch(struct link *link, unsigned every_ms, unsigned silent_max)
{
	link->beat_ms = every_ms;
	link->silent_max = silent_max;
	link->silent = 0;
	link->heard_bytes = link->wire.bytes_in;
	loop_timer_set(link->loop, &link->timer, every_ms);
}
