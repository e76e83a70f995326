/* SPDX-License-Identifier: Apache-2.0 */
/* test_desk - hosts that ask at one terminal: in turns, each its own, and nothing hidden is shown
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mesh/manager/desk.h"
#include "util/clock.h"

#define TEXT_BYTES 8192
#define ROUND_MS   10
#define PATIENCE   2000 /* rounds */

/* The terminal's other end: who sits there. */
static int screen;

struct host {
	struct desk_asker asker;
	int tty; /* its command's end */
	char lines[TEXT_BYTES];
	unsigned waits; /* was told to wait for the foreground */
};

struct bed {
	struct loop *loop;
	struct display *display;
	struct desk desk;
	struct host hosts[2];
	char seen[TEXT_BYTES];
};

static struct display_mark row_text(void *told, size_t row, char *out, size_t cap_bytes)
{
	(void)told;
	(void)row;
	if (cap_bytes > 0)
		out[0] = '\0';
	return (struct display_mark){0};
}

static void on_line(struct desk_asker *asker, const char *text, size_t len)
{
	struct host *host = container_of(asker, struct host, asker);

	assert_true(strlen(host->lines) + len + 2 < TEXT_BYTES);
	strncat(host->lines, text, len);
	strcat(host->lines, "|");
}

static void on_background(struct desk_asker *asker)
{
	container_of(asker, struct host, asker)->waits++;
}

static void run(struct bed *bed)
{
	const size_t len = strlen(bed->seen);

	assert_int_equal(loop_run_once(bed->loop, ROUND_MS), 0);
	ssize_t got = read(screen, bed->seen + len, sizeof(bed->seen) - len - 1);
	bed->seen[len + (got > 0 ? (size_t)got : 0)] = '\0';
}

#define wait_until(bed, condition)                                    \
	do {                                                          \
		for (int i_ = 0; i_ < PATIENCE && !(condition); i_++) \
			run(bed);                                     \
		assert_true(condition);                               \
	} while (0)

static void host_hides(const struct host *host, bool hides)
{
	struct termios now;

	assert_int_equal(tcgetattr(host->tty, &now), 0);
	now.c_lflag = hides ? now.c_lflag & ~(tcflag_t)ECHO : now.c_lflag | ECHO;
	assert_int_equal(tcsetattr(host->tty, TCSANOW, &now), 0);
}

static void host_says(const struct host *host, const char *text)
{
	assert_int_equal(write(host->tty, text, strlen(text)), strlen(text));
}

/* As ssh does. */
static void host_asks(const struct host *host, const char *text)
{
	host_hides(host, true);
	host_says(host, text);
}

static void type(const char *text)
{
	assert_int_equal(write(screen, text, strlen(text)), strlen(text));
}

/* What the host's command has been typed, or "". The kernel passes it on in a while. */
static void expect_typed(const struct host *host, const char *expected)
{
	struct pollfd ready = {.fd = host->tty, .events = POLLIN};
	char text[64];

	poll(&ready, 1, *expected ? 10000 : 0);
	ssize_t got = read(host->tty, text, sizeof(text) - 1);
	text[got > 0 ? got : 0] = '\0';
	assert_string_equal(text, expected);
}

static bool has_turn(const struct host *host)
{
	return strcmp(desk_note(&host->asker), "asks at the terminal") == 0;
}

static void open_bed(struct bed *bed)
{
	static const char *const names[] = {"alpha", "beta"};

	*bed = (struct bed){.loop = loop_new()};
	assert_non_null(bed->loop);
	bed->display = display_new(bed->loop, row_text, NULL);
	assert_non_null(bed->display);
	desk_open(&bed->desk, bed->loop, bed->display);
	for (int i = 0; i < 2; i++) {
		struct host *host = &bed->hosts[i];

		host->asker = (struct desk_asker){
			.name = names[i], .on_line = on_line, .on_background = on_background};
		host->tty = desk_join(&bed->desk, &host->asker);
		if (bed->desk.io.fd < 0)
			continue;
		host->tty = fcntl(host->tty, F_DUPFD_CLOEXEC, 3);
		assert_true(host->tty > 0);
		assert_int_equal(fcntl(host->tty, F_SETFL, O_NONBLOCK), 0);
	}
}

static void close_bed(struct bed *bed)
{
	for (int i = 0; i < 2; i++) {
		desk_leave(&bed->hosts[i].asker);
		desk_leave(&bed->hosts[i].asker);
		if (bed->hosts[i].tty > 0)
			close(bed->hosts[i].tty);
	}
	desk_close(&bed->desk);
	desk_close(&bed->desk);
	display_free(bed->display);
	loop_free(bed->loop);
}

static tcflag_t echoes(void)
{
	struct termios now;

	assert_int_equal(tcgetattr(screen, &now), 0);
	return now.c_lflag & ECHO;
}

