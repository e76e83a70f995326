/* SPDX-License-Identifier: Apache-2.0 */
/* unit/test_witness - which signals a command has got already */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/witness.h"
#include "util/clock.h"

static bool shares_memory; /* all is tried with both */

/* A command beside the witness: a process that waits, in our group or in a session of its own. */
struct bed {
	struct loop *loop;
	struct witness witness;
	pid_t command;
	char heard[256];
};

static void on_signal(void *owner, int sig, pid_t sender, bool has_reached)
{
	struct bed *bed = owner;
	size_t used = strlen(bed->heard);

	assert_int_equal(sender, 77);
	snprintf(bed->heard + used, sizeof(bed->heard) - used, "%s%s ", strsignal(sig),
		has_reached ? "!" : "");
	loop_stop(bed->loop, 0);
}

/* Until it is in its session: what comes before is not the command's. */
static void wait_until_named(pid_t pid)
{
	char path[64], name[32] = "";

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	for (int i = 0; i < 10000 && strcmp(name, "nswrap: witness\n") != 0; i++) {
		FILE *file = fopen(path, "re");

		assert_non_null(file);
		assert_non_null(fgets(name, sizeof(name), file));
		fclose(file);
		usleep(1000);
	}
	assert_string_equal(name, "nswrap: witness\n");
}

