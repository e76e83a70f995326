/* SPDX-License-Identifier: Apache-2.0 */
/* unit/test_guard - every kind of honest frame passes, every broken one is named */
#include "frames.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define GUEST   "10.0.2.100"
#define HOST    "10.0.2.2"
#define DNS     "10.0.2.3"
#define OUTSIDE "198.51.100.7"
#define LO      "127.0.0.1"
#define GUEST6  "fd00::100"
#define HOST6   "fd00::2"
#define DNS6    "fd00::3"
#define OUT6    "2001:db8::7"
#define LINK6   "fe80::100"
#define FIN     0x01
#define SYN     0x02
#define RST     0x04
#define PSH     0x08
#define ACK     0x10
#define URG     0x20

static const uint8_t mss[] = {2, 4, 5, 0xb4, 4, 2, 1, 3, 3, 7, 0, 0};

/* On a copy of exactly the frame's size, so that the sanitizers see what is read behind it */
static enum guard_verdict judge(const struct net_plan *config, struct frame *frame)
{
	uint8_t *bytes = malloc(frame->len ? frame->len : 1);

	assert_non_null(bytes);
	memcpy(bytes, frame->bytes, frame->len);
	enum guard_verdict verdict = guard_check(config, bytes, frame->len);
	memcpy(frame->bytes, bytes, frame->len);
	free(bytes);
	return verdict;
}

static void expect(const struct net_plan *config, struct frame frame, enum guard_verdict wanted,
	const char *file, int line)
{
	struct frame after = frame;
	enum guard_verdict got = judge(config, &after);

	if (got != wanted) {
		print_error("wanted \"%s\", got \"%s\"\n", guard_reason(wanted), guard_reason(got));
		_fail(file, line);
	}
	if (memcmp(&after, &frame, sizeof(frame)) != 0) {
		print_error("the frame was changed\n");
		_fail(file, line);
	}
}

#define expect_verdict(frame, verdict) expect(&config, frame, verdict, __FILE__, __LINE__)
#define expect_pass(frame)             expect_verdict(frame, GUARD_PASS)

static void honest_ipv4_frames_pass(void **state)
{
	struct net_plan config = frame_config();

	(void)state;
	expect_pass(frame_arp(1, GUEST, HOST));
	expect_pass(frame_arp(2, GUEST, HOST));
	expect_pass(frame_arp(1, "0.0.0.0", GUEST));
	expect_pass(frame_arp(2, LO, HOST));
	expect_pass(frame_arp(1, LO, HOST));
	expect_pass(frame_tcp(GUEST, OUTSIDE, 443, SYN, mss, sizeof(mss)));
	expect_pass(frame_tcp(GUEST, OUTSIDE, 443, ACK, NULL, 0));
	expect_pass(frame_tcp(GUEST, OUTSIDE, 443, PSH | ACK, NULL, 0));
	expect_pass(frame_tcp(GUEST, OUTSIDE, 443, FIN | ACK, NULL, 0));
	expect_pass(frame_tcp(GUEST, OUTSIDE, 443, RST, NULL, 0));
	expect_pass(frame_tcp(GUEST, OUTSIDE, 69, SYN, NULL, 0));
	expect_pass(frame_udp(GUEST, OUTSIDE, 123));
	expect_pass(frame_udp(GUEST, OUTSIDE, 69));
	expect_pass(frame_icmp(GUEST, OUTSIDE, 8));
	expect_pass(frame_icmp(GUEST, HOST, 8));
	expect_pass(frame_icmp(GUEST, DNS, 8));
}

static void padding_behind_the_packet_passes(void **state)
{
	struct net_plan config = frame_config();
	struct frame frame = frame_udp(GUEST, OUTSIDE, 53);

	(void)state;
	frame.len = 60;
	expect_pass(frame);
	frame = frame_arp(1, GUEST, HOST);
	frame.len = 60;
	expect_pass(frame);
}

