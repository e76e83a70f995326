/* SPDX-License-Identifier: Apache-2.0 */
/* test_service - what is served is what a model says, and every client finds its way */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>

#include "conn/names.h"
#include "conn/service.h"
#include "mesh_bed.h"

#define PORT      4300 /* of services */
#define AT        4400 /* of targets */
#define TARGETS   3
#define STEPS     400
#define GIVEN_MAX 8
#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))

/* A UDP socket that the owner has; -1: not any more. */
struct given {
	struct addr addr;
	int fd;
};

struct world {
	struct mesh_bed bed;
	struct services *services;
	char dir[32], path[64];
	int targets[TARGETS], udp_targets[TARGETS]; /* at 127.0.0.1 */

	/* what the owner saw */
	int binds, closes, clients;
	int client_fd;
	struct addr client_peer;
	struct given given[GIVEN_MAX];
	struct addr bind_fails_at, served_at; /* the second by another one */
	int missing_told, opened_told, served_told;
	int bound_before; /* -1: nothing is */
	struct err why;
};

static int on_bind(void *owner, const struct service *service, struct bound *out, struct err *err)
{
	struct world *world = owner;
	struct addr addr = service->addr;

	if (addr_equal(&addr, &world->bind_fails_at))
		return err_set(err, EADDRINUSE, "no");
	world->binds++;
	return bind_open(&addr, service->proto, out, err);
}

static void on_client(void *owner, const struct service *service, int fd, const struct addr *peer)
{
	struct world *world = owner;

	assert_true(service->is_given);
	fd_close(&world->client_fd);
	world->clients++;
	world->client_fd = fd;
	world->client_peer = *peer;
}

static struct given *given_at(struct world *world, const struct addr *addr)
{
	size_t i = 0;

	while (world->given[i].addr.family && !addr_equal(&world->given[i].addr, addr))
		i++;
	assert_in_range(i, 0, GIVEN_MAX - 1);
	world->given[i].addr = *addr;
	return &world->given[i];
}

static int on_bound(void *owner, const struct service *service, int fd)
{
	struct world *world = owner;

	assert_true(service->is_given);
	given_at(world, &service->addr)->fd = fd;
	return 0;
}

static void on_closed(void *owner, const struct service *service)
{
	struct world *world = owner;

	world->closes++;
	if (!service->is_given || service->proto != PROTO_UDP)
		return;
	struct given *given = given_at(world, &service->addr);
	assert_true(fcntl(given->fd, F_GETFD) >= 0); /* it is closed next */
	given->fd = -1;
}

static void on_missing(void *owner, const struct service *service, const struct err *err)
{
	struct world *world = owner;

	assert_true(addr_port(&service->addr) >= PORT || service->addr.family == AF_UNIX);
	world->missing_told++;
	world->why = *err;
}

static void on_opened(void *owner, const struct service *service)
{
	assert_non_null(service);
	((struct world *)owner)->opened_told++;
}

static bool is_served(void *owner, const struct service *service)
{
	return addr_equal(&service->addr, &((struct world *)owner)->served_at);
}

static int take(void *owner, const struct service *service)
{
	assert_non_null(service);
	return fd_take(&((struct world *)owner)->bound_before);
}

static void on_served(void *owner, const struct service *service, int fd)
{
	struct addr addr;

	assert_int_equal(addr_get_own(fd, &addr), 0);
	assert_true(addr_equal(&addr, &service->addr));
	((struct world *)owner)->served_told++;
}

static int udp_at(const struct addr *addr)
{
	int fd = socket(addr->family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, &addr->any, addr_len(addr)), 0);
	return fd;
}

static struct world *world_open(const struct service_ops *ops)
{
	struct world *world = calloc(1, sizeof(*world));

	bed_open(&world->bed);
	world->client_fd = world->bound_before = -1;
	strcpy(world->dir, "/tmp/nswrap-service-XXXXXX");
	assert_non_null(mkdtemp(world->dir));
	snprintf(world->path, sizeof(world->path), "%s/socket", world->dir);
	for (int i = 0; i < TARGETS; i++) {
		const struct addr addr = addr_at("127.0.0.1", (uint16_t)(AT + i));

		world->targets[i] = listen_at(&addr, 10);
		world->udp_targets[i] = udp_at(&addr);
	}
	world->services = services_new(&world->bed.context, ops, world);
	assert_non_null(world->services);
	return world;
}

