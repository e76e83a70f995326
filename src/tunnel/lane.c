/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/lane - a client's connection at the server, until the bytes of others pass over it */
#include "tunnel/lane.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/log.h"

/* --- ends ------------------------------------------------------------------------------------ */

int lane_take(struct lane *lane)
{
	struct lane_house *house = lane->house;
	int fd = lane->io.fd;

	proof_cancel(&lane->proof);
	if (lane->state == LANE_PROVING)
		house->nproving--;
	loop_io_del(house->context->loop, &lane->io);
	loop_timer_cancel(house->context->loop, &lane->timer);
	loop_task_cancel(house->context->loop, &lane->more);
	list_del(&lane->at);
	list_del(&lane->all);
	house->count--;
	shares_give(&house->shares, SHARES_CONNECTIONS, lane->source);
	budget_give(house->context->budget, 1);
	free(lane);
	return fd;
}

void lane_close(struct lane *lane)
{
	close(lane_take(lane));
}

/* It is of no use. */
static void drop(struct lane *lane)
{
	if (lane->state >= LANE_WAITING) {
		list_del(&lane->at);
		lane->house->ops->on_over(lane);
	}
	lane_close(lane);
}

/* --- what waits, and is asked ---------------------------------------------------------------- */

static void set_timer(struct lane *lane, uint64_t ms)
{
	loop_timer_set(lane->house->context->loop, &lane->timer, ms);
}

/* From now on. */
static void expect_word(struct lane *lane, uint64_t ms)
{
	lane->asked_ns = loop_now_ns(lane->house->context->loop);
	set_timer(lane, ms);
}

/* Has its client said something meanwhile, at another lane? */
static bool is_client_heard(const struct lane *silent)
{
	list_each (at, &silent->house->all) {
		const struct lane *lane = container_of(at, struct lane, all);
		if (lane->caller == silent->caller && lane->heard_ns > silent->asked_ns)
			return true;
	}
	return false;
}

/* It did not say a word in time. */
static void give_up(struct lane *lane)
{
	if (!is_client_heard(lane)) {
		log_info("tunnel: a client does not answer; its connections are given up");
		lane->house->ops->on_dead(lane);
	}
	drop(lane);
}

static void wait_again(struct lane *lane)
{
	lane->state = LANE_WAITING;
	lane->silent = 0;
	if (lane->is_own)
		set_timer(lane, lane->house->beat_ms);
	else
		loop_timer_cancel(lane->house->context->loop, &lane->timer);
}

/* Returns false if the lane is gone. */
static bool begin_to_wait(struct lane *lane)
{
	list_del(&lane->at);
	wait_again(lane);
	if (lane->house->ops->on_new(lane))
		return true;
	lane_close(lane);
	return false;
}

int lane_ask(struct lane *lane, const void *text, size_t len, size_t wanted)
{
	int result = 0;

	if (wanted > 0)
		result = hail_send_number(lane->io.fd, HAIL_MORE, (uint32_t)wanted);
	if (result == 0)
		result = hail_send(lane->io.fd, HAIL_OPEN, text, len);
	if (result < 0)
		return result;
	lane->state = LANE_ASKED;
	expect_word(lane, LANE_TAKEN_MS);
	return 0;
}

int lane_use(struct lane *lane)
{
	/* one write: its client reads it with one read */
	ssize_t sent = send(lane->io.fd, HAIL_LENNUT, HAIL_BYTES, MSG_NOSIGNAL | MSG_DONTWAIT);

	return sent == HAIL_BYTES ? 0 : -EPIPE;
}

static void on_silence(struct lane *lane)
{
	struct lane_house *house = lane->house;

	switch (lane->state) {
	case LANE_NEW:
		if (house->key) {
			drop(lane);
			break;
		}
		if (lennuts_has(&house->lennuts, &lane->peer)) {
			begin_to_wait(lane);
			break;
		}
		lane->state = LANE_GREETED;
		lane->greeted_ns = loop_now_ns(house->context->loop);
		set_timer(lane, LANE_DEAD_MS);
		if (send(lane->io.fd, HAIL_OWN, HAIL_BYTES, MSG_NOSIGNAL | MSG_DONTWAIT) !=
			HAIL_BYTES)
			drop(lane);
		break;
	case LANE_WAITING:
		if (++lane->silent <= 3) {
			expect_word(lane, house->beat_ms);
			if (hail_send(lane->io.fd, HAIL_PING, NULL, 0) < 0)
				drop(lane);
			break;
		}
		/* fall through */
	case LANE_ASKED:
		give_up(lane);
		break;
	default:
		drop(lane);
	}
}

static void on_timer(struct loop_timer *timer)
{
	on_silence(container_of(timer, struct lane, timer));
}

/* --- messages -------------------------------------------------------------------------------- */

