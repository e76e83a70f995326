/* SPDX-License-Identifier: Apache-2.0 */
/* test_landings - what streams of others lead to, and who gives way where descriptors are short */
#include "mesh/agent/landings.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "stream/ferry.h"
#include "util/budget.h"
#include "util/fd.h"

enum { GREEDY = 1, MODEST, NAMES, NOBODY, FORBIDDEN };

#define CALLS 16

struct call {
	struct beyond_call call;
	bool is_done;
	int result;
};

/* Who asks, and who is asked, each with its own descriptors. */
struct bed {
	struct loop *loop;
	struct budget budgets[2];
	struct conn_context contexts[2];
	struct ferry *ferries[2];
	struct in_addr ips[2];
	struct landings landings;
	struct addr server, nobody;
	int server_fd, nobody_fd, names_fd;
	unsigned failed;
	struct call calls[CALLS];
};

static void on_packets(void *owner)
{
	(void)owner;
}

/* As if each port were asked for by a host of its own. */
static struct in_addr peer_of(uint16_t port)
{
	return (struct in_addr){htonl(0x7f002a00U + port)};
}

static void on_asked(void *owner, struct track *track, struct in_addr peer, struct packet_end to)
{
	(void)peer;
	landings_begin(&((struct bed *)owner)->landings, track, peer_of(to.port), to);
}

static void on_track_over(void *owner, struct track *track)
{
	(void)owner;
	landings_end(track);
}

static void on_returned(void *owner, const struct packet_view *syn)
{
	(void)owner, (void)syn;
}

static bool find_host(void *owner, struct in_addr ip, struct in_addr *host)
{
	(void)owner;
	*host = ip;
	return true;
}

static int find(void *owner, struct in_addr peer, struct packet_end to, uint16_t *port,
	struct dial_target *out)
{
	const struct bed *bed = owner;

	assert_int_equal(peer.s_addr, peer_of(to.port).s_addr);
	*port = to.port;
	*out = (struct dial_target){.addr = to.port == NOBODY ? bed->nobody : bed->server};
	return to.port == NAMES ? 1 : to.port == FORBIDDEN ? -EACCES : 0;
}

static void on_names(void *owner, int fd, struct in_addr peer)
{
	assert_int_equal(peer.s_addr, peer_of(NAMES).s_addr);
	((struct bed *)owner)->names_fd = fd;
}

static void on_failed(void *owner, uint16_t port, int result)
{
	assert_int_equal(port, NOBODY);
	assert_int_equal(result, -ECONNREFUSED);
	((struct bed *)owner)->failed++;
}

static int bound(struct addr *at)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	*at = addr_loopback4(0);
	assert_int_equal(bind(fd, &at->any, addr_len(at)), 0);
	assert_int_equal(addr_get_own(fd, at), 0);
	return fd;
}

static struct bed *bed_new(size_t room)
{
	static const struct ferry_ops ops = {
		on_packets, on_asked, on_track_over, on_returned, find_host, NULL};
	static const struct landings_ops landings_ops = {find, on_names, on_failed};
	struct bed *bed = calloc(1, sizeof(*bed));

	assert_non_null(bed);
	bed->loop = loop_new();
	bed->names_fd = -1;
	for (uint32_t i = 0; i < 2; i++) {
		bed->budgets[i].max = BUDGET_RESERVED + (i == 0 ? 100 : room);
		assert_int_equal(
			context_open(&bed->contexts[i], bed->loop, &bed->budgets[i], -1), 0);
		bed->ips[i].s_addr = htonl(0x7f002a01 + i);
		bed->ferries[i] = ferry_new(&bed->contexts[i], &ops, bed);
		ferry_set_self(bed->ferries[i], bed->ips[i], false);
	}
	landings_open(&bed->landings, &bed->contexts[1], &landings_ops, bed);
	for (int i = 0; i < 2; i++)
		assert_int_equal(ferry_meet(bed->ferries[i], &bed->ips[1 - i], 1), 0);
	bed->server_fd = bound(&bed->server);
	assert_int_equal(listen(bed->server_fd, CALLS), 0);
	/* nobody else listens there either */
	bed->nobody_fd = bound(&bed->nobody);
	return bed;
}

