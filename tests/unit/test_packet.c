/* SPDX-License-Identifier: Apache-2.0 */
/* unit/test_packet - packets are looked into no further than they are long, and answered */
#include "packets.h"

#include "net/packet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define PEER "127.0.42.102"
#define SELF "127.0.42.101"
#define FIN  PACKET_FIN
#define SYN  PACKET_SYN
#define RST  PACKET_RST
#define ACK  PACKET_ACK

static const uint8_t options[] = {7, 7, 4, 0, 0, 0, 0, 0}; /* a record route */

/* On a copy of exactly the packet's size, so that the sanitizers see what is read behind it */
static bool parse(const struct pkt *pkt, size_t len, struct packet_view *out)
{
	uint8_t *bytes = malloc(len ? len : 1);

	assert_non_null(bytes);
	memcpy(bytes, pkt->bytes, len);
	bool is_fine = packet_parse(bytes, len, out);
	assert_memory_equal(bytes, pkt->bytes, len);
	free(bytes);
	return is_fine;
}

static bool is_packet(struct pkt pkt)
{
	struct packet_view view;

	return parse(&pkt, pkt.len, &view);
}

static struct pkt with(struct pkt pkt, size_t at, uint8_t value)
{
	pkt.bytes[at] = value;
	return pkt;
}

/* Cut to @len bytes, with a total length that says so */
static struct pkt cut(struct pkt pkt, size_t len)
{
	pkt.len = len;
	pkt_put16(pkt.bytes + 2, (unsigned int)len);
	return pkt;
}

static void a_view_has_the_parts(void **state)
{
	struct pkt tcp = pkt_tcp_with(
		(struct pkt_head){PEER, SELF, options, sizeof(options)}, 40000, 80, SYN | 0x80);
	struct pkt udp = pkt_udp(PEER, 53, SELF, 65535);
	struct packet_view view;

	(void)state;
	assert_true(packet_parse(tcp.bytes, tcp.len, &view));
	assert_ptr_equal(view.ip, tcp.bytes);
	assert_int_equal(view.len, tcp.len);
	assert_int_equal(view.src.ip.s_addr, pkt_addr(PEER).s_addr);
	assert_int_equal(view.dst.ip.s_addr, pkt_addr(SELF).s_addr);
	assert_int_equal(view.proto, IPPROTO_TCP);
	assert_false(view.is_fragment);
	assert_ptr_equal(view.l4, tcp.bytes + 28);
	assert_int_equal(view.l4_len, 27);
	assert_int_equal(view.src.port, 40000);
	assert_int_equal(view.dst.port, 80);
	assert_int_equal(view.tcp_flags, SYN | 0x80);

	assert_true(packet_parse(udp.bytes, udp.len, &view));
	assert_int_equal(view.proto, IPPROTO_UDP);
	assert_int_equal(view.src.port, 53);
	assert_int_equal(view.dst.port, 65535);
	assert_int_equal(view.tcp_flags, 0);
}

static void lengths_have_to_fit(void **state)
{
	struct pkt tcp = pkt_tcp(PEER, 1, SELF, 2, ACK), udp = pkt_udp(PEER, 1, SELF, 2);
	struct packet_view view;

	(void)state;
	for (size_t len = 0; len < tcp.len; len++) {
		assert_false(parse(&tcp, len, &view));
		if (len >= 4)
			assert_int_equal(is_packet(cut(tcp, len)), len >= 40);
	}
	for (size_t len = 4; len < udp.len; len++) /* its own length does not fit any more */
		assert_false(is_packet(cut(udp, len)));
	tcp.len++;
	assert_false(is_packet(tcp)); /* bytes behind it */
	tcp.len--;
	assert_false(is_packet(with(tcp, 0, 0x65)));  /* version 6 */
	assert_false(is_packet(with(tcp, 0, 0x44)));  /* 16 bytes of header */
	assert_false(is_packet(with(tcp, 0, 0x4c)));  /* 48 bytes of 47 */
	assert_false(is_packet(with(tcp, 32, 0x40))); /* 16 bytes of TCP header */
	assert_false(is_packet(with(tcp, 32, 0x70))); /* 28 bytes of 27 */
	assert_true(is_packet(with(tcp, 32, 0x60)));
	assert_false(is_packet(with(udp, 25, 7)));
	assert_false(is_packet(with(udp, 25, 14)));
	assert_true(is_packet(with(udp, 25, 12))); /* the kernel cuts it */
	assert_true(is_packet(pkt_ip((struct pkt_head){PEER, SELF, NULL, 0}, 132, "", 0)));
}

