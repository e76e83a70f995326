/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/bundle - many connections over one byte stream: a command's stdin and stdout */
#include "tunnel/bundle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/fd.h"

#define HEADER_BYTES 8
#define MAGIC_BYTES  8
#define FRAME_BYTES  (HEADER_BYTES + BUNDLE_PIECE)
#define GOT_BYTES    (4 * FRAME_BYTES)
#define PUT_BYTES    (256U << 10)
#define PUT_FULL     (64U << 10) /* with so much to be written strands are not read */
/* what is written whatever waits is small, and answers what was read: more than this is a flood */
#define PUT_SPARE    (2 * FRAME_BYTES)
#define CREDIT_BYTES (BUNDLE_WINDOW / 4)
#define ROUND_BYTES  (1U << 20) /* read in one go */

enum frame_type {
	FRAME_OPEN = 'O',
	FRAME_DATA = 'D',
	FRAME_END = 'E',
	FRAME_RESET = 'R',
	FRAME_WINDOW = 'W',
	FRAME_PING = 'P',
	FRAME_PONG = 'Q',
};

struct strand {
	struct bundle *bundle;
	struct list link;  /* in a bucket */
	struct list ready; /* in bundle->ready */
	struct loop_io io;
	uint32_t id;
	bool is_readable, is_writable, is_hung_up;
	bool has_ended;      /* our E is sent */
	bool was_ended;      /* its E has come */
	bool is_shut;        /* and is passed on */
	size_t may_send;     /* bytes */
	size_t owed;         /* taken, and the other end does not know yet */
	unsigned char *held; /* came, and is not taken yet */
	size_t first, len, cap;
};

/* --- strands ------------------------------------------------------------------------------ */

static struct strand *find(const struct bundle *bundle, uint32_t id)
{
	const struct list *bucket = &bundle->strands[id / 2 % BUNDLE_BUCKETS];

	list_each (at, bucket) {
		struct strand *strand = container_of(at, struct strand, link);
		if (strand->id == id)
			return strand;
	}
	return NULL;
}

/* Both directions have ended. */
static bool is_over(const struct strand *strand)
{
	return strand->has_ended && strand->is_shut;
}

/* One that is not over is reset: its owner must not take a part for the whole. */
static void forget(struct strand *strand)
{
	struct bundle *bundle = strand->bundle;

	loop_io_del(bundle->loop, &strand->io);
	list_del(&strand->link);
	list_del(&strand->ready);
	if (!is_over(strand))
		fd_reset(&strand->io.fd);
	fd_close(&strand->io.fd);
	free(strand->held);
	free(strand);
	budget_give(bundle->budget, 1);
	bundle->count--;
}

static void go_on(struct bundle *bundle)
{
	loop_task_add(bundle->loop, &bundle->task);
}

static void end(struct bundle *bundle, const char *why)
{
	if (!bundle->why)
		bundle->why = why;
	go_on(bundle);
}

static void note_ready(struct strand *strand)
{
	if (!strand->is_readable || strand->has_ended || strand->may_send == 0 ||
		list_is_linked(&strand->ready))
		return;
	list_add_last(&strand->bundle->ready, &strand->ready);
	go_on(strand->bundle);
}

/* --- what is written ---------------------------------------------------------------------- */

static void put_header(unsigned char *at, enum frame_type type, size_t len, uint32_t id)
{
	at[0] = (unsigned char)type;
	at[1] = 0;
	at[2] = (unsigned char)(len >> 8);
	at[3] = (unsigned char)len;
	for (int i = 0; i < 4; i++)
		at[4 + i] = (unsigned char)(id >> (24 - 8 * i));
}

/* Room for @len bytes behind what waits; NULL: the other end reads nothing. */
static unsigned char *room(struct bundle *bundle, size_t len)
{
	if (bundle->nput + len > PUT_BYTES) {
		memmove(bundle->put, bundle->put + bundle->at, bundle->nput - bundle->at);
		bundle->nput -= bundle->at;
		bundle->at = 0;
	}
	return bundle->nput + len > PUT_BYTES ? NULL : bundle->put + bundle->nput;
}

static void put_frame(
	struct bundle *bundle, enum frame_type type, uint32_t id, const uint32_t *number)
{
	const size_t len = number ? 4 : 0;
	unsigned char *at = room(bundle, HEADER_BYTES + len);