static void bed_free(struct bed *bed)
{
	for (int i = 0; i < CALLS; i++)
		if (bed->calls[i].is_done && bed->calls[i].result >= 0)
			close(bed->calls[i].result);
	for (int i = 0; i < 2; i++)
		ferry_free(bed->ferries[i]);
	for (int i = 0; i < 2; i++)
		assert_int_equal(bed->budgets[i].used, 0);
	assert_true(list_is_empty(&bed->landings.all));
	landings_close(&bed->landings);
	for (int i = 0; i < 2; i++)
		context_close(&bed->contexts[i]);
	fd_close(&bed->names_fd);
	close(bed->server_fd);
	close(bed->nobody_fd);
	loop_free(bed->loop);
	free(bed);
}

static void run(struct bed *bed)
{
	static unsigned char packet[65535];
	struct packet_view view;
	size_t len;

	for (int i = 0; i < 2; i++)
		while ((len = ferry_take(bed->ferries[i], packet, sizeof(packet), false)) > 0)
			if (packet_parse(packet, len, &view))
				ferry_in(bed->ferries[1 - i], &view);
	loop_run_once(bed->loop, 1);
}

static void on_done(struct beyond_call *call, int result)
{
	struct call *at = container_of(call, struct call, call);

	at->is_done = true;
	at->result = result;
}

/* Ask for a port, and wait for what comes of it. */
static int ask(struct bed *bed, int number, uint16_t port)
{
	struct beyond *beyond = ferry_beyond(bed->ferries[0]);
	const struct addr to = addr_of4(bed->ips[1], port);
	struct call *call = &bed->calls[number];

	*call = (struct call){.call.on_done = on_done};
	assert_int_equal(beyond->start(beyond, &call->call, &to, PROTO_TCP), -EINPROGRESS);
	for (int i = 0; i < 5000 && !call->is_done; i++)
		run(bed);
	assert_true(call->is_done);
	return call->result;
}

/* Is the connection still one? */
static bool is_open(struct bed *bed, int number)
{
	char byte;

	for (int i = 0; i < 20; i++)
		run(bed);
	return recv(bed->calls[number].result, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
	       errno == EAGAIN;
}

static void test_where_they_lead(void **state)
{
	struct bed *bed = bed_new(50);
	char byte;

	(void)state;
	int fd = ask(bed, 0, GREEDY);
	assert_true(fd >= 0);
	assert_int_equal(bed->budgets[1].used, 1);
	assert_int_equal(bed->budgets[0].used, 1); /* the other end of what was dialled */
	int there = accept(bed->server_fd, NULL, NULL);
	assert_true(there >= 0);
	assert_int_equal(send(fd, "x", 1, 0), 1);
	for (int i = 0; i < 100; i++)
		run(bed);
	assert_int_equal(recv(there, &byte, 1, MSG_DONTWAIT), 1);
	close(there);
	assert_true(ask(bed, 1, NAMES) >= 0);
	assert_true(bed->names_fd >= 0);
	assert_int_equal(ask(bed, 2, NOBODY), -ECONNREFUSED);
	assert_int_equal(bed->failed, 1);
	/* what may not be asked for is nobody's failure */
	assert_int_equal(ask(bed, 3, FORBIDDEN), -EACCES);
	assert_int_equal(bed->failed, 1);
	bed_free(bed);
}

static void test_who_gives_way(void **state)
{
	struct bed *bed = bed_new(6);

	(void)state;
	for (int i = 0; i < 5; i++)
		assert_true(ask(bed, i, GREEDY) >= 0);
	/* one that has them all gets no more, and loses none to itself */
	assert_int_equal(ask(bed, 5, GREEDY), -EMFILE);
	for (int i = 0; i < 5; i++)
		assert_true(is_open(bed, i));
	/* another one takes the place of the one that has been at rest longest: not of the oldest,
	 * and not of who has just come and waits */
	for (int i = 0; i < 3; i++) {
		assert_int_equal(send(bed->calls[i].result, "x", 1, 0), 1);
		assert_true(is_open(bed, i));
	}
	assert_true(ask(bed, 6, MODEST) >= 0);
	assert_false(is_open(bed, 3));
	assert_true(is_open(bed, 0) && is_open(bed, 2) && is_open(bed, 4));
	assert_true(ask(bed, 7, MODEST) >= 0);
	assert_false(is_open(bed, 4));
	assert_true(is_open(bed, 0));
	/* until both have as many */
	assert_int_equal(ask(bed, 8, MODEST), -EMFILE);
	/* so they do for whatever else counts */
	const struct addr other = addr_of4(peer_of(9), 0);
	assert_true(shares_yield(&bed->budgets[1].shares, &other, 0, false));
	assert_false(shares_yield(&bed->budgets[1].shares, &other, 3, false));
	bed_free(bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_where_they_lead),
		cmocka_unit_test(test_who_gives_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
