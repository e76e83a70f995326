/* SPDX-License-Identifier: Apache-2.0 */
/* test_role - what a configuration makes of the gate, the stack and the listeners */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <stdio.h>

#include "mesh/agent/role.h"
#include "mesh/info.h"
#include "mesh_bed.h"
#include "packets.h"

#define SELF     "127.0.42.1"
#define PEER     "127.0.42.2"
#define OWN      "127.0.7.7" /* an address of the host, for a moment */
#define AT       4000        /* at 127.0.0.1: where offers lead */
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct world {
	struct mesh_bed bed;
	struct gate *gate;
	struct estate estate;
	struct role *role;
	struct in_addr self;
	unsigned peers, bound, let_in, refused;
	char reserved[64];
	unsigned reservations;
	bool has_no_address; /* set_self fails */
};

static struct world *world_of(struct stack *stack)
{
	struct mesh_bed *bed = container_of(stack, struct mesh_bed, stack);

	return container_of(bed, struct world, bed);
}

static int set_self(struct stack *stack, struct in_addr vip)
{
	struct world *world = world_of(stack);

	if (world->has_no_address)
		return -EADDRNOTAVAIL;
	world->self = vip;
	return 0;
}

static int change(struct stack *stack, enum stack_change change, struct in_addr vip)
{
	if (change == STACK_SET_SELF)
		return set_self(stack, vip);
	world_of(stack)->peers += change == STACK_ADD_PEER ? 1 : -1;
	return 0;
}

static int reserve_ports(struct stack *stack, const char *ports)
{
	struct world *world = world_of(stack);

	world->reservations++;
	snprintf(world->reserved, sizeof(world->reserved), "%s", ports);
	return 0;
}

static int open_bound(struct stack *stack, enum proto proto, const struct addr *at)
{
	world_of(stack)->bound++;
	return bed_open_bound(stack, proto, at);
}

static int open_aliases(struct stack *stack, struct in_addr self, struct in_addr *net, bool *turns)
{
	struct world *world = world_of(stack);

	assert_int_equal(self.s_addr, world->self.s_addr);
	net->s_addr = htonl(0xf0000000);
	*turns = true;
	return 0;
}

static const struct stack_ops ops = {
	.open_aliases = open_aliases,
	.open_bound = open_bound,
	.target = bed_target,
	.change = change,
	.reserve_ports = reserve_ports,
};

static void on_let_in(void *owner, const struct syns_packet *packet)
{
	(void)packet;
	((struct world *)owner)->let_in++;
}

static void on_refuse(void *owner, const struct syns_packet *packet, int result)
{
	(void)result;
	(void)packet;
	((struct world *)owner)->refused++;
}

static struct world *world_open(bool is_sandbox)
{
	static const struct syns_ops syns_ops = {.let_in = on_let_in, .refuse = on_refuse};
	struct world *world = calloc(1, sizeof(*world));

