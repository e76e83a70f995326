/* SPDX-License-Identifier: Apache-2.0 */
/* net/diag - ask the kernel about sockets: who listens, who owns, who holds a port */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/addr.h"

/*
 * How it works
 *
 * diag_is_listening and diag_socket_uid are exact look-ups in the kernel's hash tables (sock_diag
 * without NLM_F_DUMP): a send and a recvfrom on the descriptor, some microseconds however many
 * sockets there are, never blocking, fit for a strict seccomp filter. They look at the network
 * namespace in which diag_open was called, whoever holds the descriptor later.
 *
 * Addresses are IPv4 or IPv6 (-EAFNOSUPPORT for others); ::ffff:1.2.3.4 is the same as 1.2.3.4, and
 * a dual-stack IPv6 socket is found by its IPv4 addresses, as it is by a packet.
 */

/* A socket in the current network namespace, close-on-exec and nonblocking. Or -errno. */
int diag_open(void);

/*
 * Would a connection or datagram to @addr, from inside that namespace, find somebody? TCP: a socket
 * in state LISTEN; UDP: a bound socket that is not connected. Wildcard listeners count, and so do
 * those bound to the loopback device. Returns 1, 0 or -errno.
 */
int diag_is_listening(int nl, enum proto proto, const struct addr *addr);

/* Which user, as diag_socket_uid has it, owns the socket that listens there? 0, -ENOENT: there is
 * none, or another -errno. */
int diag_listener_uid(int nl, enum proto proto, const struct addr *addr, uid_t *uid);

/* Is there a TCP connection between @own and @peer, whatever is left of it, or one that begins?
 * @ifindex: also if it is bound to that device; 0: to lo. Returns 1, 0 or -errno. */
int diag_is_connected(int nl, const struct addr *own, const struct addr *peer, int ifindex);

/*
 * Which user owns the socket of a client on this host? @local and @remote are the connection as the
 * CLIENT sees it: its local address is our getpeername, its remote one our getsockname. For UDP the
 * client's socket may be connected or not.
 *
 * Returns 0 with *@uid, which is as seen from the user namespace of the process that called
 * diag_open (users not mapped there are all the overflow uid, 65534). -ENOENT: no such socket.
 * -EAGAIN: the client has closed its socket and only the kernel's rest of the connection is left
 * (TIME_WAIT, FIN_WAIT...); its owner can no longer be known, and must not be taken for root.
 *
 * The uid is of who made the socket; it may have been passed on since. UDP: users who all set
 * SO_REUSEADDR can share a port, so there the answer does not prove who sent a datagram.
 */
int diag_socket_uid(
	int nl, enum proto proto, const struct addr *local, const struct addr *remote, uid_t *uid);

/*
 * Is it an address of this network namespace? If in doubt it is. To be asked before diag_socket_uid
 * or diag_is_listening finds a UDP socket of this host at a wildcard for whatever address.
 */
bool diag_is_own_address(const struct addr *addr);

/*
 * Who keeps us from binding @addr? For error messages: slow, opens files below /proc. Looks at the
 * current network namespace. Writes `python3 (pid 1234)` or, when the process cannot be seen, `a
 * process of user bob` (the name is escaped for a terminal). Returns 0, or -errno with @out empty:
 * -ENOENT when nobody is found.
 */
int diag_port_holder(enum proto proto, const struct addr *addr, char *out, size_t cap_bytes);

/* The first process that is seen to have that socket, or 0. As slow as that. */
pid_t diag_port_pid(enum proto proto, const struct addr *addr);

/* Is it one of @pids that keeps us from binding @addr? Looks at no other process. */
bool diag_port_is_held(enum proto proto, const struct addr *addr, const pid_t *pids, size_t count);

/* Does somebody listen where that would keep us from listening at @addr? */
bool diag_has_listener(enum proto proto, const struct addr *addr);

/*
 * How much TCP sockets in that namespace that were closed have to send that the other side has not
 * acknowledged yet: bytes, and one more of each for its end. Walks all sockets. Or -errno.
 */
int64_t diag_unsent(int nl);

/*
 * Each socket in that namespace that listens, as diag_is_listening has it, IPv4 inside IPv6 as
 * IPv4; @ifindex: the device to which it is bound, 0: none. Walks all sockets. Returns as
 * diag_each_connection.
 */
int diag_each_listener(int nl, enum proto proto,
	int (*on_listener)(void *owner, const struct addr *own, int ifindex), void *owner);

/*
 * Each TCP connection in that namespace, IPv4 inside IPv6 as IPv4, whose other end has not said
 * that it is done. Returns 0 or -errno; a result of @on_connection that is not 0 ends it, and is
 * returned. It must not use @nl.
 */
int diag_each_connection(int nl,
	int (*on_connection)(void *owner, const struct addr *own, const struct addr *peer),
	void *owner);
