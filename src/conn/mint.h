/* SPDX-License-Identifier: Apache-2.0 */
/* conn/mint - sockets that may have an address which is not this host's, made without rights */
#pragma once

#include <stdint.h>

/*
 * How it works
 *
 * IP_TRANSPARENT wants a capability, which who makes sockets for others has given up by then. But
 * what is accepted has the options of its listener, also when it is disconnected again
 * (tcp_disconnect of Linux leaves them): so the mint, a socket that was made with rights and given
 * the option and a mark, listens for as long as it takes to make some connections to itself over
 * lo. What was accepted is disconnected, and is as good as new. About 40 us each. A stranger who
 * connects meanwhile is turned away.
 */

/* With rights: a mint of @family (AF_INET, AF_INET6), whose sockets have the mark @mark, and
 * SO_REUSEADDR. Or -errno. */
int mint_open(int family, uint32_t mark);

/*
 * Up to @count unconnected, unbound, nonblocking TCP sockets, stored to @fds. Returns their number,
 * fewer only where the next one could not be made, or -errno instead of none. Waits some
 * milliseconds at most.
 */
int mint_take(int mint, int *fds, unsigned count);
