/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/reach - a tunnel's client: connections that wait at its server, and what they lead to */
#include "tunnel/reach.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "conn/relay.h"
#include "link/proof.h"
#include "tunnel/endpoint.h"
#include "tunnel/hail.h"
#include "tunnel/proxyline.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

enum spoke_state {
	SPOKE_DIALS,   /* to the server */
	SPOKE_PROVES,  /* to have the key */
	SPOKE_SILENT,  /* which wire? */
	SPOKE_HELLO,   /* ours: HAIL_WELCOME is next */
	SPOKE_WAITING, /* ours or lennut's */
	SPOKE_USED,    /* its target is being connected to */
};

struct spoke {
	struct reach *reach;
	struct list at;
	struct loop_io io;
	struct loop_timer timer; /* of our wire: the server is silent for too long */
	struct dial dial;        /* to the server, then to the target */
	struct proof proof;
	enum spoke_state state;
	bool is_own;
	struct hail_reader reader;
	char peer[ADDR_TEXT_BYTES]; /* who connected at the server */
};

enum server_kind { SERVER_UNKNOWN, SERVER_OWN, SERVER_LENNUT };

struct reach {
	const struct reach_start *start;
	struct loop *loop;
	unsigned char id[HAIL_ID_BYTES];
	enum server_kind server;
	struct list spokes;
	size_t nready; /* that wait, or are on their way to it */
	size_t wanted; /* how many should be ready */
	unsigned beat_ms;
	bool is_up, is_draining, was_used;
	uint64_t pause_ms;
	struct loop_timer again, surplus;
	struct reach_counts counts;
};

static void fill(struct reach *reach);

/* --- ends ------------------------------------------------------------------------------------ */

static bool is_ready(const struct spoke *spoke)
{
	return spoke->state != SPOKE_USED;
}

static void free_spoke(struct spoke *spoke)
{
	struct reach *reach = spoke->reach;

	if (is_ready(spoke))
		reach->nready--;
	dial_cancel(&spoke->dial);
	proof_cancel(&spoke->proof);
	loop_io_del(reach->loop, &spoke->io);
	loop_timer_cancel(reach->loop, &spoke->timer);
	list_del(&spoke->at);
	budget_give(reach->start->context->budget, 2);
	free(spoke);
}

static void close_spoke(struct spoke *spoke)
{
	int fd = spoke->io.fd;

	free_spoke(spoke);
	fd_close(&fd);
}

static uint64_t next_pause(struct reach *reach)
{
	uint64_t pause = reach->pause_ms;
	uint16_t noise = 0;

	reach->pause_ms = pause * 2 < REACH_PAUSE_MAX_MS ? pause * 2 : REACH_PAUSE_MAX_MS;
	/* many clients of one server do not come all at once */
	if (getrandom(&noise, sizeof(noise), GRND_NONBLOCK) != (ssize_t)sizeof(noise))
		noise = 0;
	return pause * 3 / 4 + pause * noise / (2 * 65536U);
}

/* The server cannot be had, or has ended what waited: try again later, with one. */
static void lose(struct spoke *spoke, const char *why)
{
	struct reach *reach = spoke->reach;
	/* lennut's closes what is too many */
	bool matters = reach->nready <= 1 || !reach->is_up;

	close_spoke(spoke);
	if (matters && (reach->is_up || reach->pause_ms == REACH_PAUSE_MS) && reach->start->on_down)
		reach->start->on_down(reach->start->owner, why);
	if (matters) {
		reach->is_up = false;
		reach->server = reach->start->connect ? SERVER_OWN : SERVER_UNKNOWN;
		reach->wanted = REACH_WAITING_MIN;
	}
	if (!reach->is_draining && !loop_timer_is_armed(&reach->again))
		loop_timer_set(reach->loop, &reach->again, next_pause(reach));
}

static void on_again(struct loop_timer *timer)
{
	fill(container_of(timer, struct reach, again));
}

/* --- the target ------------------------------------------------------------------------------ */

static void refuse(struct spoke *spoke)
{
	struct reach *reach = spoke->reach;

	reach->counts.refused++;
	/* lennut's wire has no word for it */
	if (!spoke->is_own || hail_send(spoke->io.fd, HAIL_REFUSED, NULL, 0) < 0) {
		close_spoke(spoke);
		return;
	}
	spoke->state = SPOKE_WAITING;
	reach->nready++;
	loop_timer_set(reach->loop, &spoke->timer, reach->beat_ms * 4ULL);
}

