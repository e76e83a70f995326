/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/mouth - a tunnel's server: who connects here is led to where the clients are */
#include "tunnel/mouth.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "conn/accept.h"
#include "conn/bind.h"
#include "conn/relay.h"
#include "link/proof.h"
#include "tunnel/hail.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

enum lane_state {
	LANE_PROVING, /* to have the key: in mouth->proving */
	LANE_NEW,     /* it has said nothing, and may be of either wire */
	LANE_GREETED, /* by us: it is lennut's if it ends now */
	LANE_HELLO,   /* HAIL_OWN came, the hello is next */
	LANE_WAITING, /* in mouth->waiting */
	LANE_ASKED,   /* HAIL_OPEN was sent for lane->inbound */
	LANE_TAKEN,   /* the client has heard of it */
};

struct lane {
	struct mouth *mouth;
	struct list at;
	struct loop_io io;
	struct loop_timer timer;
	struct addr peer;
	enum lane_state state;
	bool is_own;
	unsigned silent; /* how often it was asked for a sign of life, in vain */
	unsigned char id[HAIL_ID_BYTES];
	struct hail_reader reader;
	struct proof proof;
	struct inbound *inbound;
};

struct inbound {
	struct mouth *mouth;
	struct list at; /* in mouth->held, unless a lane has it */
	struct loop_io io;
	struct loop_timer timer;
	struct addr peer;
	struct lane *lane;
};

struct port {
	struct mouth *mouth;
	struct bound bound;
	struct acceptor acceptor;
};

struct mouth {
	const struct conn_context *context;
	unsigned beat_ms;
	struct port proxies[MOUTH_PROXIES_MAX], clients;
	size_t nproxies;
	const struct keyfile *key;
	struct list held, waiting, others; /* inbounds; lanes that wait, and that do not */
	struct list proving;               /* lanes, the oldest first */
	size_t nproving;
	size_t nheld, nlanes, wanted; /* wanted: of lanes that clients were asked for */
	struct addr lennuts[MOUTH_LENNUTS];
	size_t next_lennut;
	struct loop_task match;
	struct mouth_counts counts;
};

static void put_back(struct inbound *inbound);

/* --- ends ------------------------------------------------------------------------------------ */

static void free_lane(struct lane *lane)
{
	struct mouth *mouth = lane->mouth;

	proof_cancel(&lane->proof);
	if (lane->state == LANE_PROVING)
		mouth->nproving--;
	loop_io_del(mouth->context->loop, &lane->io);
	loop_timer_cancel(mouth->context->loop, &lane->timer);
	list_del(&lane->at);
	mouth->nlanes--;
	budget_give(mouth->context->budget, 1);
	free(lane);
}

/* The lane is of no use. Its inbound gets another one. */
static void drop_lane(struct lane *lane)
{
	struct inbound *inbound = lane->inbound;
	int fd = lane->io.fd;

	if (lane->state >= LANE_WAITING)
		lane->mouth->counts.lost_lanes++;
	free_lane(lane);
	close(fd);
	if (inbound)
		put_back(inbound);
}

static void free_inbound(struct inbound *inbound)
{
	struct mouth *mouth = inbound->mouth;

	loop_io_del(mouth->context->loop, &inbound->io);
	loop_timer_cancel(mouth->context->loop, &inbound->timer);
	if (list_is_linked(&inbound->at))
		mouth->nheld--;
	list_del(&inbound->at);
	budget_give(mouth->context->budget, 1);
	free(inbound);
}

static void reset_inbound(struct inbound *inbound)
{
	int fd = inbound->io.fd;

	free_inbound(inbound);
	fd_reset(&fd);
}

/* All bytes from here on are theirs. */
static void join(struct inbound *inbound, struct lane *lane)
{
	struct mouth *mouth = lane->mouth;
	int client_fd = inbound->io.fd, lane_fd = lane->io.fd;

	free_inbound(inbound);
	free_lane(lane);
	mouth->counts.served++;
	if (!relay_start(mouth->context->relays, client_fd, lane_fd, NULL, NULL)) {
		fd_reset(&client_fd);
		fd_reset(&lane_fd);
	}
}

/* --- who gets which -------------------------------------------------------------------------- */

