/* SPDX-License-Identifier: Apache-2.0 */
/* forward/slirp_driver - the slirp driver: libslirp listens, and the guest sees who connects */
#pragma once

#include "forward/driver.h"

/*
 * How it works
 *
 * libslirp accepts by itself and opens a connection over the TAP to 127.0.0.1 (route_localnet), or
 * to the guest's IPv6 address. Until the guest listens for the first time libslirp's listener is
 * muted: clients wait in the backlog of the kernel, and are reset there when their time is over.
 * After that a refusal of the guest is libslirp's to pass on.
 */
extern const struct forward_driver slirp_driver;
