/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/proxyline - who connected to what, told to a target by the PROXY protocol */
#include "tunnel/proxyline.h"

#include <stdio.h>
#include <string.h>

#include "tunnel/endpoint.h"

/* Who connected, and to what: of one family, or of AF_UNSPEC. */
struct ends {
	struct addr source, destination;
};

static size_t make_text(const struct ends *ends, char out[PROXYLINE_MAX])
{
	const struct addr *from = &ends->source, *to = &ends->destination;
	char from_ip[ADDR_TEXT_BYTES], to_ip[ADDR_TEXT_BYTES];

	if (from->family == AF_UNSPEC)
		return (size_t)snprintf(out, PROXYLINE_MAX, "PROXY UNKNOWN\r\n");
	addr_format_ip(from, from_ip, sizeof(from_ip));
	addr_format_ip(to, to_ip, sizeof(to_ip));
	return (size_t)snprintf(out, PROXYLINE_MAX, "PROXY TCP%c %s %s %u %u\r\n",
		from->family == AF_INET ? '4' : '6', from_ip, to_ip, addr_port(from),
		addr_port(to));
}

/* The address without its port. Returns how many bytes. */
static size_t put_ip(const struct addr *addr, char *out)
{
	if (addr->family == AF_INET) {
		memcpy(out, &addr->v4.sin_addr, 4);
		return 4;
	}
	memcpy(out, &addr->v6.sin6_addr, 16);
	return 16;
}

static size_t put_port(const struct addr *addr, char *out)
{
	const uint16_t port_be = htons(addr_port(addr));

	memcpy(out, &port_be, 2);
	return 2;
}

static size_t make_binary(const struct ends *ends, char out[PROXYLINE_MAX])
{
	static const char signature[] = "\r\n\r\n\0\r\nQUIT\n";
	size_t at = 16;

	memcpy(out, signature, 12);
	out[12] = 0x20; /* version 2, LOCAL: nothing is known */
	memset(out + 13, 0, 3);
	if (ends->source.family == AF_UNSPEC)
		return at;
	out[12] = 0x21; /* PROXY */
	out[13] = ends->source.family == AF_INET ? 0x11 : 0x21;
	at += put_ip(&ends->source, out + at);
	at += put_ip(&ends->destination, out + at);
	at += put_port(&ends->source, out + at);
	at += put_port(&ends->destination, out + at);
	out[15] = (char)(at - 16);
	return at;
}

/* @text as an address with its port, or nothing. */
static struct addr read_ip(const char *text)
{
	struct addr peer = endpoint_read_peer(text);

	if (peer.family == AF_UNIX)
		peer.family = AF_UNSPEC;
	return peer;
}

size_t proxyline_make(int version, const char *peer, const char *dialled, char out[PROXYLINE_MAX])
{
	struct ends ends = {read_ip(peer), read_ip(dialled)};

	if (version == 0)
		return 0;
	if (ends.destination.family != ends.source.family)
		ends.destination = ends.source.family == AF_INET
					   ? addr_of4((struct in_addr){INADDR_ANY}, 0)
					   : addr_of6(&in6addr_any, 0);
	return version == 1 ? make_text(&ends, out) : make_binary(&ends, out);
}
