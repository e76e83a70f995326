/* SPDX-License-Identifier: Apache-2.0 */
/* test_ways - names and addresses of the mesh lead into it, all others out */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <stdio.h>

#include "conn/accept.h"
#include "dns/nameserver.h"
#include "mesh/agent/ways.h"
#include "mesh_bed.h"

#define SELF     "127.0.42.1"
#define LAB      "127.0.42.2"
#define OFFERS   "127.0.42.3" /* has no name */
#define PORT     4000
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct world {
	struct mesh_bed bed;
	struct ways *ways;
	struct nameserver *nameserver; /* of LAB */
	struct acceptor acceptor;
	int listener;
	unsigned asked;
	char learnt[200];
};

/* "db.cloud.test" has two addresses, "self.cloud.test" is the asker's own loopback, "none..." has
 * none, "gone..." does not exist. */
static int on_query(void *owner, struct nameserver_question *question, const struct query *query,
	struct reply *out)
{
	(void)question;
	((struct world *)owner)->asked++;
	*out = (struct reply){.count = 1, .addrs = {addr_at("10.9.9.9", 0)}};
	if (strcmp(query->name, "db.cloud.test") == 0)
		*out = (struct reply){
			.count = 2, .addrs = {addr_at("10.9.0.1", 0), addr_at("10.9.0.2", 0)}};
	else if (strcmp(query->name, "self.cloud.test") == 0)
		out->addrs[0] = addr_at("127.0.0.1", 0);
	else if (strncmp(query->name, "none", 4) == 0)
		*out = (struct reply){.rcode = DNS_OK};
	else if (strncmp(query->name, "gone", 4) == 0)
		*out = (struct reply){.rcode = DNS_NXDOMAIN};
	else if (strncmp(query->name, "down", 4) == 0)
		return -EIO;
	return 0;
}

static void on_client(struct acceptor *acceptor, int fd, const struct addr *peer)
{
	nameserver_add_client(container_of(acceptor, struct world, acceptor)->nameserver, fd, peer);
}

static void on_learnt(void *owner, const struct in_addr *ips, size_t count, struct in_addr via)
{
	struct world *world = owner;
	char text[INET_ADDRSTRLEN];

	for (size_t i = 0; i < count; i++) {
		strcat(world->learnt, inet_ntop(AF_INET, &ips[i], text, sizeof(text)));
		strcat(world->learnt, " ");
	}
	strcat(world->learnt, inet_ntop(AF_INET, &via, text, sizeof(text)));
	strcat(world->learnt, "; ");
}

static struct in_addr ip(const char *text)
{
	return address(text, 0).sin_addr;
}

static void world_open(struct world *world)
{
	char lab[] = "lab", alias[] = "Lab.Example.com.";
	struct mesh_name names[] = {{lab, ip(LAB)}, {alias, ip(LAB)}};
	struct mesh_port others[] = {{ip(OFFERS), 80, PROTO_TCP}};
	char *globs[] = {"*.cloud.test", NULL}, *cidrs[] = {"10.1.0.0/16", "127.0.0.0/24", NULL},
	     *silent[] = {"*.silent.test", NULL};
	struct mesh_route routes[] = {{.cidrs = cidrs, .globs = globs, .via = ip(LAB)},
		{.globs = silent, .via = ip(OFFERS)}};
	struct mesh_port servers[] = {{ip(LAB), 10053, PROTO_TCP}};
	const struct mesh_config config = {.me = ip(SELF),
		.names = names,
		.nnames = COUNT(names),
		.others = others,
		.nothers = COUNT(others),
		.routes = routes,
		.nroutes = COUNT(routes),
		.name_servers = servers,
		.nname_servers = COUNT(servers)};
	static const struct nameserver_ops ops = {.on_query = on_query};

	memset(world, 0, sizeof(*world));
	bed_open(&world->bed);
	world->nameserver =
		nameserver_new(world->bed.context.loop, &world->bed.budget, NULL, &ops, world);
	world->acceptor.on_client = on_client;
	world->listener = tcp_listen(LAB, 10053, 8);
	assert_int_equal(acceptor_open(&world->acceptor, world->bed.context.loop,
				 &world->bed.budget, world->listener),
		0);
	world->ways = ways_new(&(struct ways_start){.context = &world->bed.context,
		.stack = &world->bed.stack,
		.on_learnt = on_learnt,
		.owner = world});
	assert_non_null(world->ways);
	assert_int_equal(ways_configure(world->ways, &config), 0);
	memset(lab, 'x', sizeof(lab) - 1); /* nothing is left in there */
}

static void world_close(struct world *world)
{
	ways_free(world->ways);
	if (world->nameserver) {
		acceptor_close(&world->acceptor);
		fd_close(&world->listener);
		nameserver_free(world->nameserver);
	}
	bed_close(&world->bed);
}

struct question {
	struct ways_query query;
	int done;
	char *out;
};