static void set_timer(struct lane *lane, uint64_t ms)
{
	loop_timer_set(lane->mouth->context->loop, &lane->timer, ms);
}

static void let_wait(struct lane *lane)
{
	struct mouth *mouth = lane->mouth;

	lane->state = LANE_WAITING;
	lane->silent = 0;
	list_del(&lane->at);
	list_add_last(&mouth->waiting, &lane->at);
	if (mouth->wanted > 0)
		mouth->wanted--;
	if (lane->is_own)
		set_timer(lane, mouth->beat_ms);
	else
		loop_timer_cancel(mouth->context->loop, &lane->timer);
	loop_task_add(mouth->context->loop, &mouth->match);
}

/* Returns false if the lane is gone. */
static bool ask(struct lane *lane, struct inbound *inbound)
{
	struct mouth *mouth = lane->mouth;
	char text[ADDR_TEXT_BYTES];
	size_t others = mouth->nheld - 1,
	       wanted = others > mouth->wanted ? others - mouth->wanted : 0;
	int result = 0;

	if (wanted > 0) {
		result = hail_send_number(lane->io.fd, HAIL_MORE, (uint32_t)wanted);
		mouth->wanted += wanted;
	}
	addr_format(&inbound->peer, text, sizeof(text));
	if (result == 0)
		result = hail_send(lane->io.fd, HAIL_OPEN, text, strlen(text));
	if (result < 0) {
		drop_lane(lane);
		return false;
	}
	list_del(&lane->at);
	list_add_last(&mouth->others, &lane->at);
	lane->state = LANE_ASKED;
	lane->inbound = inbound;
	inbound->lane = lane;
	list_del(&inbound->at);
	mouth->nheld--;
	set_timer(lane, MOUTH_TAKEN_MS);
	return true;
}