/* Returns false if the lane is gone. */
static bool on_hello(struct lane *lane, const struct hail *hail)
{
	struct lane_house *house = lane->house;

	if (!hail_read_hello(hail, lane->id, &lane->kind) ||
		hail_send_number(lane->io.fd, HAIL_WELCOME, house->beat_ms) < 0) {
		drop(lane);
		return false;
	}
	lennuts_forget(&house->lennuts, &lane->peer);
	return begin_to_wait(lane);
}

/* Returns false if the lane is gone, or bytes follow. */
static bool on_hail(struct lane *lane, const struct hail *hail)
{
	const struct lane_ops *ops = lane->house->ops;
	bool is_asked = lane->state == LANE_ASKED || lane->state == LANE_TAKEN;
	int result = 0;

	lane->silent = 0;
	lane->heard_ns = loop_now_ns(lane->house->context->loop);
	if (lane->state == LANE_HELLO)
		return on_hello(lane, hail);
	if (hail->type == HAIL_PONG) {
		return true;
	} else if (hail->type == HAIL_TAKEN && lane->state == LANE_ASKED) {
		lane->state = LANE_TAKEN;
		/* how long it may take is the owner's to say */
		loop_timer_cancel(lane->house->context->loop, &lane->timer);
	} else if (hail->type == HAIL_OPENED && is_asked) {
		ops->on_opened(lane);
		return false;
	} else if (hail->type == HAIL_REFUSED && is_asked) {
		wait_again(lane);
		ops->on_refused(lane);
	} else {
		result = ops->on_message(lane, hail);
	}
	if (result < 0)
		drop(lane);
	return result == 0;
}

/* Does it begin to prove that it has a key, which we have not? */
static bool has_proof(const struct lane *lane)
{
	char bytes[HAIL_BYTES];
	ssize_t got = recv(lane->io.fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);

	if (got <= 0 || !proof_is_hello(bytes, (size_t)got))
		return false;
	log_warning("tunnel: a client with a key was turned away: this end has none (--key-file)");
	return true;
}

/* It ended without a word. Was that because it was greeted? */
static void note_end(struct lane *lane)
{
	const uint64_t now_ns = loop_now_ns(lane->house->context->loop);

	if (lane->state == LANE_GREETED && now_ns - lane->greeted_ns < LANE_LEAVES_MS * NS_PER_MS)
		lennuts_suspect(&lane->house->lennuts, &lane->peer, now_ns);
}

/* It speaks our wire; HAIL_OWN is there to be read. */
static bool begin_own(struct lane *lane)
{
	char bytes[HAIL_BYTES];

	if (recv(lane->io.fd, bytes, sizeof(bytes), MSG_DONTWAIT) != sizeof(bytes))
		return false;
	lane->is_own = true;
	lane->state = LANE_HELLO;
	set_timer(lane, LANE_DEAD_MS);
	return true;
}

/* The first bytes. Returns false if there is nothing to read yet, or the lane is gone. */
static bool is_own(struct lane *lane, bool has_ended)
{
	int result = hail_peek(lane->io.fd, HAIL_OWN);

	if (result == 1 && begin_own(lane))
		return true;
	if (result == -EPIPE)
		note_end(lane);
	if (result == 0 && has_ended)
		result = -EPIPE; /* in the middle of them */
	if (result >= 0)
		return false;
	if (result == -EPROTO && lane->state == LANE_NEW && !lane->house->key && !has_proof(lane))
		begin_to_wait(lane); /* lennut's: what it says goes to whoever connects */
	else
		drop(lane);
	return false;
}

/* One that was taken for lennut's, and waits. What it says is mostly for who will use it. Returns
 * as is_own does. */
static bool is_own_after_all(struct lane *lane, bool has_ended)
{
	if (hail_peek(lane->io.fd, HAIL_OWN) == 1) {
		list_del(&lane->at);
		return begin_own(lane);
	}
	if (has_ended) {
		lennuts_forget(&lane->house->lennuts, &lane->peer); /* lennut's waits for ever */
		drop(lane);
	}
	return false;
}

static void read_hails(struct lane *lane)
{
	struct hail hail;
	int result = 1;

	for (int i = 0; i < HAIL_ROUND; i++) {
		result = hail_read(&lane->reader, lane->io.fd, &hail);
		if (result != 1)
			break;
		if (!on_hail(lane, &hail))
			return;
	}
	if (result < 0)
		drop(lane);
	else if (result == 1)
		loop_task_add(lane->house->context->loop, &lane->more);
}

static void on_more(struct loop_task *task)
{
	read_hails(container_of(task, struct lane, more));
}

static void on_lane(struct loop_io *io, uint32_t events)
{
	struct lane *lane = container_of(io, struct lane, io);
	bool has_ended = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);

	if ((lane->state == LANE_NEW || lane->state == LANE_GREETED) && !is_own(lane, has_ended))
		return;
	if (!lane->is_own && !is_own_after_all(lane, has_ended))
		return;
	read_hails(lane);
}