static void tell(int result, const struct dial_target *target, char out[200])
{
	char text[160];

	if (result < 0)
		snprintf(out, 200, "%s", dial_words(result));
	else
		snprintf(out, 200, "%s %s", target->where == DIAL_INSIDE ? "inside" : "outside",
			dial_format(target, text, sizeof(text)));
}

static void on_answer(struct ways_query *query, int result, const struct dial_target *target)
{
	struct question *question = container_of(query, struct question, query);

	question->done++;
	tell(result, target, question->out);
}

/* Where @host leads, as text: "inside 127.0.0.1:80". */
static const char *where(struct world *world, const char *host, char out[200])
{
	struct question question = {.query.on_answer = on_answer, .out = out};
	struct dial_target target;
	int result = ways_find(world->ways, host, PORT, &question.query, &target);

	if (result != -EINPROGRESS) {
		tell(result, &target, out);
		return out;
	}
	run_until(&world->bed, question.done > 0);
	settle(&world->bed);
	assert_int_equal(question.done, 1);
	return out;
}

static void test_the_mesh_is_inside_and_all_else_outside(void **state)
{
	static const char *const cases[][2] = {
		{"lab", "inside 127.0.42.2:4000"},
		{"LAB", "inside 127.0.42.2:4000"},
		{"lab.", "inside 127.0.42.2:4000"},
		{"lab.example.com", "inside 127.0.42.2:4000"},
		{"LAB.EXAMPLE.COM.", "inside 127.0.42.2:4000"},
		{LAB, "inside 127.0.42.2:4000"},
		{SELF, "inside 127.0.42.1:4000"},
		{OFFERS, "inside 127.0.42.3:4000"},
		{"127.0.0.1", "outside 127.0.0.1:4000"},
		{"192.0.2.1", "outside 192.0.2.1:4000"},
		{"::1", "outside [::1]:4000"},
		{"[::1]", "outside [::1]:4000"},
		/* the same in IPv6's clothes */
		{"::ffff:127.0.42.2", "inside 127.0.42.2:4000"},
		{"[::ffff:10.1.2.3]", "inside 10.1.2.3:4000"},
		{"::ffff:127.0.0.1", "outside 127.0.0.1:4000"},
		{"la", "outside 127.0.0.1:4000"},
		{"two", "outside two:4000"}, /* conn/dial tries all of its addresses */
		{"gone", "there is no such name"},
		{"10.1.2.3", "inside 10.1.2.3:4000"},
		{"10.2.2.3", "outside 10.2.2.3:4000"},
		{"cloud.test", "outside 127.0.0.1:4000"},
		{"", "there is no such name"},
	};
	struct world world;
	char out[200], far[ATLAS_NAME_MAX + 2];

	(void)state;
	world_open(&world);
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_string_equal(where(&world, cases[i][0], out), cases[i][1]);
	memset(far, 'a', sizeof(far) - 1);
	far[sizeof(far) - 1] = '\0';
	assert_string_equal(where(&world, far, out), "there is no such name");
	world_close(&world);
}

static void test_names_of_others_are_asked_there(void **state)
{
	static const char *const cases[][2] = {
		{"db.cloud.test", "inside 10.9.0.1:4000"},
		{"DB.Cloud.test.", "inside 10.9.0.1:4000"},
		{"none.cloud.test", "there is no such name"},
		{"gone.cloud.test", "there is no such name"},
		{"down.cloud.test", "its name cannot be looked up now"},
		{"self.cloud.test", "No route to host"},
		{"x.silent.test", "No route to host"}, /* has no name server */
		{"lab.example.com", "inside 127.0.42.2:4000"},
	};
	struct world world;
	char out[200];

	(void)state;
	world_open(&world);
	assert_string_equal(where(&world, "10.9.0.2", out), "outside 10.9.0.2:4000");
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_string_equal(where(&world, cases[i][0], out), cases[i][1]);
	assert_int_equal(world.asked, 6);
	/* every address of the answer, told before the answer was */
	assert_string_equal(
		world.learnt, "10.9.0.1 10.9.0.2 127.0.42.2; 10.9.0.1 10.9.0.2 127.0.42.2; ");
	assert_string_equal(where(&world, "10.9.0.2", out), "inside 10.9.0.2:4000");
	/* nobody there: not asked here instead */
	acceptor_close(&world.acceptor);
	fd_close(&world.listener);
	assert_string_equal(
		where(&world, "db.cloud.test", out), "its name cannot be looked up now");
	world.listener = tcp_listen(LAB, 10053, 8);
	acceptor_open(&world.acceptor, world.bed.context.loop, &world.bed.budget, world.listener);
	world_close(&world);
}

static void test_questions_that_are_cancelled_are_over(void **state)
{
	struct question question = {.query.on_answer = on_answer};
	struct dial_target target;
	struct world world;

	(void)state;
	world_open(&world);
	assert_int_equal(ways_find(world.ways, "db.cloud.test", PORT, &question.query, &target),
		-EINPROGRESS);
	ways_find_cancel(&question.query);
	ways_find_cancel(&question.query);
	settle(&world.bed);
	assert_int_equal(question.done, 0);
	/* one that hangs ends */
	char out[200] = "";
	question.out = out;
	acceptor_mute(&world.acceptor, true);
	assert_int_equal(ways_find(world.ways, "db.cloud.test", PORT, &question.query, &target),
		-EINPROGRESS);
	settle(&world.bed);
	jump(&world.bed, VIA_TIMEOUT_MS + 1);
	assert_int_equal(question.done, 1);
	assert_string_equal(out, "its name cannot be looked up now");
	acceptor_mute(&world.acceptor, false);
	settle(&world.bed);
	world_close(&world);
}

