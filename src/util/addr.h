/* SPDX-License-Identifier: Apache-2.0 */
/* util/addr - where a socket is: an IPv4 or IPv6 address with its port, or a path */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "util/err.h"

enum proto { PROTO_TCP, PROTO_UDP };

/* All zero: none (family AF_UNSPEC). Fit for bind(2) and connect(2) as it is, with addr_len. */
struct addr {
	union {
		sa_family_t family;
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_un local; /* sun_path ends with NUL */
	};
};

#define ADDR_PATH_MAX   (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)
#define ADDR_TEXT_BYTES 128 /* the longest addr_format, with its NUL */

/* @port in host order. */
struct addr addr_of4(struct in_addr ip, uint16_t port);
struct addr addr_of6(const struct in6_addr *ip, uint16_t port);
/* 127.0.0.1 */
struct addr addr_loopback4(uint16_t port);

/* Bytes of it that the system's calls want; 0 if it is none. */
socklen_t addr_len(const struct addr *addr);

/* In host order; 0 for a path. Setting it does nothing there. */
uint16_t addr_port(const struct addr *addr);
void addr_set_port(struct addr *addr, uint16_t port);

/* addr_is_same_ip leaves ports out; paths are compared as texts. */
bool addr_equal(const struct addr *a, const struct addr *b);
bool addr_is_same_ip(const struct addr *a, const struct addr *b);

/* Only this machine can reach it: 127.0.0.0/8, ::1, a path. */
bool addr_is_loopback(const struct addr *addr);
/* 0.0.0.0 or :: */
bool addr_is_wildcard(const struct addr *addr);

/*
 * An IPv4 address of four decimal parts, or an IPv6 address that may stand in brackets (IPv4 may
 * not); no names, no zones. The port is 0. Returns 0 or -EINVAL with @err filled; @out is untouched
 * then.
 */
int addr_parse(const char *text, struct addr *out, struct err *err);

/*
 * The same for what one host can have, or all addresses (0.0.0.0, ::): no multicast, broadcast,
 * class E or link-local IPv6; no IPv4-mapped IPv6: a second spelling gets past comparisons.
 */
int addr_parse_host(const char *text, struct addr *out, struct err *err);

/*
 * The same for what is listened at, as ssh(1) has it: "localhost" is 127.0.0.1, "*" and nothing are
 * 0.0.0.0.
 */
int addr_parse_own(const char *text, struct addr *out, struct err *err);

/*
 * "10.0.2.0/24", the prefix 0..32; bits of the host part must be zero. *@network is in network
 * order. Returns 0 or -EINVAL; -ERANGE when those bits alone are wrong: the results are as if they
 * were zero.
 */
int addr_parse_cidr4(const char *text, struct in_addr *network, int *prefix_len, struct err *err);

/* The same for "fd00::/64", the prefix 0..128. */
int addr_parse_cidr6(const char *text, struct in6_addr *prefix, int *prefix_len, struct err *err);

/*
 * "127.0.0.1:80", "[::1]:80", "unix:/tmp/s" (control characters as they are). addr_format_ip is the
 * address alone, without brackets; of a path that is the path. Both return @out.
 */
char *addr_format(const struct addr *addr, char *out, size_t cap_bytes);
char *addr_format_ip(const struct addr *addr, char *out, size_t cap_bytes);

/* "::ffff:192.0.2.1", as a socket for both families has it, is 192.0.2.1 from now on. */
void addr_unmap(struct addr *addr);

/* getsockname(2) and getpeername(2), with addr_unmap. Return 0 or -errno. */
int addr_get_own(int fd, struct addr *out);
int addr_get_peer(int fd, struct addr *out);

/* "tcp", "udp"; SOCK_STREAM, SOCK_DGRAM; IPPROTO_TCP, IPPROTO_UDP */
const char *addr_proto_name(enum proto proto);
int addr_proto_type(enum proto proto);
int addr_proto_number(enum proto proto);

/* Cut "/tcp" or "/udp" off the end of @text; PROTO_TCP where there is none. 0, or -EINVAL with @err
 * filled. */
int addr_take_proto(char *text, enum proto *out, struct err *err);
