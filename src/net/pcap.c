/* SPDX-License-Identifier: Apache-2.0 */
/* net/pcap - write Ethernet frames to a capture file that tcpdump and Wireshark read */
#include "net/pcap.h"

#include <errno.h>
#include <stdint.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "util/fd.h"

#define MAGIC_NANOSECONDS 0xa1b23c4d
#define VERSION_MAJOR     2
#define VERSION_MINOR     4
#define LINKTYPE_ETHERNET 1

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

int pcap_write_frame(int fd, const void *frame, size_t len)
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
	ssize_t done;

	do
		done = writev(fd, parts, 2);
	while (done < 0 && errno == EINTR);
	if (done < 0)
		return -errno;
	return (size_t)done == sizeof(header) + captured_len ? 0 : -EIO;
}
