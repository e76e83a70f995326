/* SPDX-License-Identifier: Apache-2.0 */
/* test_gate_rewrite - packets with other ends are as if they had been made with them */
#include "packets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mesh/agent/gate_rewrite.h"

enum { ROUNDS = 200000 };

static const char *const ips[] = {"127.0.42.1", "10.0.0.1", "255.255.255.255", "0.0.0.0"};

struct ends {
	const char *src, *dst;
	unsigned src_port, dst_port;
};

static struct pkt make(struct ends ends, unsigned kind)
{
	static const uint8_t options[] = {7, 7, 4, 0, 0, 0, 0, 0};
	struct pkt_head head = {ends.src, ends.dst, options, kind % 2 ? sizeof(options) : 0};

	if (kind < 4)
		return pkt_tcp_with(head, ends.src_port, ends.dst_port, PACKET_ACK);
	struct pkt udp = pkt_udp(ends.src, ends.src_port, ends.dst, ends.dst_port);
	if (kind == 7)
		pkt_put16(udp.bytes + 26, 0); /* without a checksum */
	return udp;
}

static void assert_same(const struct pkt *got, const struct pkt *wanted)
{
	assert_int_equal(got->len, wanted->len);
	assert_memory_equal(got->bytes, wanted->bytes, wanted->len);
}

static void set_end(struct ends *ends, enum gate_side side, const char *ip, unsigned port)
{
	*(side == GATE_SRC ? &ends->src : &ends->dst) = ip;
	*(side == GATE_SRC ? &ends->src_port : &ends->dst_port) = port;
}

/* As itself, and as what an error is about, of which any part is quoted */
static void as_if_made_so(void **state)
{
	(void)state;
	srandom(1);
	for (int round = 0; round < ROUNDS; round++) {
		unsigned kind = (unsigned)random() % 8, quoted = 28 + (unsigned)random() % 40;
		enum gate_side side = random() % 2 ? GATE_SRC : GATE_DST;
		const char *ip = ips[random() % 4];
		unsigned port = (unsigned)random() % 65536;
		struct ends ends = {ips[random() % 4], ips[random() % 4],
			(unsigned)random() % 65536, (unsigned)random() % 65536};
		struct pkt pkt = make(ends, kind);
		struct packet_view view, quote;

		size_t head_len = pkt_head_len(pkt.bytes);
		if (quoted < head_len + 8)
			quoted = (unsigned)head_len + 8;
		if (quoted == head_len + 17) /* half of a checksum stays what it was */
			quoted++;
		struct pkt error = pkt_error("1.2.3.4", "5.6.7.8", 3, pkt, quoted);
		assert_true(packet_parse(pkt.bytes, pkt.len, &view));
		assert_true(packet_parse(error.bytes, error.len, &view));
		assert_true(packet_parse_quote(&view, &quote));
		set_end(&ends, side, ip, port);
		struct pkt wanted = make(ends, kind);
		struct pkt wanted_error = pkt_error("1.2.3.4", "5.6.7.8", 3, wanted, quoted);
		gate_rewrite_quote(&view, &quote, side, (struct packet_end){pkt_addr(ip), port});
		assert_same(&error, &wanted_error);
		assert_true(packet_parse(pkt.bytes, pkt.len, &view));
		gate_rewrite(&view, side, (struct packet_end){pkt_addr(ip), (uint16_t)port});
		assert_same(&pkt, &wanted);
	}
}

static void an_address_alone(void **state)
{
	struct pkt pkt = pkt_icmp("1.2.3.4", "5.6.7.8", 8, "data", 4);
	struct packet_view view;

	(void)state;
	assert_true(packet_parse(pkt.bytes, pkt.len, &view));
	gate_rewrite_address(&view, GATE_SRC, pkt_addr("127.0.0.1"));
	gate_rewrite_address(&view, GATE_DST, pkt_addr("9.9.9.9"));
	struct pkt wanted = pkt_icmp("127.0.0.1", "9.9.9.9", 8, "data", 4);
	assert_same(&pkt, &wanted);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_if_made_so),
		cmocka_unit_test(an_address_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
