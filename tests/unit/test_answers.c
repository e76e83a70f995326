/* SPDX-License-Identifier: Apache-2.0 */
/* test_answers - a sandbox that is none is asked */
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
#include <sys/wait.h>
#include <unistd.h>

#include "control/control.h"
#include "sandbox/answers.h"
#include "sandbox/enter.h"
#include "sandbox/request.h"
#include "util/fd.h"
#include "util/log.h"

static char long_word[REQUEST_COMMAND_MAX + 100];
static char *argv[] = {"serve", "a\xff", long_word, "more", NULL};
static char *env[] = {"HOME=/", "NSWRAP_NAME=box", "NSWRAP_GUEST_PORT=80", NULL};

struct world {
	char parent[64];
	struct registry registry;
	struct loop *loop;
	struct sandbox_config config;
	struct events events;
	struct program program;
	struct forwards forwards;
	struct outwards outwards;
	struct answers answers;
	int namespaces[ENTER_NAMESPACES];
	unsigned stops;
	uint64_t timeout_ms;
};

static int take_message(void *owner, const struct net_message *message, int fd)
{
	(void)owner, (void)message, (void)fd;
	return 0;
}

static void own_file(void *owner, int dir_fd, const char *name)
{
	(void)owner, (void)dir_fd, (void)name;
}

static const struct forwards_ops ops = {take_message, own_file};

static void on_stop(void *owner, uint64_t timeout_ms)
{
	struct world *world = owner;

	world->stops++;
	world->timeout_ms = timeout_ms;
}

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	struct answers *answers = &world->answers;
	struct err err;

	log_set_level(LOG_ERROR);
	memset(long_word, 'x', sizeof(long_word) - 1);
	strcpy(world->parent, "/tmp/test_answers.XXXXXX");
	assert_non_null(mkdtemp(world->parent));
	world->loop = loop_new();
	world->config = (struct sandbox_config){
		.bind = addr_loopback4(0), .has_pid_ns = true, .stop_timeout_ms = 4711};
	world->events = (struct events){.ready.io.fd = -1, .info_fd = -1};
	world->program = (struct program){.argv = argv, .env = env};
	for (size_t i = 0; i < ENTER_NAMESPACES; i++)
		world->namespaces[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	world->forwards = (struct forwards){
		.config = &world->config, .events = &world->events, .ops = &ops, .owner = world};
	*answers = (struct answers){
		.config = &world->config,
		.program = &world->program,
		.forwards = &world->forwards,
		.outwards = &world->outwards,
		.namespaces = world->namespaces,
		.command = 42,
		.on_stop = on_stop,
		.owner = world,
	};
	server_init(&answers->server);
	assert_int_equal(registry_open_in(&(struct places_roots){NULL, "/nowhere", world->parent},
				 REGISTRY_SANDBOX, &world->registry, &err),
		0);
	assert_int_equal(
		registry_reserve(&world->registry, "box", NULL, &answers->server.entry, &err), 0);
	assert_int_equal(answers_open(answers, world->loop, &err), 0);
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;
	char command[128];

	server_close(&world->answers.server);
	forwards_fini(&world->forwards);
	for (size_t i = 0; i < ENTER_NAMESPACES; i++)
		close(world->namespaces[i]);
	loop_free(world->loop);
	registry_close(&world->registry);
	snprintf(command, sizeof(command), "rm -rf '%s'", world->parent);
	free(world);
	return system(command);
}

/* One question on a connection of its own; NULL with @err when it is refused. */
static json_t *ask(struct world *world, json_t *question, struct err *err)
{
	_cleanup_fd_ int sock = registry_connect(&world->registry, "box", err);
	json_t *answer;

	assert_true(sock >= 0);
	assert_int_equal(control_send(sock, question, NULL, 0), 0);
	for (int i = 0; i < 5; i++)
		loop_run_once(world->loop, 0);
	control_receive(sock, "sandbox", 0, &answer, NULL, err);
	return answer;
}