static void world_close(struct world *world)
{
	services_free(world->services);
	fd_close(&world->client_fd);
	for (int i = 0; i < TARGETS; i++) {
		close(world->targets[i]);
		close(world->udp_targets[i]);
	}
	assert_int_equal(rmdir(world->dir), 0); /* socket files are gone */
	bed_close(&world->bed);
	free(world);
}

static const struct service_ops all_ops = {
	.bind = on_bind, .on_client = on_client, .on_bound = on_bound, .on_closed = on_closed};
static const struct service_ops no_ops = {0};
static const struct service_ops telling_ops = {.on_missing = on_missing, .on_opened = on_opened};
static const struct service_ops sharing_ops = {
	.is_served = is_served, .on_missing = on_missing, .on_opened = on_opened};

static const struct service_ops taking_ops = {.take = take, .on_served = on_served};

static struct service service_at(const char *text, enum proto proto, bool is_given, int target)
{
	return (struct service){
		.proto = proto,
		.addr = addr_at(text, PORT),
		.is_given = is_given,
		.target = {.addr = addr_at("127.0.0.1", (uint16_t)(AT + target))},
	};
}

static void configure(struct world *world, const struct service *list, size_t count)
{
	struct err err = {0};

	if (services_configure(world->services, list, count, &err) < 0)
		fail_msg("%s", err.text);
}

/* A UDP client of @addr: nonblocking, has sent one byte. */
static int udp_client(const struct addr *addr)
{
	int fd = socket(addr->family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, &addr->any, addr_len(addr)), 0);
	assert_int_equal(send(fd, "x", 1, 0), 1);
	return fd;
}

/* One byte comes to @server and is answered, and the answer comes to @client, which is closed. */
static void expect_echo(struct world *world, int client, int server)
{
	struct addr from = {0};
	socklen_t len = sizeof(from);
	char byte;

	run_until(&world->bed, recvfrom(server, &byte, 1, 0, &from.any, &len) == 1);
	assert_int_equal(sendto(server, &byte, 1, 0, &from.any, len), 1);
	run_until(&world->bed, recv(client, &byte, 1, 0) == 1);
	close(client);
}

/* A TCP client of @addr comes to @listener, and bytes go both ways. */
static void expect_led(struct world *world, const struct addr *addr, int listener)
{
	int client = connect_to(addr);

	expect_joined(&world->bed, client, wait_accept(&world->bed, listener));
}

/* The same for UDP: @server gets the datagram. */
static void expect_answered(struct world *world, const struct addr *addr, int server)
{
	expect_echo(world, udp_client(addr), server);
}

static void count(void *told, const struct service *service, const char *why)
{
	assert_true(service->addr.family != AF_UNSPEC && why[0] != '\0');
	++*(size_t *)told;
}

static size_t count_missing(const struct world *world)
{
	size_t missing = 0;

	services_each_missing(world->services, count, &missing);
	return missing;
}

static void serves_every_family(void **state)
{
	struct world *world = world_open(&no_ops);
	const char *texts[] = {"127.0.0.1", "::1", world->path};
	struct service list[5];

	(void)state;
	for (int i = 0; i < 3; i++)
		list[i] = service_at(texts[i], PROTO_TCP, false, i);
	for (int i = 0; i < 2; i++)
		list[3 + i] = service_at(texts[i], PROTO_UDP, false, i);
	configure(world, list, COUNT(list));
	for (int i = 0; i < 3; i++)
		expect_led(world, &list[i].addr, world->targets[i]);
	for (int i = 0; i < 2; i++)
		expect_answered(world, &list[3 + i].addr, world->udp_targets[i]);
	for (size_t i = 0; i < COUNT(list); i++) {
		const struct service *found =
			services_find(world->services, list[i].proto, &list[i].addr);

		assert_non_null(found);
		assert_true(addr_equal(&found->target.addr, &list[i].target.addr));
	}
	const struct addr nowhere = addr_at("127.0.0.1", PORT + 1), path = addr_at(world->path, 0);
	assert_null(services_find(world->services, PROTO_TCP, &nowhere));
	assert_null(services_find(world->services, PROTO_UDP, &path));
	world_close(world);
}

