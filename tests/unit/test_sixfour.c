/* SPDX-License-Identifier: Apache-2.0 */
/* test_sixfour - what goes in as IPv6 comes out as IPv6, and what has no counterpart does not */
#include <arpa/inet.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "exit/sixfour.h"
#include "net/icmp.h"
#include "net/packet.h"

enum { HEAD = 40, ROOM = 2048 };

static struct in6_addr ip6(const char *text)
{
	struct in6_addr ip;

	assert_int_equal(inet_pton(AF_INET6, text, &ip), 1);
	return ip;
}

/* A packet of @len bytes behind its header. */
static size_t make(unsigned char *packet, const char *src, const char *dst, uint8_t proto,
	const void *l4, size_t len)
{
	const struct in6_addr ends[] = {ip6(src), ip6(dst)};

	memset(packet, 0, HEAD);
	packet[0] = 0x60;
	packet_put16(packet + 4, (uint16_t)len);
	packet[6] = proto;
	packet[7] = 64;
	memcpy(packet + 8, ends, 32);
	memcpy(packet + HEAD, l4, len);
	return HEAD + len;
}

static bool has_right_icmp_sum(const unsigned char *packet, size_t len)
{
	uint32_t sum = (uint32_t)(len - HEAD) + IPPROTO_ICMPV6;

	sum += (uint16_t)~packet_checksum(packet + 8, len - 8);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

/* Swap the ends of an IPv4 packet: an answer. */
static void turn(unsigned char *packet)
{
	unsigned char ends[8];

	memcpy(ends, packet + 12, 8);
	memcpy(packet + 12, ends + 4, 4);
	memcpy(packet + 16, ends, 4);
}

static void datagrams_go_both_ways(void **state)
{
	static const unsigned char datagram[] = {0, 7, 0, 9, 0, 12, 0, 0, 'a', 'b', 'c', 'd'};
	unsigned char bytes[ROOM], *packet = bytes + SIXFOUR_GROWTH;
	struct sixfour *sixfour = sixfour_new();
	struct packet_view view;
	struct in6_addr found;

	(void)state;
	size_t len = make(bytes, "fd00::1", "2001:db8::2", IPPROTO_UDP, datagram, sizeof(datagram));
	len = sixfour_in(sixfour, bytes, len);
	assert_int_equal(len, PACKET_IPV4_BYTES + sizeof(datagram));
	assert_true(packet_parse(packet, len, &view));
	assert_int_equal(view.proto, IPPROTO_UDP);
	assert_int_equal(view.src.port, 7);
	assert_int_equal(view.dst.port, 9);
	assert_true(sixfour_is_alias(view.src.ip) && sixfour_is_alias(view.dst.ip));
	assert_true(sixfour_find(sixfour, view.dst.ip, &found));
	const struct in6_addr expected_ip = ip6("2001:db8::2");
	assert_memory_equal(&found, &expected_ip, sizeof(found));
	assert_int_equal(packet_checksum(packet, PACKET_IPV4_BYTES), 0);

	turn(packet);
	len = sixfour_out(sixfour, packet, len, len);
	assert_int_equal(len, HEAD + sizeof(datagram));
	unsigned char expected[ROOM];
	make(expected, "2001:db8::2", "fd00::1", IPPROTO_UDP, datagram, sizeof(datagram));
	assert_memory_equal(bytes, expected, len);
	sixfour_free(sixfour);
}

static void pings_and_errors_have_their_other_numbers(void **state)
{
	static const unsigned char ping[] = {ICMP6_ECHO_REQUEST, 0, 0, 0, 1, 2, 0, 3, 'x'};
	unsigned char bytes[ROOM], *packet = bytes + SIXFOUR_GROWTH, error[ICMP_ERROR_BYTES + 64];
	struct sixfour *sixfour = sixfour_new();
	struct packet_view view;

	(void)state;
	size_t len = make(bytes, "fd00::1", "2001:db8::2", IPPROTO_ICMPV6, ping, sizeof(ping));
	len = sixfour_in(sixfour, bytes, len);
	assert_true(packet_parse(packet, len, &view));
	assert_int_equal(view.proto, IPPROTO_ICMP);
	assert_int_equal(view.l4[0], ICMP_ECHO);

	/* an error about it quotes what was sent */
	unsigned char *at = error + SIXFOUR_GROWTH;
	size_t error_len = icmp_make_unreachable(&view, view.dst.ip, ICMP_HOST_UNREACH, at);
	assert_true(error_len > 0);
	assert_int_equal(sixfour_out(sixfour, at, error_len, error_len), 0); /* no room */
	error_len = icmp_make_unreachable(&view, view.dst.ip, ICMP_PORT_UNREACH, at);
	error_len = sixfour_out(sixfour, at, error_len, error_len + SIXFOUR_GROWTH);
	assert_int_equal(error_len, HEAD + 8 + HEAD + sizeof(ping));
	assert_int_equal(error[HEAD], ICMP6_DST_UNREACH);
	assert_int_equal(error[HEAD + 1], ICMP6_DST_UNREACH_NOPORT);
	assert_true(has_right_icmp_sum(error, error_len));
	assert_int_equal(error[HEAD + 8 + HEAD], ICMP6_ECHO_REQUEST);
	const struct in6_addr ends[] = {ip6("fd00::1"), ip6("2001:db8::2")};
	assert_memory_equal(error + HEAD + 8 + 8, ends, 32);

	view.l4[0] = ICMP_ECHOREPLY;
	turn(packet);
	len = sixfour_out(sixfour, packet, len, len);
	assert_int_equal(bytes[HEAD], ICMP6_ECHO_REPLY);
	assert_int_equal(bytes[6], IPPROTO_ICMPV6);
	assert_true(has_right_icmp_sum(bytes, len));
	sixfour_free(sixfour);
}

static void what_has_no_counterpart_is_dropped(void **state)
{
	static const unsigned char l4[24] = {0, 7, 0, 9, 0, 24};
	static const unsigned char advert[16] = {134};
	unsigned char bytes[ROOM];
	struct sixfour *sixfour = sixfour_new();

	(void)state;
	size_t len = make(bytes, "fd00::1", "ff02::1", IPPROTO_UDP, l4, sizeof(l4));
	assert_int_equal(sixfour_in(sixfour, bytes, len), 0);
	len = make(bytes, "fd00::1", "fd00::2", IPPROTO_FRAGMENT, l4, sizeof(l4));
	assert_int_equal(sixfour_in(sixfour, bytes, len), 0);
	len = make(bytes, "fd00::1", "fd00::2", IPPROTO_ICMPV6, advert, sizeof(advert));
	assert_int_equal(sixfour_in(sixfour, bytes, len), 0);
	len = make(bytes, "fd00::1", "fd00::2", IPPROTO_UDP, l4, sizeof(l4));
	assert_int_equal(sixfour_in(sixfour, bytes, len - 1), 0);
	assert_int_equal(sixfour_in(sixfour, bytes, 39), 0);
	/* nobody's aliases */
	const struct packet_end ends[] = {{{htonl(0xf1000001)}, 1}, {{htonl(0xf1000002)}, 2}};
	len = packet_make_udp(bytes + SIXFOUR_GROWTH, ends[0], ends[1], 0);
	assert_int_equal(sixfour_out(sixfour, bytes + SIXFOUR_GROWTH, len, len), 0);
	sixfour_free(sixfour);
}

/* The header of IPv6 is longer, the longest packet is not. */
static void the_longest_datagrams_are_dropped(void **state)
{
	static const unsigned char datagram[] = {0, 7, 0, 9, 0, 12, 0, 0, 'a', 'b', 'c', 'd'};
	static const size_t payloads[] = {65535 - 28, 65535 - 48, 65535 - 47};
	static unsigned char bytes[SIXFOUR_GROWTH + 65535];
	unsigned char *packet = bytes + SIXFOUR_GROWTH;
	struct sixfour *sixfour = sixfour_new();
	struct packet_view view;

	(void)state;
	size_t len = make(bytes, "fd00::1", "2001:db8::2", IPPROTO_UDP, datagram, sizeof(datagram));
	len = sixfour_in(sixfour, bytes, len);
	assert_true(packet_parse(packet, len, &view));
	const struct packet_end ends[] = {{view.src.ip, 7}, {view.dst.ip, 9}};
	for (size_t i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++) {
		len = packet_make_udp(packet, ends[1], ends[0], payloads[i]);
		assert_int_equal(len, 28 + payloads[i]);
		assert_int_equal(sixfour_out(sixfour, packet, len, len), i == 1 ? 65535 : 0);
	}
	sixfour_free(sixfour);
}

/* Against a list: the ones that were used last are known by their alias, no alias comes again. */
static void the_oldest_aliases_are_forgotten(void **state)
{
	enum { MANY = 3 * SIXFOUR_ALIASES };
	static const unsigned char l4[] = {0, 7, 0, 9, 0, 8, 0, 0};
	static uint32_t aliases[MANY];
	unsigned char bytes[ROOM];
	struct sixfour *sixfour = sixfour_new();
	struct in6_addr found;
	char text[64];

	(void)state;
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(text, sizeof(text), "2001:db8::%x:%x", i % 7, i);
		size_t len = make(bytes, "fd00::1", text, IPPROTO_UDP, l4, sizeof(l4));
		assert_true(sixfour_in(sixfour, bytes, len) > 0);
		memcpy(&aliases[i], bytes + SIXFOUR_GROWTH + 16, 4);
	}
	for (unsigned i = 0; i < MANY; i++) {
		const bool is_known = sixfour_find(sixfour, (struct in_addr){aliases[i]}, &found);

		assert_int_equal(is_known, i > MANY - SIXFOUR_ALIASES);
		assert_true(i == 0 || ntohl(aliases[i]) > ntohl(aliases[i - 1]));
		snprintf(text, sizeof(text), "2001:db8::%x:%x", i % 7, i);
		const struct in6_addr expected = ip6(text);
		if (is_known)
			assert_memory_equal(&found, &expected, sizeof(found));
	}
	sixfour_free(sixfour);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(datagrams_go_both_ways),
		cmocka_unit_test(pings_and_errors_have_their_other_numbers),
		cmocka_unit_test(what_has_no_counterpart_is_dropped),
		cmocka_unit_test(the_longest_datagrams_are_dropped),
		cmocka_unit_test(the_oldest_aliases_are_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
