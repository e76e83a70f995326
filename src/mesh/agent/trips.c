/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/trips - where proxies are led: by mesh/agent/ways */
#include "mesh/agent/trips.h"

#include <errno.h>
#include <stdlib.h>

#include "util/list.h"

/* What a trip has of its own while it is under way. */
struct trip {
	struct guide_trip *of;
	union {
		struct ways_dial dial;
		struct ways_query query;
	};
	bool is_dial;
};

static struct trip *begin(struct guide_trip *of)
{
	struct trip *trip = calloc(1, sizeof(*trip));

	if (trip) {
		trip->of = of;
		of->own = trip;
	}
	return trip;
}

static void end(struct trip *trip)
{
	trip->of->own = NULL;
	free(trip);
}

static void on_dialled(struct ways_dial *dial, int result)
{
	struct trip *trip = container_of(dial, struct trip, dial);
	struct guide_trip *of = trip->of;

	end(trip);
	of->on_dialled(of, result);
}

static int dial(struct guide *guide, struct guide_trip *of, const char *host, uint16_t port)
{
	const struct trips *trips = container_of(guide, struct trips, guide);
	struct trip *trip = begin(of);

	if (!trip)
		return -ENOMEM;
	trip->is_dial = true;
	trip->dial.on_done = on_dialled;
	int result = ways_dial_start(&trip->dial, trips->ways, host, port);
	if (result != -EINPROGRESS)
		end(trip);
	return result;
}

/* The target's texts are the query's. */
static void on_answer(struct ways_query *query, int result, const struct dial_target *target)
{
	struct trip *trip = container_of(query, struct trip, query);
	struct guide_trip *of = trip->of;

	of->own = NULL;
	of->on_found(of, result, target);
	free(trip);
}

static int find(struct guide *guide, struct guide_trip *of, const char *host, uint16_t port)
{
	const struct trips *trips = container_of(guide, struct trips, guide);
	struct trip *trip = begin(of);
	struct dial_target target;

	if (!trip)
		return -ENOMEM;
	trip->query.on_answer = on_answer;
	trip->query.proto = PROTO_UDP;
	int result = ways_find(trips->ways, host, port, &trip->query, &target);
	if (result == 0)
		on_answer(&trip->query, 0, &target);
	else if (result != -EINPROGRESS)
		end(trip);
	return result;
}

static void cancel(struct guide *guide, struct guide_trip *of)
{
	struct trip *trip = of->own;

	(void)guide;
	if (!trip)
		return;
	if (trip->is_dial)
		ways_dial_cancel(&trip->dial);
	else
		ways_find_cancel(&trip->query);
	end(trip);
}

void trips_init(struct trips *trips, struct ways *ways)
{
	static const struct guide_ops ops = {.dial = dial, .find = find, .cancel = cancel};

	*trips = (struct trips){.guide = {&ops}, .ways = ways};
}
