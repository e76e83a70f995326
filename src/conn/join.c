/* SPDX-License-Identifier: Apache-2.0 */
/* conn/join - accepted clients, each joined to a target that is dialled for it */
#include "conn/join.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conn/relay.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

struct join {
	struct joins *joins;
	struct list link;
	struct loop_io io; /* the client, while it waits */
	struct dial dial;
	struct relay *relay; /* NULL: it waits */
	uint16_t id;
};

static void join_free(struct join *join)
{
	list_del(&join->link);
	free(join);
}

/* The client does not wait any more; its socket is left to the caller. */
static int stop_waiting(struct join *join)
{
	loop_io_del(join->joins->context->loop, &join->io);
	budget_give(join->joins->context->budget, JOIN_FDS);
	return fd_take(&join->io.fd);
}

static void give_up(struct join *join)
{
	int client_fd = stop_waiting(join);

	dial_cancel(&join->dial);
	join_free(join);
	fd_reset(&client_fd);
}

static void on_relay_done(struct relay *relay, void *owner)
{
	(void)relay;
	join_free(owner);
}

/* What came of dialling: a socket or -errno. */
static void on_result(struct join *join, int result)
{
	int client_fd = stop_waiting(join);

	if (result < 0) {
		const struct joins *joins = join->joins;

		log_info("a client was reset: %s", dial_words(result));
		if (joins->on_failed && join->id != 0 && !dial_is_short(result))
			joins->on_failed(joins->owner, join->id, result);
		join_free(join);
		fd_reset(&client_fd);
		return;
	}
	join->relay =
		relay_start(join->joins->context->relays, client_fd, result, on_relay_done, join);
	if (join->relay)
		return;
	log_warning("a connection was dropped: %s", strerror(errno));
	join_free(join);
	fd_reset(&client_fd);
	fd_reset(&result);
}

static void on_dialled(struct dial *dial, int result)
{
	on_result(container_of(dial, struct join, dial), result);
}

static void on_client_broken(struct loop_io *io, uint32_t events)
{
	(void)events;
	give_up(container_of(io, struct join, io));
}

void joins_add(struct joins *joins, int client_fd, const struct dial_target *target, uint16_t id)
{
	struct join *join = calloc(1, sizeof(*join));

	if (!join) {
		fd_reset(&client_fd);
		return;
	}
	join->joins = joins;
	join->id = id;
	list_add_last(&joins->all, &join->link);
	join->io = (struct loop_io){client_fd, on_client_broken};
	join->dial.on_done = on_dialled;
	budget_take(joins->context->budget, JOIN_FDS);
	int result = dial_start(&join->dial, joins->context, target);
	if (result != -EINPROGRESS) {
		on_result(join, result);
		return;
	}
	/* EPOLLERR and EPOLLHUP are always reported */
	if (loop_io_add(joins->context->loop, &join->io, 0) < 0)
		give_up(join);
}

void joins_init(struct joins *joins, const struct conn_context *context)
{
	*joins = (struct joins){.context = context};
	list_init(&joins->all);
}

void joins_fini(struct joins *joins)
{
	list_each_safe (at, following, &joins->all) {
		struct join *join = container_of(at, struct join, link);

		if (join->relay) {
			relay_stop(join->relay);
			join_free(join);
		} else {
			give_up(join);
		}
	}
}
