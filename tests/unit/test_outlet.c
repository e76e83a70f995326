/* SPDX-License-Identifier: Apache-2.0 */
/* test_outlet - who asks for what is not exposed is told, and so is the manager, but not each time
 */
#include "packets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mesh/agent/outlet.h"
#include "mesh_bed.h"

#define PEER "127.0.42.2"

struct world {
	struct mesh_bed bed;
	struct wire_hub *hub;
	struct wire wire;
	struct gate *gate;
	struct crossing crossing;
	struct outlet outlet;
	unsigned changes;
	int far; /* the manager's end */
};

static void on_change(void *owner)
{
	((struct world *)owner)->changes++;
}

static void on_broken(struct wire *wire, const struct err *err)
{
	(void)wire;
	fail_msg("broken: %s", err->text);
}

static const struct wire_ops wire_ops = {.on_broken = on_broken};

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	int ends[2];

	bed_open(&world->bed);
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
	world->far = ends[1];
	world->hub = wire_hub_new(world->bed.context.loop);
	assert_int_equal(wire_open(&world->wire, world->hub, &wire_ops, ends[0], ends[0]), 0);
	world->gate = gate_new();
	world->crossing.loop = world->bed.context.loop;
	world->crossing.gate = world->gate;
	world->crossing.wire = &world->wire;
	world->outlet.crossing = &world->crossing;
	world->outlet.on_change = on_change;
	world->outlet.owner = world;
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;

	outlet_close(&world->outlet);
	wire_close(&world->wire);
	wire_hub_free(world->hub);
	gate_free(world->gate);
	fd_close(&world->far);
	bed_close(&world->bed);
	free(world);
	return 0;
}

/* The protocol of the answer to @pkt, 0: none. */
static int answer_to(struct world *world, struct pkt pkt)
{
	unsigned char bytes[512];
	struct packet_view view, answer;
	struct frame frame;
	struct err err;

	assert_true(packet_parse(pkt.bytes, pkt.len, &view));
	outlet_take(&world->outlet, &view);
	ssize_t len = read(world->far, bytes, sizeof(bytes));
	if (len < 0)
		return 0;
	assert_int_equal(frame_decode(bytes, (size_t)len, &frame, &err), len);
	assert_true(packet_parse(frame.payload, frame.len, &answer));
	assert_int_equal(answer.dst.ip.s_addr, view.src.ip.s_addr);
	return answer.proto;
}

static struct mesh_report report(struct world *world)
{
	struct mesh_report out = {.nmissing = 0};

	outlet_report(&world->outlet, &out);
	return out;
}

static void what_is_not_exposed(void **state)
{
	struct world *world = *state;
	char *texts[] = {"10.1.0.0/16:80", NULL}, *wrong[] = {"10.0.0.0/8", "x", NULL};
	struct err err;

	assert_int_equal(outlet_open(&world->outlet, &world->bed.context), 0);
	assert_int_equal(outlet_configure(&world->outlet, texts, &err), 0);
	assert_int_equal(
		answer_to(world, pkt_tcp(PEER, 7, "10.2.0.1", 80, PACKET_SYN)), IPPROTO_TCP);
	assert_string_equal(report(world).unexposed_last, "10.2.0.1:80");
	assert_int_equal(
		answer_to(world, pkt_tcp(PEER, 7, "10.1.0.1", 81, PACKET_SYN)), IPPROTO_TCP);
	assert_int_equal(
		answer_to(world, pkt_icmp(PEER, "10.2.0.1", ICMP_ECHO, NULL, 0)), IPPROTO_ICMP);
	assert_string_equal(report(world).unexposed_last, "10.2.0.1");
	assert_int_equal(report(world).unexposed, 3);
	/* one report for all of them, a second later */
	assert_int_equal(world->changes, 0);
	clock_ahead_ns += OUTLET_TELL_MS * NS_PER_MS;
	assert_int_equal(loop_run_once(world->bed.context.loop, 10), 0);
	assert_int_equal(world->changes, 1);
	/* words that cannot be read expose nothing, also of those in front of them */
	assert_int_equal(outlet_configure(&world->outlet, wrong, &err), -EINVAL);
	assert_int_equal(
		answer_to(world, pkt_tcp(PEER, 7, "10.1.0.1", 80, PACKET_SYN)), IPPROTO_TCP);
	assert_int_equal(report(world).unexposed, 4);
}

