/* SPDX-License-Identifier: Apache-2.0 */
/* test_teller - an end of a tunnel that is asked how it is: under which name, and where it has none
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "control/control.h"
#include "tunnel/teller.h"
#include "util/fd.h"
#include "util/log.h"

#include "netns.h"

struct bed {
	struct loop *loop;
	struct teller teller;
	int told;
	bool has_no_memory;
};

static json_t *tell(void *owner)
{
	struct bed *bed = owner;

	bed->told++;
	return bed->has_no_memory ? NULL : json_pack("{s:s, s:i}", "state", "up", "n", bed->told);
}

static void bed_open(struct bed *bed)
{
	*bed = (struct bed){.loop = loop_new(), .teller = {.tell = tell, .owner = bed}};
}

static void bed_close(struct bed *bed)
{
	teller_close(&bed->teller);
	teller_close(&bed->teller); /* it is closed */
	loop_free(bed->loop);
}

static void settle(struct bed *bed)
{
	for (int i = 0; i < 20; i++)
		assert_int_equal(loop_run_once(bed->loop, 0), 0);
}

static int join(const char *name)
{
	struct registry registry;
	struct err err;

	assert_int_equal(registry_open(REGISTRY_TUNNEL, &registry, &err), 0);
	int sock = registry_connect(&registry, name, &err);
	registry_close(&registry);
	return sock;
}

/* What it says to @request: the answer, or NULL with @err. */
static json_t *ask(struct bed *bed, int sock, json_t *request, struct err *err)
{
	json_t *answer;

	assert_int_equal(control_send(sock, request, NULL, 0), 0);
	settle(bed);
	return control_receive(sock, "tunnel", 0, &answer, NULL, err) == 0 ? answer : NULL;
}

static json_t *expect_status(struct bed *bed, int sock, const char *name)
{
	struct err err;
	json_t *answer = ask(bed, sock, json_pack("{s:s}", "op", "status"), &err);

	assert_non_null(answer);
	assert_string_equal(json_string_value(json_object_get(answer, "name")), name);
	assert_int_equal(json_integer_value(json_object_get(answer, "pid")), getpid());
	assert_in_range(json_integer_value(json_object_get(answer, "age")), 0, 60);
	return answer;
}

static void it_says_how_it_is(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	teller_open(&bed.teller, bed.loop, "client");
	assert_int_equal(bed.told, 0);
	int sock = join("client");
	for (int i = 1; i <= 3; i++) { /* just now, each time */
		json_t *answer = expect_status(&bed, sock, "client");
		assert_string_equal(json_string_value(json_object_get(answer, "state")), "up");
		assert_int_equal(json_integer_value(json_object_get(answer, "n")), i);
		json_decref(answer);
	}
	bed.teller.started -= 10;
	json_t *answer = expect_status(&bed, sock, "client");
	assert_in_range(json_integer_value(json_object_get(answer, "age")), 10, 60);
	json_decref(answer);
	bed.has_no_memory = true;
	json_decref(expect_status(&bed, sock, "client"));
	close(sock);
	bed_close(&bed);
}

static void what_it_does_not_know_is_refused(void **state)
{
	const char *const ops[] = {"stop", "", "statuses", "Status"};
	struct bed bed;
	struct err err;

	(void)state;
	bed_open(&bed);
	teller_open(&bed.teller, bed.loop, "server");
	int sock = join("server");
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		assert_null(ask(&bed, sock, json_pack("{s:s}", "op", ops[i]), &err));
		assert_non_null(strstr(err.text, "unknown op"));
	}
	assert_null(ask(&bed, sock, json_object(), &err));
	assert_null(ask(&bed, sock, json_pack("{s:[s]}", "op", "status"), &err));
	assert_null(ask(&bed, sock, json_pack("[s]", "status"), &err));
	assert_int_equal(bed.told, 0);
	json_decref(expect_status(&bed, sock, "server")); /* and it goes on */
	close(sock);
	bed_close(&bed);
}

