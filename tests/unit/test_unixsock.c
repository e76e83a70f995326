/* SPDX-License-Identifier: Apache-2.0 */
/* test_unixsock - a socket's name has one owner, whatever was there before and whoever races */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/unixsock.h"

#define ROUNDS   30
#define STARTERS 4

struct place {
	char path[64];
	int dir_fd;
};

static int set_up(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	strcpy(place->path, "/tmp/test_unixsock.XXXXXX");
	assert_non_null(mkdtemp(place->path));
	place->dir_fd = open(place->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(place->dir_fd >= 0);
	*state = place;
	return 0;
}

/* Removes what is there; returns how many names that was. */
static int empty(const struct place *place)
{
	DIR *dir = opendir(place->path);
	struct dirent *entry;
	int count = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		count++;
		unlinkat(place->dir_fd, entry->d_name, 0);
	}
	closedir(dir);
	return count;
}

static int tear_down(void **state)
{
	struct place *place = *state;

	empty(place);
	close(place->dir_fd);
	rmdir(place->path);
	free(place);
	return 0;
}

/* Leave a file behind whose socket is gone. */
static void make_stale(const struct place *place, const char *name)
{
	struct unixsock_id id;
	int fd = unixsock_listen(place->dir_fd, name, SOCK_STREAM, &id);

	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(unixsock_check(place->dir_fd, name, NULL), 0);
}

static void listens_and_connects(void **state)
{
	struct place *place = *state;
	int types[] = {SOCK_STREAM, SOCK_SEQPACKET};

	for (size_t i = 0; i < 2; i++) {
		struct unixsock_id id;
		struct stat info;
		mode_t mask = umask(0); /* must not matter */
		int fd = unixsock_listen(place->dir_fd, "s", types[i], &id);

		assert_int_equal(umask(mask), 0);
		assert_true(fd >= 0);
		assert_int_equal(fstatat(place->dir_fd, "s", &info, AT_SYMLINK_NOFOLLOW), 0);
		assert_int_equal(info.st_mode, S_IFSOCK | 0600);
		assert_int_equal(info.st_nlink, 1);
		assert_true(id.dev == info.st_dev && id.ino == info.st_ino);
		assert_string_equal(id.name, "s");
		assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
		assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
		assert_int_equal(accept(fd, NULL, NULL), -1);
		assert_int_equal(errno, EAGAIN);

		int client = unixsock_connect(place->dir_fd, "s", types[i]);
		assert_true(client >= 0);
		assert_int_equal(fcntl(client, F_GETFD), FD_CLOEXEC);
		assert_true(fcntl(client, F_GETFL) & O_NONBLOCK);
		int server = accept(fd, NULL, NULL);
		assert_true(server >= 0);
		assert_int_equal(send(client, "x", 1, 0), 1);
		char byte;
		assert_int_equal(recv(server, &byte, 1, 0), 1);
		assert_int_equal(unixsock_remove(place->dir_fd, &id), 0);
		close(client);
		close(server);
		close(fd);
		assert_int_equal(empty(place), 0);
	}
}

static void refuses_live_and_foreign(void **state)
{
	struct place *place = *state;
	struct unixsock_id id, other;
	int fd = unixsock_listen(place->dir_fd, "s", SOCK_STREAM, &id);

	assert_int_equal(unixsock_listen(place->dir_fd, "s", SOCK_STREAM, &other), -EADDRINUSE);
	assert_int_equal(unixsock_listen(place->dir_fd, "s", SOCK_SEQPACKET, &other), -EADDRINUSE);
	/* its owner saw nothing of that */
	assert_int_equal(accept(fd, NULL, NULL), -1);
	assert_int_equal(unixsock_check(place->dir_fd, "s", &other), 1);
	assert_true(other.ino == id.ino);
	close(fd);

	int file = openat(place->dir_fd, "file", O_CREAT | O_WRONLY, 0600);
	close(file);
	assert_int_equal(symlinkat("s", place->dir_fd, "link"), 0);
	assert_int_equal(mkdirat(place->dir_fd, "dir", 0700), 0);
	static const char *const names[] = {"file", "link", "dir"};
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(
			unixsock_listen(place->dir_fd, names[i], SOCK_STREAM, &other), -EEXIST);
		assert_int_equal(faccessat(place->dir_fd, names[i], F_OK, 0), 0);
		assert_true(unixsock_check(place->dir_fd, names[i], NULL) < 0);
	}
	assert_int_equal(unlinkat(place->dir_fd, "dir", AT_REMOVEDIR), 0);
	assert_int_equal(empty(place), 3); /* s, file, link: no temporary name */
}

