/* SPDX-License-Identifier: Apache-2.0 */
/* test_words - what a process says arrives as lines of ours, and makes nobody wait */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandbox/words.h"
#include "util/log.h"

#define HEARD_BYTES 65536

/* Let @speak use stderr as a process with these words has it; what comes out at our own stderr. */
static void hear_with(struct words words, void (*speak)(void), char heard[HEARD_BYTES])
{
	int pair[2], saved = dup(STDERR_FILENO);
	struct loop *loop = loop_new();
	struct err err;
	size_t len = 0;
	ssize_t got;

	assert_int_equal(words_open(&words, "box", loop, &err), 0);
	words_speak(&words);
	speak();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	dup2(pair[0], STDERR_FILENO);
	log_look();
	log_wait_at_most(-1); /* what is heard here must be all */
	words_close(&words);
	words_close(&words);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(pair[0]);
	while ((got = recv(pair[1], heard + len, HEARD_BYTES - 1 - len, 0)) > 0)
		len += (size_t)got;
	heard[len] = '\0';
	close(pair[1]);
	loop_free(loop);
}

static void hear(void (*speak)(void), char heard[HEARD_BYTES])
{
	hear_with((struct words){.write_fd = -1}, speak, heard);
}

static void say_lines(void)
{
	static const char raw[] = "malloc(): \033[2J corrupted\n\nnswrap: forged\rline\nunended";

	log_notice("one");
	log_debug("not at this level");
	assert_int_equal(write(STDERR_FILENO, raw, sizeof(raw) - 1), sizeof(raw) - 1);
}

static void lines_arrive(void **state)
{
	char heard[HEARD_BYTES];

	(void)state;
	hear(say_lines, heard);
	assert_string_equal(heard, "nswrap: one\n"
				   "nswrap: box: malloc(): \\x1b[2J corrupted\n"
				   "nswrap: forged\\x0dline\n"
				   "nswrap: box: unended\n");
}

static void say_trouble(void)
{
	static const char known[] = "Host key verification failed.\n", other[] = "Bye.\n",
			  same[] = "@ REMOTE HOST IDENTIFICATION HAS CHANGED! @\n";

	for (int i = 0; i < 3; i++) {
		assert_int_equal(write(STDERR_FILENO, known, sizeof(known) - 1), sizeof(known) - 1);
		assert_int_equal(write(STDERR_FILENO, same, sizeof(same) - 1), sizeof(same) - 1);
		assert_int_equal(write(STDERR_FILENO, other, sizeof(other) - 1), sizeof(other) - 1);
	}
}

static void advice_comes_once(void **state)
{
	char heard[HEARD_BYTES];

	(void)state;
	hear_with((struct words){.advises = true, .write_fd = -1}, say_trouble, heard);
	const char *first = strstr(heard, "verification failed.\n"),
		   *advice = strstr(heard, "ssh-keygen -R");
	assert_non_null(first);
	assert_true(advice > first);
	assert_null(strstr(first + 1, "verification failed"));
	assert_null(strstr(advice + 1, "ssh-keygen -R"));
	hear(say_trouble, heard);
	assert_null(strstr(heard, "ssh-keygen -R"));
}

/* Much more than a pipe has room for, and more lines than are passed on. */
static void say_much(void)
{
	for (int i = 0; i < 100000; i++)
		log_notice("number %d", i);
}

static void a_flood_waits_for_nobody(void **state)
{
	char heard[HEARD_BYTES];
	size_t lines = 0;

	(void)state;
	hear(say_much, heard);
	for (const char *at = heard; (at = strchr(at, '\n')); at++)
		lines++;
	assert_in_range(lines, LINES_PER_SECOND, LINES_PER_SECOND + 1);
	assert_non_null(strstr(heard, "nswrap: number 0\n"));
	assert_non_null(strstr(heard, "lines left out)\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_arrive),
		cmocka_unit_test(advice_comes_once),
		cmocka_unit_test(a_flood_waits_for_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
