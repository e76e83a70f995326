/* SPDX-License-Identifier: Apache-2.0 */
/* test_answer - which answer, and how many of them */
#include "packets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "exit/answer.h"
#include "util/clock.h"

#define ME    "127.0.42.1"
#define PEER  "127.0.42.2"
#define START (100 * NS_PER_S)

/* The protocol of the answer, 0: there is none. */
static int ask(struct answers *answers, struct pkt pkt, struct answer how, uint64_t now_ns)
{
	unsigned char frame[ANSWER_FRAME_BYTES];
	struct packet_view view;
	struct frame got;
	struct err err;

	assert_true(packet_parse(pkt.bytes, pkt.len, &view));
	size_t size = answer_make(answers, &how, &view, now_ns, frame);
	if (size == 0)
		return 0;
	assert_int_equal(frame_decode(frame, size, &got, &err), size);
	assert_int_equal(got.type, FRAME_PACKET);
	assert_true(packet_parse(got.payload, got.len, &view));
	assert_true(pkt_is_ip_right(view.ip));
	assert_int_equal(view.dst.ip.s_addr, pkt_addr(ME).s_addr);
	assert_int_equal(view.src.ip.s_addr, pkt_addr(PEER).s_addr);
	if (view.proto == IPPROTO_ICMP)
		assert_int_equal(view.l4[1], how.code);
	else
		assert_true(view.tcp_flags & PACKET_RST);
	return view.proto;
}

static struct pkt tcp(uint8_t flags)
{
	return pkt_tcp_with((struct pkt_head){ME, PEER, NULL, 0}, 1000, 80, flags);
}

static void what_is_said(void **state)
{
	const struct answer host = {pkt_addr(PEER), ICMP_HOST_UNREACH, false};
	const struct answer port = {pkt_addr(PEER), ICMP_PORT_UNREACH, false};
	const struct answer plain = {pkt_addr(PEER), ICMP_HOST_UNREACH, true};
	const struct pkt udp = pkt_udp(ME, 1000, PEER, 53);
	struct answers answers = {.paid_ns = {0}};

	(void)state;
	assert_int_equal(ask(&answers, tcp(PACKET_SYN), host, START), IPPROTO_ICMP);
	assert_int_equal(ask(&answers, tcp(PACKET_SYN), port, START), IPPROTO_TCP);
	assert_int_equal(ask(&answers, tcp(PACKET_SYN), plain, START), IPPROTO_TCP);
	assert_int_equal(ask(&answers, tcp(PACKET_ACK), host, START), IPPROTO_TCP);
	assert_int_equal(ask(&answers, tcp(PACKET_SYN | PACKET_ACK), host, START), IPPROTO_TCP);
	assert_int_equal(ask(&answers, tcp(PACKET_FIN | PACKET_ACK), host, START), IPPROTO_TCP);
	assert_int_equal(ask(&answers, tcp(PACKET_RST), host, START), 0);
	assert_int_equal(ask(&answers, tcp(PACKET_RST | PACKET_SYN), host, START), 0);
	assert_int_equal(ask(&answers, udp, host, START), IPPROTO_ICMP);
	assert_int_equal(ask(&answers, udp, port, START), IPPROTO_ICMP);
	assert_int_equal(ask(&answers, udp, plain, START), 0);
}

/* A flood has ANSWERS_PER_S in ICMP, and TCP its RST beyond that; another address has its own. */
static void floods_are_bounded(void **state)
{
	const struct answer host = {pkt_addr(PEER), ICMP_HOST_UNREACH, false};
	const struct pkt udp = pkt_udp(ME, 1000, PEER, 53);
	struct answers answers = {.paid_ns = {0}};
	size_t count = 0;

	(void)state;
	for (uint64_t us = 0; us < 10 * 1000 * 1000; us += 100)
		count += ask(&answers, udp, host, START + us * 1000) != 0;
	assert_in_range(count, 11 * ANSWERS_PER_S - 1, 11 * ANSWERS_PER_S + 1);
	const uint64_t end = START + 10 * NS_PER_S;
	while (ask(&answers, udp, host, end) != 0)
		;
	assert_int_equal(ask(&answers, tcp(PACKET_SYN), host, end), IPPROTO_TCP);

	struct packet_view view;
	unsigned char frame[ANSWER_FRAME_BYTES];
	struct pkt other = pkt_udp("127.0.42.3", 1000, PEER, 53);
	assert_true(packet_parse(other.bytes, other.len, &view));
	assert_true(answer_make(&answers, &host, &view, end, frame) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_said),
		cmocka_unit_test(floods_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
