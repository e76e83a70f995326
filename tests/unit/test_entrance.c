/* SPDX-License-Identifier: Apache-2.0 */
/* test_entrance - what of an exit's packets a network device gets, and what of its own goes out */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#include "exit/entrance.h"
#include "net/packet.h"
#include "net/tap.h"

/* A pair of sockets is the device: a header, and a packet behind it, in each message. */
struct bed {
	struct loop *loop;
	struct entrance *entrance;
	int device, tun, link, ours;
};

static void on_up(void *owner)
{
	(void)owner;
}

static void on_down(void *owner, const char *why)
{
	(void)owner;
	(void)why;
}

static void on_noise(void *owner, const char *bytes, size_t len)
{
	(void)owner;
	(void)bytes;
	(void)len;
}

static const struct entrance_ops ops = {on_up, on_down, on_noise, on_up};

static struct in_addr ip(const char *text)
{
	struct in_addr out;

	assert_int_equal(inet_pton(AF_INET, text, &out), 1);
	return out;
}

/* The link is bare, so that packets can be seen as they are. */
static void bed_open(struct bed *bed, const struct entrance_net *nets, size_t nnets)
{
	static struct entrance_net own;
	int device[2], link[2];

	own = entrance_net4(ip("10.0.2.0"), 24);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, device), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, link), 0);
	*bed = (struct bed){
		.loop = loop_new(), .device = device[0], .tun = device[1], .ours = link[0]};
	const struct entrance_start start = {.loop = bed->loop,
		.tun = bed->tun,
		.diag = -1,
		.nets = nets,
		.nnets = nnets,
		.own = &own,
		.nown = 1,
		.ops = &ops};
	bed->entrance = entrance_new(&start);
	assert_int_equal(entrance_open(bed->entrance, link[1], link[1]), 0);
}

static void bed_close(struct bed *bed)
{
	entrance_free(bed->entrance);
	loop_free(bed->loop);
	close(bed->device);
	close(bed->tun);
	close(bed->ours);
}

static void run(struct bed *bed)
{
	for (int i = 0; i < 20; i++)
		loop_run_once(bed->loop, 0);
}

/* Does a packet from the link come to the device? */
static bool comes_in(struct bed *bed, const void *packet, size_t len)
{
	unsigned char bytes[2000];

	assert_int_equal(send(bed->ours, packet, len, 0), len);
	run(bed);
	ssize_t got = recv(bed->device, bytes, sizeof(bytes), 0);
	assert_true(got < 0 || got == (ssize_t)len + TAP_HEADER_BYTES);
	return got > 0;
}

/* Does a packet of the device go to the link? */
static bool goes_out(struct bed *bed, const void *packet, size_t len)
{
	unsigned char header[TAP_HEADER_BYTES] = {0}, bytes[2000];
	struct iovec parts[] = {{header, sizeof(header)}, {(void *)packet, len}};

	assert_true(writev(bed->device, parts, 2) > 0);
	run(bed);
	ssize_t got = recv(bed->ours, bytes, sizeof(bytes), 0);
	assert_true(got < 0 || got == (ssize_t)len);
	return got > 0;
}

static size_t udp(
	unsigned char *packet, const char *src, uint16_t sport, const char *dst, uint16_t dport)
{
	return packet_make_udp(packet, (struct packet_end){ip(src), sport},
		(struct packet_end){ip(dst), dport}, 4);
}

#define SELF "100.127.255.255"

static bool tcp_comes_in(struct bed *bed, const char *src, const char *dst, uint8_t flags)
{
	unsigned char packet[PACKET_RST_BYTES];

	packet_make_syn(
		(struct packet_end){ip(src), 80}, (struct packet_end){ip(dst), 4000}, packet);
	packet[PACKET_IPV4_BYTES + 13] = flags;
	return comes_in(bed, packet, sizeof(packet));
}

static void connections_are_begun_inside_only(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed, NULL, 0);
	assert_true(tcp_comes_in(&bed, "192.0.2.1", SELF, PACKET_SYN | PACKET_ACK));
	assert_true(tcp_comes_in(&bed, "192.0.2.1", SELF, PACKET_ACK));
	assert_true(tcp_comes_in(&bed, "192.0.2.1", SELF, PACKET_RST));
	assert_false(tcp_comes_in(&bed, "192.0.2.1", SELF, PACKET_SYN));
	assert_false(tcp_comes_in(&bed, "192.0.2.1", SELF, PACKET_SYN | PACKET_PSH));
	/* to others, from itself, from the sandbox's own network */
	assert_false(tcp_comes_in(&bed, "192.0.2.1", "127.0.0.1", PACKET_ACK));
	assert_false(tcp_comes_in(&bed, "192.0.2.1", "10.0.2.100", PACKET_ACK));
	assert_false(tcp_comes_in(&bed, SELF, SELF, PACKET_ACK));
	assert_false(tcp_comes_in(&bed, "10.0.2.2", SELF, PACKET_ACK));
	assert_false(comes_in(&bed, "\x45\0\0", 3));
	bed_close(&bed);
}