static void answers_to_forwards_pass(void **state)
{
	struct net_plan config = frame_config();

	(void)state;
	expect_pass(frame_tcp(GUEST, HOST, 50000, SYN | ACK, mss, sizeof(mss)));
	expect_pass(frame_tcp(GUEST, HOST, 50000, PSH | ACK, NULL, 0));
	expect_pass(frame_tcp(GUEST, HOST, 50000, RST | ACK, NULL, 0));
	expect_pass(frame_udp(GUEST, HOST, 50000));
	expect_pass(frame_tcp(LO, HOST, 50000, SYN | ACK, NULL, 0));
	expect_pass(frame_tcp(LO, OUTSIDE, 50000, SYN | ACK, NULL, 0));
	expect_pass(frame_tcp(GUEST6, HOST6, 50000, SYN | ACK, NULL, 0));
}

static void honest_ipv6_frames_pass(void **state)
{
	struct net_plan config = frame_config();

	(void)state;
	expect_pass(frame_tcp(GUEST6, OUT6, 443, SYN, mss, sizeof(mss)));
	expect_pass(frame_udp(GUEST6, OUT6, 443));
	expect_pass(frame_icmp(GUEST6, HOST6, 128));
	expect_verdict(frame_icmp(GUEST6, OUT6, 128), GUARD_DROP_ECHO6);
	expect_pass(frame_icmp(GUEST6, DNS6, 128));
	expect_pass(frame_nd(LINK6, "ff02::2", 133, 8));
	expect_pass(frame_nd("::", "ff02::2", 133, 8));
	expect_pass(frame_nd("::", "ff02::1:ff00:100", 135, 24));
	expect_pass(frame_nd(GUEST6, "ff02::1:ff00:2", 135, 24));
	expect_pass(frame_nd(GUEST6, HOST6, 135, 24));
	expect_pass(frame_nd(LINK6, "fe80::2", 135, 24));
	expect_pass(frame_nd(GUEST6, "fe80::2", 136, 24));
	expect_pass(frame_nd(LINK6, "fe80::2", 136, 24));
}

static void frames_that_are_no_frames(void **state)
{
	struct net_plan config = frame_config();
	struct frame frame = frame_udp(GUEST, OUTSIDE, 53);

	(void)state;
	for (frame.len = 0; frame.len < 14; frame.len++)
		expect_verdict(frame, GUARD_DROP_SHORT);
	expect_verdict(frame_eth(0x88f8), GUARD_DROP_ETHERTYPE);
	expect_verdict(frame_eth(0x8100), GUARD_DROP_ETHERTYPE);
	expect_verdict(frame_eth(100), GUARD_DROP_ETHERTYPE);
	frame = frame_udp(GUEST, OUTSIDE, 123);
	frame.len = 14 + 1500;
	expect_pass(frame);
	frame.len++;
	expect_verdict(frame, GUARD_DROP_LONG);
	config.has_ipv6 = false;
	expect_verdict(frame_udp(GUEST6, OUT6, 123), GUARD_DROP_IPV6_OFF);
}

static void arp_of_others(void **state)
{
	struct net_plan config = frame_config();
	static const size_t kind_offsets[] = {1, 2, 4, 5};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct frame frame = frame_arp(1, GUEST, HOST);

		frame.bytes[14 + kind_offsets[i]]++;
		expect_verdict(frame, GUARD_DROP_ARP_SHAPE);
	}
	struct frame frame = frame_arp(1, GUEST, HOST);
	frame.len--;
	expect_verdict(frame, GUARD_DROP_ARP_SHAPE);
	expect_verdict(frame_arp(0, GUEST, HOST), GUARD_DROP_ARP_SHAPE);
	expect_verdict(frame_arp(3, GUEST, HOST), GUARD_DROP_ARP_SHAPE);
	expect_verdict(frame_arp(1, HOST, GUEST), GUARD_DROP_ARP_SENDER);
	expect_verdict(frame_arp(2, DNS, GUEST), GUARD_DROP_ARP_SENDER);
	expect_verdict(frame_arp(2, "0.0.0.0", GUEST), GUARD_DROP_ARP_SENDER);
}

/* One byte of an honest UDP frame at @at (from the IP header on) set to @value */
static struct frame twisted(size_t at, uint8_t value)
{
	struct frame frame = frame_udp(GUEST, OUTSIDE, 123);