	if (!at) {
		end(bundle, "its other end asks and does not read");
		return;
	}
	put_header(at, type, len, id);
	for (size_t i = 0; i < len; i++)
		at[HEADER_BYTES + i] = (unsigned char)(*number >> (24 - 8 * i));
	bundle->nput += HEADER_BYTES + len;
	go_on(bundle);
}

static void reset(struct strand *strand)
{
	put_frame(strand->bundle, FRAME_RESET, strand->id, NULL);
	forget(strand);
}

/* One piece of @strand, which is ready; it may be gone then. */
static void take_piece(struct strand *strand)
{
	struct bundle *bundle = strand->bundle;
	size_t len = strand->may_send < BUNDLE_PIECE ? strand->may_send : BUNDLE_PIECE;
	unsigned char *at = room(bundle, FRAME_BYTES);
	ssize_t got;

	list_del(&strand->ready);
	do
		got = recv(strand->io.fd, at + HEADER_BYTES, len, 0);
	while (got < 0 && errno == EINTR);
	if (got > 0) {
		put_header(at, FRAME_DATA, (size_t)got, strand->id);
		bundle->nput += HEADER_BYTES + (size_t)got;
		strand->may_send -= (size_t)got;
		note_ready(strand);
	} else if (got < 0 && errno == EAGAIN) {
		strand->is_readable = false;
	} else if (got < 0 || (strand->is_hung_up && !strand->is_shut) ||
		   fd_was_reset(strand->io.fd)) {
		/* closed without an end that it was told: broken */
		reset(strand);
	} else {
		strand->has_ended = true;
		put_frame(bundle, FRAME_END, strand->id, NULL);
		if (is_over(strand))
			forget(strand);
	}
}

static void flush(struct bundle *bundle)
{
	while (bundle->at < bundle->nput && !bundle->is_full) {
		ssize_t sent =
			write(bundle->out.fd, bundle->put + bundle->at, bundle->nput - bundle->at);

		if (sent >= 0)
			bundle->at += (size_t)sent;
		else if (errno == EAGAIN)
			bundle->is_full = true;
		else if (errno != EINTR) {
			end(bundle, "it broke");
			return;
		}
	}
	if (bundle->at == bundle->nput)
		bundle->at = bundle->nput = 0;
}

/* Strands take turns, a piece each. */
static void pump(struct bundle *bundle)
{
	size_t moved = 0;

	flush(bundle);
	while (!bundle->why && !list_is_empty(&bundle->ready) &&
		bundle->nput - bundle->at < PUT_FULL && moved < ROUND_BYTES) {
		moved += BUNDLE_PIECE;
		take_piece(list_first(&bundle->ready, struct strand, ready));
		if (bundle->nput - bundle->at >= PUT_FULL)
			flush(bundle);
	}
	flush(bundle);
	if (!list_is_empty(&bundle->ready) && bundle->nput - bundle->at < PUT_FULL)
		go_on(bundle);
}

/* --- what is read ------------------------------------------------------------------------- */

static void give_credit(struct strand *strand, size_t taken)
{
	const uint32_t owed = (uint32_t)(strand->owed += taken);

	if (owed < CREDIT_BYTES || strand->was_ended)
		return;
	strand->owed = 0;
	put_frame(strand->bundle, FRAME_WINDOW, strand->id, &owed);
}

/* Returns how many were taken, or -1: nobody will. */
static ssize_t hand_over(struct strand *strand, const unsigned char *bytes, size_t len)
{
	size_t done = 0;

	while (done < len && strand->is_writable) {
		ssize_t sent = send(strand->io.fd, bytes + done, len - done, MSG_NOSIGNAL);

		if (sent >= 0)
			done += (size_t)sent;
		else if (errno == EAGAIN)
			strand->is_writable = false;
		else if (errno != EINTR)
			return -1;
	}
	return (ssize_t)done;
}

