/* SPDX-License-Identifier: Apache-2.0 */
/* test_server - clients of every kind at the socket of a name */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/control.h"
#include "control/server.h"
#include "util/clock.h"
#include "util/fd.h"

#define CLIENTS_MAX 8
#define WAIT_MS     5000

struct world {
	char parent[64];
	struct registry registry;
	struct loop *loop;
	struct server server;
	size_t asked; /* requests that reached the owner */
	int null;
};

/* "echo" gives back what came as "text", "open" a descriptor, "long" what cannot be sent. */
static json_t *on_request(struct server_client *client, json_t *request, struct err *err)
{
	struct world *world = client->server->owner;
	const char *op = json_string_value(json_object_get(request, "op"));

	world->asked++;
	assert_int_equal(client->pid, getpid());
	assert_false(client->is_marked);
	if (!op) {
		err_set(err, EINVAL, "no op");
		return NULL;
	}
	json_t *answer =
		json_pack("{s:b, s:O?}", "ok", 1, "text", json_object_get(request, "text"));
	if (strcmp(op, "open") == 0) {
		client->fds = &world->null;
		client->nfds = 1;
	} else if (strcmp(op, "long") == 0) {
		char *text = malloc(CONTROL_MESSAGE_MAX);

		memset(text, 'a', CONTROL_MESSAGE_MAX);
		json_object_set_new(answer, "more", json_stringn(text, CONTROL_MESSAGE_MAX));
		free(text);
	} else if (strcmp(op, "echo") != 0) {
		json_decref(answer);
		err_set(err, EINVAL, "no op \"%s\"", op);
		return NULL;
	}
	return answer;
}

static const struct server_rules rules = {
	.clients_max = CLIENTS_MAX,
	.strangers = "not for you",
	.on_request = on_request,
};

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	struct err err;

	strcpy(world->parent, "/tmp/test_server.XXXXXX");
	assert_non_null(mkdtemp(world->parent));
	world->loop = loop_new();
	world->null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(registry_open_in(&(struct places_roots){NULL, "/nowhere", world->parent},
				 REGISTRY_SANDBOX, &world->registry, &err),
		0);
	server_init(&world->server);
	assert_int_equal(
		registry_reserve(&world->registry, "box", NULL, &world->server.entry, &err), 0);
	assert_int_equal(server_open(&world->server, world->loop, &rules, world, &err), 0);
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;
	char command[128];

	server_close(&world->server);
	server_close(&world->server);
	loop_free(world->loop);
	registry_close(&world->registry);
	close(world->null);
	snprintf(command, sizeof(command), "rm -rf '%s'", world->parent);
	free(world);
	return system(command);
}

static int join(struct world *world)
{
	struct err err;
	int sock = registry_connect(&world->registry, "box", &err);

	if (sock < 0)
		fail_msg("%s", err.text);
	return sock;
}

static size_t count_clients(const struct world *world)
{
	size_t count = 0;

	list_each (at, &world->server.clients)
		count++;
	return count;
}

/* Rounds of the loop until nothing is left to be done at once. */
static void settle(struct world *world)
{
	for (int i = 0; i < 20; i++)
		assert_int_equal(loop_run_once(world->loop, 0), 0);
}

static bool has_ended(int sock)
{
	char discard;
	ssize_t got = recv(sock, &discard, 1, MSG_DONTWAIT | MSG_PEEK);

	return got == 0 || (got < 0 && errno == ECONNRESET);
}

/* What the server says to @text; NULL when it ends the connection. */
static json_t *say(struct world *world, int sock, const char *text, size_t len)
{
	static char answer[CONTROL_MESSAGE_MAX];

	assert_int_equal(fd_send(sock, text, len, NULL, 0), (ssize_t)len);
	settle(world);
	ssize_t got = recv(sock, answer, sizeof(answer), MSG_DONTWAIT);
	return got > 0 ? json_loadb(answer, (size_t)got, 0, NULL) : NULL;
}

static void expect_refusal(struct world *world, int sock, const char *text, const char *reason)
{
	json_t *answer = say(world, sock, text, strlen(text));

	if (!answer || json_is_true(json_object_get(answer, "ok")) ||
		!strstr(json_string_value(json_object_get(answer, "error")), reason))
		fail_msg("%s: not refused with \"%s\"", text, reason);
	json_decref(answer);
}

static void expect_echo(struct world *world, int sock)
{
	const char text[] = "{\"op\": \"echo\", \"text\": \"hello\"}";
	json_t *answer = say(world, sock, text, strlen(text));

	assert_true(json_is_true(json_object_get(answer, "ok")));
	assert_string_equal(json_string_value(json_object_get(answer, "text")), "hello");
	json_decref(answer);
}