/* Who was there before it was served, is served. */
static void serves_what_was_bound_before(void **state)
{
	struct world *world = world_open(&taking_ops);
	const struct service list[] = {service_at("127.0.0.1", PROTO_TCP, false, 0),
		service_at("127.0.0.1", PROTO_UDP, false, 1)};

	(void)state;
	world->bound_before = listen_at(&list[0].addr, 10);
	int client = connect_to(&list[0].addr);
	configure(world, list, 1);
	expect_joined(&world->bed, client, wait_accept(&world->bed, world->targets[0]));
	assert_int_equal(world->served_told, 1);
	/* where nothing was, it is bound */
	configure(world, list, 2);
	expect_answered(world, &list[1].addr, world->udp_targets[1]);
	assert_int_equal(world->served_told, 2);
	services_tell_served(world->services);
	assert_int_equal(world->served_told, 4);
	world_close(world);
}

/* What was missing, as somebody had it, and is given now: its clients are served. */
static void serves_what_comes_later(void **state)
{
	struct world *world = world_open(&taking_ops);
	const struct service list[] = {service_at("127.0.0.1", PROTO_TCP, false, 0),
		service_at("127.0.0.1", PROTO_UDP, false, 1)};
	int before = listen_at(&list[0].addr, 10), other = udp_at(&list[1].addr);

	(void)state;
	int client = connect_to(&list[0].addr);
	configure(world, list, 2);
	assert_int_equal(world->served_told, 0);
	world->bound_before = before;
	services_try_missing(world->services);
	expect_joined(&world->bed, client, wait_accept(&world->bed, world->targets[0]));
	assert_int_equal(world->served_told, 1);
	/* and the other one is tried again when it is time */
	close(other);
	jump(&world->bed, SERVICE_RETRY_MS);
	assert_int_equal(world->served_told, 2);
	world_close(world);
}

