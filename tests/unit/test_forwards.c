/* SPDX-License-Identifier: Apache-2.0 */
/* test_forwards - rules that come and go, and what the net process is told of them */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandbox/forwards.h"
#include "util/fd.h"
#include "util/log.h"

#define KNOWN_MAX 64

/* The net process: which rules it was told of. */
struct net {
	struct net_message known[KNOWN_MAX];
	size_t nknown;
	int room; /* messages that it still takes; -1: any number */
	bool expects_lost;
};

struct world {
	char directory[64];
	struct sandbox_config config;
	struct events events;
	int events_fd;
	struct loop *loop;
	struct forwards forwards;
	struct net net;
	char owned[NAME_MAX + 1]; /* the socket file that was announced last */
	bool was_there;           /* it was made before that */
};

static int take_message(void *owner, const struct net_message *message, int fd)
{
	struct net *net = &((struct world *)owner)->net;

	if (net->room == 0)
		return -EAGAIN;
	net->room -= net->room > 0;
	for (size_t i = 0; i < net->nknown; i++) {
		if (net->known[i].id != message->id)
			continue;
		assert_int_equal(message->type, NET_REMOVE); /* nothing is added twice */
		net->known[i] = net->known[--net->nknown];
		return 0;
	}
	assert_int_equal(message->type, NET_ADD);
	assert_true(fd >= 0);
	assert_true(message->forward.was_lost == net->expects_lost);
	assert_in_range(net->nknown, 0, KNOWN_MAX - 1);
	net->known[net->nknown++] = *message;
	return 0;
}

static void own_file(void *owner, int dir_fd, const char *name)
{
	struct world *world = owner;

	snprintf(world->owned, sizeof(world->owned), "%s", name);
	world->was_there = faccessat(dir_fd, name, F_OK, 0) == 0;
}

static const struct forwards_ops ops = {take_message, own_file};

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	int ends[2];

	log_set_level(LOG_ERROR);
	strcpy(world->directory, "/tmp/test_forwards.XXXXXX");
	assert_non_null(mkdtemp(world->directory));
	assert_int_equal(chdir(world->directory), 0);
	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	world->events_fd = ends[0];
	world->events = (struct events){
		.ready.io.fd = open("/dev/null", O_WRONLY | O_CLOEXEC), .info_fd = ends[1]};
	world->config.bind = addr_loopback4(0);
	world->config.net.has_outbound = true;
	world->net.room = -1;
	world->forwards = (struct forwards){
		.config = &world->config, .events = &world->events, .ops = &ops, .owner = world};
	world->loop = loop_new();
	forwards_init(&world->forwards, world->loop);
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;

	forwards_fini(&world->forwards);
	loop_free(world->loop);
	spec_list_free(&world->config.forwards);
	close(world->events_fd);
	close(world->events.info_fd);
	ready_end(&world->events.ready, 0);
	assert_int_equal(rmdir(world->directory), 0); /* no socket file is left */
	free(world);
	return 0;
}

static void add(struct world *world, const char *text)
{
	const char *const specs[] = {text, NULL};
	struct err err;

	if (forwards_add(&world->forwards, specs, NULL, &err) < 0)
		fail_msg("%s: %s", text, err.text);
}

/* Whoever asks for that is told which ports are free soon: as many as there are fewer rules. */
static int drop(struct world *world, const char *text, struct err *err)
{
	const char *const specs[] = {text, NULL};
	const size_t before = world->forwards.count;
	json_t *removed = json_array();
	int result = forwards_remove(&world->forwards, specs, removed, err);

	bool has_port = strncmp(text, "unix:", 5) != 0;
	assert_int_equal(json_array_size(removed), has_port ? before - world->forwards.count : 0);
	json_decref(removed);
	return result;
}

/* "127.0.0.1:8080" of rule @index, whose port the kernel has chosen. */
static const char *outside(const struct world *world, size_t index, char *out, size_t cap_bytes)
{
	return addr_format(&world->forwards.items[index].spec.host, out, cap_bytes);
}

static bool knows(const struct net *net, uint32_t id)
{
	for (size_t i = 0; i < net->nknown; i++)
		if (net->known[i].id == id)
			return true;
	return false;
}

/* The net process knows these rules and no others. */
static void expect_known(const struct world *world)
{
	assert_int_equal(world->net.nknown, world->forwards.count);
	for (size_t i = 0; i < world->forwards.count; i++)
		assert_true(knows(&world->net, world->forwards.items[i].id));
}

