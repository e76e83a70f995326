/* SPDX-License-Identifier: Apache-2.0 */
/* conn/served - which of a name's addresses has somebody who takes datagrams */
#pragma once

#include <stddef.h>

#include "util/addr.h"

/* The first of @count addresses, with ports, that has a UDP socket on this host: a refusal would
 * come when the datagram is lost. Returns its place, or @count: of none of them that is known. */
size_t served_find(const struct addr *addrs, size_t count);
