/* SPDX-License-Identifier: Apache-2.0 */
/* unit/test_pcap - capture files, read back byte by byte */
#include "net/pcap.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define FILE_HEADER  24
#define FRAME_HEADER 16

/* A number in this machine's byte order, as readers of the file take it after the magic */
static uint32_t number32(const uint8_t *bytes)
{
	uint32_t value;

	memcpy(&value, bytes, sizeof(value));
	return value;
}

static uint16_t number16(const uint8_t *bytes)
{
	uint16_t value;

	memcpy(&value, bytes, sizeof(value));
	return value;
}

static size_t read_back(int fd, uint8_t *out, size_t cap_bytes)
{
	ssize_t len = pread(fd, out, cap_bytes, 0);

	assert_true(len >= 0);
	return (size_t)len;
}

static int open_memory(void)
{
	int fd = memfd_create("pcap", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void the_file_header(void **state)
{
	uint8_t bytes[64];
	int fd = open_memory();
	struct pcap pcap;

	(void)state;
	assert_int_equal(pcap_begin(&pcap, fd), 0);
	assert_int_equal(read_back(fd, bytes, sizeof(bytes)), FILE_HEADER);
	assert_int_equal(number32(bytes), 0xa1b23c4d);
	assert_int_equal(number16(bytes + 4), 2);
	assert_int_equal(number16(bytes + 6), 4);
	assert_int_equal(number32(bytes + 8), 0);
	assert_int_equal(number32(bytes + 12), 0);
	assert_true(number32(bytes + 16) >= 65535 + 14);
	assert_int_equal(number32(bytes + 20), 1);
	pcap_close(&pcap);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void check_stamp(const uint8_t *header, struct timespec before, struct timespec after)
{
	uint64_t stamp = number32(header) * 1000000000ULL + number32(header + 4);

	assert_in_range(number32(header + 4), 0, 999999999);
	assert_true(stamp >= (uint64_t)before.tv_sec * 1000000000ULL + (uint64_t)before.tv_nsec);
	assert_true(stamp <= (uint64_t)after.tv_sec * 1000000000ULL + (uint64_t)after.tv_nsec);
}

static void frames_follow_each_other(void **state)
{
	static const char first[] = "first frame", second[] = "x";
	struct timespec before, after;
	uint8_t bytes[256];
	int fd = open_memory();
	struct pcap pcap;

	(void)state;
	clock_gettime(CLOCK_REALTIME, &before);
	assert_int_equal(pcap_begin(&pcap, fd), 0);
	assert_int_equal(pcap_write_frame(&pcap, first, sizeof(first)), 0);
	assert_int_equal(pcap_write_frame(&pcap, second, sizeof(second)), 0);
	assert_int_equal(pcap_write_frame(&pcap, NULL, 0), 0);
	clock_gettime(CLOCK_REALTIME, &after);
	size_t len = read_back(fd, bytes, sizeof(bytes));
	assert_int_equal(len, FILE_HEADER + 3 * FRAME_HEADER + sizeof(first) + sizeof(second));

	uint8_t *at = bytes + FILE_HEADER;
	check_stamp(at, before, after);
	assert_int_equal(number32(at + 8), sizeof(first));
	assert_int_equal(number32(at + 12), sizeof(first));
	assert_memory_equal(at + FRAME_HEADER, first, sizeof(first));
	at += FRAME_HEADER + sizeof(first);
	check_stamp(at, before, after);
	assert_int_equal(number32(at + 8), sizeof(second));
	assert_memory_equal(at + FRAME_HEADER, second, sizeof(second));
	at += FRAME_HEADER + sizeof(second);
	assert_int_equal(number32(at + 8), 0);
	pcap_close(&pcap);
}

static void a_huge_frame_is_cut(void **state)
{
	size_t len = PCAP_SNAPLEN + 100;
	uint8_t *frame = malloc(len), *bytes = malloc(len + 1000);
	int fd = open_memory();
	struct pcap pcap;

	(void)state;
	assert_non_null(frame);
	assert_non_null(bytes);
	memset(frame, 0xa5, len);
	assert_int_equal(pcap_begin(&pcap, fd), 0);
	assert_int_equal(pcap_write_frame(&pcap, frame, len), 0);
	assert_int_equal(
		read_back(fd, bytes, len + 1000), FILE_HEADER + FRAME_HEADER + PCAP_SNAPLEN);
	assert_int_equal(number32(bytes + FILE_HEADER + 8), PCAP_SNAPLEN);
	assert_int_equal(number32(bytes + FILE_HEADER + 12), len);
	pcap_close(&pcap);
	free(frame);
	free(bytes);
}

/* The length of the record at @bytes, of which @len are there. */
static size_t record_len(const uint8_t *bytes, size_t len)
{
	assert_true(len >= FRAME_HEADER);
	size_t record = FRAME_HEADER + number32(bytes + 8);

	assert_true(len >= record);
	return record;
}

/* The header of the file is read from the pipe already. */
static void open_pipe(struct pcap *pcap, int *reader, int bytes)
{
	uint8_t header[FILE_HEADER];
	int pipe_fds[2];

	assert_int_equal(pipe2(pipe_fds, O_NONBLOCK | O_CLOEXEC), 0);
	assert_int_equal(fcntl(pipe_fds[1], F_SETPIPE_SZ, bytes), bytes);
	assert_int_equal(pcap_begin(pcap, pipe_fds[1]), 0);
	assert_int_equal(read(pipe_fds[0], header, sizeof(header)), FILE_HEADER);
	*reader = pipe_fds[0];
}

static void a_slow_reader_misses_frames_and_gets_whole_ones(void **state)
{
	static uint8_t frame[65536], bytes[3 * 65536];
	struct pcap pcap;
	int reader, status;
	size_t used = 0;
	ssize_t got;

	(void)state;
	memset(frame, 0xa5, sizeof(frame));
	/* 64 KiB and the header do not fit into a pipe of 64 KiB at once */
	open_pipe(&pcap, &reader, 65536);
	/* who has begun it may have died before the rest can be written */
	pid_t pid = fork();
	if (pid == 0)
		_exit(-pcap_write_frame(&pcap, frame, sizeof(frame)));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(pcap_write_frame(&pcap, frame, 5), -EAGAIN);
	assert_int_equal(pcap_write_frame(&pcap, frame, sizeof(frame)), -EAGAIN);
	for (int i = 0; i < 2; i++) {
		while ((got = read(reader, bytes + used, sizeof(bytes) - used)) > 0)
			used += (size_t)got;
		if (i == 0)
			assert_int_equal(pcap_write_frame(&pcap, frame, 7), 0);
	}
	size_t first = record_len(bytes, used);
	assert_int_equal(first, FRAME_HEADER + sizeof(frame));
	assert_memory_equal(bytes + FRAME_HEADER, frame, sizeof(frame));
	assert_int_equal(record_len(bytes + first, used - first), FRAME_HEADER + 7);
	assert_int_equal(used, first + FRAME_HEADER + 7);

	close(reader);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pcap_write_frame(&pcap, frame, 7), -EPIPE);
	assert_int_equal(pcap_write_frame(&pcap, frame, sizeof(frame)), -EPIPE);
	pcap_close(&pcap);
}

static void many_small_frames_fit_into_a_pipe(void **state)
{
	static const uint8_t frame[60];
	struct pcap pcap;
	int reader, count = 0;

	(void)state;
	open_pipe(&pcap, &reader, 65536);
	while (pcap_write_frame(&pcap, frame, sizeof(frame)) == 0)
		count++;
	/* a page of the pipe is not one frame's */
	assert_true(count > 65536 / 100);
	close(reader);
	pcap_close(&pcap);
}

static void a_frame_that_cannot_be_held_is_left_out(void **state)
{
	static const uint8_t frame[20000];
	struct pcap pcap;
	uint8_t bytes[100];
	int reader;

	(void)state;
	open_pipe(&pcap, &reader, 65536);
	/* what the kernel gives who has very many pipes */
	pcap.held_size = fcntl(pcap.held[1], F_SETPIPE_SZ, 8192);
	assert_int_equal(pcap.held_size, 8192);
	assert_int_equal(pcap_write_frame(&pcap, frame, sizeof(frame)), -ENOBUFS);
	assert_int_equal(pcap_write_frame(&pcap, frame, 7), 0);
	assert_int_equal(read(reader, bytes, sizeof(bytes)), FRAME_HEADER + 7);
	close(reader);
	pcap_close(&pcap);
}

#define NKILLS 100

/* A child that writes frames of all lengths, each full of its length's last byte, until killed. */
static pid_t start_writer(struct pcap *pcap)
{
	static uint8_t frame[60000];
	pid_t parent = getpid(), pid = fork();

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pcap_resume(pcap);
	for (size_t i = 0; getppid() == parent; i++) {
		size_t len = i % 3 == 0 ? 40 : 20000 + i % 40000;

		memset(frame, (uint8_t)len, len);
		pcap_write_frame(pcap, frame, len);
	}
	_exit(0);
}

static void kill_writer(pid_t pid)
{
	struct timespec pause = {0, 1000 * (rand() % 3000)};

	nanosleep(&pause, NULL);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* How many bytes are records of start_writer; fails where one is not. */
static size_t check_records(const uint8_t *bytes, size_t len)
{
	size_t at = 0;

	while (len - at >= FRAME_HEADER) {
		size_t frame_len = number32(bytes + at + 8);

		assert_in_range(frame_len, 40, 60000);
		assert_int_equal(number32(bytes + at + 12), frame_len);
		if (len - at < FRAME_HEADER + frame_len)
			break;
		at += FRAME_HEADER;
		for (size_t i = 0; i < frame_len; i++)
			assert_int_equal(bytes[at + i], (uint8_t)frame_len);
		at += frame_len;
	}
	return at;
}

static void who_is_killed_tears_no_record_of_a_file(void **state)
{
	static uint8_t bytes[1 << 20];
	int fd = open_memory();
	struct pcap pcap;

	(void)state;
	assert_int_equal(pcap_begin(&pcap, fd), 0);
	for (int i = 0; i < NKILLS; i++) {
		kill_writer(start_writer(&pcap));
		pcap_resume(&pcap);
		off_t end = lseek(fd, 0, SEEK_END);
		for (off_t at = FILE_HEADER; at < end;) {
			ssize_t got = pread(fd, bytes, sizeof(bytes), at);
			size_t whole = check_records(bytes, (size_t)got);

			/* nothing is behind the last whole one */
			assert_true(whole > 0);
			at += (off_t)whole;
		}
		assert_int_equal(ftruncate(fd, FILE_HEADER), 0);
		assert_int_equal(lseek(fd, FILE_HEADER, SEEK_SET), FILE_HEADER);
	}
	pcap_close(&pcap);
}

static void who_is_killed_tears_no_record_of_a_pipe(void **state)
{
	static uint8_t bytes[1 << 18];
	struct pcap pcap;
	size_t used = 0;
	int reader;

	(void)state;
	open_pipe(&pcap, &reader, 4096);
	for (int i = 0; i < NKILLS; i++) {
		pid_t pid = start_writer(&pcap);

		for (int reads = 0; reads < 50; reads++) {
			ssize_t got = read(reader, bytes + used, sizeof(bytes) - used);
			if (got <= 0)
				continue;
			used += (size_t)got;
			size_t whole = check_records(bytes, used);
			used -= whole;
			memmove(bytes, bytes + whole, used);
		}
		kill_writer(pid);
	}
	close(reader);
	pcap_close(&pcap);
}

static void no_record_is_torn_where_there_is_no_room(void **state)
{
	static const uint8_t frame[100] = {1};
	struct rlimit before, limit;
	uint8_t bytes[256];
	struct pcap pcap;

	(void)state;
	assert_int_equal(pcap_begin(&pcap, open_memory()), 0);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	limit = (struct rlimit){FILE_HEADER + FRAME_HEADER + 50, before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	int big = pcap_write_frame(&pcap, frame, sizeof(frame));
	size_t len = read_back(pcap.fd, bytes, sizeof(bytes));
	int small = pcap_write_frame(&pcap, frame, 10);
	setrlimit(RLIMIT_FSIZE, &before);
	assert_int_equal(big, -ENOSPC);
	assert_int_equal(len, FILE_HEADER);
	assert_int_equal(small, 0);
	assert_int_equal(read_back(pcap.fd, bytes, sizeof(bytes)), FILE_HEADER + FRAME_HEADER + 10);
	assert_int_equal(number32(bytes + FILE_HEADER + 8), 10);
	pcap_close(&pcap);
}

static void errors_are_told_apart(void **state)
{
	struct pcap pcap;

	(void)state;
	assert_int_equal(pcap_begin(&pcap, -1), -EBADF);
	assert_int_equal(pcap_write_frame(&pcap, "x", 1), -EBADF);
	pcap_resume(&pcap);
	pcap_take(&pcap, -1);
	pcap_close(&pcap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_file_header),
		cmocka_unit_test(frames_follow_each_other),
		cmocka_unit_test(a_huge_frame_is_cut),
		cmocka_unit_test(a_slow_reader_misses_frames_and_gets_whole_ones),
		cmocka_unit_test(many_small_frames_fit_into_a_pipe),
		cmocka_unit_test(a_frame_that_cannot_be_held_is_left_out),
		cmocka_unit_test(who_is_killed_tears_no_record_of_a_file),
		cmocka_unit_test(who_is_killed_tears_no_record_of_a_pipe),
		cmocka_unit_test(no_record_is_torn_where_there_is_no_room),
		cmocka_unit_test(errors_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
