/* SPDX-License-Identifier: Apache-2.0 */
/* test_exit - connections, datagrams and pings of peers, to a world that is lo here */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <netinet/ip_icmp.h>
#include <sched.h>
#include <stdio.h>

#include "exit/exit.h"
#include "mesh_bed.h"
#include "packets.h"

#define PEER   "127.0.42.2"
#define FAR    "10.9.0.1" /* of lo */
#define NOWAY  "10.8.0.1" /* has no route */
#define META   "169.254.169.254"
#define PORT   4000
#define NOBODY 4001

struct world {
	struct mesh_bed bed;
	struct expose host, mesh;
	struct exit_limits limits;
	struct exit *exit;
	unsigned opened, let_in, refused, sent;
	int code; /* of the last one that was refused */
	struct pkt last;
	struct packet_view view;     /* of it */
	struct packet_end unexposed; /* the last one */
	bool is_short;               /* there are no listeners */
};

static int on_open(void *owner, uint16_t port)
{
	struct world *world = owner;

	world->opened++;
	(void)port;
	return world->is_short ? -EMFILE : tcp_listen("127.0.0.1", 0, 8);
}

static void on_let_in(void *owner, const struct packet_view *packet)
{
	(void)packet;
	((struct world *)owner)->let_in++;
}

static void keep(struct world *world, const void *bytes, size_t len)
{
	assert_true(len <= sizeof(world->last.bytes));
	memcpy(world->last.bytes, bytes, len);
	world->last.len = len;
	assert_true(packet_parse(world->last.bytes, len, &world->view));
}

static void on_refuse(void *owner, const struct packet_view *packet, uint8_t code)
{
	struct world *world = owner;

	world->refused++;
	world->code = code;
	keep(world, packet->ip, packet->len);
}

static void on_send(void *owner, struct iovec *packets, size_t count)
{
	struct world *world = owner;

	world->sent += count;
	for (size_t i = 0; i < count; i++)
		memset((char *)packets[i].iov_base - EXIT_HEADROOM, 0xee, EXIT_HEADROOM);
	keep(world, packets[count - 1].iov_base, packets[count - 1].iov_len);
}

static void on_unexposed(void *owner, const struct packet_view *packet)
{
	((struct world *)owner)->unexposed = packet->dst;
}

static struct world *world_open(void)
{
	static const struct exit_ops ops = {.open_listener = on_open,
		.let_in = on_let_in,
		.refuse = on_refuse,
		.send = on_send,
		.on_unexposed = on_unexposed};
	struct world *world = calloc(1, sizeof(*world));

	bed_open(&world->bed);
	world->code = -1;
	world->limits = (struct exit_limits){&world->host, &world->mesh};
	world->exit = exit_new(&world->bed.context, &world->limits, &ops, world);
	assert_non_null(world->exit);
	return world;
}

static void world_close(struct world *world)
{
	exit_free(world->exit);
	expose_fini(&world->host);
	expose_fini(&world->mesh);
	bed_close(&world->bed);
	free(world);
}

static void take(struct world *world, struct pkt pkt)
{
	struct packet_view view;

	assert_true(packet_parse(pkt.bytes, pkt.len, &view));
	exit_take(world->exit, &view);
	memset(pkt.bytes, 0, pkt.len); /* nothing is left of it */
}

static void a_connection_is_let_in_when_its_target_has_accepted(void **state)
{
	struct world *world = world_open();
	int server = tcp_listen(FAR, PORT, 8);

	(void)state;
	take(world, pkt_tcp(PEER, 1000, FAR, PORT, PACKET_SYN));
	assert_int_equal(world->let_in, 0);
	run_until(&world->bed, world->let_in == 1);
	assert_int_equal(world->opened, 1);
	take(world, pkt_tcp(PEER, 1000, FAR, PORT, PACKET_SYN)); /* again */
	assert_int_equal(world->let_in, 2);
	take(world, pkt_tcp(PEER, 1001, FAR, PORT, PACKET_SYN));
	run_until(&world->bed, world->let_in == 3);
	assert_int_equal(world->opened, 1); /* one listener has all of them */
	assert_int_equal(world->refused, 0);
	/* nobody completes them: all of it goes, the listener after the last one */
	jump(&world->bed, 31000);
	assert_int_equal(world->bed.budget.used, 1);
	jump(&world->bed, EXIT_IDLE_S * 1000);
	assert_int_equal(world->bed.budget.used, 0);
	fd_close(&server);
	world_close(world);
}

