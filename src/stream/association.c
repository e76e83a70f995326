/* SPDX-License-Identifier: Apache-2.0 */
/* stream/association - what two hosts have under way together: a connection of QUIC and its tracks
 */
#include "stream/association.h"

#include <errno.h>
#include <ngtcp2/ngtcp2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "stream/cleartext.h"
#include "util/clock.h"
#include "util/log.h"

#define ALL_BYTES (1ULL << 40) /* of all tracks together: each has its own window */

struct association {
	struct tracks *all;
	const struct association_ops *ops;
	void *owner;
	ngtcp2_conn *conn;
	uint8_t tag[ASSOCIATION_TAG_BYTES];
	uint16_t next_cid;
	ngtcp2_cid first; /* that the other end has chosen for us */
	bool is_up, is_confirmed, is_over;
	int result;                  /* of the end */
	struct list tracks, waiting; /* the second: for a stream */
	struct list dead, dying;     /* over; the second: its bytes may still be sent again */
	struct list ready;
	size_t count;
	uint64_t extra; /* of windows */
	struct loop_timer timer;
	struct loop_task task; /* frees what is dead */
};

static uint64_t now_ns(const struct association *association)
{
	return loop_now_ns(association->all->loop);
}

static void end(struct association *association, int result)
{
	if (association->is_over)
		return;
	association->is_over = true;
	association->result = result;
	association->ops->on_over(association->owner, result);
}

/* --- tracks -------------------------------------------------------------------------------- */

static void make_ready(struct track *track)
{
	const struct association *association = track->owner;

	if (track->is_over || track->id < 0)
		return;
	if (!list_is_linked(&track->ready))
		list_add_last((struct list *)&association->ready, &track->ready);
	association->ops->on_wake(association->owner);
}

static void on_asked(struct track *track, struct in_addr ip, uint16_t port)
{
	const struct association *association = track->owner;

	association->ops->on_asked(association->owner, track, ip, port);
}

static void on_track_over(struct track *track)
{
	struct association *association = track->owner;

	association->ops->on_track_over(association->owner, track);
	list_del(&track->link);
	list_del(&track->ready);
	list_add_last(&association->dead, &track->link);
	loop_task_add(association->all->loop, &association->task);
}

static const struct track_ops track_ops = {
	.on_wake = make_ready,
	.on_asked = on_asked,
	.on_over = on_track_over,
};

/* Not within a row of writes, in which the library may not be asked for it. What a stream has sent
 * belongs to the library until that is closed. */
static void bury(struct association *association)
{
	while (!list_is_empty(&association->dead)) {
		struct track *track = list_first(&association->dead, struct track, link);

		if (track->id >= 0 && !track->is_closed && association->conn) {
			list_del(&track->link);
			list_add_last(&association->dying, &track->link);
			/* else an end that has not come yet would be none */
			if (track->code == TRACK_LEFT)
				ngtcp2_conn_shutdown_stream_read(
					association->conn, track->id, track->code);
			else
				ngtcp2_conn_shutdown_stream(
					association->conn, track->id, track->code);
			association->ops->on_wake(association->owner);
			continue;
		}
		association->count--;
		track_free(track);
	}
}

static void on_bury(struct loop_task *task)
{
	bury(container_of(task, struct association, task));
}

static struct track *add_track(struct association *association, bool is_asker)
{
	struct track *track = track_new(association->all, &track_ops, association, is_asker);

	if (!track)
		return NULL;
	track->conn = association->conn;
	track->extra = &association->extra;
	association->count++;
	list_add_last(is_asker ? &association->waiting : &association->tracks, &track->link);
	return track;
}

/* Those that wait have a stream, as far as there are some. */
static void open_streams(struct association *association)
{
	while (association->is_up && !list_is_empty(&association->waiting)) {
		struct track *track = list_first(&association->waiting, struct track, link);

		if (ngtcp2_conn_open_bidi_stream(association->conn, &track->id, track) != 0) {
			track->id = -1;
			return;
		}
		list_del(&track->link);
		list_add_last(&association->tracks, &track->link);
		make_ready(track);
	}
}