static void fragments_have_no_ports(void **state)
{
	struct packet_view view;

	(void)state;
	for (unsigned int i = 0; i < 16; i++) {
		struct pkt pkt = pkt_tcp(PEER, 1, SELF, 2, ACK);

		pkt_put16(pkt.bytes + 6, 1u << i);
		assert_true(packet_parse(pkt.bytes, pkt.len, &view));
		assert_int_equal(view.is_fragment, i < 14); /* DF and the reserved bit are none */
		assert_int_equal(view.dst.port, i < 14 ? 0 : 2);
		assert_int_equal(is_packet(cut(pkt, 21)), i < 14);
	}
}

static void addresses_alone(void **state)
{
	struct pkt pkt = pkt_udp(PEER, 1, SELF, 2);
	struct in_addr src, dst;

	(void)state;
	assert_true(packet_addresses(pkt.bytes, pkt.len, &src, &dst));
	assert_int_equal(src.s_addr, pkt_addr(PEER).s_addr);
	assert_int_equal(dst.s_addr, pkt_addr(SELF).s_addr);
	for (size_t len = 0; len < pkt.len; len++)
		assert_false(packet_addresses(pkt.bytes, len, &src, &dst));
	assert_false(packet_addresses(pkt.bytes, pkt.len + 1, &src, &dst));
	pkt = cut(pkt, 20);
	assert_true(packet_addresses(pkt.bytes, pkt.len, &src, &dst));
	pkt = cut(pkt, 19);
	assert_false(packet_addresses(pkt.bytes, pkt.len, &src, &dst));
	pkt = with(cut(pkt, 20), 0, 0x55);
	assert_false(packet_addresses(pkt.bytes, pkt.len, &src, &dst));
}

static void a_copy_is_like_its_original(void **state)
{
	struct pkt tcp = pkt_tcp_with(
		(struct pkt_head){PEER, SELF, options, sizeof(options)}, 40000, 80, SYN);
	struct packet_view view, copy;

	(void)state;
	assert_true(packet_parse(tcp.bytes, tcp.len, &view));
	assert_true(packet_copy(&view, &copy));
	assert_ptr_not_equal(copy.ip, view.ip);
	assert_memory_equal(copy.ip, tcp.bytes, tcp.len);
	assert_int_equal(copy.l4 - copy.ip, 28);
	copy.ip = view.ip;
	unsigned char *bytes = copy.l4 - 28;
	copy.l4 = view.l4;
	assert_memory_equal(&copy, &view, sizeof(view));
	free(bytes);
}

/* On a quote of exactly @len bytes behind an ICMP header */
static bool parse_quote(struct pkt cause, size_t len, struct packet_view *out)
{
	struct pkt error = pkt_error(PEER, SELF, 3, cause, len);
	uint8_t *bytes = malloc(error.len);
	struct packet_view view;

	memcpy(bytes, error.bytes, error.len);
	assert_true(packet_parse(bytes, error.len, &view));
	bool is_fine = packet_parse_quote(&view, out);
	if (is_fine) {
		assert_ptr_equal(out->ip, bytes + 28);
		assert_int_equal(out->len, len < cause.len ? len : cause.len);
	}
	free(bytes);
	return is_fine;
}

