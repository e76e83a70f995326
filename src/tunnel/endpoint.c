/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/endpoint - where an end of a tunnel listens, or what it connects to */
#include "tunnel/endpoint.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "conn/listen.h"
#include "util/parse.h"

static int parse_path(const char *text, struct addr *out, struct err *err)
{
	size_t len = strlen(text);

	if (len == 0 || len > ADDR_PATH_MAX)
		return err_set(err, EINVAL,
			"%s: expected a path of 1 to %zu bytes behind unix:", PARSE_QUOTED(text),
			ADDR_PATH_MAX);
	*out = (struct addr){.family = AF_UNIX};
	memcpy(out->local.sun_path, text, len + 1);
	return 0;
}

int endpoint_parse(const char *text, struct endpoint *out, struct err *err)
{
	struct endpoint endpoint = {.port = 0};
	struct listen at;

	if (strncmp(text, "unix:", 5) == 0) {
		int result = parse_path(text + 5, &endpoint.addr, err);
		if (result == 0)
			*out = endpoint;
		return result;
	}
	if (text[0] != '[' && strchr(text, ':') != strrchr(text, ':'))
		return err_set(err, EINVAL,
			"%s: expected an IPv6 address in brackets, as in [::1]:80",
			PARSE_QUOTED(text));
	int result = listen_parse(text, 0, &at, err);
	if (result < 0)
		return result;
	if (at.port == 0 || !at.host[0] || at.host[0] == '-')
		return err_set(err, EINVAL, "%s: expected HOST:PORT, [IPV6]:PORT or unix:PATH",
			PARSE_QUOTED(text));
	bool is_ip = addr_parse(at.host, &endpoint.addr, NULL) == 0;
	if (is_ip && addr_parse_host(at.host, &endpoint.addr, err) < 0)
		return -EINVAL;
	if (!is_ip) {
		memcpy(endpoint.host, at.host, sizeof(endpoint.host));
		endpoint.port = at.port;
	}
	addr_set_port(&endpoint.addr, at.port);
	*out = endpoint;
	return 0;
}

int endpoint_parse_own(const char *text, struct addr *out, struct err *err)
{
	if (strncmp(text, "unix:", 5) == 0)
		return parse_path(text + 5, out, err);
	return listen_parse_own(text, out, err);
}

struct addr endpoint_read_peer(const char *text)
{
	struct addr peer = {.family = AF_UNSPEC};
	struct listen at;

	if (strncmp(text, "unix:", 5) == 0)
		return (struct addr){.family = AF_UNIX};
	if (listen_parse(text, 0, &at, NULL) == 0 && at.port > 0 &&
		addr_parse(at.host, &peer, NULL) == 0)
		addr_set_port(&peer, at.port);
	return peer;
}

struct dial_target endpoint_target(const struct endpoint *endpoint)
{
	return (struct dial_target){.where = DIAL_OUTSIDE,
		.host = endpoint->host[0] ? endpoint->host : NULL,
		.port = endpoint->port,
		.addr = endpoint->addr};
}

char *endpoint_format(const struct endpoint *endpoint, char *out, size_t cap_bytes)
{
	if (endpoint->host[0])
		snprintf(out, cap_bytes, "%s:%u", endpoint->host, endpoint->port);
	else
		addr_format(&endpoint->addr, out, cap_bytes);
	return out;
}