struct track *association_dial(struct association *association, struct in_addr ip, uint16_t port,
	void (*told)(struct track *track, int result), void *user)
{
	struct track *track = add_track(association, true);

	if (!track)
		return NULL;
	track->on_answer = told;
	track->user = user;
	if (track_ask(track, ip, port) < 0) {
		association->count--;
		track_free(track);
		return NULL;
	}
	open_streams(association);
	association->ops->on_wake(association->owner);
	return track;
}

void association_cancel(struct association *association, struct track *track)
{
	(void)association;
	track->on_answer = NULL;
	track_reset(track, 0);
}

size_t association_tracks(const struct association *association)
{
	return association->count;
}

/* --- what the library tells --------------------------------------------------------------- */

static int on_completed(ngtcp2_conn *conn, void *user)
{
	struct association *association = user;

	association->is_up = true;
	association->is_confirmed = ngtcp2_conn_is_server(conn);
	association->ops->on_up(association->owner);
	open_streams(association);
	return 0;
}

static int on_confirmed(ngtcp2_conn *conn, void *user)
{
	(void)conn;
	((struct association *)user)->is_confirmed = true;
	return 0;
}

static int on_more_streams(ngtcp2_conn *conn, uint64_t max, void *user)
{
	(void)conn, (void)max;
	open_streams(user);
	return 0;
}

static int on_stream_open(ngtcp2_conn *conn, int64_t id, void *user)
{
	struct track *track = add_track(user, false);

	if (!track)
		return NGTCP2_ERR_CALLBACK_FAILURE;
	track->id = id;
	ngtcp2_conn_set_stream_user_data(conn, id, track);
	return 0;
}

static int on_stream_data(ngtcp2_conn *conn, uint32_t flags, int64_t id, uint64_t offset,
	const uint8_t *data, size_t len, void *user, void *stream_user)
{
	(void)id, (void)offset, (void)user;
	ngtcp2_conn_extend_max_offset(conn, len);
	if (stream_user)
		track_take(stream_user, data, len, flags & NGTCP2_STREAM_DATA_FLAG_FIN);
	return 0;
}

static int on_acked(
	ngtcp2_conn *conn, int64_t id, uint64_t offset, uint64_t len, void *user, void *stream_user)
{
	(void)conn, (void)id, (void)offset, (void)user;
	if (stream_user)
		track_acknowledge(stream_user, len);
	return 0;
}

static int on_reset(
	ngtcp2_conn *conn, int64_t id, uint64_t size, uint64_t code, void *user, void *stream_user)
{
	(void)conn, (void)id, (void)size, (void)user;
	if (stream_user)
		track_reset(stream_user, code);
	return 0;
}

static int on_stream_close(
	ngtcp2_conn *conn, uint32_t flags, int64_t id, uint64_t code, void *user, void *stream_user)
{
	struct association *association = user;
	struct track *track = stream_user;

	(void)flags;
	if (!ngtcp2_conn_is_local_stream(conn, id))
		ngtcp2_conn_extend_max_streams_bidi(conn, 1);
	if (!track)
		return 0;
	track_on_closed(track, code);
	if (track->is_over) {
		list_del(&track->link);
		list_add_last(&association->dead, &track->link);
		loop_task_add(association->all->loop, &association->task);
	}
	return 0;
}

static int on_more_data(ngtcp2_conn *conn, int64_t id, uint64_t max, void *user, void *stream_user)
{
	(void)conn, (void)id, (void)max, (void)user;
	if (stream_user)
		make_ready(stream_user);
	return 0;
}

