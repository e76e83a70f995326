/* SPDX-License-Identifier: Apache-2.0 */
/* test_role_offers - connections and datagrams to what a host offers; first packets are made by
 * hand */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <stdio.h>

#include "conn/service.h"
#include "mesh/agent/gate.h"
#include "mesh/agent/role.h"
#include "mesh_bed.h"

#define VIP       "127.0.42.1"
#define PEER      "127.0.42.2"
#define TARGET    "127.0.0.1"
#define PORT      8080 /* offered */
#define AT        4000 /* where it leads */
#define FROM      5000 /* the peer's port */
#define SYN_BYTES 40
#define MANY      1000
#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))

/*
 * The namespace is its own mesh: a packet that is let in makes the peer connect from the address
 * and port that it says, unless the peer is deaf.
 */
struct world {
	struct mesh_bed bed;
	struct estate estate;
	struct role *role;
	struct gate *gate; /* in front of it, as in the agent */
	bool is_deaf;
	int injected, sent;
	int peers[MANY]; /* -1: taken */
	size_t npeers;
	unsigned char last_sent[PACKET_RST_BYTES];
};

static void on_refuse(void *owner, const struct syns_packet *packet, int result)
{
	struct world *world = owner;
	struct packet_view view;

	(void)result;
	assert_true(packet_parse(packet->bytes, packet->len, &view));
	if (view.proto == IPPROTO_UDP)
		memcpy(world->last_sent, packet->bytes, PACKET_DATAGRAM_BYTES);
	else
		assert_true(packet_make_rst(&view, world->last_sent));
	world->sent++;
}

static void on_let_in(void *owner, const struct syns_packet *packet)
{
	struct world *world = owner;
	unsigned char copy[SYNS_PACKET_BYTES];
	struct packet_view view;
	char from[INET_ADDRSTRLEN], to[INET_ADDRSTRLEN];

	assert_in_range(packet->len, SYN_BYTES, sizeof(copy));
	memcpy(copy, packet->bytes, packet->len);
	assert_true(packet_parse(copy, packet->len, &view));
	const struct syns_packet again = syns_packet_of(&view);
	assert_true(addr_equal(&again.peer, &packet->peer));
	assert_true(addr_equal(&again.own, &packet->own));
	world->injected++;
	if (world->is_deaf)
		return;
	inet_ntop(AF_INET, &view.src.ip, from, sizeof(from));
	inet_ntop(AF_INET, &view.dst.ip, to, sizeof(to));
	assert_in_range(world->npeers, 0, MANY - 1);
	world->peers[world->npeers++] = tcp_connect(from, view.src.port, to, view.dst.port);
}

static const struct syns_ops syns_ops = {.let_in = on_let_in, .refuse = on_refuse};

static struct world *world_open(void)
{
	struct world *world = calloc(1, sizeof(*world));

	bed_open(&world->bed);
	world->gate = gate_new();
	world->estate.io.fd = -1; /* nothing is kept */
	world->role = role_new(&(struct role_start){
		.context = &world->bed.context,
		.stack = &world->bed.stack,
		.gate = world->gate,
		.estate = &world->estate,
		.syns_ops = &syns_ops,
		.syns_owner = world,
	});
	assert_non_null(world->role);
	return world;
}

static void world_close(struct world *world)
{
	role_free(world->role);
	gate_free(world->gate);
	bed_close(&world->bed);
	free(world);
}

static struct mesh_offer tcp_offer(uint16_t port, char *host, uint16_t to)
{
	return (struct mesh_offer){port, host, to, PROTO_TCP};
}

/* Inside is the same place as outside here: no entries, which have the addresses. */
static int try_configure(
	struct world *world, const struct mesh_offer *list, size_t count, struct err *err)
{
	struct mesh_name names[10] = {
		{.ip = address("127.0.42.3", 0).sin_addr}, {.ip = address(PEER, 0).sin_addr}};
	struct mesh_config config = {.me = address(VIP, 0).sin_addr,
		.offers = (struct mesh_offer *)list,
		.noffers = count,
		.names = names,
		.nnames = COUNT(names),
		.loopback_disable = true};