static void answers_with_descriptors(void **state)
{
	struct world *world = *state;
	int sock = join(world), room[2];
	struct control_fds fds = {room, 2, 0};
	json_t *answer;
	struct err err;

	expect_echo(world, sock);
	control_send(sock, json_pack("{s:s}", "op", "open"), NULL, 0);
	settle(world);
	assert_int_equal(control_receive(sock, "sandbox", 0, &answer, &fds, &err), 0);
	assert_int_equal(fds.count, 1);
	assert_true(fcntl(world->null, F_GETFD) >= 0); /* it is the owner's still */
	json_decref(answer);
	close(room[0]);
	close(sock);
	settle(world);
	assert_int_equal(count_clients(world), 0);
}

static void garbage_is_refused(void **state)
{
	static const char *const rows[][2] = {
		{"x", "no JSON"},
		{"{", "no JSON"},
		{"{\"op\": \"echo\"", "no JSON"}, /* half a request, and the other half */
		{"}", "no JSON"},
		{"{\"op\": \"echo\"} {}", "no JSON"},
		{"{\"op\": \"echo\", \"op\": \"echo\"}", "no JSON"},
		{"{\"op\": \"\xff\"}", "no JSON"},
		{"[]", "no op"},
		{"{}", "no op"},
		{"{\"op\": \"gr\xc3\xbc\xc3\x9f\"}", "no op \"gr\xc3\xbc\xc3\x9f\""},
		{"{\"op\": \"long\"}", "the answer is too long"},
	};
	struct world *world = *state;
	int sock = join(world);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		expect_refusal(world, sock, rows[i][0], rows[i][1]);
	expect_echo(world, sock);
	assert_int_equal(count_clients(world), 1);
	close(sock);
}

static void what_cannot_be_a_request_ends_the_connection(void **state)
{
	struct world *world = *state;
	char *text = malloc(CONTROL_MESSAGE_MAX + 1);
	int witness = join(world), size = 4 * CONTROL_MESSAGE_MAX;

	expect_echo(world, witness);
	memset(text, ' ', CONTROL_MESSAGE_MAX + 1);
	memcpy(text, "{\"op\":\"echo\"}", 13);
	int sock = join(world);
	setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (fd_send(sock, text, CONTROL_MESSAGE_MAX + 1, NULL, 0) == CONTROL_MESSAGE_MAX + 1) {
		settle(world);
		assert_true(has_ended(sock));
	}
	close(sock);
	sock = join(world);
	assert_int_equal(fd_send(sock, "{\"op\":\"echo\"}", 13, &world->null, 1), 13);
	settle(world);
	assert_true(has_ended(sock));
	close(sock);
	sock = join(world);
	assert_int_equal(send(sock, "", 0, 0), 0); /* as the end of a connection is */
	settle(world);
	assert_true(has_ended(sock));
	close(sock);
	expect_echo(world, witness);
	assert_int_equal(count_clients(world), 1);
	close(witness);
	free(text);
}

static void who_does_not_read_is_left(void **state)
{
	const char text[] = "{\"op\": \"echo\", \"text\": \"............................\"}";
	struct world *world = *state;
	int sock = join(world), witness = join(world);
	size_t i = 0;

	while (i < 100000 && fd_send(sock, text, strlen(text), NULL, 0) > 0) {
		loop_run_once(world->loop, 0);
		i++;
	}
	assert_in_range(i, 2, 99999);
	assert_in_range(world->asked, 2, i);
	expect_echo(world, witness);
	assert_int_equal(count_clients(world), 1);
	close(sock);
	close(witness);
}

static void at_most_so_many(void **state)
{
	struct world *world = *state;
	int socks[CLIENTS_MAX + 2];

	for (size_t i = 0; i < CLIENTS_MAX + 2; i++) {
		socks[i] = join(world);
		settle(world);
		assert_int_equal(has_ended(socks[i]), i >= CLIENTS_MAX);
	}
	assert_int_equal(count_clients(world), CLIENTS_MAX);
	close(socks[3]);
	settle(world);
	close(socks[CLIENTS_MAX]);
	socks[CLIENTS_MAX] = join(world);
	expect_echo(world, socks[CLIENTS_MAX]);
	for (size_t i = 0; i < CLIENTS_MAX + 2; i++)
		if (i != 3)
			close(socks[i]);
}

/* The lowest descriptor that is free. */
static int next_fd(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	close(fd);
	return fd;
}

