/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/wire - one end of a link: frames read from one descriptor and written to another */
#include "mesh/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/list.h"

/* Sandbox to sandbox, medians of 3: with 64 KiB an eighth less throughput, with 1 MiB no more. */
#define READ_BYTES (256 * 1024)
/* A user's pipes share 64 MiB (fs.pipe-user-pages-soft): beyond it new ones have 8 KiB. */
#define PIPE_BYTES         (256 * 1024)
#define SOCKET_BYTES       (1 << 20)    /* cut to net.core.wmem_max */
#define QUEUE_MIN_BYTES    (128 * 1024) /* kept once it is there */
#define MESSAGES_MAX_BYTES (4U << 20)   /* beyond the bound for packets */
#define LAST_WORDS_MS      500

struct wire_hub {
	struct loop *loop;
	struct wire *reading; /* whose frames are in the buffer; NULL: it was closed meanwhile */
	unsigned char buffer[FRAME_HEADER_BYTES + FRAME_MESSAGE_MAX + READ_BYTES];
};

struct wire_hub *wire_hub_new(struct loop *loop)
{
	/* more than a megabyte; the pages that are not used cost nothing */
	struct wire_hub *hub = calloc(1, sizeof(*hub));

	if (hub)
		hub->loop = loop;
	return hub;
}

void wire_hub_free(struct wire_hub *hub)
{
	free(hub);
}

static void stop(struct wire *wire)
{
	loop_io_del(wire->hub->loop, &wire->in);
	loop_io_del(wire->hub->loop, &wire->out);
	loop_timer_cancel(wire->hub->loop, &wire->linger_timer);
	wire->can_write = false;
	if (wire->hub->reading == wire)
		wire->hub->reading = NULL;
}

static void broken(struct wire *wire, const struct err *err)
{
	stop(wire);
	wire->ops->on_broken(wire, err);
}

/* --- in ----------------------------------------------------------------------------------- */

/* Keep the beginning of a frame until the rest comes. */
static int keep_partial(struct wire *wire, const unsigned char *bytes, size_t len)
{
	if (len > wire->partial_cap) {
		unsigned char *grown = realloc(wire->partial, len);

		if (!grown)
			return -ENOMEM;
		wire->partial = grown;
		wire->partial_cap = len;
	}
	if (len > 0)
		memcpy(wire->partial, bytes, len);
	wire->partial_len = len;
	return 0;
}

/* Give the frames in the buffer to the owner; keeps the rest. */
static void give_frames(struct wire *wire, size_t len)
{
	struct wire_hub *hub = wire->hub;
	unsigned char *at = hub->buffer;
	struct frame frame;
	struct err err, reason;
	ssize_t size;

	hub->reading = wire;
	while ((size = frame_decode(at, len, &frame, &reason)) > 0) {
		wire->frames_in++;
		wire->bytes_in += (size_t)size;
		wire->ops->on_frame(wire, &frame);
		if (hub->reading != wire)
			return;
		at += size;
		len -= (size_t)size;
	}
	if (size == 0 && keep_partial(wire, at, len) < 0)
		size = err_sys(&reason, ENOMEM, "cannot keep a frame");
	if (wire->ops->on_round_end)
		wire->ops->on_round_end(wire);
	if (hub->reading != wire)
		return;
	hub->reading = NULL;
	if (size < 0) {
		err_set(&err, reason.code, "at byte %llu: %s", (unsigned long long)wire->bytes_in,
			reason.text);
		broken(wire, &err);
	}
}

static void on_in(struct loop_io *io, uint32_t events)
{
	struct wire *wire = container_of(io, struct wire, in);
	struct wire_hub *hub = wire->hub;
	struct err err = {0};
	size_t kept = wire->partial_len;
	unsigned long long at = wire->bytes_in + kept;

	(void)events;
	ssize_t got = read(io->fd, hub->buffer + kept, READ_BYTES);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		if (got < 0)
			err_sys(&err, errno, "cannot read");
		else if (kept > 0)
			err_set(&err, EPROTO, "at byte %llu: it ended within a frame", at);
		broken(wire, &err);
		return;
	}
	if (kept > 0)
		memcpy(hub->buffer, wire->partial, kept);
	give_frames(wire, kept + (size_t)got);
}

/* --- out ---------------------------------------------------------------------------------- */

