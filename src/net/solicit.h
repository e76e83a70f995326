/* SPDX-License-Identifier: Apache-2.0 */
/* net/solicit - which datagrams from outside the guest has asked for */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/awaited.h"

#define SOLICIT_FRESH_NS (60ULL * 1000 * 1000 * 1000)

/*
 * How it works
 *
 * For each port that the guest sends UDP from, libslirp (4.7.0) has one socket of the host's, bound
 * to all its addresses, and what comes there is the guest's, whoever sent it: any machine, and any
 * user of this host, whose 127.0.0.1 the guest would take for its own. So the guest gets what is
 * from an address and port that the same port of its own has sent to, as behind Linux's NAT. Each
 * datagram of either direction keeps that so for SOLICIT_FRESH_NS, or AWAITED_TIME_NS when the
 * guest has sent again after an answer: so questions and scans, however many, do not push out
 * those.
 *
 * Frames are Ethernet frames, any bytes. Starts as all zero.
 */
struct solicit {
	struct awaited awaited;
};

/* The guest has sent @frame. */
void solicit_note(struct solicit *solicit, const uint8_t *frame, size_t len, uint64_t now_ns);

/*
 * May the guest get @frame? What is not UDP it may, and what is of a datagram but not its first
 * fragment, of which nothing can be made without that.
 */
bool solicit_has(struct solicit *solicit, const uint8_t *frame, size_t len, uint64_t now_ns);