	frame.bytes[14 + at] = value;
	return frame;
}

static void broken_ipv4_headers(void **state)
{
	struct net_plan config = frame_config();

	(void)state;
	for (size_t len = 14; len < 14 + 20; len++) {
		struct frame frame = frame_udp(GUEST, OUTSIDE, 123);

		frame.len = len;
		expect_verdict(frame, GUARD_DROP_IP_HEADER);
	}
	expect_verdict(twisted(0, 0x65), GUARD_DROP_IP_HEADER);
	expect_verdict(twisted(0, 0x44), GUARD_DROP_IP_HEADER);
	expect_verdict(twisted(0, 0x4f), GUARD_DROP_IP_HEADER); /* 60 bytes, the packet has 33 */
	expect_verdict(twisted(8, 0), GUARD_DROP_IP_HEADER);
	expect_verdict(twisted(0, 0x46), GUARD_DROP_IP_OPTIONS);
	expect_verdict(twisted(3, 19), GUARD_DROP_IP_LENGTH);
	expect_verdict(twisted(3, 34), GUARD_DROP_IP_LENGTH);
	expect_verdict(twisted(2, 0xff), GUARD_DROP_IP_LENGTH);
	expect_verdict(twisted(6, 0x20), GUARD_DROP_FRAGMENT);
	expect_verdict(twisted(6, 0x80), GUARD_DROP_FRAGMENT);
	expect_verdict(twisted(6, 0x41), GUARD_DROP_FRAGMENT);
	expect_verdict(twisted(7, 1), GUARD_DROP_FRAGMENT);
	expect_pass(twisted(6, 0x40));
	expect_verdict(twisted(9, 2), GUARD_DROP_PROTOCOL);
	expect_verdict(twisted(9, 58), GUARD_DROP_PROTOCOL);
	expect_verdict(twisted(9, 132), GUARD_DROP_PROTOCOL);
}

static void ipv4_addresses(void **state)
{
	struct net_plan config = frame_config();

	(void)state;
	expect_verdict(frame_udp("10.0.2.101", OUTSIDE, 1), GUARD_DROP_SOURCE);
	expect_verdict(frame_udp(HOST, OUTSIDE, 1), GUARD_DROP_SOURCE);
	expect_verdict(frame_udp("0.0.0.0", OUTSIDE, 1), GUARD_DROP_SOURCE);
	expect_verdict(frame_udp(LO, OUTSIDE, 1), GUARD_DROP_BOUND_UDP);
	expect_verdict(frame_udp("127.0.0.2", OUTSIDE, 1), GUARD_DROP_BOUND_UDP);
	expect_verdict(frame_icmp(LO, OUTSIDE, 8), GUARD_DROP_SOURCE);
	expect_verdict(frame_tcp(LO, OUTSIDE, 443, SYN, NULL, 0), GUARD_DROP_BOUND);
	expect_verdict(frame_tcp("127.0.0.2", OUTSIDE, 443, SYN, NULL, 0), GUARD_DROP_BOUND);
	expect_verdict(frame_tcp("127.0.0.2", OUTSIDE, 443, SYN | ACK, NULL, 0), GUARD_DROP_SOURCE);
	expect_verdict(frame_icmp("127.0.0.2", OUTSIDE, 8), GUARD_DROP_SOURCE);
	expect_verdict(frame_udp(GUEST, "0.0.0.0", 1), GUARD_DROP_DESTINATION);
	expect_verdict(frame_udp(GUEST, "0.1.2.3", 1), GUARD_DROP_DESTINATION);
	expect_verdict(frame_udp(GUEST, LO, 1), GUARD_DROP_DESTINATION);
	expect_verdict(frame_udp(GUEST, "127.255.0.53", 1), GUARD_DROP_DESTINATION);
	expect_verdict(frame_udp(GUEST, "240.0.0.1", 1), GUARD_DROP_DESTINATION);
	expect_verdict(frame_udp(GUEST, "255.255.255.254", 1), GUARD_DROP_DESTINATION);
	expect_verdict(frame_udp(GUEST, "224.0.0.251", 1), GUARD_DROP_MULTICAST);
	expect_verdict(frame_udp(GUEST, "239.255.255.250", 1), GUARD_DROP_MULTICAST);
	expect_verdict(frame_udp(GUEST, "255.255.255.255", 67), GUARD_DROP_BROADCAST);
	expect_verdict(frame_udp(GUEST, "10.0.2.255", 1), GUARD_DROP_BROADCAST);
	expect_verdict(frame_udp(GUEST, "10.0.2.0", 1), GUARD_DROP_NEIGHBOUR);
	expect_verdict(frame_udp(GUEST, "10.0.2.1", 1), GUARD_DROP_NEIGHBOUR);
	expect_verdict(frame_udp(GUEST, GUEST, 1), GUARD_DROP_NEIGHBOUR);
	expect_pass(frame_udp(GUEST, "10.0.3.1", 1));
	expect_pass(frame_udp(GUEST, "223.255.255.1", 1));
}