static void on_linger_over(struct loop_timer *timer)
{
	struct wire *wire = container_of(timer, struct wire, linger_timer);
	struct err err;

	err_set(&err, EPIPE, "the other side does not read any more");
	broken(wire, &err);
}

/*
 * Nobody reads what we write. What the other side still has to say comes first; when it ends that
 * is noticed there.
 */
static void stop_writing(struct wire *wire)
{
	wire->can_write = false;
	wire->queue_len = 0;
	loop_io_del(wire->hub->loop, &wire->out);
	loop_timer_set(wire->hub->loop, &wire->linger_timer, LAST_WORDS_MS);
}

static void wait_for_room(struct wire *wire, bool is_waiting)
{
	if (wire->is_waiting == is_waiting || !wire->can_write)
		return;
	wire->is_waiting = is_waiting;
	loop_io_mod(wire->hub->loop, &wire->out, is_waiting ? EPOLLOUT : 0);
}

/* Returns what was written, 0 when there is no room. Notes when nobody reads. */
static size_t write_parts(struct wire *wire, const struct iovec *parts, int count)
{
	ssize_t put = writev(wire->out.fd, parts, count);

	if (put >= 0)
		return (size_t)put;
	if (errno != EAGAIN && errno != EINTR)
		stop_writing(wire);
	return 0;
}

/* The two stretches of the ring from @start on; the second one may be empty. */
static void ring_parts(const struct wire *wire, size_t start, size_t len, struct iovec parts[2])
{
	size_t to_end = wire->queue_cap - start, first = len < to_end ? len : to_end;

	parts[0] = (struct iovec){wire->queue + start, first};
	parts[1] = (struct iovec){wire->queue, len - first};
}

static int grow_queue(struct wire *wire, size_t wanted)
{
	size_t cap = wire->queue_cap ? wire->queue_cap : QUEUE_MIN_BYTES;
	struct iovec parts[2];

	while (cap < wanted)
		cap *= 2;
	if (cap == wire->queue_cap)
		return 0;
	unsigned char *grown = malloc(cap);
	if (!grown)
		return -ENOMEM;
	if (wire->queue_len > 0) {
		ring_parts(wire, wire->queue_start, wire->queue_len, parts);
		memcpy(grown, parts[0].iov_base, parts[0].iov_len);
		memcpy(grown + parts[0].iov_len, parts[1].iov_base, parts[1].iov_len);
	}
	free(wire->queue);
	wire->queue = grown;
	wire->queue_cap = cap;
	wire->queue_start = 0;
	return 0;
}

static void shrink_queue(struct wire *wire)
{
	wire->queue_start = 0;
	if (wire->queue_cap > QUEUE_MIN_BYTES) {
		free(wire->queue);
		wire->queue = NULL;
		wire->queue_cap = 0;
	}
}

/* Append a copy. Returns 0, -ENOBUFS when more than @max_bytes would wait, or -ENOMEM. */
static int enqueue(struct wire *wire, const unsigned char *bytes, size_t len, size_t max_bytes)
{
	struct iovec parts[2];

	if (wire->queue_len + len > max_bytes)
		return -ENOBUFS;
	int result = grow_queue(wire, wire->queue_len + len);
	if (result < 0)
		return result;
	size_t end = (wire->queue_start + wire->queue_len) % wire->queue_cap;
	ring_parts(wire, end, len, parts);
	memcpy(parts[0].iov_base, bytes, parts[0].iov_len);
	memcpy(parts[1].iov_base, bytes + parts[0].iov_len, parts[1].iov_len);
	wire->queue_len += len;
	wait_for_room(wire, true);
	return 0;
}

static void on_out(struct loop_io *io, uint32_t events)
{
	struct wire *wire = container_of(io, struct wire, out);
	struct iovec parts[2];

	if (events & (EPOLLERR | EPOLLHUP)) {
		stop_writing(wire);
		return;
	}
	if (wire->queue_len > 0) {
		ring_parts(wire, wire->queue_start, wire->queue_len, parts);
		size_t put = write_parts(wire, parts, parts[1].iov_len > 0 ? 2 : 1);
		if (put == 0)
			return;
		wire->queue_start = (wire->queue_start + put) % wire->queue_cap;
		wire->queue_len -= put;
	}
	if (wire->queue_len > 0)
		return;
	shrink_queue(wire);
	wait_for_room(wire, false);
	if (wire->ops->on_room)
		wire->ops->on_room(wire);
}

