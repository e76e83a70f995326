/* SPDX-License-Identifier: Apache-2.0 */
/* wire/wire - one end of a link: frames read from one descriptor and written to another */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "util/err.h"
#include "util/loop.h"
#include "util/trickle.h"
#include "wire/frame.h"
#include "wire/outbox.h"
#include "wire/window.h"

/*
 * How it works
 *
 * In: one buffer, shared by all wires of a loop, is filled with one read(2); its frames are given
 * to the owner where they lie. Part of a frame at the end is kept aside until the rest has come,
 * and not looked at before. Who sends crumbs, bytes of frames or what is no packet, is read less
 * often (util/trickle). A round is one read: then on_round_end comes, and only after it the bytes
 * are gone. So an owner may collect frames by where they go and send each crowd with one system
 * call.
 *
 * Out: frames are written straight from where they are. What the descriptor does not take waits
 * (wire/outbox). Packets wait in WIRE_QUEUE_BYTES, by turns of their sources and flows; what does
 * not fit, or waits for too long, is dropped whole, as by a router. Messages have as much again, so
 * packets are never in their way, and are refused beyond it. A frame is never left half written but
 * by a link that breaks.
 *
 * Once the other side acknowledges what has come (nswrap-wire(7)), no more is written than what
 * keeps the link busy (wire/window), and the rest waits here, where it takes turns. On a link that
 * is slow packets are cut, too, and connections that begin are asked for small ones.
 *
 * When nobody reads what is written, what waits is lost and nothing is sent any more; what the
 * other side still has to say is read for a moment before the wire is broken.
 *
 * A wire that is broken says so once (on_broken) and does nothing any more.
 */
#define WIRE_QUEUE_BYTES (4U << 20)
#define WIRE_PARTS_MAX   512
#define WIRE_NOISE_MAX   (64U << 10)

struct wire;

struct wire_ops {
	/* A whole frame; its bytes may be changed and are there until on_round_end returns. */
	void (*on_frame)(struct wire *wire, struct frame *frame);
	/* May be NULL. */
	void (*on_round_end)(struct wire *wire);
	/* The queue has become empty. May be NULL. */
	void (*on_room)(struct wire *wire);
	/* The link ended (err.code 0) or broke. The owner may call wire_close from here. */
	void (*on_broken)(struct wire *wire, const struct err *err);
	/*
	 * Bytes before the first frame that are none; NULL: they break the wire, as more than
	 * WIRE_NOISE_MAX of them do.
	 */
	void (*on_noise)(struct wire *wire, const char *bytes, size_t len);
};

struct wire_hub; /* what the wires of a loop share: the buffer */

struct wire {
	/* the owner may read these */
	/* whole frames, headers included; those that wait have not gone out yet; frames: packets
	 * and messages only */
	uint64_t frames_in, bytes_in, frames_out, bytes_out;
	uint64_t noise;   /* bytes before the first frame */
	uint64_t dropped; /* packets that waited for too long, or found no room */

	/* the wire's own */
	struct wire_hub *hub;
	const struct wire_ops *ops;
	struct loop_io in, out;
	struct loop_timer
		linger_timer; /* nobody reads: the rest that is to be read may take as long */
	bool is_open, can_write, is_waiting; /* the last: for EPOLLOUT */
	unsigned char *partial;              /* beginning of a frame */
	size_t partial_len, partial_cap;
	struct trickle trickle;
	struct outbox outbox;
	uint64_t told_dropped; /* by wire_send */
	struct window window;
	struct loop_timer pace_timer; /* more may be written then */
	uint64_t alone_ns;            /* messages wait for packets until then; 0: none does */
	unsigned probes;              /* that were sent to learn of the link */
	/* what is acknowledged to the other side, which wants it */
	bool acknowledges, is_asked; /* asked: at once */
	uint64_t come, told;         /* bytes */
	struct loop_timer ack_timer;
};

/* Returns NULL with errno set. */
struct wire_hub *wire_hub_new(struct loop *loop);
void wire_hub_free(struct wire_hub *hub);

/*
 * Start reading. Both descriptors are made nonblocking and belong to the wire, also on failure;
 * pipes are made larger. They may be the same number. Returns 0 or -errno.
 */
int wire_open(
	struct wire *wire, struct wire_hub *hub, const struct wire_ops *ops, int in_fd, int out_fd);

/*
 * Bytes that were read before it was opened: whole frames, which are given to the owner and counted
 * as if they had come now, and perhaps the beginning of one. From the loop, before anything is
 * read.
 */
void wire_push(struct wire *wire, const unsigned char *bytes, size_t len);

/*
 * A frame of @len bytes that was written before it was opened. Without this the other side, which
 * counts it, would acknowledge more than was sent.
 */
void wire_was_sent(struct wire *wire, size_t len);

/*
 * The link was another process's until now: it has read and written so many bytes of it, which the
 * other side counts as well. Before wire_push.
 */
void wire_go_on(struct wire *wire, uint64_t come, uint64_t sent);

/* The beginning of a frame whose end has not come yet, as it is before the next read. */
size_t wire_rest(const struct wire *wire, const unsigned char **bytes);

/* Closes both descriptors; what is queued is lost. A wire that is not open is fine. */
void wire_close(struct wire *wire);

/*
 * Send whole packet frames, one a part and at most WIRE_PARTS_MAX, with one system call. They are
 * of @source, whose share of the link is as large as that of each other one. Parts may point into
 * frames of this round. Returns how many packets were dropped since the last call.
 */
size_t wire_send(struct wire *wire, uint32_t source, const struct iovec *frames, size_t count);

/* Send one message. Returns 0 or -errno: -ENOBUFS when it does not fit, -EPIPE when nobody reads.
 */
int wire_send_message(struct wire *wire, const char *text, size_t len);

/* Tell the other side, which must know of it, what has come, from now on. It does the same then. */
void wire_acknowledge(struct wire *wire);

/* Has the other side, or what stands between, taken all that was sent? */
bool wire_is_taken(const struct wire *wire);

/* Does nothing wait? False when nobody reads. */
bool wire_has_room(const struct wire *wire);

/*
 * Shall packets be sent now, rather than when there is room? On a link that is slow they wait
 * better here, by turns, than in front of us.
 */
bool wire_wants_packets(const struct wire *wire);
