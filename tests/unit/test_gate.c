/* SPDX-License-Identifier: Apache-2.0 */
/* unit/test_gate - what crosses, what does not, and what it looks like on the other side */
#include "gate_cases.h"

static void nothing_crosses_without_rules(void **state)
{
	struct gate *gate = gate_new();

	(void)state;
	expect_in(gate, pkt_icmp(PEER, SELF, 8, "", 0), GATE_DROP);
	expect_in(gate, pkt_tcp("0.0.0.0", 1, "0.0.0.0", 22, ACK), GATE_DROP);
	expect_out(gate, pkt_tcp("0.0.0.0", 1, PEER, 22, ACK), GATE_DROP);
	expect_out(gate, pkt_udp(SELF, 1, PEER, 22), GATE_DROP);
	gate_free(gate);
	gate_free(NULL);
}

static void sources_from_outside(void **state)
{
	static const char *const fine[] = {
		PEER, OTHER, FAR, "10.0.2.101", "128.0.0.1", "223.255.255.255", "1.0.0.0"};
	static const char *const forged[] = {SELF, LO, "127.0.42.104", "127.255.255.255",
		"127.0.0.0", TAP, "0.0.0.0", "0.1.2.3", "224.0.0.1", "240.0.0.1",
		"255.255.255.255"};

	for (size_t i = 0; i < COUNT(fine); i++) {
		expect_in(*state, pkt_tcp(fine[i], 1, SELF, 22, SYN), GATE_PASS);
		expect_in(*state, pkt_icmp(fine[i], SELF, 8, "", 0), GATE_PASS);
	}
	for (size_t i = 0; i < COUNT(forged); i++) {
		expect_in(*state, pkt_tcp(forged[i], 1, SELF, 22, SYN), GATE_DROP);
		expect_in(*state, pkt_tcp(forged[i], 1, SELF, 22, ACK), GATE_DROP);
		expect_in(*state, pkt_udp(forged[i], 1, SELF, 53), GATE_DROP);
		expect_in(*state, pkt_icmp(forged[i], SELF, 8, "", 0), GATE_DROP);
	}
}

static void only_for_its_own_address(void **state)
{
	static const char *const others[] = {PEER, LO, TAP, FAR, "255.255.255.255", "224.0.0.1"};

	for (size_t i = 0; i < COUNT(others); i++) {
		expect_in(*state, pkt_tcp(OTHER, 1, others[i], 22, SYN), GATE_NO_HOST);
		expect_in(*state, pkt_tcp(OTHER, 1, others[i], 8000, ACK), GATE_NO_HOST);
		expect_in(*state, pkt_udp(OTHER, 1, others[i], 53), GATE_NO_HOST);
		expect_in(*state, pkt_icmp(OTHER, others[i], 8, "", 0), GATE_NO_HOST);
	}
}

static void broken_packets(void **state)
{
	struct pkt tcp = pkt_tcp(PEER, 1, SELF, 22, SYN), udp = pkt_udp(PEER, 1, SELF, 53);
	struct pkt icmp = pkt_icmp(PEER, SELF, 8, "", 0);

	for (size_t len = 0; len < tcp.len; len++) {
		struct pkt cut = tcp;

		cut.len = len;
		expect_in(*state, cut, GATE_DROP);
	}
	for (size_t len = 20; len < icmp.len; len++) {
		struct pkt cut = icmp;

		cut.len = len;
		pkt_put16(cut.bytes + 2, (unsigned int)len);
		expect_in(*state, cut, GATE_DROP);
		memcpy(cut.bytes + 12, icmp.bytes + 16, 4);
		memcpy(cut.bytes + 16, icmp.bytes + 12, 4);
		expect_out(*state, cut, GATE_DROP);
	}
	expect_in(*state, with(tcp, 0, 0x65), GATE_DROP);
	expect_in(*state, with(tcp, 32, 0x40), GATE_DROP);
	expect_in(*state, with(udp, 25, 14), GATE_DROP);
	expect_in(*state, with(tcp, 6, 0x40), GATE_PASS); /* DF */
	expect_in(*state, with(tcp, 6, 0x20), GATE_DROP);
	expect_in(*state, with(tcp, 7, 0x01), GATE_DROP);
	expect_in(*state, with(icmp, 6, 0x20), GATE_DROP);
	expect_out(*state, with(pkt_udp(SELF, 1, PEER, 2), 6, 0x20), GATE_DROP);
}