static void open_bed(struct bed *bed, bool has_own_session)
{
	int ready[2];
	char byte = 0;

	*bed = (struct bed){.loop = loop_new(), .witness = {.on_signal = on_signal, .io.fd = -1}};
	bed->witness.owner = bed;
	assert_int_equal(pipe(ready), 0);
	bed->command = fork();
	if (bed->command == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (has_own_session)
			setsid();
		assert_int_equal(write(ready[1], &byte, 1), 1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	witness_start(&bed->witness, bed->loop, has_own_session, shares_memory);
	assert_true(bed->witness.pid > 0);
	wait_until_named(bed->witness.pid);
}

static void close_bed(struct bed *bed)
{
	witness_stop(&bed->witness);
	kill(bed->command, SIGKILL);
	waitpid(bed->command, NULL, 0);
	loop_free(bed->loop);
}

static void run(struct bed *bed, const char *heard)
{
	bed->heard[0] = '\0';
	assert_int_equal(loop_run(bed->loop), 0);
	assert_string_equal(bed->heard, heard);
}

static void test_reached_or_not(void **state)
{
	struct bed bed;

	for (int own = 0; own < 2; own++) {
		open_bed(&bed, own);
		assert_true(witness_hold(&bed.witness, SIGTERM, 77, bed.command));
		run(&bed, "Terminated ");
		/* before ours, or after it */
		for (int late = 0; late < 2; late++) {
			if (!late)
				kill(bed.witness.pid, SIGINT);
			assert_true(witness_hold(&bed.witness, SIGINT, 77, bed.command));
			if (late)
				kill(bed.witness.pid, SIGINT);
			run(&bed, "Interrupt! ");
		}
		/* and the next one is another matter; so is another signal */
		assert_true(witness_hold(&bed.witness, SIGINT, 77, bed.command));
		run(&bed, "Interrupt ");
		kill(bed.witness.pid, SIGHUP);
		assert_true(witness_hold(&bed.witness, SIGTERM, 77, bed.command));
		run(&bed, "Terminated ");
		close_bed(&bed);
	}
	(void)state;
}

/* On a busy machine it runs late: what is pending then counts; a stopped one is not waited for. */
static void test_late_witness(void **state)
{
	struct bed bed;

	(void)state;
	open_bed(&bed, false);
	for (int is_pending = 0; is_pending < 2; is_pending++) {
		kill(bed.witness.pid, SIGSTOP);
		if (is_pending)
			kill(bed.witness.pid, SIGINT);
		assert_true(witness_hold(&bed.witness, SIGINT, 77, bed.command));
		bed.heard[0] = '\0';
		for (uint64_t end = clock_now_ns() + 300 * NS_PER_MS; clock_now_ns() < end;)
			assert_int_equal(loop_run_once(bed.loop, 1), 0);
		assert_string_equal(bed.heard, "");
		kill(bed.witness.pid, SIGCONT);
		run(&bed, is_pending ? "Interrupt! " : "Interrupt ");
	}
	kill(bed.witness.pid, SIGSTOP);
	assert_true(witness_hold(&bed.witness, SIGINT, 77, bed.command));
	run(&bed, "Interrupt ");
	close_bed(&bed);
}

/* Who did not run has not waited: neither of the two did, for however long. */
static void test_late_both(void **state)
{
	struct bed bed;

	(void)state;
	open_bed(&bed, false);
	kill(bed.witness.pid, SIGSTOP);
	kill(bed.witness.pid, SIGINT);
	assert_true(witness_hold(&bed.witness, SIGINT, 77, bed.command));
	bed.heard[0] = '\0';
	while (bed.witness.questions == 0)
		assert_int_equal(loop_run_once(bed.loop, 1), 0);
	usleep(1200 * 1000);
	assert_int_equal(loop_run_once(bed.loop, 1), 0);
	assert_string_equal(bed.heard, "");
	kill(bed.witness.pid, SIGCONT);
	run(&bed, "Interrupt! ");
	close_bed(&bed);
}

static void test_what_is_not_held(void **state)
{
	struct bed bed;

	(void)state;
	open_bed(&bed, false);
	assert_false(witness_hold(&bed.witness, SIGCONT, 77, bed.command));
	assert_false(witness_hold(&bed.witness, SIGTSTP, 77, bed.command));
	assert_false(witness_hold(&bed.witness, SIGRTMIN, 77, bed.command));
	assert_false(witness_hold(&bed.witness, SIGTERM, 77, 0));
	/* one that has left the group, as shells do */
	assert_int_equal(setpgid(bed.command, bed.command), 0);
	assert_false(witness_hold(&bed.witness, SIGTERM, 77, bed.command));
	assert_int_equal(setpgid(bed.command, getpgrp()), 0);
	assert_true(witness_hold(&bed.witness, SIGTERM, 77, bed.command));
	/* without a witness all is passed on */
	pid_t pid = bed.witness.pid;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_false(witness_on_death(&bed.witness, pid + 1));
	assert_true(witness_on_death(&bed.witness, pid));
	assert_false(witness_hold(&bed.witness, SIGTERM, 77, bed.command));
	close_bed(&bed);
}

static void assert_change(pid_t pid, int sig, int options)
{
	siginfo_t info = {0};

	kill(pid, sig);
	for (int i = 0; i < 10000 && info.si_pid == 0; i++) {
		assert_int_equal(waitid(P_PID, (id_t)pid, &info, options | WNOHANG), 0);
		usleep(1000);
	}
	assert_int_equal(info.si_pid, pid);
}

/* A second thread that waits for good keeps nobody from hearing of a stop. */
static void test_a_stop_is_seen(void **state)
{
	int ready[2];
	char byte = 0;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct bed bed;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		open_bed(&bed, false);
		if (write(ready[1], &byte, 1) == 1)
			loop_run(bed.loop);
		_exit(1);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	for (int i = 0; i < 2; i++) {
		assert_change(pid, SIGSTOP, WSTOPPED);
		assert_change(pid, SIGCONT, WCONTINUED);
	}
	assert_change(pid, SIGKILL, WEXITED);
	close(ready[0]);
	close(ready[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reached_or_not),
		cmocka_unit_test(test_late_witness),
		cmocka_unit_test(test_late_both),
		cmocka_unit_test(test_what_is_not_held),
		cmocka_unit_test(test_a_stop_is_seen),
	};
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	int failed = cmocka_run_group_tests_name("by fork", tests, NULL, NULL);
	shares_memory = true;
	return failed + cmocka_run_group_tests_name("in our memory", tests, NULL, NULL);
}
