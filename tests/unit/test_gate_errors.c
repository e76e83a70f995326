/* SPDX-License-Identifier: Apache-2.0 */
/* unit/test_gate_errors - ICMP through the gate, and rules that get in each other's way */
#include "gate_cases.h"

#define UNREACHABLE 3
#define ALL         PKT_CAP /* of the packet that an error is about */

static void which_icmp_comes_in(void **state)
{
	static const uint8_t fine[] = {0, 8, 3, 11, 12};
	struct pkt cause = pkt_tcp(SELF, 9, PEER, 22, SYN);

	for (unsigned int type = 0; type < 256; type++) {
		struct pkt pkt = pkt_error(PEER, SELF, (uint8_t)type, cause, ALL);

		expect_in(*state, pkt, memchr(fine, (int)type, 5) ? GATE_PASS : GATE_DROP);
	}
	for (size_t i = 2; i < 5; i++)
		expect_in(*state, pkt_error(PEER, SELF, fine[i], cause, 0), GATE_DROP);
}

static void errors_come_in_about_what_was_sent(void **state)
{
	struct pkt cause = pkt_udp(SELF, 9, PEER, 22), routed = pkt_udp(SELF, 9, FAR, 22);
	struct pkt other = pkt_ip((struct pkt_head){SELF, PEER, NULL, 0}, 132, "12345678", 8);
	struct gate *open = standard(true);

	for (size_t len = 0; len < cause.len; len++)
		expect_in(*state, pkt_error(PEER, SELF, UNREACHABLE, cause, len),
			len < 28 ? GATE_DROP : GATE_PASS);
	expect_in(*state, pkt_error(PEER, SELF, 3, pkt_udp(LO, 9, PEER, 22), ALL), GATE_DROP);
	expect_in(*state, pkt_error(PEER, SELF, 3, pkt_udp(PEER, 9, SELF, 22), ALL), GATE_DROP);
	expect_in(*state, pkt_error(PEER, SELF, 3, with(cause, 0, 0x65), ALL), GATE_DROP);
	expect_in(*state, pkt_error(PEER, SELF, 3, with(cause, 0, 0x44), ALL), GATE_DROP);
	expect_in(*state, pkt_error(PEER, SELF, 3, with(cause, 0, 0x47), ALL), GATE_DROP);
	expect_in(*state, pkt_error(PEER, SELF, 3, with(cause, 6, 0x20), ALL), GATE_DROP);
	expect_in(*state, pkt_error(PEER, SELF, 3, with(cause, 7, 1), ALL), GATE_DROP);
	expect_in(*state, pkt_error(PEER, SELF, 3, with(cause, 6, 0x40), ALL), GATE_PASS);
	expect_in(*state, pkt_error(PEER, SELF, 3, pkt_icmp(SELF, PEER, 8, "", 0), ALL), GATE_PASS);
	/* a router on the way may say it, another member may not */
	expect_in(*state, pkt_error(OTHER, SELF, 3, cause, ALL), GATE_DROP);
	expect_in(*state, pkt_error(OTHER, SELF, 3, routed, ALL), GATE_PASS);
	expect_in(*state, pkt_error(FAR, SELF, 3, cause, ALL), GATE_DROP);
	/* connections between programs of the namespace are nobody's business */
	expect_in(*state, pkt_error(PEER, SELF, 3, pkt_udp(SELF, 9, SELF, 22), ALL), GATE_DROP);
	expect_in(*state, pkt_error(PEER, SELF, 3, pkt_udp(SELF, 9, LO, 22), ALL), GATE_DROP);
	expect_in(*state, pkt_error(PEER, SELF, 3, pkt_udp(SELF, 9, TAP, 22), ALL), GATE_DROP);
	/* other protocols */
	expect_in(*state, pkt_error(PEER, SELF, 3, other, ALL), GATE_DROP);
	expect_in(open, pkt_error(PEER, SELF, 3, other, ALL), GATE_PASS);
	gate_free(open);
}

