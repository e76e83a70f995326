/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/spoke - a client's connection to its server, until the bytes of others pass over it */
#include "tunnel/spoke.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "util/fd.h"

#define SPOKE_FDS    2 /* it, and what it leads to */
#define SPOKE_EVENTS (EPOLLIN | EPOLLRDHUP | EPOLLET)

/* --- ends ------------------------------------------------------------------------------------ */

static void count_no_more(struct spoke *spoke)
{
	if (spoke->is_counted)
		shares_give(&spoke->house->context->budget->shares, SHARES_LED, spoke->source);
	spoke->is_counted = false;
}

void spoke_count(struct spoke *spoke, unsigned source)
{
	shares_take(&spoke->house->context->budget->shares, SHARES_LED, source);
	spoke->source = source;
	spoke->is_counted = true;
}

int spoke_take(struct spoke *spoke)
{
	const struct conn_context *context = spoke->house->context;
	int fd = spoke->io.fd;

	dial_cancel(&spoke->dial);
	proof_cancel(&spoke->proof);
	loop_io_del(context->loop, &spoke->io);
	loop_timer_cancel(context->loop, &spoke->timer);
	loop_task_cancel(context->loop, &spoke->start);
	loop_task_cancel(context->loop, &spoke->more);
	list_del(&spoke->at);
	budget_give(context->budget, SPOKE_FDS);
	count_no_more(spoke);
	free(spoke);
	return fd;
}

void spoke_close(struct spoke *spoke)
{
	int fd = spoke_take(spoke);

	fd_close(&fd);
}

static void lose(struct spoke *spoke, const char *why)
{
	list_del(&spoke->at);
	spoke->ops->on_lost(spoke, why);
	spoke_close(spoke);
}

/* --- what waits ------------------------------------------------------------------------------ */

static void set_timer(struct spoke *spoke, uint64_t ms)
{
	loop_timer_set(spoke->house->context->loop, &spoke->timer, ms);
}

void spoke_use(struct spoke *spoke)
{
	struct loop *loop = spoke->house->context->loop;

	loop_timer_cancel(loop, &spoke->timer);
	loop_task_cancel(loop, &spoke->more);
	spoke->state = SPOKE_USED;
	/* what breaks meanwhile, or has already, is seen by on_spoke; bytes wait in the kernel */
	loop_io_mod(loop, &spoke->io, SPOKE_EVENTS);
}

void spoke_wait(struct spoke *spoke)
{
	count_no_more(spoke);
	spoke->state = SPOKE_WAITING;
	set_timer(spoke, spoke->house->beat_ms * 4ULL);
}

static void be_up(struct spoke *spoke, enum server_kind kind)
{
	spoke->state = SPOKE_WAITING;
	spoke->house->kind = kind;
	spoke->ops->on_up(spoke, kind);
}

/* --- messages -------------------------------------------------------------------------------- */

/* Returns 0, 1 or -errno as on_message does. */
static int on_welcome(struct spoke *spoke, const struct hail *hail)
{
	uint32_t beat_ms;

	if (hail->type != HAIL_WELCOME || hail->len != 4)
		return -EPROTO;
	beat_ms = hail_number(hail);
	spoke->house->beat_ms = beat_ms < 10 ? 10 : beat_ms > 600000 ? 600000 : beat_ms;
	set_timer(spoke, spoke->house->beat_ms * 4ULL);
	be_up(spoke, SERVER_OWN);
	return 0;
}

static int on_hail(struct spoke *spoke, const struct hail *hail)
{
	if (spoke->state == SPOKE_HELLO)
		return on_welcome(spoke, hail);
	if (spoke->state == SPOKE_WAITING)
		set_timer(spoke, spoke->house->beat_ms * 4ULL);
	if (hail->type == HAIL_PING)
		return hail_send(spoke->io.fd, HAIL_PONG, NULL, 0);
	return spoke->ops->on_message(spoke, hail);
}

static bool greet(struct spoke *spoke)
{
	spoke->is_own = true;
	spoke->state = SPOKE_HELLO;
	set_timer(spoke, DIAL_DEADLINE_MS);
	if (hail_send_hello(spoke->io.fd, spoke->house->id, spoke->kind) == 0)
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
	if (lennut == 1 && spoke->ops->on_greeted && take_greeting(spoke)) {
		spoke->house->kind = SERVER_LENNUT;
		spoke->ops->on_greeted(spoke);
		return false;
	}
	if (lennut == 1)
		lose(spoke, "it is lennut's, and knows nothing of --forward and --reverse");
	else if (own < 0 && lennut < 0)
		lose(spoke, own == -EPIPE    ? "it closed the connection"
			    : own == -EPROTO ? "it speaks another protocol"
					     : strerror(-own));
	return false;
}