/* Bound, but not listening yet: somebody is starting there */
static void bound_is_live(void **state)
{
	struct place *place = *state;
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct unixsock_id id;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/s", place->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(unixsock_listen(place->dir_fd, "s", SOCK_STREAM, &id), -EADDRINUSE);
	close(fd);
	fd = unixsock_listen(place->dir_fd, "s", SOCK_STREAM, &id);
	assert_true(fd >= 0);
	close(fd);
}

static void replaces_stale(void **state)
{
	struct place *place = *state;
	struct unixsock_id id;

	make_stale(place, "s");
	assert_int_equal(unixsock_connect(place->dir_fd, "s", SOCK_STREAM), -ECONNREFUSED);
	int fd = unixsock_listen(place->dir_fd, "s", SOCK_SEQPACKET, &id);
	assert_true(fd >= 0);
	assert_int_equal(unixsock_check(place->dir_fd, "s", NULL), 1);
	assert_int_equal(unixsock_remove(place->dir_fd, &id), 0);
	close(fd);
	assert_int_equal(empty(place), 0);
}

/* Only who replaces a stale socket needs the lock, and does not wait for it for ever. */
static void replacing_takes_turns(void **state)
{
	struct place *place = *state;
	struct unixsock_id id;
	int lock = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	make_stale(place, "s");
	assert_int_equal(flock(lock, LOCK_EX), 0);
	assert_int_equal(unixsock_listen(place->dir_fd, "s", SOCK_STREAM, &id), -EAGAIN);
	assert_int_equal(unixsock_check(place->dir_fd, "s", NULL), 0);
	int fd = unixsock_listen(place->dir_fd, "free", SOCK_STREAM, &id);
	assert_true(fd >= 0);
	close(fd);
	close(lock);
	fd = unixsock_listen(place->dir_fd, "s", SOCK_STREAM, &id);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(empty(place), 2);
}

static void removes_only_its_own(void **state)
{
	struct place *place = *state;
	struct unixsock_id id, other;
	int fd = unixsock_listen(place->dir_fd, "s", SOCK_STREAM, &id);

	assert_int_equal(renameat(place->dir_fd, "s", place->dir_fd, "moved"), 0);
	assert_int_equal(unixsock_remove(place->dir_fd, &id), -ENOENT);
	int fd2 = unixsock_listen(place->dir_fd, "s", SOCK_STREAM, &other);
	assert_true(fd2 >= 0);
	assert_int_equal(unixsock_remove(place->dir_fd, &id), -ENOENT);
	assert_int_equal(unixsock_check(place->dir_fd, "s", NULL), 1);
	assert_int_equal(unixsock_remove(place->dir_fd, &other), 0);
	int file = openat(place->dir_fd, "s", O_CREAT | O_WRONLY, 0600);
	close(file);
	assert_int_equal(unixsock_remove(place->dir_fd, &other), -ENOENT);
	assert_int_equal(faccessat(place->dir_fd, "s", F_OK, 0), 0);
	close(fd);
	close(fd2);
}

