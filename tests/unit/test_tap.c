/* SPDX-License-Identifier: Apache-2.0 */
/* test_tap - what stands in front of frames and packets; devices themselves are in test_netdev */
#include "packets.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/tap.h"

/* A device whose other end is @far */
struct device {
	int near, far;
};

static int set_up(void **state)
{
	static struct device device;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	device = (struct device){pair[0], pair[1]};
	*state = &device;
	return 0;
}

static int tear_down(void **state)
{
	const struct device *device = *state;

	close(device->near);
	close(device->far);
	return 0;
}

/*
 * Write @pkt behind @ip_at other bytes; it must arrive as it is, behind a header that says where
 * the checksum is, or nothing if @start is 0 (fields in the byte order of the machine).
 */
static void expect_header(
	const struct device *device, struct pkt pkt, size_t ip_at, uint16_t start, uint16_t offset)
{
	uint8_t got[TAP_HEADER_BYTES + PKT_CAP + TAP_ETHER_BYTES];
	const uint16_t words[] = {start, offset};
	uint8_t wanted[TAP_HEADER_BYTES] = {start ? 1 : 0}; /* VIRTIO_NET_HDR_F_NEEDS_CSUM */
	uint8_t *frame = calloc(1, ip_at + pkt.len + 1);
	size_t len = ip_at + pkt.len;

	memcpy(wanted + 6, words, 4);
	memcpy(frame + ip_at, pkt.bytes, pkt.len);
	/* in a buffer of just that size, for the sanitizers */
	frame = realloc(frame, len);
	assert_int_equal(tap_write(device->near, frame, len, ip_at), 0);
	assert_int_equal(read(device->far, got, sizeof(got)), TAP_HEADER_BYTES + len);
	assert_memory_equal(got, wanted, TAP_HEADER_BYTES);
	assert_memory_equal(got + TAP_HEADER_BYTES, frame, len);
	free(frame);
}

static struct pkt ipv6(uint8_t proto, size_t len)
{
	struct pkt pkt = {.bytes = {0x60, [6] = proto}, .len = len};

	return pkt;
}

static struct pkt cut(struct pkt pkt, size_t len)
{
	pkt.len = len;
	return pkt;
}

static void checksums_need_no_check(void **state)
{
	static const uint8_t options[8] = {1, 1, 1, 1, 1, 1, 1, 0};
	const struct pkt_head head = {"10.0.0.1", "10.0.0.2", options, sizeof(options)};
	const size_t at[] = {0, TAP_ETHER_BYTES};
	struct pkt tcp = pkt_tcp("10.0.0.1", 1, "10.0.0.2", 2, 16);
	struct pkt udp = pkt_udp("10.0.0.1", 1, "10.0.0.2", 2);

	for (size_t i = 0; i < 2; i++) {
		uint16_t ip = (uint16_t)at[i];

		expect_header(*state, tcp, ip, ip + 20, 16);
		expect_header(*state, udp, ip, ip + 20, 6);
		expect_header(*state, pkt_tcp_with(head, 1, 2, 16), ip, ip + 28, 16);
		expect_header(*state, ipv6(6, 60), ip, ip + 40, 16);
		expect_header(*state, ipv6(17, 48), ip, ip + 40, 6);
		/* nothing is said of others, nor of what is not there */
		expect_header(*state, pkt_icmp("10.0.0.1", "10.0.0.2", 8, "", 0), ip, 0, 0);
		expect_header(*state, ipv6(58, 60), ip, 0, 0);
		expect_header(*state, (struct pkt){.bytes = {0, 1, 8}, .len = 28}, ip, 0, 0);
		expect_header(*state, cut(tcp, 38), ip, ip + 20, 16);
		expect_header(*state, cut(tcp, 37), ip, 0, 0);
		expect_header(*state, cut(udp, 27), ip, 0, 0);
		expect_header(*state, cut(tcp, 19), ip, 0, 0);
		expect_header(*state, ipv6(6, 57), ip, 0, 0);
		expect_header(*state, ipv6(6, 39), ip, 0, 0);
		expect_header(*state, cut(tcp, 1), ip, 0, 0);
	}
	const struct device *device = *state;
	close(device->far);
	assert_int_equal(tap_write(device->near, tcp.bytes, tcp.len, 0), -EPIPE);
}

static void what_is_read_has_no_header(void **state)
{
	const struct device *device = *state;
	uint8_t sent[TAP_HEADER_BYTES + 100], got[100];

	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (uint8_t)i;
	assert_int_equal(tap_read(device->near, got, sizeof(got)), -EAGAIN);
	for (size_t len = 1; len <= sizeof(sent); len++) {
		size_t wanted = len > TAP_HEADER_BYTES ? len - TAP_HEADER_BYTES : 0;

		assert_int_equal(write(device->far, sent, len), len);
		assert_int_equal(tap_read(device->near, got, sizeof(got)), wanted);
		assert_memory_equal(got, sent + TAP_HEADER_BYTES, wanted);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(checksums_need_no_check, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_read_has_no_header, set_up, tear_down),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