	for (uint32_t i = 1; i <= 8; i++) /* 127.0.43.i */
		names[1 + i].ip.s_addr = htonl(0x7f002b00 + i);
	return role_configure(world->role, &config, err);
}

static void configure(struct world *world, const struct mesh_offer *list, size_t count)
{
	struct err err = {0};

	if (try_configure(world, list, count, &err) < 0)
		fail_msg("%s", err.text);
}

static void offer_one(struct world *world, char *host, uint16_t to)
{
	const struct mesh_offer offer = tcp_offer(PORT, host, to);

	configure(world, &offer, 1);
}

/* @out has room for SYN_BYTES; checksums are not looked at before the packet is let in. */
static void make_syn(
	unsigned char *out, const char *from, uint16_t from_port, const char *to, uint16_t to_port)
{
	struct sockaddr_in src = address(from, from_port), dst = address(to, to_port);

	memset(out, 0, SYN_BYTES);
	out[0] = 0x45;
	out[3] = SYN_BYTES;
	out[8] = 64;
	out[9] = IPPROTO_TCP;
	memcpy(out + 12, &src.sin_addr, 4);
	memcpy(out + 16, &dst.sin_addr, 4);
	memcpy(out + 20, &src.sin_port, 2);
	memcpy(out + 22, &dst.sin_port, 2);
	memcpy(out + 24, "\x01\x02\x03\xff", 4);
	out[32] = 0x50;
	out[33] = 0x02;
}

/* What the gate holds of it */
static void send_packet(struct world *world, void *packet, size_t len)
{
	struct packet_view view;

	if (gate_in(world->gate, packet, len, 0, &view) == GATE_HOLD)
		role_on_syn(world->role, &view);
}

static void send_syn(struct world *world, uint16_t from_port, uint16_t to_port)
{
	unsigned char syn[SYN_BYTES];

	make_syn(syn, PEER, from_port, VIP, to_port);
	send_packet(world, syn, sizeof(syn));
}

static int take_peer(struct world *world)
{
	run_until(&world->bed, world->npeers > 0);
	return world->peers[--world->npeers];
}

static size_t count_relays(const struct world *world)
{
	return relay_pool_count(world->bed.context.relays);
}

static void leads_to_the_target(void **state)
{
	struct world *world = world_open();
	int target = tcp_listen(TARGET, AT, 10);

	(void)state;
	offer_one(world, TARGET, AT);
	send_syn(world, FROM, PORT);
	int server = wait_accept(&world->bed, target); /* before the peer is let in, or at once */
	int peer = take_peer(world);
	run_until(&world->bed, count_relays(world) == 1);
	expect_joined(&world->bed, peer, server);
	run_until(&world->bed, count_relays(world) == 0);
	assert_int_equal(world->injected, 1);
	assert_int_equal(world->sent, 0);
	close(target);
	world_close(world);
}

static uint16_t sum_of(const unsigned char *bytes, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i += 2)
		sum += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static void expect_rst(const struct world *world, uint16_t from_port)
{
	const unsigned char *rst = world->last_sent;
	struct sockaddr_in vip = address(VIP, PORT), peer = address(PEER, from_port);

	assert_int_equal(rst[0], 0x45);
	assert_int_equal(rst[2] << 8 | rst[3], PACKET_RST_BYTES);
	assert_memory_equal(rst + 12, &vip.sin_addr, 4);
	assert_memory_equal(rst + 16, &peer.sin_addr, 4);
	assert_memory_equal(rst + 20, &vip.sin_port, 2);
	assert_memory_equal(rst + 22, &peer.sin_port, 2);
	assert_memory_equal(rst + 28, "\x01\x02\x04\x00", 4); /* the SYN's number and one */
	assert_int_equal(rst[33], 0x14);                      /* RST, ACK */
	assert_int_equal(sum_of(rst, 20, 0), 0xffff);
	uint32_t pseudo = sum_of(rst + 12, 8, IPPROTO_TCP + 20);
	assert_int_equal(sum_of(rst + 20, 20, pseudo), 0xffff);
}

