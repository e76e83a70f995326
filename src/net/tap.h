/* SPDX-License-Identifier: Apache-2.0 */
/* net/tap - virtual network devices whose other end is a file descriptor */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct err;

/* struct virtio_net_hdr as tun(4) puts it in front: without num_buffers, which it has by default */
#define TAP_HEADER_BYTES 10
/* the IP packet in a frame of a TAP device; a TUN device has nothing in front of it */
#define TAP_ETHER_BYTES ((size_t)14)

/*
 * Make the TAP device @name (1..15 bytes, taken literally) in the current network namespace and
 * return its descriptor, nonblocking and close-on-exec; the device is down and goes away with the
 * last copy of the descriptor. One read or write is one Ethernet frame; with @vnet_hdr
 * TAP_HEADER_BYTES stand in front of it: use tap_read and tap_write. Returns -errno with @err
 * telling the cure.
 */
int tap_open(const char *name, bool vnet_hdr, struct err *err);

/*
 * The same for a TUN device: one tap_read or tap_write is one IP packet. Packets that are read have
 * complete checksums and are no longer than the MTU.
 */
int tap_open_tun(const char *name, struct err *err);

/*
 * The device is to go away with its network namespace, which must be nobody else's, instead of with
 * its descriptor: the kernel takes 10 to 40 ms to take one down (synchronize_net), in close(2) or
 * where nobody waits for it (cleanup_net).
 */
void tap_leave_to_namespace(int fd);

/*
 * One frame or packet without its header, one system call. Returns its size, 0 for a header with
 * nothing behind it, or -errno (-EAGAIN: there is none).
 */
ssize_t tap_read(int fd, void *frame, size_t cap_bytes);

/*
 * The same the other way, with word that the TCP or UDP checksum needs no check: who hands it over
 * has it from where bytes do not get lost. @ip_at: where the IP packet begins, 0 or
 * TAP_ETHER_BYTES; what is neither IPv4 nor IPv6 there goes as it is. Returns 0 or -errno.
 */
int tap_write(int fd, const void *frame, size_t len, size_t ip_at);
