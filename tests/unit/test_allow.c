/* SPDX-License-Identifier: Apache-2.0 */
/* test_allow - what begins something is judged by who sent it, what goes on is not */
#include "packets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <netinet/ip_icmp.h>
#include <stdlib.h>

#include "mesh/allow.h"

#define SELF     "127.0.42.101"
#define FRIEND   "127.0.42.102" /* may do all */
#define CLIENT   "127.0.42.103" /* may begin TCP at 80, UDP at 53 */
#define STRANGER "127.0.42.104"
#define BEHIND   "10.1.2.3" /* is routed by way of the host */
#define SYN      PACKET_SYN
#define ACK      PACKET_ACK
#define SECOND   1000000000ULL

struct bed {
	struct allow *allow;
	struct awaited awaited;
};

static int set_up(void **state)
{
	const struct mesh_allowed list[] = {
		{pkt_addr(CLIENT), 80, PROTO_TCP},
		{pkt_addr(SELF), 0, PROTO_TCP},
		{pkt_addr(CLIENT), 53, PROTO_UDP},
		{pkt_addr(FRIEND), 0, PROTO_TCP},
	};
	struct bed *bed = calloc(1, sizeof(*bed));

	bed->allow = allow_new(pkt_addr(SELF), list, sizeof(list) / sizeof(list[0]));
	assert_non_null(bed->allow);
	*state = bed;
	return 0;
}

static int tear_down(void **state)
{
	struct bed *bed = *state;

	allow_free(bed->allow);
	free(bed);
	return 0;
}

static enum allow_verdict judge(struct bed *bed, struct pkt pkt, uint64_t now_ns)
{
	struct packet_view view;

	assert_true(packet_parse(pkt.bytes, pkt.len, &view));
	return allow_judge(bed->allow, &bed->awaited, &view, now_ns);
}

static void test_tcp(void **state)
{
	const struct {
		const char *from, *to;
		uint16_t port;
		uint8_t flags;
		enum allow_verdict wanted;
	} rows[] = {
		{FRIEND, SELF, 1, SYN, ALLOW_PASS},
		{FRIEND, BEHIND, 1, SYN, ALLOW_PASS},
		{SELF, SELF, 1, SYN, ALLOW_PASS},
		{CLIENT, SELF, 80, SYN, ALLOW_PASS},
		{CLIENT, SELF, 81, SYN, ALLOW_REFUSE},
		{CLIENT, SELF, 53, SYN, ALLOW_REFUSE},
		{CLIENT, BEHIND, 80, SYN, ALLOW_REFUSE},
		{STRANGER, SELF, 80, SYN, ALLOW_REFUSE},
		{STRANGER, SELF, 80, SYN | PACKET_FIN, ALLOW_REFUSE},
		{STRANGER, SELF, 80, SYN | PACKET_RST, ALLOW_REFUSE},
		/* connections that are there, or that the host began */
		{STRANGER, SELF, 80, SYN | ACK, ALLOW_PASS},
		{STRANGER, SELF, 80, ACK, ALLOW_PASS},
		{STRANGER, SELF, 80, PACKET_RST, ALLOW_PASS},
		{CLIENT, BEHIND, 80, ACK, ALLOW_PASS},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pkt pkt =
			pkt_tcp(rows[i].from, 4000, rows[i].to, rows[i].port, rows[i].flags);

		if (judge(*state, pkt, SECOND) != rows[i].wanted)
			fail_msg("row %zu", i);
	}
}

/* Answers come to the port that asked, for a while, and nothing else. */
static void test_udp(void **state)
{
	struct bed *bed = *state;
	struct packet_view view;
	struct pkt sent = pkt_udp(SELF, 5000, STRANGER, 53);

	assert_int_equal(judge(bed, pkt_udp(CLIENT, 1, SELF, 53), SECOND), ALLOW_PASS);
	assert_int_equal(judge(bed, pkt_udp(CLIENT, 1, SELF, 80), SECOND), ALLOW_REFUSE);
	assert_int_equal(judge(bed, pkt_udp(STRANGER, 53, SELF, 5000), SECOND), ALLOW_REFUSE);
	assert_true(packet_parse(sent.bytes, sent.len, &view));
	allow_note(&bed->awaited, &view, SECOND);
	assert_int_equal(judge(bed, pkt_udp(STRANGER, 53, SELF, 5000), 2 * SECOND), ALLOW_PASS);
	assert_int_equal(judge(bed, pkt_udp(STRANGER, 54, SELF, 5000), SECOND), ALLOW_REFUSE);
	assert_int_equal(judge(bed, pkt_udp(STRANGER, 53, SELF, 5001), SECOND), ALLOW_REFUSE);
	assert_int_equal(judge(bed, pkt_udp(CLIENT, 53, SELF, 5000), SECOND), ALLOW_REFUSE);
	assert_int_equal(
		judge(bed, pkt_udp(STRANGER, 53, SELF, 5000), 1000 * SECOND), ALLOW_REFUSE);
	/* nothing is known of what was sent: nothing is an answer */
	struct pkt answer = pkt_udp(STRANGER, 53, SELF, 5000);
	assert_true(packet_parse(answer.bytes, answer.len, &view));
	assert_int_equal(allow_judge(bed->allow, NULL, &view, 2 * SECOND), ALLOW_REFUSE);
}

static void test_others(void **state)
{
	struct pkt tcp = pkt_tcp(STRANGER, 1, SELF, 80, ACK), part = tcp;

	assert_int_equal(
		judge(*state, pkt_icmp(CLIENT, SELF, ICMP_ECHO, NULL, 0), SECOND), ALLOW_PASS);
	assert_int_equal(
		judge(*state, pkt_icmp(STRANGER, SELF, ICMP_ECHO, NULL, 0), SECOND), ALLOW_REFUSE);
	assert_int_equal(
		judge(*state, pkt_icmp(CLIENT, BEHIND, ICMP_ECHO, NULL, 0), SECOND), ALLOW_REFUSE);
	assert_int_equal(judge(*state, pkt_icmp(STRANGER, SELF, ICMP_ECHOREPLY, NULL, 0), SECOND),
		ALLOW_PASS);
	assert_int_equal(
		judge(*state, pkt_error(STRANGER, SELF, ICMP_DEST_UNREACH, tcp, 28), SECOND),
		ALLOW_PASS);
	/* time, SCTP, and what is cut */
	assert_int_equal(judge(*state, pkt_icmp(STRANGER, SELF, ICMP_TIMESTAMP, NULL, 0), SECOND),
		ALLOW_REFUSE);
	part.bytes[9] = IPPROTO_SCTP;
	assert_int_equal(judge(*state, part, SECOND), ALLOW_REFUSE);
	part = tcp;
	part.bytes[6] = 0x20; /* more fragments */
	assert_int_equal(judge(*state, part, SECOND), ALLOW_DROP);
	part = pkt_tcp(FRIEND, 1, SELF, 80, SYN);
	part.bytes[6] = 0x20;
	assert_int_equal(judge(*state, part, SECOND), ALLOW_PASS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_tcp, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_udp, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_others, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
