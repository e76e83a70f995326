/* SPDX-License-Identifier: Apache-2.0 */
/* stream/track - one connection between two hosts: the bytes of a socket here in a stream of QUIC
 */
#pragma once

#include <netinet/in.h>
#include <ngtcp2/ngtcp2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/budget.h"
#include "util/list.h"
#include "util/loop.h"

/*
 * How it works
 *
 * Who begins it says first where it leads (TRACK_HEAD_BYTES: a version, an address, a port); the
 * other end accepts with one byte, behind which bytes come, or resets the stream with a code that
 * says why. From then on the socket of each end is read into the stream and written from it; an end
 * of one is an end of the other, and so is a reset, behind what came before it as far as the other
 * end takes that at once.
 *
 * What is read is kept until the other end has it. Not more than TRACK_UNSENT_MAX of it waits for
 * its turn, and not more than TRACK_KEPT_MAX is kept in all, whatever the other end allows and does
 * not acknowledge; so what comes from a socket waits in that while the stream is full. What came
 * and is not taken by the socket waits here, as much of it as the other end was allowed to send:
 * the window of a track begins with TRACK_WINDOW and is doubled while its bytes are taken as
 * quickly as they come, up to TRACK_WINDOW_MAX and TRACKS_WINDOW_ALL for all tracks together, of
 * which one association has no more than half of what others leave. So one that nobody reads keeps
 * no other one up.
 *
 * The socket is any, or one end of a pair of unix sockets whose other end somebody here takes for
 * the connection. To reset that, it is closed with an unread byte in it, which its other end is
 * told of (unix(7) does not say it; unix_release_sock); one that sends no more finds fd_reset's
 * mark. Somebody closing his end is as with TCP: an end, if he has read all and left no mark, and
 * what comes for him afterwards is for nobody. QUIC has a STOP_SENDING for that, with the code
 * TRACK_LEFT; with another code it is a reset that comes behind an end. An end that does not know
 * this has the transport parameter disable_active_migration not set, and is told of a reset
 * instead.
 */
#define TRACK_HEAD_BYTES  7
#define TRACK_VERSION     1
#define TRACK_WINDOW      (64ULL << 10)
#define TRACK_WINDOW_MAX  (16ULL << 20)
#define TRACKS_WINDOW_ALL (128ULL << 20)
#define TRACK_UNSENT_MAX  (256U << 10)
#define TRACK_KEPT_MAX    (TRACK_WINDOW_MAX + TRACK_UNSENT_MAX)
#define TRACK_VECTORS     4
#define TRACK_LEFT        16

/* What all tracks of a process share; starts as all zero but for the first two. */
struct tracks {
	struct loop *loop;
	struct budget *budget; /* of the process */
	uint64_t extra;        /* of windows, beyond what each has at first */
	size_t count;
};

enum track_state {
	TRACK_WAITING, /* begun here: the stream is not open yet, or not answered */
	TRACK_HEAD,    /* begun there: where it leads is still to come */
	TRACK_ASKED,   /* the owner is to answer */
	TRACK_OPEN,    /* both ends are joined */
};

struct track;

struct track_chunk;

struct track_ops {
	/* There is something to write. */
	void (*on_wake)(struct track *track);
	/* It leads to @ip:@port; track_accept or track_refuse is to come. */
	void (*on_asked)(struct track *track, struct in_addr ip, uint16_t port);
	/* It is over: nothing of it is called any more. It is to be freed, but not from here. */
	void (*on_over)(struct track *track);
};

struct track {
	/* the owner's */
	const struct track_ops *ops;
	struct tracks *all;
	ngtcp2_conn *conn;
	int64_t id;        /* of the stream; -1: none yet */
	struct list link;  /* in the owner's ring of all */
	struct list ready; /* and of those that may have something to write */
	void *owner;       /* of the association */
	uint64_t *extra;   /* of all tracks of that, as tracks.extra */
	void *user;        /* of who asks or is asked */
	/* An asker's: 0, it is accepted, and track_join may be called; or -errno, it is over. */
	void (*on_answer)(struct track *track, int result);
	bool is_closed; /* the stream is, as QUIC sees it */
	uint64_t code;  /* else: with which it is to be reset when the track is over */

	/* the track's */
	enum track_state state;
	bool is_over;
	struct loop_io io; /* the socket; -1: none */
	int other_fd;      /* the other end of a pair, somebody else's, or -1 */
	uint64_t other_inode;
	bool is_readable, is_writable;
	bool has_failed; /* events say so; it may have bytes */
	bool is_gone;    /* neither takes nor sends; it may have bytes */
	bool is_broken;  /* reset, and everything was read */
	/* out */
	struct list out;
	struct track_chunk *unsent;
	size_t unsent_at, nunsent;
	size_t nkept;       /* unsent, and sent but not acknowledged */
	size_t chunk_bytes; /* of the next one */
	bool has_ended, end_is_sent;
	/* in */
	unsigned char head[TRACK_HEAD_BYTES];
	size_t nhead;
	struct list in;
	bool end_has_come, end_is_passed;
	uint64_t window, taken; /* the second: since */
	uint64_t since_ns;
	uint64_t moved_ns; /* when bytes last came from the socket or went to it, or it began */
};

/* In state TRACK_WAITING, of an asker, or TRACK_HEAD. Returns NULL: no memory. */
struct track *track_new(
	struct tracks *all, const struct track_ops *ops, void *owner, bool is_asker);

/* Closes the socket, with a reset unless both ways have ended, and forgets what waits. The stream
 * is left to the caller. */
void track_free(struct track *track);

/* Say where it leads: the first that is written. Returns 0 or -ENOMEM. */
int track_ask(struct track *track, struct in_addr ip, uint16_t port);

/* In state TRACK_ASKED. The code says why to the other end: -errno of conn/dial. */
int track_accept(struct track *track);
void track_refuse(struct track *track, int result);

/* The bytes of @fd, nonblocking, the track's from now on. @other_fd: the other end of a pair, whose
 * owner counts that, and the track counts @fd; else -1, and @fd is counted already. Returns 0 or
 * -errno. */
int track_join(struct track *track, int fd, int other_fd);

/* From QUIC: bytes of the other end, or that they have ended; it has so many more of ours; it has
 * reset the stream with a code; it takes none of ours now; both ways have ended, or it has had a
 * code for no longer taking ours. */
void track_take(struct track *track, const uint8_t *bytes, size_t len, bool is_end);
void track_acknowledge(struct track *track, uint64_t len);
void track_reset(struct track *track, uint64_t code);
void track_on_blocked(struct track *track);
void track_on_closed(struct track *track, uint64_t code);

/* What is to be sent next, read from the socket if need be, in so many @vectors; *@is_end: nothing
 * comes behind it. False: nothing is. */
bool track_next(
	struct track *track, ngtcp2_vec vectors[TRACK_VECTORS], size_t *count, bool *is_end);
void track_was_sent(struct track *track, size_t len, bool is_end);
