/* SPDX-License-Identifier: Apache-2.0 */
/* stream/dialler - streams that begin here, as sockets for who dials (conn/beyond) */
#include "stream/dialler.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "util/fd.h"
#include "util/list.h"

/* One that is not answered yet. */
struct trip {
	struct dialler *dialler;
	struct beyond_call *call;
	struct track *track;
	struct packet_end to;
	bool is_second;
};

static struct dialler *dialler_of(struct beyond *beyond)
{
	return container_of(beyond, struct dialler, beyond);
}

/* The other end of a pair is a connection for who has asked. Returns it or -errno. */
static int join(struct track *track)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	int result = track_join(track, ends[0], ends[1]);
	if (result == 0)
		return ends[1];
	fd_close(&ends[0]);
	fd_close(&ends[1]);
	return result;
}

static int begin(struct trip *trip);

static void on_answer(struct track *track, int result)
{
	struct trip *trip = track->user;
	struct beyond_call *call = trip->call;

	track->on_answer = NULL;
	if (result == -ECONNRESET && !trip->is_second) {
		trip->is_second = true;
		result = begin(trip);
		if (result == 0)
			return;
	} else if (result == 0) {
		result = join(track);
		if (result < 0)
			track_reset(track, 0);
	}
	call->trip = NULL;
	free(trip);
	call->on_done(call, result);
}

/* Returns 0 or -errno. */
static int begin(struct trip *trip)
{
	const struct dialler *dialler = trip->dialler;

	return dialler->ops->begin(dialler->owner, trip->to, on_answer, trip, &trip->track);
}

static int start(
	struct beyond *beyond, struct beyond_call *call, const struct addr *to, enum proto proto)
{
	struct dialler *dialler = dialler_of(beyond);
	struct trip *trip;

	if (proto == PROTO_UDP)
		return dialler->ops->dial_datagrams(dialler->owner, to);
	trip = calloc(1, sizeof(*trip));
	if (!trip)
		return -ENOMEM;
	*trip = (struct trip){.dialler = dialler, .call = call};
	trip->to = (struct packet_end){to->v4.sin_addr, addr_port(to)};
	call->trip = trip;
	int result = begin(trip);
	if (result == 0)
		return -EINPROGRESS;
	call->trip = NULL;
	free(trip);
	return result;
}

static void cancel(struct beyond *beyond, struct beyond_call *call)
{
	struct trip *trip = call->trip;

	(void)beyond;
	if (!trip)
		return;
	call->trip = NULL;
	trip->track->on_answer = NULL;
	track_reset(trip->track, 0);
	free(trip);
}

static bool leads(struct beyond *beyond, const struct addr *at, enum proto proto)
{
	const struct dialler *dialler = dialler_of(beyond);

	return dialler->ops->leads(dialler->owner, at, proto);
}

void dialler_init(struct dialler *dialler, const struct dialler_ops *ops, void *owner)
{
	*dialler = (struct dialler){{leads, start, cancel}, ops, owner};
}
