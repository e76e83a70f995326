/* SPDX-License-Identifier: Apache-2.0 */
/* forward/spec - read and print port forwarding rules such as "127.0.0.1:8080:80/tcp" */
#ifndef NSWRAP_FORWARD_SPEC_H
#define NSWRAP_FORWARD_SPEC_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "util/err.h"

#define FORWARD_MAX        1024 /* rules in one list */
#define FORWARD_TEXT_BYTES 128  /* the longest forward_spec_format, with its NUL */

enum forward_proto { FORWARD_TCP, FORWARD_UDP };

/* Where the host listens. */
struct forward_addr {
	int family; /* AF_INET, AF_INET6, AF_UNIX */
	union {
		struct in_addr v4;
		struct in6_addr v6; /* never an IPv4-mapped one */
		char path[108];     /* 1 to 107 bytes and NUL, may be relative */
	};
};

struct forward_spec {
	struct forward_addr host;
	uint16_t host_port;  /* host order; 0: pick a free one (0 for unix too) */
	uint16_t guest_port; /* host order; 0 only with host_port 0: the same as is picked */
	enum forward_proto proto;
};

/* Starts as all zero; the items belong to the list. */
struct forward_list {
	struct forward_spec *items;
	size_t count;
};

/* Free the items; the list is empty and can be used again. */
void forward_list_free(struct forward_list *list);

/*
 * Read "[ADDR:]HOST:GUEST[/tcp|/udp]" or "unix:PATH:GUEST" and append what it says. ADDR is an IPv4
 * address, or an IPv6 address in brackets; names are not looked up. HOST may be 0: a free port.
 * HOST and GUEST may be ranges of the same length, "8000-8010:9000-9010": one rule each. PATH ends
 * at the last colon.
 *
 * @bind (IPv4 or IPv6, NULL: 127.0.0.1) is the listen address where the text has none. Pure: opens
 * and resolves nothing. Returns 0, or with @err naming the part of @text that is wrong -EINVAL
 * (also for more than FORWARD_MAX rules) or -ENOMEM; the list is then untouched.
 */
int forward_list_parse(struct forward_list *list, const char *text, const struct forward_addr *bind,
	struct err *err);

/*
 * Read "[ADDR:]PORT" where the guest uses the same port as the host; 0: a free one, guest_port is
 * then 0 as well. TCP. @bind and errors as above; @out is untouched on error.
 */
int forward_host_parse(const char *text, const struct forward_addr *bind, struct forward_spec *out,
	struct err *err);

/* Append a copy. Returns 0, -EINVAL (FORWARD_MAX) or -ENOMEM; the list is then untouched. */
int forward_list_add(struct forward_list *list, const struct forward_spec *spec, struct err *err);

/*
 * Can all of them be listened at together? -EINVAL, with @err naming both, for the same host port
 * of the same protocol at equal addresses or at a wildcard and another address of its family
 * (port 0 never clashes), and for the same path; also for more than FORWARD_MAX. 0 otherwise.
 */
int forward_list_check(const struct forward_list *list, struct err *err);

/*
 * Write the canonical text, which reads back to an equal spec: "127.0.0.1:8080:80/tcp",
 * "[::1]:53:53/udp", "unix:/tmp/s:80" through forward_list_parse, and where guest_port is 0
 * "127.0.0.1:0" through forward_host_parse. Cut to @cap_bytes (FORWARD_TEXT_BYTES always do). A
 * path is written as it is, control characters too. Returns @out.
 */
char *forward_spec_format(const struct forward_spec *spec, char *out, size_t cap_bytes);

bool forward_addr_equal(const struct forward_addr *a, const struct forward_addr *b);
bool forward_spec_equal(const struct forward_spec *a, const struct forward_spec *b);

/* Only this machine can reach it: 127.0.0.0/8, ::1, a unix socket. */
bool forward_addr_is_loopback(const struct forward_addr *addr);

/* Fill @out for bind(2) or connect(2); @port in host order, not used for unix. Returns its size. */
socklen_t forward_addr_to_sockaddr(
	const struct forward_addr *addr, uint16_t port, struct sockaddr_storage *out);

#endif
