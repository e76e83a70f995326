/* SPDX-License-Identifier: Apache-2.0 */
/* exit/lobby - the links of an exit: each that is open has a process of its own */
#pragma once

#include "conn/expose.h"
#include "link/keyfile.h"
#include "link/linkspec.h"
#include "util/err.h"

/*
 * How it works
 *
 * A link that is open gets a fork of this process, which is an exit for it alone (exit/portal): the
 * packets of two entrances have the same addresses, and what one of them breaks is its own. It ends
 * with its link, and with this process at the latest.
 *
 * Where it listens there are LOBBY_MAX of them, and who comes past that waits in the kernel. Any
 * other link is opened (link/linkend), and again when it has ended, unless it was inherited.
 */
#define LOBBY_MAX     64
#define LOBBY_PURPOSE "exit" /* of what both ends prove (link/proof); the exit answers */

struct lobby_start {
	const struct linkspec *spec;
	const struct keyfile *key; /* NULL: nobody proves anything */
	const struct expose *expose;
};

/*
 * Serve until a signal that ends programs comes, or an inherited link has ended. Returns 0, or
 * -errno with @err filled: it could not begin, or that link broke.
 */
int lobby_run(const struct lobby_start *start, struct err *err);
