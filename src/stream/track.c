/* SPDX-License-Identifier: Apache-2.0 */
/* stream/track - one connection between two hosts: the bytes of a socket here in a stream of QUIC
 */
#include "stream/track.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "net/packet.h"
#include "util/clock.h"
#include "util/fd.h"

#define CHUNK_MIN (4U << 10)
#define CHUNK_MAX (256U << 10)
#define ACCEPTED  1 /* the first byte of an answer */

struct track_chunk {
	struct list link;
	size_t begin, end, cap_bytes; /* what is in it */
	unsigned char bytes[];
};

/* What is said to the other end instead of an error's number, which is Linux's. 0: a reset. */
static const int codes[] = {ECONNRESET, ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT, ENOENT,
	EAGAIN, EMFILE, EACCES, EPROTONOSUPPORT};
#define CODES (sizeof(codes) / sizeof(codes[0]))

static uint64_t code_of(int result)
{
	for (uint64_t code = 0; code < CODES; code++)
		if (codes[code] == -result)
			return code;
	return 1;
}

static int result_of(uint64_t code)
{
	return code < CODES ? -codes[code] : -ECONNREFUSED;
}

/* --- chunks ------------------------------------------------------------------------------- */

static struct track_chunk *chunk_new(struct list *ring, size_t cap_bytes)
{
	struct track_chunk *chunk = malloc(sizeof(*chunk) + cap_bytes);

	if (!chunk)
		return NULL;
	chunk->begin = chunk->end = 0;
	chunk->cap_bytes = cap_bytes;
	list_add_last(ring, &chunk->link);
	return chunk;
}

static void chunk_free(struct track_chunk *chunk)
{
	list_del(&chunk->link);
	free(chunk);
}

static struct track_chunk *chunk_first(const struct list *ring)
{
	return list_is_empty(ring) ? NULL : list_first(ring, struct track_chunk, link);
}

static struct track_chunk *chunk_last(const struct list *ring)
{
	return list_is_empty(ring) ? NULL : container_of(ring->prev, struct track_chunk, link);
}

static void chunks_free(struct list *ring)
{
	struct track_chunk *chunk;

	while ((chunk = chunk_first(ring)))
		chunk_free(chunk);
}

/* --- start and end ------------------------------------------------------------------------ */

struct track *track_new(struct tracks *all, const struct track_ops *ops, void *owner, bool is_asker)
{
	struct track *track = calloc(1, sizeof(*track));

	if (!track)
		return NULL;
	track->all = all;
	track->ops = ops;
	track->owner = owner;
	track->id = -1;
	track->state = is_asker ? TRACK_WAITING : TRACK_HEAD;
	track->io.fd = track->other_fd = -1;
	track->chunk_bytes = CHUNK_MIN;
	track->window = TRACK_WINDOW;
	track->moved_ns = loop_now_ns(all->loop);
	list_init(&track->out);
	list_init(&track->in);
	all->count++;
	return track;
}

/* A pair's other end sees a reset if there is a byte that nobody has read when ours is closed. It
 * is still the same socket, or has been closed, and the number may be anybody's. */
