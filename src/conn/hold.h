/* SPDX-License-Identifier: Apache-2.0 */
/* conn/hold - a TCP port of this host's loopback that nobody else shall listen at */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/addr.h"

/*
 * How it works
 *
 * A program inside prints its own address, "http://localhost:8888/?token=...", and who reads that
 * outside goes to port 8888 of the host. There a socket is bound that never listens: a client is
 * refused by the kernel, and no other user can listen.
 *
 * SO_REUSEADDR is off, so binding beside it is refused whatever the other one sets, at the same
 * address and at the wildcard. It is on for a moment only where old connections (TIME_WAIT) are in
 * the way. SO_REUSEPORT is on: that shares a port between sockets of one user (socket(7)), so any
 * number of sandboxes of a user hold the same port, and bind_open gets past them.
 */
struct hold {
	int fds[3]; /* of the addresses below; -1: not held */
};

/* Nothing is held. */
void hold_init(struct hold *hold);

/*
 * Hold @port, always the same one, at 127.0.0.1, ::1, and 127.0.1.1, the address of the host's own
 * name in Debian's /etc/hosts; but not where @is_ours says that @owner listens there itself.
 * Returns 0; or -EADDRINUSE with the first address in *@taken that somebody else has, the others
 * are held then. An address that cannot be held for another reason (a port kept for the
 * administrator, no IPv6) is left out in silence: few can listen there.
 */
int hold_port(struct hold *hold, uint16_t port,
	bool (*is_ours)(const void *owner, const struct addr *addr), const void *owner,
	struct addr *taken);

void hold_release(struct hold *hold);