static void without_a_listener_it_is_tried_again(void **state)
{
	struct world *world = world_open();
	int server = tcp_listen(FAR, PORT, 8);

	(void)state;
	world->is_short = true;
	take(world, pkt_tcp(PEER, 1000, FAR, PORT, PACKET_SYN));
	run_until(&world->bed, world->opened == 1);
	assert_int_equal(world->let_in + world->refused, 0);
	world->is_short = false;
	take(world, pkt_tcp(PEER, 1000, FAR, PORT, PACKET_SYN));
	assert_int_equal(world->let_in, 1);
	fd_close(&server);
	world_close(world);
}

static void who_refuses_refuses(void **state)
{
	struct world *world = world_open();

	(void)state;
	take(world, pkt_tcp(PEER, 1000, FAR, NOBODY, PACKET_SYN));
	run_until(&world->bed, world->refused == 1);
	assert_int_equal(world->code, ICMP_PORT_UNREACH);
	assert_int_equal(world->view.dst.port, NOBODY);
	take(world, pkt_tcp(PEER, 1000, NOWAY, PORT, PACKET_SYN));
	run_until(&world->bed, world->refused == 2);
	assert_int_equal(world->code, ICMP_HOST_UNREACH);
	assert_int_equal(world->opened, 0);
	world_close(world);
}

static void silence_stays_silence(void **state)
{
	struct world *world = world_open();
	struct addr at = addr_at(FAR, PORT);
	int server = tcp_listen(FAR, PORT, 0), first = connect_to(&at);

	(void)state;
	usleep(10000);
	int second = connect_to(&at); /* is dropped, as one after it: nobody accepts the first */
	take(world, pkt_tcp(PEER, 1000, FAR, PORT, PACKET_SYN));
	settle(&world->bed);
	jump(&world->bed, DIAL_DEADLINE_MS + 1);
	assert_int_equal(world->bed.budget.used, 0); /* it has given up */
	assert_int_equal(world->refused + world->let_in, 0);
	fd_close(&first);
	fd_close(&second);
	fd_close(&server);
	world_close(world);
}

static void what_is_not_exposed_is_answered_and_counted(void **state)
{
	struct world *world = world_open();
	struct err err;

	(void)state;
	assert_int_equal(exit_unexposed(world->exit), 0);
	take(world, pkt_tcp(PEER, 1000, META, 80, PACKET_SYN));
	assert_int_equal(world->code, ICMP_PORT_UNREACH); /* a RST */
	take(world, pkt_udp(PEER, 1000, META, 80));
	assert_int_equal(world->code, ICMP_PKT_FILTERED);
	take(world, pkt_icmp(PEER, META, ICMP_ECHO, "", 0));
	assert_int_equal(world->code, ICMP_PKT_FILTERED);
	assert_int_equal(exit_unexposed(world->exit), 3);
	assert_int_equal(expose_add(&world->host, FAR ":4001", &err), 0);
	take(world, pkt_tcp(PEER, 1000, FAR, PORT, PACKET_SYN));
	assert_int_equal(exit_unexposed(world->exit), 4);
	assert_int_equal(world->unexposed.port, PORT);
	take(world, pkt_tcp(PEER, 1000, FAR, NOBODY, PACKET_SYN));
	run_until(&world->bed, world->refused == 5);
	assert_int_equal(exit_unexposed(world->exit), 4);
	/* both have a say, whatever the other one allows */
	assert_int_equal(expose_add(&world->mesh, "10.0.0.0/8:4000", &err), 0);
	take(world, pkt_tcp(PEER, 1000, FAR, NOBODY, PACKET_SYN));
	take(world, pkt_tcp(PEER, 1000, FAR, PORT, PACKET_SYN));
	assert_int_equal(exit_unexposed(world->exit), 6);
	world_close(world);
}

static struct sockaddr_in bound_udp(int *fd)
{
	struct sockaddr_in at = address(FAR, PORT);