static void options_in_front_of_tcp(void **state)
{
	static const struct {
		uint8_t bytes[8];
		enum gate_verdict verdict;
	} rows[] = {
		{{1, 1, 1, 1, 1, 1, 1, 0}, GATE_PASS},
		{{7, 7, 4, 0, 0, 0, 0, 0}, GATE_PASS},   /* record route */
		{{0, 131, 7, 4, 0, 0, 0, 0}, GATE_PASS}, /* behind the end */
		{{131, 7, 4, 127, 0, 0, 1, 0}, GATE_DROP},
		{{137, 7, 4, 127, 0, 0, 1, 0}, GATE_DROP},
		{{1, 131, 7, 4, 127, 0, 0, 1}, GATE_DROP},
		{{148, 4, 0, 0, 131, 4, 4, 0}, GATE_DROP},
		{{148, 4, 0, 0, 148, 4, 0, 0}, GATE_PASS},
		{{7, 1, 131, 7, 4, 0, 0, 0}, GATE_DROP},
		{{7, 1, 0, 0, 0, 0, 0, 0}, GATE_DROP},
		{{7, 0, 0, 0, 0, 0, 0, 0}, GATE_DROP},
		{{7, 9, 4, 0, 0, 0, 0, 0}, GATE_DROP},
		{{1, 1, 1, 1, 1, 1, 1, 7}, GATE_DROP},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct pkt_head head = {PEER, SELF, rows[i].bytes, 8};
		struct pkt_head mapped = {PEER, LO, rows[i].bytes, 8};

		expect_in(*state, pkt_tcp_with(head, 1, 22, SYN), rows[i].verdict);
		if (rows[i].verdict == GATE_PASS)
			expect_in_as(*state, pkt_tcp_with(head, 1, 80, SYN),
				pkt_tcp_with(mapped, 1, 8000, SYN));
	}
}

static void what_begins_a_connection(void **state)
{
	for (unsigned int flags = 0; flags < 256; flags++) {
		const uint8_t all = (uint8_t)flags;
		bool begins = (flags & SYN) && !(flags & ACK) && !(flags & RST);
		/* would find out who listens there */
		bool probes = !(flags & SYN) && !(flags & ACK) && !(flags & RST);
		const enum gate_verdict closed = begins   ? GATE_REFUSE
						 : probes ? GATE_DROP
							  : GATE_PASS;

		expect_in(*state, pkt_tcp(PEER, 1, SELF, 22, all), GATE_PASS);
		expect_in_as(
			*state, pkt_tcp(PEER, 1, SELF, 80, all), pkt_tcp(PEER, 1, LO, 8000, all));
		expect_in(*state, pkt_tcp(PEER, 1, SELF, 8000, all), closed);
		expect_in(*state, pkt_tcp(PEER, 1, SELF, 53, all), closed);
		expect_in(*state, pkt_tcp(PEER, 1, SELF, 82, all),
			!begins       ? GATE_PASS
			: flags & FIN ? GATE_DROP
				      : GATE_HOLD);
	}
}

static void udp_in_needs_a_port_or_a_question(void **state)
{
	struct pkt answer = pkt_udp(PEER, 5353, SELF, 40000);

	expect_in(*state, pkt_udp(PEER, 1, SELF, 53), GATE_PASS);
	expect_in(*state, pkt_udp(PEER, 1, SELF, 22), GATE_REFUSE);
	expect_in(*state, answer, GATE_REFUSE);
	expect_out(*state, pkt_tcp(SELF, 40000, PEER, 5353, ACK), GATE_PASS);
	expect_in(*state, answer, GATE_REFUSE);
	expect_out(*state, pkt_udp(SELF, 40000, PEER, 5353), GATE_PASS);
	expect_in(*state, answer, GATE_PASS);
	expect_in(*state, pkt_udp(OTHER, 5353, SELF, 40000), GATE_REFUSE);
	expect_in(*state, pkt_udp(PEER, 5354, SELF, 40000), GATE_REFUSE);
	expect_in(*state, pkt_udp(PEER, 5353, SELF, 40001), GATE_REFUSE);
	expect_in(*state, pkt_udp(PEER, 40000, SELF, 5353), GATE_REFUSE);

	/* what leaves a port of the rules lets nothing in but there */
	expect_out(*state, pkt_udp(SELF, 54, PEER, 5353), GATE_PASS);
	expect_in_as(*state, pkt_udp(PEER, 5353, SELF, 54), pkt_udp(PEER, 5353, LO, 5400));
}

