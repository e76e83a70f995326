/* SPDX-License-Identifier: Apache-2.0 */
/* test_ferry - streams between hosts: who has a stack, who has gone, who has started again */
#include "stream/ferry.h"

#include <errno.h>
#include <netinet/ip_icmp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock_ahead.h"
#include "util/budget.h"
#include "util/fd.h"

struct host_bed {
	struct bed *bed;
	struct in_addr ip;
	struct ferry *ferry;
	int accepted, refuse;
	struct packet_end asked;
	struct in_addr asker;
	unsigned returned, over;
};

struct bed {
	struct loop *loop;
	struct budget budget;
	struct conn_context context;
	struct host_bed hosts[2];
	struct in_addr ips[2];
	unsigned packets;
	bool is_cut;

	struct beyond_call call;
	int result;
	bool is_done;
};

static void on_packets(void *owner)
{
	(void)owner;
}

static void on_asked(void *owner, struct track *track, struct in_addr peer, struct packet_end to)
{
	struct host_bed *host = owner;
	int ends[2];

	host->asked = to;
	host->asker = peer;
	if (host->refuse < 0) {
		track_refuse(track, host->refuse);
		return;
	}
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	host->accepted = ends[1];
	assert_int_equal(track_accept(track), 0);
	assert_int_equal(track_join(track, ends[0], ends[1]), 0);
}

static void on_track_over(void *owner, struct track *track)
{
	(void)track;
	((struct host_bed *)owner)->over++;
}

static void on_returned(void *owner, const struct packet_view *syn)
{
	struct host_bed *host = owner;

	assert_int_equal(syn->dst.port, 80);
	assert_true(ferry_is_streamed(host->ferry, syn->dst.ip));
	host->returned++;
}

static bool find_host(void *owner, struct in_addr ip, struct in_addr *host)
{
	(void)owner;
	*host = ip;
	return true;
}

static const struct ferry_ops ops = {
	on_packets, on_asked, on_track_over, on_returned, find_host, NULL};

static void open_host(struct bed *bed, int number, bool has_stack)
{
	struct host_bed *host = &bed->hosts[number];

	host->bed = bed;
	host->ip = bed->ips[number];
	host->ferry = ferry_new(&bed->context, &ops, host);
	assert_non_null(host->ferry);
	ferry_set_self(host->ferry, host->ip, has_stack);
	assert_int_equal(ferry_meet(host->ferry, &bed->ips[1 - number], 1), 0);
}

static struct bed *bed_new(bool first_has_stack, bool second_has_stack)
{
	struct bed *bed = calloc(1, sizeof(*bed));

	assert_non_null(bed);
	bed->loop = loop_new();
	bed->budget.max = 1000;
	assert_int_equal(context_open(&bed->context, bed->loop, &bed->budget, -1), 0);
	for (uint32_t i = 0; i < 2; i++)
		bed->ips[i].s_addr = htonl(0x7f002a01 + i);
	open_host(bed, 0, first_has_stack);
	open_host(bed, 1, second_has_stack);
	return bed;
}

static void bed_free(struct bed *bed)
{
	for (int i = 0; i < 2; i++)
		ferry_free(bed->hosts[i].ferry);
	context_close(&bed->context);
	loop_free(bed->loop);
	free(bed);
}

static void exchange(struct bed *bed)
{
	static unsigned char packet[65535];
	struct packet_view view;
	size_t len;

	for (int i = 0; i < 2; i++)
		while ((len = ferry_take(bed->hosts[i].ferry, packet, sizeof(packet), false)) > 0) {
			assert_true(packet_parse(packet, len, &view));
			assert_int_equal(view.proto, FERRY_PROTO);
			assert_int_equal(view.src.ip.s_addr, bed->ips[i].s_addr);
			assert_int_equal(view.dst.ip.s_addr, bed->ips[1 - i].s_addr);
			bed->packets++;
			if (!bed->is_cut && bed->hosts[1 - i].ferry)
				ferry_in(bed->hosts[1 - i].ferry, &view);
		}
}

static void run(struct bed *bed)
{
	exchange(bed);
	loop_run_once(bed->loop, 1);
}

#define until(bed, condition)                        \
	do {                                         \
		int tries = 0;                       \
		while (!(condition)) {               \
			assert_true(tries++ < 5000); \
			run(bed);                    \
		}                                    \
	} while (0)

static void on_done(struct beyond_call *call, int result)
{
	struct bed *bed = (struct bed *)((char *)call - offsetof(struct bed, call));

	bed->result = result;
	bed->is_done = true;
}