static void on_target(struct dial *dial, int result)
{
	struct spoke *spoke = container_of(dial, struct spoke, dial);
	struct reach *reach = spoke->reach;
	int fd = spoke->io.fd, target_fd = result;
	char text[ENDPOINT_TEXT_BYTES], line[PROXYLINE_MAX];

	if (result < 0) {
		log_info("tunnel: %s: %s", dial_format(&reach->start->target, text, sizeof(text)),
			dial_words(result));
		refuse(spoke);
		return;
	}
	if (spoke->is_own && hail_send(fd, HAIL_OPENED, NULL, 0) < 0) {
		close(target_fd);
		close_spoke(spoke);
		return;
	}
	size_t len = proxyline_make(reach->start->proxy_version, spoke->peer, line);
	free_spoke(spoke);
	reach->counts.served++;
	struct relay *relay = relay_start(reach->start->context->relays, fd, target_fd, NULL, NULL);
	if (!relay) {
		fd_reset(&fd);
		fd_reset(&target_fd);
	} else if (len > 0 && relay_push(relay, RELAY_A, line, len) < 0) {
		relay_stop(relay);
	}
}

static void connect_target(struct spoke *spoke)
{
	struct reach *reach = spoke->reach;

	/* what breaks meanwhile is seen when it is joined; bytes wait in the kernel */
	loop_timer_cancel(reach->loop, &spoke->timer);
	if (is_ready(spoke))
		reach->nready--;
	spoke->state = SPOKE_USED;
	reach->was_used = true;
	fill(reach);
	spoke->dial.on_done = on_target;
	int result = dial_start(&spoke->dial, reach->start->context, &reach->start->target);
	if (result != -EINPROGRESS)
		on_target(&spoke->dial, result);
}

/* --- the server ------------------------------------------------------------------------------ */

static void be_up(struct reach *reach, enum server_kind kind)
{
	bool is_news = !reach->is_up || reach->server != kind;

	reach->is_up = true;
	reach->pause_ms = REACH_PAUSE_MS;
	reach->server = kind;
	if (kind == SERVER_LENNUT && reach->wanted < REACH_LENNUT_READY)
		reach->wanted = REACH_LENNUT_READY;
	if (is_news && reach->start->on_up)
		reach->start->on_up(reach->start->owner, kind == SERVER_LENNUT);
	fill(reach);
}

/* Returns false if the spoke is gone, or used. */
static bool on_hail(struct spoke *spoke, const struct hail *hail)
{
	struct reach *reach = spoke->reach;

	loop_timer_set(reach->loop, &spoke->timer, reach->beat_ms * 4ULL);
	if (hail->type == HAIL_WELCOME && spoke->state == SPOKE_HELLO && hail->len == 4) {
		uint32_t beat_ms = hail_number(hail);
		reach->beat_ms = beat_ms < 10 ? 10 : beat_ms > 600000 ? 600000 : beat_ms;
		spoke->state = SPOKE_WAITING;
		loop_timer_set(reach->loop, &spoke->timer, reach->beat_ms * 4ULL);
		be_up(reach, SERVER_OWN);
		return true;
	}
	if (spoke->state != SPOKE_WAITING)
		return lose(spoke, "it speaks another protocol"), false;
	if (hail->type == HAIL_PING) {
		if (hail_send(spoke->io.fd, HAIL_PONG, NULL, 0) == 0)
			return true;
		return lose(spoke, "it takes no more bytes"), false;
	}
	if (hail->type == HAIL_MORE && hail->len == 4) {
		size_t wanted = reach->nready + hail_number(hail);
		reach->wanted = wanted < REACH_WAITING_MAX ? wanted : REACH_WAITING_MAX;
		fill(reach);
		return true;
	}
	if (hail->type == HAIL_OPEN && hail->len < sizeof(spoke->peer)) {
		memcpy(spoke->peer, hail->text, hail->len);
		spoke->peer[hail->len] = '\0';
		if (hail_send(spoke->io.fd, HAIL_TAKEN, NULL, 0) == 0)
			connect_target(spoke);
		else
			lose(spoke, "it takes no more bytes");
		return false;
	}
	return lose(spoke, "it speaks another protocol"), false;
}

