/* SPDX-License-Identifier: Apache-2.0 */
/* test_asks - which frames ask, between whom, and what is left of them */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <net/ethernet.h>
#include <string.h>

#include "sandbox/asks.h"

#define TCP_BYTES  24 /* with one option */
#define DATA_BYTES 10

/* A SYN from port 4000 to port 80, with an option and data. Returns its size. */
static size_t make_syn(bool is_six, uint8_t frame[128])
{
	const size_t ip_len = is_six ? 40 : 20, total = ip_len + TCP_BYTES + DATA_BYTES;
	uint8_t *ip = frame + ETH_HLEN, *tcp = ip + ip_len;

	memset(frame, 0, 128);
	packet_put16(frame + 12, is_six ? ETHERTYPE_IPV6 : ETHERTYPE_IP);
	ip[0] = is_six ? 0x60 : 0x45;
	if (is_six) {
		packet_put16(ip + 4, (uint16_t)(total - ip_len));
		ip[6] = IPPROTO_TCP;
		ip[8] = 0xfd, ip[23] = 1;
		ip[24] = 0xfd, ip[39] = 2;
	} else {
		packet_put16(ip + 2, (uint16_t)total);
		ip[9] = IPPROTO_TCP;
		memcpy(ip + 12, (uint8_t[]){127, 0, 0, 1, 127, 0, 0, 2}, 8);
	}
	packet_put16(tcp, 4000);
	packet_put16(tcp + 2, 80);
	memcpy(tcp + 4, (uint8_t[]){1, 2, 3, 4}, 4);
	tcp[12] = TCP_BYTES / 4 << 4;
	tcp[13] = PACKET_SYN;
	return ETH_HLEN + total;
}

static void a_syn_asks(void **state)
{
	uint8_t frame[128];
	struct syns_packet packet;
	char text[ADDR_TEXT_BYTES];

	(void)state;
	for (int is_six = 0; is_six < 2; is_six++) {
		const size_t len = make_syn(is_six, frame), ip_len = is_six ? 40 : 20;

		assert_int_equal(asks_read(frame, len, &packet), ETH_HLEN + ip_len);
		assert_string_equal(addr_format(&packet.peer, text, sizeof(text)),
			is_six ? "[fd00::1]:4000" : "127.0.0.1:4000");
		assert_string_equal(addr_format(&packet.own, text, sizeof(text)),
			is_six ? "[fd00::2]:80" : "127.0.0.2:80");
		assert_ptr_equal(packet.bytes, frame);
		assert_int_not_equal(packet.number, 0);
		/* its data is gone */
		assert_int_equal(packet.len, ETH_HLEN + ip_len + TCP_BYTES);
		assert_int_equal(packet_get16(frame + ETH_HLEN + (is_six ? 4 : 2)),
			is_six ? TCP_BYTES : 20 + TCP_BYTES);
		if (!is_six)
			assert_int_equal(packet_checksum(frame + ETH_HLEN, 20), 0);
	}
}

static void others_do_not(void **state)
{
	/* a byte of a frame with IPv4, and what it is changed to */
	static const struct {
		size_t at;
		uint8_t value;
	} changes[] = {
		{12, 0x86},                               /* no IPv4 by its type */
		{ETH_HLEN, 0x46},                         /* options */
		{ETH_HLEN, 0x65},                         /* another version */
		{ETH_HLEN + 9, IPPROTO_UDP},              /* no TCP */
		{ETH_HLEN + 33, PACKET_ACK},              /* no SYN */
		{ETH_HLEN + 33, PACKET_SYN | PACKET_ACK}, /* an answer */
		{ETH_HLEN + 32, 0x40},                    /* less than a header */
		{ETH_HLEN + 32, 0xf0},                    /* more than there is */
	};
	uint8_t frame[128];
	struct syns_packet packet;

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		size_t len = make_syn(false, frame);

		frame[changes[i].at] = changes[i].value;
		assert_int_equal(asks_read(frame, len, &packet), 0);
	}
	for (int is_six = 0; is_six < 2; is_six++) {
		size_t len = make_syn(is_six, frame) - DATA_BYTES;

		for (size_t cut = 0; cut < len; cut++) {
			make_syn(is_six, frame);
			assert_int_equal(asks_read(frame, cut, &packet), 0);
		}
		make_syn(is_six, frame);
		assert_true(asks_read(frame, len, &packet) > 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_syn_asks),
		cmocka_unit_test(others_do_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
