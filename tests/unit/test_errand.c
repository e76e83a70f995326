/* SPDX-License-Identifier: Apache-2.0 */
/* test_errand - what a server connects to for its clients: opened, refused, given up, and carried
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include "util/fd.h"
#include "util/log.h"

#include "tunnel_bed.h"

#include "tunnel/errand.h"
#include "tunnel/passage.h"

struct bed {
	struct tunnel_bed under;
	struct errands errands;
	int listener;
	struct endpoint to;
	int results[4];
	unsigned done;
};

static void on_done(void *owner, int result)
{
	struct bed *bed = owner;

	bed->results[bed->done++ % 4] = result;
}

static void bed_open(struct bed *bed, int type)
{
	struct addr at = addr_of4((struct in_addr){htonl(INADDR_LOOPBACK)}, 0);
	socklen_t len = sizeof(at.v4);

	*bed = (struct bed){.listener = socket(AF_INET, type | SOCK_CLOEXEC, 0)};
	tunnel_bed_open(&bed->under, 1000);
	assert_int_equal(bind(bed->listener, &at.any, addr_len(&at)), 0);
	assert_true(type == SOCK_DGRAM || listen(bed->listener, 5) == 0);
	assert_int_equal(getsockname(bed->listener, &at.any, &len), 0);
	bed->to.addr = at;
	bed->errands = (struct errands){.context = &bed->under.context,
		.passage = &bed->under.passage,
		.on_done = on_done,
		.owner = bed};
	errands_init(&bed->errands);
}

static void bed_close(struct bed *bed)
{
	errands_fini(&bed->errands);
	close(bed->listener);
	tunnel_bed_close(&bed->under);
}

/* Returns the client's end of the lane. */
static int add(struct bed *bed, enum proto proto)
{
	int fds[2];

	tunnel_pair(fds);
	errands_add(&bed->errands, fds[0], &bed->to, proto, 0);
	return fds[1];
}

static void bytes_are_carried_both_ways(void **state)
{
	struct hail_reader reader = {.have = 0};
	struct bed bed;
	char text[8];

	(void)state;
	bed_open(&bed, SOCK_STREAM);
	int fd = add(&bed, PROTO_TCP);
	assert_int_equal(tunnel_hail(&bed.under, &reader, fd).type, HAIL_OPENED);
	assert_true(bed.done == 1 && bed.results[0] == 0);
	assert_int_equal(passage_count(&bed.under.passage), 1);
	int there = accept(bed.listener, NULL, NULL);
	assert_int_equal(send(fd, "hello", 5, 0), 5);
	tunnel_bed_settle(&bed.under);
	assert_int_equal(recv(there, text, sizeof(text), 0), 5);
	/* one direction ends, the other one goes on */
	shutdown(fd, SHUT_WR);
	tunnel_bed_settle(&bed.under);
	assert_int_equal(recv(there, text, sizeof(text), 0), 0);
	assert_int_equal(send(there, "back", 4, 0), 4);
	tunnel_bed_settle(&bed.under);
	assert_int_equal(recv(fd, text, sizeof(text), 0), 4);
	close(there);
	tunnel_bed_settle(&bed.under);
	assert_int_equal(recv(fd, text, sizeof(text), 0), 0);
	assert_int_equal(passage_count(&bed.under.passage), 0);
	close(fd);
	bed_close(&bed);
}

static void a_part_is_reset(void **state)
{
	struct hail_reader reader = {.have = 0};
	struct bed bed;
	char text[8];

	(void)state;
	bed_open(&bed, SOCK_STREAM);
	int fd = add(&bed, PROTO_TCP);
	assert_int_equal(tunnel_hail(&bed.under, &reader, fd).type, HAIL_OPENED);
	int there = accept(bed.listener, NULL, NULL);
	assert_int_equal(send(fd, "part", 4, 0), 4);
	tunnel_bed_settle(&bed.under);
	fd_reset(&fd);
	tunnel_bed_settle(&bed.under);
	assert_int_equal(recv(there, text, sizeof(text), 0), 4);
	assert_int_equal(recv(there, text, sizeof(text), 0), -1);
	assert_int_equal(errno, ECONNRESET);
	close(there);
	bed_close(&bed);
}