static void questions_are_forgotten(void **state)
{
	struct pkt question = pkt_udp(SELF, 40000, PEER, 5353);
	struct pkt answer = pkt_udp(PEER, 5353, SELF, 40000);
	enum { WAITS = 180 };

	expect_at(*state, gate_out, question, GATE_PASS, question, 0, __FILE__, __LINE__);
	expect_at(*state, go_in, answer, GATE_PASS, answer, WAITS * SECOND - 1, __FILE__, __LINE__);
	expect_at(*state, go_in, answer, GATE_REFUSE, answer, WAITS * SECOND, __FILE__, __LINE__);
	/* another question lengthens it, an answer does not */
	for (uint64_t i = 1; i < 4; i++) {
		uint64_t now = i * 100 * SECOND;

		expect_at(*state, gate_out, question, GATE_PASS, question, now, __FILE__, __LINE__);
		expect_at(*state, go_in, answer, GATE_PASS, answer, now + 170 * SECOND, __FILE__,
			__LINE__);
	}
	expect_at(*state, go_in, answer, GATE_REFUSE, answer, 480 * SECOND, __FILE__, __LINE__);
}

static void few_of_many_questions_are_forgotten(void **state)
{
	enum { MANY = 100000, RECENT = 1000 };
	unsigned int answered = 0;

	for (unsigned int i = 0; i < MANY; i++) {
		struct pkt question = pkt_udp(SELF, 1000 + i % 5, PEER, i % 50000);

		expect_at(*state, gate_out, question, GATE_PASS, question, i, __FILE__, __LINE__);
		struct pkt answer = pkt_udp(PEER, i % 50000, SELF, 1000 + i % 5);
		expect_at(*state, go_in, answer, GATE_PASS, answer, i, __FILE__, __LINE__);
	}
	for (unsigned int i = MANY - RECENT; i < MANY; i++) {
		struct pkt answer = pkt_udp(PEER, i % 50000, SELF, 1000 + i % 5);

		answered += go_in(*state, answer.bytes, answer.len, MANY) == GATE_PASS;
	}
	assert_in_range(answered, RECENT * 97 / 100, RECENT);
}

static void new_rules_replace_old_ones(void **state)
{
	const struct in_addr members[] = {pkt_addr(OTHER)};
	const struct gate_port port = {PROTO_TCP, 23, GATE_OPEN, {0}, 0};
	const struct gate_rules rules = {
		pkt_addr(SELF), members, 1, &port, 1, false, NULL, 0, {0}, false, false};

	expect_out(*state, pkt_udp(SELF, 40000, OTHER, 5353), GATE_PASS);
	assert_int_equal(gate_configure(*state, &rules), 0);
	expect_in(*state, pkt_udp(OTHER, 5353, SELF, 40000), GATE_PASS);
	expect_in(*state, pkt_tcp(OTHER, 1, SELF, 22, SYN), GATE_REFUSE);
	expect_in(*state, pkt_tcp(OTHER, 1, SELF, 80, SYN), GATE_REFUSE);
	expect_in(*state, pkt_tcp(OTHER, 1, SELF, 23, SYN), GATE_PASS);
	expect_in(*state, pkt_tcp(PEER, 1, SELF, 23, SYN), GATE_DROP);
	expect_in(*state, pkt_tcp(TAP, 1, SELF, 23, SYN), GATE_PASS);
	expect_out(*state, pkt_tcp(LO, 8000, OTHER, 1, ACK), GATE_NO_HOST);
}

static void only_its_own_sources_go_out(void **state)
{
	static const char *const others[] = {PEER, LO, TAP, FAR, "0.0.0.0"};

	for (size_t i = 0; i < COUNT(others); i++) {
		expect_out(*state, pkt_tcp(others[i], 9, OTHER, 1, ACK), GATE_NO_HOST);
		expect_out(*state, pkt_udp(others[i], 8000, OTHER, 1), GATE_NO_HOST);
		expect_out(*state, pkt_icmp(others[i], OTHER, 0, "", 0), GATE_NO_HOST);
	}
	expect_out(*state, pkt_tcp(SELF, 9, PEER, 22, SYN), GATE_PASS);
	expect_out(*state, pkt_icmp(SELF, PEER, 8, "", 0), GATE_PASS);
	expect_out(*state, pkt_icmp(SELF, PEER, 0, "", 0), GATE_PASS);
	expect_out(*state, pkt_tcp(SELF, 9, SELF, 22, SYN), GATE_DROP);
	expect_out(*state, pkt_udp(SELF, 9, SELF, 53), GATE_DROP);
	expect_out(*state, pkt_icmp(SELF, SELF, 8, "", 0), GATE_DROP);
	expect_out(*state, pkt_tcp(LO, 8000, SELF, 22, ACK), GATE_DROP);
}

