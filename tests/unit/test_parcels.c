/* SPDX-License-Identifier: Apache-2.0 */
/* test_parcels - datagrams without a stack: flows that begin there and here, refusals, their ends
 */
#include "stream/parcels.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "util/addr.h"

struct bed {
	struct loop *loop;
	struct budget budget;
	struct conn_context context;
	struct parcels *parcels;
	struct in_addr self, peer;
	int server; /* what our port 80 leads to */
	struct addr at;
	unsigned refused, woken;
};

static void on_packets(void *owner)
{
	((struct bed *)owner)->woken++;
}

static int find(void *owner, struct in_addr peer, uint16_t port, struct dial_target *out)
{
	const struct bed *bed = owner;

	assert_int_equal(peer.s_addr, bed->peer.s_addr);
	if (port != 80)
		return -ECONNREFUSED;
	*out = (struct dial_target){.addr = bed->at};
	return 0;
}

static void on_refused(void *owner, const struct packet_view *packet, int result)
{
	struct bed *bed = owner;

	assert_int_equal(packet->src.ip.s_addr, bed->peer.s_addr);
	assert_int_equal(result, -ECONNREFUSED);
	bed->refused++;
}

static void bed_open(struct bed *bed)
{
	static const struct parcels_ops ops = {on_packets, find, on_refused};

	*bed = (struct bed){.loop = loop_new(), .budget.max = 1000};
	bed->self.s_addr = htonl(0x7f002a01);
	bed->peer.s_addr = htonl(0x7f002a02);
	assert_int_equal(context_open(&bed->context, bed->loop, &bed->budget, -1), 0);
	bed->parcels = parcels_new(&bed->context, &ops, bed);
	assert_non_null(bed->parcels);
	bed->at = addr_loopback4(0);
	bed->server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(bed->server, &bed->at.any, addr_len(&bed->at)), 0);
	assert_int_equal(addr_get_own(bed->server, &bed->at), 0);
}

static void bed_close(struct bed *bed)
{
	parcels_free(bed->parcels);
	assert_int_equal(bed->budget.used, 0);
	context_close(&bed->context);
	loop_free(bed->loop);
	if (bed->server >= 0)
		close(bed->server);
}

static void put(struct bed *bed, uint16_t from, uint16_t to, const char *text)
{
	unsigned char packet[200];
	struct packet_view view;

	memcpy(packet + PACKET_DATAGRAM_BYTES, text, strlen(text));
	size_t len = packet_make_udp(packet, (struct packet_end){bed->peer, from},
		(struct packet_end){bed->self, to}, strlen(text));
	assert_true(packet_parse(packet, len, &view));
	parcels_in(bed->parcels, &view);
}

/* The next packet, which says @text. */
static void expect(struct bed *bed, const char *text, struct packet_view *view)
{
	static unsigned char packet[65535];
	size_t len = 0;

	for (int i = 0; i < 500 && len == 0; i++) {
		len = parcels_take(bed->parcels, bed->self, packet, sizeof(packet));
		if (len == 0)
			loop_run_once(bed->loop, 10);
	}
	assert_true(len > 0 && packet_parse(packet, len, view));
	assert_int_equal(view->l4_len - PACKET_UDP_BYTES, strlen(text));
	assert_memory_equal(view->l4 + PACKET_UDP_BYTES, text, strlen(text));
	assert_int_equal(view->src.ip.s_addr, bed->self.s_addr);
	assert_int_equal(view->dst.ip.s_addr, bed->peer.s_addr);
}

/* There the server is asked from port @from, and has answered. */
static void ask(struct bed *bed, uint16_t from)
{
	struct addr client;
	socklen_t len = sizeof(client);
	char got[100];

	put(bed, from, 80, "question");
	assert_int_equal(recvfrom(bed->server, got, sizeof(got), 0, &client.any, &len), 8);
	assert_int_equal(sendto(bed->server, "answer", 6, 0, &client.any, len), 6);
}

