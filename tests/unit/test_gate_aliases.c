/* SPDX-License-Identifier: Apache-2.0 */
/* test_gate_aliases - two ports of one place, and own programs: each answer finds its way back */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mesh/agent/gate_aliases.h"

#include "gate_cases.h"

#define NET   "240.3.0.0"
#define FIRST "240.3.0.1" /* the first alias, and so on */
#define NEXT  "240.3.0.2"

/* 8080, 8081 and UDP 53, 54 -> LO:9000; 80 is served elsewhere, at SELF:40000; 9001 is open */
static struct gate *shared(const char *net, bool turns)
{
	const struct in_addr members[] = {pkt_addr(SELF), pkt_addr(PEER), pkt_addr(OTHER)};
	const struct gate_port ports[] = {
		{PROTO_TCP, 8080, GATE_MAP, pkt_addr(LO), 9000},
		{PROTO_TCP, 8081, GATE_MAP, pkt_addr(LO), 9000},
		{PROTO_UDP, 53, GATE_MAP, pkt_addr(LO), 9000},
		{PROTO_UDP, 54, GATE_MAP, pkt_addr(LO), 9000},
		{PROTO_TCP, 80, GATE_HOLD_SYN, pkt_addr(SELF), 40000},
		{PROTO_TCP, 9001, GATE_OPEN, {0}, 0},
	};
	const struct gate_rules rules = {.self = pkt_addr(SELF),
		.members = members,
		.nmembers = COUNT(members),
		.ports = ports,
		.nports = COUNT(ports),
		.alias_net = pkt_addr(net),
		.turns = turns};
	struct gate *gate = gate_new();

	assert_int_equal(gate_configure(gate, &rules), 0);
	return gate;
}

#define expect_out_is(gate, pkt, verdict, after) \
	expect_at(gate, gate_out, pkt, verdict, after, SECOND, __FILE__, __LINE__)

static void each_port_is_answered_from(void **state)
{
	struct gate *gate = shared(NET, false);

	(void)state;
	/* the first one's clients are seen as they are */
	expect_in_as(gate, pkt_tcp(PEER, 7, SELF, 8080, SYN), pkt_tcp(PEER, 7, LO, 9000, SYN));
	expect_out_as(gate, pkt_tcp(LO, 9000, PEER, 7, ACK), pkt_tcp(SELF, 8080, PEER, 7, ACK));
	/* the same client's end may be the same, too */
	expect_in_as(gate, pkt_tcp(PEER, 7, SELF, 8081, SYN), pkt_tcp(FIRST, 7, LO, 9000, SYN));
	expect_in_as(gate, pkt_tcp(OTHER, 7, SELF, 8081, ACK), pkt_tcp(NEXT, 7, LO, 9000, ACK));
	expect_out_as(gate, pkt_tcp(LO, 9000, FIRST, 7, ACK), pkt_tcp(SELF, 8081, PEER, 7, ACK));
	expect_out_as(gate, pkt_tcp(LO, 9000, NEXT, 7, RST), pkt_tcp(SELF, 8081, OTHER, 7, RST));
	expect_in_as(gate, pkt_udp(PEER, 7, SELF, 54), pkt_udp("240.3.0.3", 7, LO, 9000));
	expect_out_as(gate, pkt_udp(LO, 9000, "240.3.0.3", 7), pkt_udp(SELF, 54, PEER, 7));
	/* one that is bound to all addresses answers from self */
	expect_out_as(gate, pkt_udp(SELF, 9000, "240.3.0.3", 7), pkt_udp(SELF, 54, PEER, 7));
	expect_out_as(gate, pkt_udp(SELF, 9000, PEER, 7), pkt_udp(SELF, 53, PEER, 7));
	/* what is no answer, and who is no member */
	expect_out(gate, pkt_tcp(LO, 9001, FIRST, 7, ACK), GATE_DROP);
	expect_out(gate, pkt_tcp(SELF, 9000, FIRST, 7, ACK), GATE_DROP);
	expect_out(gate, pkt_tcp(SELF, 9000, "240.3.0.9", 7, ACK), GATE_PASS);
	expect_in(gate, pkt_tcp(FAR, 7, SELF, 8081, SYN), GATE_DROP);
	expect_in(gate, pkt_tcp(FIRST, 7, SELF, 8081, SYN), GATE_DROP);
	gate_free(gate);
	/* where there are none, the first one counts */
	gate = shared("0.0.0.0", false);
	expect_in(gate, pkt_tcp(PEER, 7, SELF, 8081, SYN), GATE_REFUSE);
	gate_free(gate);
}

