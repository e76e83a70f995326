/* SPDX-License-Identifier: Apache-2.0 */
/* test_installer - what is asked of a shell while nswrap-agent is brought to it, and when that ends
 */
#include "mesh/manager/installer.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock_ahead.h"
#include "util/fd.h"

#define LEN   (40 * PARCEL_CHUNK_BYTES + 5) /* more than may be under way */
#define AHEAD 16                            /* chunks */

struct bed {
	struct loop *loop;
	struct installer installer;
	int shell[2], answers[2]; /* the shell reads and writes the second ones */
	char *files[2];
	char path[64];
	char said[8 << 20]; /* to the shell */
	size_t nsaid;
	char text[4096];
	size_t ntext;
	char why[600], told[200];
	unsigned done, failed, progress;
	const char *prompt; /* in front of each answer */
	bool babbles;       /* for each line that is heard the shell says another one */
	unsigned nlines;
};

static void on_text(void *owner, const char *text, size_t len)
{
	struct bed *bed = owner;

	assert_true(bed->ntext + len < sizeof(bed->text));
	memcpy(bed->text + bed->ntext, text, len);
	bed->ntext += len;
	if (!bed->babbles || text[len - 1] != '\n')
		return;
	bed->ntext = 0;
	assert_true(++bed->nlines < 1000);
	assert_int_equal(write(bed->answers[1], "y\n", 2), 2);
}

static void on_progress(void *owner, const char *text)
{
	struct bed *bed = owner;

	bed->progress++;
	snprintf(bed->told, sizeof(bed->told), "%s", text);
}

static void on_done(void *owner)
{
	((struct bed *)owner)->done++;
}

static void on_failed(void *owner, const char *why)
{
	struct bed *bed = owner;

	bed->failed++;
	snprintf(bed->why, sizeof(bed->why), "%s", why ? why : "its end");
}

static const struct installer_ops ops = {on_text, on_progress, on_done, on_failed};

/* A program for x86_64 as far as anybody looks at it (elf(5)), and bytes of all kinds. */
static unsigned char byte_at(size_t i)
{
	static const unsigned char head[20] = "\177ELF\0\0\0\0\0\0\0\0\0\0\0\0\0\0\76";

	return (unsigned char)(i < sizeof(head) ? head[i] : i * 7);
}

static struct bed *bed_new(void)
{
	struct bed *bed = calloc(1, sizeof(*bed));
	unsigned char *bytes = malloc(LEN);

	assert_true(bed && bytes);
	for (size_t i = 0; i < LEN; i++)
		bytes[i] = byte_at(i);
	strcpy(bed->path, "/tmp/test_installer.XXXXXX");
	int fd = mkstemp(bed->path);
	assert_int_equal(write(fd, bytes, LEN), LEN);
	close(fd);
	free(bytes);
	bed->loop = loop_new();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, bed->shell), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, bed->answers), 0);
	bed->files[0] = bed->path;
	bed->installer = (struct installer){
		.ops = &ops, .owner = bed, .loop = bed->loop, .files = bed->files};
	assert_int_equal(installer_begin(&bed->installer, bed->answers[0], bed->shell[0]), 0);
	return bed;
}

static void bed_free(struct bed *bed)
{
	installer_end(&bed->installer);
	for (int i = 0; i < 2; i++) {
		close(bed->shell[i]);
		close(bed->answers[i]);
	}
	loop_free(bed->loop);
	unlink(bed->path);
	free(bed);
}

/* Until nothing more is said to the shell. */
static void hear(struct bed *bed)
{
	ssize_t len;

	do {
		loop_run_once(bed->loop, 5);
		len = recv(bed->shell[1], bed->said + bed->nsaid,
			sizeof(bed->said) - bed->nsaid - 1, MSG_DONTWAIT);
		bed->nsaid += len > 0 ? (size_t)len : 0;
	} while (len > 0);
}

/* The shell says a line of ours; then it hears what comes of it. */
static void answer(struct bed *bed, const char *words)
{
	char line[1024];
	int len = snprintf(line, sizeof(line), "%s%s %s\n", bed->prompt ? bed->prompt : "",
		bed->installer.nonce, words);

	bed->nsaid = 0;
	assert_int_equal(write(bed->answers[1], line, (size_t)len), len);
	hear(bed);
	bed->said[bed->nsaid] = '\0';
}

static bool says(const struct bed *bed, const char *words)
{
	return strstr(bed->said, words) != NULL;
}

/* As printf has the words of "p '...'": the bytes to @out. Returns how many. */
static size_t read_words(const char *text, unsigned char *out)
{
	size_t n = 0;

	for (const char *at = text; (at = strstr(at, "p '")); at++) {
		for (at += 3; *at != '\'' && *at != '\0'; at++)
			if (*at == '\\') {
				out[n++] = (unsigned char)((at[1] - '0') << 6 | (at[2] - '0') << 3 |
							   (at[3] - '0'));
				at += 3;
			} else {
				out[n++] = (unsigned char)*at;
			}
	}
	return n;
}