static bool greet(struct spoke *spoke)
{
	spoke->is_own = true;
	spoke->state = SPOKE_HELLO;
	loop_timer_set(spoke->reach->loop, &spoke->timer, DIAL_DEADLINE_MS);
	if (hail_send_hello(spoke->io.fd, spoke->reach->id) == 0)
		return true;
	lose(spoke, "it takes no bytes");
	return false;
}

static bool take_greeting(struct spoke *spoke)
{
	char bytes[HAIL_BYTES];

	return recv(spoke->io.fd, bytes, sizeof(bytes), MSG_DONTWAIT) == sizeof(bytes);
}

/* Which wire? Returns false if there is nothing more to read for us. */
static bool on_greeting(struct spoke *spoke)
{
	int own = hail_peek(spoke->io.fd, HAIL_OWN), lennut = hail_peek(spoke->io.fd, HAIL_LENNUT);

	if (own == 1 && take_greeting(spoke))
		return greet(spoke);
	if (lennut == 1 && take_greeting(spoke)) {
		be_up(spoke->reach, SERVER_LENNUT);
		connect_target(spoke);
		return false;
	}
	if (own < 0 && lennut < 0)
		lose(spoke, own == -EPIPE    ? "it closed the connection"
			    : own == -EPROTO ? "it speaks another protocol"
					     : strerror(-own));
	return false;
}

static void on_spoke(struct loop_io *io, uint32_t events)
{
	struct spoke *spoke = container_of(io, struct spoke, io);
	struct hail hail;
	int result;

	(void)events;
	if (spoke->state == SPOKE_SILENT && !on_greeting(spoke))
		return;
	if (spoke->state == SPOKE_USED) {
		/* who asked has gone: for nobody is nothing connected */
		if (events & (EPOLLHUP | EPOLLERR))
			close_spoke(spoke);
		return;
	}
	/* both may have greeted at once */
	if (spoke->state == SPOKE_HELLO && spoke->reader.have == 0 &&
		hail_peek(io->fd, HAIL_OWN) == 1)
		take_greeting(spoke);
	while ((result = hail_read(&spoke->reader, io->fd, &hail)) == 1)
		if (!on_hail(spoke, &hail))
			return;
	if (result < 0)
		lose(spoke, result == -EPIPE ? "it closed the connection" : strerror(-result));
}

static void on_silent(struct loop_timer *timer)
{
	struct spoke *spoke = container_of(timer, struct spoke, timer);

	if (spoke->state == SPOKE_SILENT)
		be_up(spoke->reach, SERVER_LENNUT);
	else
		lose(spoke, "it does not answer");
}

/* Which wire does the server speak? Who has the key, ours. */
static void begin(struct spoke *spoke)
{
	struct reach *reach = spoke->reach;

	spoke->state = SPOKE_SILENT;
	int added = loop_io_add(reach->loop, &spoke->io, EPOLLIN | EPOLLET);
	if (added < 0)
		lose(spoke, strerror(-added));
	else if (reach->server == SERVER_OWN || reach->start->key)
		greet(spoke);
	else if (reach->server == SERVER_UNKNOWN)
		loop_timer_set(reach->loop, &spoke->timer, REACH_SILENT_MS);
}

static void on_proof(struct proof *proof, int result, const char *why)
{
	struct spoke *spoke = container_of(proof, struct spoke, proof);

	if (result < 0)
		lose(spoke, why);
	else
		begin(spoke);
}

static void prove(struct spoke *spoke)
{
	spoke->state = SPOKE_PROVES;
	spoke->proof = (struct proof){.loop = spoke->reach->loop,
		.key = spoke->reach->start->key,
		.role = PROOF_ASKER,
		.purpose = "tunnel",
		.on_done = on_proof};
	int result = proof_start(&spoke->proof, spoke->io.fd, spoke->io.fd, DIAL_DEADLINE_MS);
	if (result < 0)
		lose(spoke, strerror(-result));
}

