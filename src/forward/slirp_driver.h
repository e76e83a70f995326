/* SPDX-License-Identifier: Apache-2.0 */
/* forward/slirp_driver - the slirp driver: packets of libslirp, and the guest sees who connects */
#pragma once

#include "forward/driver.h"

/*
 * How it works
 *
 * TCP only. Until the guest listens clients wait in the backlog of the kernel, and are reset there
 * when their time is over. Then libslirp accepts at a copy of the listener and opens a connection
 * over the TAP to where the guest listens: 127.0.0.1 (route_localnet) or its own IPv4 address, for
 * IPv6 listeners its IPv6 address. A refusal of the guest is libslirp's to pass on.
 *
 * Whenever clients wait the kernel is asked whether the guest still listens there. If it listens
 * where libslirp does not lead (::1, or the other family) the splice driver takes the forward over,
 * for good.
 */
extern const struct forward_driver slirp_driver;
