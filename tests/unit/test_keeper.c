/* SPDX-License-Identifier: Apache-2.0 */
/* test_keeper - one process after the other, what it says and what it is told */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock_ahead.h"
#include "sandbox/keeper.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"

#define WAIT_MS    5000
#define RESPAWN_MS 1000

struct world {
	struct loop *loop;
	struct keeper keeper;
	void (*child)(int channel);
	bool is_refused; /* the next start */
	unsigned spawned, started, rooms;
	struct net_message heard[8];
	size_t nheard;
};

static pid_t spawn(void *owner, int channel, struct err *err)
{
	struct world *world = owner;

	world->spawned++;
	if (world->is_refused)
		return err_set(err, EAGAIN, "not now");
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fd_set_nonblock(channel, 0);
		world->child(channel);
		_exit(7);
	}
	return pid;
}

static void on_room(void *owner, bool is_fresh)
{
	struct world *world = owner;

	if (is_fresh)
		world->started++;
	else
		world->rooms++;
}

static void on_message(void *owner, const struct net_message *message)
{
	struct world *world = owner;

	assert_in_range(world->nheard, 0, 7);
	world->heard[world->nheard++] = *message;
}

static const struct keeper_ops ops = {spawn, on_room, on_message};

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	log_set_level(LOG_ERROR);
	world->loop = loop_new();
	keeper_init(&world->keeper, world->loop, &ops, world);
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;

	keeper_stop(&world->keeper);
	keeper_stop(&world->keeper);
	assert_int_equal(world->keeper.pid, 0);
	assert_int_equal(waitpid(-1, NULL, 0), -1);
	loop_free(world->loop);
	free(world);
	return 0;
}

static void start(struct world *world, void (*child)(int channel))
{
	struct err err;

	world->child = child;
	assert_int_equal(keeper_start(&world->keeper, &err), 0);
}

/* What the supervisor does at SIGCHLD. */
static void reap(struct world *world)
{
	siginfo_t info = {0};

	assert_int_equal(waitid(P_ALL, 0, &info, WEXITED), 0);
	assert_int_equal(info.si_pid, world->keeper.pid);
	keeper_on_death(&world->keeper, info.si_code, info.si_status);
}

static void live(int channel)
{
	(void)channel;
	pause();
}

static void die(int channel)
{
	(void)channel;
}

static void say_and_die(int channel)
{
	struct net_message message = {.type = NET_LISTENING, .id = 5};

	fd_send_one(channel, &message, sizeof(message), -1);
	message = (struct net_message){.type = NET_READY};
	fd_send_one(channel, &message, sizeof(message), channel);
	message = (struct net_message){.type = NET_FAILED};
	memset(message.err.text, 'x', sizeof(message.err.text));
	fd_send_one(channel, &message, sizeof(message), channel);
}

/* Stops, and then wants ids in order; tells of the last one. */
static void echo(int channel)
{
	struct net_message message;
	int fd;

	raise(SIGSTOP);
	for (uint32_t count = 1; fd_recv_one(channel, &message, sizeof(message), &fd) == 0;
		count++) {
		fd_close(&fd);
		if (message.id != count)
			_exit(1);
		if (message.type == NET_REMOVE) { /* the last one */
			message = (struct net_message){.type = NET_LISTENING, .id = count};
			fd_send_one(channel, &message, sizeof(message), -1);
		}
	}
}

static void last_words_are_heard(void **state)
{
	struct world *world = *state;

	start(world, say_and_die);
	world->child = live;
	reap(world);
	assert_int_equal(world->nheard, 3);
	assert_int_equal(world->heard[0].type, NET_LISTENING);
	assert_int_equal(world->heard[0].id, 5);
	assert_int_equal(world->heard[1].type, NET_READY);
	assert_int_equal(strlen(world->heard[2].err.text), sizeof(world->heard[2].err.text) - 1);
}

static void pass(struct world *world, uint64_t ms)
{
	clock_ahead_ns += ms * NS_PER_MS;
	loop_run_once(world->loop, 0);
}

