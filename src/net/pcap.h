/* SPDX-License-Identifier: Apache-2.0 */
/* net/pcap - write Ethernet frames to a capture file that tcpdump and Wireshark read */
#pragma once

#include <stddef.h>

/* Longest frame that is kept whole: a 64 KiB packet and its Ethernet header, with room to spare */
#define PCAP_SNAPLEN 262144

/*
 * Write the file header: classic pcap, nanosecond stamps (magic 0xa1b23c4d), byte order of this
 * machine, LINKTYPE_ETHERNET. Returns 0 or -errno.
 */
int pcap_write_header(int fd);

/*
 * Write one frame with the wall clock's time, in one writev(2); a frame over PCAP_SNAPLEN is cut.
 * For regular files and blocking pipes. Returns 0 or -errno; -EIO after a short write (the file is
 * then not readable past this point: write no more to it). Never waits for a full pipe that is
 * nonblocking (-EAGAIN: nothing was written).
 */
int pcap_write_frame(int fd, const void *frame, size_t len);