static void errors_are_translated(void **state)
{
	struct gate *gate = shared(NET, false);

	(void)state;
	expect_in_as(gate, pkt_udp(PEER, 7, SELF, 54), pkt_udp(FIRST, 7, LO, 9000));
	expect_out_as(gate, pkt_error(LO, FIRST, 3, pkt_udp(FIRST, 7, LO, 9000), 60),
		pkt_error(SELF, PEER, 3, pkt_udp(PEER, 7, SELF, 54), 60));
	expect_in_as(gate, pkt_error(PEER, SELF, 3, pkt_udp(SELF, 54, PEER, 7), 60),
		pkt_error(PEER, LO, 3, pkt_udp(LO, 9000, FIRST, 7), 60));
	expect_out(gate, pkt_error(LO, FIRST, 3, pkt_udp(FIRST, 7, LO, 9001), 60), GATE_DROP);
	expect_out(gate, pkt_icmp(LO, FIRST, 8, NULL, 0), GATE_DROP);
	gate_free(gate);
}

/* What the namespace sends to its own address comes back to it, to where the port leads. */
static void own_programs(void **state)
{
	struct gate *gate = shared(NET, true);

	(void)state;
	expect_out_is(gate, pkt_tcp(SELF, 7, SELF, 8080, SYN), GATE_RETURN,
		pkt_tcp(FIRST, 7, LO, 9000, SYN));
	expect_out_is(gate, pkt_tcp(LO, 9000, FIRST, 7, ACK), GATE_RETURN,
		pkt_tcp(SELF, 8080, SELF, 7, ACK));
	expect_out_is(gate, pkt_udp(LO, 7, SELF, 54), GATE_RETURN, pkt_udp(NEXT, 7, LO, 9000));
	expect_out_is(gate, pkt_udp(LO, 9000, NEXT, 7), GATE_RETURN, pkt_udp(SELF, 54, LO, 7));
	expect_out_is(gate, pkt_error(LO, NEXT, 3, pkt_udp(NEXT, 7, LO, 9000), 60), GATE_RETURN,
		pkt_error(SELF, LO, 3, pkt_udp(LO, 7, SELF, 54), 60));
	expect_out_is(gate, pkt_tcp(SELF, 7, SELF, 80, SYN), GATE_RETURN,
		pkt_tcp("240.3.0.3", 7, SELF, 40000, SYN));
	/* whatever else it is, as it is */
	expect_out(gate, pkt_tcp(SELF, 7, SELF, 9001, SYN), GATE_RETURN);
	expect_out(gate, pkt_tcp(SELF, 7, SELF, 5, SYN), GATE_RETURN);
	expect_out(gate, pkt_icmp(SELF, SELF, 8, NULL, 0), GATE_RETURN);
	gate_free(gate);
	gate = shared(NET, false);
	expect_out(gate, pkt_tcp(SELF, 7, SELF, 8080, SYN), GATE_DROP);
	gate_free(gate);
}

