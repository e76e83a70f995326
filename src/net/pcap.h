/* SPDX-License-Identifier: Apache-2.0 */
/* net/pcap - write Ethernet frames to a capture file that tcpdump and Wireshark read */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "util/err.h"

/* Longest frame that is kept whole: a 64 KiB packet and its Ethernet header, with room to spare */
#define PCAP_SNAPLEN 262144
/* In front of each frame */
#define PCAP_HEADER_BYTES 16

/* What is still to be written of a record, at first nothing. */
struct pcap_rest {
	size_t len;
	uint8_t bytes[PCAP_HEADER_BYTES + PCAP_SNAPLEN];
};

/* A descriptor to which the file header was written; both are the owner's. */
struct pcap {
	int fd;
	struct pcap_rest *rest;
};

/*
 * Open the file, or a pipe that somebody reads, at @path, and write the file header; nobody waits
 * for who reads it. What is left of a record is shared with children made by fork(2): where one of
 * them dies, the next one goes on. Returns 0, or -errno with @err filled and pcap_close as the end.
 */
int pcap_open(struct pcap *pcap, const char *path, struct err *err);
void pcap_close(struct pcap *pcap);

/* Write the frames that @tap (-1: none) has by now, as far as they can be; -1 as descriptor: none.
 */
void pcap_take(struct pcap *pcap, int tap);

/* Part of pcap_open: NULL with errno set. */
struct pcap_rest *pcap_rest_new(void);
/* NULL is allowed. */
void pcap_rest_free(struct pcap_rest *rest);

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