/* A client may be anywhere, its target anywhere else; a name is resolved for each. */
static void leads_to_every_target(void **state)
{
	struct world *world = world_open(&no_ops);
	const struct addr v6 = addr_at("::1", AT), path = addr_at(world->path, 0);
	struct service list[] = {
		service_at("127.0.0.1", PROTO_TCP, false, 0),
		service_at("127.0.0.1", PROTO_UDP, false, 0),
	};
	int listeners[] = {listen_at(&v6, 10), listen_at(&path, 10)}, udp6 = udp_at(&v6);

	(void)state;
	for (enum dial_where where = DIAL_OUTSIDE; where <= DIAL_INSIDE; where++) {
		list[0].target = list[1].target = (struct dial_target){.where = where, .addr = v6};
		configure(world, list, 2);
		expect_led(world, &list[0].addr, listeners[0]);
		expect_answered(world, &list[1].addr, udp6);
		list[0].target = list[1].target =
			(struct dial_target){.where = where, .host = "here", .port = AT};
		configure(world, list, 2);
		for (int round = 0; round < 2; round++) { /* by the system, then by the table */
			if (round == 1)
				names_add(world->bed.context.names, "here", &v6);
			expect_led(world, &list[0].addr, round ? listeners[0] : world->targets[0]);
			expect_answered(world, &list[1].addr, round ? udp6 : world->udp_targets[0]);
		}
		names_clear(world->bed.context.names);
	}
	list[0].target = list[1].target = (struct dial_target){.addr = path};
	configure(world, list, 2);
	expect_led(world, &list[0].addr, listeners[1]);
	int client = udp_client(&list[1].addr); /* no datagrams for paths */
	settle(&world->bed);
	assert_int_equal(recv(client, &(char){0}, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
	close(client);
	for (size_t i = 0; i < COUNT(listeners); i++)
		close(listeners[i]);
	close(udp6);
	unlink(world->path);
	world_close(world);
}

static void gives_clients_to_the_owner(void **state)
{
	struct world *world = world_open(&all_ops);
	const char *texts[] = {"127.0.0.1", "::1", world->path};

	(void)state;
	for (int i = 0; i < 3; i++) {
		const struct service service = service_at(texts[i], PROTO_TCP, true, 1);
		struct addr own;

		configure(world, &service, 1);
		int client = connect_to(&service.addr);
		run_until(&world->bed, world->clients == i + 1);
		assert_int_equal(addr_get_own(client, &own), 0);
		assert_true(addr_equal(&world->client_peer, &own));
		/* it may have it joined after all */
		if (i % 2 == 0) {
			services_join(world->services, fd_take(&world->client_fd), &service);
			expect_joined(
				&world->bed, client, wait_accept(&world->bed, world->targets[1]));
			continue;
		}
		assert_int_equal(send(client, "ping", 4, 0), 4);
		expect_bytes(&world->bed, world->client_fd, "ping");
		close(client);
	}
	world_close(world);
}

/* The owner has counted who is given to it; who is joined needs room. */
static void counts_who_is_joined(void **state)
{
	struct world *world = world_open(&all_ops);
	struct service service = service_at("127.0.0.1", PROTO_TCP, false, 0);

	(void)state;
	configure(world, &service, 1);
	assert_int_equal(world->bed.budget.used, 1); /* its own */
	world->bed.budget.max = BUDGET_RESERVED + 2;
	int client = connect_to(&service.addr);
	settle(&world->bed);
	assert_int_equal(world->bed.budget.used, 1);
	world->bed.budget.max = BUDGET_RESERVED + 3;
	expect_joined(&world->bed, client, wait_accept(&world->bed, world->targets[0]));
	run_until(&world->bed, world->bed.budget.used == 1);
	service.is_given = true;
	configure(world, &service, 1);
	budget_take(&world->bed.budget, 2);
	client = connect_to(&service.addr);
	run_until(&world->bed, world->clients == 1);
	budget_give(&world->bed.budget, 2);
	close(client);
	world_close(world);
}

static void gives_a_udp_socket_to_the_owner(void **state)
{
	struct world *world = world_open(&all_ops);
	const struct service service = service_at("::1", PROTO_UDP, true, 0);

	(void)state;
	configure(world, &service, 1);
	int fd = given_at(world, &service.addr)->fd;
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	for (int i = 0; i < 2; i++) {
		expect_answered(world, &service.addr, fd);
		configure(world, &service, 1);
		assert_int_equal(world->binds, 1); /* the same one */
	}
	configure(world, NULL, 0);
	assert_int_equal(world->closes, 1);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	world_close(world);
}

static void what_becomes_of_clients_may_change(void **state)
{
	struct world *world = world_open(&all_ops);
	struct service list[] = {
		service_at("127.0.0.1", PROTO_TCP, false, 0),
		service_at("127.0.0.1", PROTO_UDP, false, 0),
	};

	(void)state;
	configure(world, list, 2);
	for (int i = 1; i <= 4; i++) {
		for (size_t at = 0; at < 2; at++)
			list[at].is_given = i % 2;
		configure(world, list, 2);
		assert_int_equal(world->binds, 2 + i); /* UDP only */
		assert_int_equal(world->closes, i);
		int client = connect_to(&list[0].addr);
		if (i % 2) {
			run_until(&world->bed, world->clients == (i + 1) / 2);
			close(client);
			expect_answered(world, &list[1].addr, given_at(world, &list[1].addr)->fd);
		} else {
			expect_joined(
				&world->bed, client, wait_accept(&world->bed, world->targets[0]));
			expect_answered(world, &list[1].addr, world->udp_targets[0]);
		}
	}
	/* of two of the same the first one counts, also when only the second one is as before */
	struct service twice[] = {list[1], list[1]};
	twice[0].is_given = true;
	configure(world, twice, 2);
	assert_true(services_find(world->services, PROTO_UDP, &list[1].addr)->is_given);
	expect_answered(world, &list[1].addr, given_at(world, &list[1].addr)->fd);
	world_close(world);
}

/* Connections that were joined outlive their service, but not the whole. */
static void connections_go_on(void **state)
{
	struct world *world = world_open(&all_ops);
	const struct service service = service_at("::1", PROTO_TCP, false, 0);

	(void)state;
	configure(world, &service, 1);
	int clients[2], servers[2];
	for (int i = 0; i < 2; i++) {
		clients[i] = connect_to(&service.addr);
		servers[i] = wait_accept(&world->bed, world->targets[0]);
	}
	configure(world, NULL, 0);
	expect_joined(&world->bed, clients[0], servers[0]);
	services_free(world->services);
	world->services = NULL;
	assert_int_equal(wait_end(&world->bed, clients[1]), ECONNRESET);
	assert_int_equal(wait_end(&world->bed, servers[1]), ECONNRESET);
	close(clients[1]);
	close(servers[1]);
	world_close(world);
}

/* --- what is missing ---------------------------------------------------------------------------
 */

/* Whatever is taken: the others are served, and what is let go of is, too, soon. */
static void one_is_missing_alone(void **state)
{
	struct world *world = world_open(&telling_ops);
	struct service list[] = {
		service_at("127.0.0.2", PROTO_TCP, false, 0),
		service_at("127.0.0.3", PROTO_TCP, false, 1),
		service_at("127.0.0.2", PROTO_UDP, false, 0),
		service_at("127.0.0.3", PROTO_UDP, false, 1),
		service_at("192.0.2.77", PROTO_TCP, false, 0), /* no address of this host */
	};
	const struct addr everywhere = addr_at("0.0.0.0", PORT);

	(void)state;
	for (int round = 0; round < 2; round++) {
		int tcp = listen_at(round ? &everywhere : &list[0].addr, 1);
		int udp = udp_at(round ? &everywhere : &list[2].addr);
		int taken = round ? 4 : 2, told = world->missing_told;

		configure(world, list, COUNT(list));
		assert_int_equal(world->missing_told, told + taken + (round == 0));
		assert_int_equal(count_missing(world), taken + 1);
		assert_null(services_find(world->services, PROTO_TCP, &list[0].addr));
		if (round == 0) {
			expect_led(world, &list[1].addr, world->targets[1]);
			expect_answered(world, &list[3].addr, world->udp_targets[1]);
		}
		/* not told again for the same reason */
		told = world->missing_told;
		for (int i = 0; i < 10; i++)
			jump(&world->bed, SERVICE_RETRY_MAX_MS);
		configure(world, list, COUNT(list));
		assert_int_equal(world->missing_told, told);
		close(tcp);
		close(udp);
		jump(&world->bed, SERVICE_RETRY_MS);
		assert_int_equal(count_missing(world), 1);
		assert_int_equal(world->opened_told, round ? 6 : 2);
		for (int i = 0; i < 2; i++) {
			expect_led(world, &list[i].addr, world->targets[i]);
			expect_answered(world, &list[2 + i].addr, world->udp_targets[i]);
		}
		configure(world, &list[4], 1);
	}
	configure(world, NULL, 0);
	assert_int_equal(count_missing(world), 0);
	world_close(world);
}

/* What another one serves is not missing, and is ours when that ends; nobody is told of either. */
static void served_by_another(void **state)
{
	struct world *world = world_open(&sharing_ops);
	const struct service list[] = {service_at("127.0.0.2", PROTO_TCP, false, 0),
		service_at("127.0.0.3", PROTO_TCP, false, 0)};
	int kin = listen_at(&list[0].addr, 1), stranger = listen_at(&list[1].addr, 1);

	(void)state;
	world->served_at = list[0].addr;
	configure(world, list, 2);
	assert_int_equal(count_missing(world), 1);
	assert_int_equal(world->missing_told, 0); /* it may yet be served */
	assert_null(services_find(world->services, PROTO_TCP, &list[0].addr));
	close(kin);
	jump(&world->bed, SERVICE_RETRY_MS);
	assert_int_equal(world->missing_told, 1);
	expect_led(world, &list[0].addr, world->targets[0]);
	assert_int_equal(world->opened_told, 0);
	/* who has it now is no such one: that is told, and what comes of it */
	configure(world, &list[1], 1);
	kin = listen_at(&list[0].addr, 1);
	configure(world, list, 2);
	assert_int_equal(count_missing(world), 1);
	world->served_at = (struct addr){0};
	jump(&world->bed, SERVICE_RETRY_MAX_MS);
	assert_int_equal(count_missing(world), 2);
	assert_int_equal(world->missing_told, 2);
	close(kin);
	close(stranger);
	jump(&world->bed, SERVICE_RETRY_MAX_MS);
	assert_int_equal(count_missing(world), 0);
	assert_int_equal(world->opened_told, 2);
	world_close(world);
}

/* More than are tried at once, for longer than the longest pause. */
static void a_crowd_is_missing(void **state)
{
	enum { CROWD = 3 * SERVICE_TRIES };
	struct world *world = world_open(&telling_ops);
	struct service list[CROWD];
	int holders[CROWD];

	(void)state;
	for (int i = 0; i < CROWD; i++) {
		list[i] = service_at("127.0.0.4", PROTO_TCP, false, 0);
		addr_set_port(&list[i].addr, (uint16_t)(5000 + i));
		holders[i] = listen_at(&list[i].addr, 1);
	}
	configure(world, list, CROWD);
	assert_int_equal(count_missing(world), CROWD);
	assert_int_equal(world->why.code, EADDRINUSE);
	for (int i = 0; i < CROWD; i++)
		close(holders[i]);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(count_missing(world), CROWD - i * SERVICE_TRIES);
		jump(&world->bed, i == 0 ? SERVICE_RETRY_MS : 100);
	}
	assert_int_equal(world->opened_told, CROWD);
	world_close(world);
}

/* Some ports are served and some clients, and all of them when there are descriptors. */
static void descriptors_are_short(void **state)
{
	enum { CROWD = 50 };
	struct world *world = world_open(&telling_ops);
	struct service list[CROWD];

	(void)state;
	for (int i = 0; i < CROWD; i++) {
		list[i] = service_at("127.0.0.4", PROTO_TCP, false, 0);
		addr_set_port(&list[i].addr, (uint16_t)(5000 + i));
	}
	world->bed.budget.max = BUDGET_RESERVED + 64;
	configure(world, list, CROWD);
	assert_in_range(count_missing(world), 1, CROWD - 20);
	assert_int_equal(world->why.code, EMFILE);
	expect_led(world, &list[0].addr, world->targets[0]);
	world->bed.budget.max = 10000;
	jump(&world->bed, SERVICE_RETRY_MS);
	assert_int_equal(count_missing(world), 0);
	expect_led(world, &list[CROWD - 1].addr, world->targets[0]);
	configure(world, NULL, 0);
	run_until(&world->bed, world->bed.budget.used == 0);
	world_close(world);
}

/* --- at random, against a model ------------------------------------------------------------- */

static const char *const places[] = {"127.0.0.1", "127.0.0.2", "::1", NULL /* the path */};

/* All the services there can be. */
#define SLOTS (2 * COUNT(places) - 1) /* no UDP at paths */

struct model {
	struct service services[SLOTS];
	bool is_open[SLOTS];
};

static struct service slot_service(const struct world *world, size_t slot, bool is_given, int to)
{
	const char *place = places[slot / 2];

	return service_at(
		place ? place : world->path, slot % 2 ? PROTO_UDP : PROTO_TCP, is_given, to);
}

static size_t slot_of(const struct world *world, const struct service *service)
{
	size_t slot = 0;

	for (;; slot++) {
		const struct service at = slot_service(world, slot, false, 0);
		if (at.proto == service->proto && addr_equal(&at.addr, &service->addr))
			return slot;
	}
}

/* The model's services_configure. Adds up what the owner sees; returns how many are missing. */
static size_t model_configure(struct world *world, struct model *model, const struct service *list,
	size_t count, int *binds, int *closes)
{
	struct service wanted[SLOTS];
	bool is_wanted[SLOTS] = {0};
	size_t order[SLOTS], nwanted = 0, missing = 0;

	for (size_t i = 0; i < count; i++) {
		size_t slot = slot_of(world, &list[i]);
		if (is_wanted[slot])
			continue;
		is_wanted[slot] = true;
		wanted[slot] = list[i];
		order[nwanted++] = slot;
	}
	for (size_t slot = 0; slot < SLOTS; slot++) {
		bool is_kept = is_wanted[slot] &&
			       (wanted[slot].proto == PROTO_TCP ||
				       wanted[slot].is_given == model->services[slot].is_given);
		*closes += model->is_open[slot] && !is_kept;
		model->is_open[slot] &= is_kept;
	}
	for (size_t i = 0; i < nwanted; i++) {
		size_t slot = order[i];
		bool fails = !model->is_open[slot] &&
			     addr_equal(&wanted[slot].addr, &world->bind_fails_at);

		*binds += !model->is_open[slot] && !fails;
		missing += fails;
		model->is_open[slot] = !fails;
		model->services[slot] = wanted[slot];
	}
	return missing;
}

/* A TCP client of @slot has the end that the model says. */
static void expect_tcp(struct world *world, const struct model *model, size_t slot)
{
	const struct service service = slot_service(world, slot, false, 0);
	int client = connect_to(&service.addr), clients = world->clients;

	if (!model->is_open[slot]) {
		assert_true(client < 0 || wait_end(&world->bed, client) == ECONNREFUSED);
	} else if (model->services[slot].is_given) {
		run_until(&world->bed, world->clients > clients);
	} else {
		int to = addr_port(&model->services[slot].target.addr) - AT;

		expect_joined(&world->bed, client, wait_accept(&world->bed, world->targets[to]));
		return;
	}
	fd_close(&client);
}

static void expect_udp(struct world *world, const struct model *model, size_t slot)
{
	const struct service service = slot_service(world, slot, false, 0);
	int client = udp_client(&service.addr);

	if (!model->is_open[slot]) {
		run_until(&world->bed, send(client, "x", 1, 0) < 0 && errno == ECONNREFUSED);
		close(client);
	} else if (!model->services[slot].is_given) {
		int to = addr_port(&model->services[slot].target.addr) - AT;
		expect_echo(world, client, world->udp_targets[to]);
	} else {
		expect_echo(world, client, given_at(world, &service.addr)->fd);
	}
}

static void random_lists(void **state)
{
	struct world *world = world_open(&all_ops);
	struct model model = {0};
	int binds = 0, closes = 0;
	unsigned seed;

	(void)state;
	assert_int_equal(getrandom(&seed, sizeof(seed), 0), sizeof(seed));
	print_message("seed %u\n", seed);
	for (int step = 0; step < STEPS; step++) {
		struct service list[12];
		size_t count = (size_t)rand_r(&seed) % (COUNT(list) + 1);
		struct err err = {0};

		for (size_t i = 0; i < count; i++)
			list[i] = slot_service(world, (size_t)rand_r(&seed) % SLOTS,
				rand_r(&seed) % 3 == 0, rand_r(&seed) % TARGETS);
		world->bind_fails_at = (struct addr){0};
		if (rand_r(&seed) % 8 == 0)
			world->bind_fails_at =
				slot_service(world, (size_t)rand_r(&seed) % SLOTS, false, 0).addr;
		size_t missing = model_configure(world, &model, list, count, &binds, &closes);
		assert_int_equal(services_configure(world->services, list, count, &err), 0);
		assert_int_equal(count_missing(world), missing);
		assert_int_equal(world->binds, binds);
		assert_int_equal(world->closes, closes);
		for (size_t slot = 0; slot < SLOTS; slot++) {
			const struct service at = slot_service(world, slot, false, 0);
			const struct service *found =
				services_find(world->services, at.proto, &at.addr);

			assert_int_equal(found != NULL, model.is_open[slot]);
			if (!found)
				continue;
			assert_int_equal(found->is_given, model.services[slot].is_given);
			assert_true(
				addr_equal(&found->target.addr, &model.services[slot].target.addr));
		}
		size_t slot = (size_t)rand_r(&seed) % SLOTS;
		if (slot % 2)
			expect_udp(world, &model, slot);
		else
			expect_tcp(world, &model, slot);
	}
	configure(world, NULL, 0);
	world_close(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(serves_every_family),
		cmocka_unit_test(leads_to_every_target),
		cmocka_unit_test(gives_clients_to_the_owner),
		cmocka_unit_test(counts_who_is_joined),
		cmocka_unit_test(gives_a_udp_socket_to_the_owner),
		cmocka_unit_test(what_becomes_of_clients_may_change),
		cmocka_unit_test(connections_go_on),
		cmocka_unit_test(one_is_missing_alone),
		cmocka_unit_test(served_by_another),
		cmocka_unit_test(a_crowd_is_missing),
		cmocka_unit_test(descriptors_are_short),
		cmocka_unit_test(random_lists),
		cmocka_unit_test(serves_what_was_bound_before),
		cmocka_unit_test(serves_what_comes_later),
	};

	bed_enter_namespace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