static void expect_event(struct world *world, const char *text)
{
	char all[8192] = "";

	assert_true(read(world->events_fd, all, sizeof(all) - 1) > 0);
	if (!strstr(all, text))
		fail_msg("no %s in %s", text, all);
}

static void rules_of_the_configuration(void **state)
{
	struct world *world = *state;
	struct forwards *forwards = &world->forwards;
	struct forward_list list;
	char told[8];
	struct err err;

	assert_int_equal(spec_list_parse(&world->config.forwards, "0:80", NULL, &err), 0);
	assert_int_equal(spec_list_parse(&world->config.forwards, "unix:s:81", NULL, &err), 0);
	assert_int_equal(spec_list_parse(&world->config.forwards, "0:53/udp", NULL, &err), 0);
	assert_int_equal(forwards_bind(forwards, false, &err), 0);
	assert_int_equal(forwards->count, 3);
	assert_int_not_equal(addr_port(&forwards->items[0].spec.host), 0);
	assert_int_equal(access("s", F_OK), -1);
	assert_string_equal(world->owned, "");
	assert_int_equal(forwards_bind(forwards, true, &err), 0);
	assert_string_equal(world->owned, "s");
	assert_false(world->was_there);
	assert_int_equal(access("s", F_OK), 0);
	assert_int_equal(forwards_list(forwards, &list, &err), 0);
	assert_int_equal(list.count, 3);
	assert_true(spec_equal(&list.items[2], &forwards->items[2].spec));
	spec_list_free(&list);
	forwards_announce(forwards, 1, NULL);
	expect_event(world, "\"event\":\"forward\",\"spec\":\"unix:s:81\"");
	/* those were added before the start was over */
	forwards_announce(forwards, 0, NULL);
	expect_event(world, ":80/tcp\"");
	forwards_announce(forwards, 0, NULL);
	assert_int_equal(read(world->events_fd, told, sizeof(told)), -1);
	forwards_send(forwards, false);
	expect_known(world);
	forwards_send(forwards, false); /* nothing new */
	world->net.nknown = 0;
	forwards_send(forwards, true);
	expect_known(world);
}

/* Who asks for rules while paths have still to be bound has them bound once, and the start is not
 * ended by them. */