static void status(void **state)
{
	struct world *world = *state;
	struct err err;
	json_t *answer = ask(world, json_pack("{s:s}", "op", "status"), &err);
	const json_t *command = json_object_get(answer, "command");

	assert_string_equal(json_string_value(json_object_get(answer, "name")), "box");
	assert_int_equal(json_integer_value(json_object_get(answer, "pid")), 42);
	assert_in_range(json_integer_value(json_object_get(answer, "age")), 0, 60);
	assert_int_equal(json_array_size(json_object_get(answer, "forwards")), 0);
	/* what is too long is cut, what is not UTF-8 is escaped */
	assert_int_equal(json_array_size(command), 3);
	assert_string_equal(json_string_value(json_array_get(command, 1)), "a\\xff");
	assert_int_equal(json_string_length(json_array_get(command, 2)), REQUEST_COMMAND_MAX - 9);
	json_decref(answer);
	/* it does not run yet: 0 would be taken for a process, or for a group */
	world->answers.command = 0;
	answer = ask(world, json_pack("{s:s}", "op", "status"), &err);
	assert_true(json_is_null(json_object_get(answer, "pid")));
	json_decref(answer);
}

static void ports(void **state)
{
	struct world *world = *state;
	struct err err;
	json_t *answer = ask(world,
		json_pack("{s:s, s:[s, s]}", "op", "port-add", "specs", "0:80", "0:81"), &err);

	assert_int_equal(json_array_size(json_object_get(answer, "forwards")), 2);
	json_decref(answer);
	answer = ask(world, json_pack("{s:s, s:[s]}", "op", "port-add", "specs", "0:82"), &err);
	const json_t *added = json_array_get(json_object_get(answer, "forwards"), 0);
	assert_int_equal(json_integer_value(json_object_get(added, "guest_port")), 82);
	const char *spec = json_string_value(json_object_get(added, "spec"));
	json_t *gone = ask(
		world, json_pack("{s:s, s:[s, s]}", "op", "port-remove", "specs", spec, "9"), &err);
	assert_null(gone);
	assert_string_equal(err.text, "there is no forward 9");
	gone = ask(world, json_pack("{s:s, s:[s]}", "op", "port-remove", "specs", spec), &err);
	assert_non_null(gone);
	json_decref(gone);
	json_decref(answer);
	assert_int_equal(world->forwards.count, 2);
	assert_null(ask(world, json_pack("{s:s}", "op", "port-remove"), &err));
	assert_string_equal(err.text, "port-remove needs \"specs\" or \"reverses\"");
}

static void stop(void **state)
{
	struct world *world = *state;
	struct err err;

	json_decref(ask(world, json_pack("{s:s}", "op", "stop"), &err));
	assert_int_equal(world->stops, 1);
	assert_int_equal(world->timeout_ms, 4711);
	json_decref(ask(world, json_pack("{s:s, s:i}", "op", "stop", "timeout_ms", 5), &err));
	assert_int_equal(world->stops, 2);
	assert_int_equal(world->timeout_ms, 5);
}

/* A client that joins, and stops: at the end it is woken; one that only asks is not. */
static void enter(void **state)
{
	struct world *world = *state;
	pid_t pids[2];
	int how;

	for (int i = 0; i < 2; i++) {
		pids[i] = fork();
		if (pids[i] != 0)
			continue;
		struct err err;
		json_t *answer;
		int room[ENTER_NAMESPACES];
		struct control_fds fds = {room, ENTER_NAMESPACES, 0};
		int sock = registry_connect(&world->registry, "box", &err);
		int result = control_call(sock, "sandbox",
			json_pack("{s:s}", "op", i == 0 ? "enter" : "status"), &answer, &fds, &err);
		if (result < 0 || fds.count != (i == 0 ? ENTER_NAMESPACES : 0))
			_exit(1);
		const json_t *list = json_object_get(answer, "env");
		if (i == 0 && (json_is_true(json_object_get(answer, "root")) ||
				      !json_is_true(json_object_get(answer, "pid_ns")) ||
				      json_array_size(list) != 2))
			_exit(1);
		raise(SIGSTOP);
		_exit(3);
	}
	for (int i = 0; i < 2; i++) {
		while (waitpid(pids[i], &how, WUNTRACED | WNOHANG) == 0)
			loop_run_once(world->loop, 10);
		assert_true(WIFSTOPPED(how));
	}
	assert_true(world->answers.was_entered);
	answers_wake(&world->answers);
	assert_int_equal(waitpid(pids[0], &how, 0), pids[0]);
	assert_int_equal(WEXITSTATUS(how), 3);
	assert_int_equal(waitpid(pids[1], &how, WNOHANG | WCONTINUED), 0);
	kill(pids[1], SIGKILL);
	waitpid(pids[1], &how, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(status),
		TEST(ports),
		TEST(stop),
		TEST(enter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
