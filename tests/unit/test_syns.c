/* SPDX-License-Identifier: Apache-2.0 */
/* test_syns - held connections against a model: any events in any order, between any two ends */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include "conn/syns.h"
#include "mesh_bed.h"
#include "packets.h"

#define AT       4000 /* somebody listens at 127.0.0.1 there, and nobody behind it */
#define JUMP_MS  4000 /* neither deadline is a multiple of it */
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { STEPS = 2000, PEERS = 4, OWNS = 6, SERVERS = 64 };

/* Two addresses with two ports each */
static const char *const peer_ips[PEERS] = {
	"127.0.42.2", "127.0.42.2", "198.51.100.7", "198.51.100.7"};
static const uint16_t peer_ports[PEERS] = {1000, 1001, 1000, 1001};

/* Ends of ours, of which only the first two have the agent's own address; where they lead */
static const char *const own_ips[OWNS] = {
	"127.0.42.1", "127.0.42.1", "10.1.2.3", "10.1.2.3", "10.1.2.4", "10.1.2.4"};
static const uint16_t own_ports[OWNS] = {80, 81, 80, 81, 80, 81};
enum kind { ACCEPTS, REFUSES, HANGS };
static const enum kind kinds[OWNS] = {ACCEPTS, HANGS, ACCEPTS, REFUSES, HANGS, ACCEPTS};

struct flow {
	enum { NONE, DIALLING, LET_IN, RELAYED } state;
	uint64_t since_ns; /* of the state */
	int client;        /* RELAYED: our end of what was accepted */
	unsigned let_in, refused;
};

struct world {
	struct mesh_bed bed;
	struct syns *syns;
	int listener, servers[SERVERS];
	int full, fill[2]; /* a listener that takes no more */
	size_t nservers;
	struct flow flows[PEERS][OWNS];                     /* as the model has it */
	unsigned let_in[PEERS][OWNS], refused[PEERS][OWNS]; /* as it was told */
};

static struct addr peer_end(unsigned i)
{
	return addr_of4(pkt_addr(peer_ips[i]), peer_ports[i]);
}

static struct addr own_end(unsigned i)
{
	return addr_of4(pkt_addr(own_ips[i]), own_ports[i]);
}

static unsigned *counter(unsigned of[PEERS][OWNS], const struct syns_packet *packet)
{
	unsigned peer = 0, own = 0;
	struct addr at;

	while (at = peer_end(peer), !addr_equal(&at, &packet->peer))
		peer++;
	while (at = own_end(own), !addr_equal(&at, &packet->own))
		own++;
	return &of[peer][own];
}

static void on_let_in(void *owner, const struct syns_packet *packet)
{
	++*counter(((struct world *)owner)->let_in, packet);
}

static void on_refuse(void *owner, const struct syns_packet *packet, int result)
{
	(void)result;
	++*counter(((struct world *)owner)->refused, packet);
}

static uint64_t now_ns(const struct world *world)
{
	return loop_now_ns(world->bed.context.loop);
}

/* Bytes of it may have been changed, and are gone afterwards. */
static void send_syn(struct world *world, unsigned peer, unsigned own)
{
	struct pkt pkt =
		pkt_tcp(peer_ips[peer], peer_ports[peer], own_ips[own], own_ports[own], PACKET_SYN);
	struct dial_target target = {.host = "127.0.0.1", .port = (uint16_t)(AT + kinds[own])};
	struct flow *flow = &world->flows[peer][own];
	uint8_t *bytes = malloc(pkt.len);
	struct packet_view view;

	memcpy(bytes, pkt.bytes, pkt.len);
	assert_true(packet_parse(bytes, pkt.len, &view));
	if (flow->state == NONE) {
		flow->state = DIALLING;
		flow->since_ns = now_ns(world);
	} else if (flow->state != DIALLING) {
		flow->let_in++;
	}
	struct syns_packet syn = syns_packet_of(&view);
	syns_on_packet(world->syns, &syn, &target);
	memset(bytes, 0, pkt.len);
	free(bytes);
}

