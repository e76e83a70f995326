/* SPDX-License-Identifier: Apache-2.0 */
/* wire/wire - one end of a link: frames read from one descriptor and written to another */
#include "wire/wire.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"

/* Sandbox to sandbox, medians of 3: with 64 KiB an eighth less throughput, with 1 MiB no more. */
#define READ_BYTES (256 * 1024)
/* A user's pipes share 64 MiB (fs.pipe-user-pages-soft): beyond it new ones have 8 KiB. */
#define PIPE_BYTES         (256 * 1024)
#define SOCKET_BYTES       (1 << 20) /* cut to net.core.wmem_max */
#define MESSAGES_MAX_BYTES (4U << 20)
#define LEAVING_BYTES      (256 * 1024) /* of what waits, in one write: as in READ_BYTES */
#define LEAVING_PARTS      256
#define WRITES_MAX         16 /* before others have their turn */
#define ACK_BYTES          (256 * 1024)
#define ACK_MS             5
#define PROBES_MAX         4 /* one for the round trip, the others for the rate: the best one counts */
#define PROBE_RATE_MIN     (32 * 1024) /* a second one would take too long */
#define SMALL_MSS_RATE     (2U << 20)  /* TCP is asked for small segments below it */
#define CAUTIOUS_MSS       8192        /* while nothing is known yet */
#define HEADERS_BYTES      100         /* of a frame and a packet with options, at most */
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
	trickle_end(&wire->trickle);
	loop_io_del(wire->hub->loop, &wire->in);
	loop_io_del(wire->hub->loop, &wire->out);
	loop_timer_cancel(wire->hub->loop, &wire->linger_timer);
	loop_timer_cancel(wire->hub->loop, &wire->pace_timer);
	loop_timer_cancel(wire->hub->loop, &wire->ack_timer);
	wire->can_write = false;
	if (wire->hub->reading == wire)
		wire->hub->reading = NULL;
}

static void broken(struct wire *wire, const struct err *err)
{
	stop(wire);
	wire->ops->on_broken(wire, err);
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
	loop_timer_cancel(wire->hub->loop, &wire->pace_timer);
	outbox_clear(&wire->outbox);
	loop_io_del(wire->hub->loop, &wire->out);
	loop_timer_set(wire->hub->loop, &wire->linger_timer, LAST_WORDS_MS);
}