static void new_cid(struct association *association, ngtcp2_cid *out)
{
	out->datalen = ASSOCIATION_CID_BYTES;
	memcpy(out->data, association->tag, ASSOCIATION_TAG_BYTES);
	out->data[ASSOCIATION_TAG_BYTES] = (uint8_t)(association->next_cid >> 8);
	out->data[ASSOCIATION_TAG_BYTES + 1] = (uint8_t)association->next_cid;
	association->next_cid++;
}

static int on_new_cid(ngtcp2_conn *conn, ngtcp2_cid *cid, uint8_t *token, size_t cidlen, void *user)
{
	(void)conn, (void)cidlen;
	new_cid(user, cid);
	memset(token, 0, NGTCP2_STATELESS_RESET_TOKENLEN);
	return getrandom(token, NGTCP2_STATELESS_RESET_TOKENLEN, GRND_NONBLOCK) < 0
		       ? NGTCP2_ERR_CALLBACK_FAILURE
		       : 0;
}

/* --- packets ------------------------------------------------------------------------------ */

/* All packets come the same way. */
static const struct sockaddr_in nowhere = {.sin_family = AF_INET};

static ngtcp2_path path_of(void)
{
	return (ngtcp2_path){
		.local = {(ngtcp2_sockaddr *)&nowhere, sizeof(nowhere)},
		.remote = {(ngtcp2_sockaddr *)&nowhere, sizeof(nowhere)},
	};
}

static void arm_timer(struct association *association)
{
	const uint64_t expiry_ns = ngtcp2_conn_get_expiry(association->conn);

	if (expiry_ns == UINT64_MAX)
		loop_timer_cancel(association->all->loop, &association->timer);
	else
		loop_timer_set(association->all->loop, &association->timer,
			clock_ms_until(expiry_ns, now_ns(association)));
}

static void on_timer(struct loop_timer *timer)
{
	struct association *association = container_of(timer, struct association, timer);
	int result = ngtcp2_conn_handle_expiry(association->conn, now_ns(association));

	if (result != 0)
		end(association, -ETIMEDOUT);
	else
		association->ops->on_wake(association->owner);
}

void association_read(struct association *association, const uint8_t *packet, size_t len)
{
	const ngtcp2_path path = path_of();
	const ngtcp2_pkt_info info = {0};

	if (association->is_over)
		return;
	int result = ngtcp2_conn_read_pkt(
		association->conn, &path, &info, packet, len, now_ns(association));
	if (result == NGTCP2_ERR_DISCARD_PKT)
		return;
	if (result != 0) {
		log_debug("streams: %s", ngtcp2_strerror(result));
		end(association, result == NGTCP2_ERR_NOMEM ? -ENOMEM : -ECONNRESET);
		return;
	}
	bury(association);
	association->ops->on_wake(association->owner);
}

/* Bytes of @track into a packet that is being made. Returns as ngtcp2_conn_writev_stream. */
static ngtcp2_ssize write_track(
	struct association *association, struct track *track, uint8_t *packet, size_t cap_bytes)
{
	ngtcp2_vec vectors[TRACK_VECTORS];
	ngtcp2_ssize taken = -1;
	size_t count;
	bool is_end;

	if (!track_next(track, vectors, &count, &is_end)) {
		list_del(&track->ready);
		return NGTCP2_ERR_WRITE_MORE;
	}
	ngtcp2_ssize size =
		ngtcp2_conn_writev_stream(association->conn, NULL, NULL, packet, cap_bytes, &taken,
			NGTCP2_WRITE_STREAM_FLAG_MORE | (is_end ? NGTCP2_WRITE_STREAM_FLAG_FIN : 0),
			track->id, vectors, count, now_ns(association));
	if (size == NGTCP2_ERR_STREAM_DATA_BLOCKED)
		track_on_blocked(track);
	if (size == NGTCP2_ERR_STREAM_DATA_BLOCKED || size == NGTCP2_ERR_STREAM_SHUT_WR ||
		size == NGTCP2_ERR_STREAM_NOT_FOUND) {
		list_del(&track->ready);
		return NGTCP2_ERR_WRITE_MORE;
	}
	if (taken >= 0) {
		size_t total = 0;

		for (size_t i = 0; i < count; i++)
			total += vectors[i].len;
		track_was_sent(track, (size_t)taken, is_end && (size_t)taken == total);
		if (!track->is_over) {
			list_del(&track->ready);
			list_add_last(&association->ready, &track->ready);
		}
	}
	return size;
}