static void test_begins_there(void **state)
{
	struct bed bed;
	struct packet_view view;
	char got[100];

	(void)state;
	bed_open(&bed);
	for (uint16_t from = 4000; from < 4003; from++) {
		ask(&bed, from);
		expect(&bed, "answer", &view);
		assert_int_equal(view.src.port, 80);
		assert_int_equal(view.dst.port, from);
		/* nothing at all is a datagram, too */
		put(&bed, from, 80, "");
		assert_int_equal(recv(bed.server, got, sizeof(got), 0), 0);
	}
	put(&bed, 4000, 81, "nobody");
	assert_int_equal(bed.refused, 1);
	bed_close(&bed);
}

static void test_refused(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	close(bed.server);
	bed.server = -1;
	for (int i = 0; i < 500 && bed.refused == 0; i++) {
		put(&bed, 4000, 80, "question");
		loop_run_once(bed.loop, 1);
	}
	assert_true(bed.refused > 0);
	bed_close(&bed);
}

/* The answer was sent before the server went, which the next question finds out. */
static void test_answered_and_refused(void **state)
{
	struct bed bed;
	struct packet_view view;

	(void)state;
	bed_open(&bed);
	ask(&bed, 4000);
	close(bed.server);
	bed.server = -1;
	put(&bed, 4000, 80, "another");
	expect(&bed, "answer", &view);
	for (int i = 0; i < 500 && bed.refused == 0; i++) {
		assert_int_equal(
			parcels_take(bed.parcels, bed.self, (unsigned char[100]){0}, 100), 0);
		loop_run_once(bed.loop, 10);
	}
	assert_int_equal(bed.refused, 1);
	bed_close(&bed);
}

static void test_begins_here(void **state)
{
	struct bed bed;
	struct packet_view view;
	const struct addr to = {.v4 = {AF_INET, htons(53), {htonl(0x7f002a02)}, {0}}};
	char got[100];

	(void)state;
	bed_open(&bed);
	int fd = parcels_dial(bed.parcels, &to), other = parcels_dial(bed.parcels, &to);
	assert_true(fd >= 0 && other >= 0);
	assert_int_equal(send(fd, "question", 8, 0), 8);
	expect(&bed, "question", &view);
	assert_int_equal(view.dst.port, 53);
	const uint16_t own = view.src.port;
	assert_int_equal(send(other, "another", 7, 0), 7);
	expect(&bed, "another", &view);
	assert_int_not_equal(view.src.port, own);
	put(&bed, 53, own, "answer");
	assert_int_equal(recv(fd, got, sizeof(got), 0), 6);
	/* not from another port */
	put(&bed, 54, own, "forged");
	assert_int_equal(recv(fd, got, sizeof(got), MSG_DONTWAIT), -1);
	assert_int_equal(bed.refused, 1);
	close(fd);
	put(&bed, 53, own, "late");
	put(&bed, 53, own, "later");
	assert_int_equal(bed.budget.used, 1);
	/* a refusal is told with the next one, and only to who has sent what was refused */
	struct packet_view sent = {.src = {.port = own}, .dst = {to.v4.sin_addr, 53}};
	parcels_on_refused(bed.parcels, &sent);
	assert_int_equal(send(other, "another", 7, 0), 7);
	expect(&bed, "another", &view);
	sent.src.port = view.src.port;
	parcels_on_refused(bed.parcels, &sent);
	assert_int_equal(bed.budget.used, 0);
	assert_int_equal(send(other, "another", 7, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, ECONNREFUSED);
	close(other);
	bed_close(&bed);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_begins_there),
	cmocka_unit_test(test_refused),
	cmocka_unit_test(test_answered_and_refused),
	cmocka_unit_test(test_begins_here),
};

int main(void)
{
	return cmocka_run_group_tests(tests, NULL, NULL);
}