static void each_has_a_name_of_its_own(void **state)
{
	const char *const names[] = {"server", "server-2", "server-3"};
	struct bed beds[3];
	int sock;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		bed_open(&beds[i]);
		teller_open(&beds[i].teller, beds[i].loop, "server");
		sock = join(names[i]);
		json_decref(expect_status(&beds[i], sock, names[i]));
		close(sock);
	}
	/* the end of one is the end of its name, and of who asks it */
	sock = join(names[1]);
	json_decref(expect_status(&beds[1], sock, names[1]));
	teller_close(&beds[1].teller);
	assert_int_equal(recv(sock, &(char){0}, 1, MSG_DONTWAIT), 0);
	close(sock);
	assert_int_equal(join(names[1]), -ENOENT);
	teller_open(&beds[1].teller, beds[1].loop, "server");
	sock = join(names[1]);
	json_decref(expect_status(&beds[1], sock, names[1]));
	close(sock);
	for (size_t i = 0; i < 3; i++)
		bed_close(&beds[i]);
	assert_int_equal(join(names[0]), -ENOENT);
}

/* Opens it where it can have no name. Returns what it logs. */
static const char *open_in_vain(struct bed *bed, enum log_level level)
{
	static char said[1024];
	int log[2];

	assert_int_equal(pipe2(log, O_NONBLOCK | O_CLOEXEC), 0);
	log_set_fd(log[1]);
	log_set_level(level);
	teller_open(&bed->teller, bed->loop, "server");
	log_set_level(LOG_WARNING);
	log_set_fd(STDERR_FILENO);
	ssize_t got = read(log[0], said, sizeof(said) - 1);
	said[got > 0 ? got : 0] = '\0';
	close(log[0]);
	close(log[1]);
	return said;
}

static void it_may_have_none(void **state)
{
	struct bed bed;

	(void)state;
	for (int is_told = 0; is_told < 2; is_told++) {
		bed_open(&bed);
		assert_int_equal(mount(NULL, "/tmp", NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
		const char *said = open_in_vain(&bed, is_told ? LOG_INFO : LOG_NOTICE);
		assert_int_equal(mount(NULL, "/tmp", NULL, MS_REMOUNT, NULL), 0);
		assert_int_equal(strstr(said, "status will not show it: ") != NULL, is_told);
		settle(&bed);
		assert_int_equal(join("server"), -ENOENT);
		bed_close(&bed);
	}
}

/* Whatever it could not have, everything is given back. */
static void descriptors_are_short(void **state)
{
	struct rlimit limit, few;
	struct bed bed;
	int opened = 0;

	(void)state;
	bed_open(&bed);
	getrlimit(RLIMIT_NOFILE, &limit);
	int first = open("/dev/null", O_RDONLY | O_CLOEXEC);
	close(first);
	for (int more = 0; !opened; more++) {
		assert_true(more < 40);
		few = (struct rlimit){(rlim_t)(first + more), limit.rlim_max};
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		teller_open(&bed.teller, bed.loop, "server");
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
		opened = bed.teller.server.io.fd >= 0;
		teller_close(&bed.teller);
		int again = open("/dev/null", O_RDONLY | O_CLOEXEC);
		close(again);
		assert_int_equal(again, first);
		assert_int_equal(join("server"), -ENOENT);
	}
	bed_close(&bed);
	struct teller none = {.tell = NULL};
	teller_close(&none);
}

/* All that nswraps of this user have in common: none of it is the machine's. */
static void enter_own_places(void)
{
	netns_enter_or_skip();
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("none", "/tmp", "tmpfs", 0, "mode=1777") < 0 ||
		mount("none", "/run", "tmpfs", 0, "mode=755") < 0) {
		perror("a mount namespace");
		exit(1);
	}
	unsetenv("XDG_RUNTIME_DIR");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_may_have_none), /* the first: there is no directory yet */
		cmocka_unit_test(it_says_how_it_is),
		cmocka_unit_test(what_it_does_not_know_is_refused),
		cmocka_unit_test(each_has_a_name_of_its_own),
		cmocka_unit_test(descriptors_are_short),
	};

	enter_own_places();
	log_set_level(LOG_WARNING);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