static void mapped_both_ways(void **state)
{
	static const struct {
		const char *place;
		unsigned int place_port, port;
	} rows[] = {{LO, 8000, 80}, {SELF, 8100, 81}, {TAP, 83, 83}, {SELF, 22, 22}};

	for (size_t i = 0; i < COUNT(rows); i++) {
		unsigned int inner = rows[i].place_port, port = rows[i].port;

		for (unsigned int peer = 1; peer < 65536; peer += 99) {
			expect_in_as(*state, pkt_tcp(PEER, peer, SELF, port, ACK),
				pkt_tcp(PEER, peer, rows[i].place, inner, ACK));
			expect_out_as(*state, pkt_tcp(rows[i].place, inner, PEER, peer, SYN | ACK),
				pkt_tcp(SELF, port, PEER, peer, SYN | ACK));
		}
	}
	expect_in(*state, pkt_tcp(PEER, 1, SELF, 8100, SYN), GATE_REFUSE);
	expect_out(*state, pkt_tcp(LO, 80, PEER, 1, ACK), GATE_NO_HOST);
	expect_out(*state, pkt_udp(LO, 8000, PEER, 1), GATE_NO_HOST);
}

static void udp_checksums_that_are_special(void **state)
{
	struct pkt none = pkt_udp(PEER, 1, SELF, 54), none_inside = pkt_udp(PEER, 1, LO, 5400);
	unsigned int zeros = 0;

	for (unsigned int peer = 0; peer < 65536; peer++) {
		struct pkt inside = pkt_udp(PEER, peer, LO, 5400);
		struct pkt outside = pkt_udp(SELF, 54, PEER, peer);

		expect_in_as(*state, pkt_udp(PEER, peer, SELF, 54), inside);
		expect_out_as(*state, pkt_udp(LO, 5400, PEER, peer), outside);
		zeros += pkt_get16(inside.bytes + 26) == 0xffff;
		zeros += pkt_get16(outside.bytes + 26) == 0xffff;
	}
	assert_int_equal(zeros, 2);
	pkt_put16(none.bytes + 26, 0);
	pkt_put16(none_inside.bytes + 26, 0);
	expect_in_as(*state, none, none_inside);
}

static void wrong_checksums_stay_wrong(void **state)
{
	struct pkt pkts[] = {
		with(pkt_tcp(PEER, 1, SELF, 80, ACK), 36, 0x17),
		with(pkt_tcp(PEER, 1, SELF, 80, ACK), 45, 0x17),
		with(pkt_udp(PEER, 1, SELF, 54), 26, 0x17),
		with(pkt_udp(PEER, 1, SELF, 54), 30, 0x17),
	};

	for (size_t i = 0; i < COUNT(pkts); i++) {
		assert_false(pkt_is_flow_right(pkts[i].bytes, pkts[i].len));
		assert_int_equal(go_in(*state, pkts[i].bytes, pkts[i].len, SECOND), GATE_PASS);
		assert_true(pkt_is_ip_right(pkts[i].bytes));
		assert_false(pkt_is_flow_right(pkts[i].bytes, pkts[i].len));
	}
	struct pkt pkt = with(pkt_tcp(PEER, 1, SELF, 80, ACK), 11, 0x17);
	assert_int_equal(go_in(*state, pkt.bytes, pkt.len, SECOND), GATE_PASS);
	assert_false(pkt_is_ip_right(pkt.bytes));
	assert_true(pkt_is_flow_right(pkt.bytes, pkt.len));
}