static void a_quote_is_the_beginning_of_a_packet(void **state)
{
	struct pkt tcp = pkt_tcp_with(
		(struct pkt_head){SELF, PEER, options, sizeof(options)}, 80, 40000, SYN);
	struct pkt icmp = pkt_icmp(SELF, PEER, 8, "12345678", 8);
	struct packet_view quote;

	(void)state;
	for (size_t len = 0; len <= tcp.len; len++) {
		assert_int_equal(parse_quote(tcp, len, &quote), len >= 36);
		if (len < 36)
			continue;
		assert_int_equal(quote.src.ip.s_addr, pkt_addr(SELF).s_addr);
		assert_int_equal(quote.dst.ip.s_addr, pkt_addr(PEER).s_addr);
		assert_int_equal(quote.src.port, 80);
		assert_int_equal(quote.dst.port, 40000);
		assert_int_equal(quote.proto, IPPROTO_TCP);
		assert_int_equal(quote.l4 - quote.ip, 28);
		assert_int_equal(quote.l4_len, len - 28);
	}
	assert_true(parse_quote(icmp, PKT_CAP, &quote));
	assert_int_equal(quote.src.port + quote.dst.port, 0);
	assert_false(parse_quote(with(tcp, 0, 0x65), PKT_CAP, &quote));
	assert_false(parse_quote(with(tcp, 0, 0x44), PKT_CAP, &quote));
	assert_false(parse_quote(with(tcp, 0, 0x4f), PKT_CAP, &quote));
	assert_false(parse_quote(with(tcp, 6, 0x20), PKT_CAP, &quote));
	assert_false(parse_quote(with(tcp, 7, 1), PKT_CAP, &quote));
	assert_true(parse_quote(with(tcp, 6, 0x40), PKT_CAP, &quote));
}

static void expect_rst(struct pkt pkt, uint32_t seq, uint32_t ack, uint8_t flags)
{
	unsigned char rst[PACKET_RST_BYTES];
	uint32_t words[2];
	struct packet_view view;

	assert_true(packet_parse(pkt.bytes, pkt.len, &view));
	assert_true(packet_make_rst(&view, rst));
	assert_true(packet_parse(rst, sizeof(rst), &view));
	assert_int_equal(view.src.ip.s_addr, pkt_addr(SELF).s_addr);
	assert_int_equal(view.dst.ip.s_addr, pkt_addr(PEER).s_addr);
	assert_int_equal(view.proto, IPPROTO_TCP);
	assert_int_equal(view.src.port, 80);
	assert_int_equal(view.dst.port, 40000);
	assert_int_equal(view.tcp_flags, flags);
	memcpy(words, view.l4 + 4, 8);
	assert_int_equal(ntohl(words[0]), seq);
	assert_int_equal(ntohl(words[1]), ack);
	assert_true(rst[8] > 32); /* TTL */
	assert_true(pkt_is_ip_right(rst));
	assert_true(pkt_is_flow_right(rst, sizeof(rst)));
}

static void a_refusal_is_for_this_segment(void **state)
{
	const uint32_t seq = 0x01020304, ack = 0x05060708; /* of pkt_tcp */
	struct pkt wraps = pkt_tcp(PEER, 40000, SELF, 80, SYN);

	(void)state;
	expect_rst(pkt_tcp(PEER, 40000, SELF, 80, SYN), 0, seq + 8, RST | ACK);
	expect_rst(pkt_tcp(PEER, 40000, SELF, 80, FIN), 0, seq + 8, RST | ACK);
	expect_rst(pkt_tcp(PEER, 40000, SELF, 80, SYN | FIN), 0, seq + 9, RST | ACK);
	expect_rst(pkt_tcp(PEER, 40000, SELF, 80, 0), 0, seq + 7, RST | ACK);
	expect_rst(cut(pkt_tcp(PEER, 40000, SELF, 80, SYN), 40), 0, seq + 1, RST | ACK);
	expect_rst(pkt_tcp(PEER, 40000, SELF, 80, ACK), ack, 0, RST);
	expect_rst(pkt_tcp(PEER, 40000, SELF, 80, SYN | ACK), ack, 0, RST);
	struct pkt_head head = {PEER, SELF, options, sizeof(options)};
	expect_rst(pkt_tcp_with(head, 40000, 80, SYN), 0, seq + 8, RST | ACK);
	expect_rst(with(pkt_tcp(PEER, 40000, SELF, 80, SYN), 32, 0x60), 0, seq + 4, RST | ACK);
	memset(wraps.bytes + 24, 0xff, 4);
	expect_rst(wraps, 0, 7, RST | ACK);
}