	*fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(*fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return at;
}

static void datagrams_go_out_and_come_back(void **state)
{
	struct world *world = world_open();
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	char text[16];
	int server;

	(void)state;
	bound_udp(&server);
	struct pkt pkt = pkt_udp(PEER, 1000, FAR, PORT);
	const size_t size = pkt.len - PACKET_DATAGRAM_BYTES;
	for (int i = 0; i < 3; i++) {
		take(world, pkt_udp(PEER, 1000, FAR, PORT));
		assert_int_equal(
			recvfrom(server, text, sizeof(text), 0, (struct sockaddr *)&from, &len),
			size);
		assert_int_equal(sendto(server, "answer", 6, 0, (struct sockaddr *)&from, len), 6);
		run_until(&world->bed, world->sent == (unsigned)i + 1);
		assert_int_equal(world->bed.budget.used, 1); /* one flow */
	}
	assert_true(pkt_is_ip_right(world->last.bytes));
	assert_true(pkt_is_flow_right(world->last.bytes, world->last.len));
	assert_int_equal(world->view.src.port, PORT);
	assert_int_equal(world->view.dst.port, 1000);
	assert_int_equal(world->view.src.ip.s_addr, pkt_addr(FAR).s_addr);
	assert_int_equal(world->view.dst.ip.s_addr, pkt_addr(PEER).s_addr);
	assert_memory_equal(world->view.l4 + PACKET_UDP_BYTES, "answer", 6);
	/* another port, another flow; what is idle goes */
	take(world, pkt_udp(PEER, 1001, FAR, PORT));
	assert_int_equal(world->bed.budget.used, 2);
	jump(&world->bed, 61000);
	assert_int_equal(world->bed.budget.used, 1);
	jump(&world->bed, 181000);
	assert_int_equal(world->bed.budget.used, 0);
	fd_close(&server);
	world_close(world);
}

static void datagrams_that_are_refused_are_answered(void **state)
{
	struct world *world = world_open();

	(void)state;
	take(world, pkt_udp(PEER, 1000, FAR, NOBODY));
	run_until(&world->bed, world->refused == 1);
	assert_int_equal(world->code, ICMP_PORT_UNREACH);
	assert_int_equal(world->view.src.ip.s_addr, pkt_addr(PEER).s_addr);
	assert_int_equal(world->view.src.port, 1000);
	assert_int_equal(world->view.dst.port, NOBODY);
	take(world, pkt_udp(PEER, 1000, NOWAY, PORT));
	assert_int_equal(world->refused, 2);
	assert_int_equal(world->code, ICMP_HOST_UNREACH);
	settle(&world->bed);
	assert_int_equal(world->refused, 2);
	world_close(world);
}

static void largest_datagrams(void **state)
{
	struct world *world = world_open();
	static unsigned char packet[65535], bytes[65535];
	struct packet_end peer = {pkt_addr(PEER), 1000}, far = {pkt_addr(FAR), PORT};
	struct packet_view view;
	int server;

	(void)state;
	bound_udp(&server);
	size_t len = packet_make_udp(packet, peer, far, PACKET_DATAGRAM_MAX);
	assert_int_equal(len, 65535);
	assert_true(packet_parse(packet, len, &view));
	exit_take(world->exit, &view);
	assert_int_equal(recv(server, bytes, sizeof(bytes), 0), PACKET_DATAGRAM_MAX);
	fd_close(&server);
	world_close(world);
}

/* The @number-th of those that have @id. */
static struct pkt ping(uint16_t id, uint16_t number)
{
	struct pkt pkt = pkt_icmp(PEER, FAR, ICMP_ECHO, "abcd", 4);

	pkt_put16(pkt.bytes + 24, id);
	pkt_put16(pkt.bytes + 26, number);
	return pkt;
}

static void pings(void **state)
{
	static const char ranges[] = "/proc/sys/net/ipv4/ping_group_range";
	struct world *world = world_open();
	char range[40];

	(void)state;
	snprintf(range, sizeof(range), "%u %u", (unsigned)getegid(), (unsigned)getegid());
	assert_true(netns_write(ranges, range));
	take(world, ping(0x1234, 7));
	run_until(&world->bed, world->sent == 1);
	assert_true(pkt_is_ip_right(world->last.bytes));
	assert_true(pkt_is_icmp_right(world->last.bytes, world->last.len));
	assert_int_equal(world->view.src.ip.s_addr, pkt_addr(FAR).s_addr);
	assert_int_equal(world->view.dst.ip.s_addr, pkt_addr(PEER).s_addr);
	assert_int_equal(world->view.l4[0], ICMP_ECHOREPLY);
	assert_memory_equal(world->view.l4 + 4,
		"\x12\x34\x00\x07"
		"abcd",
		8);
	/* in a new namespace nobody may */
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	/* who may not any more keeps what is there; others hear that they may not */
	take(world, ping(0x1234, 8));
	run_until(&world->bed, world->sent == 2);
	take(world, ping(0x1235, 1));
	assert_int_equal(world->code, ICMP_PKT_FILTERED);
	assert_int_equal(world->refused, 1);
	world_close(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_connection_is_let_in_when_its_target_has_accepted),
		cmocka_unit_test(without_a_listener_it_is_tried_again),
		cmocka_unit_test(who_refuses_refuses),
		cmocka_unit_test(silence_stays_silence),
		cmocka_unit_test(what_is_not_exposed_is_answered_and_counted),
		cmocka_unit_test(datagrams_go_out_and_come_back),
		cmocka_unit_test(datagrams_that_are_refused_are_answered),
		cmocka_unit_test(largest_datagrams),
		cmocka_unit_test(pings),
	};

	bed_enter_namespace();
	struct in_addr far = pkt_addr(FAR);
	int nl = netdev_open();
	if (netdev_add_addr(nl, netdev_index(nl, "lo"), AF_INET, &far, 32) < 0)
		return 1;
	close(nl);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
