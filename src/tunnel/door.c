/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/door - where inbounds come in, and are held until somebody leads them on */
#include "tunnel/door.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "tunnel/inlet.h"
#include "util/fd.h"
#include "util/log.h"

struct place {
	struct list at;
	struct inlet inlet;
};

/* --- inbounds -------------------------------------------------------------------------------- */

int door_release(struct inbound *inbound)
{
	const struct conn_context *context = inbound->door->context;
	int fd = inbound->io.fd;

	loop_io_del(context->loop, &inbound->io);
	loop_timer_cancel(context->loop, &inbound->timer);
	door_take_out(inbound);
	inbound->door->nout--;
	budget_give(context->budget, 1);
	shares_give(&context->budget->shares, SHARES_LED, inbound->source);
	free(inbound);
	return fd;
}

static void reset(struct inbound *inbound)
{
	int fd = door_release(inbound);

	fd_reset(&fd);
}

void door_refuse(struct inbound *inbound)
{
	inbound->door->counts.refused++;
	reset(inbound);
}

void door_take_out(struct inbound *inbound)
{
	if (!list_is_linked(&inbound->at))
		return;
	inbound->door->nheld--;
	inbound->door->nout++;
	list_del(&inbound->at);
}

void door_put_back(struct inbound *inbound)
{
	struct door *door = inbound->door;

	inbound->lane = NULL;
	list_add_first(&door->held, &inbound->at);
	door->nheld++;
	door->nout--;
	door->on_held(door);
}

static void give_up(struct inbound *inbound)
{
	inbound->door->on_given_up(inbound);
	reset(inbound);
}

static void on_too_long(struct loop_timer *timer)
{
	struct inbound *inbound = container_of(timer, struct inbound, timer);

	inbound->door->counts.unserved++;
	give_up(inbound);
}

/* It is watched for breaking only: bytes, and their end, wait in the kernel. */
static void on_event(struct loop_io *io, uint32_t events)
{
	if (events & (EPOLLERR | EPOLLHUP))
		give_up(container_of(io, struct inbound, io));
}

static void on_turned_away(struct inlet *inlet, const struct addr *peer)
{
	struct door *door = inlet->owner;
	char text[ADDR_TEXT_BYTES];

	door->counts.refused++;
	if (door->turned_away)
		(*door->turned_away)++;
	failing_say_crowd(&door->crowd, loop_now_ns(door->context->loop),
		addr_format_ip(peer, text, sizeof(text)));
}

static void on_inbound(struct inlet *inlet, int fd, const struct addr *peer)
{
	struct door *door = inlet->owner;
	struct loop *loop = door->context->loop;
	struct budget *budget = door->context->budget;
	unsigned source = shares_source(&budget->shares, peer);
	struct inbound *inbound = calloc(1, sizeof(*inbound));

	if (inbound)
		*inbound = (struct inbound){.door = door,
			.source = source,
			.io = {fd, on_event},
			.timer.on_expired = on_too_long,
			.peer = *peer};
	if (!inbound || loop_io_add(loop, &inbound->io, EPOLLET) < 0) {
		free(inbound);
		fd_reset(&fd);
		return;
	}
	fd_reset_at_close(fd, true); /* should we die meanwhile: it has not had its answer */
	budget_take(budget, 1);
	shares_take(&budget->shares, SHARES_LED, source);
	loop_timer_set(loop, &inbound->timer, door->hold_ms);
	list_add_last(&door->held, &inbound->at);
	door->nheld++;
	door->on_held(door);
}

/* --- the door -------------------------------------------------------------------------------- */

void door_init(struct door *door)
{
	list_init(&door->held);
	list_init(&door->inlets);
}

int door_listen(struct door *door, struct addr *at, struct err *err)
{
	struct place *place = calloc(1, sizeof(*place));

	if (!place)
		return err_sys(err, ENOMEM, "cannot listen");
	place->inlet = (struct inlet){
		.on_inbound = on_inbound, .on_turned_away = on_turned_away, .owner = door};
	int result = inlet_open(&place->inlet, door->context, at, door->proto, err);
	if (result < 0) {
		free(place);
		return result;
	}
	list_add_last(&door->inlets, &place->at);
	return 0;
}

void door_fini(struct door *door)
{
	while (!list_is_empty(&door->inlets)) {
		struct place *place = list_first(&door->inlets, struct place, at);

		list_del(&place->at);
		inlet_close(&place->inlet);
		free(place);
	}
	while (!list_is_empty(&door->held))
		reset(list_first(&door->held, struct inbound, at));
}
