/* SPDX-License-Identifier: Apache-2.0 */
/* test_pty - a terminal for a command: it is its controlling one, hides, and is hung up */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/command.h"
#include "proc/pty.h"
#include "util/fd.h"

#define TEXT_BYTES 256

struct bed {
	struct pty pty;
	struct loop *loop;
	char text[TEXT_BYTES];
};

static void on_bytes(struct pty *pty, const char *bytes, size_t len)
{
	struct bed *bed = (struct bed *)pty;

	assert_true(strlen(bed->text) + len < TEXT_BYTES);
	strncat(bed->text, bytes, len);
}

static void run_until(struct bed *bed, const char *text)
{
	for (int i = 0; i < 1000 && !strstr(bed->text, text); i++)
		assert_int_equal(loop_run_once(bed->loop, 10), 0);
	assert_non_null(strstr(bed->text, text));
}

static void asked(void **state)
{
	static const char *const script =
		"stty -echo </dev/tty; printf 'Password: ' >/dev/tty; read x </dev/tty;"
		"stty echo </dev/tty; printf \"=$x=\" >/dev/tty; read y </dev/tty; sleep 1000";
	struct bed bed = {.pty.on_bytes = on_bytes, .loop = loop_new()};
	const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct command command = {
		.argv = (char *[]){"sh", "-c", (char *)script, NULL},
		.streams = (int[]){null, null, null},
		.rights = COMMAND_KEEPS_ALL,
		.new_session = true,
		.nofile = {1024, 1024},
	};
	_cleanup_fd_ int report = -1;
	struct err err;
	int status;

	(void)state;
	assert_false(pty_hides(&bed.pty));
	pty_close(&bed.pty);
	assert_int_equal(pty_open(&bed.pty, bed.loop, null), 0);
	command.terminal = bed.pty.slave;
	pid_t pid = command_start(&command, &report, &err);
	assert_true(pid > 0);
	assert_int_equal(command_hear(report, &err), COMMAND_OK);
	run_until(&bed, "Password: ");
	assert_true(pty_hides(&bed.pty));
	pty_type(&bed.pty, "secret\r", 7);
	run_until(&bed, "=secret=");
	assert_string_equal(bed.text, "Password: =secret=");
	assert_false(pty_hides(&bed.pty));
	pty_type(&bed.pty, "seen\r", 5);
	run_until(&bed, "seen\r\n");
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	pty_close(&bed.pty);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGHUP);
	pty_close(&bed.pty);
	loop_free(bed.loop);
	close(null);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(asked)};

	signal(SIGHUP, SIG_DFL); /* as it is not for what nohup(1) runs */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