static void bring(const char *prompt, const char *text)
{
	struct bed *bed = bed_new();
	unsigned char *got = malloc(LEN + 1);
	size_t n = 0;

	bed->prompt = prompt;
	hear(bed);
	assert_true(says(bed, "uname -m"));
	assert_int_equal(write(bed->answers[1], "Welcome\n", 8), 8);
	answer(bed, "machine x86_64");
	assert_true(says(bed, "agent --automated"));
	answer(bed, "absent");
	assert_true(says(bed, " ready"));
	answer(bed, "ready");
	for (size_t told = 0; told < LEN;) {
		n += read_words(bed->said, got + n);
		/* not more than so much ahead of what has come */
		assert_in_range(n, told + 1, told + (AHEAD + 1) * PARCEL_CHUNK_BYTES);
		for (size_t i = told; i < n; i++)
			assert_int_equal(got[i], byte_at(i));
		char words[32];
		snprintf(words, sizeof(words), "got %zu", told = n);
		answer(bed, words);
	}
	assert_int_equal(n, LEN);
	assert_in_range(bed->progress, 2, 4);
	assert_non_null(strstr(bed->told, "installing: 100 %"));
	assert_true(says(bed, "sha256sum"));
	/* one command: what a shell has not read is the agent's */
	assert_true(bed->said[0] == '{');
	assert_int_equal(strcmp(bed->said + bed->nsaid - 4, "; }\n"), 0);
	answer(bed, "start");
	assert_int_equal(bed->done, 1);
	assert_int_equal(bed->failed, 0);
	bed->text[bed->ntext] = '\0';
	assert_string_equal(bed->text, text);
	free(got);
	bed_free(bed);
}

static void test_all_of_it(void **state)
{
	(void)state;
	bring(NULL, "Welcome\n");
	/* a title that is set, a prompt: said once */
	bring("\033]0;bare\a$ ", "Welcome\n\033]0;bare\a$ \n");
}

/* Wherever what there is room for of a line ends. */
static void test_a_banner_without_an_end(void **state)
{
	char banner[600];

	(void)state;
	for (size_t len = 470; len < 530; len++) {
		struct bed *bed = bed_new();

		memset(banner, 'x', len);
		banner[len] = '\0';
		bed->prompt = banner;
		answer(bed, "machine x86_64");
		assert_true(says(bed, "agent --automated"));
		assert_in_range(bed->ntext, len, len + 1);
		bed_free(bed);
	}
}

static void test_it_is_there(void **state)
{
	struct bed *bed = bed_new();

	(void)state;
	answer(bed, "machine x86_64");
	/* nothing of what follows is ours */
	assert_int_equal(write(bed->answers[1], "", 0), 0);
	answer(bed, "start");
	assert_int_equal(bed->done, 1);
	assert_int_equal(bed->nsaid, 0);
	bed_free(bed);
}

static void fails(struct bed *bed, const char *words)
{
	assert_int_equal(bed->failed, 1);
	assert_int_equal(bed->done, 0);
	if (!strstr(bed->why, words))
		fail_msg("%s", bed->why);
	bed_free(bed);
}

static void test_what_fails(void **state)
{
	struct bed *bed = bed_new();

	(void)state;
	answer(bed, "machine x86_64");
	answer(bed, "failed there is no room");
	fails(bed, "cannot install nswrap-agent: there is no room");
	bed = bed_new();
	answer(bed, "machine no/machine");
	fails(bed, "does not say what kind of machine");
	/* an echo of what was sent, behind a prompt */
	bed = bed_new();
	hear(bed);
	assert_int_equal(write(bed->answers[1], "$ ", 2), 2);
	assert_true(write(bed->answers[1], bed->said, bed->nsaid) > 0);
	hear(bed);
	fails(bed, "without -t");
	bed = bed_new();
	close(bed->answers[1]);
	bed->answers[1] = -1;
	hear(bed);
	fails(bed, "its end");
	bed = bed_new();
	hear(bed);
	clock_ahead_ns += 601 * NS_PER_S;
	hear(bed);
	fails(bed, "does not answer");
}

/* It is said once, of what has read; somebody may be typing a password before it does. */
static void test_what_reads_and_does_not_answer(void **state)
{
	struct bed *bed = bed_new();

	(void)state;
	for (int i = 0; i < 3; i++) {
		clock_ahead_ns += 11 * NS_PER_S;
		loop_run_once(bed->loop, 5);
	}
	assert_int_equal(bed->progress, 0);
	hear(bed);
	for (int i = 0; i < 3; i++) {
		clock_ahead_ns += 11 * NS_PER_S;
		hear(bed);
		assert_int_equal(bed->progress, 1);
	}
	assert_non_null(strstr(bed->told, "has read what was sent and not answered"));
	assert_int_equal(bed->failed, 0);
	/* it was slow */
	answer(bed, "machine x86_64");
	answer(bed, "start");
	assert_int_equal(bed->done, 1);
	bed_free(bed);
}

/* Each round comes to its end, so that others have their turns. */
static void test_it_never_stops_talking(void **state)
{
	struct bed *bed = bed_new();

	(void)state;
	hear(bed);
	bed->babbles = true;
	assert_int_equal(write(bed->answers[1], "y\n", 2), 2);
	for (int round = 0; round < 10; round++)
		loop_run_once(bed->loop, 5);
	assert_int_equal(bed->nlines, 10);
	assert_int_equal(bed->failed, 0);
	bed_free(bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_of_it),
		cmocka_unit_test(test_a_banner_without_an_end),
		cmocka_unit_test(test_it_is_there),
		cmocka_unit_test(test_what_fails),
		cmocka_unit_test(test_what_reads_and_does_not_answer),
		cmocka_unit_test(test_it_never_stops_talking),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
