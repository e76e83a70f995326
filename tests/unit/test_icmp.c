/* SPDX-License-Identifier: Apache-2.0 */
/* test_icmp - errors that quote what they are about, and packets that are never answered */
#include "packets.h"

#include <netinet/ip_icmp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "net/icmp.h"

#define ME   "127.0.42.1"
#define PEER "127.0.42.2"

static size_t answer(struct pkt *pkt, unsigned char out[ICMP_ERROR_BYTES])
{
	struct packet_view view;

	assert_true(packet_parse(pkt->bytes, pkt->len, &view));
	return icmp_make_unreachable(&view, pkt_addr(PEER), ICMP_PORT_UNREACH, out);
}

/* Headers, and all of the packet or as much as there is room for. */
static void errors_quote(void **state)
{
	static const char payload[1400];
	unsigned char out[ICMP_ERROR_BYTES];
	struct in_addr me = pkt_addr(ME), peer = pkt_addr(PEER);
	struct pkt_head head = {ME, PEER, NULL, 0};

	(void)state;
	for (size_t len = 0; len <= sizeof(payload); len++) {
		struct pkt pkt = pkt_ip(head, 132, payload, len);
		size_t quoted = pkt.len > 548 ? 548 : pkt.len;

		assert_int_equal(answer(&pkt, out), 28 + quoted);
		assert_int_equal(pkt_get16(out + 2), 28 + quoted);
		assert_int_equal(out[9], IPPROTO_ICMP);
		assert_memory_equal(out + 12, &peer, 4);
		assert_memory_equal(out + 16, &me, 4);
		assert_true(pkt_is_ip_right(out));
		assert_true(pkt_is_icmp_right(out, 28 + quoted));
		assert_int_equal(out[20], ICMP_DEST_UNREACH);
		assert_int_equal(out[21], ICMP_PORT_UNREACH);
		assert_memory_equal(out + 28, pkt.bytes, quoted);
	}
}

/* RFC 1122 3.2.2 */
static void some_are_never_answered(void **state)
{
	static const struct {
		const char *src, *dst;
		uint8_t proto, icmp_type;
		unsigned fragment;
		bool is_answered;
	} rows[] = {
		{ME, PEER, IPPROTO_UDP, 0, 0, true},
		{ME, PEER, IPPROTO_ICMP, ICMP_ECHO, 0, true},
		{ME, PEER, IPPROTO_ICMP, ICMP_ECHOREPLY, 0, false},
		{ME, PEER, IPPROTO_ICMP, ICMP_DEST_UNREACH, 0, false},
		{ME, PEER, IPPROTO_ICMP, ICMP_SOURCE_QUENCH, 0, false},
		{ME, PEER, IPPROTO_ICMP, ICMP_REDIRECT, 0, false},
		{ME, PEER, IPPROTO_ICMP, ICMP_TIME_EXCEEDED, 0, false},
		{ME, PEER, IPPROTO_ICMP, ICMP_PARAMETERPROB, 0, false},
		{ME, PEER, IPPROTO_UDP, 0, 0x2000, true}, /* the first fragment */
		{ME, PEER, IPPROTO_UDP, 0, 0x2001, false},
		{ME, PEER, IPPROTO_UDP, 0, 0x0001, false},
		{ME, "224.0.0.1", IPPROTO_UDP, 0, 0, false},
		{ME, "255.255.255.255", IPPROTO_UDP, 0, 0, false},
		{ME, "0.0.0.0", IPPROTO_UDP, 0, 0, false},
		{"224.0.0.1", PEER, IPPROTO_UDP, 0, 0, false},
		{"255.255.255.255", PEER, IPPROTO_UDP, 0, 0, false},
		{"0.1.2.3", PEER, IPPROTO_UDP, 0, 0, false},
	};
	unsigned char out[ICMP_ERROR_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const uint8_t l4[8] = {rows[i].icmp_type, [5] = 8};
		struct pkt pkt = pkt_ip((struct pkt_head){rows[i].src, rows[i].dst, NULL, 0},
			rows[i].proto, l4, sizeof(l4));

		pkt_put16(pkt.bytes + 6, rows[i].fragment);
		assert_int_equal(answer(&pkt, out) > 0, rows[i].is_answered);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors_quote),
		cmocka_unit_test(some_are_never_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