static void datagrams_stay_apart(void **state)
{
	struct hail_reader reader = {.have = 0};
	struct addr from;
	socklen_t len = sizeof(from);
	struct bed bed;
	char text[16];

	(void)state;
	bed_open(&bed, SOCK_DGRAM);
	int fd = add(&bed, PROTO_UDP);
	assert_int_equal(tunnel_hail(&bed.under, &reader, fd).type, HAIL_OPENED);
	assert_int_equal(send(fd, "\0\3one\0\4four", 11, 0), 11);
	tunnel_bed_settle(&bed.under);
	assert_int_equal(recv(bed.listener, text, sizeof(text), MSG_DONTWAIT), 3);
	assert_int_equal(
		recvfrom(bed.listener, text, sizeof(text), MSG_DONTWAIT, &from.any, &len), 4);
	assert_int_equal(sendto(bed.listener, "back", 4, 0, &from.any, len), 4);
	tunnel_bed_settle(&bed.under);
	assert_int_equal(recv(fd, text, sizeof(text), MSG_DONTWAIT), 6);
	assert_memory_equal(text, "\0\4back", 6);
	close(fd);
	tunnel_bed_settle(&bed.under);
	assert_int_equal(passage_count(&bed.under.passage), 0);
	bed_close(&bed);
}

static void a_refusal_is_said_with_why(void **state)
{
	struct hail_reader reader = {.have = 0};
	struct bed bed;

	(void)state;
	bed_open(&bed, SOCK_STREAM);
	close(bed.listener);
	bed.listener = -1;
	int fd = add(&bed, PROTO_TCP);
	struct hail hail = tunnel_hail(&bed.under, &reader, fd);
	assert_int_equal(hail.type, HAIL_REFUSED);
	assert_true(hail.len > 0);
	assert_true(bed.done == 1 && bed.results[0] == -ECONNREFUSED);
	tunnel_ends(&bed.under, fd);
	close(fd);
	bed_close(&bed);
}

/* Which is no error for anybody. */
static void who_goes_meanwhile_is_forgotten(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed, SOCK_STREAM);
	for (int i = 0; i < 3; i++) {
		close(add(&bed, PROTO_TCP));
		tunnel_bed_settle(&bed.under);
	}
	add(&bed, PROTO_TCP); /* and who is there at the end */
	bed_close(&bed);
}

/* Over TCP, where the end is that of one direction, and the target does not answer. */
static void for_nobody_is_nothing_connected(void **state)
{
	int lane[2], fill[2];
	struct bed bed;

	(void)state;
	bed_open(&bed, SOCK_STREAM);
	assert_return_code(listen(bed.listener, 0), errno);
	for (int i = 0; i < 2; i++) { /* it takes no more */
		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		connect(fill[i], &bed.to.addr.any, addr_len(&bed.to.addr));
	}
	tunnel_tcp_pair(lane);
	errands_add(&bed.errands, lane[0], &bed.to, PROTO_TCP, 0);
	tunnel_bed_settle(&bed.under);
	assert_false(list_is_empty(&bed.errands.all));
	close(lane[1]);
	tunnel_bed_settle(&bed.under);
	assert_true(list_is_empty(&bed.errands.all));
	assert_int_equal(bed.done, 0);
	close(fill[0]);
	close(fill[1]);
	bed_close(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_are_carried_both_ways),
		cmocka_unit_test(a_part_is_reset),
		cmocka_unit_test(datagrams_stay_apart),
		cmocka_unit_test(a_refusal_is_said_with_why),
		cmocka_unit_test(who_goes_meanwhile_is_forgotten),
		cmocka_unit_test(for_nobody_is_nothing_connected),
	};

	log_set_level(LOG_WARNING);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
