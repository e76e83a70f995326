/* SPDX-License-Identifier: Apache-2.0 */
/* test_command - programs are started as they are asked to be, and failures say which step it was
 */
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

#include "proc/command.h"
#include "util/fd.h"

#define TEXT_BYTES 4096

static struct rlimit nofile;

static void shell(const char *script, char *argv[4])
{
	argv[0] = "sh";
	argv[1] = "-c";
	argv[2] = (char *)script;
	argv[3] = NULL;
}

/* Spawn @command with its stdout to us; what it wrote, and its exit status. */
static int output_of(struct command *command, char text[TEXT_BYTES])
{
	enum command_failure failure;
	struct err err;
	int ends[2], status;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	command->streams = (int[]){STDIN_FILENO, ends[1], STDERR_FILENO};
	command->rights = COMMAND_KEEPS_ALL;
	command->nofile = nofile;
	pid_t pid = command_spawn(command, &failure, &err);
	assert_true(pid > 0);
	assert_int_equal(failure, COMMAND_OK);
	close(ends[1]);
	ssize_t got = fd_read_all(ends[0], text, TEXT_BYTES - 1);
	assert_true(got >= 0);
	text[got] = '\0';
	close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status);
}

static void set_up_as_asked(void **state)
{
	char *env[] = {"PATH=/bin:/usr/bin", "WORD=from the environment", NULL}, *argv[4];
	char text[TEXT_BYTES], expected[TEXT_BYTES];
	struct command command = {.argv = argv, .env = env, .chdir = "/"};

	(void)state;
	shell("echo $WORD; pwd; exit 7", argv);
	assert_int_equal(output_of(&command, text), 7);
	assert_string_equal(text, "from the environment\n/\n");

	/* only the kept descriptor is there beside its streams and that of the list itself */
	int kept = open("/dev/null", O_RDONLY | O_CLOEXEC), other = open("/dev/null", O_RDONLY);
	command.keep_fds = &kept;
	command.nkeep_fds = 1;
	shell("cd /proc/self/fd; for fd in *; do [ -e $fd ] && echo $fd; done", argv);
	output_of(&command, text);
	snprintf(expected, sizeof(expected), "\n%d\n", kept);
	assert_non_null(strstr(text, expected));
	snprintf(expected, sizeof(expected), "\n%d\n", other);
	assert_null(strstr(text, expected));
	close(kept);
	close(other);

	command.new_session = true;
	shell("ps -o sid= -p $$ | tr -d ' '; echo $$", argv);
	output_of(&command, text);
	char *second = strchr(text, '\n') + 1;
	assert_int_equal(atoi(text), atoi(second));
}

static int say_seven(void *told)
{
	return write(STDOUT_FILENO, told, strlen(told)) > 0 ? 7 : 1;
}

static void its_own_pid(void **state)
{
	char variable[sizeof("OWN=") + COMMAND_PID_BYTES] = "OWN=", text[TEXT_BYTES];
	char *env[] = {"PATH=/bin:/usr/bin", variable, NULL}, *pids[] = {variable, NULL}, *argv[4];
	struct command command = {.argv = argv, .env = env, .pid_variables = pids};

	(void)state;
	shell("[ $OWN = $$ ]", argv);
	assert_int_equal(output_of(&command, text), 0);
	assert_string_equal(variable, "OWN="); /* of the child alone */
}

/* What is closed for programs that are given no streams (cmd_begin) is there for those that are. */
static void a_stream_in_its_place(void **state)
{
	char *argv[4], text[TEXT_BYTES];
	struct command command = {.argv = argv};

	(void)state;
	shell("[ -e /proc/self/fd/2 ]", argv);
	assert_int_equal(fcntl(STDERR_FILENO, F_SETFD, FD_CLOEXEC), 0);
	assert_int_equal(output_of(&command, text), 0);
	assert_int_equal(fcntl(STDERR_FILENO, F_SETFD, 0), 0);
}

static void a_function_in_its_place(void **state)
{
	char text[TEXT_BYTES];
	struct command command = {.run = say_seven, .told = "here"};

	(void)state;
	assert_int_equal(output_of(&command, text), 7);
	assert_string_equal(text, "here");
}

static void no_rights(void **state)
{
	char *argv[4], text[TEXT_BYTES] = "";
	struct command command = {.argv = argv, .nofile = nofile};
	enum command_failure failure;
	struct err err;
	int ends[2], status;

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	command.streams = (int[]){STDIN_FILENO, ends[1], STDERR_FILENO};
	shell("grep -E '^(CapEff|CapPrm|CapInh|CapAmb|NoNewPrivs)' /proc/self/status", argv);
	pid_t pid = command_spawn(&command, &failure, &err);
	close(ends[1]);
	assert_true(fd_read_all(ends[0], text, TEXT_BYTES - 1) > 0);
	close(ends[0]);
	waitpid(pid, &status, 0);
	assert_non_null(strstr(text, "CapEff:\t0000000000000000\n"));
	assert_non_null(strstr(text, "CapPrm:\t0000000000000000\n"));
	assert_non_null(strstr(text, "NoNewPrivs:\t1\n"));
}

