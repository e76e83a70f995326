/* SPDX-License-Identifier: Apache-2.0 */
/* stream/association - what two hosts have under way together: a connection of QUIC and its tracks
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "stream/track.h"

/*
 * How it works
 *
 * One end begins it (the asker) and all tracks in it; for those of the other direction there is
 * another one. Tracks wait until it stands and, past ASSOCIATION_TRACKS at once, for one that ends.
 *
 * Packets are made when there is room for them (association_write), by turns of the tracks that
 * have something to say, so nothing waits here but in sockets. A path's packets come in order or
 * not at all, so what the library takes for lost mostly is; it is sent again.
 *
 * It has no idle time of its own: whether the other end lives the mesh knows (stream/ferry is
 * told), and one that is stopped may go on.
 */
#define ASSOCIATION_TAG_BYTES    6 /* of all connection IDs that it has given out */
#define ASSOCIATION_CID_BYTES    8
#define ASSOCIATION_TRACKS       2048
#define ASSOCIATION_PACKET_BYTES 60000
#define ASSOCIATION_SLOW_BYTES   8000 /* see association_write */
#define ASSOCIATION_FIRST_BYTES  1200 /* RFC 9000 14.1 */
#define ASSOCIATION_HANDSHAKE_S  10

struct association;

struct association_ops {
	/* It has something to write. */
	void (*on_wake)(void *owner);
	/* The other end has answered for the first time. */
	void (*on_up)(void *owner);
	/* The other end asks for @ip:@port: track_accept and track_join, or track_refuse. */
	void (*on_asked)(void *owner, struct track *track, struct in_addr ip, uint16_t port);
	/* A track that is asked or open is over; it is gone soon. */
	void (*on_track_over)(void *owner, struct track *track);
	/* It is over, as @why says; free it, but not from here. */
	void (*on_over)(void *owner, int result);
};

/*
 * @all, @ops and @owner stay the caller's. An asker's without @first; else @first is the other
 * end's first packet, of @len bytes, which is to be given to association_read then. Returns NULL:
 * no memory, or it is no such packet.
 */
struct association *association_new(struct tracks *all, const struct association_ops *ops,
	void *owner, const uint8_t *first, size_t len);

/* The other end is not there, or has forgotten it: on_over comes, with -errno. */
void association_end(struct association *association, int result);

/* Has the other end answered? */
bool association_is_up(const struct association *association);

/* Ends all tracks, with resets; tells nobody but who waits for an answer: what on_over said, or
 * -ECONNRESET. NULL is allowed. */
void association_free(struct association *association);

/* Is a packet whose destination is @cid of it? */
bool association_has(const struct association *association, const uint8_t *cid, size_t len);

/* Is @cid one of the other end's? */
bool association_knows(const struct association *association, const uint8_t *cid, size_t len);

void association_read(struct association *association, const uint8_t *packet, size_t len);

/* The next packet, if there is one. Of those that are longer than a slow path likes (@is_slow) none
 * is made. Returns its size, or 0. */
size_t association_write(
	struct association *association, uint8_t *packet, size_t cap_bytes, bool is_slow);

/* A new track to @ip:@port, whose on_answer is called, unless it is freed by association_cancel.
 * NULL: no memory. */
struct track *association_dial(struct association *association, struct in_addr ip, uint16_t port,
	void (*on_answer)(struct track *track, int result), void *user);
void association_cancel(struct association *association, struct track *track);

/* Tracks in it. */
size_t association_tracks(const struct association *association);