static void two_ask_in_turns(void **state)
{
	struct bed bed;

	(void)state;
	open_bed(&bed);
	struct host *a = &bed.hosts[0], *b = &bed.hosts[1];
	host_asks(a, "Password: ");
	wait_until(&bed, has_turn(a));
	host_asks(b, "Passphrase: ");
	wait_until(&bed, strstr(desk_note(&b->asker), "its turn"));
	wait_until(&bed, strstr(bed.seen, "alpha") && strstr(bed.seen, "Password: "));
	assert_null(strstr(bed.seen, "Passphrase"));
	assert_false(echoes());
	type("lemon\r");
	wait_until(&bed, has_turn(b));
	expect_typed(a, "lemon\n");
	expect_typed(b, "");
	host_hides(a, false);
	wait_until(&bed, strstr(bed.seen, "beta") && strstr(bed.seen, "Passphrase: "));
	type("mint\r");
	/* who has its answer asks nothing any more */
	wait_until(&bed, strstr(bed.seen, "Passphrase: ") && bed.desk.has_answered);
	host_hides(b, false);
	wait_until(&bed, !bed.desk.turn);
	expect_typed(b, "mint\n");
	expect_typed(a, "");
	assert_null(strstr(bed.seen, "lemon"));
	assert_null(strstr(bed.seen, "mint"));
	assert_true(echoes());
	close_bed(&bed);
}

/* It was not meant for who asks now. */
static void what_was_typed_before_is_nobodys(void **state)
{
	struct bed bed;

	(void)state;
	open_bed(&bed);
	type("make\n");
	host_asks(&bed.hosts[0], "Password: ");
	wait_until(&bed, has_turn(&bed.hosts[0]));
	type("lemon\r");
	wait_until(&bed, bed.desk.has_answered);
	expect_typed(&bed.hosts[0], "lemon\n");
	close_bed(&bed);
}

static void lines_are_no_questions(void **state)
{
	struct bed bed;

	(void)state;
	open_bed(&bed);
	struct host *a = &bed.hosts[0];
	a->asker.is_ready = bed.hosts[1].asker.is_ready = true;
	host_says(a, "one\ntwo\r\n");
	wait_until(&bed, strcmp(a->lines, "one|two|") == 0);
	assert_string_equal(desk_note(&a->asker), "");
	assert_null(bed.desk.turn);
	/* one that is begun is, also when nothing is hidden; it cannot leave its place */
	host_says(a, "Continue \033[2J(yes/no)? ");
	wait_until(&bed, has_turn(a) && strstr(bed.seen, "(yes/no)? "));
	assert_null(strstr(bed.seen, "\033[2J"));
	type("yes\r");
	wait_until(&bed, strstr(a->lines, "(yes/no)? yes|"));
	expect_typed(a, "yes\n");
	/* on its stderr, one that starts may ask */
	assert_false(desk_say(&a->asker, "Enter PIN: ", 11));
	bed.hosts[1].asker.is_ready = false;
	assert_true(desk_say(&bed.hosts[1].asker, "Enter PIN: ", 11));
	wait_until(&bed, bed.desk.turn == &bed.hosts[1].asker && strstr(bed.seen, "Enter PIN: "));
	close_bed(&bed);
}

/* Nobody is asked there, and the settings are those of who is in the foreground. */
static void in_the_background_they_wait(void **state)
{
	struct bed bed;

	(void)state;
	open_bed(&bed);
	struct host *a = &bed.hosts[0];
	pid_t other = fork();
	if (other == 0) {
		setpgid(0, 0);
		for (;;)
			pause();
	}
	setpgid(other, other);
	assert_int_equal(tcsetpgrp(bed.desk.io.fd, other), 0);
	host_asks(a, "Password: ");
	wait_until(&bed, a->waits == 1);
	assert_string_equal(desk_note(&a->asker), "waits for the terminal");
	assert_true(echoes());
	for (int i = 0; i < 30; i++)
		run(&bed);
	assert_int_equal(a->waits, 1);
	assert_null(bed.desk.turn);
	assert_int_equal(tcsetpgrp(bed.desk.io.fd, getpgrp()), 0);
	wait_until(&bed, has_turn(a));
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	/* Ctrl-Z: it is as it was, and asks again afterwards */
	desk_suspend(&bed.desk);
	assert_true(echoes());
	desk_resume(&bed.desk);
	wait_until(&bed, has_turn(a));
	close_bed(&bed);
	assert_true(echoes());
}

static void without_a_terminal(void **state)
{
	struct bed bed;

	(void)state;
	open_bed(&bed);
	assert_int_equal(bed.hosts[0].tty, 0);
	assert_false(desk_say(&bed.hosts[0].asker, "PIN: ", 5));
	assert_string_equal(desk_note(&bed.hosts[0].asker), "");
	assert_int_equal(desk_hand_over(&bed.hosts[0].asker), -1);
	close_bed(&bed);
}

/* A session of its own, with a terminal if it has one. */
static int run_in_session(bool has_terminal)
{
	const struct CMUnitTest with[] = {
		cmocka_unit_test(two_ask_in_turns),
		cmocka_unit_test(what_was_typed_before_is_nobodys),
		cmocka_unit_test(lines_are_no_questions),
		cmocka_unit_test(in_the_background_they_wait),
	};
	const struct CMUnitTest without[] = {cmocka_unit_test(without_a_terminal)};
	int status;

	pid_t pid = fork();
	if (pid == 0) {
		setsid();
		signal(SIGTTOU, SIG_IGN); /* as the manager does */
		signal(SIGTTIN, SIG_IGN);
		if (!has_terminal)
			exit(cmocka_run_group_tests_name("without", without, NULL, NULL));
		screen = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
		if (screen < 0 || grantpt(screen) < 0 || unlockpt(screen) < 0 ||
			open(ptsname(screen), O_RDWR | O_CLOEXEC) < 0)
			exit(1);
		exit(cmocka_run_group_tests_name("with", with, NULL, NULL));
	}
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(void)
{
	return run_in_session(false) | run_in_session(true);
}