/* Pass on what is held, and its end. The strand may be gone then: false. */
static bool drain(struct strand *strand)
{
	ssize_t taken = 0;

	if (strand->len > 0)
		taken = hand_over(strand, strand->held + strand->first, strand->len);
	if (taken < 0) {
		reset(strand);
		return false;
	}
	strand->first += (size_t)taken;
	strand->len -= (size_t)taken;
	if (strand->len == 0) {
		free(strand->held);
		strand->held = NULL;
		strand->first = strand->cap = 0;
		if (strand->was_ended && !strand->is_shut) {
			strand->is_shut = true;
			shutdown(strand->io.fd, SHUT_WR);
		}
	}
	if (taken > 0)
		give_credit(strand, (size_t)taken);
	if (!is_over(strand))
		return true;
	forget(strand);
	return false;
}

/* Returns 0 or -errno. */
static int hold(struct strand *strand, const unsigned char *bytes, size_t len)
{
	if (strand->first + strand->len + len > strand->cap) {
		size_t cap =
			strand->len + len < BUNDLE_PIECE ? BUNDLE_PIECE : 2 * (strand->len + len);
		unsigned char *larger = malloc(cap);
		if (!larger)
			return -ENOMEM;
		if (strand->len > 0)
			memcpy(larger, strand->held + strand->first, strand->len);
		free(strand->held);
		strand->held = larger;
		strand->first = 0;
		strand->cap = cap;
	}
	memcpy(strand->held + strand->first + strand->len, bytes, len);
	strand->len += len;
	return 0;
}

static void on_data(struct strand *strand, const unsigned char *bytes, size_t len)
{
	ssize_t taken = 0;

	if (strand->was_ended || strand->len + strand->owed + len > BUNDLE_WINDOW) {
		end(strand->bundle, "its other end sends more than it may");
		return;
	}
	if (strand->len == 0)
		taken = hand_over(strand, bytes, len);
	if (taken < 0 ||
		((size_t)taken < len && hold(strand, bytes + taken, len - (size_t)taken) < 0)) {
		reset(strand);
		return;
	}
	if (taken > 0)
		give_credit(strand, (size_t)taken);
}

static void on_strand_ready(struct loop_io *io, uint32_t events)
{
	struct strand *strand = container_of(io, struct strand, io);

	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		strand->is_readable = true;
	if (events & EPOLLHUP)
		strand->is_hung_up = true;
	if (strand->is_hung_up && strand->has_ended) {
		reset(strand);
		return;
	}
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) {
		strand->is_writable = true;
		if ((strand->len > 0 || strand->was_ended) && !drain(strand))
			return;
	}
	note_ready(strand);
}

/* Returns the owner's socket or -errno. */
static int add(struct bundle *bundle, uint32_t id)
{
	int pair[2];

	if (bundle->count >= BUNDLE_MAX || !budget_has_room(bundle->budget, 2))
		return -ENFILE;
	struct strand *strand = calloc(1, sizeof(*strand));
	if (!strand)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0) {
		int result = -errno;
		free(strand);
		return result;
	}
	*strand = (struct strand){.bundle = bundle,
		.io = {pair[0], on_strand_ready},
		.id = id,
		.is_writable = true,
		.may_send = BUNDLE_WINDOW};
	list_add_last(&bundle->strands[id / 2 % BUNDLE_BUCKETS], &strand->link);
	budget_take(bundle->budget, 1);
	bundle->count++;
	int result =
		loop_io_add(bundle->loop, &strand->io, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
	if (result < 0) {
		forget(strand);
		close(pair[1]);
		return result;
	}
	return pair[1];
}

static void on_begun(struct bundle *bundle, uint32_t id)
{
	int fd;

	if ((id % 2 == 0) == bundle->is_asker || find(bundle, id)) {
		end(bundle, "its other end begins a connection that is there");
		return;
	}
	fd = add(bundle, id);
	if (fd < 0)
		put_frame(bundle, FRAME_RESET, id, NULL);
	else
		bundle->ops->on_strand(bundle, fd);
}