static void test_what_is_not_configured_knows_no_mesh(void **state)
{
	struct world world = {.nameserver = NULL};
	char out[200];

	(void)state;
	bed_open(&world.bed);
	world.ways = ways_new(
		&(struct ways_start){.context = &world.bed.context, .stack = &world.bed.stack});
	assert_string_equal(where(&world, "lab", out), "outside lab:4000");
	assert_string_equal(where(&world, LAB, out), "outside 127.0.42.2:4000");
	world_close(&world);
}

static int find_own(void *owner, enum proto proto, uint16_t port, struct dial_target *out)
{
	(void)owner;
	*out = (struct dial_target){.host = addr_proto_name(proto), .port = port};
	return port == PORT ? 0 : -ECONNREFUSED;
}

static void test_own_ports_are_found_without_a_stack(void **state)
{
	char self[] = "self";
	struct mesh_name names[] = {{self, ip(SELF)}};
	const struct mesh_config config = {.me = ip(SELF), .names = names, .nnames = 1};
	struct world world = {.nameserver = NULL};
	struct ways_query query = {.proto = PROTO_UDP};
	struct dial_target target;
	char out[200];

	(void)state;
	bed_open(&world.bed);
	world.ways = ways_new(&(struct ways_start){
		.context = &world.bed.context, .stack = &world.bed.stack, .find_own = find_own});
	assert_string_equal(where(&world, SELF, out), "outside 127.0.42.1:4000");
	assert_int_equal(ways_configure(world.ways, &config), 0);
	assert_string_equal(where(&world, SELF, out), "outside tcp:4000");
	assert_string_equal(where(&world, "Self.", out), "outside tcp:4000");
	assert_string_equal(where(&world, "::ffff:127.0.42.1", out), "outside tcp:4000");
	assert_int_equal(ways_find(world.ways, SELF, PORT, &query, &target), 0);
	assert_string_equal(target.host, "udp");
	assert_int_equal(ways_find(world.ways, "self", 1, &query, &target), -ECONNREFUSED);
	world_close(&world);
}

struct call {
	struct ways_dial dial;
	int done, result;
};

static void on_done(struct ways_dial *dial, int result)
{
	struct call *call = (struct call *)dial;

	call->done++;
	call->result = result;
}

static int dialled(struct world *world, const char *host, uint16_t port)
{
	struct call call = {.dial.on_done = on_done};
	int result = ways_dial_start(&call.dial, world->ways, host, port);

	if (result != -EINPROGRESS)
		return result;
	run_until(&world->bed, call.done > 0);
	assert_int_equal(call.done, 1);
	return call.result;
}

static void test_connections_go_there(void **state)
{
	static const char *const hosts[] = {"lab", LAB, "two", "127.0.0.1"};
	struct world world;
	struct addr peer;

	(void)state;
	world_open(&world);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in any = {.sin_family = AF_INET};
	assert_int_equal(bind(listener, (struct sockaddr *)&any, sizeof(any)), 0);
	assert_int_equal(listen(listener, 8), 0);
	assert_int_equal(addr_get_own(listener, &peer), 0);
	for (size_t i = 0; i < COUNT(hosts); i++) {
		int fd = dialled(&world, hosts[i], addr_port(&peer));

		assert_true(fd >= 0);
		fd_close(&fd);
	}
	assert_int_equal(dialled(&world, "gone", 80), -ENOENT);
	fd_close(&listener);
	assert_int_equal(dialled(&world, "lab", addr_port(&peer)), -ECONNREFUSED);
	world_close(&world);
}

static void test_one_that_is_cancelled_is_over(void **state)
{
	struct call call = {.dial.on_done = on_done};
	struct world world;

	(void)state;
	world_open(&world);
	assert_int_equal(ways_dial_start(&call.dial, world.ways, "hang", 80), -EINPROGRESS);
	ways_dial_cancel(&call.dial);
	ways_dial_cancel(&call.dial);
	are_names_let_go = true;
	settle(&world.bed);
	assert_int_equal(call.done, 0);
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_mesh_is_inside_and_all_else_outside),
		cmocka_unit_test(test_names_of_others_are_asked_there),
		cmocka_unit_test(test_questions_that_are_cancelled_are_over),
		cmocka_unit_test(test_what_is_not_configured_knows_no_mesh),
		cmocka_unit_test(test_own_ports_are_found_without_a_stack),
		cmocka_unit_test(test_connections_go_there),
		cmocka_unit_test(test_one_that_is_cancelled_is_over),
	};

	bed_enter_namespace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
