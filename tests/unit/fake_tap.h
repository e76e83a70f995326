/* SPDX-License-Identifier: Apache-2.0 */
/* fake_tap - a socket pair in place of a TAP, whose other end the test reads and writes as a guest
 */
#ifndef NSWRAP_TEST_FAKE_TAP_H
#define NSWRAP_TEST_FAKE_TAP_H

#include <sys/socket.h>

#include "frames.h"
#include "net/tap.h"

/* [0]: the device, [1]: the guest */
static inline void fake_tap_open(int tap[2])
{
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, tap), 0);
}

static inline void fake_tap_send(int guest, const struct frame *frame)
{
	uint8_t bytes[TAP_HEADER_BYTES + FRAME_CAP] = {0};

	memcpy(bytes + TAP_HEADER_BYTES, frame->bytes, frame->len);
	assert_int_equal(send(guest, bytes, TAP_HEADER_BYTES + frame->len, 0),
		TAP_HEADER_BYTES + frame->len);
}

/* The next frame that is no question of ARP; those are answered. False: there is none. */
static inline bool fake_tap_receive(int guest, struct frame *frame)
{
	uint8_t bytes[TAP_HEADER_BYTES + FRAME_CAP];

	for (;;) {
		ssize_t got = recv(guest, bytes, sizeof(bytes), 0);

		if (got < TAP_HEADER_BYTES)
			return false;
		frame->len = (size_t)got - TAP_HEADER_BYTES;
		memcpy(frame->bytes, bytes + TAP_HEADER_BYTES, frame->len);
		if (frame_get16(frame->bytes + 12) != 0x0806)
			return true;
		char asked[INET_ADDRSTRLEN], asker[INET_ADDRSTRLEN];
		inet_ntop(AF_INET, frame->bytes + FRAME_L3 + 24, asked, sizeof(asked));
		inet_ntop(AF_INET, frame->bytes + FRAME_L3 + 14, asker, sizeof(asker));
		struct frame answer = frame_arp(2, asked, asker);
		fake_tap_send(guest, &answer);
	}
}

#endif