/* A path on which a packet of full size takes longer than 8 ms, as far as is known. */
static bool is_slow_path(const struct association *association)
{
	ngtcp2_conn_stat stat;

	ngtcp2_conn_get_conn_stat(association->conn, &stat);
	return stat.smoothed_rtt > 8 * NS_PER_MS && stat.delivery_rate_sec > 0 &&
	       stat.delivery_rate_sec < ASSOCIATION_PACKET_BYTES * 125ULL;
}

size_t association_write(
	struct association *association, uint8_t *packet, size_t cap_bytes, bool is_slow)
{
	ngtcp2_ssize size = NGTCP2_ERR_WRITE_MORE;

	if (association->is_over)
		return 0;
	if (cap_bytes > ASSOCIATION_PACKET_BYTES)
		cap_bytes = ASSOCIATION_PACKET_BYTES;
	/* the first ones are padded to whatever there is room for */
	if (!association->is_confirmed && cap_bytes > ASSOCIATION_FIRST_BYTES)
		cap_bytes = ASSOCIATION_FIRST_BYTES;
	if (cap_bytes > ASSOCIATION_SLOW_BYTES && (is_slow || is_slow_path(association)))
		cap_bytes = ASSOCIATION_SLOW_BYTES;
	while (size == NGTCP2_ERR_WRITE_MORE && association->is_up &&
		!list_is_empty(&association->ready))
		size = write_track(association,
			list_first(&association->ready, struct track, ready), packet, cap_bytes);
	if (size == NGTCP2_ERR_WRITE_MORE)
		size = ngtcp2_conn_writev_stream(association->conn, NULL, NULL, packet, cap_bytes,
			NULL, NGTCP2_WRITE_STREAM_FLAG_NONE, -1, NULL, 0, now_ns(association));
	bury(association);
	if (size < 0) {
		log_debug("streams: %s", ngtcp2_strerror((int)size));
		end(association, -ECONNRESET);
		return 0;
	}
	arm_timer(association);
	return (size_t)size;
}

/* --- start and end ------------------------------------------------------------------------ */

void association_end(struct association *association, int result)
{
	end(association, result);
}

bool association_is_up(const struct association *association)
{
	return association->is_up;
}

bool association_has(const struct association *association, const uint8_t *cid, size_t len)
{
	return (len == ASSOCIATION_CID_BYTES &&
		       memcmp(cid, association->tag, ASSOCIATION_TAG_BYTES) == 0) ||
	       (len > 0 && len == association->first.datalen &&
		       memcmp(cid, association->first.data, len) == 0);
}

bool association_knows(const struct association *association, const uint8_t *cid, size_t len)
{
	const ngtcp2_cid *other = ngtcp2_conn_get_dcid(association->conn);

	return len == ASSOCIATION_CID_BYTES && other->datalen == len &&
	       memcmp(cid, other->data, ASSOCIATION_TAG_BYTES) == 0;
}

static void fill_callbacks(ngtcp2_callbacks *callbacks)
{
	cleartext_fill(callbacks);
	callbacks->handshake_completed = on_completed;
	callbacks->handshake_confirmed = on_confirmed;
	callbacks->recv_stream_data = on_stream_data;
	callbacks->acked_stream_data_offset = on_acked;
	callbacks->stream_open = on_stream_open;
	callbacks->stream_close = on_stream_close;
	callbacks->stream_reset = on_reset;
	callbacks->extend_max_local_streams_bidi = on_more_streams;
	callbacks->extend_max_stream_data = on_more_data;
	callbacks->get_new_connection_id = on_new_cid;
}