static void failures_are_told(void **state)
{
	static const struct {
		char *program;
		const char *chdir;
		int nstreams;
		enum command_failure failure;
		int code;
		const char *text;
	} rows[] = {
		{"nswrap-no-such-program", NULL, 0, COMMAND_EXEC_FAILED, ENOENT,
			"cannot execute nswrap-no-such-program: No such file or directory"},
		{"/etc/passwd", NULL, 0, COMMAND_EXEC_FAILED, EACCES,
			"cannot execute /etc/passwd: Permission denied"},
		{"true", "/nowhere", 0, COMMAND_SETUP_FAILED, ENOENT,
			"cannot change to directory /nowhere: No such file or directory"},
		{"true", NULL, 3, COMMAND_SETUP_FAILED, EBADF,
			"cannot set the streams of the command: Bad file descriptor"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *argv[] = {rows[i].program, NULL};
		int none[3] = {-1, -1, -1}, report;
		struct command command = {
			.argv = argv,
			.chdir = rows[i].chdir,
			.streams = rows[i].nstreams ? none : NULL,
			.rights = COMMAND_KEEPS_ALL,
			.nofile = nofile,
		};
		enum command_failure failure;
		struct err err = {0};

		assert_int_equal(command_spawn(&command, &failure, &err), -rows[i].code);
		assert_int_equal(failure, rows[i].failure);
		assert_string_equal(err.text, rows[i].text);
		assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* it is reaped */
		/* later, without waiting */
		err = (struct err){0};
		pid_t pid = command_start(&command, &report, &err);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		assert_int_equal(command_hear(report, &err), rows[i].failure);
		assert_int_equal(err.code, rows[i].code);
		close(report);
	}
	assert_int_equal(command_failure_status(COMMAND_SETUP_FAILED, ENOENT), 125);
	assert_int_equal(command_failure_status(COMMAND_EXEC_FAILED, EACCES), 126);
	assert_int_equal(command_failure_status(COMMAND_EXEC_FAILED, ENOENT), 127);
}

/* As with a memory of its own, and this process is left as it was. */
static void in_our_memory(void **state)
{
	char *env[] = {"PATH=/bin:/usr/bin", "WORD=from the environment", NULL}, *argv[4];
	char text[TEXT_BYTES];
	struct command command = {.argv = argv, .env = env, .chdir = "/", .shares_memory = true};
	char **before = environ, *none[] = {"nswrap-no-such-program", NULL};
	enum command_failure failure;
	struct err err;

	(void)state;
	shell("echo $WORD; pwd; exit 7", argv);
	assert_int_equal(output_of(&command, text), 7);
	assert_string_equal(text, "from the environment\n/\n");
	assert_ptr_equal(environ, before);
	assert_string_not_equal(getcwd(text, sizeof(text)), "/");
	command.argv = none;
	assert_int_equal(command_spawn(&command, &failure, &err), -ENOENT);
	assert_int_equal(failure, COMMAND_EXEC_FAILED);
	assert_ptr_equal(environ, before);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

/* execvp(3) puts all of them on the stack once more. */
static void many_words_for_a_script(void **state)
{
	const size_t count = 150000;
	char path[] = "/tmp/nswrap-test-XXXXXX", text[TEXT_BYTES];
	char **argv = calloc(count + 2, sizeof(*argv));
	struct command command = {.argv = argv, .shares_memory = true};
	int fd = mkostemp(path, O_CLOEXEC);

	(void)state;
	assert_non_null(argv);
	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, "echo $#\n", 8), 0);
	assert_int_equal(fchmod(fd, 0700), 0);
	close(fd);
	argv[0] = path;
	for (size_t i = 1; i <= count; i++)
		argv[i] = "x";
	assert_int_equal(output_of(&command, text), 0);
	assert_string_equal(text, "150000\n");
	unlink(path);
	free(argv);
}

/* One that dies with its starter: a process between us and it is killed. */
static void dies_with_its_starter(void **state)
{
	int ends[2];
	char byte;

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid_t starter = fork();
	if (starter == 0) {
		char *argv[] = {"cat", NULL};
		struct command command = {
			.argv = argv,
			.rights = COMMAND_KEEPS_ALL,
			.death_signal = SIGKILL,
			.nofile = nofile,
		};
		enum command_failure failure;
		struct err err;
		int idle[2];

		if (pipe2(idle, O_CLOEXEC) < 0) /* its stdin, which never ends by itself */
			_exit(1);
		fcntl(idle[1], F_SETFD, 0);
		command.streams = (int[]){idle[0], STDOUT_FILENO, STDERR_FILENO};
		command.keep_fds = (int[]){ends[1], idle[1]};
		command.nkeep_fds = 2;
		_exit(command_spawn(&command, &failure, &err) > 0 ? 0 : 1);
	}
	close(ends[1]);
	assert_int_equal(read(ends[0], &byte, 1), 0); /* everybody who held it is gone */
	close(ends[0]);
	waitpid(starter, NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_up_as_asked),
		cmocka_unit_test(its_own_pid),
		cmocka_unit_test(a_stream_in_its_place),
		cmocka_unit_test(a_function_in_its_place),
		cmocka_unit_test(no_rights),
		cmocka_unit_test(failures_are_told),
		cmocka_unit_test(in_our_memory),
		cmocka_unit_test(many_words_for_a_script),
		cmocka_unit_test(dies_with_its_starter),
	};

	getrlimit(RLIMIT_NOFILE, &nofile);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
