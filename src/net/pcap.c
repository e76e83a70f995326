/* SPDX-License-Identifier: Apache-2.0 */
/* net/pcap - write Ethernet frames to a capture file that tcpdump and Wireshark read */
#include "net/pcap.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "net/tap.h"
#include "util/fd.h"

#define MAGIC_NANOSECONDS 0xa1b23c4d
#define VERSION_MAJOR     2
#define VERSION_MINOR     4
#define LINKTYPE_ETHERNET 1
#define QUEUE_FRAMES      1000 /* of a TAP device */

/* The layout of the file: pcap-savefile(5) */
struct file_header {
	uint32_t magic;
	uint16_t major, minor;
	uint32_t reserved[2];
	uint32_t snaplen;
	uint32_t linktype;
};

struct frame_header {
	uint32_t seconds, nanoseconds;
	uint32_t captured_len, original_len;
};

int pcap_write_header(int fd)
{
	struct file_header header = {
		.magic = MAGIC_NANOSECONDS,
		.major = VERSION_MAJOR,
		.minor = VERSION_MINOR,
		.snaplen = PCAP_SNAPLEN,
		.linktype = LINKTYPE_ETHERNET,
	};

	return fd_write_all(fd, &header, sizeof(header));
}

struct pcap_rest *pcap_rest_new(void)
{
	void *rest = mmap(NULL, sizeof(struct pcap_rest), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return rest == MAP_FAILED ? NULL : rest;
}

void pcap_rest_free(struct pcap_rest *rest)
{
	if (rest)
		munmap(rest, sizeof(*rest));
}

/* A pipe has no room for more of a record than @done bytes, or a file's disk has none. */
static int end_short(struct pcap *pcap, const struct iovec parts[2], size_t done)
{
	off_t start = lseek(pcap->fd, -(off_t)done, SEEK_CUR);
	size_t rest_len = 0;

	if (start >= 0)
		return ftruncate(pcap->fd, start) < 0 ? -errno : -ENOSPC;
	for (size_t i = 0; i < 2; i++) {
		size_t skipped = done < parts[i].iov_len ? done : parts[i].iov_len;
		size_t len = parts[i].iov_len - skipped;

		memcpy(pcap->rest->bytes + rest_len, (const uint8_t *)parts[i].iov_base + skipped,
			len);
		rest_len += len;
		done -= skipped;
	}
	pcap->rest->len = rest_len;
	return 0;
}

static int write_rest(struct pcap *pcap)
{
	struct pcap_rest *rest = pcap->rest;

	/* whoever has died may have left anything there */
	while (rest->len > 0 && rest->len <= sizeof(rest->bytes)) {
		ssize_t done = TEMP_FAILURE_RETRY(write(pcap->fd, rest->bytes, rest->len));

		if (done < 0)
			return -errno;
		memmove(rest->bytes, rest->bytes + done, rest->len - (size_t)done);
		rest->len -= (size_t)done;
	}
	return 0;
}

int pcap_write_frame(struct pcap *pcap, const void *frame, size_t len)
{
	size_t captured_len = len < PCAP_SNAPLEN ? len : PCAP_SNAPLEN;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	struct frame_header header = {
		.seconds = (uint32_t)now.tv_sec,
		.nanoseconds = (uint32_t)now.tv_nsec,
		.captured_len = (uint32_t)captured_len,
		.original_len = (uint32_t)len,
	};
	static_assert(sizeof(header) == PCAP_HEADER_BYTES, "a record fits into rest");
	struct iovec parts[] = {{&header, sizeof(header)}, {(void *)frame, captured_len}};
	int result = write_rest(pcap);

	if (result < 0)
		return result;
	ssize_t done = TEMP_FAILURE_RETRY(writev(pcap->fd, parts, 2));
	if (done < 0)
		return -errno;
	return (size_t)done == sizeof(header) + captured_len ? 0
							     : end_short(pcap, parts, (size_t)done);
}

void pcap_take(struct pcap *pcap, int tap)
{
	uint8_t frame[TAP_ETHER_BYTES + 65536];

	for (int i = 0; pcap->fd >= 0 && tap >= 0 && i < QUEUE_FRAMES; i++) {
		ssize_t got = tap_read(tap, frame, sizeof(frame));
		if (got <= 0 || pcap_write_frame(pcap, frame, (size_t)got) < 0)
			break;
	}
}

int pcap_open(struct pcap *pcap, const char *path, struct err *err)
{
	*pcap = (struct pcap){-1, pcap_rest_new()};
	if (!pcap->rest)
		return err_sys(err, errno, "no memory for --pcap");
	pcap->fd =
		open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
	int result = pcap->fd < 0 ? -errno : pcap_write_header(pcap->fd);
	if (result == -ENXIO)
		return err_set(err, ENXIO,
			"cannot write --pcap %s: nobody reads it; expected a file, or a pipe whose "
			"reader has opened it",
			path);
	return result < 0 ? err_sys(err, -result, "cannot write --pcap %s", path) : 0;
}

void pcap_close(struct pcap *pcap)
{
	fd_close(&pcap->fd);
	pcap_rest_free(pcap->rest);
	pcap->rest = NULL;
}
