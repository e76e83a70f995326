/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/landings - streams of other hosts, and the sockets of this one that they lead to */
#include "mesh/agent/landings.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "util/budget.h"
#include "util/fd.h"
#include "util/log.h"

/* A stream whose target is dialled, or open. */
struct landing {
	struct landings *landings;
	struct list link;
	struct track *track;
	size_t fds;      /* that are counted */
	uint16_t port;   /* that was asked for; 0: behind this host */
	unsigned source; /* who asks */
	struct dial dial;
};

static void landing_free(struct landing *landing)
{
	struct budget *budget = landing->landings->context->budget;

	dial_cancel(&landing->dial);
	budget_give(budget, landing->fds);
	shares_give(&budget->shares, SHARES_CONNECTIONS, landing->source);
	list_del(&landing->link);
	free(landing);
}

/* --- what it leads to --------------------------------------------------------------------- */

/* The stream has @fd from now on. */
static void join(struct landing *landing, int fd)
{
	struct track *track = landing->track;
	int result = track_accept(track);

	if (result == 0)
		result = track_join(track, fd, -1);
	if (result == 0)
		return;
	fd_reset(&fd);
	track_refuse(track, result);
}

static void on_target(struct landing *landing, int result)
{
	const struct landings *landings = landing->landings;

	if (result >= 0) {
		join(landing, result);
		return;
	}
	log_info("a connection to port %u was refused: %s", landing->port, dial_words(result));
	if (landing->port != 0 && !dial_is_short(result))
		landings->ops->on_failed(landings->owner, landing->port, result);
	track_refuse(landing->track, result);
}

static void on_dialled(struct dial *dial, int result)
{
	on_target(container_of(dial, struct landing, dial), result);
}

/* One end of a pair is the name server's client. */
static void join_names(struct landing *landing, struct in_addr peer)
{
	const struct landings *landings = landing->landings;
	int ends[2];

	budget_take(landings->context->budget, 1);
	landing->fds++;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0) {
		track_refuse(landing->track, -errno);
		return;
	}
	landings->ops->on_names(landings->owner, ends[1], peer);
	join(landing, ends[0]);
}

/* --- room --------------------------------------------------------------------------------- */

/* The one of @source through which nothing has gone for the longest time. */
static struct landing *longest_at_rest(struct landings *landings, unsigned source)
{
	struct landing *longest = NULL;

	for (struct list *at = landings->all.prev; at != &landings->all; at = at->prev) {
		struct landing *landing = container_of(at, struct landing, link);

		if (landing->source == source &&
			(!longest || landing->track->moved_ns < longest->track->moved_ns))
			longest = landing;
	}
	return longest;
}

static bool yield(struct shares_part *part, unsigned source)
{
	struct landing *landing =
		longest_at_rest(container_of(part, struct landings, part), source);

	if (!landing)
		return false;
	struct track *track = landing->track;
	track->user = NULL;
	landing_free(landing);
	track_reset(track, 0);
	return true;
}

static bool make_room(struct budget *budget, const struct addr *source)
{
	while (!budget_has_room(budget, 2))
		if (!shares_yield(&budget->shares, source, 0, false))
			return false;
	return true;
}

/* --- of the owner ------------------------------------------------------------------------- */

void landings_begin(
	struct landings *landings, struct track *track, struct in_addr peer, struct packet_end to)
{
	const struct addr source = addr_of4(peer, 0);
	struct budget *budget = landings->context->budget;
	struct landing *landing = make_room(budget, &source) ? calloc(1, sizeof(*landing)) : NULL;
	struct dial_target target;

	if (!landing) {
		track_refuse(track, -EMFILE);
		return;
	}
	*landing = (struct landing){.landings = landings,
		.track = track,
		.fds = 1,
		.source = shares_source(&budget->shares, &source),
		.dial.on_done = on_dialled};
	budget_take(budget, landing->fds);
	shares_take(&budget->shares, SHARES_CONNECTIONS, landing->source);
	list_add_first(&landings->all, &landing->link);
	track->user = landing;
	int result = landings->ops->find(landings->owner, peer, to, &landing->port, &target);
	if (result == 1) {
		join_names(landing, peer);
		return;
	}
	if (result == 0)
		result = dial_start(&landing->dial, landings->context, &target);
	else
		landing->port = 0; /* nobody's target failed */
	if (result != -EINPROGRESS)
		on_target(landing, result);
}

void landings_end(struct track *track)
{
	if (track->user)
		landing_free(track->user);
	track->user = NULL;
}

void landings_open(struct landings *landings, const struct conn_context *context,
	const struct landings_ops *ops, void *owner)
{
	landings->context = context;
	landings->ops = ops;
	landings->owner = owner;
	list_init(&landings->all);
	landings->part = (struct shares_part){.kind = SHARES_CONNECTIONS, .yield = yield};
	shares_join(&context->budget->shares, &landings->part);
}

void landings_close(struct landings *landings)
{
	if (landings->context)
		shares_leave(&landings->context->budget->shares, &landings->part);
	landings->context = NULL;
}