/* An error quotes as much as it likes: with and without the checksum of what it quotes */
static void mapped_errors_are_translated(void **state)
{
	static const size_t lens[] = {28, 36, 38, 40, ALL};

	for (size_t i = 0; i < COUNT(lens); i++) {
		size_t len = lens[i];

		/* TCP, from the mesh about an answer of the mapped server */
		expect_in_as(*state,
			pkt_error(PEER, SELF, 11, pkt_tcp(SELF, 80, PEER, 9, ACK), len),
			pkt_error(PEER, LO, 11, pkt_tcp(LO, 8000, PEER, 9, ACK), len));
		expect_in_as(*state,
			pkt_error(PEER, SELF, 11, pkt_tcp(SELF, 81, PEER, 9, ACK), len),
			pkt_error(PEER, SELF, 11, pkt_tcp(SELF, 8100, PEER, 9, ACK), len));
		/* and to the mesh, from the place where nobody listens */
		expect_out_as(*state, pkt_error(LO, PEER, 3, pkt_tcp(PEER, 9, LO, 8000, SYN), len),
			pkt_error(SELF, PEER, 3, pkt_tcp(PEER, 9, SELF, 80, SYN), len));
		expect_out_as(*state,
			pkt_error(SELF, PEER, 3, pkt_tcp(PEER, 9, SELF, 8100, SYN), len),
			pkt_error(SELF, PEER, 3, pkt_tcp(PEER, 9, SELF, 81, SYN), len));
		/* UDP */
		expect_in_as(*state, pkt_error(PEER, SELF, 3, pkt_udp(SELF, 54, PEER, 9), len),
			pkt_error(PEER, LO, 3, pkt_udp(LO, 5400, PEER, 9), len));
		expect_out_as(*state, pkt_error(LO, PEER, 3, pkt_udp(PEER, 9, LO, 5400), len),
			pkt_error(SELF, PEER, 3, pkt_udp(PEER, 9, SELF, 54), len));
		expect_out_as(*state, pkt_error(SELF, PEER, 3, pkt_udp(PEER, 9, LO, 5400), len),
			pkt_error(SELF, PEER, 3, pkt_udp(PEER, 9, SELF, 54), len));
	}
}

static struct pkt without_checksum(struct pkt udp)
{
	pkt_put16(udp.bytes + 26, 0);
	return udp;
}

static void special_checksums_in_errors(void **state)
{
	static const uint8_t options[] = {7, 7, 4, 0, 0, 0, 0, 0};

	for (unsigned int peer = 0; peer < 65536; peer++)
		expect_out_as(*state, pkt_error(LO, PEER, 3, pkt_udp(PEER, peer, LO, 5400), ALL),
			pkt_error(SELF, PEER, 3, pkt_udp(PEER, peer, SELF, 54), ALL));
	expect_out_as(*state,
		pkt_error(LO, PEER, 3, without_checksum(pkt_udp(PEER, 9, LO, 5400)), ALL),
		pkt_error(SELF, PEER, 3, without_checksum(pkt_udp(PEER, 9, SELF, 54)), ALL));
	expect_out_as(*state,
		pkt_error(LO, PEER, 3,
			pkt_tcp_with((struct pkt_head){PEER, LO, options, 8}, 9, 8000, SYN), 40),
		pkt_error(SELF, PEER, 3,
			pkt_tcp_with((struct pkt_head){PEER, SELF, options, 8}, 9, 80, SYN), 40));
}

static void errors_go_out_about_what_came_in(void **state)
{
	struct pkt cause = pkt_udp(PEER, 9, SELF, 7);

	expect_out(*state, pkt_error(SELF, PEER, 3, cause, ALL), GATE_PASS);
	expect_out(*state, pkt_error(SELF, PEER, 3, cause, 28), GATE_PASS);
	expect_out(*state, pkt_error(SELF, PEER, 3, cause, 27), GATE_DROP);
	expect_out(
		*state, pkt_error(SELF, PEER, 3, pkt_icmp(PEER, SELF, 8, "", 0), ALL), GATE_PASS);
	/* from or about a place that nothing leads to */
	expect_out(*state, pkt_error(LO, PEER, 3, cause, ALL), GATE_DROP);
	expect_out(*state, pkt_error(TAP, PEER, 3, pkt_udp(PEER, 9, LO, 5400), ALL), GATE_DROP);
	expect_out(*state, pkt_error(LO, PEER, 3, pkt_udp(PEER, 9, LO, 8000), ALL), GATE_DROP);
	expect_out(*state, pkt_error(LO, PEER, 3, pkt_tcp(PEER, 9, LO, 80, SYN), ALL), GATE_DROP);
	expect_out(*state, pkt_error(SELF, PEER, 3, pkt_udp(PEER, 9, LO, 8000), ALL), GATE_DROP);
	expect_out(*state, pkt_error(LO, PEER, 3, pkt_icmp(PEER, LO, 8, "", 0), ALL), GATE_DROP);
}

static void other_protocols_only_with_any_port(void **state)
{
	struct pkt in = pkt_ip((struct pkt_head){PEER, SELF, NULL, 0}, 132, "12345678", 8);
	struct gate *open = standard(true);

	expect_in(*state, in, GATE_NO_PROTOCOL);
	expect_in(open, in, GATE_PASS);
	expect_in(open, pkt_ip((struct pkt_head){LO, SELF, NULL, 0}, 132, "", 0), GATE_DROP);
	expect_in(open, pkt_ip((struct pkt_head){PEER, LO, NULL, 0}, 132, "", 0), GATE_NO_HOST);
	expect_out(open, pkt_ip((struct pkt_head){SELF, PEER, NULL, 0}, 132, "", 0), GATE_PASS);
	expect_out(open, pkt_ip((struct pkt_head){LO, PEER, NULL, 0}, 132, "", 0), GATE_NO_HOST);
	gate_free(open);
}

