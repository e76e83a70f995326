/* SPDX-License-Identifier: Apache-2.0 */
/* net/netdev - network devices, addresses and routes of the current network namespace */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * How it works
 *
 * One rtnetlink socket, one request and one acknowledgement per call, some microseconds each. All
 * functions return 0 or -errno (-EPERM without CAP_NET_ADMIN over the namespace). @nl is what
 * netdev_open returned; the socket works on the namespace in which it was opened, for ever.
 * Addresses are struct in_addr or struct in6_addr as @family says, AF_INET or AF_INET6.
 *
 * Setting lo up is all it takes to have 127.0.0.1/8 and ::1/128: the kernel adds them. For a device
 * with static IPv6: netdev_set_addrgen_none and netdev_write_conf(.. "accept_ra", 0) first, then
 * netdev_set_up, then a static link-local address beside the global one. Where accept_ra cannot be
 * written, leave the link-local address out: with it the kernel solicits routers, and libslirp's
 * answer brings a second address and a second default route.
 */

/* Returns a descriptor (close-on-exec) or -errno. */
int netdev_open(void);

/* Index of the device @name, or -errno (-ENODEV: there is none). */
int netdev_index(int nl, const char *name);

/* Set the device up; @mtu in bytes, 0 leaves it alone. */
int netdev_set_up(int nl, int ifindex, unsigned mtu);

/* Set it down: its routes are lost, IPv4 addresses stay. */
int netdev_set_down(int nl, int ifindex);

/*
 * Add an address (-EEXIST when it is there). IPv6 addresses come without duplicate address
 * detection: they are usable at once.
 */
int netdev_add_addr(int nl, int ifindex, int family, const void *addr, int prefix_len);

int netdev_del_addr(int nl, int ifindex, int family, const void *addr, int prefix_len);

struct netdev_route {
	int family;
	const void *dst; /* NULL if the prefix is 0 bits long */
	int prefix_len;
	const void *gateway; /* NULL: directly on the device */
	const void *source;  /* address that is sent from if the sender does not care; NULL: any */
	int table;           /* RT_TABLE_MAIN, RT_TABLE_LOCAL or another number */
	bool is_local;       /* what goes there is this host's own */
};

/* The device must be up. -EEXIST when it is there; to delete: -ESRCH when it is not. */
int netdev_add_route(int nl, int ifindex, const struct netdev_route *route);
int netdev_del_route(int nl, int ifindex, const struct netdev_route *route);

/* Which table says where a packet goes; those with a smaller priority are asked first. */
struct netdev_rule {
	unsigned priority;
	int table;
	const struct in_addr *dst; /* NULL: whatever its destination */
	const char *iif;           /* it came in there; "lo": it is of this host's programs too */
	uint32_t mark;             /* 0: whatever its mark */
	int family;                /* 0: AF_INET */
};

/* -EEXIST when it is there; to delete: -ENOENT when it is not. */
int netdev_add_rule(int nl, const struct netdev_rule *rule);
int netdev_del_rule(int nl, const struct netdev_rule *rule);

/* Add 0.0.0.0/0 or ::/0 through @gateway to the main table. */
int netdev_add_default_route(int nl, int ifindex, int family, const void *gateway);

/*
 * Let the kernel make no link-local IPv6 address by itself. Only before the device is set up: with
 * the automatic address come duplicate address detection and router solicitations. Neighbour
 * discovery works without any link-local address, but a static one is what RFC 4291 asks for.
 * -EAFNOSUPPORT when the kernel runs without IPv6.
 */
int netdev_set_addrgen_none(int nl, int ifindex);

/*
 * Let 127.0.0.0/8 be a source or destination on this device (net.ipv4.conf.DEV.route_localnet),
 * over netlink, so it works where /proc/sys is read-only. When a kernel refuses, the caller may try
 * netdev_write_conf.
 */
int netdev_set_route_localnet(int nl, int ifindex);

/* The same for what comes from an address of this host's own (net.ipv4.conf.DEV.accept_local). */
int netdev_set_accept_local(int nl, int ifindex);

/* @ip on that device is at the Ethernet address @mac, for ever and whoever else says so. */
int netdev_add_neighbour(int nl, int ifindex, int family, const void *ip, const uint8_t mac[6]);

/*
 * Write /proc/sys/net/ipv4|ipv6/conf/@name/@key, of the network namespace of the calling thread.
 * For what netlink cannot set: accept_ra and rp_filter, for instance. -EROFS or -EACCES inside many
 * containers, -ENOENT when the kernel runs without IPv6.
 */
int netdev_write_conf(int family, const char *name, const char *key, int value);

/* Write /proc/sys/net/@key, such as "ipv4/tcp_rmem"; the same holds as above. */
int netdev_write_sysctl(const char *key, const char *value);

/* Read it to @value, without its end of line. Returns 0 or -errno; @value is "" then. */
int netdev_read_sysctl(const char *key, char *value, size_t cap_bytes);