static void meet(struct world *world, unsigned peer, unsigned own)
{
	struct flow *flow = &world->flows[peer][own];
	int pair[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	const struct addr from = peer_end(peer), at = own_end(own);
	bool is_met = syns_meet(world->syns, &from, &at, pair[0]);
	assert_int_equal(is_met, flow->state == LET_IN);
	if (is_met) {
		flow->state = RELAYED;
		flow->client = pair[1];
		return;
	}
	close(pair[0]);
	close(pair[1]);
}

static void drop(struct world *world, unsigned own)
{
	for (unsigned peer = 0; peer < PEERS; peer++) {
		struct flow *flow = &world->flows[peer][own];

		if (flow->state == RELAYED)
			continue;
		flow->refused += flow->state == DIALLING;
		flow->state = NONE;
	}
	const struct addr at = own_end(own);
	syns_drop(world->syns, &at);
}

/* Targets end when they hear of an end. */
static void serve(struct world *world)
{
	int fd;

	while ((fd = accept4(world->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		assert_in_range(world->nservers, 0, SERVERS - 1);
		world->servers[world->nservers++] = fd;
	}
	for (size_t i = 0; i < world->nservers; i++) {
		char byte;
		ssize_t got = recv(world->servers[i], &byte, 1, 0);

		if (got == 0 || (got < 0 && errno != EAGAIN)) {
			close(world->servers[i]);
			world->servers[i--] = world->servers[--world->nservers];
		}
	}
}

/* What the time and the targets make of all that is pending */
static size_t settle_model(struct world *world)
{
	size_t connected = 0;

	for (unsigned peer = 0; peer < PEERS; peer++)
		for (unsigned own = 0; own < OWNS; own++) {
			struct flow *flow = &world->flows[peer][own];
			uint64_t ms = (now_ns(world) - flow->since_ns) / 1000000;

			if (flow->state == DIALLING && kinds[own] == ACCEPTS) {
				flow->state = LET_IN;
				flow->let_in++;
				flow->since_ns = now_ns(world);
			} else if (flow->state == DIALLING &&
				   (kinds[own] == REFUSES || ms >= DIAL_DEADLINE_MS)) {
				flow->state = NONE;
				flow->refused++;
			} else if (flow->state == LET_IN && ms >= SYNS_LET_IN_MS) {
				flow->state = NONE;
			}
			connected += flow->state == LET_IN || flow->state == RELAYED;
		}
	return connected;
}

static bool is_as_expected(struct world *world)
{
	bed_round(&world->bed);
	serve(world);
	size_t connected = 0;
	for (unsigned peer = 0; peer < PEERS; peer++)
		for (unsigned own = 0; own < OWNS; own++) {
			const struct flow *flow = &world->flows[peer][own];

			if (flow->let_in != world->let_in[peer][own] ||
				flow->refused != world->refused[peer][own])
				return false;
			connected += flow->state == LET_IN || flow->state == RELAYED;
		}
	return world->nservers == connected;
}

static void check(struct world *world)
{
	settle_model(world);
	run_until(&world->bed, is_as_expected(world));
}

static void hang_up(struct world *world, struct flow *flow)
{
	if (flow->state != RELAYED)
		return;
	close(flow->client);
	flow->state = NONE;
	/* the relay ends behind the target's end */
	check(world);
	settle(&world->bed);
}

static struct world *world_open(void)
{
	static const struct syns_ops ops = {.let_in = on_let_in, .refuse = on_refuse};
	struct world *world = calloc(1, sizeof(*world));

	bed_open(&world->bed);
	world->listener = tcp_listen("127.0.0.1", AT, SERVERS);
	world->full = tcp_listen("127.0.0.1", AT + HANGS, 0);
	for (int i = 0; i < 2; i++)
		world->fill[i] = tcp_connect(NULL, 0, "127.0.0.1", AT + HANGS);
	world->syns = syns_new(&world->bed.context, &ops, world);
	assert_non_null(world->syns);
	return world;
}

/* In whatever state they are */
static void world_close(struct world *world)
{
	syns_free(world->syns);
	for (unsigned i = 0; i < PEERS * OWNS; i++)
		if (world->flows[i / OWNS][i % OWNS].state == RELAYED)
			close(world->flows[i / OWNS][i % OWNS].client);
	for (size_t i = 0; i < world->nservers; i++)
		close(world->servers[i]);
	close(world->listener);
	close(world->full);
	close(world->fill[0]);
	close(world->fill[1]);
	bed_close(&world->bed);
	free(world);
}

static void any_events_in_any_order(void **state)
{
	struct world *world = world_open();
	unsigned let_in = 0, refused = 0, relayed = 0;

	(void)state;
	srandom(1);
	for (int step = 0; step < STEPS; step++) {
		unsigned peer = (unsigned)random() % PEERS, own = (unsigned)random() % OWNS;
		struct flow *flow = &world->flows[peer][own];

		switch (random() % 16) {
		case 0:
			drop(world, own);
			break;
		case 1:
			check(world);
			jump(&world->bed, JUMP_MS);
			check(world);
			break;
		case 2:
		case 3:
			check(world);
			hang_up(world, flow);
			break;
		case 4:
		case 5:
		case 6:
			check(world);
			meet(world, peer, own);
			relayed += flow->state == RELAYED;
			break;
		default:
			send_syn(world, peer, own);
			break;
		}
		if (random() % 4 == 0 || flow->state == DIALLING)
			check(world);
	}
	for (unsigned i = 0; i < PEERS * OWNS; i++) {
		let_in += world->let_in[i / OWNS][i % OWNS];
		refused += world->refused[i / OWNS][i % OWNS];
	}
	assert_true(let_in > STEPS / 20);
	assert_true(refused > STEPS / 20);
	assert_true(relayed > STEPS / 50);
	world_close(world);
}

/* Who listened at all addresses listens at none of them. */
static void a_wildcard_is_all_of_its_port(void **state)
{
	const struct addr all = addr_of4((struct in_addr){htonl(INADDR_ANY)}, 81),
			  of_ipv6 = addr_of6(&in6addr_any, 81);
	struct world *world = world_open();

	(void)state;
	for (unsigned own = 0; own < OWNS; own++)
		send_syn(world, 0, own);
	check(world);
	syns_drop(world->syns, &of_ipv6);
	check(world);
	syns_drop(world->syns, &all);
	for (unsigned own = 0; own < OWNS; own++) {
		struct flow *flow = &world->flows[0][own];

		if (own_ports[own] != 81)
			continue;
		flow->refused += flow->state == DIALLING;
		flow->state = NONE;
	}
	check(world);
	for (unsigned own = 0; own < OWNS; own++) {
		const struct addr peer = peer_end(0), at = own_end(own);

		assert_int_equal(syns_has(world->syns, &peer, &at), own_ports[own] == 80);
	}
	world_close(world);
}

struct looked {
	bool is_waiting;
	unsigned let_in, looks;
};

static void on_looked_let_in(void *owner, const struct syns_packet *packet)
{
	assert_int_equal(packet->len, 3);
	assert_memory_equal(packet->bytes, "SYN", 3);
	((struct looked *)owner)->let_in++;
}

static bool on_look(void *owner, const struct addr *peer, const struct addr *own)
{
	assert_in_range(addr_port(peer), 1000, 1001);
	assert_int_equal(addr_port(own), 80);
	((struct looked *)owner)->looks++;
	return ((struct looked *)owner)->is_waiting;
}

/* Of IPv6, and any bytes: nobody is let in, or dialled for on and on, who waits no more. */
static void who_has_given_up_is_left(void **state)
{
	static const struct syns_ops ops = {
		.let_in = on_looked_let_in, .is_waiting = on_look, .is_one_peer = true};
	const struct in6_addr ip = IN6ADDR_LOOPBACK_INIT;
	char bytes[] = "SYN";
	const struct syns_packet packet = {addr_of6(&ip, 1000), addr_of6(&ip, 80), bytes, 3, 0};
	struct world *world = world_open();
	struct looked looked = {.is_waiting = true};
	struct syns *syns = syns_new(&world->bed.context, &ops, &looked);

	(void)state;
	/* one that accepts, after a look for its name; and one that does not answer */
	const struct dial_target accepts = {.host = "one",
					 .port = AT + ACCEPTS,
					 .is_patient = true},
				 hangs = {.host = "127.0.0.1",
					 .port = AT + HANGS,
					 .is_patient = true};

	looked.is_waiting = false;
	syns_on_packet(syns, &packet, &accepts);
	assert_true(syns_has(syns, &packet.peer, &packet.own));
	run_until(&world->bed, !syns_has(syns, &packet.peer, &packet.own));
	looked.is_waiting = true;
	syns_on_packet(syns, &packet, &hangs);
	settle(&world->bed);
	assert_true(syns_has(syns, &packet.peer, &packet.own));
	for (unsigned i = 0; i < 20; i++) {
		jump(&world->bed, SYNS_LOOK_MS);
		settle(&world->bed);
	}
	assert_in_range(looked.looks, 20, 25);
	assert_true(syns_has(syns, &packet.peer, &packet.own));
	looked.is_waiting = false;
	jump(&world->bed, SYNS_LOOK_MS);
	settle(&world->bed);
	assert_false(syns_has(syns, &packet.peer, &packet.own));
	assert_int_equal(looked.let_in, 0);
	syns_free(syns);
	world_close(world);
}

/* Nobody meets the first one, whose deadline is much later. */
static void it_is_looked_for_behind_one_that_is_let_in(void **state)
{
	static const struct syns_ops ops = {
		.let_in = on_looked_let_in, .is_waiting = on_look, .is_one_peer = true};
	const struct in6_addr ip = IN6ADDR_LOOPBACK_INIT;
	const struct dial_target accepts = {.host = "127.0.0.1", .port = AT + ACCEPTS},
				 hangs = {.host = "127.0.0.1",
					 .port = AT + HANGS,
					 .is_patient = true};
	char bytes[] = "SYN";
	const struct syns_packet first = {addr_of6(&ip, 1000), addr_of6(&ip, 80), bytes, 3, 0},
				 second = {addr_of6(&ip, 1001), addr_of6(&ip, 80), bytes, 3, 0};
	struct world *world = world_open();
	struct looked looked = {.is_waiting = true};
	struct syns *syns = syns_new(&world->bed.context, &ops, &looked);

	(void)state;
	syns_on_packet(syns, &first, &accepts);
	run_until(&world->bed, looked.let_in == 1);
	jump(&world->bed, 2 * SYNS_LOOK_MS);
	settle(&world->bed);
	syns_on_packet(syns, &second, &hangs);
	settle(&world->bed);
	assert_true(syns_has(syns, &second.peer, &second.own));
	looked.is_waiting = false;
	jump(&world->bed, SYNS_LOOK_MS);
	settle(&world->bed);
	assert_false(syns_has(syns, &second.peer, &second.own));
	assert_true(syns_has(syns, &first.peer, &first.own));
	syns_free(syns);
	world_close(world);
}

static void count_let_in(void *owner, const struct syns_packet *packet)
{
	(void)packet;
	++*(unsigned *)owner;
}

/* The peer has closed one, and begins another one from the same port before we have heard of it. */
static void another_one_between_the_same_ends(void **state)
{
	static const struct syns_ops ops = {.let_in = count_let_in, .is_one_peer = true};
	const struct dial_target target = {.host = "127.0.0.1", .port = AT + ACCEPTS};
	const struct in6_addr ip = IN6ADDR_LOOPBACK_INIT;
	char bytes[] = "SYN", byte;
	struct syns_packet packet = {addr_of6(&ip, 1000), addr_of6(&ip, 80), bytes, 3, 1};
	struct world *world = world_open();
	unsigned let_in = 0;
	struct syns *syns = syns_new(&world->bed.context, &ops, &let_in);
	int pair[2];

	(void)state;
	syns_on_packet(syns, &packet, &target);
	run_until(&world->bed, let_in == 1);
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	assert_true(syns_meet(syns, &packet.peer, &packet.own, pair[0]));
	syns_on_packet(syns, &packet, &target); /* the same */
	assert_int_equal(let_in, 2);
	assert_int_equal(recv(pair[1], &byte, 1, 0), -1);
	packet.number = 2;
	syns_on_packet(syns, &packet, &target);
	assert_int_equal(recv(pair[1], &byte, 1, 0), 0);
	run_until(&world->bed, let_in == 3);
	close(pair[1]);
	syns_free(syns);
	world_close(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_has_given_up_is_left),
		cmocka_unit_test(it_is_looked_for_behind_one_that_is_let_in),
		cmocka_unit_test(a_wildcard_is_all_of_its_port),
		cmocka_unit_test(another_one_between_the_same_ends),
		cmocka_unit_test(any_events_in_any_order),
	};

	bed_enter_namespace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
