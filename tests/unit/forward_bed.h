/* SPDX-License-Identifier: Apache-2.0 */
/* forward_bed - a forward between real sockets of one namespace, with a clock that can jump */
#ifndef NSWRAP_TEST_FORWARD_BED_H
#define NSWRAP_TEST_FORWARD_BED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "clock_ahead.h"
#include "conn/bind.h"
#include "conn/door.h"
#include "conn/inside.h"
#include "conn/relay.h"
#include "count_fds.h"
#include "forward/driver.h"
#include "net/diag.h"
#include "net/plan.h"
#include "util/clock.h"
#include "util/list.h"

#define HOST_PORT  5300
#define GUEST_PORT 53

struct bed {
	struct loop *loop;
	struct budget budget;
	int door[2];
	struct loop_io door_io;
	bool is_door_shut; /* init does not answer */
	struct door_mints mints;
	struct net_plan plan;
	struct forward_context context;
	struct forward forward;
	struct bound listener;
	uid_t users[1];
	int told;         /* calls of on_listening... */
	uint32_t told_id; /* ...and what the last one said */
	int fds_before;
};

static inline void jump(uint64_t ms)
{
	clock_ahead_ns += ms * NS_PER_MS;
}

static void on_door(struct loop_io *io, uint32_t events)
{
	struct bed *bed = container_of(io, struct bed, door_io);

	(void)events;
	assert_false(bed->is_door_shut);
	door_serve(io->fd, &bed->mints);
}

static inline void shut_door(struct bed *bed, bool is_shut)
{
	bed->is_door_shut = is_shut;
	loop_io_mod(bed->loop, &bed->door_io, is_shut ? 0 : EPOLLIN);
}

static void on_listening(void *owner, uint32_t id)
{
	struct bed *bed = owner;

	bed->told++;
	bed->told_id = id;
}

static inline struct bed *bed_new(uint64_t wait_ms)
{
	struct bed *bed = calloc(1, sizeof(*bed));

	bed->fds_before = count_fds();
	bed->loop = loop_new();
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, bed->door),
		0);
	bed->door_io = (struct loop_io){bed->door[1], on_door};
	assert_int_equal(loop_io_add(bed->loop, &bed->door_io, EPOLLIN), 0);
	bed->budget.max = 1000;
	bed->mints = (struct door_mints){-1, -1};
	bed->context = (struct forward_context){
		.loop = bed->loop,
		.plan = &bed->plan,
		.relays = relay_pool_new(bed->loop, &bed->budget),
		.inside = inside_new(bed->loop, bed->door[0]),
		.guest_diag = diag_open(),
		.host_diag = diag_open(),
		.wait_ms = wait_ms,
		.users = bed->users,
		.nusers = 1,
		.budget = &bed->budget,
		.on_listening = on_listening,
		.owner = bed,
	};
	return bed;
}

static inline void bed_free(struct bed *bed)
{
	relay_pool_free(bed->context.relays);
	inside_free(bed->context.inside);
	loop_io_del(bed->loop, &bed->door_io);
	close(bed->door[0]);
	close(bed->door[1]);
	assert_int_equal(bed->budget.used, 0);
	close(bed->context.guest_diag);
	close(bed->context.host_diag);
	loop_free(bed->loop);
	assert_int_equal(count_fds(), bed->fds_before);
	free(bed);
}

/* With a forward by @driver from @host, an address or a path, at HOST_PORT to GUEST_PORT. */
static inline struct bed *bed_open(const struct forward_driver *driver, enum proto proto,
	const char *host, uint64_t wait_ms, bool has_listened)
{
	struct bed *bed = bed_new(wait_ms);
	struct forward *forward = &bed->forward;
	struct addr *addr = &forward->spec.host;
	struct err err;

	if (host[0] == '/') {
		addr->family = AF_UNIX;
		snprintf(addr->local.sun_path, ADDR_PATH_MAX, "%s", host);
	} else {
		assert_int_equal(addr_parse(host, addr, NULL), 0);
		addr_set_port(addr, HOST_PORT);
	}
	forward->spec.guest_port = GUEST_PORT;
	forward->spec.proto = proto;
	assert_int_equal(bind_open(addr, proto, &bed->listener, &err), 0);
	forward->driver = driver;
	forward->context = &bed->context;
	forward->listen_fd = bed->listener.fd;
	forward->has_listened = has_listened;
	assert_int_equal(driver_open(forward, &err), 0);
	return bed;
}

static inline void bed_close(struct bed *bed)
{
	driver_close(&bed->forward);
	bind_close(&bed->listener);
	bed_free(bed);
}

#endif