static void what_gets_no_refusal(void **state)
{
	unsigned char rst[PACKET_RST_BYTES];
	struct pkt pkts[] = {
		pkt_tcp(PEER, 1, SELF, 2, RST),
		pkt_tcp(PEER, 1, SELF, 2, RST | ACK),
		pkt_tcp(PEER, 1, SELF, 2, RST | SYN),
		pkt_udp(PEER, 1, SELF, 2),
		pkt_icmp(PEER, SELF, 8, NULL, 0),
		cut(pkt_tcp(PEER, 1, SELF, 2, SYN), 39),
		with(pkt_tcp(PEER, 1, SELF, 2, SYN), 6, 0x20),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(pkts) / sizeof(pkts[0]); i++) {
		struct packet_view view;

		assert_false(packet_parse(pkts[i].bytes, pkts[i].len, &view) &&
			     packet_make_rst(&view, rst));
	}
}

static void a_beginning(void **state)
{
	const struct packet_end src = {pkt_addr(PEER), 40000}, dst = {pkt_addr(SELF), 80};
	uint8_t syn[PACKET_RST_BYTES];
	struct packet_view view;

	(void)state;
	packet_make_syn(src, dst, syn);
	assert_true(packet_parse(syn, sizeof(syn), &view));
	assert_true(packet_is_same_end(view.src, src) && packet_is_same_end(view.dst, dst));
	assert_int_equal(view.tcp_flags, SYN);
	assert_true(pkt_is_ip_right(syn) && pkt_is_flow_right(syn, sizeof(syn)));
}

/* The same for all of a flow, another one for what differs in anything that makes a flow. */
static void a_flow_has_its_hash(void **state)
{
	struct pkt base = pkt_tcp(PEER, 40000, SELF, 80, SYN);
	const struct pkt others[] = {
		pkt_tcp(PEER, 40001, SELF, 80, SYN), pkt_tcp(PEER, 40000, SELF, 81, SYN),
		pkt_tcp(SELF, 40000, SELF, 80, SYN), pkt_tcp(PEER, 40000, PEER, 80, SYN),
		pkt_udp(PEER, 40000, SELF, 80),
		with(base, 6, 0x20), /* a fragment: its ports may be anything */
	};
	uint32_t flow = packet_flow(base.bytes, base.len);
	unsigned low[256] = {0}, most = 0;

	(void)state;
	struct pkt later = with(pkt_tcp(PEER, 40000, SELF, 80, ACK), 27, 77);
	assert_int_equal(packet_flow(later.bytes, later.len), flow);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_int_not_equal(packet_flow(others[i].bytes, others[i].len), flow);
	struct pkt fragment = with(with(base, 6, 0x20), 23, 99);
	assert_int_equal(packet_flow(fragment.bytes, fragment.len),
		packet_flow(others[5].bytes, others[5].len));
	assert_int_equal(packet_flow(base.bytes, 19), 0);
	/* ports in a row are spread */
	for (unsigned i = 0; i < 2560; i++) {
		struct pkt pkt = pkt_tcp(PEER, 40000 + i, SELF, 80, SYN);
		unsigned *count = &low[packet_flow(pkt.bytes, pkt.len) % 256];

		most = ++*count > most ? *count : most;
	}
	assert_in_range(most, 10, 40);
}

