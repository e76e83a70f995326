/* SPDX-License-Identifier: Apache-2.0 */
/* net/pcap - write Ethernet frames to a capture file that tcpdump and Wireshark read */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "util/err.h"

/* Longest frame that is kept whole: a 64 KiB packet and its Ethernet header, with room to spare */
#define PCAP_SNAPLEN 262144

/*
 * A capture; its descriptors are the owner's, and shared with children made by fork(2). How far the
 * last record has come is known to the kernel alone, so that whoever is killed in the middle of one
 * leaves nothing that the next one could not mend: a file's position is where its whole records
 * end, and what a pipe has not taken yet of a record stands in a pipe of our own.
 */
struct pcap {
	int fd;        /* -1: none */
	int held[2];   /* our own pipe; -1 for a file */
	int held_size; /* bytes */
	off_t end;     /* of the whole records of a file; -1 for a pipe */
};

#define PCAP_NONE ((struct pcap){.fd = -1, .held = {-1, -1}})

/*
 * Open the file, or a pipe that somebody reads, at @path, and write the file header; nobody waits
 * for who reads it. Returns 0, or -errno with @err filled and pcap_close as the end.
 */
int pcap_open(struct pcap *pcap, const char *path, struct err *err);
void pcap_close(struct pcap *pcap);

/*
 * The part of pcap_open behind the descriptor @fd, which is taken over: write the file header
 * (classic pcap, nanosecond stamps with the magic 0xa1b23c4d, byte order of this machine,
 * LINKTYPE_ETHERNET). Returns 0, or -errno with pcap_close as the end.
 */
int pcap_begin(struct pcap *pcap, int fd);

/*
 * To be called in a process that has not written to @pcap before, when no other one does so any
 * more: what is torn at the end of a file is cut off.
 */
void pcap_resume(struct pcap *pcap);

/* Resume, and write the frames that @tap (-1: none) has by now, as far as they can be. */
void pcap_take(struct pcap *pcap, int tap);

/*
 * Write one frame with the wall clock's time; a frame over PCAP_SNAPLEN is cut. Records are written
 * whole or not at all, and nothing waits for a nonblocking descriptor. Returns 0, or -errno when
 * this frame was left out: -EAGAIN, the pipe is full; -EPIPE, nobody reads it any more; -ENOSPC, no
 * room for all of it was in the file, which ends before it; -ENOBUFS, a user with that many pipes
 * (pipe-user-pages-soft: pipe(7)) has no room to hold it. What a pipe takes of a record at first
 * may be a part, and the rest of it goes before the next frame.
 */
int pcap_write_frame(struct pcap *pcap, const void *frame, size_t len);