static void on_server(struct dial *dial, int result)
{
	struct spoke *spoke = container_of(dial, struct spoke, dial);
	struct reach *reach = spoke->reach;

	if (result < 0) {
		lose(spoke, dial_words(result));
		return;
	}
	spoke->io = (struct loop_io){result, on_spoke};
	hail_prepare(result);
	if (reach->start->key)
		prove(spoke);
	else
		begin(spoke);
}

static bool open_spoke(struct reach *reach)
{
	struct spoke *spoke = calloc(1, sizeof(*spoke));

	if (!spoke)
		return false;
	*spoke = (struct spoke){.reach = reach,
		.io.fd = -1,
		.timer.on_expired = on_silent,
		.dial.on_done = on_server};
	budget_take(reach->start->context->budget, 2);
	list_add_last(&reach->spokes, &spoke->at);
	reach->nready++;
	int result = reach->start->connect ? reach->start->connect(reach->start->owner)
					   : dial_start(&spoke->dial, reach->start->context,
						     &reach->start->server);
	if (result == -EINPROGRESS)
		return true;
	on_server(&spoke->dial, result);
	return result >= 0;
}

/* As many as should be ready; one, as long as nobody has answered. */
static void fill(struct reach *reach)
{
	struct budget *budget = reach->start->context->budget;
	size_t wanted = reach->is_up ? reach->wanted : 1;

	if (reach->is_draining)
		return;
	while (reach->nready < wanted && (reach->nready == 0 || budget_has_room(budget, 4)))
		if (!open_spoke(reach))
			break;
	if (reach->nready == 0 && !loop_timer_is_armed(&reach->again))
		loop_timer_set(reach->loop, &reach->again, next_pause(reach));
}

static void on_surplus(struct loop_timer *timer)
{
	struct reach *reach = container_of(timer, struct reach, surplus);
	size_t least = reach->server == SERVER_LENNUT ? REACH_LENNUT_READY : REACH_WAITING_MIN;

	loop_timer_set(reach->loop, timer, REACH_SURPLUS_MS);
	if (reach->was_used) {
		reach->was_used = false;
		return;
	}
	reach->wanted = least;
	list_each_safe (at, following, &reach->spokes) {
		struct spoke *spoke = container_of(at, struct spoke, at);
		if (reach->nready > least && spoke->state == SPOKE_WAITING && spoke->is_own)
			close_spoke(spoke);
	}
}

/* --- the beginning and the end --------------------------------------------------------------- */

struct reach *reach_new(const struct reach_start *start)
{
	struct reach *reach = calloc(1, sizeof(*reach));

	if (!reach)
		return NULL;
	*reach = (struct reach){.start = start,
		.loop = start->context->loop,
		.server = start->connect ? SERVER_OWN : SERVER_UNKNOWN,
		.wanted = REACH_WAITING_MIN,
		.beat_ms = DIAL_DEADLINE_MS,
		.pause_ms = REACH_PAUSE_MS,
		.again.on_expired = on_again,
		.surplus.on_expired = on_surplus};
	list_init(&reach->spokes);
	if (getrandom(reach->id, sizeof(reach->id), 0) != (ssize_t)sizeof(reach->id)) {
		free(reach);
		return NULL;
	}
	loop_timer_set(reach->loop, &reach->surplus, REACH_SURPLUS_MS);
	fill(reach);
	return reach;
}

void reach_drain(struct reach *reach)
{
	reach->is_draining = true;
	loop_timer_cancel(reach->loop, &reach->again);
	list_each_safe (at, following, &reach->spokes) {
		struct spoke *spoke = container_of(at, struct spoke, at);
		if (spoke->state != SPOKE_USED)
			close_spoke(spoke);
	}
}

void reach_free(struct reach *reach)
{
	if (!reach)
		return;
	loop_timer_cancel(reach->loop, &reach->again);
	loop_timer_cancel(reach->loop, &reach->surplus);
	while (!list_is_empty(&reach->spokes))
		close_spoke(list_first(&reach->spokes, struct spoke, at));
	free(reach);
}

struct reach_counts reach_counts(const struct reach *reach)
{
	struct reach_counts counts = reach->counts;

	counts.is_up = reach->is_up;
	counts.is_lennut = reach->server == SERVER_LENNUT;
	counts.waiting = reach->nready;
	list_each (at, &reach->spokes)
		counts.connecting += container_of(at, struct spoke, at)->state == SPOKE_USED;
	return counts;
}
