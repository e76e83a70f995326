/* SPDX-License-Identifier: Apache-2.0 */
/* forward/splice_tcp - the splice driver for streams: TCP and unix sockets of the host */
#pragma once

#include "forward/driver.h"

/*
 * How it works
 *
 * A client is accepted only with a socket of the inside in hand. That socket is connected to where
 * the guest listened last, mostly within connect(2), for it goes over loopback. Then both go to the
 * relay and are forgotten here. When the connection is over its socket of the inside is for the
 * next client, unless that one had a port that the kernel would not choose (forward/guise).
 *
 * Refused: the kernel is asked where the guest listens now, and the client goes there. Nowhere, and
 * never before: it is held (forward/held) until the guest listens, or its time is over. Nowhere,
 * but it had listened: the client is reset, as the guest's own refusal would be. A client that has
 * been accepted while the pool of sockets is empty is held until there are some.
 */
extern const struct forward_driver splice_tcp_driver;