static void any_port_opens_what_has_no_rule(void **state)
{
	struct gate *open = standard(true);

	(void)state;
	expect_in(open, pkt_tcp(PEER, 1, SELF, 9, SYN), GATE_PASS);
	expect_in(open, pkt_udp(PEER, 1, SELF, 9), GATE_PASS);
	expect_in(open, pkt_tcp(PEER, 1, SELF, 82, SYN), GATE_HOLD);
	expect_in_as(open, pkt_tcp(PEER, 1, SELF, 80, SYN), pkt_tcp(PEER, 1, LO, 8000, SYN));
	expect_in(open, pkt_tcp(PEER, 1, SELF, 8000, SYN), GATE_PASS); /* another place than LO's */
	expect_out(open, pkt_tcp(SELF, 8000, PEER, 1, SYN | ACK), GATE_PASS);
	/* its answers would come from port 81 */
	expect_in(open, pkt_tcp(PEER, 1, SELF, 8100, SYN), GATE_REFUSE);
	expect_in(open, pkt_udp(PEER, 1, SELF, 8100), GATE_PASS);
	gate_free(open);
}

static void the_first_of_two_rules_counts(void **state)
{
	const struct gate_port ports[] = {
		{PROTO_TCP, 80, GATE_MAP, pkt_addr(LO), 8000},
		{PROTO_TCP, 80, GATE_OPEN, {0}, 0},
		{PROTO_TCP, 81, GATE_MAP, pkt_addr(LO), 8000},
		{PROTO_TCP, 82, GATE_MAP, pkt_addr(SELF), 22},
		{PROTO_TCP, 22, GATE_OPEN, {0}, 0},
		{PROTO_TCP, 90, GATE_OPEN, {0}, 0},
		{PROTO_TCP, 91, GATE_MAP, pkt_addr(SELF), 90},
		{PROTO_UDP, 81, GATE_MAP, pkt_addr(LO), 8000},
		/* the one that it clashes with does not count itself */
		{PROTO_TCP, 91, GATE_MAP, pkt_addr(LO), 9100},
	};
	struct gate_rules rules = {
		pkt_addr(SELF), NULL, 0, ports, COUNT(ports), false, NULL, 0, {0}, false, false};

	assert_int_equal(gate_configure(*state, &rules), 0);
	expect_in_as(*state, pkt_tcp(FAR, 1, SELF, 80, SYN), pkt_tcp(FAR, 1, LO, 8000, SYN));
	expect_out_as(*state, pkt_tcp(LO, 8000, FAR, 1, ACK), pkt_tcp(SELF, 80, FAR, 1, ACK));
	expect_in(*state, pkt_tcp(FAR, 1, SELF, 81, SYN), GATE_REFUSE);
	expect_in_as(*state, pkt_udp(FAR, 1, SELF, 81), pkt_udp(FAR, 1, LO, 8000));
	expect_in_as(*state, pkt_tcp(FAR, 1, SELF, 82, SYN), pkt_tcp(FAR, 1, SELF, 22, SYN));
	expect_in(*state, pkt_tcp(FAR, 1, SELF, 22, SYN), GATE_REFUSE);
	expect_in(*state, pkt_tcp(FAR, 1, SELF, 90, SYN), GATE_PASS);
	expect_out(*state, pkt_tcp(SELF, 90, FAR, 1, ACK), GATE_PASS);
	expect_in_as(*state, pkt_tcp(FAR, 1, SELF, 91, SYN), pkt_tcp(FAR, 1, LO, 9100, SYN));
}

static void every_port_may_have_a_rule(void **state)
{
	enum { PORTS = 65535 };
	struct gate_port *ports = calloc(PORTS, sizeof(*ports));
	struct gate_rules rules = {
		pkt_addr(SELF), NULL, 0, ports, PORTS, false, NULL, 0, {0}, false, false};

	assert_non_null(ports);
	for (unsigned int i = 0; i < PORTS; i++)
		ports[i] = (struct gate_port){PROTO_TCP, (uint16_t)(i + 1), GATE_MAP, pkt_addr(LO),
			(uint16_t)(PORTS - i)};
	assert_int_equal(gate_configure(*state, &rules), 0);
	free(ports);
	for (unsigned int port = 1; port <= PORTS; port++) {
		expect_in_as(*state, pkt_tcp(FAR, 1, SELF, port, SYN),
			pkt_tcp(FAR, 1, LO, PORTS + 1 - port, SYN));
		expect_out_as(*state, pkt_tcp(LO, port, FAR, 1, ACK),
			pkt_tcp(SELF, PORTS + 1 - port, FAR, 1, ACK));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GATE_TEST(which_icmp_comes_in),
		GATE_TEST(errors_come_in_about_what_was_sent),
		GATE_TEST(mapped_errors_are_translated),
		GATE_TEST(special_checksums_in_errors),
		GATE_TEST(errors_go_out_about_what_came_in),
		GATE_TEST(other_protocols_only_with_any_port),
		GATE_TEST(any_port_opens_what_has_no_rule),
		GATE_TEST(the_first_of_two_rules_counts),
		GATE_TEST(every_port_may_have_a_rule),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