/* 198.51.100.0/24 and 10.0.0.0/8 are behind this host, but for TAP, which is this host's */
static void behind_this_host(void **state)
{
	const struct in_addr members[] = {pkt_addr(PEER), pkt_addr("10.1.1.1")};
	const struct gate_network networks[] = {
		{pkt_addr("198.51.100.0"), pkt_addr("255.255.255.0")},
		{pkt_addr("10.0.0.0"), pkt_addr("255.0.0.0")}};
	const struct gate_port port = {PROTO_TCP, 83, GATE_MAP, pkt_addr(TAP), 83};
	const struct gate_rules rules = {pkt_addr(SELF), members, 2, &port, 1, true, networks,
		COUNT(networks), {0}, false, false};
	static const char *const others[] = {
		TAP, "10.1.1.1", "198.51.101.7", "11.0.0.1", LO, OTHER, "224.0.0.1"};

	assert_int_equal(gate_configure(*state, &rules), 0);
	for (unsigned int flags = 0; flags < 256; flags++) {
		const uint8_t all = (uint8_t)flags;

		expect_in(*state, pkt_tcp(PEER, 1, FAR, 83, all),
			flags & (ACK | RST)            ? GATE_PASS
			: (flags & (SYN | FIN)) == SYN ? GATE_HOLD
						       : GATE_DROP);
		expect_out(*state, pkt_tcp(FAR, 83, PEER, 1, all), GATE_PASS);
	}
	expect_in(*state, pkt_udp(PEER, 1, FAR, 53), GATE_TAKE);
	expect_in(*state, pkt_udp("10.1.1.1", 1, "10.255.255.255", 53), GATE_TAKE);
	expect_out(*state, pkt_udp("10.255.255.255", 53, PEER, 1), GATE_PASS);
	/* no other packets, whatever any_port says; errors about what was sent from there */
	expect_in(*state, pkt_icmp(PEER, FAR, 8, "", 0), GATE_TAKE);
	expect_in(*state, pkt_icmp(PEER, FAR, 0, "", 0), GATE_DROP);
	expect_in(*state, pkt_icmp(PEER, FAR, 13, "", 0), GATE_DROP);
	expect_out(*state, pkt_icmp(FAR, PEER, 0, "", 0), GATE_NO_HOST);
	expect_in(*state, pkt_ip((struct pkt_head){PEER, FAR, NULL, 0}, 132, "", 0), GATE_DROP);
	expect_out(*state, pkt_ip((struct pkt_head){FAR, PEER, NULL, 0}, 132, "", 0), GATE_NO_HOST);
	struct pkt answer = pkt_udp(FAR, 53, PEER, 1), question = pkt_udp(PEER, 1, FAR, 53);
	expect_in(*state, pkt_error(PEER, FAR, 3, answer, PKT_CAP), GATE_PASS);
	expect_in(*state, pkt_error(PEER, SELF, 3, answer, PKT_CAP), GATE_DROP);
	expect_in(*state, pkt_error("10.1.1.1", FAR, 3, answer, PKT_CAP), GATE_DROP);
	expect_out(*state, pkt_error(FAR, PEER, 3, question, PKT_CAP), GATE_PASS);
	expect_out(*state, pkt_error(SELF, PEER, 3, question, PKT_CAP), GATE_PASS);
	expect_out(*state, pkt_error("10.2.3.4", PEER, 3, question, PKT_CAP), GATE_DROP);
	/* only members come there, and only they are answered */
	expect_in(*state, pkt_tcp("192.0.2.1", 1, FAR, 9, SYN), GATE_DROP);
	expect_in(*state, pkt_udp("192.0.2.1", 1, FAR, 9), GATE_DROP);
	expect_out(*state, pkt_tcp(FAR, 9, "192.0.2.1", 1, SYN | ACK), GATE_NO_HOST);
	/* the way there, and back, may be another host's for a moment: the manager knows whose */
	expect_in(*state, pkt_tcp("10.2.3.4", 1, SELF, 9, SYN | ACK), GATE_PASS);
	expect_in(*state, pkt_tcp("10.1.1.1", 1, SELF, 9, SYN), GATE_PASS);
	expect_out(*state, pkt_tcp(SELF, 1, "10.2.3.4", 9, SYN), GATE_PASS);
	for (size_t i = 0; i < COUNT(others); i++) {
		expect_in(*state, pkt_tcp(PEER, 1, others[i], 9, SYN), GATE_NO_HOST);
		expect_in(*state, pkt_udp(PEER, 1, others[i], 9), GATE_NO_HOST);
		expect_out(*state, pkt_udp(others[i], 9, PEER, 1), GATE_NO_HOST);
	}
}

