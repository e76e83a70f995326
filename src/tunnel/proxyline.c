/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/proxyline - who connected, told to a target by the PROXY protocol */
#include "tunnel/proxyline.h"

#include <stdio.h>
#include <string.h>

#include "tunnel/endpoint.h"

static size_t make_text(const struct addr *addr, char out[PROXYLINE_MAX])
{
	char ip[ADDR_TEXT_BYTES];

	if (addr->family != AF_INET && addr->family != AF_INET6)
		return (size_t)snprintf(out, PROXYLINE_MAX, "PROXY UNKNOWN\r\n");
	addr_format_ip(addr, ip, sizeof(ip));
	return (size_t)snprintf(out, PROXYLINE_MAX, "PROXY TCP%c %s %s %u %u\r\n",
		addr->family == AF_INET ? '4' : '6', ip, ip, addr_port(addr), addr_port(addr));
}

static size_t make_binary(const struct addr *addr, char out[PROXYLINE_MAX])
{
	static const char signature[] = "\r\n\r\n\0\r\nQUIT\n";
	size_t at = 16, ip_bytes;
	const void *ip, *port;

	memcpy(out, signature, 12);
	out[12] = 0x20; /* version 2, LOCAL: nothing is known */
	memset(out + 13, 0, 3);
	if (addr->family == AF_INET) {
		ip = &addr->v4.sin_addr, ip_bytes = 4, port = &addr->v4.sin_port;
		out[13] = 0x11;
	} else if (addr->family == AF_INET6) {
		ip = &addr->v6.sin6_addr, ip_bytes = 16, port = &addr->v6.sin6_port;
		out[13] = 0x21;
	} else {
		return at;
	}
	out[12] = 0x21; /* PROXY */
	out[15] = (char)(2 * ip_bytes + 4);
	for (int i = 0; i < 2; i++, at += ip_bytes)
		memcpy(out + at, ip, ip_bytes);
	for (int i = 0; i < 2; i++, at += 2)
		memcpy(out + at, port, 2);
	return at;
}

size_t proxyline_make(int version, const char *peer, char out[PROXYLINE_MAX])
{
	struct endpoint endpoint;
	struct addr addr = {.family = AF_UNSPEC};

	if (version == 0)
		return 0;
	if (endpoint_parse(peer, &endpoint, NULL) == 0 && !endpoint.host[0])
		addr = endpoint.addr;
	return version == 1 ? make_text(&addr, out) : make_binary(&addr, out);
}