static void note_drops(struct wire *wire)
{
	wire->dropped += wire->outbox.packets.dropped;
	wire->outbox.packets.dropped = 0;
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

static size_t bytes_of(const struct iovec *parts, int count)
{
	size_t sum = 0;

	for (int i = 0; i < count; i++)
		sum += parts[i].iov_len;
	return sum;
}

/* One write of what may leave. Returns whether there may be more for another one. */
static bool write_some(struct wire *wire, uint64_t now_ns, bool *is_full)
{
	struct iovec parts[LEAVING_PARTS];
	struct outbox *outbox = &wire->outbox;
	bool is_open = window_is_open(&wire->window, now_ns);
	size_t portion = window_portion_bytes(&wire->window);

	if (!is_open && outbox->leaving_bytes == 0 && outbox->packets.packets > 0 &&
		now_ns < wire->alone_ns)
		return false;
	outbox_fill(outbox, portion < LEAVING_BYTES ? portion : LEAVING_BYTES,
		is_open ? window_frame_bytes(&wire->window) : 0, now_ns);
	int count = outbox_parts(outbox, parts, LEAVING_PARTS);
	if (count == 0)
		return false;
	size_t put = write_parts(wire, parts, count);
	if (!wire->can_write)
		return false;
	struct outbox_gone gone = outbox_written(outbox, put);
	wire->alone_ns = 0;
	wire->bytes_out += put;
	wire->frames_out += gone.frames;
	if (gone.bytes > 0)
		window_sent(&wire->window, gone.bytes, now_ns);
	*is_full = put < bytes_of(parts, count);
	return !*is_full;
}

/* Write of what waits as much as there is room for; see to it that the rest has its time. */
static void write_waiting(struct wire *wire)
{
	uint64_t now_ns = loop_now_ns(wire->hub->loop), wait_ns;
	bool is_full = false, is_more = true;
	struct window *window = &wire->window;

	for (int i = 0; i < WRITES_MAX && is_more; i++)
		is_more = write_some(wire, now_ns, &is_full);
	note_drops(wire);
	wait_for_room(wire, is_full || is_more);
	if (is_full || is_more || wire->outbox.packets.packets == 0)
		return;
	wait_ns = window_wait_ns(window, now_ns);
	if (now_ns < wire->alone_ns && wire->alone_ns - now_ns < wait_ns)
		wait_ns = wire->alone_ns - now_ns;
	if (wait_ns < UINT64_MAX)
		loop_timer_set(
			wire->hub->loop, &wire->pace_timer, (wait_ns + NS_PER_MS - 1) / NS_PER_MS);
}

/* There is room of some kind again. */
static void go_on(struct wire *wire)
{
	bool had_room = wire_has_room(wire);

	write_waiting(wire);
	if (!had_room && wire_has_room(wire) && wire->ops->on_room)
		wire->ops->on_room(wire);
}

static void on_pace(struct loop_timer *timer)
{
	struct wire *wire = container_of(timer, struct wire, pace_timer);

	if (!wire->is_waiting)
		go_on(wire);
}

/* A frame that is no packet, in front of those that are; written at once if that is possible. */
static int send_first(struct wire *wire, enum frame_type type, const void *payload, size_t len)
{
	unsigned char *frame = malloc(FRAME_HEADER_BYTES + len);

	if (!frame)
		return -ENOMEM;
	frame_encode_header(frame, type, len);
	if (len > 0)
		memcpy(frame + FRAME_HEADER_BYTES, payload, len);
	int result = outbox_add_message(&wire->outbox, frame, FRAME_HEADER_BYTES + len);
	free(frame);
	if (result < 0 || wire->is_waiting)
		return result;
	/* it goes along with packets, if any wait; alone it would be one more piece for the link */
	if (window_is_slow(&wire->window) && wire->outbox.packets.packets > 0 &&
		wire->alone_ns == 0)
		wire->alone_ns = loop_now_ns(wire->hub->loop) + wire->window.min_rtt_ns;
	write_waiting(wire);
	return result;
}

/* --- acknowledgements --------------------------------------------------------------------- */

static void tell_come(struct wire *wire)
{
	uint64_t come = htobe64(wire->come);

	/* on_out comes back to it */
	if (wire->is_waiting || !wire->can_write)
		return;
	wire->is_asked = false;
	wire->told = wire->come;
	loop_timer_cancel(wire->hub->loop, &wire->ack_timer);
	send_first(wire, FRAME_ACKNOWLEDGEMENT, &come, sizeof(come));
}

/* At once if there is much of it, or somebody waits for it. */
static void tell_come_in_time(struct wire *wire)
{
	if (!wire->acknowledges || (wire->come == wire->told && !wire->is_asked))
		return;
	if (wire->is_asked || wire->come - wire->told >= ACK_BYTES)
		tell_come(wire);
	else if (!loop_timer_is_armed(&wire->ack_timer))
		loop_timer_set(wire->hub->loop, &wire->ack_timer, ACK_MS);
}

static void on_ack_due(struct loop_timer *timer)
{
	tell_come(container_of(timer, struct wire, ack_timer));
}

void wire_acknowledge(struct wire *wire)
{
	if (wire->acknowledges)
		return;
	wire->acknowledges = true;
	wire->is_asked = true;
	tell_come(wire);
}

/* How fast is the link? Until it has been shown to be fast. */
static void probe(struct wire *wire)
{
	static const unsigned char padding[WINDOW_PROBE_BYTES];
	struct window *window = &wire->window;
	bool is_first = window->min_rtt_ns == 0;

	if (wire->probes >= PROBES_MAX || !wire_has_room(wire))
		return;
	if (window->is_measured && (!window_is_slow(window) || window->rate < PROBE_RATE_MIN)) {
		wire->probes = PROBES_MAX;
		return;
	}
	if (is_first ? wire->probes > 0 : !window_probe(window))
		return;
	wire->probes++;
	send_first(wire, FRAME_PADDING, padding, is_first ? 0 : sizeof(padding));
}

static void on_acknowledgement(struct wire *wire, const struct frame *frame)
{
	uint64_t total;

	if (frame->len != FRAME_ACK_BYTES)
		return;
	memcpy(&total, frame->payload, sizeof(total));
	window_acked(&wire->window, be64toh(total), !outbox_is_empty(&wire->outbox),
		loop_now_ns(wire->hub->loop));
	wire_acknowledge(wire);
	if (!wire->is_waiting)
		go_on(wire);
	probe(wire);
}

/* --- sending ------------------------------------------------------------------------------ */

static void on_out(struct loop_io *io, uint32_t events)
{
	struct wire *wire = container_of(io, struct wire, out);

	if (events & (EPOLLERR | EPOLLHUP)) {
		stop_writing(wire);
		return;
	}
	go_on(wire);
	tell_come_in_time(wire);
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

/* What TCP is asked for by connections that begin: on a link that is slow, or may be. */
static uint16_t max_mss(const struct wire *wire)
{
	const struct window *window = &wire->window;

	if (wire->acknowledges && !window->is_measured)
		return CAUTIOUS_MSS;
	if (!window_is_slow(window) || window->rate >= SMALL_MSS_RATE)
		return 0;
	return (uint16_t)(window_frame_bytes(window) - HEADERS_BYTES);
}

/* What of @frame was not written waits. */
static void keep_waiting(
	struct wire *wire, uint32_t source, const struct iovec *frame, size_t written)
{
	if (written == 0) {
		wire->outbox.max_mss = max_mss(wire);
		outbox_add_packet(&wire->outbox, source, frame->iov_base, frame->iov_len,
			loop_now_ns(wire->hub->loop));
	} else if (outbox_add_rest(&wire->outbox, (char *)frame->iov_base + written,
			   frame->iov_len - written) < 0) {
		/* what follows would be taken for the rest of it */
		wire->dropped++;
		stop_writing(wire);
	}
}

size_t wire_send(struct wire *wire, uint32_t source, const struct iovec *frames, size_t count)
{
	uint64_t now_ns = loop_now_ns(wire->hub->loop);
	bool is_direct = wire_has_room(wire) && max_mss(wire) == 0 &&
			 !window_is_slow(&wire->window) && window_is_open(&wire->window, now_ns);
	size_t put = is_direct ? write_frames(wire, frames, count) : 0;

	wire->bytes_out += put;
	if (put > 0)
		window_sent(&wire->window, put, now_ns);
	for (size_t i = 0; i < count; i++) {
		size_t len = frames[i].iov_len, written = put < len ? put : len;

		put -= written;
		if (written == len)
			wire->frames_out++;
		else if (wire->can_write)
			keep_waiting(wire, source, &frames[i], written);
		else
			wire->dropped++;
	}
	if (is_direct)
		wait_for_room(wire, !outbox_is_empty(&wire->outbox));
	else if (!wire->is_waiting && wire->can_write)
		write_waiting(wire);
	note_drops(wire);
	uint64_t told = wire->told_dropped;
	wire->told_dropped = wire->dropped;
	return (size_t)(wire->dropped - told);
}

int wire_send_message(struct wire *wire, const char *text, size_t len)
{
	if (!wire->can_write)
		return -EPIPE;
	if (len > FRAME_MESSAGE_MAX)
		return -EMSGSIZE;
	if (wire->outbox.message_bytes + len > MESSAGES_MAX_BYTES)
		return -ENOBUFS;
	int result = send_first(wire, FRAME_MESSAGE, text, len);
	return result < 0 ? result : wire->can_write ? 0 : -EPIPE;
}

bool wire_is_taken(const struct wire *wire)
{
	return outbox_is_empty(&wire->outbox) && fd_is_taken(wire->out.fd);
}

bool wire_has_room(const struct wire *wire)
{
	return wire->can_write && outbox_is_empty(&wire->outbox);
}

bool wire_wants_packets(const struct wire *wire)
{
	return wire->can_write && (outbox_is_empty(&wire->outbox) || window_is_slow(&wire->window));
}

/* --- in ----------------------------------------------------------------------------------- */

/* Add to the beginning of a frame, which is kept until the rest has come. */
static int keep_partial(struct wire *wire, const unsigned char *bytes, size_t len)
{
	size_t all = wire->partial_len + len;

	if (all > wire->partial_cap) {
		/* twice as much: the bytes of a frame that comes in crumbs are not moved each time
		 */
		unsigned char *grown = realloc(wire->partial, 2 * all);

		if (!grown)
			return -ENOMEM;
		wire->partial = grown;
		wire->partial_cap = 2 * all;
	}
	if (len > 0)
		memcpy(wire->partial + wire->partial_len, bytes, len);
	wire->partial_len = all;
	return 0;
}

/* More of the frame whose beginning is kept, but not the end of it: it is not looked at. */
static void keep_more(struct wire *wire, const unsigned char *bytes, size_t len)
{
	struct err err;

	if (keep_partial(wire, bytes, len) < 0) {
		err_sys(&err, ENOMEM, "cannot keep a frame");
		broken(wire, &err);
		return;
	}
	trickle_note(&wire->trickle, len >= TRICKLE_BYTES);
}

/* To the owner, unless it is the wire's own business. Returns whether it was worth reading. */
static bool take_frame(struct wire *wire, struct frame *frame, size_t size)
{
	uint64_t acked = wire->window.acked;

	if (frame->type == FRAME_ACKNOWLEDGEMENT) {
		on_acknowledgement(wire, frame);
		return wire->window.acked > acked;
	}
	wire->come += size;
	if (frame->type == FRAME_PADDING) {
		wire->is_asked = true;
		return false;
	}
	wire->frames_in++;
	wire->ops->on_frame(wire, frame);
	return frame->type == FRAME_PACKET;
}

/* Of @len bytes before the first frame, how many are noise; the owner is told of them. */
static size_t take_noise(struct wire *wire, const unsigned char *at, size_t len)
{
	size_t noise = wire->ops->on_noise && wire->bytes_in == 0 ? frame_find_message(at, len) : 0;

	if (noise == 0 || wire->noise + noise > WIRE_NOISE_MAX)
		return 0; /* then it is an error, if it is no frame */
	wire->noise += noise;
	wire->ops->on_noise(wire, (const char *)at, noise);
	return noise;
}

/* Give the frames in the buffer to the owner; keeps the rest. */
static void give_frames(struct wire *wire, size_t kept, size_t got)
{
	struct wire_hub *hub = wire->hub;
	unsigned char *at = hub->buffer;
	bool was_worth_it = got >= TRICKLE_BYTES;
	size_t noise = take_noise(wire, at, kept + got), len = kept + got - noise;
	struct frame frame;
	struct err err, reason;
	ssize_t size;

	at += noise;
	hub->reading = wire;
	wire->partial_len = 0;
	while ((size = frame_decode(at, len, &frame, &reason)) > 0) {
		wire->bytes_in += (size_t)size;
		was_worth_it |= take_frame(wire, &frame, (size_t)size);
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
	tell_come_in_time(wire);
	if (size < 0) {
		err_set(&err, reason.code, "at byte %llu: %s", (unsigned long long)wire->bytes_in,
			reason.text);
		broken(wire, &err);
		return;
	}
	trickle_note(&wire->trickle, was_worth_it);
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
		else if (kept > 0 && wire->noise == 0)
			err_set(&err, EPROTO, "at byte %llu: it ended within a frame", at);
		broken(wire, &err);
		return;
	}
	if (kept > 0 && kept + (size_t)got < frame_size(wire->partial, kept)) {
		keep_more(wire, hub->buffer + kept, (size_t)got);
		return;
	}
	if (kept > 0)
		memcpy(hub->buffer, wire->partial, kept);
	give_frames(wire, kept, (size_t)got);
}

void wire_push(struct wire *wire, const unsigned char *bytes, size_t len)
{
	size_t size;

	/* one at a time, as there may be more than a buffer full; the owner may close it */
	while ((size = frame_size(bytes, len)) > 0 && size <= len && wire->is_open &&
		wire->can_write) {
		memcpy(wire->hub->buffer, bytes, size);
		give_frames(wire, 0, size);
		bytes += size;
		len -= size;
	}
	if (len > 0 && wire->is_open && wire->can_write)
		keep_more(wire, bytes, len);
}

void wire_go_on(struct wire *wire, uint64_t come, uint64_t sent)
{
	wire->come += come;
	wire->told += come;
	wire->window.sent += sent;
}

size_t wire_rest(const struct wire *wire, const unsigned char **bytes)
{
	*bytes = wire->partial;
	return wire->partial_len;
}

void wire_was_sent(struct wire *wire, size_t len)
{
	wire->frames_out++;
	wire->bytes_out += len;
	window_sent(&wire->window, len, loop_now_ns(wire->hub->loop));
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
		.pace_timer.on_expired = on_pace,
		.ack_timer.on_expired = on_ack_due,
		.is_open = true,
		.can_write = true,
	};
	outbox_init(&wire->outbox, WIRE_QUEUE_BYTES);
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
	trickle_begin(&wire->trickle, hub->loop, &wire->in);
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
	outbox_clear(&wire->outbox);
	wire->partial = NULL;
	wire->partial_len = 0;
	wire->is_open = false;
}