static void host_and_dns(void **state)
{
	struct net_plan config = frame_config();

	(void)state;
	expect_verdict(frame_tcp(GUEST, HOST, 22, SYN, NULL, 0), GUARD_DROP_HOST_LOOPBACK);
	expect_verdict(frame_tcp(GUEST, HOST, 22, SYN | URG, NULL, 0), GUARD_DROP_HOST_LOOPBACK);
	expect_verdict(frame_tcp(GUEST, HOST, 22, SYN | PSH, NULL, 0), GUARD_DROP_HOST_LOOPBACK);
	expect_verdict(frame_tcp(GUEST6, HOST6, 22, SYN, NULL, 0), GUARD_DROP_HOST_LOOPBACK);
	config.allows_host_loopback = true;
	expect_pass(frame_tcp(GUEST, HOST, 22, SYN, NULL, 0));
	expect_pass(frame_tcp(GUEST6, HOST6, 22, SYN, NULL, 0));

	expect_verdict(frame_tcp(GUEST, DNS, 22, SYN, NULL, 0), GUARD_DROP_DNS_PORT);
	expect_verdict(frame_tcp(GUEST, DNS, 22, ACK, NULL, 0), GUARD_DROP_DNS_PORT);
	expect_verdict(frame_udp(GUEST, DNS, 54), GUARD_DROP_DNS_PORT);
	expect_verdict(frame_tcp(GUEST, DNS, 53, SYN, NULL, 0), GUARD_DROP_DNS_PORT);
	expect_verdict(frame_udp(GUEST, DNS, 53), GUARD_DROP_DNS_PORT);
	expect_verdict(frame_udp(GUEST6, DNS6, 53), GUARD_DROP_DNS_PORT);
	expect_verdict(frame_udp(GUEST6, DNS6, 5353), GUARD_DROP_DNS_PORT);
	config.has_dns = false;
	expect_verdict(frame_udp(GUEST, DNS, 53), GUARD_DROP_DNS_OFF);
	expect_verdict(frame_icmp(GUEST, DNS, 8), GUARD_DROP_DNS_OFF);
	expect_verdict(frame_udp(GUEST6, DNS6, 53), GUARD_DROP_DNS_OFF);
}

static struct frame tcp_with(size_t at, uint8_t value)
{
	struct frame frame = frame_tcp(GUEST, OUTSIDE, 443, SYN, mss, sizeof(mss));

	frame.bytes[FRAME_L4 + at] = value;
	return frame;
}

