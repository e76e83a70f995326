/* SPDX-License-Identifier: Apache-2.0 */
/* test_role_entries - clients of this host's loopback, led inside or, for own offers, to the target
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <stdio.h>
#include <sys/wait.h>

#include "mesh/agent/role.h"
#include "mesh_bed.h"

/*
 * Inside and outside are the same place here, where only one can listen at an address. So the
 * inside is another network namespace, in which a child keeps the servers, and serves the door.
 */
#define VIP    "127.0.42.1" /* of another host, and there are servers inside */
#define OTHER  "127.0.42.9" /* the same, nobody is there */
#define SELF   "127.0.42.2"
#define TARGET "127.0.0.1"
#define PORT   8080
#define SLOW   8081 /* a listener that takes no more */
#define AT     4000
#define MANY   1000

struct world {
	struct mesh_bed bed;
	struct gate *gate;
	struct estate estate;
	struct role *role;
	pid_t child;
};

static void set_lo_up(void)
{
	int nl = netdev_open();

	if (netdev_set_up(nl, netdev_index(nl, "lo"), 0) < 0)
		_exit(1);
	close(nl);
}

/* Everything that comes is sent back, ends too. */
static void serve_echo(int listener, int udp)
{
	struct pollfd polls[2 + MANY + 8] = {{listener, POLLIN, 0}, {udp, POLLIN, 0}};
	char bytes[4096];
	nfds_t count = 2;

	for (;;) {
		poll(polls, count, -1);
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		ssize_t got = recvfrom(
			udp, bytes, sizeof(bytes), MSG_DONTWAIT, (struct sockaddr *)&from, &len);
		if (got > 0)
			sendto(udp, bytes, (size_t)got, 0, (struct sockaddr *)&from, len);
		for (nfds_t i = 2; i < count; i++) {
			if (!polls[i].revents)
				continue;
			got = recv(polls[i].fd, bytes, sizeof(bytes), MSG_DONTWAIT);
			if (got > 0) {
				send(polls[i].fd, bytes, (size_t)got, MSG_NOSIGNAL);
				continue;
			}
			close(polls[i].fd);
			polls[i--] = polls[--count];
		}
		int fd = count < 2 + MANY + 8 ? accept4(listener, NULL, NULL, SOCK_CLOEXEC) : -1;
		if (fd >= 0)
			polls[count++] = (struct pollfd){fd, POLLIN, 0};
	}
}

static void *run_echo(void *arg)
{
	const int *fds = arg;

	serve_echo(fds[0], fds[1]);
	return NULL;
}

/* The other namespace: servers at VIP, and the door, until its other end is closed. */
static void run_inside(int door)
{
	struct sockaddr_in addr = address(VIP, PORT);
	pthread_t thread;
	int fds[2], fill[2];

	if (unshare(CLONE_NEWNET) < 0)
		_exit(1);
	set_lo_up();
	fds[0] = tcp_listen(VIP, PORT, MANY);
	fds[1] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (bind(fds[1], (struct sockaddr *)&addr, sizeof(addr)) < 0)
		_exit(1);
	int slow = tcp_listen(VIP, SLOW, 0);
	for (int i = 0; i < 2; i++)
		fill[i] = tcp_connect(NULL, 0, VIP, SLOW);
	pthread_create(&thread, NULL, run_echo, fds);
	for (int result = 0; result == 0 || result == -EAGAIN;) {
		struct pollfd polled = {door, POLLIN, 0};

		poll(&polled, 1, -1);
		result = door_serve(door, NULL);
	}
	close(slow);
	close(fill[0]);
	close(fill[1]);
	_exit(0);
}