/* --- the beginning --------------------------------------------------------------------------- */

/* What it says from now on is a client's; both wires are possible without a key. */
static void begin(struct lane *lane)
{
	struct lane_house *house = lane->house;

	lane->state = LANE_NEW;
	list_del(&lane->at);
	set_timer(lane, house->key                                  ? LANE_DEAD_MS
			: lennuts_has(&house->lennuts, &lane->peer) ? LANE_KNOWN_MS
								    : LANE_SILENT_MS);
	if (loop_io_add(house->context->loop, &lane->io, EPOLLIN | EPOLLRDHUP | EPOLLET) < 0)
		drop(lane);
}

static void on_proof(struct proof *proof, int result, const char *why)
{
	struct lane *lane = container_of(proof, struct lane, proof);
	char text[ADDR_TEXT_BYTES];

	if (result < 0) {
		log_info("tunnel: a client at %s was turned away: %s",
			addr_format(&lane->peer, text, sizeof(text)), why);
		drop(lane);
		return;
	}
	lane->house->nproving--;
	begin(lane);
}

/* For one more of @source that has to prove who it is: the oldest of its own, or of all. */
static void drop_proving(struct lane_house *house, unsigned source)
{
	struct lane *oldest = list_first(&house->proving, struct lane, at);

	list_each (at, &house->proving) {
		struct lane *lane = container_of(at, struct lane, at);

		if (lane->source == source) {
			oldest = lane;
			break;
		}
	}
	drop(oldest);
}

static void prove(struct lane *lane)
{
	struct lane_house *house = lane->house;

	if (house->nproving >= LANE_PROVING_MAX)
		drop_proving(house, lane->source);
	lane->state = LANE_PROVING;
	house->nproving++;
	list_add_last(&house->proving, &lane->at);
	lane->proof = (struct proof){.loop = house->context->loop,
		.key = house->key,
		.role = PROOF_ANSWERER,
		.purpose = "tunnel",
		.on_done = on_proof};
	if (proof_start(&lane->proof, lane->io.fd, lane->io.fd, LANE_PROOF_MS) < 0)
		drop(lane);
}

/* How much it is missed: less while it has not said what it is for, more while it is asked. */
static int worth(const struct lane *lane)
{
	if (lane->state < LANE_WAITING)
		return 0;
	return lane->state > LANE_WAITING ? 3 : lane->kind == HAIL_CONTROL ? 2 : 1;
}

static bool yield(struct shares_part *part, unsigned source)
{
	struct lane_house *house = container_of(part, struct lane_house, part);
	struct lane *least = NULL;

	list_each (at, &house->all) {
		struct lane *lane = container_of(at, struct lane, all);

		if (lane->source == source && (!least || worth(lane) < worth(least)))
			least = lane;
	}
	drop(least);
	return true;
}

static size_t most(const struct lane_house *house)
{
	size_t share = house->context->budget->max / LANES_SHARE;

	return share < LANES_MAX ? share : LANES_MAX;
}

size_t lane_house_spare(const struct lane_house *house)
{
	size_t asked = most(house) / LANES_ASKED;

	return asked > house->count ? asked - house->count : 0;
}

/* For one more lane of @peer: who has most of them gives way, or who has proven nothing yet. */
static bool make_room(struct lane_house *house, const struct addr *peer)
{
	if (house->count < most(house))
		return true;
	if (shares_yield(&house->shares, peer, LANES_FEW, false))
		return true;
	if (house->nproving == 0)
		return false;
	drop_proving(house, shares_source(&house->shares, peer));
	return true;
}

void lane_add(struct lane_house *house, int fd, const struct addr *peer, bool is_proven)
{
	struct lane *lane = make_room(house, peer) ? calloc(1, sizeof(*lane)) : NULL;

	if (!lane) {
		close(fd);
		return;
	}
	*lane = (struct lane){.house = house,
		.state = LANE_NEW,
		.kind = HAIL_ANY,
		.io = {fd, on_lane},
		.timer.on_expired = on_timer,
		.more.on_run = on_more,
		.peer = *peer,
		.source = shares_source(&house->shares, peer)};
	shares_take(&house->shares, SHARES_CONNECTIONS, lane->source);
	budget_take(house->context->budget, 1);
	hail_prepare(fd);
	house->count++;
	list_add_last(&house->all, &lane->all);
	if (house->key && !is_proven)
		prove(lane);
	else
		begin(lane);
}

void lane_house_init(struct lane_house *house)
{
	list_init(&house->all);
	list_init(&house->proving);
	house->part = (struct shares_part){.kind = SHARES_CONNECTIONS, .yield = yield};
	shares_join(&house->shares, &house->part);
}

void lane_house_fini(struct lane_house *house)
{
	while (!list_is_empty(&house->all))
		lane_close(list_first(&house->all, struct lane, all));
}