static void served_elsewhere(void **state)
{
	struct gate *gate = shared(NET, false);
	struct pkt held = pkt_tcp(PEER, 7, SELF, 80, SYN);
	const struct pkt after = pkt_tcp(PEER, 7, SELF, 40000, SYN);
	struct packet_view view;

	(void)state;
	expect_in(gate, held, GATE_HOLD);
	assert_true(packet_parse(held.bytes, held.len, &view));
	gate_let_in(gate, &view);
	assert_memory_equal(held.bytes, after.bytes, after.len);
	expect_in_as(gate, pkt_tcp(PEER, 7, SELF, 80, ACK), pkt_tcp(PEER, 7, SELF, 40000, ACK));
	expect_out_as(gate, pkt_tcp(SELF, 40000, PEER, 7, ACK), pkt_tcp(SELF, 80, PEER, 7, ACK));
	expect_in(gate, pkt_tcp(PEER, 7, SELF, 40000, SYN), GATE_REFUSE);
	gate_free(gate);
}

struct told {
	unsigned count;
	uint16_t port;
	struct packet_end place;
};

static void on_refused(void *owner, uint8_t proto, uint16_t port, struct packet_end place)
{
	struct told *told = owner;

	(void)proto;
	*told = (struct told){told->count + 1, port, place};
}

/* The kernel's answer to a SYN has no number, RFC 9293 3.5.2; that to anything else has. */
static struct pkt reset(const char *dst, bool is_refusal)
{
	struct pkt pkt = pkt_tcp(LO, 9000, dst, 7, RST | ACK);

	if (is_refusal) {
		memset(pkt.bytes + 24, 0, 4);
		pkt_put16(pkt.bytes + 36, 0);
		pkt_put16(pkt.bytes + 36, 0xffff - pkt_flow_sum(pkt.bytes, pkt.len));
	}
	return pkt;
}

static void refusals_are_told(void **state)
{
	struct gate *gate = shared(NET, false);
	struct told told = {0};
	struct pkt pkt;

	(void)state;
	gate_on_refused(gate, on_refused, &told);
	pkt = reset(PEER, false);
	assert_int_equal(gate_out(gate, pkt.bytes, pkt.len, SECOND), GATE_PASS);
	assert_int_equal(told.count, 0);
	pkt = reset(PEER, true);
	assert_int_equal(gate_out(gate, pkt.bytes, pkt.len, SECOND), GATE_PASS);
	assert_int_equal(told.count, 1);
	assert_int_equal(told.port, 8080);
	assert_int_equal(told.place.port, 9000);
	pkt = pkt_tcp(PEER, 7, SELF, 8081, SYN);
	go_in(gate, pkt.bytes, pkt.len, SECOND);
	pkt = reset(FIRST, true);
	assert_int_equal(gate_out(gate, pkt.bytes, pkt.len, SECOND), GATE_PASS);
	assert_int_equal(told.count, 2);
	assert_int_equal(told.port, 8081);
	pkt = pkt_error(LO, PEER, 3, pkt_udp(PEER, 7, LO, 9000), 60);
	pkt.bytes[21] = 3; /* the port, not the host */
	pkt_put16(pkt.bytes + 22, 0);
	pkt_put16(pkt.bytes + 22, 0xffff - pkt_sum(pkt.bytes + 20, pkt.len - 20, 0));
	assert_int_equal(gate_out(gate, pkt.bytes, pkt.len, SECOND), GATE_PASS);
	assert_int_equal(told.count, 3);
	assert_int_equal(told.port, 53);
	gate_free(gate);
}

