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

	(void)state;
	assert_int_equal(pcap_write_header(fd), 0);
	assert_int_equal(read_back(fd, bytes, sizeof(bytes)), FILE_HEADER);
	assert_int_equal(number32(bytes), 0xa1b23c4d);
	assert_int_equal(number16(bytes + 4), 2);
	assert_int_equal(number16(bytes + 6), 4);
	assert_int_equal(number32(bytes + 8), 0);
	assert_int_equal(number32(bytes + 12), 0);
	assert_true(number32(bytes + 16) >= 65535 + 14);
	assert_int_equal(number32(bytes + 20), 1);
	close(fd);
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
	struct pcap pcap = {fd, pcap_rest_new()};

	(void)state;
	clock_gettime(CLOCK_REALTIME, &before);
	assert_int_equal(pcap_write_header(fd), 0);
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
	close(fd);
	pcap_rest_free(pcap.rest);
}

static void a_huge_frame_is_cut(void **state)
{
	size_t len = PCAP_SNAPLEN + 100;
	uint8_t *frame = malloc(len), *bytes = malloc(len + 1000);
	int fd = open_memory();
	struct pcap pcap = {fd, pcap_rest_new()};

	(void)state;
	assert_non_null(frame);
	assert_non_null(bytes);
	memset(frame, 0xa5, len);
	assert_int_equal(pcap_write_frame(&pcap, frame, len), 0);
	assert_int_equal(read_back(fd, bytes, len + 1000), FRAME_HEADER + PCAP_SNAPLEN);
	assert_int_equal(number32(bytes + 8), PCAP_SNAPLEN);
	assert_int_equal(number32(bytes + 12), len);
	close(fd);
	free(frame);
	free(bytes);
	pcap_rest_free(pcap.rest);
}

/* The length of the record at @bytes, of which @len are there. */
static size_t record_len(const uint8_t *bytes, size_t len)
{
	assert_true(len >= FRAME_HEADER);
	size_t record = FRAME_HEADER + number32(bytes + 8);

	assert_true(len >= record);
	return record;
}

static void a_slow_reader_misses_frames_and_gets_whole_ones(void **state)
{
	static uint8_t frame[65536], bytes[3 * 65536];
	struct pcap pcap = {-1, pcap_rest_new()};
	int pipe_fds[2], status;
	size_t used = 0;
	ssize_t got;

	(void)state;
	memset(frame, 0xa5, sizeof(frame));
	assert_int_equal(pipe2(pipe_fds, O_NONBLOCK | O_CLOEXEC), 0);
	/* 64 KiB and the header do not fit into a pipe of 64 KiB at once */
	assert_true(fcntl(pipe_fds[1], F_SETPIPE_SZ, 65536) == 65536);
	pcap.fd = pipe_fds[1];
	/* who has begun it may have died before the rest can be written */
	pid_t pid = fork();
	if (pid == 0)
		_exit(-pcap_write_frame(&pcap, frame, sizeof(frame)));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(pcap_write_frame(&pcap, frame, 5), -EAGAIN);
	assert_int_equal(pcap_write_frame(&pcap, frame, sizeof(frame)), -EAGAIN);
	for (int i = 0; i < 2; i++) {
		while ((got = read(pipe_fds[0], bytes + used, sizeof(bytes) - used)) > 0)
			used += (size_t)got;
		if (i == 0)
			assert_int_equal(pcap_write_frame(&pcap, frame, 7), 0);
	}
	size_t first = record_len(bytes, used);
	assert_int_equal(first, FRAME_HEADER + sizeof(frame));
	assert_memory_equal(bytes + FRAME_HEADER, frame, sizeof(frame));
	assert_int_equal(record_len(bytes + first, used - first), FRAME_HEADER + 7);
	assert_int_equal(used, first + FRAME_HEADER + 7);

	close(pipe_fds[0]);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pcap_write_frame(&pcap, frame, 7), -EPIPE);
	close(pipe_fds[1]);
	pcap_rest_free(pcap.rest);
}

static void no_record_is_torn_where_there_is_no_room(void **state)
{
	static const uint8_t frame[100] = {1};
	struct rlimit before, limit;
	uint8_t bytes[256];
	struct pcap pcap = {open_memory(), pcap_rest_new()};

	(void)state;
	assert_int_equal(pcap_write_header(pcap.fd), 0);
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
	close(pcap.fd);
	pcap_rest_free(pcap.rest);
}

static void errors_are_told_apart(void **state)
{
	struct pcap pcap = {-1, pcap_rest_new()};

	(void)state;
	assert_int_equal(pcap_write_header(-1), -EBADF);
	assert_int_equal(pcap_write_frame(&pcap, "x", 1), -EBADF);
	pcap_rest_free(pcap.rest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_file_header),
		cmocka_unit_test(frames_follow_each_other),
		cmocka_unit_test(a_huge_frame_is_cut),
		cmocka_unit_test(a_slow_reader_misses_frames_and_gets_whole_ones),
		cmocka_unit_test(no_record_is_torn_where_there_is_no_room),
		cmocka_unit_test(errors_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