static void a_refusal_is_a_rst(void **state)
{
	struct world *world = world_open();

	(void)state;
	offer_one(world, TARGET, AT); /* nobody is there */
	send_syn(world, FROM, PORT);
	run_until(&world->bed, world->sent > 0);
	expect_rst(world, FROM);
	/* the next one is asked about afresh */
	int target = tcp_listen(TARGET, AT, 10);
	send_syn(world, FROM, PORT);
	int server = wait_accept(&world->bed, target);
	expect_joined(&world->bed, take_peer(world), server);
	assert_int_equal(world->sent, 1);
	close(target);
	world_close(world);
}

static void a_name_is_looked_up(void **state)
{
	struct world *world = world_open();
	int target = tcp_listen(TARGET, AT, 10);

	(void)state;
	offer_one(world, "server.example", AT);
	send_syn(world, FROM, PORT);
	int server = wait_accept(&world->bed, target);
	expect_joined(&world->bed, take_peer(world), server);
	offer_one(world, "gone", AT);
	send_syn(world, FROM + 1, PORT);
	run_until(&world->bed, world->sent > 0);
	expect_rst(world, FROM + 1);
	offer_one(world, "hang", AT);
	send_syn(world, FROM + 2, PORT);
	settle(&world->bed);
	assert_int_equal(world->sent, 1);
	jump(&world->bed, DIAL_DEADLINE_MS + 1);
	assert_int_equal(world->sent, 2);
	expect_rst(world, FROM + 2);
	close(target);
	world_close(world);
}

static void every_peer_meets_its_own_target(void **state)
{
	struct world *world = world_open();
	const struct mesh_offer offers[] = {
		tcp_offer(PORT, TARGET, AT), tcp_offer(PORT + 1, TARGET, AT + 1)};
	int targets[] = {tcp_listen(TARGET, AT, 10), tcp_listen(TARGET, AT + 1, 10)};

	(void)state;
	configure(world, offers, COUNT(offers));
	world->bed.budget.max = 130; /* enough, unless those that are over still count */
	for (int round = 0; round < 10; round++) {
		int peers[2], servers[2];

		/* the same port of the peer, both let in before one is accepted */
		for (int i = 0; i < 2; i++) {
			send_syn(world, FROM, (uint16_t)(PORT + i));
			peers[i] = take_peer(world);
		}
		for (int i = 1; i >= 0; i--)
			servers[i] = wait_accept(&world->bed, targets[i]);
		for (int i = 0; i < 2; i++)
			expect_joined(&world->bed, servers[i], peers[i]);
		run_until(&world->bed, count_relays(world) == 0);
	}
	close(targets[0]);
	close(targets[1]);
	world_close(world);
}

static void packets_sent_again_are_swallowed_or_let_in(void **state)
{
	struct world *world = world_open();
	int target = tcp_listen(TARGET, AT, 10), servers = 0;

	(void)state;
	offer_one(world, "hang", AT);
	for (int i = 0; i < 5; i++)
		send_syn(world, FROM, PORT);
	settle(&world->bed);
	assert_int_equal(world->injected + world->sent, 0);
	are_names_let_go = true;
	run_until(&world->bed, world->sent > 0);
	settle(&world->bed);
	assert_int_equal(world->sent, 1);

	offer_one(world, TARGET, AT);
	world->is_deaf = true; /* the answer to the packet was lost */
	send_syn(world, FROM, PORT);
	run_until(&world->bed, world->injected == 1);
	send_syn(world, FROM, PORT);
	assert_int_equal(world->injected, 2);
	world->is_deaf = false;
	send_syn(world, FROM, PORT);
	int peer = take_peer(world);
	run_until(&world->bed, count_relays(world) == 1);
	world->is_deaf = true; /* a late one: the kernel knows the connection */
	send_syn(world, FROM, PORT);
	assert_int_equal(world->injected, 4);
	int server = wait_accept(&world->bed, target);
	servers = accept(target, NULL, NULL);
	assert_int_equal(servers, -1); /* one connection was made of it all */
	expect_joined(&world->bed, peer, server);
	close(target);
	world_close(world);
}