/* They stay what they are, whoever else comes, until there is no room. */
static void many(void **state)
{
	struct gate_aliases aliases = {.list = NULL};
	struct in_addr ip, again;

	(void)state;
	assert_false(gate_aliases_get(&aliases, pkt_addr(PEER), 1, false, &ip));
	assert_null(gate_aliases_find(&aliases, pkt_addr(PEER)));
	gate_aliases_set(&aliases, pkt_addr(NET));
	for (uint32_t i = 1; i <= GATE_ALIASES_MAX; i++) {
		const struct in_addr peer = {htonl(0x7f002a00 + i / 16)};

		const bool is_local = i < GATE_ALIASES_MAX / 2;

		assert_true(gate_aliases_get(&aliases, peer, (uint16_t)(i % 16), is_local, &ip));
		assert_int_equal(ntohl(ip.s_addr), 0xf0030000 + i);
		if (i == GATE_ALIASES_MAX / 2)
			assert_false(gate_aliases_get(&aliases, pkt_addr(FAR), 1, true, &ip));
	}
	assert_false(gate_aliases_get(&aliases, pkt_addr(FAR), 1, false, &ip));
	for (uint32_t i = 1; i <= GATE_ALIASES_MAX; i += 7) {
		const struct in_addr peer = {htonl(0x7f002a00 + i / 16)};

		assert_true(gate_aliases_get(
			&aliases, peer, (uint16_t)(i % 16), i < GATE_ALIASES_MAX / 2, &again));
		assert_int_equal(ntohl(again.s_addr), 0xf0030000 + i);
		const struct gate_alias *alias = gate_aliases_find(&aliases, again);
		assert_true(alias && alias->peer.s_addr == peer.s_addr && alias->port == i % 16);
	}
	gate_aliases_set(&aliases, pkt_addr(NET));
	assert_int_equal(aliases.count, GATE_ALIASES_MAX);
	gate_aliases_set(&aliases, pkt_addr("240.4.0.0"));
	assert_int_equal(aliases.count, 0);
	gate_aliases_fini(&aliases);
}

#define STREAMS 40000 /* more than there are aliases for them */
#define USED    7     /* every so many of the first ones is, for ever */

static bool is_streamed(void *owner, struct in_addr ip)
{
	(void)owner;
	return ip.s_addr == pkt_addr(PEER).s_addr;
}

static bool is_used(void *owner, struct packet_end to)
{
	++*(unsigned *)owner;
	assert_int_equal(to.ip.s_addr, pkt_addr(PEER).s_addr);
	return to.port <= 1000 && to.port % USED == 0;
}

/* Returns the alias under which @port of PEER is led in, as 0: it is not. */
static uint32_t lead(struct gate *gate, uint16_t port)
{
	struct pkt pkt = pkt_tcp(SELF, 7, PEER, port, SYN);
	struct packet_end to;
	struct packet_view view;

	assert_true(packet_parse(pkt.bytes, pkt.len, &view));
	if (!gate_lead_in(gate, &view))
		return 0;
	assert_true(packet_parse(pkt.bytes, pkt.len, &view));
	assert_true(gate_find_led(gate, view.src, &to));
	assert_int_equal(to.ip.s_addr, pkt_addr(PEER).s_addr);
	assert_int_equal(to.port, port);
	return view.src.ip.s_addr;
}

/* Streams of own programs: any number, one after the other, and what goes on stays what it is. */
static void streams(void **state)
{
	static const struct gate_streams ops = {is_streamed, is_used};
	static uint32_t first[1001];
	struct gate *gate = shared(NET, false);
	unsigned asked = 0;

	(void)state;
	gate_lead_streams(gate, 50000, &ops, &asked);
	expect_in_as(gate, pkt_tcp(PEER, 7, SELF, 8081, SYN), pkt_tcp(FIRST, 7, LO, 9000, SYN));
	for (unsigned round = 0; round < 2; round++)
		for (unsigned port = 1; port <= STREAMS; port++) {
			const uint32_t alias = lead(gate, (uint16_t)port);

			assert_int_not_equal(alias, 0);
			assert_int_not_equal(alias, pkt_addr(FIRST).s_addr);
			if (port > 1000)
				continue;
			if (round == 0)
				first[port] = alias;
			else if (port % USED == 0)
				assert_int_equal(alias, first[port]);
		}
	assert_in_range(asked, 1, 2 * STREAMS);
	/* that of a client is still its own */
	expect_in_as(gate, pkt_tcp(PEER, 7, SELF, 8081, ACK), pkt_tcp(FIRST, 7, LO, 9000, ACK));
	gate_free(gate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_port_is_answered_from),
		cmocka_unit_test(errors_are_translated),
		cmocka_unit_test(own_programs),
		cmocka_unit_test(served_elsewhere),
		cmocka_unit_test(refusals_are_told),
		cmocka_unit_test(many),
		cmocka_unit_test(streams),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