static void read_hails(struct spoke *spoke)
{
	struct hail hail;
	int result = 1;

	for (int i = 0; i < HAIL_ROUND && result == 1; i++) {
		result = hail_read(&spoke->reader, spoke->io.fd, &hail);
		if (result != 1)
			break;
		result = on_hail(spoke, &hail);
		if (result > 0)
			return;
		result = result == 0 ? 1 : result;
	}
	if (result < 0)
		lose(spoke, result == -EPIPE    ? "it closed the connection"
			    : result == -EPROTO ? "it speaks another protocol"
						: strerror(-result));
	else if (result == 1)
		loop_task_add(spoke->house->context->loop, &spoke->more);
}

static void on_more(struct loop_task *task)
{
	read_hails(container_of(task, struct spoke, more));
}

/* Has gone what it is used for? Of our wire nobody ends one half before both ends are connected. */
static bool is_over(const struct spoke *spoke, uint32_t events)
{
	return events & (EPOLLHUP | EPOLLERR | (spoke->is_own ? EPOLLRDHUP : 0U));
}

static void on_spoke(struct loop_io *io, uint32_t events)
{
	struct spoke *spoke = container_of(io, struct spoke, io);

	if ((spoke->state == SPOKE_SILENT || (spoke->state == SPOKE_WAITING && !spoke->is_own)) &&
		!on_greeting(spoke))
		return;
	if (spoke->state == SPOKE_USED && spoke->kind != HAIL_REVERSE) {
		if (is_over(spoke, events)) /* for nobody is nothing connected */
			lose(spoke, "it closed the connection");
		return;
	}
	/* both may have greeted at once */
	if (spoke->state == SPOKE_HELLO && spoke->reader.have == 0 &&
		hail_peek(io->fd, HAIL_OWN) == 1)
		take_greeting(spoke);
	read_hails(spoke);
}

static void on_timer(struct loop_timer *timer)
{
	struct spoke *spoke = container_of(timer, struct spoke, timer);

	if (spoke->state == SPOKE_SILENT && spoke->ops->on_greeted) {
		be_up(spoke, SERVER_LENNUT);
		return;
	}
	spoke->is_silent = spoke->state == SPOKE_WAITING;
	lose(spoke, "it does not answer");
}

/* --- the beginning --------------------------------------------------------------------------- */

/* Which wire does the server speak? Who has the key, ours. */
static void begin(struct spoke *spoke)
{
	struct spoke_house *house = spoke->house;

	spoke->state = SPOKE_SILENT;
	int added = loop_io_add(house->context->loop, &spoke->io, SPOKE_EVENTS);
	if (added < 0)
		lose(spoke, strerror(-added));
	else if (house->kind == SERVER_OWN || house->key)
		greet(spoke);
	else if (house->kind == SERVER_UNKNOWN)
		set_timer(spoke, SPOKE_SILENT_MS);
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
	spoke->proof = (struct proof){.loop = spoke->house->context->loop,
		.key = spoke->house->key,
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

	if (result < 0) {
		lose(spoke, dial_words(result));
		return;
	}
	spoke->io = (struct loop_io){result, on_spoke};
	hail_prepare(result);
	if (spoke->house->key)
		prove(spoke);
	else
		begin(spoke);
}

/* What went at once is told from the loop, like all else. */
static void on_start(struct loop_task *task)
{
	struct spoke *spoke = container_of(task, struct spoke, start);
	struct spoke_house *house = spoke->house;
	int result = house->connect ? house->connect(house->owner)
				    : dial_start(&spoke->dial, house->context, &house->server);
	if (result != -EINPROGRESS)
		on_server(&spoke->dial, result);
}

struct spoke *spoke_open(
	struct spoke_house *house, enum hail_kind kind, const struct spoke_ops *ops, void *owner)
{
	struct spoke *spoke = calloc(1, sizeof(*spoke));

	if (!spoke)
		return NULL;
	*spoke = (struct spoke){.house = house,
		.ops = ops,
		.owner = owner,
		.kind = kind,
		.io.fd = -1,
		.timer.on_expired = on_timer,
		.start.on_run = on_start,
		.more.on_run = on_more,
		.dial.on_done = on_server};
	budget_take(house->context->budget, SPOKE_FDS);
	loop_task_add(house->context->loop, &spoke->start);
	return spoke;
}