/* Ports that nothing is said of are the owner's, for members and what begins something. */
static void what_is_led_on(void **state)
{
	const struct in_addr members[] = {pkt_addr(PEER)};
	const struct gate_port port = {PROTO_TCP, 83, GATE_HOLD_SYN, {0}, 0};
	const struct gate_rules rules = {.self = pkt_addr(SELF),
		.members = members,
		.nmembers = 1,
		.ports = &port,
		.nports = 1,
		.leads_on = true};

	assert_int_equal(gate_configure(*state, &rules), 0);
	expect_in(*state, pkt_tcp(PEER, 7, SELF, 22, SYN), GATE_HOLD);
	expect_in(*state, pkt_tcp(PEER, 7, SELF, 83, SYN), GATE_HOLD);
	expect_in(*state, pkt_tcp(PEER, 7, SELF, 22, ACK), GATE_PASS);
	expect_in(*state, pkt_tcp(PEER, 7, SELF, 22, 0), GATE_DROP);
	expect_in(*state, pkt_udp(PEER, 7, SELF, 53), GATE_TAKE);
	expect_in(*state, pkt_icmp(PEER, SELF, 8, "", 0), GATE_PASS);
	expect_in(*state, pkt_tcp(FAR, 7, SELF, 22, SYN), GATE_REFUSE);
	expect_in(*state, pkt_udp(FAR, 7, SELF, 53), GATE_REFUSE);
	/* what was asked from here is answered here */
	expect_out(*state, pkt_udp(SELF, 53, PEER, 7), GATE_PASS);
	expect_in(*state, pkt_udp(PEER, 7, SELF, 53), GATE_PASS);
	/* loopback addresses as such are nobody's */
	expect_in(*state, pkt_tcp(PEER, 7, LO, 22, SYN), GATE_NO_HOST);
	expect_in(*state, pkt_tcp(LO, 7, SELF, 22, SYN), GATE_DROP);
}

/* Who may not begin something here is told so, before anything else; what goes on comes through. */
static void test_allow(void **state)
{
	const struct mesh_allowed list[] = {{pkt_addr(SELF), 0, PROTO_TCP},
		{pkt_addr(PEER), 80, PROTO_TCP}, {pkt_addr(OTHER), 0, PROTO_TCP}};

	assert_int_equal(gate_allow(*state, pkt_addr(SELF), list, COUNT(list)), 0);
	expect_in(*state, pkt_tcp(PEER, 7, SELF, 22, SYN), GATE_NOT_ALLOWED);
	expect_in(*state, pkt_tcp(PEER, 7, SELF, 82, SYN), GATE_NOT_ALLOWED);
	expect_in(*state, pkt_tcp(PEER, 7, SELF, 22, ACK), GATE_PASS);
	expect_in(*state, pkt_tcp(OTHER, 7, SELF, 22, SYN), GATE_PASS);
	expect_in(*state, pkt_udp(PEER, 7, SELF, 53), GATE_NOT_ALLOWED);
	/* answers, also of a port that is offered */
	expect_out(*state, pkt_udp(SELF, 5000, PEER, 7), GATE_PASS);
	expect_in(*state, pkt_udp(PEER, 7, SELF, 5000), GATE_PASS);
	expect_out(*state, pkt_udp(SELF, 53, PEER, 7), GATE_PASS);
	expect_in(*state, pkt_udp(PEER, 7, SELF, 53), GATE_PASS);
	/* everybody again */
	assert_int_equal(gate_allow(*state, pkt_addr(SELF), NULL, 0), 0);
	expect_in(*state, pkt_tcp(PEER, 7, SELF, 22, SYN), GATE_PASS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_crosses_without_rules),
		GATE_TEST(sources_from_outside),
		GATE_TEST(only_for_its_own_address),
		GATE_TEST(broken_packets),
		GATE_TEST(options_in_front_of_tcp),
		GATE_TEST(what_begins_a_connection),
		GATE_TEST(udp_in_needs_a_port_or_a_question),
		GATE_TEST(questions_are_forgotten),
		GATE_TEST(few_of_many_questions_are_forgotten),
		GATE_TEST(new_rules_replace_old_ones),
		GATE_TEST(only_its_own_sources_go_out),
		GATE_TEST(behind_this_host),
		GATE_TEST(what_is_led_on),
		GATE_TEST(mapped_both_ways),
		GATE_TEST(udp_checksums_that_are_special),
		GATE_TEST(wrong_checksums_stay_wrong),
		cmocka_unit_test_setup_teardown(test_allow, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