/* Returns what comes of it. */
static int dial(struct bed *bed, int from)
{
	struct beyond *beyond = ferry_beyond(bed->hosts[from].ferry);
	const struct addr to = addr_of4(bed->ips[1 - from], 80);

	bed->is_done = false;
	bed->call.on_done = on_done;
	assert_true(beyond->leads(beyond, &to, PROTO_TCP));
	int result = beyond->start(beyond, &bed->call, &to, PROTO_TCP);
	if (result != -EINPROGRESS)
		return result;
	until(bed, bed->is_done);
	return bed->result;
}

static void check_bytes(struct bed *bed, int a, int b)
{
	char got[16];
	ssize_t len = -1;

	assert_int_equal(send(a, "there", 5, 0), 5);
	until(bed, (len = recv(b, got, sizeof(got), 0)) > 0);
	assert_int_equal(len, 5);
	assert_memory_equal(got, "there", 5);
}

static void test_both_ways(void **state)
{
	struct bed *bed = bed_new(false, false);

	(void)state;
	for (int from = 0; from < 2; from++) {
		struct host_bed *to = &bed->hosts[1 - from];
		int fd = dial(bed, from);

		assert_true(fd >= 0);
		assert_int_equal(to->asked.port, 80);
		assert_int_equal(to->asked.ip.s_addr, bed->ips[1 - from].s_addr);
		assert_int_equal(to->asker.s_addr, bed->ips[from].s_addr);
		check_bytes(bed, fd, to->accepted);
		check_bytes(bed, to->accepted, fd);
		shutdown(fd, SHUT_WR);
		check_bytes(bed, to->accepted, fd);
		close(to->accepted);
		close(fd);
		until(bed, to->over == 1);
	}
	bed->hosts[1].refuse = -ECONNREFUSED;
	assert_int_equal(dial(bed, 0), -ECONNREFUSED);
	bed_free(bed);
}

/* Hosts with a stack say nothing of themselves, and have no need of streams with each other. */
static void test_stacks(void **state)
{
	struct bed *bed = bed_new(true, true);
	struct beyond *beyond = ferry_beyond(bed->hosts[0].ferry);
	const struct addr to = addr_of4(bed->ips[1], 80);

	(void)state;
	run(bed);
	assert_int_equal(bed->packets, 0);
	assert_false(beyond->leads(beyond, &to, PROTO_TCP));
	bed_free(bed);
}

static void test_says_so(void **state)
{
	struct bed *bed = bed_new(true, false);

	(void)state;
	run(bed);
	assert_true(ferry_is_streamed(bed->hosts[0].ferry, bed->ips[1]));
	assert_false(ferry_is_streamed(bed->hosts[1].ferry, bed->ips[0]));
	/* once */
	exchange(bed);
	const unsigned packets = bed->packets;
	assert_int_equal(ferry_meet(bed->hosts[1].ferry, &bed->ips[0], 1), 0);
	exchange(bed);
	assert_int_equal(bed->packets, packets);
	int fd = dial(bed, 0);
	assert_true(fd >= 0);
	check_bytes(bed, fd, bed->hosts[1].accepted);
	close(fd);
	close(bed->hosts[1].accepted);
	/* until it has gone */
	ferry_forget(bed->hosts[0].ferry, &bed->ips[1], 1);
	assert_false(ferry_is_streamed(bed->hosts[0].ferry, bed->ips[1]));
	bed_free(bed);
}

/* A SYN comes back to who has sent it before it knew. */
static void test_returned(void **state)
{
	struct bed *bed = bed_new(true, false);
	unsigned char syn[PACKET_RST_BYTES];
	struct packet_view view;

	(void)state;
	bed->is_cut = true;
	run(bed);
	bed->is_cut = false;
	assert_false(ferry_is_streamed(bed->hosts[0].ferry, bed->ips[1]));
	packet_make_syn(
		(struct packet_end){bed->ips[0], 4000}, (struct packet_end){bed->ips[1], 80}, syn);
	assert_true(packet_parse(syn, sizeof(syn), &view));
	ferry_return(bed->hosts[1].ferry, &view);
	run(bed);
	assert_int_equal(bed->hosts[0].returned, 1);
	/* not one that we have not sent */
	packet_make_syn(
		(struct packet_end){bed->ips[1], 4000}, (struct packet_end){bed->ips[1], 80}, syn);
	assert_true(packet_parse(syn, sizeof(syn), &view));
	view.src.ip = bed->ips[0];
	ferry_return(bed->hosts[1].ferry, &view);
	run(bed);
	assert_int_equal(bed->hosts[0].returned, 1);
	bed_free(bed);
}

/* Whoever sends one SYN after the other and answers to nothing knows of no streams: a manager that
 * does not know of them either says nothing. */