static uint32_t number_at(const unsigned char *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* A frame of a strand that is there. */
static void on_strand_frame(
	struct strand *strand, enum frame_type type, const unsigned char *text, size_t len)
{
	if (type == FRAME_DATA) {
		on_data(strand, text, len);
	} else if (type == FRAME_END) {
		strand->was_ended = true;
		drain(strand);
	} else if (type == FRAME_RESET) {
		forget(strand);
	} else if (type == FRAME_WINDOW && len == 4 &&
		   number_at(text) <= BUNDLE_WINDOW - strand->may_send) {
		strand->may_send += number_at(text);
		note_ready(strand);
	} else {
		end(strand->bundle, "its other end sends what is no frame");
	}
}

/* A whole frame. */
static void on_frame(struct bundle *bundle, unsigned char type, uint32_t id,
	const unsigned char *text, size_t len)
{
	struct strand *strand;

	if (type == FRAME_PING)
		put_frame(bundle, FRAME_PONG, 0, NULL);
	else if (type == FRAME_OPEN)
		on_begun(bundle, id);
	else if (type == FRAME_PONG)
		return;
	else if (!strchr("DERW", type) || type == 0)
		end(bundle, "its other end sends what is no frame");
	else if ((strand = find(bundle, id)))
		on_strand_frame(strand, (enum frame_type)type, text, len);
}

/* Returns how many bytes of @got are done with. */
static size_t skip_noise(struct bundle *bundle)
{
	unsigned char *magic = memmem(bundle->got, bundle->ngot, BUNDLE_MAGIC, MAGIC_BYTES);
	size_t skipped = bundle->ngot < MAGIC_BYTES ? 0 : bundle->ngot - (MAGIC_BYTES - 1);

	if (magic) {
		bundle->has_magic = true;
		bundle->ops->on_up(bundle);
		return (size_t)(magic - bundle->got) + MAGIC_BYTES;
	}
	bundle->noise += skipped;
	if (bundle->noise > BUNDLE_NOISE_MAX)
		end(bundle, "its other end is no nswrap tunnel");
	return skipped;
}

static void take_frames(struct bundle *bundle)
{
	size_t at = bundle->has_magic ? 0 : skip_noise(bundle);

	while (bundle->has_magic && !bundle->why && bundle->ngot - at >= HEADER_BYTES) {
		const unsigned char *frame = bundle->got + at;
		const size_t len = (size_t)frame[2] << 8 | frame[3];

		if (len > BUNDLE_PIECE || frame[1] != 0) {
			end(bundle, "its other end sends what is no frame");
			break;
		}
		if (bundle->ngot - at < HEADER_BYTES + len)
			break;
		on_frame(bundle, frame[0], number_at(frame + 4), frame + HEADER_BYTES, len);
		at += HEADER_BYTES + len;
	}
	memmove(bundle->got, bundle->got + at, bundle->ngot - at);
	bundle->ngot -= at;
}

/* As much as a turn may take, for as long as there is room for the answers. */
static void read_some(struct bundle *bundle)
{
	size_t total = 0;

	while (bundle->may_read && !bundle->why && total < ROUND_BYTES && room(bundle, PUT_SPARE)) {
		ssize_t got =
			read(bundle->in.fd, bundle->got + bundle->ngot, GOT_BYTES - bundle->ngot);

		if (got > 0) {
			bundle->heard_ns = loop_now_ns(bundle->loop);
			bundle->ngot += (size_t)got;
			total += (size_t)got;
			take_frames(bundle);
		} else if (got == 0) {
			end(bundle, "it has ended");
		} else if (errno == EAGAIN) {
			bundle->may_read = false;
		} else if (errno != EINTR) {
			end(bundle, "it broke");
		}
	}
	if (bundle->may_read && !bundle->is_full)
		go_on(bundle);
}

static void on_in_ready(struct loop_io *io, uint32_t events)
{
	struct bundle *bundle = container_of(io, struct bundle, in);

	if (events & ~(uint32_t)EPOLLOUT)
		bundle->may_read = true;
	if (events & EPOLLOUT)
		bundle->is_full = false;
	go_on(bundle);
}

static void on_out_ready(struct loop_io *io, uint32_t events)
{
	struct bundle *bundle = container_of(io, struct bundle, out);

	if (events & (EPOLLERR | EPOLLHUP)) {
		end(bundle, "it has ended");
		return;
	}
	bundle->is_full = false;
	go_on(bundle);
}

/* --- begin and end ------------------------------------------------------------------------ */

static void let_go(struct bundle *bundle)
{
	if (!bundle->is_open)
		return;
	bundle->is_open = false;
	for (size_t i = 0; i < BUNDLE_BUCKETS; i++)
		while (!list_is_empty(&bundle->strands[i]))
			forget(list_first(&bundle->strands[i], struct strand, link));
	loop_task_cancel(bundle->loop, &bundle->task);
	loop_timer_cancel(bundle->loop, &bundle->timer);
	loop_io_del(bundle->loop, &bundle->in);
	if (!bundle->has_one_fd)
		loop_io_del(bundle->loop, &bundle->out);
}

static void on_task(struct loop_task *task)
{
	struct bundle *bundle = container_of(task, struct bundle, task);

	if (!bundle->why)
		read_some(bundle);
	if (!bundle->why)
		pump(bundle);
	if (!bundle->why)
		return;
	let_go(bundle);
	bundle->ops->on_end(bundle, bundle->why);
}

static void on_timer(struct loop_timer *timer)
{
	struct bundle *bundle = container_of(timer, struct bundle, timer);
	const uint64_t silent_ms = (loop_now_ns(bundle->loop) - bundle->heard_ns) / NS_PER_MS;

	if (silent_ms >= bundle->alive_ms && (bundle->has_magic || silent_ms >= BUNDLE_LOGIN_MS)) {
		end(bundle, "its other end gives no sign of life");
		return;
	}
	if (silent_ms >= bundle->alive_ms / 3 && bundle->nput - bundle->at < PUT_FULL)
		put_frame(bundle, FRAME_PING, 0, NULL);
	loop_timer_set(bundle->loop, timer, bundle->alive_ms / 3 + 1);
}

static int watch(struct bundle *bundle)
{
	const uint32_t out = bundle->has_one_fd ? EPOLLOUT : 0;
	int result = loop_io_add(bundle->loop, &bundle->in, EPOLLIN | EPOLLET | out);

	if (result == 0 && !bundle->has_one_fd) {
		result = loop_io_add(bundle->loop, &bundle->out, EPOLLOUT | EPOLLET);
		if (result < 0)
			loop_io_del(bundle->loop, &bundle->in);
	}
	return result;
}

int bundle_open(struct bundle *bundle, int in_fd, int out_fd)
{
	bundle->in = (struct loop_io){in_fd, on_in_ready};
	bundle->out = (struct loop_io){out_fd, on_out_ready};
	bundle->has_one_fd = in_fd == out_fd;
	bundle->task.on_run = on_task;
	bundle->timer.on_expired = on_timer;
	bundle->has_magic = bundle->is_full = bundle->may_read = false;
	bundle->why = NULL;
	bundle->ngot = bundle->nput = bundle->at = bundle->noise = bundle->count = 0;
	bundle->next = bundle->is_asker ? 0 : 1;
	bundle->heard_ns = loop_now_ns(bundle->loop);
	for (size_t i = 0; i < BUNDLE_BUCKETS; i++)
		list_init(&bundle->strands[i]);
	list_init(&bundle->ready);
	bundle->got = malloc(GOT_BYTES);
	bundle->put = malloc(PUT_BYTES);
	int result = bundle->got && bundle->put ? watch(bundle) : -ENOMEM;
	bundle->is_open = result == 0;
	if (result < 0) {
		bundle_close(bundle);
		return result;
	}
	memcpy(bundle->put, BUNDLE_MAGIC, MAGIC_BYTES);
	bundle->nput = MAGIC_BYTES;
	go_on(bundle);
	if (bundle->alive_ms > 0)
		loop_timer_set(bundle->loop, &bundle->timer, bundle->alive_ms / 3 + 1);
	return 0;
}

int bundle_dial(struct bundle *bundle)
{
	if (!bundle->is_open || bundle->why)
		return -EPIPE;
	do
		bundle->next += 2;
	while (find(bundle, bundle->next));
	int fd = add(bundle, bundle->next);
	if (fd >= 0)
		put_frame(bundle, FRAME_OPEN, bundle->next, NULL);
	return fd;
}

void bundle_close(struct bundle *bundle)
{
	let_go(bundle);
	if (bundle->has_one_fd)
		bundle->out.fd = -1;
	fd_close(&bundle->in.fd);
	fd_close(&bundle->out.fd);
	free(bundle->got);
	free(bundle->put);
	bundle->got = bundle->put = NULL;
}
