/* SPDX-License-Identifier: Apache-2.0 */
/* test_early - what is kept, for how long, and how much of whom */
#include "packets.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mesh/manager/early.h"
#include "util/clock.h"

#define ME    "127.0.42.1"
#define PEER  "127.0.42.2"
#define START (100 * NS_PER_S)

struct source {
	size_t count;
};

static int keep(struct early *early, struct pkt pkt, struct source *from, uint64_t now_ns)
{
	struct packet_view view;

	assert_true(packet_parse(pkt.bytes, pkt.len, &view));
	return early_keep(early, &view, from, early, &from->count, now_ns);
}

static struct pkt tcp(unsigned src_port, uint8_t flags)
{
	return pkt_tcp_with((struct pkt_head){ME, PEER, NULL, 0}, src_port, 80, flags);
}

static void drop_all(struct early *early)
{
	for (size_t i = 0; i < EARLY_MAX; i++)
		early_drop(early, &early->packets[i]);
	assert_int_equal(early->count, 0);
	assert_int_equal(early_end_ns(early), 0);
}

static void what_begins_something(void **state)
{
	static struct early early;
	static const char large[EARLY_LEN_MAX];
	struct pkt_head head = {ME, PEER, NULL, 0};
	struct source source = {0};

	(void)state;
	assert_int_equal(early_end_ns(&early), 0);
	assert_int_equal(keep(&early, tcp(1, PACKET_ACK), &source, START), -ENOTSUP);
	assert_int_equal(keep(&early, tcp(1, PACKET_SYN | PACKET_ACK), &source, START), -ENOTSUP);
	assert_int_equal(keep(&early, tcp(1, PACKET_RST), &source, START), -ENOTSUP);
	assert_int_equal(keep(&early, pkt_ip(head, 132, large, EARLY_LEN_MAX - 19), &source, START),
		-ENOTSUP);
	assert_int_equal(source.count, 0);
	assert_int_equal(keep(&early, tcp(1, PACKET_SYN), &source, START), 0);
	assert_int_equal(keep(&early, pkt_udp(ME, 1, PEER, 53), &source, START), 0);
	assert_int_equal(
		keep(&early, pkt_ip(head, 132, large, EARLY_LEN_MAX - 20), &source, START), 0);
	assert_int_equal(source.count, 3);
	assert_int_equal(early.count, 3);
	drop_all(&early);
	assert_int_equal(source.count, 0);
}

/* It is one attempt, and its time goes on. Of datagrams each is its own. */
static void the_same_again(void **state)
{
	static struct early early;
	struct source source = {0};
	struct pkt again = tcp(1, PACKET_SYN);
	size_t found = 0;

	(void)state;
	assert_int_equal(keep(&early, tcp(1, PACKET_SYN), &source, START), 0);
	again.bytes[24] = 99; /* its number */
	assert_int_equal(keep(&early, again, &source, START + NS_PER_S), 0);
	assert_int_equal(early.count, 1);
	assert_int_equal(source.count, 1);
	assert_int_equal(early_end_ns(&early), START + EARLY_MS * NS_PER_MS);
	for (size_t i = 0; i < EARLY_MAX; i++)
		if (early.packets[i].to) {
			found++;
			assert_memory_equal(
				early.packets[i].bytes + EARLY_FRAME_ROOM, again.bytes, again.len);
		}
	assert_int_equal(found, 1);
	for (int i = 0; i < 3; i++)
		assert_int_equal(keep(&early, pkt_udp(ME, 1, PEER, 53), &source, START), 0);
	assert_int_equal(early.count, 4);
	drop_all(&early);
}

/* Who floods leaves half of the places; who floods after it leaves half of those. */
static void shares(void **state)
{
	static struct early early;
	struct source flooder = {0}, second = {0}, modest = {0};
	size_t kept = 0;

	(void)state;
	for (unsigned port = 1; port <= 20000; port++)
		keep(&early, tcp(port, PACKET_SYN), &flooder, START);
	assert_in_range(flooder.count, EARLY_MAX / 4, EARLY_MAX / 2);
	for (unsigned port = 1; port <= 20000; port++)
		keep(&early, tcp(port + 20000, PACKET_SYN), &second, START);
	assert_in_range(second.count, EARLY_MAX / 8, EARLY_MAX / 2);
	for (unsigned port = 40001; port <= 40020; port++)
		kept += keep(&early, tcp(port, PACKET_SYN), &modest, START) == 0;
	assert_int_equal(kept, 20);
	drop_all(&early);
	assert_int_equal(flooder.count + second.count + modest.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_begins_something),
		cmocka_unit_test(the_same_again),
		cmocka_unit_test(shares),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