static void quick_deaths_make_it_wait(void **state)
{
	struct world *world = *state;
	unsigned before;

	clock_stop(); /* the deaths are quick, however long we do not run */
	start(world, die);
	do {
		before = world->spawned;
		loop_run_once(world->loop, 0);
		reap(world);
	} while (world->spawned > before && before < 20);
	assert_int_equal(world->spawned, 5);
	assert_int_equal(world->keeper.pid, 0);
	assert_int_equal(keeper_send(&world->keeper, &(struct net_message){0}, -1), -EPIPE);
	/* after a second; what cannot be started is tried again after another one */
	world->is_refused = true;
	pass(world, RESPAWN_MS - 1);
	assert_int_equal(world->spawned, 5);
	pass(world, 1);
	assert_int_equal(world->spawned, 6);
	assert_int_equal(world->started, 5);
	assert_int_equal(world->keeper.pid, 0);
	world->is_refused = false;
	world->child = live;
	pass(world, RESPAWN_MS - 1);
	assert_int_equal(world->spawned, 6);
	pass(world, 1);
	assert_int_equal(world->spawned, 7);
	clock_go_on();
	assert_int_equal(world->started, 6);
	assert_true(world->keeper.pid > 0);
}

static void fail_to_begin(int channel)
{
	const struct net_message message = {.type = NET_FAILED};

	fd_send_one(channel, &message, sizeof(message), -1);
}

static void begin_and_die(int channel)
{
	const struct net_message message = {.type = NET_READY};

	fd_send_one(channel, &message, sizeof(message), -1);
}

/* The pauses grow until one can begin. */
static void what_cannot_begin_is_tried_ever_less(void **state)
{
	struct world *world = *state;

	clock_stop();
	start(world, fail_to_begin);
	for (unsigned i = 0; i < 7; i++) {
		uint64_t pause_ms = RESPAWN_MS << (i < 5 ? i : 5);

		world->nheard = 0;
		reap(world);
		assert_int_equal(world->keeper.failures, i + 1);
		pass(world, pause_ms - 1);
		assert_int_equal(world->spawned, i + 1);
		if (i == 6)
			world->child = begin_and_die;
		pass(world, 1);
		assert_int_equal(world->spawned, i + 2);
	}
	world->child = live;
	reap(world);
	clock_go_on();
	assert_int_equal(world->keeper.failures, 0);
	/* and the next one is there at once */
	assert_int_equal(world->spawned, 9);
	assert_int_equal(world->started, 9);
	assert_true(world->keeper.pid > 0);
	assert_int_equal(keeper_send(&world->keeper, &(struct net_message){0}, -1), 0);
}

static void first_start_may_fail(void **state)
{
	struct world *world = *state;
	struct err err;

	world->is_refused = true;
	assert_int_equal(keeper_start(&world->keeper, &err), -EAGAIN);
	assert_string_equal(err.text, "not now");
	assert_int_equal(world->started, 0);
	assert_int_equal(world->keeper.io.fd, -1);
}

static void the_last_one_is_not_replaced(void **state)
{
	struct world *world = *state;

	start(world, say_and_die);
	world->keeper.is_last = true;
	reap(world);
	assert_int_equal(world->spawned, 1);
	assert_int_equal(world->keeper.pid, 0);
	assert_int_equal(world->nheard, 3); /* it is heard all the same */
}

/* Messages that find no room are told of when there is some, and none is lost or twice there. */
static void nobody_waits_for_a_stopped_one(void **state)
{
	struct world *world = *state;
	struct net_message message = {.type = NET_ADD, .id = 1};
	int result, status;

	start(world, echo);
	assert_true(waitpid(world->keeper.pid, &status, WUNTRACED) > 0 && WIFSTOPPED(status));
	while ((result = keeper_send(&world->keeper, &message, -1)) == 0 && message.id < 100000)
		message.id++;
	assert_int_equal(result, -EAGAIN);
	assert_int_equal(keeper_send(&world->keeper, &message, -1), -EAGAIN);
	for (int i = 0; i < 20; i++)
		loop_run_once(world->loop, 0);
	assert_int_equal(world->rooms, 0);
	kill(world->keeper.pid, SIGCONT);
	for (int i = 0; i < WAIT_MS / 10 && world->rooms == 0; i++)
		loop_run_once(world->loop, 10);
	assert_int_equal(world->rooms, 1);
	message.type = NET_REMOVE;
	assert_int_equal(keeper_send(&world->keeper, &message, -1), 0);
	for (int i = 0; i < WAIT_MS / 10 && world->nheard == 0; i++)
		loop_run_once(world->loop, 10);
	assert_int_equal(world->heard[0].id, message.id);
	assert_int_equal(world->rooms, 1); /* it has not been asked for again */
}