static void broken_tcp(void **state)
{
	struct net_plan config = frame_config();
	static const uint8_t flags[] = {0, PSH, URG, SYN | FIN, SYN | RST, SYN | ACK | FIN, 0xc0};

	(void)state;
	for (unsigned int len = 0; len < 20; len++) {
		struct frame frame = frame_tcp(GUEST, OUTSIDE, 443, SYN, NULL, 0);

		frame_put16(&frame, 16, 20 + len);
		frame.len = FRAME_L4 + len;
		expect_verdict(frame, GUARD_DROP_TCP_HEADER);
	}
	expect_verdict(tcp_with(12, 0x40), GUARD_DROP_TCP_HEADER);
	expect_verdict(tcp_with(12, 0xa0), GUARD_DROP_TCP_HEADER); /* 40 bytes of 37 */
	for (size_t i = 0; i < sizeof(flags); i++)
		expect_verdict(tcp_with(13, flags[i]), GUARD_DROP_TCP_FLAGS);
	expect_verdict(tcp_with(21, 0), GUARD_DROP_TCP_OPTIONS);
	expect_verdict(tcp_with(21, 1), GUARD_DROP_TCP_OPTIONS);
	expect_verdict(tcp_with(21, 13), GUARD_DROP_TCP_OPTIONS);
	expect_pass(tcp_with(21, 12));
	expect_verdict(tcp_with(28, 8), GUARD_DROP_TCP_OPTIONS);
	expect_verdict(frame_tcp(GUEST, OUTSIDE, 1, SYN, "\1\1\1\2", 4), GUARD_DROP_TCP_OPTIONS);
	struct frame frame = frame_tcp(GUEST, OUTSIDE, 1, SYN, "\1\1\1\2", 4);
	frame.len -=
		5; /* nothing behind the option's kind: its length would be read past the end */
	frame_put16(&frame, 16, 44);
	expect_verdict(frame, GUARD_DROP_TCP_OPTIONS);
	expect_pass(frame_tcp(GUEST, OUTSIDE, 1, SYN, "\0\2\0\0", 4)); /* nothing behind the end */
	expect_verdict(frame_tcp(GUEST6, OUT6, 1, SYN, "\2\0\0\0", 4), GUARD_DROP_TCP_OPTIONS);
	expect_verdict(frame_tcp(GUEST6, OUT6, 1, SYN | FIN, NULL, 0), GUARD_DROP_TCP_FLAGS);
}

static void broken_udp(void **state)
{
	struct net_plan config = frame_config();
	static const unsigned int services[] = {67, 69, 547};

	(void)state;
	for (unsigned int len = 0; len < 8; len++) {
		struct frame frame = frame_udp(GUEST, OUTSIDE, 123);

		frame_put16(&frame, 16, 20 + len);
		frame_put16(&frame, FRAME_L4 + 4, len);
		frame.len = FRAME_L4 + len;
		expect_verdict(frame, GUARD_DROP_UDP_LENGTH);
	}
	expect_verdict(twisted(25, 7), GUARD_DROP_UDP_LENGTH);
	expect_verdict(twisted(25, 12), GUARD_DROP_UDP_LENGTH);
	expect_verdict(twisted(25, 14), GUARD_DROP_UDP_LENGTH);
	expect_verdict(twisted(24, 0xff), GUARD_DROP_UDP_LENGTH);
	config.allows_host_loopback = true;
	for (size_t i = 0; i < 3; i++) {
		expect_verdict(frame_udp(GUEST, HOST, services[i]), GUARD_DROP_UDP_SERVICE);
		expect_verdict(frame_udp(GUEST, DNS, services[i]), GUARD_DROP_UDP_SERVICE);
		expect_verdict(frame_udp(GUEST6, HOST6, services[i]), GUARD_DROP_UDP_SERVICE);
		expect_verdict(frame_udp(GUEST6, "ff02::1:2", services[i]), GUARD_DROP_UDP_SERVICE);
		expect_pass(frame_udp(GUEST, OUTSIDE, services[i]));
	}
}

