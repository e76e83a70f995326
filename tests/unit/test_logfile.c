/* SPDX-License-Identifier: Apache-2.0 */
/* test_logfile - logs that turn, are full, are read while they are written */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandbox/logfile.h"
#include "util/fd.h"

struct bed {
	char place[64];
	char path[PATH_MAX];
	struct logfile log;
	struct err err;
};

static int begin(struct bed *bed, struct logfile *log)
{
	return logfile_create(bed->place, "web", log, bed->path, &bed->err);
}

static int set_up(void **state)
{
	struct bed *bed = calloc(1, sizeof(*bed));

	strcpy(bed->place, "/tmp/test_logfile.XXXXXX");
	assert_non_null(mkdtemp(bed->place));
	assert_int_equal(begin(bed, &bed->log), 0);
	*state = bed;
	return 0;
}

static int tear_down(void **state)
{
	struct bed *bed = *state;
	char command[128];

	logfile_close(&bed->log);
	snprintf(command, sizeof(command), "rm -r '%s'", bed->place);
	int result = system(command);
	free(bed);
	return result;
}

/* What stands in the file @name of it, at most 64 KiB of that. */
static const char *content(struct bed *bed, const char *name)
{
	static char text[65536];
	_cleanup_fd_ int fd = openat(bed->log.dir_fd, name, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : fd_read_all(fd, text, sizeof(text) - 1);

	assert_true(len >= 0);
	text[len] = '\0';
	return text;
}

static void say(struct bed *bed, const char *text)
{
	logfile_write(&bed->log, text, strlen(text));
}

static void for_the_user_alone(void **state)
{
	struct bed *bed = *state;
	struct stat info;

	assert_int_equal(fstat(bed->log.fd, &info), 0);
	assert_int_equal(info.st_mode & 0777, 0600);
	assert_int_equal(info.st_size, 0);
	assert_int_equal(fstat(bed->log.dir_fd, &info), 0);
	assert_int_equal(info.st_mode & 0777, 0700);
	/* a place that others can write to is none */
	assert_int_equal(chmod(bed->place, 0777), 0);
	struct logfile other;
	assert_int_equal(begin(bed, &other), -EPERM);
	assert_int_equal(chmod(bed->place, 0700), 0);
}

static void notes_have_lines_of_their_own(void **state)
{
	struct bed *bed = *state;

	logfile_note(&bed->log, "one");
	say(bed, "a line\nhalf");
	logfile_note(&bed->log, "%s", "two");
	assert_string_equal(content(bed, "log"), "nswrap: one\na line\nhalf\nnswrap: two\n");
}

static void one_writer(void **state)
{
	struct bed *bed = *state;
	struct logfile other;

	assert_int_equal(begin(bed, &other), -EAGAIN);
	assert_true(other.dir_fd < 0 && other.fd < 0);
}

/* The next one of the name has a directory of its own; who reads the old one sees its end. */
static void the_next_one(void **state)
{
	struct bed *bed = *state;
	int old, now;

	bed->path[strlen(bed->path) - strlen("/log")] = '\0';
	_cleanup_fd_ int reader = logfile_open(bed->path);
	assert_true(reader >= 0);
	say(bed, "first");
	assert_false(logfile_is_over(reader, 0));
	logfile_close(&bed->log);
	assert_true(logfile_is_over(reader, 1000));
	assert_int_equal(begin(bed, &bed->log), 0);
	assert_true(logfile_is_over(reader, 0));
	assert_int_equal(logfile_open_both(reader, &old, &now), -ENOENT);
	assert_string_equal(content(bed, "log"), "");
}

static void it_turns(void **state)
{
	static char line[4096];
	struct bed *bed = *state;
	struct stat info;
	int now, old;

	memset(line, 'x', sizeof(line));
	assert_int_equal(logfile_open_both(bed->log.dir_fd, &old, &now), 0);
	assert_int_equal(old, -ENOENT);
	for (size_t sent = 0; sent <= LOGFILE_BYTES; sent += sizeof(line)) {
		assert_false(logfile_turn(bed->log.dir_fd, &now));
		lseek(now, 0, SEEK_END);
		logfile_write(&bed->log, line, sizeof(line));
	}
	assert_true(logfile_turn(bed->log.dir_fd, &now));
	assert_false(logfile_turn(bed->log.dir_fd, &now));
	assert_int_equal(fstat(now, &info), 0);
	assert_int_equal(info.st_size, sizeof(line));
	close(now);
	assert_int_equal(logfile_open_both(bed->log.dir_fd, &old, &now), 0);
	assert_int_equal(fstat(old, &info), 0);
	assert_int_equal(info.st_size, LOGFILE_BYTES);
	close(old);
	close(now);
	/* what was older is gone */
	for (size_t sent = 0; sent <= LOGFILE_BYTES; sent += sizeof(line))
		logfile_write(&bed->log, line, sizeof(line));
	assert_int_equal(fstatat(bed->log.dir_fd, "log.2", &info, 0), -1);
}

/* A whole file of @mark is what @fd has. */
static void expect_file(int fd, char mark)
{
	char got[4096];
	size_t total = 0;

	for (ssize_t len; (len = read(fd, got, sizeof(got))) > 0; total += (size_t)len)
		assert_int_equal(got[0], mark);
	assert_int_equal(total, LOGFILE_BYTES);
}

/* What is written between a reader's last look and the turn is read, and so is a whole file. */
static void a_reader_that_is_slow(void **state)
{
	static char line[LOGFILE_BYTES / 2];
	struct bed *bed = *state;
	int now, old, dir = bed->log.dir_fd;

	assert_int_equal(logfile_open_both(dir, &old, &now), 0);
	for (char mark = 'a'; mark <= 'c'; mark++) {
		memset(line, mark, sizeof(line));
		logfile_write(&bed->log, line, sizeof(line));
		if (mark == 'a') /* it has read all there is */
			assert_int_equal(lseek(now, 0, SEEK_END), sizeof(line));
		logfile_write(&bed->log, line, sizeof(line));
	}
	assert_true(logfile_turn(dir, &now));
	assert_int_equal(read(now, line, sizeof(line)), LOGFILE_BYTES / 2);
	assert_int_equal(line[0], 'a');
	assert_true(logfile_turn(dir, &now));
	expect_file(now, 'b');
	assert_true(logfile_turn(dir, &now));
	expect_file(now, 'c');
	assert_false(logfile_turn(dir, &now));
	close(now);
}

/* One that cannot be opened is not tried for ever. */
static void an_old_one_that_is_none(void **state)
{
	struct bed *bed = *state;
	int old, now;

	assert_int_equal(symlinkat("/nowhere", bed->log.dir_fd, "log.1"), 0);
	assert_int_equal(logfile_open_both(bed->log.dir_fd, &old, &now), -ELOOP);
	assert_true(old < 0 && now < 0);
}

/* A limit stands for a disk: there is room for @more. */
static void limit(struct bed *bed, size_t more)
{
	const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
	struct rlimit room = {(rlim_t)bed->log.size + more, RLIM_INFINITY};

	setrlimit(RLIMIT_FSIZE, more == SIZE_MAX ? &all : &room);
}

static void a_full_disk(void **state)
{
	struct bed *bed = *state;
	char line[1025];

	signal(SIGXFSZ, SIG_IGN);
	memset(line, 'a', 1024);
	line[1023] = '\n';
	line[1024] = '\0';
	say(bed, line);
	limit(bed, 100);
	memset(line, 'b', 1023);
	say(bed, line); /* 100 of it, and the note takes their place, and that of some before */
	memset(line, 'c', 1023);
	say(bed, line);
	limit(bed, SIZE_MAX);
	say(bed, "again\n");
	const char *text = content(bed, "log");
	const char *note = strstr(text, "\nnswrap: output is missing here: ");
	assert_non_null(note);
	assert_null(strstr(strchr(note + 1, '\n'), "output is missing")); /* once */
	assert_null(strchr(strchr(note + 1, '\n'), 'c'));
	assert_non_null(strstr(note, "\nagain\n"));
}

/* The last line says how it ended; what a program says that looks like it is none. */
/* Those inside can put there what nobody reads: it is not waited for, and the log goes on. */
static void a_pipe_in_its_place(void **state)
{
	static char much[128 * 1024];
	struct bed *bed = *state;
	struct stat info;

	fd_close(&bed->log.fd);
	assert_int_equal(unlinkat(bed->log.dir_fd, "log", 0), 0);
	assert_int_equal(mkfifoat(bed->log.dir_fd, "log", 0600), 0);
	memset(much, 'x', sizeof(much));
	alarm(10);
	logfile_resume(&bed->log);
	logfile_write(&bed->log, much, sizeof(much));
	alarm(0);
	assert_int_equal(fstatat(bed->log.dir_fd, "log", &info, 0), 0);
	assert_true(S_ISREG(info.st_mode));
	assert_int_equal(info.st_size, sizeof(much));
	/* nor where it cannot be moved away */
	fd_close(&bed->log.fd);
	assert_int_equal(unlinkat(bed->log.dir_fd, "log", 0), 0);
	assert_int_equal(unlinkat(bed->log.dir_fd, "log.1", 0), 0);
	assert_int_equal(mkfifoat(bed->log.dir_fd, "log", 0600), 0);
	assert_int_equal(mkdirat(bed->log.dir_fd, "log.1", 0700), 0);
	alarm(10);
	logfile_resume(&bed->log);
	logfile_write(&bed->log, much, sizeof(much));
	alarm(0);
	assert_true(bed->log.is_missing);
}

static void how_it_ended(void **state)
{
	static const struct {
		const char *line;
		int status; /* -1: it does not say */
	} rows[] = {
		{"nswrap: ended with status 3\n", 3},
		{"nswrap: ended by signal 9 (Killed)\n", 137},
		{"before\nnswrap: ended with status 255\n", 255},
		{"nswrap: ended with status 3\nand more\n", -1},
		{"nswrap: ended with status 3", -1},
		{"nswrap: ended with status 3x\n", -1},
		{"nswrap: ended with status  3\n", -1},
		{"nswrap: ended with status -1\n", -1},
		{"nswrap: ended with status 256\n", -1},
		{"nswrap: ended with status \n", -1},
		{"nswrap: ended by signal 9\n", -1},
		{"nswrap: ended by signal 99999999999 (Killed)\n", -1},
	};
	struct bed *bed = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int status = -1;

		assert_int_equal(ftruncate(bed->log.fd, 0), 0);
		say(bed, rows[i].line);
		bool is_said = logfile_end(bed->log.dir_fd, &status);
		if (is_said != (rows[i].status >= 0) || (is_said && status != rows[i].status))
			fail_msg("row %zu: %d, %d", i, is_said, status);
	}
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(for_the_user_alone),
		TEST(notes_have_lines_of_their_own),
		TEST(one_writer),
		TEST(the_next_one),
		TEST(it_turns),
		TEST(a_reader_that_is_slow),
		TEST(an_old_one_that_is_none),
		TEST(a_full_disk),
		TEST(a_pipe_in_its_place),
		TEST(how_it_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
