/* SPDX-License-Identifier: Apache-2.0 */
/* exit/channel - the packets of a link between an entrance and an exit, in frames or bare */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "exit/hello.h"
#include "util/err.h"
#include "util/loop.h"
#include "wire/wire.h"

/*
 * How it works
 *
 * Over a stream packets are in frames (wire/wire), and both ends say who they are first: it is up
 * when the other one has. An end that has heard nothing for CHANNEL_BEAT_MS asks for a sign of
 * life; after CHANNEL_SILENT_MAX of them without a byte the link is dead. Beats, not time: both may
 * have been stopped.
 *
 * A socket that keeps the boundaries of messages (SOCK_SEQPACKET, SOCK_DGRAM) has one bare IPv4
 * packet in each, and nothing else: what RemoteNetstack's links are. It is up at once, TCP is asked
 * for segments that fit CHANNEL_BARE_MTU, what the socket does not take is lost, and nobody knows
 * whether the other end lives.
 */
#define CHANNEL_BEAT_MS    3000
#define CHANNEL_SILENT_MAX 5
#define CHANNEL_FIRST_MAX                                                      \
	20 /* beats until the other end has said who it is: a login takes long \
	    */
#define CHANNEL_HEADROOM FRAME_HEADER_BYTES
#define CHANNEL_BARE_MTU 1500
#define CHANNEL_BARE_MSS (CHANNEL_BARE_MTU - 40)

struct channel;

struct channel_ops {
	/* A packet, as it came: its bytes may be changed, and are gone afterwards. */
	void (*on_packet)(void *owner, unsigned char *packet, size_t len);
	/* The other end is there: channel->peer. */
	void (*on_up)(void *owner);
	/* It takes packets again (channel_wants). */
	void (*on_room)(void *owner);
	/* It is closed already; @why in words, NULL: it ended as links do. */
	void (*on_end)(void *owner, const char *why);
	/* What came before the first frame and is none; may be NULL: it ends the link. */
	void (*on_noise)(void *owner, const char *bytes, size_t len);
};

/* Starts as all zero but for the first five, which are the owner's. */
struct channel {
	struct loop *loop;
	struct wire_hub *hub;
	const struct channel_ops *ops;
	void *owner;
	struct hello self; /* what is said to the other end */

	/* the owner may read these */
	struct hello peer; /* what the other end has said; kind HELLO_OTHER: nothing yet */
	bool is_open, is_up, is_bare;

	/* its own */
	struct wire wire;
	struct loop_io bare;
	bool is_datagram;
	struct loop_timer beat;
	uint64_t heard_bytes; /* at the last beat */
	unsigned silent;
	long long asked;
};

/*
 * Open it over two descriptors, perhaps the same number twice, which belong to it, also on failure.
 * Returns 0 or -errno: -EPERM for a file.
 */
int channel_open(struct channel *channel, int in_fd, int out_fd);

/* Close both, without a callback; fine if it is not open. It can be opened again. */
void channel_close(struct channel *channel);

/*
 * Send whole packets, at most WIRE_PARTS_MAX, each with CHANNEL_HEADROOM bytes in front of it that
 * are written to. What finds no room waits or is lost, as on any network.
 */
void channel_send(struct channel *channel, struct iovec *packets, size_t count);

/* Is it up, and should packets be sent now rather than when there is room? */
bool channel_wants(const struct channel *channel);