/* The host's own offers inside are no matter here: they are somewhere. */
static int open_somewhere(struct stack *stack, enum proto proto, const struct addr *at)
{
	const struct addr somewhere = addr_at("127.0.0.1", 0);
	int fd = socket(AF_INET, addr_proto_type(proto) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	(void)stack;
	(void)at;
	assert_int_equal(bind_socket(fd, &somewhere, proto), 0);
	return fd;
}

static const struct stack_ops ops = {
	.open_aliases = bed_open_aliases,
	.open_bound = open_somewhere,
	.target = bed_target,
	.change = bed_change,
};

static struct world *world_open(void)
{
	static const struct syns_ops syns_ops = {0};
	struct world *world = calloc(1, sizeof(*world));
	int pair[2];

	/* before there are threads */
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	world->child = fork();
	if (world->child == 0) {
		close(pair[0]);
		run_inside(pair[1]);
	}
	close(pair[1]);
	bed_open_with_door(&world->bed, pair[0]);
	world->bed.stack.ops = &ops;
	world->gate = gate_new();
	world->estate.io.fd = -1; /* nothing is kept */
	world->role = role_new(&(struct role_start){
		.context = &world->bed.context,
		.stack = &world->bed.stack,
		.gate = world->gate,
		.estate = &world->estate,
		.syns_ops = &syns_ops,
	});
	assert_non_null(world->role);
	return world;
}

static void world_close(struct world *world)
{
	int status;

	role_free(world->role);
	gate_free(world->gate);
	bed_close(&world->bed);
	assert_int_equal(waitpid(world->child, &status, 0), world->child);
	assert_int_equal(status, 0);
	free(world);
}

static struct mesh_port other(const char *ip, uint16_t port, enum proto proto)
{
	return (struct mesh_port){address(ip, 0).sin_addr, port, proto};
}

static int try_configure(struct world *world, const char *self, const struct mesh_port *others,
	size_t nothers, const struct mesh_offer *own, size_t nown, struct err *err)
{
	const struct mesh_config config = {.me = address(self, 0).sin_addr,
		.others = (struct mesh_port *)others,
		.nothers = nothers,
		.offers = (struct mesh_offer *)own,
		.noffers = nown};

	return role_configure(world->role, &config, err);
}

static void configure(struct world *world, const struct mesh_port *others, size_t nothers,
	const struct mesh_offer *own, size_t nown)
{
	struct err err = {0};

	if (try_configure(world, SELF, others, nothers, own, nown, &err) < 0)
		fail_msg("%s", err.text);
}

static void enter_one(struct world *world, const char *ip, uint16_t port)
{
	const struct mesh_port entry = other(ip, port, PROTO_TCP);

	configure(world, &entry, 1, NULL, 0);
}

static size_t count_relays(const struct world *world)
{
	return relay_pool_count(world->bed.context.relays);
}

/* What @fd sends comes back, and so does its end; it is closed then. */
static void expect_echo(struct world *world, int fd)
{
	assert_int_equal(send(fd, "question", 8, MSG_NOSIGNAL), 8);
	expect_bytes(&world->bed, fd, "question");
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	assert_int_equal(wait_end(&world->bed, fd), 0);
	close(fd);
}

static int client_of(struct world *world, const char *ip, uint16_t port)
{
	int fd = tcp_connect(NULL, 0, ip, port);
	struct pollfd polled = {fd, POLLOUT, 0};

	run_until(&world->bed, poll(&polled, 1, 0) == 1);
	return fd;
}

static void leads_inside(void **state)
{
	struct world *world = world_open();

	(void)state;
	enter_one(world, VIP, PORT);
	for (int i = 0; i < 3; i++)
		expect_echo(world, client_of(world, VIP, PORT));
	run_until(&world->bed, count_relays(world) == 0);
	world_close(world);
}

static void a_refusal_resets_the_client(void **state)
{
	struct world *world = world_open();

	(void)state;
	enter_one(world, OTHER, PORT);
	int fd = client_of(world, OTHER, PORT);
	assert_int_equal(wait_end(&world->bed, fd), ECONNRESET);
	close(fd);
	world_close(world);
}

/* How many descriptors there are when there have been as many for a while. */
static int settled_fds(struct mesh_bed *bed)
{
	int fds = count_fds();

	for (int rounds = 0; rounds < 100; rounds++) {
		bed_round(bed);
		if (count_fds() != fds) {
			fds = count_fds();
			rounds = 0;
		}
	}
	return fds;
}

/* A client that breaks while its target is dialled is not waited for, one that shut down is. */
static void clients_that_wait_may_go(void **state)
{
	struct world *world = world_open();

	(void)state;
	enter_one(world, VIP, SLOW);
	int gone = client_of(world, VIP, SLOW), shut = client_of(world, VIP, SLOW);
	shutdown(shut, SHUT_WR);
	const int fds = settled_fds(&world->bed);
	fd_reset(&gone);
	run_until(&world->bed, count_fds() == fds - 3); /* both sides of it, and its target */
	assert_int_equal(settled_fds(&world->bed), fds - 3);
	assert_int_equal(recv(shut, &(char){0}, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
	role_free(world->role);
	world->role = NULL;
	assert_int_equal(wait_end(&world->bed, shut), ECONNRESET);
	close(shut);
	world_close(world);
}

static void own_offers_lead_to_their_target(void **state)
{
	struct world *world = world_open();
	const struct mesh_offer own[] = {{PORT, TARGET, AT, PROTO_TCP},
		{PORT + 1, "server.example", AT, PROTO_TCP}, {PORT + 2, "gone", AT, PROTO_TCP},
		{PORT + 3, TARGET, AT + 1, PROTO_TCP}};
	int target = tcp_listen(TARGET, AT, 10);

	(void)state;
	configure(world, NULL, 0, own, 4);
	for (uint16_t i = 0; i < 2; i++) {
		int client = client_of(world, SELF, PORT + i);
		expect_joined(&world->bed, client, wait_accept(&world->bed, target));
	}
	for (uint16_t i = 2; i < 4; i++) {
		int client = client_of(world, SELF, PORT + i);
		assert_int_equal(wait_end(&world->bed, client), ECONNRESET);
		close(client);
	}
	close(target);
	world_close(world);
}

static int udp_client(const char *ip, uint16_t port)
{
	struct sockaddr_in to = address(ip, port);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static void datagrams_go_both_ways(void **state)
{
	struct world *world = world_open();
	const struct mesh_port others[] = {
		other(VIP, PORT, PROTO_UDP), other(VIP, PORT, PROTO_TCP)};
	const struct mesh_offer own = {PORT, TARGET, AT, PROTO_UDP};
	struct sockaddr_in at = address(TARGET, AT), from;
	int server = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int client = udp_client(VIP, PORT), home = udp_client(SELF, PORT);
	socklen_t len = sizeof(from);
	ssize_t got;

	(void)state;
	assert_int_equal(bind(server, (struct sockaddr *)&at, sizeof(at)), 0);
	configure(world, others, 2, &own, 1);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(send(client, "question", 8, 0), 8);
		expect_bytes(&world->bed, client, "question");
	}
	assert_int_equal(send(home, "home", 4, 0), 4);
	run_until(&world->bed,
		(got = recvfrom(server, &(char[8]){0}, 8, 0, (struct sockaddr *)&from, &len)) > 0);
	assert_int_equal(got, 4);
	assert_int_equal(sendto(server, "back", 4, 0, (struct sockaddr *)&from, len), 4);
	expect_bytes(&world->bed, home, "back");
	expect_echo(world, client_of(world, VIP, PORT)); /* TCP beside it */
	close(client);
	close(home);
	close(server);
	world_close(world);
}

static void says_who_has_a_port(void **state)
{
	struct world *world = world_open();
	const struct mesh_port others[] = {
		other(VIP, PORT, PROTO_TCP), other(OTHER, PORT, PROTO_TCP)};
	struct mesh_report report;
	char pid[32];

	(void)state;
	int holder = tcp_listen(OTHER, PORT, 1);
	configure(world, others, 2, NULL, 0);
	role_report(world->role, &report);
	assert_int_equal(report.nmissing, 1);
	assert_int_equal(report.missing[0].port, PORT);
	snprintf(pid, sizeof(pid), "pid %d)", (int)getpid());
	assert_non_null(strstr(report.missing[0].why, OTHER));
	assert_non_null(strstr(report.missing[0].why, "8080"));
	assert_non_null(strstr(report.missing[0].why, pid));
	expect_echo(world, client_of(world, VIP, PORT)); /* the other one is there */
	close(holder);
	configure(world, others, 2, NULL, 0); /* and all of them when the port is free */
	int fd = tcp_connect(NULL, 0, OTHER, PORT);
	assert_int_equal(wait_end(&world->bed, fd), ECONNRESET); /* served: nobody is there */
	close(fd);
	role_report(world->role, &report);
	assert_int_equal(report.nmissing, 0);
	world_close(world);
}

static void addresses_of_other_networks_are_left_out(void **state)
{
	struct world *world = world_open();
	const struct mesh_port others[] = {other("192.0.2.1", PORT, PROTO_TCP),
		other("192.0.2.1", PORT + 1, PROTO_TCP), other(VIP, PORT, PROTO_TCP)};
	const struct mesh_offer own = {PORT, TARGET, AT, PROTO_TCP};
	struct err err = {0};

	(void)state;
	assert_int_equal(try_configure(world, "192.0.2.2", others, 3, &own, 1, &err), 0);
	expect_echo(world, client_of(world, VIP, PORT));
	world_close(world);
}

static void changes_without_a_break(void **state)
{
	struct world *world = world_open();
	const struct mesh_port first[] = {other(VIP, PORT, PROTO_TCP),
		other(OTHER, PORT, PROTO_TCP), other(OTHER, PORT, PROTO_TCP)};
	const struct mesh_port second[] = {other(OTHER, PORT, PROTO_TCP)};

	(void)state;
	configure(world, first, 3, NULL, 0);
	int stays = client_of(world, VIP, PORT);
	assert_int_equal(send(stays, "a", 1, 0), 1);
	expect_bytes(&world->bed, stays, "a");
	int waiting = tcp_connect(NULL, 0, OTHER, PORT); /* in the queue of what stays */
	configure(world, second, 1, NULL, 0);
	int refused = tcp_connect(NULL, 0, VIP, PORT);
	assert_int_equal(wait_end(&world->bed, refused), ECONNREFUSED);
	assert_int_equal(wait_end(&world->bed, waiting), ECONNRESET); /* served: nobody is there */
	expect_echo(world, stays);
	configure(world, first, 3, NULL, 0);
	expect_echo(world, client_of(world, VIP, PORT));
	close(refused);
	close(waiting);
	world_close(world);
}

static void a_thousand_at_once(void **state)
{
	struct world *world = world_open();
	int *clients = calloc(MANY, sizeof(*clients));
	char text[16];

	(void)state;
	enter_one(world, VIP, PORT);
	for (int i = 0; i < MANY; i++)
		clients[i] = tcp_connect(NULL, 0, VIP, PORT);
	run_until(&world->bed, count_relays(world) == MANY);
	for (int i = 0; i < MANY; i++) {
		snprintf(text, sizeof(text), "%d", i);
		assert_int_equal(send(clients[i], text, strlen(text), 0), strlen(text));
	}
	for (int i = 0; i < MANY; i++) {
		snprintf(text, sizeof(text), "%d", i);
		expect_bytes(&world->bed, clients[i], text);
		expect_echo(world, clients[i]);
	}
	free(clients);
	world_close(world);
}

static void waits_while_descriptors_are_short(void **state)
{
	struct world *world = world_open();
	int rounds = 0;

	(void)state;
	enter_one(world, VIP, PORT);
	world->bed.budget.max = BUDGET_RESERVED + 3; /* for the listener and one */
	int first = client_of(world, VIP, PORT), second = tcp_connect(NULL, 0, VIP, PORT);
	run_until(&world->bed, count_relays(world) == 1);
	for (uint64_t end_ns = loop_now_ns(world->bed.context.loop) + NS_PER_S / 5;
		loop_now_ns(world->bed.context.loop) < end_ns; rounds++)
		assert_int_equal(loop_run_once(world->bed.context.loop, 50), 0);
	assert_in_range(rounds, 1, 40);
	assert_int_equal(count_relays(world), 1);
	expect_echo(world, first);
	expect_echo(world, second);
	world_close(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leads_inside),
		cmocka_unit_test(a_refusal_resets_the_client),
		cmocka_unit_test(clients_that_wait_may_go),
		cmocka_unit_test(own_offers_lead_to_their_target),
		cmocka_unit_test(datagrams_go_both_ways),
		cmocka_unit_test(says_who_has_a_port),
		cmocka_unit_test(addresses_of_other_networks_are_left_out),
		cmocka_unit_test(changes_without_a_break),
		cmocka_unit_test(a_thousand_at_once),
		cmocka_unit_test(waits_while_descriptors_are_short),
	};

	bed_enter_namespace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
