/* SPDX-License-Identifier: Apache-2.0 */
/* net/tap - virtual network devices whose other end is a file descriptor */
#ifndef NSWRAP_NET_TAP_H
#define NSWRAP_NET_TAP_H

#include <stdbool.h>

struct err;

/*
 * Make the TAP device @name (1..15 bytes, taken literally) in the current network namespace and
 * return its descriptor, nonblocking and close-on-exec; the device is down and goes away with the
 * last copy of the descriptor. One read or write is one Ethernet frame; with @vnet_hdr a struct
 * virtio_net_hdr of 10 bytes stands in front of it. Returns -errno with @err telling the cure.
 */
int tap_open(const char *name, bool vnet_hdr, struct err *err);

/*
 * The same for a TUN device: one read or write is a struct virtio_net_hdr of 10 bytes and one IP
 * packet. Packets that are read have complete checksums and are no longer than the MTU.
 */
int tap_open_tun(const char *name, struct err *err);

#endif
