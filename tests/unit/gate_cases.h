/* SPDX-License-Identifier: Apache-2.0 */
/* unit/gate_cases - a gate with rules of every kind, and what is expected of it */
#ifndef NSWRAP_TESTS_UNIT_GATE_CASES_H
#define NSWRAP_TESTS_UNIT_GATE_CASES_H

#include "packets.h"

#include "mesh/agent/gate.h"
#include "net/packet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SELF         "127.0.42.101"
#define PEER         "127.0.42.102"
#define OTHER        "127.0.42.103"
#define LO           "127.0.0.1"
#define TAP          "10.0.2.100" /* another address of the namespace */
#define FAR          "198.51.100.7"
#define FIN          PACKET_FIN
#define SYN          PACKET_SYN
#define RST          PACKET_RST
#define ACK          PACKET_ACK
#define SECOND       1000000000ULL
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* 22 open, 80 -> LO:8000, 81 -> SELF:8100, 82 held, 83 -> TAP:83; UDP 53 open, 54 -> LO:5400 */
static inline struct gate *standard(bool any_port)
{
	const struct in_addr members[] = {pkt_addr(SELF), pkt_addr(PEER), pkt_addr(OTHER)};
	const struct gate_port ports[] = {
		{PROTO_TCP, 22, GATE_OPEN, {0}, 0},
		{PROTO_TCP, 80, GATE_MAP, pkt_addr(LO), 8000},
		{PROTO_TCP, 81, GATE_MAP, pkt_addr(SELF), 8100},
		{PROTO_TCP, 82, GATE_HOLD_SYN, {0}, 0},
		{PROTO_TCP, 83, GATE_MAP, pkt_addr(TAP), 83},
		{PROTO_UDP, 53, GATE_OPEN, {0}, 0},
		{PROTO_UDP, 54, GATE_MAP, pkt_addr(LO), 5400},
	};
	const struct gate_rules rules = {pkt_addr(SELF), members, COUNT(members), ports,
		COUNT(ports), any_port, NULL, 0, {0}, false, false};
	struct gate *gate = gate_new();

	assert_non_null(gate);
	assert_int_equal(gate_configure(gate, &rules), 0);
	return gate;
}

static inline int set_up(void **state)
{
	*state = standard(false);
	return 0;
}

static inline int tear_down(void **state)
{
	gate_free(*state);
	return 0;
}

typedef enum gate_verdict (*gate_way)(struct gate *gate, void *packet, size_t len, uint64_t now_ns);

/* The view is of the packet as it came. */
static inline enum gate_verdict go_in(struct gate *gate, void *packet, size_t len, uint64_t now_ns)
{
	struct packet_view view, before;
	uint8_t copy[PKT_CAP];

	memcpy(copy, packet, len);
	enum gate_verdict verdict = gate_in(gate, packet, len, now_ns, &view);
	if (verdict == GATE_DROP)
		return verdict;
	assert_true(packet_parse(copy, len, &before));
	assert_ptr_equal(view.ip, packet);
	assert_int_equal(view.l4 - view.ip, before.l4 - before.ip);
	assert_int_equal(view.len, len);
	assert_true(packet_is_same_end(view.src, before.src));
	assert_true(packet_is_same_end(view.dst, before.dst));
	assert_int_equal(view.tcp_flags, before.tcp_flags);
	return verdict;
}

/* On a copy of exactly the packet's size, so that the sanitizers see what is read behind it */
static inline void expect_at(struct gate *gate, gate_way way, struct pkt pkt,
	enum gate_verdict wanted, struct pkt after, uint64_t now_ns, const char *file, int line)
{
	static const char *const verdicts[] = {"pass", "drop", "hold", "take", "return", "refuse",
		"not allowed", "no protocol", "no host"};
	uint8_t *bytes = malloc(pkt.len ? pkt.len : 1);

	assert_non_null(bytes);
	memcpy(bytes, pkt.bytes, pkt.len);
	enum gate_verdict got = way(gate, bytes, pkt.len, now_ns);
	if (got != wanted) {
		print_error("wanted %s, got %s\n", verdicts[wanted], verdicts[got]);
		_fail(file, line);
	}
	for (size_t at = 0; at < pkt.len; at++)
		if (bytes[at] != after.bytes[at]) {
			print_error("byte %zu: wanted %02x, got %02x\n", at, after.bytes[at],
				bytes[at]);
			_fail(file, line);
		}
	free(bytes);
}

#define expect_in(gate, pkt, wanted) \
	expect_at(gate, go_in, pkt, wanted, pkt, SECOND, __FILE__, __LINE__)
#define expect_out(gate, pkt, wanted) \
	expect_at(gate, gate_out, pkt, wanted, pkt, SECOND, __FILE__, __LINE__)
#define expect_in_as(gate, pkt, after) \
	expect_at(gate, go_in, pkt, GATE_PASS, after, SECOND, __FILE__, __LINE__)
#define expect_out_as(gate, pkt, after) \
	expect_at(gate, gate_out, pkt, GATE_PASS, after, SECOND, __FILE__, __LINE__)

static inline struct pkt with(struct pkt pkt, size_t at, uint8_t value)
{
	pkt.bytes[at] = value;
	return pkt;
}

#define GATE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