static void icmp_other_than_echo(void **state)
{
	struct net_plan config = frame_config();

	(void)state;
	expect_verdict(frame_icmp(GUEST, HOST, 3), GUARD_DROP_ICMP_UNREACHABLE);
	expect_verdict(frame_icmp(GUEST6, HOST6, 1), GUARD_DROP_ICMP_UNREACHABLE);
	expect_verdict(frame_icmp(GUEST, OUTSIDE, 0), GUARD_DROP_ICMP_TYPE);
	expect_verdict(frame_icmp(GUEST, OUTSIDE, 13), GUARD_DROP_ICMP_TYPE);
	expect_verdict(frame_icmp(GUEST6, OUT6, 129), GUARD_DROP_ICMP_TYPE);
	expect_verdict(frame_icmp(GUEST6, "ff02::1", 134), GUARD_DROP_ICMP_TYPE);
	expect_verdict(frame_icmp(GUEST6, "ff02::1", 137), GUARD_DROP_ICMP_TYPE);
	struct frame frame = frame_icmp(GUEST, OUTSIDE, 8);
	frame.bytes[FRAME_L4 + 1] = 1;
	expect_verdict(frame, GUARD_DROP_ICMP_TYPE);
	expect_verdict(frame_ip(GUEST, OUTSIDE, 1, "\10\0\0\0\0\0\0", 7), GUARD_DROP_ICMP_HEADER);
	expect_verdict(frame_ip(GUEST, OUTSIDE, 1, "", 0), GUARD_DROP_ICMP_HEADER);
	expect_verdict(frame_ip(GUEST6, OUT6, 58, "\200\0\0\0\0\0\0", 7), GUARD_DROP_ICMP_HEADER);
}

static void broken_ipv6_headers(void **state)
{
	struct net_plan config = frame_config();
	static const uint8_t extensions[] = {0, 43, 44, 50, 51, 59, 60, 1};

	(void)state;
	for (size_t len = 14; len < 14 + 40; len++) {
		struct frame frame = frame_udp(GUEST6, OUT6, 123);

		frame.len = len;
		expect_verdict(frame, GUARD_DROP_IP_HEADER);
	}
	struct frame frame = frame_udp(GUEST6, OUT6, 123);
	frame.bytes[14] = 0x45;
	expect_verdict(frame, GUARD_DROP_IP_HEADER);
	frame = frame_udp(GUEST6, OUT6, 123);
	frame.bytes[14 + 7] = 0;
	expect_verdict(frame, GUARD_DROP_IP_HEADER);
	for (int off = -1; off <= 1; off += 2) {
		frame = frame_udp(GUEST6, OUT6, 123);
		frame_put16(&frame, 14 + 4, (unsigned int)(13 + off));
		expect_verdict(frame, GUARD_DROP_IP_LENGTH);
	}
	for (size_t i = 0; i < sizeof(extensions); i++) {
		frame = frame_udp(GUEST6, OUT6, 123);
		frame.bytes[14 + 6] = extensions[i];
		expect_verdict(frame, GUARD_DROP_PROTOCOL);
	}
}