static void datagrams_are_answers(void **state)
{
	unsigned char packet[100];
	struct bed bed;

	(void)state;
	bed_open(&bed, NULL, 0);
	size_t len = udp(packet, "192.0.2.1", 53, SELF, 4000);
	assert_false(comes_in(&bed, packet, len));
	assert_true(goes_out(&bed, packet, udp(packet, SELF, 4000, "192.0.2.1", 53)));
	assert_true(comes_in(&bed, packet, udp(packet, "192.0.2.1", 53, SELF, 4000)));
	assert_false(comes_in(&bed, packet, udp(packet, "192.0.2.1", 54, SELF, 4000)));
	assert_false(comes_in(&bed, packet, udp(packet, "192.0.2.1", 53, SELF, 4001)));
	assert_false(comes_in(&bed, packet, udp(packet, "192.0.2.2", 53, SELF, 4000)));
	/* nobody else speaks over the device */
	assert_false(goes_out(&bed, packet, udp(packet, "127.0.0.1", 4000, "192.0.2.1", 53)));
	assert_false(goes_out(&bed, packet, udp(packet, "10.0.2.100", 4000, "192.0.2.1", 53)));
	bed_close(&bed);
}

static bool icmp_comes_in(struct bed *bed, uint8_t type)
{
	unsigned char packet[PACKET_IPV4_BYTES + 60] = {0};

	packet[PACKET_IPV4_BYTES] = type;
	return comes_in(bed, packet, packet_make_icmp(packet, ip("192.0.2.1"), ip(SELF), 60));
}

static void answers_and_errors_of_icmp(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed, NULL, 0);
	assert_true(icmp_comes_in(&bed, ICMP_ECHOREPLY));
	assert_true(icmp_comes_in(&bed, ICMP_DEST_UNREACH));
	assert_true(icmp_comes_in(&bed, ICMP_TIME_EXCEEDED));
	assert_false(icmp_comes_in(&bed, ICMP_ECHO));
	assert_false(icmp_comes_in(&bed, ICMP_REDIRECT));
	assert_false(icmp_comes_in(&bed, ICMP_TIMESTAMP));
	bed_close(&bed);
}

static void answers_come_from_where_the_link_leads(void **state)
{
	const struct entrance_net nets[] = {entrance_net4(ip("192.0.2.0"), 28)};
	struct bed bed;

	(void)state;
	bed_open(&bed, nets, 1);
	assert_true(tcp_comes_in(&bed, "192.0.2.15", SELF, PACKET_ACK));
	assert_false(tcp_comes_in(&bed, "192.0.2.16", SELF, PACKET_ACK));
	assert_false(tcp_comes_in(&bed, "8.8.8.8", SELF, PACKET_ACK));
	bed_close(&bed);
}

static size_t udp6(
	unsigned char *packet, const char *src, uint16_t sport, const char *dst, uint16_t dport)
{
	memset(packet, 0, 60);
	packet[0] = 0x60;
	packet_put16(packet + 4, 12);
	packet[6] = IPPROTO_UDP;
	assert_int_equal(inet_pton(AF_INET6, src, packet + 8), 1);
	assert_int_equal(inet_pton(AF_INET6, dst, packet + 24), 1);
	packet_put16(packet + 40, sport);
	packet_put16(packet + 42, dport);
	packet_put16(packet + 44, 12);
	return 52;
}

/* An exit without it, as at a bare link: who tries is told at once, and what it says is nothing. */
static void ipv6_is_refused_where_there_is_none(void **state)
{
	unsigned char packet[100], bytes[2000];
	struct bed bed;

	(void)state;
	bed_open(&bed, NULL, 0);
	size_t len = udp6(packet, ENTRANCE_ADDRESS6, 4000, "2001:db8::1", 53);
	assert_false(goes_out(&bed, packet, len));
	ssize_t got = recv(bed.device, bytes, sizeof(bytes), 0);
	assert_true(got > TAP_HEADER_BYTES + 48);
	assert_int_equal(bytes[TAP_HEADER_BYTES] >> 4, 6);
	assert_int_equal(bytes[TAP_HEADER_BYTES + 40], ICMP6_DST_UNREACH);
	len = udp6(packet, "2001:db8::1", 53, ENTRANCE_ADDRESS6, 4000);
	assert_false(comes_in(&bed, packet, len));
	bed_close(&bed);
}

static void networks(void **state)
{
	const struct entrance_net four = entrance_net4(ip("192.0.2.128"), 25);
	const struct in6_addr in = entrance_net4(ip("192.0.2.129"), 32).ip,
			      out = entrance_net4(ip("192.0.2.127"), 32).ip;

	(void)state;
	assert_true(entrance_net_has(&four, &in));
	assert_false(entrance_net_has(&four, &out));
	const struct entrance_net all = entrance_net6(&in6addr_any, 0);
	assert_false(entrance_net_has(&all, &in));
	assert_true(entrance_net_has(&all, &in6addr_loopback));
	const struct entrance_net seven = entrance_net6(&(struct in6_addr){{{0xfc}}}, 7);
	assert_true(entrance_net_has(&seven, &(struct in6_addr){{{0xfd}}}));
	assert_false(entrance_net_has(&seven, &(struct in6_addr){{{0xfe}}}));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connections_are_begun_inside_only),
		cmocka_unit_test(datagrams_are_answers),
		cmocka_unit_test(answers_and_errors_of_icmp),
		cmocka_unit_test(answers_come_from_where_the_link_leads),
		cmocka_unit_test(ipv6_is_refused_where_there_is_none),
		cmocka_unit_test(networks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
