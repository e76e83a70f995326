/* SPDX-License-Identifier: Apache-2.0 */
/* util/addr - where a socket is: an IPv4 or IPv6 address with its port, or a path */
#include "util/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "util/parse.h"

#define CIDR_BYTES (INET6_ADDRSTRLEN + 4)

struct addr addr_of4(struct in_addr ip, uint16_t port)
{
	return (struct addr){
		.v4 = {.sin_family = AF_INET, .sin_addr = ip, .sin_port = htons(port)}};
}

struct addr addr_of6(const struct in6_addr *ip, uint16_t port)
{
	return (struct addr){
		.v6 = {.sin6_family = AF_INET6, .sin6_addr = *ip, .sin6_port = htons(port)}};
}

struct addr addr_loopback4(uint16_t port)
{
	return addr_of4((struct in_addr){htonl(INADDR_LOOPBACK)}, port);
}

socklen_t addr_len(const struct addr *addr)
{
	switch (addr->family) {
	case AF_INET:
		return sizeof(addr->v4);
	case AF_INET6:
		return sizeof(addr->v6);
	case AF_UNIX:
		return (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
				   strlen(addr->local.sun_path) + 1);
	default:
		return 0;
	}
}

uint16_t addr_port(const struct addr *addr)
{
	switch (addr->family) {
	case AF_INET:
		return ntohs(addr->v4.sin_port);
	case AF_INET6:
		return ntohs(addr->v6.sin6_port);
	default:
		return 0;
	}
}

void addr_set_port(struct addr *addr, uint16_t port)
{
	if (addr->family == AF_INET)
		addr->v4.sin_port = htons(port);
	else if (addr->family == AF_INET6)
		addr->v6.sin6_port = htons(port);
}

bool addr_is_same_ip(const struct addr *a, const struct addr *b)
{
	if (a->family != b->family)
		return false;
	switch (a->family) {
	case AF_INET:
		return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
	case AF_INET6:
		return IN6_ARE_ADDR_EQUAL(&a->v6.sin6_addr, &b->v6.sin6_addr) &&
		       a->v6.sin6_scope_id == b->v6.sin6_scope_id;
	case AF_UNIX:
		return strcmp(a->local.sun_path, b->local.sun_path) == 0;
	default:
		return true;
	}
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
	return addr_is_same_ip(a, b) && addr_port(a) == addr_port(b);
}

bool addr_is_loopback(const struct addr *addr)
{
	switch (addr->family) {
	case AF_INET:
		return ntohl(addr->v4.sin_addr.s_addr) >> 24 == 127;
	case AF_INET6:
		return IN6_IS_ADDR_LOOPBACK(&addr->v6.sin6_addr);
	default:
		return addr->family == AF_UNIX;
	}
}

bool addr_is_wildcard(const struct addr *addr)
{
	if (addr->family == AF_INET)
		return addr->v4.sin_addr.s_addr == htonl(INADDR_ANY);
	return addr->family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&addr->v6.sin6_addr);
}

/* The address of @text without the brackets around it, if it has them, else @text itself. */
static const char *inside_brackets(const char *text, char *buf, size_t cap_bytes)
{
	size_t len = strlen(text);

	if (len < 2 || len - 2 >= cap_bytes || text[0] != '[' || text[len - 1] != ']')
		return text;
	memcpy(buf, text + 1, len - 2);
	buf[len - 2] = '\0';
	return buf;
}

int addr_parse(const char *text, struct addr *out, struct err *err)
{
	char bare[INET6_ADDRSTRLEN];
	struct in_addr v4;
	struct in6_addr v6;

	if (inet_pton(AF_INET, text, &v4) == 1)
		*out = addr_of4(v4, 0);
	else if (inet_pton(AF_INET6, inside_brackets(text, bare, sizeof(bare)), &v6) == 1)
		*out = addr_of6(&v6, 0);
	else
		return err_set(err, EINVAL,
			"%s is no IP address: expected one such as 127.0.0.1 or ::1, no host name",
			PARSE_QUOTED(text));
	return 0;
}

/* From 224.0.0.0 on, ff00::/8. */
static bool is_of_many(const struct addr *addr)
{
	return addr->family == AF_INET ? ntohl(addr->v4.sin_addr.s_addr) >> 28 >= 14
				       : IN6_IS_ADDR_MULTICAST(&addr->v6.sin6_addr);
}

int addr_parse_host(const char *text, struct addr *out, struct err *err)
{
	char plain[INET_ADDRSTRLEN];
	struct addr addr = {0};
	int result = addr_parse(text, &addr, err);

	if (result < 0)
		return result;
	if (addr.family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&addr.v6.sin6_addr)) {
		inet_ntop(AF_INET, &addr.v6.sin6_addr.s6_addr[12], plain, sizeof(plain));
		return err_set(err, EINVAL, "%s is an IPv4 address: expected %s",
			PARSE_QUOTED(text), plain);
	}
	if (is_of_many(&addr))
		return err_set(err, EINVAL, "%s is no address of a host", PARSE_SHOWN(text));
	if (addr.family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&addr.v6.sin6_addr))
		return err_set(err, EINVAL,
			"%s says nothing without its interface, which cannot be given here: "
			"expected an address that is not link-local",
			PARSE_SHOWN(text));
	*out = addr;
	return 0;
}