/* Says something, and reads nothing until it is told to. */
static void say_and_stop(int channel)
{
	struct net_message message = {.type = NET_DIAL, .id = 1};

	fd_send_one(channel, &message, sizeof(message), -1);
	raise(SIGSTOP);
	while (fd_recv_one(channel, &message, sizeof(message), NULL) == 0 &&
		message.type != NET_REMOVE)
		;
	pause();
}

/* What is answered with a message is heard when there is room for that one. */
static void an_answer_has_room(void **state)
{
	struct world *world = *state;
	struct net_message message = {.type = NET_ADD};
	int status;

	start(world, say_and_stop);
	struct pollfd room = {world->keeper.io.fd, POLLOUT, 0};
	assert_true(waitpid(world->keeper.pid, &status, WUNTRACED) > 0 && WIFSTOPPED(status));
	while (poll(&room, 1, 0) == 1)
		assert_int_equal(keeper_send(&world->keeper, &message, -1), 0);
	for (int i = 0; i < 20; i++)
		loop_run_once(world->loop, 0);
	assert_int_equal(world->nheard, 0);
	kill(world->keeper.pid, SIGCONT);
	for (int i = 0; i < WAIT_MS / 10 && world->nheard == 0; i++)
		loop_run_once(world->loop, 10);
	assert_int_equal(world->heard[0].type, NET_DIAL);
	assert_int_equal(keeper_send(&world->keeper, &message, -1), 0);
}

/* One is started by a question to the name server, over UDP or TCP, or by something to send. */
static void spared_until_needed(void **state)
{
	struct world *world = *state;
	int udp[2], tcp[2];

	world->child = live;
	for (unsigned way = 0; way < 3; way++) {
		assert_int_equal(pipe2(udp, O_CLOEXEC), 0);
		assert_int_equal(pipe2(tcp, O_CLOEXEC), 0);
		keeper_spare(&world->keeper, udp[0], tcp[0]);
		assert_int_equal(loop_run_once(world->loop, 50), 0);
		assert_int_equal(world->spawned, way);
		if (way == 2)
			assert_int_equal(
				keeper_send(&world->keeper, &(struct net_message){0}, -1), -EPIPE);
		else
			assert_int_equal(write(way == 0 ? udp[1] : tcp[1], "", 1), 1);
		for (unsigned i = 0; world->started == way && i < 100; i++)
			loop_run_once(world->loop, WAIT_MS / 100);
		assert_int_equal(world->started, way + 1);
		assert_true(world->keeper.pid > 0);
		/* what has not been read, as nobody here does, wakes nobody any more */
		uint64_t before_ns = clock_now_ns();
		loop_run_once(world->loop, 50);
		assert_true(clock_now_ns() - before_ns >= 40 * NS_PER_MS);
		assert_int_equal(world->spawned, way + 1);
		keeper_stop(&world->keeper);
		for (unsigned i = 0; i < 2; i++) {
			close(udp[i]);
			close(tcp[i]);
		}
	}
}

/* Never needed: nothing is watched that may be closed now. */
static void spared_to_the_end(void **state)
{
	struct world *world = *state;

	keeper_spare(&world->keeper, -1, -1);
	assert_int_equal(loop_run_once(world->loop, 50), 0);
	keeper_stop(&world->keeper);
	loop_run_once(world->loop, 50);
	assert_int_equal(world->spawned, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(last_words_are_heard),
		TEST(quick_deaths_make_it_wait),
		TEST(what_cannot_begin_is_tried_ever_less),
		TEST(first_start_may_fail),
		TEST(the_last_one_is_not_replaced),
		TEST(nobody_waits_for_a_stopped_one),
		TEST(an_answer_has_room),
		TEST(spared_until_needed),
		TEST(spared_to_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