static void leave_unread(const struct track *track)
{
	struct stat info;

	if (track->other_fd >= 0 && fstat(track->other_fd, &info) == 0 &&
		info.st_ino == track->other_inode && S_ISSOCK(info.st_mode))
		(void)!send(track->other_fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void close_socket(struct track *track)
{
	if (track->io.fd < 0)
		return;
	loop_io_del(track->all->loop, &track->io);
	if (track->other_fd >= 0)
		budget_give(track->all->budget, 1);
	if (track->has_ended && track->end_is_passed) {
		fd_close(&track->io.fd);
		return;
	}
	leave_unread(track);
	fd_reset(&track->io.fd);
}

void track_free(struct track *track)
{
	close_socket(track);
	list_del(&track->link);
	list_del(&track->ready);
	chunks_free(&track->out);
	chunks_free(&track->in);
	track->all->extra -= track->window - TRACK_WINDOW;
	*track->extra -= track->window - TRACK_WINDOW;
	track->all->count--;
	free(track);
}

static void finish(struct track *track, uint64_t code)
{
	if (track->is_over)
		return;
	track->is_over = true;
	track->code = code;
	if (track->state == TRACK_WAITING && track->on_answer)
		track->on_answer(track, result_of(code));
	close_socket(track);
	track->ops->on_over(track);
}

/* An end of 0.1.0 that gets a STOP_SENDING behind an end takes it for nothing, and would keep the
 * connection for ever. */
static bool knows_left(const struct track *track)
{
	const ngtcp2_transport_params *peer = ngtcp2_conn_get_remote_transport_params(track->conn);

	return peer && peer->disable_active_migration;
}

/* Both ways have ended, here and in QUIC; or it is broken, and all that it had sent has gone; or
 * its end has gone, and nobody is left here for what comes. */
static void look_for_end(struct track *track)
{
	if (track->is_broken && track->nunsent == 0)
		finish(track, 0);
	else if (track->is_closed && track->end_is_passed && track->has_ended)
		finish(track, 0);
	else if (track->is_gone && track->end_is_sent && !track->end_is_passed && knows_left(track))
		finish(track, TRACK_LEFT);
}

/* All was read. A unix socket says by its mark that it was reset; TCP that was reset behind its end
 * says so in its events alone. To an end of 0.1.0 who has left is one who was reset, while there is
 * a way to tell it. */
static void note_end(struct track *track)
{
	const bool is_known = knows_left(track);
	const bool has_failed = track->has_failed || (track->is_gone && !is_known);

	track->has_ended = true;
	if (track->end_is_sent && !is_known)
		return;
	if (fd_was_reset(track->io.fd) || (has_failed && !track->end_is_passed))
		track->is_broken = true;
}

/* --- out ---------------------------------------------------------------------------------- */

static int put(struct track *track, const void *bytes, size_t len)
{
	struct track_chunk *chunk = chunk_new(&track->out, CHUNK_MIN);

	if (!chunk)
		return -ENOMEM;
	memcpy(chunk->bytes, bytes, len);
	chunk->end = len;
	track->nunsent += len;
	track->nkept += len;
	if (!track->unsent) {
		track->unsent = chunk;
		track->unsent_at = 0;
	}
	return 0;
}

int track_ask(struct track *track, struct in_addr ip, uint16_t port)
{
	unsigned char head[TRACK_HEAD_BYTES] = {TRACK_VERSION};

	memcpy(head + 1, &ip, sizeof(ip));
	packet_put16(head + 5, port);
	return put(track, head, sizeof(head));
}

int track_accept(struct track *track)
{
	const unsigned char accepted = ACCEPTED;

	track->state = TRACK_OPEN;
	int result = put(track, &accepted, 1);
	if (result == 0)
		track->ops->on_wake(track);
	return result;
}

void track_refuse(struct track *track, int result)
{
	finish(track, code_of(result));
}

/* More of it from the socket. Returns false when there is nothing to be had now. */
static bool read_some(struct track *track)
{
	struct track_chunk *chunk = chunk_last(&track->out);

	if (!chunk || chunk->end == chunk->cap_bytes) {
		chunk = chunk_new(&track->out, track->chunk_bytes);
		if (!chunk)
			return false;
	}
	const size_t room = chunk->cap_bytes - chunk->end;
	ssize_t got = recv(track->io.fd, chunk->bytes + chunk->end, room, MSG_DONTWAIT);
	if (got > 0) {
		if (!track->unsent) {
			track->unsent = chunk;
			track->unsent_at = chunk->end;
		}
		chunk->end += (size_t)got;
		track->nunsent += (size_t)got;
		track->nkept += (size_t)got;
		track->moved_ns = loop_now_ns(track->all->loop);
		if ((size_t)got == room && track->chunk_bytes < CHUNK_MAX)
			track->chunk_bytes *= 4;
		return (size_t)got == room;
	}
	const int error = got < 0 ? errno : 0;
	if (chunk->begin == chunk->end && track->unsent != chunk)
		chunk_free(chunk);
	if (error == EINTR)
		return true;
	track->is_readable = false;
	if (error == EAGAIN) {
		track->chunk_bytes = CHUNK_MIN;
		return false;
	}
	if (error != 0)
		track->is_broken = true;
	else
		note_end(track);
	return false;
}

bool track_next(struct track *track, ngtcp2_vec vectors[TRACK_VECTORS], size_t *count, bool *is_end)
{
	while (!track->is_over && track->is_readable && !track->has_ended && !track->is_broken &&
		track->nunsent < TRACK_UNSENT_MAX && track->nkept < TRACK_KEPT_MAX &&
		read_some(track))
		;
	look_for_end(track);
	*count = 0;
	*is_end = false;
	if (track->is_over || track->end_is_sent)
		return false;
	size_t at = track->unsent_at, total = 0;
	for (struct track_chunk *chunk = track->unsent; chunk && *count < TRACK_VECTORS;
		chunk = container_of(chunk->link.next, struct track_chunk, link)) {
		vectors[*count] = (ngtcp2_vec){chunk->bytes + at, chunk->end - at};
		total += vectors[(*count)++].len;
		at = 0;
		if (chunk->link.next == &track->out)
			break;
	}
	*is_end = track->has_ended && !track->is_broken && total == track->nunsent;
	return total > 0 || *is_end;
}

void track_was_sent(struct track *track, size_t len, bool is_end)
{
	track->nunsent -= len;
	track->end_is_sent |= is_end;
	while (len > 0) {
		struct track_chunk *chunk = track->unsent;
		const size_t here = chunk->end - track->unsent_at, part = here < len ? here : len;

		track->unsent_at += part;
		len -= part;
		if (track->unsent_at < chunk->end || (len == 0 && track->nunsent == 0))
			break;
		track->unsent = container_of(chunk->link.next, struct track_chunk, link);
		track->unsent_at = 0;
	}
	if (track->nunsent == 0)
		track->unsent = NULL;
	look_for_end(track);
}

void track_acknowledge(struct track *track, uint64_t len)
{
	const bool was_full = track->nkept >= TRACK_KEPT_MAX;
	struct track_chunk *chunk;

	while (len > 0 && (chunk = chunk_first(&track->out))) {
		const size_t here = chunk->end - chunk->begin;
		const size_t part = here < len ? here : (size_t)len;

		chunk->begin += part;
		len -= part;
		track->nkept -= part;
		/* what is read next may go into it */
		if (chunk->begin == chunk->end)
			chunk_free(chunk);
	}
	if (was_full && track->nkept < TRACK_KEPT_MAX)
		track->ops->on_wake(track);
}

/* --- in ----------------------------------------------------------------------------------- */

/* Is a window of it taken within two round trips, or what passes for one locally? Then it is what
 * limits the other end. */
static uint64_t growth(struct track *track, uint64_t now_ns)
{
	ngtcp2_conn_stat stat;

	if (track->taken < track->window / 2)
		return 0;
	ngtcp2_conn_get_conn_stat(track->conn, &stat);
	const bool is_quick = now_ns - track->since_ns < 2 * stat.smoothed_rtt + 4 * NS_PER_MS;
	track->since_ns = now_ns;
	track->taken = 0;
	const uint64_t others = track->all->extra - *track->extra;
	if (!is_quick || track->window >= TRACK_WINDOW_MAX ||
		*track->extra + track->window > (TRACKS_WINDOW_ALL - others) / 2)
		return 0;
	track->all->extra += track->window;
	*track->extra += track->window;
	track->window *= 2;
	return track->window / 2;
}

static void allow_more(struct track *track, size_t len)
{
	if (track->is_closed || track->end_has_come)
		return;
	track->taken += len;
	ngtcp2_conn_extend_max_stream_offset(
		track->conn, track->id, len + growth(track, loop_now_ns(track->all->loop)));
	track->ops->on_wake(track);
}

/* Returns how many the socket took. */
static size_t pass(struct track *track, const unsigned char *bytes, size_t len)
{
	size_t done = 0;

	while (done < len && track->is_writable) {
		ssize_t sent =
			send(track->io.fd, bytes + done, len - done, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent > 0)
			done += (size_t)sent;
		else if (errno == EAGAIN)
			track->is_writable = false;
		else if (errno != EINTR)
			break;
	}
	if (done > 0)
		track->moved_ns = loop_now_ns(track->all->loop);
	if (done < len && track->is_writable)
		finish(track, 0);
	return done;
}

static void pass_end(struct track *track)
{
	if (!track->end_has_come || track->end_is_passed || !list_is_empty(&track->in) ||
		track->io.fd < 0)
		return;
	track->end_is_passed = true;
	shutdown(track->io.fd, SHUT_WR);
	look_for_end(track);
}

/* What is kept of it costs no more than its bytes, however few come at once. */
static void keep(struct track *track, const uint8_t *bytes, size_t len)
{
	struct track_chunk *chunk = chunk_last(&track->in);

	while (len > 0) {
		if (!chunk || chunk->end == chunk->cap_bytes)
			chunk = chunk_new(&track->in, len < CHUNK_MIN ? CHUNK_MIN : len);
		if (!chunk) {
			finish(track, 0);
			return;
		}
		const size_t room = chunk->cap_bytes - chunk->end, part = len < room ? len : room;
		memcpy(chunk->bytes + chunk->end, bytes, part);
		chunk->end += part;
		bytes += part;
		len -= part;
	}
}

/* Where it leads, or that it is accepted. Returns how many bytes were for that. */
static size_t take_head(struct track *track, const uint8_t *bytes, size_t len)
{
	const size_t want = TRACK_HEAD_BYTES - track->nhead, part = len < want ? len : want;
	struct in_addr ip;

	if (track->state == TRACK_WAITING) {
		if (len == 0)
			return 0;
		if (bytes[0] != ACCEPTED) {
			finish(track, 1);
			return len;
		}
		track->state = TRACK_OPEN;
		if (track->on_answer)
			track->on_answer(track, 0);
		return 1;
	}
	if (track->state != TRACK_HEAD)
		return 0;
	memcpy(track->head + track->nhead, bytes, part);
	track->nhead += part;
	if (track->nhead < TRACK_HEAD_BYTES)
		return part;
	track->state = TRACK_ASKED;
	memcpy(&ip, track->head + 1, sizeof(ip));
	if (track->head[0] == TRACK_VERSION)
		track->ops->on_asked(track, ip, packet_get16(track->head + 5));
	else
		finish(track, 1);
	return part;
}

void track_take(struct track *track, const uint8_t *bytes, size_t len, bool is_end)
{
	const size_t head = track->is_over ? 0 : take_head(track, bytes, len);

	if (track->is_over)
		return;
	track->end_has_come |= is_end;
	/* an end before an answer, or before it was said where it leads */
	if (is_end && (track->state == TRACK_WAITING || track->state == TRACK_HEAD)) {
		finish(track, 1);
		return;
	}
	if (head > 0)
		bytes += head;
	len -= head;
	size_t done = 0;
	if (len > 0 && list_is_empty(&track->in) && track->io.fd >= 0)
		done = pass(track, bytes, len);
	if (!track->is_over && len > done)
		keep(track, bytes + done, len - done);
	if (!track->is_over && head + done > 0)
		allow_more(track, head + done);
	if (!track->is_over)
		pass_end(track);
}

static void pass_kept(struct track *track)
{
	struct track_chunk *chunk;
	size_t done = 0;

	while (!track->is_over && track->is_writable && (chunk = chunk_first(&track->in))) {
		const size_t part =
			pass(track, chunk->bytes + chunk->begin, chunk->end - chunk->begin);

		done += part;
		chunk->begin += part;
		if (chunk->begin == chunk->end)
			chunk_free(chunk);
	}
	if (!track->is_over && done > 0)
		allow_more(track, done);
	if (!track->is_over)
		pass_end(track);
}

void track_reset(struct track *track, uint64_t code)
{
	finish(track, code == TRACK_LEFT ? 0 : code); /* that one ends half of it */
}

void track_on_blocked(struct track *track)
{
	/* who was reset does not wait for who does not read */
	if (track->is_broken || (track->has_failed && !track->has_ended))
		finish(track, 0);
}

void track_on_closed(struct track *track, uint64_t code)
{
	track->is_closed = true;
	/* the other end has told QUIC alone that it takes no more */
	if (!track->end_is_sent && code != TRACK_LEFT)
		finish(track, code);
	track->has_ended = true;
	look_for_end(track);
}

/* --- the socket --------------------------------------------------------------------------- */

static void on_ready(struct loop_io *io, uint32_t events)
{
	struct track *track = container_of(io, struct track, io);

	if (events & EPOLLERR)
		track->has_failed = true;
	if (events & EPOLLHUP)
		track->is_gone = true;
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		track->is_readable = true;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) {
		track->is_writable = true;
		pass_kept(track);
	}
	if (!track->is_over && track->has_ended && (events & (EPOLLHUP | EPOLLERR))) {
		note_end(track);
		look_for_end(track);
	}
	if (!track->is_over && track->is_readable)
		track->ops->on_wake(track);
}

int track_join(struct track *track, int fd, int other_fd)
{
	struct stat info;

	track->io = (struct loop_io){fd, on_ready};
	int result = loop_io_add(
		track->all->loop, &track->io, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
	if (result < 0) {
		track->io.fd = -1;
		return result;
	}
	if (other_fd >= 0 && fstat(other_fd, &info) == 0) {
		track->other_fd = other_fd;
		track->other_inode = info.st_ino;
		budget_take(track->all->budget, 1);
	}
	return 0;
}
