/* SPDX-License-Identifier: Apache-2.0 */
/* net/pcap - write Ethernet frames to a capture file that tcpdump and Wireshark read */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Longest frame that is kept whole: a 64 KiB packet and its Ethernet header, with room to spare */
#define PCAP_SNAPLEN 262144
/* In front of each frame */
#define PCAP_HEADER_BYTES 16

/* All zero but for the descriptor at first, to which the file header was written. */
struct pcap {
	int fd;
	size_t rest_len;
	uint8_t rest[PCAP_HEADER_BYTES + PCAP_SNAPLEN]; /* of a record */
};

/*
 * Write the file header: classic pcap, nanosecond stamps (magic 0xa1b23c4d), byte order of this
 * machine, LINKTYPE_ETHERNET. Returns 0 or -errno.
 */
int pcap_write_header(int fd);

/*
 * Write one frame with the wall clock's time; a frame over PCAP_SNAPLEN is cut. Records are written
 * whole or not at all, and nothing waits for a nonblocking descriptor. Returns 0, or -errno when
 * this frame was left out: -EAGAIN, the pipe is full; -EPIPE, nobody reads it any more; -ENOSPC, no
 * room for all of it was in the file, which ends before it. What a pipe takes of a record at first
 * may be a part, and the rest of it goes before the next frame.
 */
int pcap_write_frame(struct pcap *pcap, const void *frame, size_t len);