static int exists(const struct place *place, const char *name)
{
	return faccessat(place->dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* What a starter leaves that was killed before it had its name; the next one sweeps. */
static void sweeps_when_it_listens(void **state)
{
	struct place *place = *state;
	struct unixsock_id id;
	int held = unixsock_listen(place->dir_fd, ".nswrap-held", SOCK_STREAM, &id);

	make_stale(place, ".nswrap-stale");
	close(openat(place->dir_fd, ".nswrap-file", O_CREAT | O_WRONLY, 0600));
	int fd = unixsock_listen(place->dir_fd, "s", SOCK_STREAM, &id);
	assert_true(fd >= 0);
	assert_false(exists(place, ".nswrap-stale"));
	assert_true(exists(place, ".nswrap-held"));
	assert_true(exists(place, ".nswrap-file"));
	close(held);
	assert_int_equal(unixsock_sweep(place->dir_fd), 0);
	assert_int_equal(unixsock_remove(place->dir_fd, &id), 0);
	unlinkat(place->dir_fd, ".nswrap-file", 0);
	close(fd);
}

static void names(void **state)
{
	struct place *place = *state;
	static const char *const bad[] = {"", ".", "..", "a/b", "/", "a/"};
	char longest[NAME_MAX + 2];
	struct unixsock_id id;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(unixsock_listen(place->dir_fd, bad[i], SOCK_STREAM, &id), -EINVAL);
		assert_int_equal(unixsock_connect(place->dir_fd, bad[i], SOCK_STREAM), -EINVAL);
	}
	memset(longest, 'n', sizeof(longest));
	longest[NAME_MAX + 1] = '\0';
	assert_int_equal(unixsock_listen(place->dir_fd, longest, SOCK_STREAM, &id), -ENAMETOOLONG);
	longest[NAME_MAX] = '\0';
	for (int i = 0; i < 2; i++) { /* the second time it is stale */
		int fd = unixsock_listen(place->dir_fd, longest, SOCK_STREAM, &id);
		assert_true(fd >= 0);
		int client = unixsock_connect(place->dir_fd, longest, SOCK_STREAM);
		assert_true(client >= 0);
		close(client);
		close(fd);
	}
	assert_int_equal(unixsock_remove(place->dir_fd, &id), 0);
	assert_int_equal(unixsock_connect(place->dir_fd, "none", SOCK_STREAM), -ENOENT);
	assert_int_equal(unixsock_check(place->dir_fd, "none", &id), -ENOENT);
}

/* One of several starters; stays until the pipe ends. Reports 'w'on or 'b'usy. */
static void starter(const struct place *place, int go, int report, int done)
{
	struct unixsock_id id;
	char byte;

	if (read(go, &byte, 1) != 0)
		_exit(1);
	int fd = unixsock_listen(place->dir_fd, "s", SOCK_STREAM, &id);
	byte = fd >= 0 ? 'w' : fd == -EADDRINUSE ? 'b' : '?';
	if (write(report, &byte, 1) != 1)
		_exit(1);
	if (read(done, &byte, 1) != 0)
		_exit(1);
	_exit(0); /* as if killed: the file stays, stale */
}

static int count_hidden(const struct place *place)
{
	DIR *dir = opendir(place->path);
	struct dirent *entry;
	int count = 0;

	while ((entry = readdir(dir)))
		count += strncmp(entry->d_name, ".nswrap-", 8) == 0;
	closedir(dir);
	return count;
}

/*
 * Every round the name is stale (the first: free), and exactly one starter gets it. The lock is let
 * go when all of them are about to see the stale one, or have seen it: the worst case.
 */
static void one_starter_wins(void **state)
{
	struct place *place = *state;

	int lock = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (int round = 0; round < ROUNDS; round++) {
		int go[2], report[2], done[2], won = 0, status;
		char byte;

		assert_true(pipe(go) == 0 && pipe(report) == 0 && pipe(done) == 0);
		for (int i = 0; i < STARTERS; i++)
			if (fork() == 0) {
				close(go[1]);
				close(done[1]);
				starter(place, go[0], report[1], done[0]);
			}
		close(go[0]);
		if (round > 0)
			assert_int_equal(flock(lock, LOCK_EX), 0);
		close(go[1]);
		while (round > 0 && count_hidden(place) < STARTERS)
			sched_yield();
		flock(lock, LOCK_UN);
		for (int i = 0; i < STARTERS; i++) {
			assert_int_equal(read(report[0], &byte, 1), 1);
			assert_true(byte == 'w' || byte == 'b');
			won += byte == 'w';
		}
		assert_int_equal(won, 1);
		assert_int_equal(unixsock_check(place->dir_fd, "s", NULL), 1);
		int client = unixsock_connect(place->dir_fd, "s", SOCK_STREAM);
		assert_true(client >= 0);
		close(client);
		close(done[1]);
		for (int i = 0; i < STARTERS; i++) {
			assert_true(wait(&status) > 0);
			assert_int_equal(status, 0);
		}
		close(done[0]);
		close(report[0]);
		close(report[1]);
	}
	close(lock);
	assert_int_equal(empty(place), 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(listens_and_connects),
		TEST(refuses_live_and_foreign),
		TEST(bound_is_live),
		TEST(replaces_stale),
		TEST(replacing_takes_turns),
		TEST(removes_only_its_own),
		TEST(sweeps_when_it_listens),
		TEST(names),
		TEST(one_starter_wins),
	};

	alarm(60); /* instead of waiting for ever for a starter that failed */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