static void the_host_has_the_last_word(void **state)
{
	struct world *world = *state;
	struct expose host = {.rules = NULL};
	struct err err;

	assert_int_equal(expose_add(&host, "none", &err), 0);
	world->outlet.host = &host;
	assert_int_equal(outlet_open(&world->outlet, &world->bed.context), 0);
	assert_int_equal(outlet_configure(&world->outlet, NULL, &err), 0);
	assert_int_equal(
		answer_to(world, pkt_tcp(PEER, 7, "10.1.0.1", 80, PACKET_SYN)), IPPROTO_TCP);
	assert_int_equal(report(world).unexposed, 1);
	outlet_close(&world->outlet);
	expose_fini(&host);
}

/* Its own address is this host's loopback, where that is exposed: else nothing is led on. */
static void its_own_loopback(void **state)
{
	struct world *world = *state;
	struct expose host = {.rules = NULL};
	struct gate_rules rules = {.self = pkt_addr("127.0.42.1")};
	char *texts[] = {"127.0.0.1:81", NULL}, *others[] = {"10.0.0.0/8", NULL};
	struct err err;

	assert_int_equal(gate_configure(world->gate, &rules), 0);
	world->outlet.host = &host;
	assert_false(outlet_leads_here(&world->outlet));
	assert_int_equal(outlet_open(&world->outlet, &world->bed.context), 0);
	assert_false(outlet_leads_here(&world->outlet));
	assert_int_equal(expose_add(&host, "127.0.0.1:80-81", &err), 0);
	assert_true(outlet_leads_here(&world->outlet));
	/* the manager may say less */
	assert_int_equal(outlet_configure(&world->outlet, others, &err), 0);
	assert_false(outlet_leads_here(&world->outlet));
	assert_int_equal(outlet_configure(&world->outlet, texts, &err), 0);
	assert_true(outlet_leads_here(&world->outlet));
	assert_int_equal(
		answer_to(world, pkt_tcp(PEER, 7, "127.0.42.1", 80, PACKET_SYN)), IPPROTO_TCP);
	assert_string_equal(report(world).unexposed_last, "127.0.42.1:80");
	/* streams as well */
	struct addr at = addr_at("127.0.0.1", 82);
	const struct packet_end to = {pkt_addr("127.0.42.1"), 82};
	assert_false(outlet_lets_begin(&world->outlet, pkt_addr(PEER), to, &at));
	assert_int_equal(report(world).unexposed, 2);
	assert_string_equal(report(world).unexposed_last, "127.0.42.1:82");
	addr_set_port(&at, 81);
	assert_true(outlet_lets_begin(&world->outlet, pkt_addr(PEER), to, &at));
	assert_int_equal(report(world).unexposed, 2);
	outlet_close(&world->outlet);
	expose_fini(&host);
}

/* An agent in a sandbox has none. */
static void nothing_is_behind_it(void **state)
{
	struct world *world = *state;

	const struct addr at = addr_at("10.1.0.1", 80);
	const struct packet_end to = {pkt_addr("10.1.0.1"), 80};

	assert_int_equal(answer_to(world, pkt_tcp(PEER, 7, "10.1.0.1", 80, PACKET_SYN)), 0);
	assert_false(outlet_lets_begin(&world->outlet, pkt_addr(PEER), to, &at));
	assert_int_equal(report(world).unexposed, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(what_is_not_exposed),
		TEST(the_host_has_the_last_word),
		TEST(its_own_loopback),
		TEST(nothing_is_behind_it),
	};

	bed_enter_namespace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