static void test_silent(void **state)
{
	struct bed *bed = bed_new(true, false);
	unsigned char syn[PACKET_RST_BYTES];
	struct packet_view view;

	(void)state;
	clock_stop();
	bed->is_cut = true;
	run(bed);
	packet_make_syn(
		(struct packet_end){bed->ips[0], 4000}, (struct packet_end){bed->ips[1], 80}, syn);
	assert_true(packet_parse(syn, sizeof(syn), &view));
	assert_true(ferry_return(bed->hosts[1].ferry, &view));
	run(bed);
	clock_ahead_ns += (FERRY_ANSWER_S - 1) * NS_PER_S;
	run(bed);
	assert_true(ferry_return(bed->hosts[1].ferry, &view));
	run(bed);
	clock_ahead_ns += 2 * NS_PER_S;
	run(bed);
	assert_false(ferry_return(bed->hosts[1].ferry, &view));
	assert_true(ferry_is_foreign(bed->hosts[1].ferry, bed->ips[0]));
	/* until it is another one */
	ferry_forget(bed->hosts[1].ferry, &bed->ips[0], 1);
	assert_true(ferry_return(bed->hosts[1].ferry, &view));
	/* and it may have known all the same, as what it says now tells */
	clock_ahead_ns += (FERRY_ANSWER_S + 1) * NS_PER_S;
	loop_run_once(bed->loop, 1);
	assert_false(ferry_return(bed->hosts[1].ferry, &view));
	bed->is_cut = false;
	ferry_forget(bed->hosts[1].ferry, &bed->ips[0], 1);
	assert_true(ferry_return(bed->hosts[1].ferry, &view));
	run(bed);
	run(bed);
	clock_ahead_ns += (FERRY_ANSWER_S + 1) * NS_PER_S;
	run(bed);
	assert_true(ferry_return(bed->hosts[1].ferry, &view));
	bed_free(bed);
	clock_go_on();
}

/* The other end has started again and knows of nothing: what was open is reset, what begins does.
 */
static void test_started_again(void **state)
{
	struct bed *bed = bed_new(false, false);
	char byte;

	(void)state;
	int old = dial(bed, 0);
	assert_true(old >= 0);
	ferry_free(bed->hosts[1].ferry);
	close(bed->hosts[1].accepted);
	open_host(bed, 1, false);
	int fd = dial(bed, 0);
	assert_true(fd >= 0);
	check_bytes(bed, fd, bed->hosts[1].accepted);
	assert_int_equal(recv(old, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	close(old);
	close(fd);
	close(bed->hosts[1].accepted);
	bed_free(bed);
}

static void test_errors(void **state)
{
	struct bed *bed = bed_new(false, true);
	struct beyond *beyond = ferry_beyond(bed->hosts[0].ferry);
	const struct addr to = addr_of4(bed->ips[1], 80);

	(void)state;
	bed->is_cut = true;
	bed->call.on_done = on_done;
	assert_int_equal(beyond->start(beyond, &bed->call, &to, PROTO_TCP), -EINPROGRESS);
	ferry_on_error(bed->hosts[0].ferry, bed->ips[1], ICMP_HOST_UNREACH);
	until(bed, bed->is_done);
	assert_int_equal(bed->result, -EHOSTUNREACH);
	assert_false(ferry_is_foreign(bed->hosts[0].ferry, bed->ips[1]));
	bed->is_done = false;
	assert_int_equal(beyond->start(beyond, &bed->call, &to, PROTO_TCP), -EINPROGRESS);
	ferry_on_error(bed->hosts[0].ferry, bed->ips[1], ICMP_PROT_UNREACH);
	until(bed, bed->is_done);
	assert_int_equal(bed->result, -EPROTONOSUPPORT);
	assert_true(ferry_is_foreign(bed->hosts[0].ferry, bed->ips[1]));
	/* from now on at once */
	assert_int_equal(dial(bed, 0), -EPROTONOSUPPORT);
	/* who waits is told when it goes */
	ferry_forget(bed->hosts[0].ferry, &bed->ips[1], 1);
	bed->is_done = false;
	assert_int_equal(beyond->start(beyond, &bed->call, &to, PROTO_TCP), -EINPROGRESS);
	ferry_forget(bed->hosts[0].ferry, &bed->ips[1], 1);
	assert_true(bed->is_done);
	assert_int_equal(bed->result, -EHOSTUNREACH);
	/* and one that is cancelled is not */
	bed->is_done = false;
	assert_int_equal(beyond->start(beyond, &bed->call, &to, PROTO_TCP), -EINPROGRESS);
	beyond->cancel(beyond, &bed->call);
	run(bed);
	assert_false(bed->is_done);
	bed_free(bed);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_both_ways),
	cmocka_unit_test(test_stacks),
	cmocka_unit_test(test_says_so),
	cmocka_unit_test(test_returned),
	cmocka_unit_test(test_silent),
	cmocka_unit_test(test_started_again),
	cmocka_unit_test(test_errors),
};

int main(void)
{
	return cmocka_run_group_tests(tests, NULL, NULL);
}
