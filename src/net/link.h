/* SPDX-License-Identifier: Apache-2.0 */
/* net/link - network devices, addresses and routes of the current network namespace */
#ifndef NSWRAP_NET_LINK_H
#define NSWRAP_NET_LINK_H

/*
 * How it works
 *
 * One rtnetlink socket, one request and one acknowledgement per call, some microseconds each. All
 * functions return 0 or -errno (-EPERM without CAP_NET_ADMIN over the namespace). @nl is what
 * link_open returned; the socket works on the namespace in which it was opened, for ever. Addresses
 * are struct in_addr or struct in6_addr as @family says, AF_INET or AF_INET6.
 *
 * Setting lo up is all it takes to have 127.0.0.1/8 and ::1/128: the kernel adds them. For a device
 * with static IPv6: link_set_addrgen_none and link_write_conf(.. "accept_ra", 0) first, then
 * link_set_up, then a static link-local address beside the global one. Where accept_ra cannot be
 * written, leave the link-local address out: with it the kernel solicits routers, and libslirp's
 * answer brings a second address and a second default route.
 */

/* Returns a descriptor (close-on-exec) or -errno. */
int link_open(void);

/* Index of the device @name, or -errno (-ENODEV: there is none). */
int link_index(int nl, const char *name);

/* Set the device up; @mtu in bytes, 0 leaves it alone. */
int link_set_up(int nl, int ifindex, unsigned mtu);

/*
 * Add an address (-EEXIST when it is there). IPv6 addresses come without duplicate address
 * detection: they are usable at once.
 */
int link_add_addr(int nl, int ifindex, int family, const void *addr, int prefix_len);

/* Add 0.0.0.0/0 or ::/0 through @gateway. The device must be up. */
int link_add_default_route(int nl, int ifindex, int family, const void *gateway);

/*
 * Add a route to @dst/@prefix_len through @gateway, or directly on the device when @gateway is
 * NULL. @table is RT_TABLE_MAIN, RT_TABLE_LOCAL or another number.
 */
int link_add_route(int nl, int ifindex, int family, const void *dst, int prefix_len,
	const void *gateway, int table);

/*
 * Let the kernel make no link-local IPv6 address by itself. Only before the device is set up: with
 * the automatic address come duplicate address detection and router solicitations. Neighbour
 * discovery works without any link-local address, but a static one is what RFC 4291 asks for.
 * -EAFNOSUPPORT when the kernel runs without IPv6.
 */
int link_set_addrgen_none(int nl, int ifindex);

/*
 * Let 127.0.0.0/8 be a source or destination on this device (net.ipv4.conf.DEV.route_localnet),
 * over netlink, so it works where /proc/sys is read-only. When a kernel refuses, the caller may try
 * link_write_conf.
 */
int link_set_route_localnet(int nl, int ifindex);

/*
 * Write /proc/sys/net/ipv4|ipv6/conf/@name/@key, of the network namespace of the calling thread.
 * For what netlink cannot set: accept_ra and rp_filter, for instance. -EROFS or -EACCES inside many
 * containers, -ENOENT when the kernel runs without IPv6.
 */
int link_write_conf(int family, const char *name, const char *key, int value);

#endif