static void a_peer_that_never_completes_is_forgotten(void **state)
{
	struct world *world = world_open();
	int target = tcp_listen(TARGET, AT, 10);

	(void)state;
	offer_one(world, TARGET, AT);
	world->is_deaf = true;
	send_syn(world, FROM, PORT);
	int server = wait_accept(&world->bed, target);
	run_until(&world->bed, world->injected == 1);
	jump(&world->bed, SYNS_LET_IN_MS - 1000);
	assert_int_equal(recv(server, &(char){0}, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
	jump(&world->bed, 1001);
	assert_int_equal(wait_end(&world->bed, server), ECONNRESET);
	close(server);
	/* it comes after all: a fresh connection is made for it */
	int peer = tcp_connect(PEER, FROM, VIP, PORT);
	expect_joined(&world->bed, peer, wait_accept(&world->bed, target));
	/* and a reset if there is nobody now */
	close(target);
	run_until(&world->bed, count_relays(world) == 0);
	peer = tcp_connect(PEER, FROM + 1, VIP, PORT);
	assert_int_equal(wait_end(&world->bed, peer), ECONNRESET);
	close(peer);
	world_close(world);
}

static void only_so_many_are_pending(void **state)
{
	struct world *world = world_open();

	(void)state;
	world->bed.budget.max = 100000;
	offer_one(world, "hang", AT);
	for (int i = 0; i < SYNS_MAX + 100; i++) {
		unsigned char syn[SYN_BYTES];
		char from[INET_ADDRSTRLEN];

		snprintf(from, sizeof(from), "127.0.43.%d", 1 + i % 8);
		make_syn(syn, from, (uint16_t)(1000 + i), VIP, PORT);
		send_packet(world, syn, sizeof(syn));
	}
	are_names_let_go = true;
	run_until(&world->bed, world->sent >= SYNS_MAX);
	settle(&world->bed);
	assert_int_equal(world->sent, SYNS_MAX);
	world_close(world);
}

/* However many one peer begins: there is room for another one. */
static void one_peer_does_not_take_all(void **state)
{
	struct world *world = world_open();

	(void)state;
	are_names_let_go = false;
	world->bed.budget.max = 100000;
	offer_one(world, "hang", AT);
	for (int i = 0; i < SYNS_MAX; i++) {
		unsigned char syn[SYN_BYTES];

		make_syn(syn, "127.0.42.3", (uint16_t)(1000 + i), VIP, PORT);
		send_packet(world, syn, sizeof(syn));
	}
	send_syn(world, FROM, PORT);
	are_names_let_go = true;
	run_until(&world->bed, world->sent >= SYNS_MAX / 4 + 1);
	settle(&world->bed);
	assert_int_equal(world->sent, SYNS_MAX / 4 + 1);
	expect_rst(world, FROM);
	world_close(world);
}

static void other_packets_are_dropped(void **state)
{
	struct world *world = world_open();
	unsigned char syn[SYNS_PACKET_BYTES + 1];
	const struct {
		size_t at, len;
		unsigned char value;
	} changes[] = {
		{33, SYN_BYTES, 0x12}, /* SYN, ACK */
		{33, SYN_BYTES, 0x10}, /* ACK */
		{33, SYN_BYTES, 0x06}, /* SYN, RST */
		{9, SYN_BYTES, 17},    /* UDP */
		{19, SYN_BYTES, 9},    /* to another address */
		{23, SYN_BYTES, 1},    /* to another port */
		{0, SYN_BYTES, 0x65},  /* IPv6 */
		{32, SYN_BYTES, 0xf0}, /* options that are not there */
		{7, SYN_BYTES, 1},     /* a fragment */
		{1, SYN_BYTES - 1, 0}, /* cut */
		{1, 0, 0},             /* empty */
		{1, sizeof(syn), 0},   /* too much behind it */
	};

	(void)state;
	offer_one(world, TARGET, AT);
	for (size_t i = 0; i < COUNT(changes); i++) {
		memset(syn, 0, sizeof(syn));
		make_syn(syn, PEER, FROM, VIP, PORT);
		syn[changes[i].at] = changes[i].value;
		send_packet(world, syn, changes[i].len);
	}
	make_syn(syn, PEER, FROM, VIP, PORT); /* well-formed, but larger than any first packet */
	syn[2] = (SYNS_PACKET_BYTES + 1) >> 8;
	syn[3] = (SYNS_PACKET_BYTES + 1) & 255;
	send_packet(world, syn, SYNS_PACKET_BYTES + 1);
	settle(&world->bed);
	assert_int_equal(world->sent + world->injected, 0);
	struct packet_view view; /* the gate's rules and the offers may differ: nobody listens */
	unsigned char other[SYN_BYTES];
	make_syn(other, PEER, FROM, VIP, PORT + 1);
	assert_true(packet_parse(other, SYN_BYTES, &view));
	role_on_syn(world->role, &view);
	assert_int_equal(world->sent, 1);
	world->sent = 0;
	syn[2] = SYNS_PACKET_BYTES >> 8;
	syn[3] = SYNS_PACKET_BYTES & 255;
	send_packet(world, syn, SYNS_PACKET_BYTES);
	run_until(&world->bed, world->sent == 1); /* refused */
	world_close(world);
}

/* What stays is not touched: clients in its queue are served. What goes keeps its connections. */
static void changes_without_a_break(void **state)
{
	struct world *world = world_open();
	const struct mesh_offer first[] = {tcp_offer(PORT, TARGET, AT),
		tcp_offer(PORT + 1, TARGET, AT), tcp_offer(PORT + 2, "hang", AT)};
	const struct mesh_offer second[] = {
		tcp_offer(PORT, TARGET, AT + 1), tcp_offer(PORT + 3, TARGET, AT)};
	int old = tcp_listen(TARGET, AT, 10), new = tcp_listen(TARGET, AT + 1, 10);

	(void)state;
	configure(world, first, COUNT(first));
	send_syn(world, FROM, PORT + 1);
	int peer = take_peer(world), server = wait_accept(&world->bed, old);
	run_until(&world->bed, count_relays(world) == 1);
	int waiting = tcp_connect(PEER, FROM + 1, VIP, PORT); /* in the queue */
	send_syn(world, FROM + 2, PORT + 2);
	settle(&world->bed);
	close(wait_accept(&world->bed, old));
	close(waiting);
	waiting = tcp_connect(PEER, FROM + 5, VIP, PORT);
	world->sent = 0;
	configure(world, second, COUNT(second));
	assert_int_equal(world->sent, 1); /* what waited for "hang" */
	expect_joined(&world->bed, waiting, wait_accept(&world->bed, new));
	expect_joined(&world->bed, peer, server);
	peer = tcp_connect(PEER, FROM + 3, VIP, PORT + 1);
	assert_int_equal(wait_end(&world->bed, peer), ECONNREFUSED);
	close(peer);
	send_syn(world, FROM + 4, PORT + 3);
	peer = take_peer(world);
	expect_joined(&world->bed, peer, wait_accept(&world->bed, old));
	close(old);
	close(new);
	world_close(world);
}

/* Let in, but not accepted when the port goes: refused by the kernel, the target is let go. */
static void a_port_that_goes_lets_go_of_its_target(void **state)
{
	struct world *world = world_open();
	int target = tcp_listen(TARGET, AT, 10);

	(void)state;
	offer_one(world, TARGET, AT);
	world->is_deaf = true;
	send_syn(world, FROM, PORT);
	int server = wait_accept(&world->bed, target);
	run_until(&world->bed, world->injected == 1);
	configure(world, NULL, 0);
	assert_int_equal(wait_end(&world->bed, server), ECONNRESET);
	close(server);
	close(target);
	world_close(world);
}

static void says_which_port_cannot_be_offered(void **state)
{
	struct world *world = world_open();
	const struct mesh_offer offers[] = {
		tcp_offer(PORT, TARGET, AT), tcp_offer(PORT + 1, TARGET, AT)};
	struct mesh_report report;

	(void)state;
	int holder = tcp_listen(VIP, PORT + 1, 1), target = tcp_listen(TARGET, AT, 10);
	configure(world, offers, 2);
	role_report(world->role, &report);
	assert_int_equal(report.nmissing, 1);
	assert_non_null(strstr(report.missing[0].why, "8081"));
	assert_non_null(strstr(report.missing[0].why, VIP));
	for (uint16_t i = 0; i < 2; i++) {
		/* the other one is served; this one is refused, and served when it can be */
		send_syn(world, (uint16_t)(FROM + i), (uint16_t)(PORT + i));
		expect_joined(&world->bed, take_peer(world), wait_accept(&world->bed, target));
		if (i == 1)
			break;
		send_syn(world, FROM + 7, PORT + 1);
		run_until(&world->bed, world->sent == 1);
		close(holder);
		jump(&world->bed, SERVICE_RETRY_MS);
		role_report(world->role, &report);
		assert_int_equal(report.nmissing, 0);
	}
	close(target);
	world_close(world);
}

/* The pool is empty when it is asked for the first socket, and nobody fills it. */
static void waits_for_sockets_but_not_for_ever(void **state)
{
	struct world *world = world_open();
	const struct mesh_offer offers[] = {tcp_offer(PORT, TARGET, AT),
		tcp_offer(PORT + 1, TARGET, AT), tcp_offer(PORT + 2, TARGET, AT)};
	struct mesh_report report;

	(void)state;
	shut_door(&world->bed, true);
	uint64_t began_ns = clock_now_ns();
	configure(world, offers, COUNT(offers));
	assert_in_range(clock_now_ns() - began_ns, 0, 4 * NS_PER_S - 1); /* not once for each */
	role_report(world->role, &report);
	assert_int_equal(report.nmissing, COUNT(offers));
	assert_non_null(strstr(report.missing[0].why, "8080"));
	shut_door(&world->bed, false);
	configure(world, offers, COUNT(offers));
	role_report(world->role, &report);
	assert_int_equal(report.nmissing, 0);
	world_close(world);
}

static void two_of_the_same_are_one(void **state)
{
	struct world *world = world_open();
	const struct mesh_offer offers[] = {
		tcp_offer(PORT, TARGET, AT), tcp_offer(PORT, TARGET, AT + 1)};
	int target = tcp_listen(TARGET, AT, 10);

	(void)state;
	configure(world, offers, COUNT(offers));
	send_syn(world, FROM, PORT);
	int server = wait_accept(&world->bed, target);
	expect_joined(&world->bed, take_peer(world), server);
	close(target);
	world_close(world);
}

static void a_thousand_at_once(void **state)
{
	struct world *world = world_open();
	int target = tcp_listen(TARGET, AT, MANY), *servers = calloc(MANY, sizeof(*servers));
	char text[16];

	(void)state;
	offer_one(world, TARGET, AT);
	for (int i = 0; i < MANY; i++)
		send_syn(world, (uint16_t)(FROM + i), PORT);
	run_until(&world->bed, world->npeers == MANY);
	for (int i = 0; i < MANY; i++)
		servers[i] = wait_accept(&world->bed, target);
	run_until(&world->bed, count_relays(world) == MANY);
	for (int i = 0; i < MANY; i++) {
		snprintf(text, sizeof(text), "%d", i);
		assert_int_equal(send(world->peers[i], text, strlen(text), 0), strlen(text));
	}
	for (int i = 0; i < MANY; i++) { /* the one that was first let in is not the first here */
		ssize_t got = 0;

		run_until(&world->bed, (got = recv(servers[i], text, sizeof(text), 0)) > 0);
		assert_int_equal(send(servers[i], text, (size_t)got, 0), got);
		close(servers[i]);
	}
	for (int i = 0; i < MANY; i++) {
		snprintf(text, sizeof(text), "%d", i);
		expect_bytes(&world->bed, world->peers[i], text);
		close(world->peers[i]);
	}
	run_until(&world->bed, count_relays(world) == 0);
	free(servers);
	close(target);
	world_close(world);
}

/* Nothing is begun that could not be ended, nobody is lost, and nothing spins. */
static void waits_while_descriptors_are_short(void **state)
{
	struct world *world = world_open();
	int target = tcp_listen(TARGET, AT, 10), rounds = 0;

	(void)state;
	offer_one(world, TARGET, AT);
	send_syn(world, FROM, PORT);
	int peer = take_peer(world), server = wait_accept(&world->bed, target);
	run_until(&world->bed, count_relays(world) == 1);
	world->bed.budget.max = BUDGET_RESERVED + 1; /* one relay is one too much */
	send_syn(world, FROM + 1, PORT);
	int waiting = tcp_connect(PEER, FROM + 2, VIP, PORT);
	settle(&world->bed);
	assert_int_equal(world->injected, 1);
	assert_int_equal(world->sent, 0);
	assert_int_equal(count_relays(world), 1);
	for (uint64_t end_ns = loop_now_ns(world->bed.context.loop) + NS_PER_S / 5;
		loop_now_ns(world->bed.context.loop) < end_ns; rounds++)
		assert_int_equal(loop_run_once(world->bed.context.loop, 50), 0);
	assert_in_range(rounds, 1, 40);
	expect_joined(&world->bed, peer, server);
	world->bed.budget.max = 10000;
	expect_joined(&world->bed, waiting, wait_accept(&world->bed, target));
	send_syn(world, FROM + 1, PORT); /* again, as TCP does */
	expect_joined(&world->bed, take_peer(world), wait_accept(&world->bed, target));
	close(target);
	world_close(world);
}

/* The peer will ask again. */
static void nobody_is_refused_for_want_of_descriptors(void **state)
{
	struct world *world = world_open();
	int target = tcp_listen(TARGET, AT, 10);

	(void)state;
	offer_one(world, TARGET, AT);
	const struct rlimit limit = shortage(&world->bed);
	send_syn(world, FROM, PORT);
	no_shortage(&world->bed, &limit);
	settle(&world->bed);
	assert_int_equal(world->sent + world->injected, 0);
	send_syn(world, FROM, PORT);
	int server = wait_accept(&world->bed, target);
	expect_joined(&world->bed, take_peer(world), server);
	close(target);
	world_close(world);
}

static int udp_socket(const char *own, uint16_t own_port, const char *peer, uint16_t port)
{
	struct sockaddr_in from = address(own, own_port);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
	if (peer) {
		struct sockaddr_in to = address(peer, port);
		assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	}
	return fd;
}

/* A datagram to @client's peer arrives at @server and is answered. */
static void expect_echo(struct world *world, int client, int server)
{
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	char text[16];
	ssize_t got;

	assert_int_equal(send(client, "question", 8, 0), 8);
	run_until(&world->bed, (got = recvfrom(server, text, sizeof(text), 0,
					(struct sockaddr *)&from, &len)) > 0);
	assert_int_equal(got, 8);
	assert_int_equal(sendto(server, "answer", 6, 0, (struct sockaddr *)&from, len), 6);
	run_until(&world->bed, (got = recv(client, text, sizeof(text), 0)) > 0);
	assert_int_equal(got, 6);
	assert_memory_equal(text, "answer", 6);
}

static void datagrams_go_both_ways(void **state)
{
	struct world *world = world_open();
	struct mesh_offer offers[] = {{PORT, TARGET, AT, PROTO_UDP},
		{PORT + 1, "server.example", AT, PROTO_UDP}, {PORT + 2, "gone", AT, PROTO_UDP},
		tcp_offer(PORT, TARGET, AT)};
	int server = udp_socket(TARGET, AT, NULL, 0);
	int client = udp_socket(PEER, FROM, VIP, PORT);
	int by_name = udp_socket(PEER, FROM + 1, VIP, PORT + 1);
	int in_vain = udp_socket(PEER, FROM + 2, VIP, PORT + 2);

	(void)state;
	configure(world, offers, COUNT(offers));
	expect_echo(world, client, server);
	expect_echo(world, by_name, server);
	assert_int_equal(send(in_vain, "x", 1, 0), 1);
	settle(&world->bed);
	assert_int_equal(recv(in_vain, &(char){0}, 1, 0), -1);
	expect_echo(world, by_name, server);
	int asked = names_asked, another = udp_socket(PEER, FROM + 3, VIP, PORT + 1);
	expect_echo(world, another, server); /* a new client, a new look-up */
	assert_int_equal(names_asked, asked + 1);
	close(another);
	/* the flow stays when others go */
	configure(world, offers, 1);
	expect_echo(world, client, server);
	close(in_vain);
	close(by_name);
	close(client);
	close(server);
	world_close(world);
}

/* Its sender is told, of each, and is served when somebody is there. */
static void a_datagram_that_is_refused(void **state)
{
	static const struct {
		uint16_t from, port;
	} asked[] = {{FROM, PORT}, {FROM + 1, PORT}, {FROM + 2, PORT + 1}, {FROM, PORT}};
	struct world *world = world_open();
	struct mesh_offer offers[] = {
		{PORT, TARGET, AT, PROTO_UDP}, {PORT + 1, "gone", AT, PROTO_UDP}};
	int clients[COUNT(asked)];
	struct packet_view view;

	(void)state;
	configure(world, offers, COUNT(offers));
	for (size_t i = 0; i < COUNT(asked); i++) {
		clients[i] =
			i == 3 ? clients[0] : udp_socket(PEER, asked[i].from, VIP, asked[i].port);
		assert_int_equal(send(clients[i], "x", 1, 0), 1);
		run_until(&world->bed, world->sent == (int)i + 1);
		assert_true(packet_parse(world->last_sent, PACKET_DATAGRAM_BYTES, &view));
		assert_int_equal(view.proto, IPPROTO_UDP);
		assert_int_equal(view.src.ip.s_addr, address(PEER, 0).sin_addr.s_addr);
		assert_int_equal(view.dst.ip.s_addr, address(VIP, 0).sin_addr.s_addr);
		assert_int_equal(view.src.port, asked[i].from);
		assert_int_equal(view.dst.port, asked[i].port);
	}
	int server = udp_socket(TARGET, AT, NULL, 0);
	expect_echo(world, clients[0], server);
	for (size_t i = 0; i < 3; i++)
		close(clients[i]);
	close(server);
	world_close(world);
}

/* In every state at once; ASan and the count of descriptors watch. */
static void can_be_freed_at_any_time(void **state)
{
	struct world *world = world_open();
	struct mesh_offer offers[] = {tcp_offer(PORT, TARGET, AT), tcp_offer(PORT + 1, "hang", AT),
		{PORT, "hang", AT, PROTO_UDP}};
	int target = tcp_listen(TARGET, AT, 10);

	(void)state;
	configure(world, offers, COUNT(offers));
	send_syn(world, FROM, PORT);
	int peer = take_peer(world), server = wait_accept(&world->bed, target);
	run_until(&world->bed, count_relays(world) == 1);
	world->is_deaf = true;
	send_syn(world, FROM + 1, PORT);
	send_syn(world, FROM + 2, PORT + 1);
	int fresh = tcp_connect(PEER, FROM + 3, VIP, PORT + 1);
	int client = udp_socket(PEER, FROM, VIP, PORT);
	assert_int_equal(send(client, "x", 1, 0), 1);
	settle(&world->bed);
	int sent = world->sent;
	close(target);
	role_free(world->role);
	world->role = NULL;
	assert_int_equal(world->sent, sent); /* the link may be gone */
	assert_int_equal(wait_end(&world->bed, peer), ECONNRESET);
	assert_int_equal(wait_end(&world->bed, server), ECONNRESET);
	assert_int_equal(wait_end(&world->bed, fresh), ECONNRESET);
	close(peer);
	close(server);
	close(fresh);
	close(client);
	world_close(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leads_to_the_target),
		cmocka_unit_test(a_refusal_is_a_rst),
		cmocka_unit_test(a_name_is_looked_up),
		cmocka_unit_test(every_peer_meets_its_own_target),
		cmocka_unit_test(packets_sent_again_are_swallowed_or_let_in),
		cmocka_unit_test(a_peer_that_never_completes_is_forgotten),
		cmocka_unit_test(only_so_many_are_pending),
		cmocka_unit_test(one_peer_does_not_take_all),
		cmocka_unit_test(other_packets_are_dropped),
		cmocka_unit_test(changes_without_a_break),
		cmocka_unit_test(a_port_that_goes_lets_go_of_its_target),
		cmocka_unit_test(says_which_port_cannot_be_offered),
		cmocka_unit_test(waits_for_sockets_but_not_for_ever),
		cmocka_unit_test(two_of_the_same_are_one),
		cmocka_unit_test(a_thousand_at_once),
		cmocka_unit_test(waits_while_descriptors_are_short),
		cmocka_unit_test(nobody_is_refused_for_want_of_descriptors),
		cmocka_unit_test(datagrams_go_both_ways),
		cmocka_unit_test(a_datagram_that_is_refused),
		cmocka_unit_test(can_be_freed_at_any_time),
	};

	bed_enter_namespace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