static int make_conn(struct association *association, const ngtcp2_pkt_hd *head)
{
	const ngtcp2_path path = path_of();
	ngtcp2_callbacks callbacks = {0};
	ngtcp2_settings settings;
	ngtcp2_transport_params params;
	ngtcp2_cid own, other = {.datalen = ASSOCIATION_CID_BYTES};

	fill_callbacks(&callbacks);
	ngtcp2_settings_default(&settings);
	settings.initial_ts = now_ns(association);
	settings.handshake_timeout = ASSOCIATION_HANDSHAKE_S * NGTCP2_SECONDS;
	settings.max_tx_udp_payload_size = ASSOCIATION_PACKET_BYTES;
	settings.no_tx_udp_payload_size_shaping = settings.no_pmtud = 1;
	/* on 60,000 bytes a packet the others need longer for what a loss has cost */
	settings.cc_algo = NGTCP2_CC_ALGO_RENO;
	settings.initial_rtt = 50 * NGTCP2_MILLISECONDS;
	ngtcp2_transport_params_default(&params);
	params.initial_max_data = ALL_BYTES;
	params.initial_max_stream_data_bidi_local = TRACK_WINDOW;
	params.initial_max_stream_data_bidi_remote = TRACK_WINDOW;
	params.initial_max_streams_bidi = head ? ASSOCIATION_TRACKS : 0;
	params.max_ack_delay = 5 * NGTCP2_MILLISECONDS;
	/* says that we know TRACK_LEFT; what it means to QUIC holds anyway, as there is one path */
	params.disable_active_migration = 1;
	new_cid(association, &own);
	if (head) {
		params.original_dcid = head->dcid;
		return ngtcp2_conn_server_new(&association->conn, &head->scid, &own, &path,
			head->version, &callbacks, &settings, &params, NULL, association);
	}
	if (getrandom(other.data, other.datalen, GRND_NONBLOCK) < 0)
		return NGTCP2_ERR_INTERNAL;
	return ngtcp2_conn_client_new(&association->conn, &other, &own, &path, NGTCP2_PROTO_VER_V1,
		&callbacks, &settings, &params, NULL, association);
}

struct association *association_new(struct tracks *all, const struct association_ops *ops,
	void *owner, const uint8_t *first, size_t len)
{
	ngtcp2_pkt_hd head;
	struct association *association;

	if (first && ngtcp2_accept(&head, first, len) != 0)
		return NULL;
	association = calloc(1, sizeof(*association));
	if (!association)
		return NULL;
	association->all = all;
	association->ops = ops;
	association->owner = owner;
	association->result = -ECONNRESET;
	association->timer.on_expired = on_timer;
	association->task.on_run = on_bury;
	list_init(&association->tracks);
	list_init(&association->waiting);
	list_init(&association->dead);
	list_init(&association->dying);
	list_init(&association->ready);
	if (first)
		association->first = head.dcid;
	if (getrandom(association->tag, sizeof(association->tag), GRND_NONBLOCK) >= 0 &&
		make_conn(association, first ? &head : NULL) == 0)
		return association;
	free(association);
	return NULL;
}

void association_free(struct association *association)
{
	struct list *rings[] = {association ? &association->waiting : NULL,
		association ? &association->tracks : NULL};

	if (!association)
		return;
	association->is_over = true;
	for (size_t i = 0; i < 2; i++)
		while (!list_is_empty(rings[i]))
			track_refuse(list_first(rings[i], struct track, link), association->result);
	ngtcp2_conn_del(association->conn);
	association->conn = NULL;
	list_move_all(&association->dead, &association->dying);
	bury(association);
	loop_timer_cancel(association->all->loop, &association->timer);
	loop_task_cancel(association->all->loop, &association->task);
	free(association);
}