/* Write as much as there is room for, joined where frames lie side by side. */
static size_t write_frames(struct wire *wire, const struct iovec *frames, size_t count)
{
	struct iovec parts[WIRE_PARTS_MAX];
	int nparts = 0;

	for (size_t i = 0; i < count; i++) {
		struct iovec *last = nparts > 0 ? &parts[nparts - 1] : NULL;

		if (last && (char *)last->iov_base + last->iov_len == frames[i].iov_base)
			last->iov_len += frames[i].iov_len;
		else
			parts[nparts++] = frames[i];
	}
	return write_parts(wire, parts, nparts);
}

/* Returns how many were dropped: of the others up to @max_bytes wait in the queue. */
static size_t send_frames(
	struct wire *wire, const struct iovec *frames, size_t count, size_t max_bytes)
{
	size_t dropped = 0, put = wire_has_room(wire) ? write_frames(wire, frames, count) : 0;

	for (size_t i = 0; i < count; i++) {
		const unsigned char *bytes = frames[i].iov_base;
		size_t len = frames[i].iov_len, gone = put < len ? put : len;

		put -= gone;
		if (gone < len && (!wire->can_write ||
					  enqueue(wire, bytes + gone, len - gone, max_bytes) < 0)) {
			dropped++;
			if (gone > 0) /* what follows would be taken for the rest of it */
				stop_writing(wire);
			continue;
		}
		wire->frames_out++;
		wire->bytes_out += len;
	}
	return dropped;
}

size_t wire_send(struct wire *wire, const struct iovec *frames, size_t count)
{
	size_t dropped = send_frames(wire, frames, count, WIRE_QUEUE_BYTES);

	wire->dropped += dropped;
	return dropped;
}

int wire_send_message(struct wire *wire, const char *text, size_t len)
{
	if (!wire->can_write)
		return -EPIPE;
	if (len > FRAME_MESSAGE_MAX)
		return -EMSGSIZE;
	struct iovec frame = {malloc(FRAME_HEADER_BYTES + len), FRAME_HEADER_BYTES + len};
	if (!frame.iov_base)
		return -ENOMEM;
	frame_encode_header(frame.iov_base, FRAME_MESSAGE, len);
	memcpy((char *)frame.iov_base + FRAME_HEADER_BYTES, text, len);
	size_t dropped = send_frames(wire, &frame, 1, WIRE_QUEUE_BYTES + MESSAGES_MAX_BYTES);
	free(frame.iov_base);
	return dropped == 0 ? 0 : wire->can_write ? -ENOBUFS : -EPIPE;
}

bool wire_has_room(const struct wire *wire)
{
	return wire->can_write && wire->queue_len == 0;
}

/* --- open and close ----------------------------------------------------------------------- */

/* What is refused, as a user with many pipes sees it, stays as it is. */
static void widen(int fd)
{
	int domain = 0, bytes = SOCKET_BYTES;
	socklen_t len = sizeof(domain);

	fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES);
	/* not for TCP, whose buffers the kernel adapts as long as nobody sets them */
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

int wire_open(
	struct wire *wire, struct wire_hub *hub, const struct wire_ops *ops, int in_fd, int out_fd)
{
	*wire = (struct wire){
		.hub = hub,
		.ops = ops,
		.in = {in_fd, on_in},
		.out = {out_fd, on_out},
		.linger_timer.on_expired = on_linger_over,
		.is_open = true,
		.can_write = true,
	};
	/* an epoll set takes a number only once */
	if (in_fd == out_fd)
		wire->out.fd = fcntl(in_fd, F_DUPFD_CLOEXEC, 3);
	int result = wire->out.fd < 0 ? -errno : fd_set_nonblock(in_fd, 1);
	if (result == 0)
		result = fd_set_nonblock(wire->out.fd, 1);
	if (result == 0)
		result = loop_io_add(hub->loop, &wire->in, EPOLLIN);
	if (result == 0)
		result = loop_io_add(hub->loop, &wire->out, 0);
	if (result < 0) {
		wire_close(wire);
		return result;
	}
	widen(in_fd);
	widen(wire->out.fd);
	return 0;
}

void wire_close(struct wire *wire)
{
	if (!wire->is_open)
		return;
	stop(wire);
	fd_close(&wire->in.fd);
	fd_close(&wire->out.fd);
	free(wire->partial);
	free(wire->queue);
	wire->partial = wire->queue = NULL;
	wire->partial_len = wire->queue_len = 0;
	wire->is_open = false;
}
