/* SPDX-License-Identifier: Apache-2.0 */
/* proxy_bed - a front of a proxy, its guide, which the test answers for, and clients */
#ifndef NSWRAP_TEST_PROXY_BED_H
#define NSWRAP_TEST_PROXY_BED_H

/* behind cmocka.h */
#include <stdio.h>

#include "mesh_bed.h"
#include "proxy/front.h"

#define PROXY_PORT  4310
#define TARGET_PORT 4311

/* Names lead where conn/dial leads them (mesh_bed.h), but for those that begin with "error". */
struct proxy_bed {
	struct mesh_bed bed;
	struct guide guide;
	struct front *front;
	int listener; /* of the proxy */
	int target;   /* a listener at 127.0.0.1:TARGET_PORT */
	int error;    /* what a host called "error" gives, a -errno */
	bool is_slow; /* answers come from the loop, also if they are there at once */
	unsigned cancelled;
	char host[300]; /* the last one that was asked for */
	uint16_t port;
};

struct bed_trip {
	struct proxy_bed *bed;
	struct guide_trip *trip;
	struct dial dial;
	struct loop_task task;
	int result;
};

static struct guide_trip *bed_trip_end(struct bed_trip *own)
{
	struct guide_trip *trip = own->trip;

	trip->own = NULL;
	loop_task_cancel(own->bed->bed.context.loop, &own->task);
	free(own);
	return trip;
}

static void bed_trip_done(struct bed_trip *own, int result)
{
	struct guide_trip *trip = bed_trip_end(own);

	trip->on_dialled(trip, result);
}

static void bed_on_dialled(struct dial *dial, int result)
{
	bed_trip_done(container_of(dial, struct bed_trip, dial), result);
}

static void bed_on_task(struct loop_task *task)
{
	struct bed_trip *own = container_of(task, struct bed_trip, task);

	bed_trip_done(own, own->result);
}

static int bed_guide_dial(
	struct guide *guide, struct guide_trip *trip, const char *host, uint16_t port)
{
	struct proxy_bed *bed = container_of(guide, struct proxy_bed, guide);
	const struct dial_target target = {.host = host, .port = port};
	struct bed_trip *own = calloc(1, sizeof(*own));

	assert_null(trip->own);
	snprintf(bed->host, sizeof(bed->host), "%s", host);
	bed->port = port;
	own->bed = bed;
	own->trip = trip;
	own->dial.on_done = bed_on_dialled;
	own->task.on_run = bed_on_task;
	trip->own = own;
	own->result = strcmp(host, "error") == 0
			      ? bed->error
			      : dial_start(&own->dial, &bed->bed.context, &target);
	if (own->result == -EINPROGRESS)
		return own->result;
	if (bed->is_slow) {
		loop_task_add(bed->bed.context.loop, &own->task);
		return -EINPROGRESS;
	}
	int result = own->result;
	bed_trip_end(own);
	return result;
}

static int bed_guide_find(
	struct guide *guide, struct guide_trip *trip, const char *host, uint16_t port)
{
	struct proxy_bed *bed = container_of(guide, struct proxy_bed, guide);
	const struct dial_target target = {.host = host, .port = port};

	if (strcmp(host, "error") == 0)
		return bed->error;
	trip->on_found(trip, 0, &target);
	return 0;
}

static void bed_guide_cancel(struct guide *guide, struct guide_trip *trip)
{
	struct proxy_bed *bed = container_of(guide, struct proxy_bed, guide);

	if (!trip->own)
		return;
	bed->cancelled++;
	dial_cancel(&((struct bed_trip *)trip->own)->dial);
	bed_trip_end(trip->own);
}

static const struct guide_ops bed_guide_ops = {
	.dial = bed_guide_dial, .find = bed_guide_find, .cancel = bed_guide_cancel};

static inline struct proxy_bed *proxy_open(const struct front_protocol *protocol)
{
	struct proxy_bed *bed = calloc(1, sizeof(*bed));

	bed_open(&bed->bed);
	bed->guide.ops = &bed_guide_ops;
	bed->front = front_new(&bed->bed.context, protocol, &bed->guide);
	assert_non_null(bed->front);
	bed->listener = tcp_listen("127.0.0.1", PROXY_PORT, 64);
	fd_keep_in_line(bed->listener); /* as acceptor_open has it */
	bed->target = tcp_listen("127.0.0.1", TARGET_PORT, 64);
	return bed;
}

static inline void proxy_close(struct proxy_bed *bed)
{
	close(bed->listener);
	close(bed->target);
	front_free(bed->front);
	bed_close(&bed->bed);
	free(bed);
}

/* A fresh client of the front; returns its own end, nonblocking. */
static inline int proxy_client(struct proxy_bed *bed)
{
	int client = tcp_connect(NULL, 0, "127.0.0.1", PROXY_PORT);
	int fd = wait_accept(&bed->bed, bed->listener);
	struct addr peer;

	assert_int_equal(addr_get_peer(fd, &peer), 0);
	front_add(bed->front, fd, &peer);
	return client;
}

/* "HOST:TARGET_PORT" has a client. */
static inline int proxy_accept(struct proxy_bed *bed)
{
	return wait_accept(&bed->bed, bed->target);
}

static inline void say(int fd, const void *bytes, size_t len)
{
	assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), len);
}

#define SAY(fd, text) say(fd, text, sizeof(text) - 1)

#endif
