/* SPDX-License-Identifier: Apache-2.0 */
/* test_child - ends of children are told, with and without pidfds, and orphans are ended */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/child.h"
#include "proc/tree.h"
#include "util/fd.h"

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))
#define ROUNDS      5000 /* of a millisecond: then it is in vain */
#define CROWD       40

static bool has_no_pidfds;

/* In the place of glibc's: kernels before 5.3 have no such call. */
long syscall(long number, ...)
{
	static long (*real)(long number, ...);
	va_list args;
	long words[6];

	va_start(args, number);
	for (size_t i = 0; i < COUNT(words); i++)
		words[i] = va_arg(args, long);
	va_end(args);
	if (number == SYS_pidfd_open && has_no_pidfds) {
		errno = ENOSYS;
		return -1;
	}
	if (!real)
		real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	return real(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}

/* All children of this test, and one of them that tells what happens to it. */
struct bed {
	struct loop *loop;
	struct children all;
	struct child child;
	struct child_end end;
	int ends;
};

static void on_end(struct child *child, const struct child_end *end)
{
	struct bed *bed = container_of(child, struct bed, child);

	assert_int_equal(child->pid, 0);
	bed->end = *end;
	bed->ends++;
}

static struct bed *bed_new(void)
{
	struct bed *bed = calloc(1, sizeof(*bed));

	bed->loop = loop_new();
	children_init(&bed->all, bed->loop);
	bed->child.on_end = on_end;
	return bed;
}

static void bed_free(struct bed *bed)
{
	assert_int_equal(children_end(&bed->all, ROUNDS), 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	loop_free(bed->loop);
	free(bed);
}

#define run_until(bed, condition)                                           \
	do {                                                                \
		for (int ms_ = 0; ms_ < ROUNDS && !(condition); ms_++)      \
			assert_int_equal(loop_run_once((bed)->loop, 1), 0); \
		if (!(condition))                                           \
			fail_msg("in vain: %s", #condition);                \
	} while (0)

static void start(struct child *child, struct children *all, char **argv)
{
	struct err err;
	struct command command = {
		.argv = argv,
		.rights = COMMAND_KEEPS_ALL,
		.is_subreaper = true,
		.death_signal = SIGKILL,
	};

	getrlimit(RLIMIT_NOFILE, &command.nofile);
	assert_int_equal(child_start(child, all, &command, &err), 0);
	assert_true(child->pid > 0);
}

static void run_shell(struct bed *bed, const char *script)
{
	start(&bed->child, &bed->all, (char *[]){"sh", "-c", (char *)script, NULL});
}

static void ends_are_told(void **state)
{
	static const struct {
		char *argv[4];
		const char *said;
		bool has_failed;
	} rows[] = {
		{{"true"}, "ended with status 0", false},
		{{"sh", "-c", "exit 127"}, "ended with status 127", true},
		{{"sh", "-c", "kill -9 $$"}, "was ended by signal 9 (Killed)", true},
		{{"nswrap-no-such-program"},
			"cannot be started: nswrap-no-such-program: No such file or directory",
			true},
		{{"/etc/passwd"}, "cannot be started: /etc/passwd: Permission denied", true},
	};
	char said[256];

	has_no_pidfds = *state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct bed *bed = bed_new();

		start(&bed->child, &bed->all, (char **)rows[i].argv);
		assert_int_equal(bed->child.pidfd_io.fd < 0, has_no_pidfds);
		run_until(bed, bed->ends > 0);
		child_describe_end(&bed->end, rows[i].argv[0], said, sizeof(said));
		assert_string_equal(said, rows[i].said);
		assert_int_equal(child_has_failed(&bed->end), rows[i].has_failed);
		run_shell(bed, "exit 127"); /* it may be started again */
		run_until(bed, bed->ends > 1);
		child_describe_end(&bed->end, "sh", said, sizeof(said));
		assert_string_equal(said, "ended with status 127");
		bed_free(bed);
	}
}

/* Each end is told to the right one, once, whatever their order is. */
static void a_crowd_ends(void **state)
{
	struct bed *crowd = calloc(CROWD, sizeof(*crowd)), *bed = bed_new();
	char script[64];
	int ends = 0;

	has_no_pidfds = *state;
	for (int i = 0; i < CROWD; i++) {
		crowd[i].child.on_end = on_end;
		snprintf(script, sizeof(script), "sleep 0.0%d; exit %d", (i * 7) % 10, i + 1);
		start(&crowd[i].child, &bed->all, (char *[]){"sh", "-c", script, NULL});
	}
	while (ends < CROWD) {
		ends = 0;
		assert_int_equal(loop_run_once(bed->loop, 100), 0);
		children_reap(&bed->all); /* those that are not told yet stay as they are */
		for (int i = 0; i < CROWD; i++)
			ends += crowd[i].ends;
	}
	for (int i = 0; i < CROWD; i++) {
		assert_int_equal(crowd[i].ends, 1);
		assert_int_equal(crowd[i].end.status, i + 1);
	}
	free(crowd);
	bed_free(bed);
	has_no_pidfds = false;
}

static void what_is_left_behind_is_ended(void **state)
{
	struct bed *bed = bed_new();
	struct child other = {.on_end = on_end};
	pid_t pids[8];

	(void)state;
	/* two levels below one that ends, and another one that lives on */
	start(&other, &bed->all, (char *[]){"sleep", "1000", NULL});
	pid_t other_pid = other.pid;
	run_shell(bed, "sh -c 'sleep 1000 & sleep 1000' & exit 3");
	run_until(bed, bed->ends > 0);
	run_until(bed, children_reap(&bed->all) == 0);
	assert_int_equal(tree_children(pids, COUNT(pids)), 1);
	assert_int_equal(pids[0], other_pid);
	assert_int_equal(kill(other_pid, 0), 0);
	assert_int_equal(tree_list(getpid(), pids, COUNT(pids)), 1);
	/* who is dropped is killed, and nothing is told */
	child_drop(&other);
	assert_int_equal(other.pid, 0);
	run_until(bed, children_reap(&bed->all) == 0);
	assert_int_equal(tree_children(pids, COUNT(pids)), 0);
	bed_free(bed);
}

/* As the init of an nswrap does: it removes a file when it is told to end. */
static void what_is_left_behind_may_clean_up(void **state)
{
	struct bed *bed = bed_new();
	char path[] = "/tmp/test_child.XXXXXX", script[256];

	(void)state;
	close(mkstemp(path));
	unlink(path);
	snprintf(script, sizeof(script),
		"(trap 'rm %s; exit' TERM; : >%s; while :; do sleep 0.01; done) & "
		"until [ -e %s ]; do :; done",
		path, path, path);
	run_shell(bed, script);
	run_until(bed, bed->ends > 0);
	run_until(bed, children_reap(&bed->all) == 0);
	assert_int_equal(access(path, F_OK), -1);
	bed_free(bed);
}

/* A shell that became us by `exec` may have had children. */
static void who_was_there_before_is_left_alone(void **state)
{
	pid_t before = fork(), ended = fork(), pids[8];

	(void)state;
	if (before == 0) {
		pause();
		_exit(1);
	}
	if (ended == 0)
		_exit(0);
	struct bed *bed = bed_new();
	run_shell(bed, "sleep 1000 & exit 0");
	run_until(bed, bed->ends > 0);
	run_until(bed, children_reap(&bed->all) == 0);
	assert_int_equal(kill(before, 0), 0);
	/* one that has ended is reaped, and its number not spared any more */
	run_until(bed, children_reap(&bed->all) == 0 && bed->all.inherited.count == 1);
	assert_int_equal(bed->all.inherited.pids[0], before);
	run_shell(bed, "exec sleep 1000");
	assert_int_equal(children_end(&bed->all, ROUNDS), 0);
	assert_int_equal(bed->ends, 1);
	assert_int_equal(bed->child.pid, 0);
	assert_int_equal(tree_children(pids, COUNT(pids)), 1);
	kill(before, SIGKILL);
	assert_int_equal(waitpid(before, NULL, 0), before);
	bed_free(bed);
}

/* A shell that writes with `>&3` has that as its stdout for a moment yet. */
static void await_exec(pid_t pid, const char *name)
{
	char path[32], comm[16] = "";

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	for (int ms = 0; ms < ROUNDS && strncmp(comm, name, strlen(name)) != 0; ms++) {
		FILE *file = fopen(path, "re");

		assert_non_null(file);
		assert_non_null(fgets(comm, sizeof(comm), file));
		fclose(file);
		usleep(1000);
	}
	assert_memory_equal(comm, name, strlen(name));
}

/* What has made a session of its own and let go of its streams is left alone; the rest is not. */
static void daemons_are_left(void **state)
{
	struct bed *bed = bed_new();
	pid_t pids[2] = {0};
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	struct err err;
	const char *script =
		"setsid sh -c 'exec 3>&1 </dev/null >/dev/null 2>&1; echo $$ >&3; exec sleep 1000' & sh -c 'echo $$; exec sleep 1000' &"
		"sleep 0.1";
	struct command command = {
		.argv = (char *[]){"sh", "-c", (char *)script, NULL},
		.streams = (int[]){ends[0], ends[1], ends[1]},
		.rights = COMMAND_KEEPS_ALL,
		.is_subreaper = true,
		.new_session = true,
		.nofile = {1024, 1024},
	};
	assert_int_equal(child_start(&bed->child, &bed->all, &command, &err), 0);
	for (int i = 0; i < 2; i++) {
		char line[16] = "";

		for (size_t len = 0; !strchr(line, '\n'); len++)
			assert_int_equal(read(ends[0], line + len, 1), 1);
		pids[i] = (pid_t)strtol(line, NULL, 10);
	}
	pid_t daemon = getsid(pids[0]) == pids[0] ? pids[0] : pids[1];
	pid_t other = daemon == pids[0] ? pids[1] : pids[0];
	assert_int_equal(getsid(daemon), daemon);
	assert_int_equal(getsid(other), bed->child.pid);
	await_exec(daemon, "sleep");
	run_until(bed, bed->ends == 1);
	run_until(bed, children_reap(&bed->all) == 0);
	assert_int_equal(kill(other, 0), -1);
	assert_int_equal(kill(daemon, 0), 0);
	assert_int_equal(children_end(&bed->all, ROUNDS), 0);
	assert_int_equal(kill(daemon, 0), 0);
	/* it is reaped all the same */
	kill(daemon, SIGKILL);
	run_until(bed, children_reap(&bed->all) == 0 && kill(daemon, 0) < 0);
	close(ends[0]);
	close(ends[1]);
	bed_free(bed);
}

/* Who ends has closed its pipes before its children are ours: it is waited for. */
static void who_ends_is_no_daemon(void **state)
{
	int ends[2];
	char byte;
	struct err err;
	struct command command = {
		.argv = (char *[]){"sh", "-c", "setsid sh -c 'sleep 1000 & echo; wait' &", NULL},
		.rights = COMMAND_KEEPS_ALL,
		.is_subreaper = true,
		.new_session = true,
		.nofile = {1024, 1024},
	};

	(void)state;
	assert_int_equal(pipe(ends), 0);
	command.streams = (int[]){ends[0], ends[1], ends[1]};
	for (int i = 0; i < 100; i++) {
		struct bed *bed = bed_new();

		assert_int_equal(child_start(&bed->child, &bed->all, &command, &err), 0);
		assert_int_equal(read(ends[0], &byte, 1), 1);
		bed_free(bed);
	}
	close(ends[0]);
	close(ends[1]);
}

/* Whose session it was is known however many have been started since, as commands of lists are. */
static void sessions_are_known_to_the_end(void **state)
{
	struct bed *bed = bed_new();
	struct bed other = {.child.on_end = on_end};
	struct child *first = &other.child;
	struct err err;
	pid_t below = 0;
	char *argv[] = {"sh", "-c", "sleep 1000 </dev/null >/dev/null 2>&1 & wait", NULL};
	struct command command = {
		.argv = argv,
		.rights = COMMAND_KEEPS_ALL,
		.is_subreaper = true,
		.new_session = true,
		.nofile = {1024, 1024},
	};

	(void)state;
	assert_int_equal(child_start(first, &bed->all, &command, &err), 0);
	for (int ms = 0; ms < ROUNDS && tree_list(first->pid, &below, 1) != 1; ms++)
		usleep(1000);
	await_exec(below, "sleep");
	argv[0] = "true";
	argv[1] = NULL;
	for (int i = 0; i < CHILDREN_SESSIONS_MAX + 1; i++) {
		bed->ends = 0;
		assert_int_equal(child_start(&bed->child, &bed->all, &command, &err), 0);
		run_until(bed, bed->ends > 0);
	}
	kill(first->pid, SIGKILL);
	run_until(bed, first->pid == 0);
	run_until(bed, children_reap(&bed->all) == 0);
	assert_int_equal(kill(below, 0), -1);
	bed_free(bed);
}

/* A link whose command asks at the terminal is in our session, and we leave that when it is up. */
static void our_first_session_is_no_daemons(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	if (pid == 0) {
		setsid(); /* as a shell */
		pid_t shell = getpid();

		pid = fork();
		if (pid > 0) {
			assert_int_equal(waitpid(pid, &status, 0), pid);
			_exit(status == 0 ? 0 : 1);
		}
		struct bed *bed = bed_new();
		pid_t below = 0;

		run_shell(bed, "sleep 1000 </dev/null >/dev/null 2>&1 & wait");
		while (tree_list(bed->child.pid, &below, 1) != 1)
			usleep(1000);
		await_exec(below, "sleep");
		assert_int_equal(getsid(below), shell);
		assert_int_equal(setsid(), getpid());
		child_signal(&bed->child, SIGKILL);
		run_until(bed, bed->ends > 0);
		run_until(bed, children_reap(&bed->all) == 0);
		bool is_left = kill(below, 0) == 0;
		kill(below, SIGKILL);
		_exit(is_left ? 1 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	static int without;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(daemons_are_left),
		cmocka_unit_test(ends_are_told),
		{"ends_are_told (no pidfds)", ends_are_told, NULL, NULL, &without},
		cmocka_unit_test(a_crowd_ends),
		{"a_crowd_ends (no pidfds)", a_crowd_ends, NULL, NULL, &without},
		cmocka_unit_test(what_is_left_behind_is_ended),
		cmocka_unit_test(what_is_left_behind_may_clean_up),
		cmocka_unit_test(who_was_there_before_is_left_alone),
		cmocka_unit_test(who_ends_is_no_daemon),
		cmocka_unit_test(sessions_are_known_to_the_end),
		cmocka_unit_test(our_first_session_is_no_daemons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