	bed_open(&world->bed);
	world->bed.stack.ops = &ops;
	world->gate = gate_new();
	world->estate.io.fd = -1; /* nothing is kept */
	world->role = role_new(&(struct role_start){
		.is_sandbox = is_sandbox,
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

static void configure(struct world *world, const struct mesh_config *config)
{
	struct err err = {0};

	if (role_configure(world->role, config, &err) < 0)
		fail_msg("%s", err.text);
}

/* The first packet of a connection; one that is held is given on. Returns the verdict. */
static enum gate_verdict come(struct world *world, struct pkt *pkt)
{
	struct packet_view view;
	enum gate_verdict verdict = gate_in(world->gate, pkt->bytes, pkt->len, 0, &view);

	if (verdict == GATE_HOLD)
		role_on_syn(world->role, &view);
	return verdict;
}

static enum gate_verdict syn_to(struct world *world, uint16_t port)
{
	struct pkt pkt = pkt_tcp(PEER, 9, SELF, port, PACKET_SYN);

	return come(world, &pkt);
}

static bool is_listened_at(const char *ip, uint16_t port)
{
	int fd = tcp_connect(NULL, 0, ip, port);
	struct pollfd polled = {.fd = fd, .events = POLLOUT};
	int error = 0;
	socklen_t len = sizeof(error);

	assert_int_equal(poll(&polled, 1, BED_WAIT_MS), 1);
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	close(fd);
	return error == 0;
}

static struct mesh_offer offers[] = {
	{8080, "127.0.0.1", AT, PROTO_TCP},
	{8081, "localhost", AT + 1, PROTO_TCP},
	{8082, "198.51.100.7", AT, PROTO_TCP}, /* no address of this network */
	{8083, "server.example", AT, PROTO_TCP},
	{8084, "0.0.0.0", AT, PROTO_TCP},
	{53, "127.0.0.1", 5300, PROTO_UDP},
	{54, "server.example", 5400, PROTO_UDP},
};
static struct mesh_port others[2];

static struct mesh_config config_of(size_t noffers)
{
	struct mesh_config config = {.me = pkt_addr(SELF), .offers = offers, .noffers = noffers};

	others[0] = (struct mesh_port){pkt_addr(PEER), 80, PROTO_TCP};
	others[1] = (struct mesh_port){pkt_addr("127.0.42.3"), 80, PROTO_TCP};
	config.others = others;
	config.nothers = COUNT(others);
	return config;
}

/* Ports lead to the sandbox's own servers; the rest is relayed, and others are not listened for. */
static void in_a_sandbox(void **state)
{
	struct world *world = world_open(true);
	struct mesh_config config = config_of(COUNT(offers));
	struct packet_view view;

	(void)state;
	configure(world, &config);
	assert_int_equal(world->self.s_addr, pkt_addr(SELF).s_addr);
	assert_int_equal(world->peers, 2);
	assert_string_equal(world->reserved, "8080,8081,8082,8083,8084,53,54");
	struct pkt mapped = pkt_tcp(PEER, 9, SELF, 8080, PACKET_SYN);
	assert_int_equal(come(world, &mapped), GATE_PASS);
	assert_true(packet_parse(mapped.bytes, mapped.len, &view));
	assert_int_equal(view.dst.ip.s_addr, pkt_addr("127.0.0.1").s_addr);
	assert_int_equal(view.dst.port, AT);
	assert_int_equal(syn_to(world, 8081), GATE_HOLD); /* ::1 may be it */
	assert_int_equal(syn_to(world, 8082), GATE_HOLD);
	assert_int_equal(syn_to(world, 8084), GATE_HOLD);
	assert_int_equal(syn_to(world, 9), GATE_REFUSE);
	assert_int_equal(world->bound, 5); /* 8081 to 8084, and 54 */
	assert_false(is_listened_at(SELF, 8080));
	assert_false(is_listened_at(SELF, 8083)); /* but where the gate leads to */
	struct pkt held = pkt_tcp(PEER, 9, SELF, 8083, PACKET_SYN);
	assert_true(packet_parse(held.bytes, held.len, &view));
	gate_let_in(world->gate, &view);
	assert_true(packet_parse(held.bytes, held.len, &view));
	uint16_t elsewhere = view.dst.port;
	assert_true(elsewhere != 8083 && is_listened_at(SELF, elsewhere));
	configure(world, &config); /* and is the same after it */
	held = pkt_tcp(PEER, 9, SELF, 8083, PACKET_SYN);
	assert_true(packet_parse(held.bytes, held.len, &view));
	gate_let_in(world->gate, &view);
	assert_true(packet_parse(held.bytes, held.len, &view));
	assert_int_equal(view.dst.port, elsewhere);
	assert_int_equal(world->bound, 5);
	assert_false(is_listened_at(PEER, 80));
	/* any port, and nothing that is reserved */
	config.any_port = true;
	config.noffers = 0;
	configure(world, &config);
	assert_int_equal(syn_to(world, 9), GATE_PASS);
	assert_string_equal(world->reserved, "");
	assert_int_equal(world->reservations, 3);
	configure(world, &config);
	assert_int_equal(world->reservations, 3);
	assert_false(is_listened_at(SELF, elsewhere));
	world_close(world);
}

static void on_a_plain_host(void **state)
{
	struct world *world = world_open(false);
	struct mesh_config config = config_of(2);
	int target = tcp_listen("127.0.0.1", AT, 10);

	(void)state;
	config.any_port = true; /* is for sandboxes */
	config.loopback_disable = true;
	configure(world, &config);
	assert_int_equal(world->reservations, 0);
	assert_int_equal(syn_to(world, 9), GATE_REFUSE);
	assert_int_equal(syn_to(world, 8080), GATE_HOLD);
	close(wait_accept(&world->bed, target));
	run_until(&world->bed, world->let_in == 1);
	assert_int_equal(syn_to(world, 8081), GATE_HOLD); /* nobody there */
	run_until(&world->bed, world->refused == 1);
	assert_int_equal(world->bound, 2);
	assert_false(is_listened_at(PEER, 80));
	/* inside is the same place as outside here: no own offers, which have the addresses */
	config.noffers = 0;
	config.loopback_disable = false;
	configure(world, &config);
	assert_true(is_listened_at(PEER, 80));
	assert_true(is_listened_at("127.0.42.3", 80));
	assert_int_equal(syn_to(world, 8080), GATE_REFUSE);
	config.nothers = 1;
	configure(world, &config);
	assert_true(is_listened_at(PEER, 80));
	assert_false(is_listened_at("127.0.42.3", 80));
	assert_int_equal(world->peers, 1);
	close(target);
	world_close(world);
}

static void what_fails_is_named(void **state)
{
	struct world *world = world_open(false);
	struct mesh_config config = config_of(1);
	struct err err = {0};

	(void)state;
	world->has_no_address = true;
	assert_int_equal(role_configure(world->role, &config, &err), -EADDRNOTAVAIL);
	assert_non_null(strstr(err.text, SELF));
	world->has_no_address = false;
	int holder = tcp_listen(SELF, 8080, 1);
	configure(world, &config); /* all the others work */
	struct mesh_report report;
	role_report(world->role, &report);
	assert_int_equal(report.nmissing, 2); /* inside and outside are one in this test */
	assert_int_equal(report.missing[0].port, 8080);
	assert_non_null(strstr(report.missing[0].why, "8080"));
	assert_int_equal(syn_to(world, 8080), GATE_HOLD);
	close(holder);
	config.loopback_disable = true;
	configure(world, &config);
	role_report(world->role, &report);
	assert_int_equal(report.nmissing, 0);
	world_close(world);
}

/* The VIP of another host is one of ours: that host is left out, and no other. */
static void one_host_is_left_out(void **state)
{
	struct world *world = world_open(false);
	struct mesh_port theirs[] = {{addr_at(OWN, 0).v4.sin_addr, 4100, PROTO_TCP},
		{addr_at("127.0.42.3", 0).v4.sin_addr, 80, PROTO_TCP}};
	struct mesh_config config = config_of(0);
	struct in_addr own = theirs[0].ip;
	struct mesh_report report;
	int nl = netdev_open();

	(void)state;
	netdev_add_addr(nl, netdev_index(nl, "lo"), AF_INET, &own, 32);
	config.others = theirs;
	config.nothers = COUNT(theirs);
	configure(world, &config);
	assert_true(is_listened_at("127.0.42.3", 80));
	assert_false(is_listened_at(OWN, 4100));
	role_report(world->role, &report);
	assert_int_equal(report.nmissing, 1);
	assert_int_equal(report.missing[0].port, 0);
	assert_int_equal(report.missing[0].ip.s_addr, theirs[0].ip.s_addr);
	config.me = theirs[0].ip; /* our own is needed */
	struct err err;
	assert_int_equal(role_configure(world->role, &config, &err), -EADDRINUSE);
	/* one that no host can have is a manager's fault */
	config.me = addr_at(SELF, 0).v4.sin_addr;
	theirs[0].ip = addr_at("127.0.0.1", 0).v4.sin_addr;
	assert_int_equal(role_configure(world->role, &config, &err), -EINVAL);
	netdev_del_addr(nl, netdev_index(nl, "lo"), AF_INET, &own, 32);
	close(nl);
	world_close(world);
}

static void features(void **state)
{
	(void)state;
	/* files with names are for hosts whose files are their own, and nobody leads on from a
	 * sandbox */
	const unsigned plain = FEATURE_HOSTALIASES | FEATURE_ETCHOSTS | FEATURE_EXPOSE;

	assert_int_equal(role_features(true) ^ role_features(false), FEATURE_SANDBOX | plain);
	assert_int_equal(role_features(false) & plain, plain);
	assert_true(role_features(true) & FEATURE_ROUTES);
	assert_int_equal(role_features(false) & FEATURE_SANDBOX, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_a_sandbox),
		cmocka_unit_test(on_a_plain_host),
		cmocka_unit_test(what_fails_is_named),
		cmocka_unit_test(one_host_is_left_out),
		cmocka_unit_test(features),
	};

	bed_enter_namespace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
