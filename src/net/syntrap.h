/* SPDX-License-Identifier: Apache-2.0 */
/* net/syntrap - a listener on loopback whose clients wait for a word of ours in the SYN */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/addr.h"

/*
 * How it works
 *
 * A kernel accepts a connection before a program can say whether it should. So a filter on the
 * listener drops each SYN that comes over lo, and a packet socket there, the trap, has it. Who
 * reads the trap answers with a RST, or sends the SYN again with a mark of its own, which the
 * filter lets through; the kernel does the rest. (A filter of a listening socket sees SYNs, too:
 * tcp_filter in net/ipv4/tcp_ipv4.c. What is accepted has it as well, and no SYN.)
 *
 * Such a SYN has no route with it as one of lo's own has, so lo must take packets of this host's
 * own addresses from itself (accept_local, route_localnet). SYNs that come by another device, of a
 * mesh for instance, are let through.
 */
#define SYNTRAP_MARK        0x6e7320 /* of the namespace; sandbox/carry has some beside */
#define SYNTRAP_FRAME_BYTES 256      /* headers alone are of interest */

struct syntrap {
	int listener;
	int trap; /* -1: none could be had, and nobody waits */
};

/*
 * With rights over the current namespace: listen at @at, an IPv4 or IPv6 address and port. Returns
 * 0 or -errno. A trap is left out where packet sockets are refused.
 */
int syntrap_open(const struct addr *at, struct syntrap *out);

/* The next SYN, an Ethernet frame, cut to @cap_bytes. Its size, or -EAGAIN, or another -errno. */
ssize_t syntrap_read(int trap, uint8_t *frame, size_t cap_bytes);

/* Let the SYN @frame, whose TCP header is at @tcp_at and has no data behind it, through. */
int syntrap_let_in(int trap, uint8_t *frame, size_t len, size_t tcp_at);

/* Put @frame, whose checksums are complete, on lo. Return 0 or -errno. */
int syntrap_send(int trap, const uint8_t *frame, size_t len);
