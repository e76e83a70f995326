/* SPDX-License-Identifier: Apache-2.0 */
/* net/pcap - write Ethernet frames to a capture file that tcpdump and Wireshark read */
#include "net/pcap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "net/tap.h"
#include "util/fd.h"
#include "util/log.h"

#define MAGIC_NANOSECONDS 0xa1b23c4d
#define VERSION_MAJOR     2
#define VERSION_MINOR     4
#define LINKTYPE_ETHERNET 1
#define QUEUE_FRAMES      1000 /* of a TAP device */
/* Room for the longest record; the kernel takes powers of two, and pages only once they are used */
#define HELD_BYTES (2 * PCAP_SNAPLEN)

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

int pcap_begin(struct pcap *pcap, int fd)
{
	struct file_header header = {
		.magic = MAGIC_NANOSECONDS,
		.major = VERSION_MAJOR,
		.minor = VERSION_MINOR,
		.snaplen = PCAP_SNAPLEN,
		.linktype = LINKTYPE_ETHERNET,
	};

	*pcap = PCAP_NONE;
	pcap->fd = fd;
	int result = fd_write_all(fd, &header, sizeof(header));
	if (result < 0)
		return result;
	pcap->end = lseek(fd, 0, SEEK_CUR);
	if (pcap->end >= 0)
		return 0;
	if (pipe2(pcap->held, O_NONBLOCK | O_CLOEXEC) < 0)
		return -errno;
	fcntl(pcap->held[1], F_SETPIPE_SZ, HELD_BYTES);
	pcap->held_size = fcntl(pcap->held[1], F_GETPIPE_SZ);
	return 0;
}

void pcap_resume(struct pcap *pcap)
{
	if (pcap->fd < 0 || pcap->end < 0)
		return;
	pcap->end = lseek(pcap->fd, 0, SEEK_CUR);
	if (ftruncate(pcap->fd, pcap->end) < 0)
		log_debug("--pcap: nothing to cut off: %s", strerror(errno)); /* a device */
}

static int write_to_file(struct pcap *pcap, const struct iovec parts[2], size_t len)
{
	ssize_t done = TEMP_FAILURE_RETRY(pwritev(pcap->fd, parts, 2, pcap->end));

	if (done < 0)
		return -errno;
	if ((size_t)done < len)
		return ftruncate(pcap->fd, pcap->end) < 0 ? -errno : -ENOSPC;
	pcap->end = lseek(pcap->fd, pcap->end + done, SEEK_SET);
	return 0;
}

/* splice(2) takes what it passes on out of our pipe, whatever becomes of who called it. */
static int write_held(struct pcap *pcap)
{
	for (;;) {
		int left = 0;

		if (ioctl(pcap->held[0], FIONREAD, &left) < 0)
			return -errno;
		if (left == 0)
			return 0;
		if (TEMP_FAILURE_RETRY(splice(pcap->held[0], NULL, pcap->fd, NULL, (size_t)left,
			    SPLICE_F_NONBLOCK)) < 0)
			return -errno;
	}
}

static int write_to_pipe(struct pcap *pcap, const struct iovec parts[2], size_t len)
{
	int result = write_held(pcap);

	if (result < 0)
		return result;
	/* up to this length all or nothing: pipe(7); splice(2) would use a page for each */
	if (len <= PIPE_BUF)
		return TEMP_FAILURE_RETRY(writev(pcap->fd, parts, 2)) < 0 ? -errno : 0;
	if (len > (size_t)pcap->held_size)
		return -ENOBUFS;
	if (TEMP_FAILURE_RETRY(writev(pcap->held[1], parts, 2)) < 0)
		return -errno;
	result = write_held(pcap);
	return result == -EAGAIN ? 0 : result;
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
	struct iovec parts[] = {{&header, sizeof(header)}, {(void *)frame, captured_len}};

	if (pcap->fd < 0)
		return -EBADF;
	return (pcap->end >= 0 ? write_to_file : write_to_pipe)(
		pcap, parts, sizeof(header) + captured_len);
}

void pcap_take(struct pcap *pcap, int tap)
{
	uint8_t frame[TAP_ETHER_BYTES + 65536];

	pcap_resume(pcap);
	for (int i = 0; pcap->fd >= 0 && tap >= 0 && i < QUEUE_FRAMES; i++) {
		ssize_t got = tap_read(tap, frame, sizeof(frame));
		if (got <= 0 || pcap_write_frame(pcap, frame, (size_t)got) < 0)
			break;
	}
}

int pcap_open(struct pcap *pcap, const char *path, struct err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);

	*pcap = PCAP_NONE;
	int result = fd < 0 ? -errno : pcap_begin(pcap, fd);
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
	fd_close(&pcap->held[0]);
	fd_close(&pcap->held[1]);
}