static void rules_that_come_before_the_paths(void **state)
{
	struct world *world = *state;
	struct forwards *forwards = &world->forwards;
	struct err err;

	assert_int_equal(spec_list_parse(&world->config.forwards, "unix:s:81", NULL, &err), 0);
	assert_int_equal(spec_list_parse(&world->config.forwards, "0:80", NULL, &err), 0);
	assert_int_equal(forwards_bind(forwards, false, &err), 0);
	world->net.room = 0; /* none runs yet */
	add(world, "unix:t:82");
	add(world, "0:83");
	const int path = forwards->items[2].listener.fd, port = forwards->items[3].listener.fd;
	if (forwards_bind(forwards, true, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(forwards->count, 4);
	assert_true(forwards->items[0].listener.fd >= 0);
	assert_int_equal(forwards->items[2].listener.fd, path);
	assert_int_equal(forwards->items[3].listener.fd, port);
	assert_int_equal(access("s", F_OK), 0);
	assert_int_equal(access("t", F_OK), 0);
}

/* One of the configuration that is taken away meanwhile does not come back. */
static void rules_that_go_before_the_paths(void **state)
{
	struct world *world = *state;
	struct forwards *forwards = &world->forwards;
	struct err err;

	assert_int_equal(spec_list_parse(&world->config.forwards, "0:80", NULL, &err), 0);
	assert_int_equal(spec_list_parse(&world->config.forwards, "unix:s:81", NULL, &err), 0);
	assert_int_equal(forwards_bind(forwards, false, &err), 0);
	world->net.room = 0;
	assert_int_equal(drop(world, "unix:s", &err), 0);
	assert_int_equal(forwards_bind(forwards, true, &err), 0);
	assert_int_equal(forwards->count, 1);
	assert_int_equal(access("s", F_OK), -1);
}

static void all_or_none_are_added(void **state)
{
	struct world *world = *state;
	char taken[ADDR_TEXT_BYTES], rule[ADDR_TEXT_BYTES + 8];
	struct err err;

	add(world, "0:80");
	snprintf(rule, sizeof(rule), "%s:90", outside(world, 0, taken, sizeof(taken)));
	const char *const clashing[] = {"0:81", "unix:s:82", rule, NULL};
	const char *const wrong[] = {"0:81", "unix:s:82", "x", NULL};
	const char *const no_directory[] = {"0:81", "unix:s:82", "unix:none/s:83", NULL};
	assert_int_equal(forwards_add(&world->forwards, clashing, NULL, &err), -EEXIST);
	assert_non_null(strstr(err.text, ":80/tcp is there already; nswrap port remove"));
	const char *const same[] = {"0:81", "unix:s:82", "unix:s:82", NULL};
	assert_int_equal(forwards_add(&world->forwards, same, NULL, &err), -EINVAL);
	assert_non_null(strstr(err.text, "need the same path"));
	assert_int_equal(forwards_add(&world->forwards, wrong, NULL, &err), -EINVAL);
	assert_int_equal(forwards_add(&world->forwards, no_directory, NULL, &err), -ENOENT);
	assert_string_equal(err.text, "cannot listen at none/s: No such file or directory");
	assert_int_equal(world->forwards.count, 1);
	assert_int_equal(access("s", F_OK), -1);
	expect_known(world);
	/* and a socket file is announced before it is there */
	add(world, "unix:s:82");
	assert_string_equal(world->owned, "s");
	assert_false(world->was_there);
	assert_int_equal(access("s", F_OK), 0);
	expect_known(world);
}

static void rules_are_named_by_their_outside(void **state)
{
	struct world *world = *state;
	char text[ADDR_TEXT_BYTES], port[8], both[64];
	struct err err;

	add(world, "0:80");
	add(world, "unix:s:81");
	add(world, "0:82");
	add(world, "0:83");
	snprintf(port, sizeof(port), "%u", addr_port(&world->forwards.items[0].spec.host));
	snprintf(both, sizeof(both), "%s:53/udp", port);
	add(world, both); /* the same port of the other protocol */
	assert_int_equal(drop(world, "unix:t", &err), -ENOENT);
	assert_string_equal(err.text, "there is no forward unix:t");
	assert_int_equal(drop(world, "1:2", &err), -ENOENT);
	assert_string_equal(err.text, "there is no forward 127.0.0.1:1:2/tcp");
	assert_int_equal(drop(world, port, &err), -EINVAL);
	assert_non_null(strstr(err.text, "several forwards listen there"));
	assert_int_equal(world->forwards.count, 5);
	assert_int_equal(drop(world, "unix:s", &err), 0);
	assert_int_equal(access("s", F_OK), -1);
	assert_int_equal(drop(world, outside(world, 1, text, sizeof(text)), &err), 0);
	assert_int_equal(drop(world, both, &err), 0);
	assert_int_equal(drop(world, port, &err), 0);
	assert_int_equal(world->forwards.count, 1);
	assert_int_equal(world->forwards.items[0].spec.guest_port, 83);
	expect_known(world);
}

static void listening_is_told_once(void **state)
{
	struct world *world = *state;
	char discard[1024];

	add(world, "0:80");
	uint32_t id = world->forwards.items[0].id;
	assert_true(world->events.ready.io.fd >= 0);
	forwards_on_listening(&world->forwards, id);
	expect_event(world, "\"event\":\"guest-listening\"");
	assert_int_equal(world->events.ready.io.fd, -1);
	forwards_on_listening(&world->forwards, id);
	forwards_on_listening(&world->forwards, 4711);
	assert_int_equal(read(world->events_fd, discard, sizeof(discard)), -1);
}

static const char *shown_error(const struct world *world, json_t **list)
{
	*list = forwards_json(&world->forwards, 0);
	return json_string_value(json_object_get(json_array_get(*list, 0), "error"));
}

/* It keeps its port, is shown as lost, told of once, and tried again until it is back. */
static void what_is_lost_is_tried_again(void **state)
{
	struct world *world = *state;
	char discard[1024];
	struct err err = {.text = "no room"};
	json_t *list;

	add(world, "0:80");
	add(world, "0:81");
	uint32_t id = world->forwards.items[0].id;
	expect_event(world, "\"event\":\"forward\"");
	forwards_on_lost(&world->forwards, 4711, &err);
	forwards_on_back(&world->forwards, id); /* it was never away */
	assert_int_equal(read(world->events_fd, discard, sizeof(discard)), -1);
	world->net.expects_lost = true;
	for (int turn = 0; turn < 2; turn++) {
		world->net.known[0] = world->net.known[--world->net.nknown];
		forwards_on_lost(&world->forwards, id, &err);
		if (turn == 0)
			expect_event(world, "\"event\":\"forward-lost\"");
		forwards_on_back(&world->forwards, id); /* nobody has asked for it again */
		assert_int_equal(read(world->events_fd, discard, sizeof(discard)), -1);
		assert_string_equal(shown_error(world, &list), "no room");
		json_decref(list);
		for (int i = 0; i < 100 && world->net.nknown == 1; i++)
			assert_int_equal(loop_run_once(world->loop, 100), 0);
		expect_known(world);
		/* known[] is not in the order of the rules */
		struct net_message swap = world->net.known[0];
		world->net.known[0] = world->net.known[1];
		world->net.known[1] = swap;
	}
	assert_int_equal(world->forwards.items[0].id, id);
	assert_true(world->forwards.items[0].listener.fd >= 0);
	forwards_on_back(&world->forwards, id);
	expect_event(world, "\"event\":\"forward-back\"");
	assert_null(shown_error(world, &list));
	json_decref(list);
}

/* However slow the net process is, and whatever dies: in the end it knows what there is. */
static void random_rules(void **state)
{
	struct world *world = *state;
	char text[FORWARD_TEXT_BYTES];
	uint32_t newest = 0;
	struct err err = {.text = "no"};

	srand(11);
	for (int step = 0; step < 3000; step++) {
		struct forwards *forwards = &world->forwards;
		size_t index = forwards->count > 0 ? (size_t)rand() % forwards->count : 0;

		world->net.room = rand() % 4 == 0 ? -1 : rand() % 3;
		switch (rand() % 5) {
		case 0:
		case 1:
			if (forwards->count >= KNOWN_MAX / 4)
				break;
			add(world, rand() % 2 ? "0:80" : "0:53/udp");
			assert_true(forwards->items[forwards->count - 1].id > newest);
			newest = forwards->items[forwards->count - 1].id;
			break;
		case 2:
			if (forwards->count == 0)
				break;
			spec_format(&forwards->items[index].spec, text, sizeof(text));
			assert_int_equal(drop(world, text, &err), 0);
			break;
		case 3: /* another net process */
			world->net.nknown = 0;
			forwards_send(forwards, true);
			break;
		default:
			forwards_send(forwards, false);
		}
		if (rand() % 8 != 0)
			continue;
		world->net.room = -1;
		forwards_send(forwards, false);
		expect_known(world);
		char discard[65536];
		while (read(world->events_fd, discard, sizeof(discard)) > 0)
			;
	}
}

static void forward_json(void **state)
{
	struct forwards_item items[2] = {{.driver = FORWARD_DRIVER_SPLICE, .has_listened = true},
		{.driver = FORWARD_DRIVER_SPLICE}};
	const struct forwards forwards = {.items = items, .count = 2};
	struct forward_list list = {0};
	struct err err;

	(void)state;
	assert_int_equal(spec_list_parse(&list, "[::1]:8080:80/udp", NULL, &err), 0);
	assert_int_equal(spec_list_parse(&list, "unix:/tmp/\xff:81", NULL, &err), 0);
	items[0].spec = list.items[0];
	items[1].spec = list.items[1];
	json_t *rows = forwards_json(&forwards, 0);
	assert_int_equal(json_array_size(rows), 2);
	char *text = json_dumps(json_array_get(rows, 0), JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(text, "{\"driver\":\"splice\",\"guest_port\":80,\"host\":\"::1\","
				  "\"host_port\":8080,\"listening\":true,\"proto\":\"udp\","
				  "\"spec\":\"[::1]:8080:80/udp\"}");
	free(text);
	text = json_dumps(json_array_get(rows, 1), JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(text,
		"{\"driver\":\"splice\",\"guest_port\":81,\"listening\":false,"
		"\"path\":\"/tmp/\\\\xff\",\"proto\":\"tcp\",\"spec\":\"unix:/tmp/\\\\xff:81\"}");
	free(text);
	json_decref(rows);
	spec_list_free(&list);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(rules_of_the_configuration),
		TEST(rules_that_come_before_the_paths),
		TEST(rules_that_go_before_the_paths),
		TEST(all_or_none_are_added),
		TEST(rules_are_named_by_their_outside),
		TEST(listening_is_told_once),
		TEST(what_is_lost_is_tried_again),
		TEST(random_rules),
		cmocka_unit_test(forward_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
