/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel_bed - what the tests of a tunnel's modules stand on: a loop, a context, pairs of sockets
 */
#pragma once

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn/context.h"
#include "tunnel/hail.h"
#include "tunnel/order.h"
#include "tunnel/passage.h"
#include "util/clock.h"

#define TUNNEL_WAIT_MS 10000

struct tunnel_bed {
	struct loop *loop;
	struct budget budget;
	struct conn_context context;
	struct passage passage;
};

static inline void tunnel_bed_open(struct tunnel_bed *bed, size_t max)
{
	*bed = (struct tunnel_bed){.loop = loop_new(), .budget = {.max = max}};
	assert_non_null(bed->loop);
	assert_int_equal(context_open(&bed->context, bed->loop, &bed->budget, -1), 0);
	passage_init(&bed->passage, &bed->context);
}

/* All that was counted was given back. */
static inline void tunnel_bed_close(struct tunnel_bed *bed)
{
	passage_fini(&bed->passage);
	context_close(&bed->context);
	assert_int_equal(bed->budget.used, 0);
	assert_int_equal(shares_total(&bed->budget.shares), 0);
	loop_free(bed->loop);
}

/* Run the loop until @done is true of @owner. */
static inline void tunnel_bed_until(struct tunnel_bed *bed, bool (*done)(void *owner), void *owner)
{
	uint64_t end_ns = clock_now_ns() + TUNNEL_WAIT_MS * NS_PER_MS;

	while (!done(owner)) {
		assert_true(clock_now_ns() < end_ns);
		assert_int_equal(loop_run_once(bed->loop, 20), 0);
	}
}

/* What is there is done with. */
static inline void tunnel_bed_settle(struct tunnel_bed *bed)
{
	for (int i = 0; i < 50; i++)
		assert_int_equal(loop_run_once(bed->loop, 0), 0);
}

/* fds[0] is nonblocking. */
static inline void tunnel_pair(int fds[2])
{
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), errno);
	assert_int_equal(fd_set_nonblock(fds[0], 1), 0);
}

/* The same of TCP, where an end that is closed is the end of one direction. */
static inline void tunnel_tcp_pair(int fds[2])
{
	struct addr at = addr_loopback4(0);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_return_code(bind(listener, &at.any, addr_len(&at)), errno);
	assert_return_code(listen(listener, 1), errno);
	assert_int_equal(addr_get_own(listener, &at), 0);
	fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_return_code(connect(fds[1], &at.any, addr_len(&at)), errno);
	fds[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_int_equal(fd_set_nonblock(fds[0], 1), 0);
	close(listener);
}

static inline struct order tunnel_order(const char *text)
{
	struct order order;
	struct err err;

	assert_int_equal(order_parse(text, false, &order, &err), 0);
	return order;
}

static inline int tunnel_connect(const struct addr *to)
{
	int fd = socket(to->family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_return_code(connect(fd, &to->any, addr_len(to)), errno);
	return fd;
}

/* The next message that @fd has, waited for by the loop. Returns its type. */
struct tunnel_awaited {
	struct hail_reader *reader;
	int fd;
	struct hail hail;
	int result;
};

static inline bool tunnel_has_hail(void *owner)
{
	struct tunnel_awaited *awaited = owner;

	awaited->result = hail_read(awaited->reader, awaited->fd, &awaited->hail);
	return awaited->result != 0;
}

static inline struct hail tunnel_hail(struct tunnel_bed *bed, struct hail_reader *reader, int fd)
{
	struct tunnel_awaited awaited = {.reader = reader, .fd = fd};

	tunnel_bed_until(bed, tunnel_has_hail, &awaited);
	assert_int_equal(awaited.result, 1);
	return awaited.hail;
}

/* Whether the other end of @fd has closed it, waited for by the loop; what comes before is lost. */
static inline bool tunnel_has_ended(void *owner)
{
	char bytes[4096];
	ssize_t got;

	do
		got = recv(*(int *)owner, bytes, sizeof(bytes), MSG_DONTWAIT);
	while (got > 0);
	return got == 0 || errno != EAGAIN;
}

static inline void tunnel_ends(struct tunnel_bed *bed, int fd)
{
	tunnel_bed_until(bed, tunnel_has_ended, &fd);
}
