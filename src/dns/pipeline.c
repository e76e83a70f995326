/* SPDX-License-Identifier: Apache-2.0 */
/* dns/pipeline - a client's stream connection: its queries come in, answers go out */
#include "dns/pipeline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "util/fd.h"
#include "util/list.h"

#define LEN_BYTES 2
#define IN_BYTES  1024 /* at first: most queries are small */
#define IN_MAX    (LEN_BYTES + 65535)

void pipeline_close(struct pipeline *pipeline)
{
	if (pipeline->io.fd < 0)
		return;
	loop_io_del(pipeline->loop, &pipeline->io);
	loop_timer_cancel(pipeline->loop, &pipeline->idle_timer);
	loop_task_cancel(pipeline->loop, &pipeline->task);
	fd_close(&pipeline->io.fd);
	free(pipeline->in);
	free(pipeline->out);
	pipeline->in = pipeline->out = NULL;
}

bool pipeline_is_idle(const struct pipeline *pipeline)
{
	return pipeline->under_way == 0 && pipeline->out_len == 0 && !pipeline->has_ended;
}

/* Take the next steps from the loop. */
static void go_on(struct pipeline *pipeline)
{
	loop_task_add(pipeline->loop, &pipeline->task);
}

static bool may_read(const struct pipeline *pipeline)
{
	return !pipeline->has_ended && pipeline->under_way < PIPELINE_UNDER_WAY &&
	       pipeline->out_len < PIPELINE_OUT_BYTES;
}

/* Bytes of the first message with its length; 0: they are not all there. */
static size_t whole_message(const struct pipeline *pipeline)
{
	size_t len;

	if (pipeline->in_len < LEN_BYTES)
		return 0;
	len = LEN_BYTES + (size_t)(pipeline->in[0] << 8 | pipeline->in[1]);
	return len <= pipeline->in_len ? len : 0;
}

/* Hand out the messages that are there, as many as may be under way. */
static void take_messages(struct pipeline *pipeline)
{
	size_t len;

	while (pipeline->under_way < PIPELINE_UNDER_WAY && pipeline->out_len < PIPELINE_OUT_BYTES &&
		(len = whole_message(pipeline)) > 0) {
		pipeline->under_way++;
		pipeline->on_message(pipeline, pipeline->in + LEN_BYTES, len - LEN_BYTES);
		pipeline->in_len -= len;
		memmove(pipeline->in, pipeline->in + len, pipeline->in_len);
	}
}

static int make_room(uint8_t **bytes, size_t *room, size_t wanted)
{
	if (wanted <= *room)
		return 0;
	size_t bigger = wanted > 2 * *room ? wanted : 2 * *room;
	uint8_t *more = realloc(*bytes, bigger);
	if (!more)
		return -ENOMEM;
	*bytes = more;
	*room = bigger;
	return 0;
}

/* Returns 0 when something came, or -errno; the end is -EPIPE. */
static int receive(struct pipeline *pipeline)
{
	size_t wanted = IN_BYTES;

	if (pipeline->in_len >= LEN_BYTES)
		wanted = LEN_BYTES + (size_t)(pipeline->in[0] << 8 | pipeline->in[1]);
	if (wanted < IN_BYTES)
		wanted = IN_BYTES;
	int result = make_room(&pipeline->in, &pipeline->in_room, wanted);
	if (result < 0)
		return result;
	ssize_t got = recv(pipeline->io.fd, pipeline->in + pipeline->in_len,
		pipeline->in_room - pipeline->in_len, 0);
	if (got <= 0)
		return got < 0 ? -errno : -EPIPE;
	pipeline->in_len += (size_t)got;
	return 0;
}

static void read_messages(struct pipeline *pipeline)
{
	while (may_read(pipeline) && !whole_message(pipeline)) {
		int result = receive(pipeline);

		if (result == -EPIPE)
			pipeline->has_ended = true;
		else if (result < 0 && result != -EAGAIN && result != -EINTR)
			pipeline->has_failed = true;
		if (result < 0)
			break;
		loop_timer_set(pipeline->loop, &pipeline->idle_timer, PIPELINE_IDLE_MS);
		take_messages(pipeline);
	}
}

static void write_answers(struct pipeline *pipeline)
{
	size_t done = 0;

	while (done < pipeline->out_len) {
		ssize_t sent = send(pipeline->io.fd, pipeline->out + done, pipeline->out_len - done,
			MSG_NOSIGNAL);

		if (sent < 0) {
			pipeline->has_failed |= errno != EAGAIN && errno != EINTR;
			break;
		}
		done += (size_t)sent;
	}
	if (done == 0)
		return;
	pipeline->out_len -= done;
	memmove(pipeline->out, pipeline->out + done, pipeline->out_len);
	loop_timer_set(pipeline->loop, &pipeline->idle_timer, PIPELINE_IDLE_MS);
}

static void serve(struct pipeline *pipeline)
{
	write_answers(pipeline);
	take_messages(pipeline);
	read_messages(pipeline);
	write_answers(pipeline);
	bool is_over = pipeline->has_ended && pipeline->under_way == 0 && pipeline->out_len == 0;
	if (is_over || pipeline->has_failed) {
		pipeline_close(pipeline);
		pipeline->on_end(pipeline);
		return;
	}
	loop_io_mod(pipeline->loop, &pipeline->io,
		(may_read(pipeline) ? EPOLLIN : 0U) | (pipeline->out_len > 0 ? EPOLLOUT : 0U));
}

static void on_ready(struct loop_io *io, uint32_t events)
{
	struct pipeline *pipeline = container_of(io, struct pipeline, io);

	/* a reset, while nothing is read or written */
	if (events & EPOLLERR || (events & EPOLLHUP && !may_read(pipeline)))
		pipeline->has_failed = true;
	serve(pipeline);
}

static void on_task(struct loop_task *task)
{
	serve(container_of(task, struct pipeline, task));
}

static void on_idle(struct loop_timer *timer)
{
	struct pipeline *pipeline = container_of(timer, struct pipeline, idle_timer);

	if (pipeline->under_way > 0 && pipeline->out_len == 0) { /* it is us that are late */
		loop_timer_set(pipeline->loop, timer, PIPELINE_IDLE_MS);
		return;
	}
	pipeline_close(pipeline);
	pipeline->on_end(pipeline);
}

int pipeline_open(struct pipeline *pipeline, struct loop *loop, int fd)
{
	pipeline->loop = loop;
	pipeline->io = (struct loop_io){.fd = fd, .on_ready = on_ready};
	pipeline->idle_timer.on_expired = on_idle;
	pipeline->task.on_run = on_task;
	int result = loop_io_add(loop, &pipeline->io, EPOLLIN);
	if (result < 0) {
		fd_close(&pipeline->io.fd);
		return result;
	}
	loop_timer_set(loop, &pipeline->idle_timer, PIPELINE_IDLE_MS);
	return 0;
}

void pipeline_send(struct pipeline *pipeline, const uint8_t *answer, size_t len)
{
	pipeline->under_way--;
	go_on(pipeline);
	if (make_room(&pipeline->out, &pipeline->out_room, pipeline->out_len + LEN_BYTES + len) <
		0) {
		pipeline->has_failed = true;
		return;
	}
	pipeline->out[pipeline->out_len++] = (uint8_t)(len >> 8);
	pipeline->out[pipeline->out_len++] = (uint8_t)len;
	memcpy(pipeline->out + pipeline->out_len, answer, len);
	pipeline->out_len += len;
}

void pipeline_skip(struct pipeline *pipeline)
{
	pipeline->under_way--;
	go_on(pipeline);
}