int addr_parse_own(const char *text, struct addr *out, struct err *err)
{
	if (text[0] == '\0' || strcmp(text, "*") == 0)
		*out = addr_of4((struct in_addr){INADDR_ANY}, 0);
	else if (strcasecmp(text, "localhost") == 0)
		*out = addr_loopback4(0);
	else
		return addr_parse_host(text, out, err);
	return 0;
}

/* What both families have alike. @addr: of @bytes bytes. */
static int parse_cidr(
	const char *text, int family, void *addr, size_t bytes, int *prefix_len, struct err *err)
{
	char head[CIDR_BYTES], expected[INET6_ADDRSTRLEN];
	const char *quoted = PARSE_QUOTED(text), *slash = strchrnul(text, '/');
	const char *kind = family == AF_INET ? "IPv4" : "IPv6";
	unsigned char masked[sizeof(struct in6_addr)] = {0};
	unsigned long prefix;

	snprintf(head, sizeof(head), "%.*s", (int)(slash - text), text);
	if (!*slash || strlen(text) >= CIDR_BYTES || inet_pton(family, head, addr) != 1)
		return err_set(err, EINVAL, "%s is no %s network: expected one such as %s", quoted,
			kind, family == AF_INET ? "10.0.2.0/24" : "fd00::/64");
	if (parse_uint(slash + 1, bytes * 8, &prefix) < 0)
		return err_set(err, EINVAL,
			"%s is no %s network: expected a prefix from 0 to %zu behind the slash",
			quoted, kind, bytes * 8);
	memcpy(masked, addr, prefix / 8);
	if (prefix % 8)
		masked[prefix / 8] =
			((unsigned char *)addr)[prefix / 8] & (unsigned char)(0xff00 >> prefix % 8);
	*prefix_len = (int)prefix;
	if (memcmp(masked, addr, bytes) == 0)
		return 0;
	memcpy(addr, masked, bytes);
	return err_set(err, ERANGE, "%s has bits behind its prefix: expected %s/%lu", quoted,
		inet_ntop(family, masked, expected, sizeof(expected)), prefix);
}

int addr_parse_cidr4(const char *text, struct in_addr *network, int *prefix_len, struct err *err)
{
	struct in_addr addr;
	int result = parse_cidr(text, AF_INET, &addr, sizeof(addr), prefix_len, err);

	if (result != -EINVAL)
		*network = addr;
	return result;
}

int addr_parse_cidr6(const char *text, struct in6_addr *prefix, int *prefix_len, struct err *err)
{
	struct in6_addr addr;
	int result = parse_cidr(text, AF_INET6, &addr, sizeof(addr), prefix_len, err);

	if (result != -EINVAL)
		*prefix = addr;
	return result;
}

char *addr_format_ip(const struct addr *addr, char *out, size_t cap_bytes)
{
	if (cap_bytes > 0)
		out[0] = '\0';
	if (addr->family == AF_INET)
		inet_ntop(AF_INET, &addr->v4.sin_addr, out, (socklen_t)cap_bytes);
	else if (addr->family == AF_INET6)
		inet_ntop(AF_INET6, &addr->v6.sin6_addr, out, (socklen_t)cap_bytes);
	else if (addr->family == AF_UNIX)
		snprintf(out, cap_bytes, "%s", addr->local.sun_path);
	return out;
}

char *addr_format(const struct addr *addr, char *out, size_t cap_bytes)
{
	char ip[ADDR_TEXT_BYTES];

	addr_format_ip(addr, ip, sizeof(ip));
	if (addr->family == AF_UNIX)
		snprintf(out, cap_bytes, "unix:%s", ip);
	else
		snprintf(out, cap_bytes, addr->family == AF_INET6 ? "[%s]:%u" : "%s:%u", ip,
			addr_port(addr));
	return out;
}

void addr_unmap(struct addr *addr)
{
	struct in_addr ip;

	if (addr->family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&addr->v6.sin6_addr))
		return;
	memcpy(&ip, &addr->v6.sin6_addr.s6_addr[12], sizeof(ip));
	*addr = addr_of4(ip, ntohs(addr->v6.sin6_port));
}

int addr_get_own(int fd, struct addr *out)
{
	socklen_t len = sizeof(*out);

	*out = (struct addr){0};
	if (getsockname(fd, &out->any, &len) < 0)
		return -errno;
	addr_unmap(out);
	return 0;
}

int addr_get_peer(int fd, struct addr *out)
{
	socklen_t len = sizeof(*out);

	*out = (struct addr){0};
	if (getpeername(fd, &out->any, &len) < 0)
		return -errno;
	addr_unmap(out);
	return 0;
}

const char *addr_proto_name(enum proto proto)
{
	return proto == PROTO_UDP ? "udp" : "tcp";
}

int addr_proto_type(enum proto proto)
{
	return proto == PROTO_UDP ? SOCK_DGRAM : SOCK_STREAM;
}

int addr_proto_number(enum proto proto)
{
	return proto == PROTO_UDP ? IPPROTO_UDP : IPPROTO_TCP;
}

int addr_take_proto(char *text, enum proto *out, struct err *err)
{
	char *slash = strchr(text, '/');

	*out = slash && strcmp(slash, "/udp") == 0 ? PROTO_UDP : PROTO_TCP;
	if (slash && *out == PROTO_TCP && strcmp(slash, "/tcp") != 0)
		return err_set(err, EINVAL, "%s is no protocol: expected /tcp or /udp",
			PARSE_QUOTED(slash));
	if (slash)
		*slash = '\0';
	return 0;
}