static void flows_of_ipv6(void **state)
{
	static const size_t of_flow[] = {6, 8, 23, 24, 39, 40, 43}, of_none[] = {1, 7, 44, 50};
	uint8_t packet[60] = {[0] = 0x60, [5] = 20, [6] = IPPROTO_TCP, [7] = 64};
	const uint32_t flow = packet_flow(packet, sizeof(packet));

	(void)state;
	assert_int_not_equal(flow, 0);
	for (size_t i = 0; i < sizeof(of_flow) / sizeof(of_flow[0]); i++) {
		packet[of_flow[i]]++;
		assert_int_not_equal(packet_flow(packet, sizeof(packet)), flow);
		packet[of_flow[i]]--;
	}
	for (size_t i = 0; i < sizeof(of_none) / sizeof(of_none[0]); i++) {
		packet[of_none[i]]++;
		assert_int_equal(packet_flow(packet, sizeof(packet)), flow);
		packet[of_none[i]]--;
	}
	assert_int_equal(packet_flow(packet, 39), 0);
	assert_int_equal(packet_flow(packet, 59), 0);
}

#define LARGE 60000

/* A TCP packet with options and @len bytes of data, which are 0, 1, 2... */
static size_t make_large(uint8_t *out, size_t len, uint8_t flags)
{
	static const uint8_t timestamps[12] = {1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8};
	struct pkt pkt = cut(pkt_tcp(PEER, 40000, SELF, 80, flags), 40);
	size_t total = 40 + sizeof(timestamps) + len;

	memcpy(out, pkt.bytes, 40);
	memcpy(out + 40, timestamps, sizeof(timestamps));
	for (size_t i = 0; i < len; i++)
		out[52 + i] = (uint8_t)(i * 7 + i / 256);
	pkt_put16(out + 2, (unsigned)total);
	out[32] = 8 << 4;
	pkt_put16(out + 10, 0);
	pkt_put16(out + 10, 0xffff - pkt_sum(out, 20, 0));
	pkt_put16(out + 36, 0);
	pkt_put16(out + 36, 0xffff - pkt_flow_sum(out, total));
	return total;
}

static uint32_t seq_of(const uint8_t *packet)
{
	return (uint32_t)pkt_get16(packet + 24) << 16 | pkt_get16(packet + 26);
}

/* In order, the parts say what the packet said, and each is a packet that is right. */
static void parts_say_the_same(void **state)
{
	static uint8_t packet[LARGE + 60], whole[LARGE + 60], front[LARGE];
	static const size_t caps[] = {104, 105, 1500, 4001, 59999};
	const uint8_t flags = ACK | FIN | PACKET_PSH | PACKET_CWR;

	(void)state;
	for (size_t c = 0; c < sizeof(caps) / sizeof(caps[0]); c++) {
		size_t len = make_large(packet, LARGE - 1, flags), at = 0, seen = 0, taken;
		uint32_t first = seq_of(packet);
		struct packet_view view;

		memcpy(whole, packet, len);
		while ((taken = packet_cut(packet + at, len - at, front, caps[c])) > 0) {
			assert_true(packet_parse(front, caps[c], &view));
			assert_true(pkt_is_ip_right(front) && pkt_is_flow_right(front, caps[c]));
			assert_int_equal(seq_of(front), first + seen);
			assert_int_equal(view.tcp_flags, ACK | (seen == 0 ? PACKET_CWR : 0));
			assert_memory_equal(front + 40, whole + 40, 12);
			assert_memory_equal(front + 52, whole + 52 + seen, taken);
			assert_int_equal(caps[c], 52 + taken);
			at += taken;
			seen += taken;
		}
		assert_true(seen > 0 && len - at <= caps[c]);
		assert_true(packet_parse(packet + at, len - at, &view));
		assert_true(pkt_is_ip_right(packet + at));
		assert_true(pkt_is_flow_right(packet + at, len - at));
		assert_int_equal(seq_of(packet + at), first + seen);
		assert_int_equal(view.tcp_flags, flags & ~PACKET_CWR);
		assert_memory_equal(packet + at + 52, whole + 52 + seen, len - at - 52);
	}
}

