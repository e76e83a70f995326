/* SPDX-License-Identifier: Apache-2.0 */
/* test_linkport - who may have a link at a socket that listens */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "link/linkport.h"
#include "mesh_bed.h"

#define MANY (LINKPORT_PENDING_MAX + 10)

static const struct keyfile key = {"one key that is secret", 22};
static const struct keyfile other_key = {"one key that is Secret", 22};

struct world {
	struct mesh_bed bed;
	struct linkport port;
	struct linkspec spec;
	char text[64];
	int fds[MANY];
	size_t count, refused;
	char why[160];
};

static void on_link(struct linkport *port, int fd, const struct addr *peer)
{
	struct world *world = container_of(port, struct world, port);

	(void)peer;
	world->fds[world->count++] = fd;
}

static void on_refused(struct linkport *port, const struct addr *peer, const char *why)
{
	struct world *world = container_of(port, struct world, port);

	(void)peer;
	world->refused++;
	snprintf(world->why, sizeof(world->why), "%s", why);
}

static char dir[] = "/tmp/nswrap-linkport-XXXXXX";

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)state;
	return rmdir(dir);
}

static void prepare(struct world *world, const struct keyfile *with)
{
	*world = (struct world){.count = 0};
	bed_open(&world->bed);
	snprintf(world->text, sizeof(world->text), "listen-unix:%s/s", dir);
	assert_int_equal(linkspec_parse(world->text, &world->spec, NULL), 0);
	world->port = (struct linkport){.context = &world->bed.context,
		.key = with,
		.role = PROOF_ANSWERER,
		.purpose = "test",
		.on_link = on_link,
		.on_refused = on_refused};
}

static void world_open(struct world *world, const struct keyfile *with)
{
	struct err err;

	prepare(world, with);
	if (linkport_open(&world->port, &world->spec, &err) < 0)
		fail_msg("%s", err.text);
}

static void world_close(struct world *world)
{
	struct stat st;

	linkport_close(&world->port);
	linkport_close(&world->port);
	assert_int_equal(stat(world->spec.addr.local.sun_path, &st), -1);
	while (world->count > 0)
		close(world->fds[--world->count]);
	bed_close(&world->bed);
}

struct client {
	struct proof proof;
	int fd, done, result;
};

static void on_done(struct proof *proof, int result, const char *why)
{
	struct client *client = container_of(proof, struct client, proof);

	(void)why;
	client->done++;
	client->result = result;
}

static void prove(struct world *world, struct client *client, const struct keyfile *with)
{
	*client = (struct client){.fd = connect_to(&world->spec.addr)};
	client->proof = (struct proof){.loop = world->bed.context.loop,
		.key = with,
		.role = PROOF_ASKER,
		.purpose = "test",
		.on_done = on_done};
	assert_int_equal(proof_start(&client->proof, client->fd, client->fd, 5000), 0);
}

static void without_a_key_all_come(void **state)
{
	struct world world;
	struct stat st;
	(void)state;

	world_open(&world, NULL);
	assert_int_equal(stat(world.spec.addr.local.sun_path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	int first = connect_to(&world.spec.addr), second = connect_to(&world.spec.addr);
	run_until(&world.bed, world.count == 2);
	linkport_mute(&world.port, true);
	int third = connect_to(&world.spec.addr);
	settle(&world.bed);
	assert_int_equal(world.count, 2);
	linkport_mute(&world.port, false);
	run_until(&world.bed, world.count == 3);
	close(first);
	close(second);
	close(third);
	world_close(&world);
}

static void with_a_key_those_come_who_have_it(void **state)
{
	struct world world;
	struct client good, bad;
	(void)state;

	world_open(&world, &key);
	prove(&world, &bad, &other_key);
	run_until(&world.bed, bad.done == 1 && world.refused == 1);
	assert_true(bad.result < 0);
	assert_non_null(strstr(world.why, "another key"));
	int silent = connect_to(&world.spec.addr);
	prove(&world, &good, &key);
	run_until(&world.bed, good.done == 1 && world.count == 1);
	assert_int_equal(good.result, 0);
	jump(&world.bed, LINKPORT_DEADLINE_MS);
	run_until(&world.bed, world.refused == 2);
	assert_non_null(strstr(world.why, "in time"));
	assert_int_not_equal(wait_end(&world.bed, silent), EAGAIN);
	close(silent);
	close(good.fd);
	close(bad.fd);
	world_close(&world);
}

/* They are silent, or say the half of it: who has the key is served at once all the same. */
static void a_crowd_keeps_nobody_out(void **state)
{
	struct world world;
	struct client good;
	int crowd[MANY];
	(void)state;

	world_open(&world, &key);
	for (size_t i = 0; i < MANY; i++) {
		crowd[i] = connect_to(&world.spec.addr);
		if (i % 2)
			assert_int_equal(write(crowd[i], "nswrap\1A", 8), 8);
	}
	run_until(&world.bed, world.refused == MANY - LINKPORT_PENDING_MAX);
	assert_int_equal(world.port.npending, LINKPORT_PENDING_MAX);
	prove(&world, &good, &key);
	run_until(&world.bed, good.done == 1 && world.count == 1);
	assert_int_equal(good.result, 0);
	for (size_t i = 0; i < MANY; i++)
		close(crowd[i]);
	run_until(&world.bed, world.port.npending == 0);
	close(good.fd);
	world_close(&world);
}

static void a_socket_in_use_is_an_error_a_dead_one_none(void **state)
{
	struct linkport second;
	struct world world;
	struct err err;
	(void)state;

	prepare(&world, NULL);
	int dead = listen_at(&world.spec.addr, 1);
	close(dead);
	assert_int_equal(linkport_open(&world.port, &world.spec, &err), 0);
	second = (struct linkport){.context = &world.bed.context, .on_link = on_link};
	assert_int_equal(linkport_open(&second, &world.spec, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, "is in use"));
	int fd = connect_to(&world.spec.addr);
	run_until(&world.bed, world.count == 1);
	close(fd);
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_key_all_come),
		cmocka_unit_test(with_a_key_those_come_who_have_it),
		cmocka_unit_test(a_crowd_keeps_nobody_out),
		cmocka_unit_test(a_socket_in_use_is_an_error_a_dead_one_none),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