static void use(struct lane *lane, struct inbound *inbound)
{
	/* one write: its client reads it with one read */
	ssize_t sent = send(lane->io.fd, HAIL_LENNUT, HAIL_BYTES, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (sent == HAIL_BYTES)
		join(inbound, lane);
	else
		drop_lane(lane);
}

static void on_match(struct loop_task *task)
{
	struct mouth *mouth = container_of(task, struct mouth, match);

	while (!list_is_empty(&mouth->held) && !list_is_empty(&mouth->waiting)) {
		struct lane *lane = list_first(&mouth->waiting, struct lane, at);
		struct inbound *inbound = list_first(&mouth->held, struct inbound, at);

		if (lane->is_own)
			ask(lane, inbound);
		else
			use(lane, inbound);
	}
	/* without anybody to ask, nobody has been asked */
	if (list_is_empty(&mouth->held))
		mouth->wanted = 0;
}

/* Its lane is gone, and it has not been answered. */
static void put_back(struct inbound *inbound)
{
	struct mouth *mouth = inbound->mouth;

	inbound->lane = NULL;
	list_add_first(&mouth->held, &inbound->at);
	mouth->nheld++;
	loop_task_add(mouth->context->loop, &mouth->match);
}

/* --- inbounds -------------------------------------------------------------------------------- */

static void give_up(struct inbound *inbound)
{
	struct lane *lane = inbound->lane;

	/* the client may be connecting for it: the lane cannot wait again */
	if (lane) {
		lane->inbound = NULL;
		drop_lane(lane);
	}
	reset_inbound(inbound);
}

static void on_inbound_over(struct loop_timer *timer)
{
	struct inbound *inbound = container_of(timer, struct inbound, timer);

	inbound->mouth->counts.unserved++;
	give_up(inbound);
}

/* It is watched for breaking only: bytes, and their end, wait in the kernel. */
static void on_inbound(struct loop_io *io, uint32_t events)
{
	if (events & (EPOLLERR | EPOLLHUP))
		give_up(container_of(io, struct inbound, io));
}

static void on_inbound_client(struct acceptor *acceptor, int fd, const struct addr *peer)
{
	struct mouth *mouth = container_of(acceptor, struct port, acceptor)->mouth;
	struct inbound *inbound = calloc(1, sizeof(*inbound));

	if (inbound)
		*inbound = (struct inbound){.mouth = mouth,
			.io = {fd, on_inbound},
			.timer.on_expired = on_inbound_over,
			.peer = *peer};
	if (!inbound || loop_io_add(mouth->context->loop, &inbound->io, EPOLLET) < 0) {
		free(inbound);
		fd_reset(&fd);
		return;
	}
	budget_take(mouth->context->budget, 1);
	loop_timer_set(mouth->context->loop, &inbound->timer, MOUTH_HOLD_MS);
	list_add_last(&mouth->held, &inbound->at);
	mouth->nheld++;
	loop_task_add(mouth->context->loop, &mouth->match);
}

/* --- lanes ----------------------------------------------------------------------------------- */

static bool is_lennut(const struct mouth *mouth, const struct addr *peer)
{
	for (size_t i = 0; i < MOUTH_LENNUTS; i++)
		if (mouth->lennuts[i].family != AF_UNSPEC &&
			addr_is_same_ip(&mouth->lennuts[i], peer))
			return true;
	return false;
}

static void note_lennut(struct mouth *mouth, const struct addr *peer, bool is)
{
	for (size_t i = 0; !is && i < MOUTH_LENNUTS; i++)
		if (addr_is_same_ip(&mouth->lennuts[i], peer))
			mouth->lennuts[i] = (struct addr){.family = AF_UNSPEC};
	if (is && !is_lennut(mouth, peer)) {
		mouth->lennuts[mouth->next_lennut] = *peer;
		mouth->next_lennut = (mouth->next_lennut + 1) % MOUTH_LENNUTS;
	}
}

/* It does not answer: neither will its other lanes. */
static void drop_client(struct lane *dead)
{
	struct mouth *mouth = dead->mouth;
	unsigned char id[HAIL_ID_BYTES];

	memcpy(id, dead->id, sizeof(id));
	log_info("tunnel: a client does not answer; its connections are given up");
	drop_lane(dead);
	list_each_safe (at, following, &mouth->waiting) {
		struct lane *lane = container_of(at, struct lane, at);
		if (lane->is_own && memcmp(lane->id, id, sizeof(id)) == 0)
			drop_lane(lane);
	}
}

static void on_lane_timer(struct loop_timer *timer)
{
	struct lane *lane = container_of(timer, struct lane, timer);
	struct mouth *mouth = lane->mouth;

	switch (lane->state) {
	case LANE_NEW:
		if (mouth->key) {
			drop_lane(lane);
			break;
		}
		if (is_lennut(mouth, &lane->peer)) {
			let_wait(lane);
			break;
		}
		lane->state = LANE_GREETED;
		set_timer(lane, MOUTH_DEAD_MS);
		if (send(lane->io.fd, HAIL_OWN, HAIL_BYTES, MSG_NOSIGNAL | MSG_DONTWAIT) !=
			HAIL_BYTES)
			drop_lane(lane);
		break;
	case LANE_WAITING:
		set_timer(lane, mouth->beat_ms);
		if (++lane->silent > 3)
			drop_client(lane);
		else if (hail_send(lane->io.fd, HAIL_PING, NULL, 0) < 0)
			drop_lane(lane);
		break;
	case LANE_ASKED:
		drop_client(lane);
		break;
	default:
		drop_lane(lane);
	}
}

static void refuse(struct lane *lane)
{
	struct inbound *inbound = lane->inbound;

	lane->mouth->counts.refused++;
	lane->inbound = NULL;
	reset_inbound(inbound);
	let_wait(lane);
}

/* Returns false if the lane is gone, or bytes follow. */
static bool on_hail(struct lane *lane, const struct hail *hail)
{
	struct mouth *mouth = lane->mouth;
	bool is_asked = lane->state == LANE_ASKED || lane->state == LANE_TAKEN;

	lane->silent = 0;
	if (hail->type == HAIL_HELLO && hail->len == HAIL_ID_BYTES && lane->state == LANE_HELLO) {
		memcpy(lane->id, hail->text, HAIL_ID_BYTES);
		note_lennut(mouth, &lane->peer, false);
		if (hail_send_number(lane->io.fd, HAIL_WELCOME, mouth->beat_ms) == 0) {
			let_wait(lane);
			return true;
		}
	} else if (hail->type == HAIL_PONG) {
		return true;
	} else if (hail->type == HAIL_TAKEN && lane->state == LANE_ASKED) {
		lane->state = LANE_TAKEN;
		/* how long it may take is the inbound's to say */
		loop_timer_cancel(mouth->context->loop, &lane->timer);
		return true;
	} else if (hail->type == HAIL_OPENED && is_asked) {
		join(lane->inbound, lane);
		return false;
	} else if (hail->type == HAIL_REFUSED && is_asked) {
		refuse(lane);
		return true;
	}
	drop_lane(lane);
	return false;
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

/* The first bytes. Returns false if there is nothing to read yet, or the lane is gone. */
static bool is_own(struct lane *lane)
{
	struct mouth *mouth = lane->mouth;
	char bytes[HAIL_BYTES];
	int result = hail_peek(lane->io.fd, HAIL_OWN);

	if (result == 1 && recv(lane->io.fd, bytes, sizeof(bytes), MSG_DONTWAIT) == sizeof(bytes)) {
		lane->is_own = true;
		lane->state = LANE_HELLO;
		set_timer(lane, MOUTH_DEAD_MS);
		return true;
	}
	if (result >= 0)
		return false;
	if (lane->state == LANE_GREETED)
		note_lennut(mouth, &lane->peer, true);
	if (result == -EPROTO && lane->state == LANE_NEW && !mouth->key && !has_proof(lane))
		let_wait(lane); /* lennut's: what it says goes to whoever connects */
	else
		drop_lane(lane);
	return false;
}

static void on_lane(struct loop_io *io, uint32_t events)
{
	struct lane *lane = container_of(io, struct lane, io);
	struct hail hail;
	int result;

	if ((lane->state == LANE_NEW || lane->state == LANE_GREETED) && !is_own(lane))
		return;
	if (!lane->is_own) {
		/* it waits; what it has said is read when it is used */
		if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
			drop_lane(lane);
		return;
	}
	while ((result = hail_read(&lane->reader, io->fd, &hail)) == 1)
		if (!on_hail(lane, &hail))
			return;
	if (result < 0)
		drop_lane(lane);
}

/* What it says from now on is a client's; both wires are possible without a key. */
static void begin_lane(struct lane *lane)
{
	struct mouth *mouth = lane->mouth;

	lane->state = LANE_NEW;
	list_del(&lane->at);
	list_add_last(&mouth->others, &lane->at);
	set_timer(lane, mouth->key                      ? MOUTH_DEAD_MS
			: is_lennut(mouth, &lane->peer) ? MOUTH_KNOWN_MS
							: MOUTH_SILENT_MS);
	if (loop_io_add(mouth->context->loop, &lane->io, EPOLLIN | EPOLLRDHUP | EPOLLET) < 0)
		drop_lane(lane);
}

static void on_proof(struct proof *proof, int result, const char *why)
{
	struct lane *lane = container_of(proof, struct lane, proof);
	char text[ADDR_TEXT_BYTES];

	if (result < 0) {
		log_info("tunnel: a client at %s was turned away: %s",
			addr_format(&lane->peer, text, sizeof(text)), why);
		drop_lane(lane);
		return;
	}
	lane->mouth->nproving--;
	begin_lane(lane);
}

static void prove(struct lane *lane)
{
	struct mouth *mouth = lane->mouth;

	if (mouth->nproving >= MOUTH_PROVING_MAX)
		drop_lane(list_first(&mouth->proving, struct lane, at));
	lane->state = LANE_PROVING;
	mouth->nproving++;
	list_add_last(&mouth->proving, &lane->at);
	lane->proof = (struct proof){.loop = mouth->context->loop,
		.key = mouth->key,
		.role = PROOF_ANSWERER,
		.purpose = "tunnel",
		.on_done = on_proof};
	if (proof_start(&lane->proof, lane->io.fd, lane->io.fd, MOUTH_PROOF_MS) < 0)
		drop_lane(lane);
}

static struct lane *new_lane(struct mouth *mouth, int fd, const struct addr *peer)
{
	struct lane *lane = mouth->nlanes < MOUTH_LANES_MAX ? calloc(1, sizeof(*lane)) : NULL;

	if (!lane) {
		close(fd);
		return NULL;
	}
	*lane = (struct lane){.mouth = mouth,
		.state = LANE_NEW,
		.io = {fd, on_lane},
		.timer.on_expired = on_lane_timer,
		.peer = *peer};
	budget_take(mouth->context->budget, 1);
	hail_prepare(fd);
	mouth->nlanes++;
	return lane;
}

static void on_lane_client(struct acceptor *acceptor, int fd, const struct addr *peer)
{
	struct mouth *mouth = container_of(acceptor, struct port, acceptor)->mouth;
	struct lane *lane = new_lane(mouth, fd, peer);

	if (lane && mouth->key)
		prove(lane);
	else if (lane)
		begin_lane(lane);
}

void mouth_add_lane(struct mouth *mouth, int fd)
{
	struct lane *lane = new_lane(mouth, fd, &(struct addr){.family = AF_UNIX});

	if (lane)
		begin_lane(lane);
}

/* --- the beginning and the end --------------------------------------------------------------- */

static int open_port(struct mouth *mouth, struct port *port, struct addr *addr,
	void (*on_client)(struct acceptor *, int, const struct addr *), size_t fds_each,
	struct err *err)
{
	port->mouth = mouth;
	port->acceptor = (struct acceptor){.on_client = on_client, .fds_each = fds_each};
	int result = bind_open(addr, PROTO_TCP, &port->bound, err);
	if (result < 0) {
		port->bound.fd = -1;
		return result;
	}
	result = acceptor_open(
		&port->acceptor, mouth->context->loop, mouth->context->budget, port->bound.fd);
	if (result < 0) {
		bind_close(&port->bound);
		port->bound.fd = -1;
		return err_sys(err, -result, "cannot listen");
	}
	return 0;
}

static void close_port(struct port *port)
{
	if (!port->mouth || port->bound.fd < 0)
		return;
	acceptor_close(&port->acceptor);
	bind_close(&port->bound);
	port->bound.fd = -1;
}

struct mouth *mouth_new(struct mouth_start *start, struct err *err)
{
	struct mouth *mouth = calloc(1, sizeof(*mouth));
	int result = mouth ? 0 : err_sys(err, ENOMEM, "cannot set up the tunnel");

	if (!mouth)
		return NULL;
	mouth->context = start->context;
	mouth->beat_ms = start->dead_ms / 4 > 0 ? start->dead_ms / 4 : 1;
	mouth->match.on_run = on_match;
	list_init(&mouth->held);
	list_init(&mouth->waiting);
	list_init(&mouth->others);
	list_init(&mouth->proving);
	mouth->key = start->key;
	for (size_t i = 0; result == 0 && i < start->nproxies; i++, mouth->nproxies++)
		result = open_port(
			mouth, &mouth->proxies[i], &start->proxies[i], on_inbound_client, 2, err);
	if (result == 0 && start->clients.family != AF_UNSPEC)
		result = open_port(mouth, &mouth->clients, &start->clients, on_lane_client, 1, err);
	if (result == 0)
		return mouth;
	mouth_free(mouth);
	return NULL;
}

void mouth_free(struct mouth *mouth)
{
	if (!mouth)
		return;
	for (size_t i = 0; i < MOUTH_PROXIES_MAX; i++)
		close_port(&mouth->proxies[i]);
	close_port(&mouth->clients);
	while (!list_is_empty(&mouth->proving))
		drop_lane(list_first(&mouth->proving, struct lane, at));
	while (!list_is_empty(&mouth->others))
		drop_lane(list_first(&mouth->others, struct lane, at));
	while (!list_is_empty(&mouth->waiting))
		drop_lane(list_first(&mouth->waiting, struct lane, at));
	while (!list_is_empty(&mouth->held))
		reset_inbound(list_first(&mouth->held, struct inbound, at));
	loop_task_cancel(mouth->context->loop, &mouth->match);
	free(mouth);
}

struct mouth_counts mouth_counts(const struct mouth *mouth)
{
	struct mouth_counts counts = mouth->counts;

	counts.held = mouth->nheld;
	counts.waiting = counts.lennut_waiting = 0;
	list_each (at, &mouth->waiting) {
		counts.waiting++;
		counts.lennut_waiting += !container_of(at, struct lane, at)->is_own;
	}
	return counts;
}