static void what_cannot_be_cut(void **state)
{
	static uint8_t packet[LARGE + 60], same[LARGE + 60], front[LARGE];
	static const uint8_t flags[] = {SYN, RST | ACK, ACK | PACKET_URG};

	(void)state;
	for (size_t i = 0; i < sizeof(flags); i++) {
		size_t len = make_large(packet, 5000, flags[i]);

		memcpy(same, packet, len);
		assert_int_equal(packet_cut(packet, len, front, 1500), 0);
		assert_memory_equal(packet, same, len);
	}
	size_t len = make_large(packet, 5000, ACK);
	assert_int_equal(packet_cut(packet, len, front, len), 0);
	assert_int_equal(packet_cut(packet, len, front, 103), 0); /* no room for two heads */
	assert_int_equal(packet_cut(packet, len - 1, front, 1500), 0);
	packet[6] |= 0x20;
	assert_int_equal(packet_cut(packet, len, front, 1500), 0);
	packet[6] = 0;
	packet[9] = IPPROTO_UDP;
	assert_int_equal(packet_cut(packet, len, front, 1500), 0);
}

/* The option of a SYN becomes smaller, never larger, wherever it stands. */
static void the_segment_size_is_limited(void **state)
{
	static const struct {
		uint8_t options[12], flags;
		unsigned limit, mss, at;
	} rows[] = {
		{{2, 4, 0xff, 0xd7}, SYN, 4000, 4000, 42},
		{{2, 4, 0xff, 0xd7}, SYN | ACK, 4000, 4000, 42},
		{{1, 1, 3, 3, 7, 2, 4, 0x20, 0}, SYN, 4000, 4000, 47},
		{{2, 4, 5, 0xb4}, SYN, 4000, 1460, 42},
		{{2, 4, 0xff, 0xd7}, ACK, 4000, 0xffd7, 42},
		{{0, 0, 2, 4, 0xff, 0xd7}, SYN, 4000, 0xffd7, 44},       /* behind the end */
		{{9, 1, 3, 0, 2, 4, 0xff, 0xd7}, SYN, 4000, 0xffd7, 46}, /* none that is right */
		{{9, 40, 3, 0, 2, 4, 0xff, 0xd7}, SYN, 4000, 0xffd7, 46},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t packet[100];
		size_t len = make_large(packet, 0, rows[i].flags);

		memcpy(packet + 40, rows[i].options, sizeof(rows[i].options));
		pkt_put16(packet + 36, 0);
		pkt_put16(packet + 36, 0xffff - pkt_flow_sum(packet, len));
		packet_limit_mss(packet, len, (uint16_t)rows[i].limit);
		assert_int_equal(pkt_get16(packet + rows[i].at), rows[i].mss);
		assert_true(pkt_is_flow_right(packet, len) && pkt_is_ip_right(packet));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flows_of_ipv6),
		cmocka_unit_test(a_view_has_the_parts),
		cmocka_unit_test(lengths_have_to_fit),
		cmocka_unit_test(fragments_have_no_ports),
		cmocka_unit_test(addresses_alone),
		cmocka_unit_test(a_copy_is_like_its_original),
		cmocka_unit_test(a_quote_is_the_beginning_of_a_packet),
		cmocka_unit_test(a_refusal_is_for_this_segment),
		cmocka_unit_test(what_gets_no_refusal),
		cmocka_unit_test(a_beginning),
		cmocka_unit_test(a_flow_has_its_hash),
		cmocka_unit_test(parts_say_the_same),
		cmocka_unit_test(what_cannot_be_cut),
		cmocka_unit_test(the_segment_size_is_limited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