/* Who connects while descriptors are short waits in the kernel, and that costs no rounds. */
static void descriptors_are_short(void **state)
{
	struct world *world = *state;
	struct rlimit limit, few;
	int sock = join(world);

	getrlimit(RLIMIT_NOFILE, &limit);
	few = limit;
	few.rlim_cur = (rlim_t)next_fd();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	loop_run_once(world->loop, 0);
	uint64_t start_ns = clock_now_ns();
	int rounds = 0;
	for (; clock_now_ns() - start_ns < 300 * NS_PER_MS; rounds++)
		loop_run_once(world->loop, 300);
	setrlimit(RLIMIT_NOFILE, &limit);
	assert_in_range(rounds, 1, 20);
	assert_int_equal(count_clients(world), 0);
	assert_false(has_ended(sock));
	control_send(sock, json_pack("{s:s}", "op", "echo"), NULL, 0);
	struct pollfd answered = {.fd = sock, .events = POLLIN};
	for (int i = 0; i < WAIT_MS / 10 && poll(&answered, 1, 0) == 0; i++)
		loop_run_once(world->loop, 10);
	assert_int_equal(answered.revents, POLLIN);
	assert_int_equal(world->asked, 1);
	close(sock);
}

/* From another network namespace, as the same user: as who got around what hides the directory. */
static void strangers_are_told(void **state)
{
	struct world *world = *state;
	int status, done[2];
	char text[128] = "";

	assert_int_equal(pipe(done), 0);
	pid_t pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
			_exit(77);
		int sock = unixsock_connect(
			world->registry.places.items[0].dir_fd, "box.sock", SOCK_SEQPACKET);
		struct pollfd told = {.fd = sock, .events = POLLIN};
		poll(&told, 1, WAIT_MS);
		ssize_t got = recv(sock, text, sizeof(text) - 1, 0);
		bool is_told = got > 0 && strstr(text, "not for you");
		poll(&told, 1, WAIT_MS); /* the end may come later */
		_exit(is_told && recv(sock, text, 1, 0) == 0 ? 0 : 1);
	}
	for (int i = 0; i < WAIT_MS / 10 && waitpid(pid, &status, WNOHANG) == 0; i++)
		loop_run_once(world->loop, 10);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(count_clients(world), 0);
	close(done[0]);
	close(done[1]);
}

/* Who sees the end finds the name free. */
static void ends_all(void **state)
{
	struct world *world = *state;
	struct registry_entry again;
	int socks[3];

	for (size_t i = 0; i < 3; i++)
		socks[i] = join(world);
	settle(world);
	int late = join(world); /* not accepted any more */
	server_close(&world->server);
	for (size_t i = 0; i < 3; i++) {
		assert_true(has_ended(socks[i]));
		close(socks[i]);
	}
	assert_true(has_ended(late));
	close(late);
	settle(world);
	assert_int_equal(registry_reserve(&world->registry, "box", NULL, &again, NULL), 0);
	registry_release(&again);
}

static size_t open_fds(void)
{
	size_t count = 0;
	DIR *dir = opendir("/proc/self/fd");

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* What each client was sent and may expect: an echo, a refusal, or the end. */
static void random_clients(void **state)
{
	struct world *world = *state;
	size_t before = open_fds(), expected = 0;
	int socks[CLIENTS_MAX];

	for (size_t i = 0; i < CLIENTS_MAX; i++)
		socks[i] = -1;
	srand(7);
	for (int step = 0; step < 5000; step++) {
		int *sock = &socks[rand() % CLIENTS_MAX];

		if (*sock < 0) {
			*sock = join(world);
			continue;
		}
		switch (rand() % 6) {
		case 0:
			fd_close(sock);
			settle(world); /* its place is free before another one comes */
			break;
		case 1:
			expect_refusal(world, *sock, "{\"op\": \"echo\"", "no JSON");
			break;
		case 2:
			expect_refusal(world, *sock, "{\"op\": \"none\"}", "no op \"none\"");
			expected++;
			break;
		case 3:
			fd_send(*sock, "{\"op\": \"echo\"}", 14, &world->null, 1);
			settle(world);
			assert_true(has_ended(*sock));
			fd_close(sock);
			break;
		case 4: /* asks, and does not wait for the answer */
			fd_send(*sock, "{\"op\": \"echo\"}", 14, NULL, 0);
			fd_close(sock);
			settle(world);
			expected++;
			break;
		default:
			expect_echo(world, *sock);
			expected++;
		}
	}
	assert_int_equal(world->asked, expected);
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		fd_close(&socks[i]);
	settle(world);
	assert_int_equal(count_clients(world), 0);
	assert_int_equal(open_fds(), before);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(answers_with_descriptors),
		TEST(garbage_is_refused),
		TEST(what_cannot_be_a_request_ends_the_connection),
		TEST(who_does_not_read_is_left),
		TEST(at_most_so_many),
		TEST(descriptors_are_short),
		TEST(strangers_are_told),
		TEST(ends_all),
		TEST(random_clients),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
