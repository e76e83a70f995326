/* SPDX-License-Identifier: Apache-2.0 */
/* forward/splice_udp - the splice driver for datagrams */
#pragma once

#include "forward/driver.h"

/*
 * How it works
 *
 * A relay (conn/udp_relay) whose targets are sockets of the inside, connected to where the guest
 * listens. Before the guest has ever listened datagrams are held for wait_ms; so are those, for a
 * shorter time, that need a socket while the pool is empty. When the guest refuses, the kernel is
 * asked where it listens now, and the flow moves there.
 */
extern const struct forward_driver splice_udp_driver;