static void ipv6_addresses(void **state)
{
	struct net_plan config = frame_config();
	static const char *const forbidden[] = {
		"::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "::8.8.8.8"};

	(void)state;
	for (size_t i = 0; i < sizeof(forbidden) / sizeof(*forbidden); i++) {
		expect_verdict(
			frame_tcp(GUEST6, forbidden[i], 22, SYN, NULL, 0), GUARD_DROP_DESTINATION);
		expect_verdict(frame_icmp(GUEST6, forbidden[i], 128), GUARD_DROP_DESTINATION);
	}
	expect_verdict(frame_udp("fd00::101", OUT6, 1), GUARD_DROP_SOURCE);
	expect_verdict(frame_udp("::1", OUT6, 1), GUARD_DROP_SOURCE);
	expect_verdict(frame_udp(LINK6, OUT6, 1), GUARD_DROP_SOURCE);
	expect_verdict(frame_udp("::", OUT6, 1), GUARD_DROP_SOURCE);
	expect_verdict(frame_tcp(LINK6, "fe80::2", 1, SYN, NULL, 0), GUARD_DROP_SOURCE);
	expect_verdict(frame_icmp(LINK6, HOST6, 128), GUARD_DROP_SOURCE);
	expect_verdict(frame_nd("::", "fe80::2", 136, 24), GUARD_DROP_SOURCE);
	expect_verdict(frame_udp(GUEST6, "fe80::2", 1), GUARD_DROP_LINK_LOCAL);
	expect_verdict(frame_udp(GUEST6, "fec0::2", 1), GUARD_DROP_LINK_LOCAL);
	expect_verdict(frame_icmp(GUEST6, "fe80::2", 128), GUARD_DROP_LINK_LOCAL);
	expect_verdict(frame_udp(GUEST6, "ff02::fb", 5353), GUARD_DROP_MULTICAST);
	expect_verdict(frame_icmp(GUEST6, "ff02::1", 128), GUARD_DROP_MULTICAST);
	expect_verdict(frame_udp(GUEST6, "fd00::1", 1), GUARD_DROP_NEIGHBOUR);
	expect_verdict(frame_udp(GUEST6, GUEST6, 1), GUARD_DROP_NEIGHBOUR);
	expect_pass(frame_udp(GUEST6, "fd00:0:0:1::2", 1));
	config.prefix6_len = 63;
	expect_verdict(frame_udp(GUEST6, "fd00:0:0:1::2", 1), GUARD_DROP_NEIGHBOUR);
	expect_pass(frame_udp(GUEST6, "fd00:0:0:2::2", 1));
	config.prefix6_len = 128;
	expect_pass(frame_udp(GUEST6, "fd00::1", 1));
	expect_verdict(frame_udp(GUEST6, "fd00::", 1), GUARD_DROP_NEIGHBOUR);
}

static void broken_neighbour_discovery(void **state)
{
	struct net_plan config = frame_config();
	struct frame frame = frame_nd(GUEST6, HOST6, 135, 24);

	(void)state;
	frame.bytes[14 + 7] = 254;
	expect_verdict(frame, GUARD_DROP_ND);
	frame = frame_nd(GUEST6, HOST6, 135, 24);
	frame.bytes[FRAME6_L4 + 1] = 1;
	expect_verdict(frame, GUARD_DROP_ND);
	expect_verdict(frame_nd(GUEST6, OUT6, 135, 24), GUARD_DROP_ND);
	expect_verdict(
		frame_ip(GUEST6, HOST6, 58, "\207\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16), GUARD_DROP_ND);
	frame = frame_nd(GUEST6, HOST6, 135, 24);
	frame.bytes[FRAME6_L4 + 25] = 0;
	expect_verdict(frame, GUARD_DROP_ND_OPTIONS);
	frame.bytes[FRAME6_L4 + 25] = 2;
	expect_verdict(frame, GUARD_DROP_ND_OPTIONS);
	frame = frame_nd(LINK6, "ff02::2", 133, 8);
	frame.len -= 4;
	frame_put16(&frame, 14 + 4, 12);
	expect_verdict(frame, GUARD_DROP_ND_OPTIONS);
}

static void check_urgent(const char *src, const char *dst, unsigned int pointer, uint8_t flags)
{
	struct net_plan config = frame_config();
	struct frame frame = frame_tcp(src, dst, 23, flags, NULL, 0);
	size_t l4 = strchr(src, ':') ? FRAME6_L4 : FRAME_L4;

	frame_put16(&frame, l4 + 18, pointer);
	frame_put16(&frame, l4 + 16, 0);
	frame_put16(&frame, l4 + 16, frame_l4_sum(&frame));
	struct frame wanted = frame;
	assert_int_equal(judge(&config, &frame), GUARD_PASS);
	assert_int_equal(frame.bytes[l4 + 13], flags & ~URG);
	assert_int_equal(frame_get16(frame.bytes + l4 + 18), 0);
	assert_int_equal(frame_l4_sum(&frame), 0);
	wanted.bytes[l4 + 13] &= (uint8_t)~URG;
	memset(wanted.bytes + l4 + 16, 0, 4);
	frame_put16(&wanted, l4 + 16, frame_get16(frame.bytes + l4 + 16));
	assert_memory_equal(&frame, &wanted, sizeof(frame));
}

static void urgent_data_becomes_plain_data(void **state)
{
	(void)state;
	for (unsigned int pointer = 0; pointer <= 0xffff; pointer += 257) {
		check_urgent(GUEST, OUTSIDE, pointer, URG | ACK | PSH);
		check_urgent(GUEST6, OUT6, pointer, URG | ACK);
	}
	check_urgent(GUEST, OUTSIDE, 1, URG | SYN);
	check_urgent(LO, OUTSIDE, 0xffff, URG | ACK);
}

static void a_wrong_checksum_stays_wrong(void **state)
{
	struct net_plan config = frame_config();
	struct frame frame = frame_tcp(GUEST, OUTSIDE, 23, URG | ACK, NULL, 0);

	(void)state;
	frame.bytes[FRAME_L4 + 16] ^= 0x5a;
	assert_int_equal(judge(&config, &frame), GUARD_PASS);
	assert_int_not_equal(frame_l4_sum(&frame), 0);
}

static void every_verdict_has_its_own_words(void **state)
{
	(void)state;
	for (int i = 0; i < GUARD_VERDICTS; i++) {
		assert_string_not_equal(guard_reason((enum guard_verdict)i), "unknown");
		for (int k = 0; k < i; k++)
			assert_string_not_equal(guard_reason((enum guard_verdict)i),
				guard_reason((enum guard_verdict)k));
	}
	assert_string_equal(guard_reason(GUARD_VERDICTS), "unknown");
	assert_string_equal(guard_reason((enum guard_verdict) - 1), "unknown");
	assert_true(guard_is_usual(GUARD_DROP_MULTICAST));
	assert_false(guard_is_usual(GUARD_DROP_SOURCE));
}

static uint32_t next_random(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

static struct frame any_frame(uint32_t pick)
{
	switch (pick % 8) {
	case 0:
		return frame_arp(1 + pick % 2, GUEST, HOST);
	case 1:
		return frame_tcp(GUEST, OUTSIDE, 443, SYN, mss, sizeof(mss));
	case 2:
		return frame_tcp(GUEST, HOST, 443, URG | ACK, mss, sizeof(mss));
	case 3:
		return frame_udp(GUEST, OUTSIDE, 53);
	case 4:
		return frame_icmp(GUEST, OUTSIDE, 8);
	case 5:
		return frame_tcp(GUEST6, OUT6, 443, SYN, mss, sizeof(mss));
	case 6:
		return frame_udp(GUEST6, OUT6, 53);
	default:
		return frame_nd(GUEST6, HOST6, 135, 24);
	}
}

static void what_passes_is_whole(void **state)
{
	struct net_plan config = frame_config();
	uint32_t seed = 20240611;
	unsigned int passed = 0, rounds = 300000;

	(void)state;
	for (unsigned int i = 0; i < rounds; i++) {
		struct frame frame = any_frame(next_random(&seed));

		for (uint32_t k = next_random(&seed) % 4; k > 0; k--)
			frame.bytes[next_random(&seed) % frame.len] = (uint8_t)next_random(&seed);
		if (next_random(&seed) % 4 == 0)
			frame.len = next_random(&seed) % (frame.len + 8);
		if (judge(&config, &frame) != GUARD_PASS)
			continue;
		passed++;
		const char *broken = frame_broken(&config, frame.bytes, frame.len);
		if (broken)
			fail_msg("round %u: %s", i, broken);
	}
	/* both outcomes must be common, or the test shows nothing */
	assert_in_range(passed, rounds / 10, rounds * 9 / 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(honest_ipv4_frames_pass),
		cmocka_unit_test(padding_behind_the_packet_passes),
		cmocka_unit_test(answers_to_forwards_pass),
		cmocka_unit_test(honest_ipv6_frames_pass),
		cmocka_unit_test(frames_that_are_no_frames),
		cmocka_unit_test(arp_of_others),
		cmocka_unit_test(broken_ipv4_headers),
		cmocka_unit_test(ipv4_addresses),
		cmocka_unit_test(host_and_dns),
		cmocka_unit_test(broken_tcp),
		cmocka_unit_test(broken_udp),
		cmocka_unit_test(icmp_other_than_echo),
		cmocka_unit_test(broken_ipv6_headers),
		cmocka_unit_test(ipv6_addresses),
		cmocka_unit_test(broken_neighbour_discovery),
		cmocka_unit_test(urgent_data_becomes_plain_data),
		cmocka_unit_test(a_wrong_checksum_stays_wrong),
		cmocka_unit_test(every_verdict_has_its_own_words),
		cmocka_unit_test(what_passes_is_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
