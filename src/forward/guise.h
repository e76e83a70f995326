/* SPDX-License-Identifier: Apache-2.0 */
/* forward/guise - the client's own address for the socket that leads it to the guest */
#pragma once

#include <stdbool.h>

#include "forward/driver.h"
#include "util/addr.h"

/*
 * How it works
 *
 * A socket of the inside that may have any address (conn/mint) is bound to the client's and
 * connects to the guest, over lo: the guest sees who asks, as if the connection had come in by a
 * device. What it answers goes back over lo, as it has the mark of what it answers (sandbox/carry).
 *
 * Never the address of somebody inside: a guest may trust 127.0.0.1, or itself.
 */

/* Do clients of @forward come as themselves, where they can? */
bool guise_is_kept(const struct forward *forward);

/* The kind of socket for that, to the target as it is. */
enum door_kind guise_kind(const struct forward *forward);

/*
 * Can @peer come as itself to the target? @fd, an unbound socket of the inside of the target's
 * family, is used to ask who has that address, and as good as before.
 */
bool guise_fits(const struct forward *forward, const struct addr *peer, int fd);

/*
 * Give @fd, of guise_kind, the address of @peer, with its port if that is free. 0 or -errno.
 * @is_loose: it lets go of the port when its connection is over, and may be used again.
 */
int guise_wear(int fd, const struct addr *peer, bool *is_loose);
