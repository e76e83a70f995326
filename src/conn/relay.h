/* SPDX-License-Identifier: Apache-2.0 */
/* conn/relay - bytes between two connected stream sockets, both ways, until both ways have ended */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conn/inside.h"
#include "util/budget.h"
#include "util/loop.h"

/*
 * How it works
 *
 * Two flows (conn/flow), one each way, share two sockets that are watched edge-triggered: events
 * set is_readable and is_writable, EAGAIN clears them. A flow reads only when nothing of it waits,
 * so there is never more than one pipe or buffer full between the sockets, and an EAGAIN of splice
 * can only mean that the socket is empty. Nothing is polled and no state spins: without an event, a
 * flow is left alone, unless its turn was over (a task goes on) or memory ran out (a timer does).
 *
 * Messages go through recv and send: one read and one write each, no pipe. A read of 32 KiB or more
 * makes the flow bulk, then splice moves pages without copying them; a wake-up with little to move
 * ends that. Pipes and buffers (conn/pipes) are borrowed while bytes are in them, so a relay at
 * rest holds its two sockets only. Without a pipe (no descriptors) the buffer does the work,
 * without a buffer nothing is read until there is one: bytes wait in the sender's socket, none are
 * lost.
 *
 * Calls that most connections never need are put off: TCP_NODELAY until the second send, EPOLLOUT
 * until a socket is full. A short read means "empty" only where that is sure (TCP, no end, no
 * urgent bytes). splice reports urgent bytes as an end: only recv is believed about ends.
 *
 * Urgent data: TCP has one byte at most that counts as urgent, at its mark; those before it that
 * nobody has read are bytes like others by then. Sockets keep it in line (fd_keep_in_line), where
 * neither recv nor splice read on across it. From an EPOLLPRI on it is asked before each read
 * whether the mark is next (sockatmark); that byte is read alone, and sent with MSG_OOB where the
 * other side is TCP. The first EAGAIN ends that. Notice of it comes no earlier than its turn: what
 * is before it has been taken by the other socket.
 *
 * Bytes whose sender is known to have ended go out with that end (MSG_MORE, then the shutdown or
 * close): a segment less, and one wake-up of who reads them.
 *
 * Measured, two busy cores, medians of 3 or 4 runs: splice against copying through the buffer moves
 * bulk 1.3 to 1.8 times as fast for 35-51% of the processor time per byte; 1 MiB pipes cost 12-43%
 * less of it than 256 KiB ones, as a splice moves no more than a pipe's nominal size.
 */
struct relay;
struct relay_pool;

enum relay_side { RELAY_A, RELAY_B, RELAY_SIDES };

/*
 * What all relays of a loop share: pipes, buffers, counters. Their descriptors count in @budget,
 * which stays the caller's. Where these are short and the peer of side A has most of them
 * (shares_yield), the one of its relays that has been at rest longest is reset. Its on_done is
 * called from there. Returns NULL with errno set.
 */
struct relay_pool *relay_pool_new(struct loop *loop, struct budget *budget);

/* relay_stop for each relay that is left, then frees the pool. Not from within a callback of a
 * relay other than on_done. NULL is allowed. */
void relay_pool_free(struct relay_pool *pool);

/*
 * Move bytes between @fd_a and @fd_b: connected, nonblocking stream sockets, TCP or unix, which may
 * already hold data or an end. On success the relay owns both descriptors, and counts them whether
 * or not there is room; on failure it returns NULL with errno set and the caller still does.
 *
 * The end of one side, behind all of its bytes, becomes a shutdown(SHUT_WR) of the other; the
 * opposite way goes on for as long as it likes. When a side breaks (reset, or it takes no more
 * bytes) what it had sent is passed on as far as the other side takes it at once, the rest is
 * dropped, and the other side is reset. A unix socket whose other end was closed by fd_reset is
 * broken, too, not ended.
 *
 * @on_done is called once, from the loop and never from within relay_start, when both ways have
 * ended and both descriptors are closed. @relay may be asked for its bytes until on_done returns,
 * then it is gone. on_done may start and stop other relays and may free the pool; it may be NULL. A
 * relay that ends by itself says so at the log's debug level: @fd_a is the client's for that.
 *
 * The process must ignore SIGPIPE: splice(2) has no flag against it.
 */
struct relay *relay_start(struct relay_pool *pool, int fd_a, int fd_b,
	void (*on_done)(struct relay *relay, void *owner), void *owner);

/* The same where @io is watched, whose descriptor is the one of side A; it is watched no more
 * afterwards. Nobody is told of the end. */
struct relay *relay_start_with(struct relay_pool *pool, struct loop_io *io, int fd_b);

/* @side is TCP, as its owner knows: then the relay need not find out. Right after relay_start only,
 * before the loop goes on. */
void relay_note_tcp(struct relay *relay, enum relay_side side);

/* Whose it is (shares_source), if that is not the peer of side A. Right after relay_start as well.
 */
void relay_note_source(struct relay *relay, unsigned source);

/*
 * The socket of side B is of @inside, of kind @kind, and was not bound to a port: it goes back
 * there once both ways have ended well (inside_recycle). @inside lives longer. Right after
 * relay_start.
 */
void relay_note_inside(struct relay *relay, struct inside *inside, enum door_kind kind);

/*
 * For who cannot afford that a part looks like the whole: should this process die, both sides are
 * reset where it is TCP.
 */
void relay_keep_whole(struct relay *relay);

/* Urgent bytes become bytes like the others, also where both sides are TCP. Right after
 * relay_start.
 */
void relay_keep_in_line(struct relay *relay);

/*
 * Bytes that were read from one side already, such as what followed a handshake: they reach the
 * other side before anything that the socket still holds, and count as its own. Right after
 * relay_start only, before the loop goes on; copied, and more than once, as long as they are
 * RELAY_PUSH_MAX at most, each way. Returns 0, -EMSGSIZE or -ENOMEM; then none of them was taken.
 */
#define RELAY_PUSH_MAX (64 * 1024)
int relay_push(struct relay *relay, enum relay_side from, const void *bytes, size_t len);

/* Close both at once, with a reset where it is TCP, and free; on_done is not called. */
void relay_stop(struct relay *relay);

/* Bytes from that side that were handed to the other one so far. */
uint64_t relay_bytes(const struct relay *relay, enum relay_side from);

/* Relays that have not ended. */
size_t relay_pool_count(const struct relay_pool *pool);
