/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/endpoint - where an end of a tunnel listens, or what it connects to */
#include "tunnel/endpoint.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util/parse.h"

#define EXPECTED "expected HOST:PORT, [IPV6]:PORT or unix:PATH"

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

static bool is_name(const char *host)
{
	return host[0] && host[0] != '-' &&
	       host[strspn(host,
		       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")] ==
		       '\0';
}

/* @text is HOST:PORT: *@host is the host, without brackets. */
static int split(const char *text, bool zero_ok, char host[ENDPOINT_HOST_MAX + 1],
	bool *is_bracketed, uint16_t *port, struct err *err)
{
	const char *colon = strrchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : 0;

	if (!colon || len > ENDPOINT_HOST_MAX)
		return err_set(err, EINVAL, "%s: " EXPECTED, PARSE_QUOTED(text));
	if (parse_port(colon + 1, zero_ok, port, err) < 0)
		return -EINVAL;
	*is_bracketed = len >= 2 && text[0] == '[' && text[len - 1] == ']';
	if (!*is_bracketed && memchr(text, ':', len))
		return err_set(err, EINVAL, "%s: expected an IPv6 address in brackets: [%.*s]:%s",
			PARSE_QUOTED(text), (int)len, text, colon + 1);
	snprintf(host, ENDPOINT_HOST_MAX + 1, "%.*s", (int)(*is_bracketed ? len - 2 : len),
		text + *is_bracketed);
	return 0;
}

static int parse_ip(
	const char *host, bool is_bracketed, uint16_t port, struct addr *out, struct err *err)
{
	int result = addr_parse_unmapped(host, out, err);

	if (result == 0 && is_bracketed != (out->family == AF_INET6))
		result = err_set(err, EINVAL, "%s: " EXPECTED, PARSE_QUOTED(host));
	if (result == 0)
		addr_set_port(out, port);
	return result;
}

int endpoint_parse(const char *text, struct endpoint *out, struct err *err)
{
	struct endpoint endpoint = {.port = 0};
	bool is_bracketed;

	if (strncmp(text, "unix:", 5) == 0) {
		int result = parse_path(text + 5, &endpoint.addr, err);
		if (result == 0)
			*out = endpoint;
		return result;
	}
	if (split(text, false, endpoint.host, &is_bracketed, &endpoint.port, err) < 0)
		return -EINVAL;
	if (parse_ip(endpoint.host, is_bracketed, endpoint.port, &endpoint.addr, NULL) == 0)
		endpoint.host[0] = '\0';
	else if (is_bracketed || !is_name(endpoint.host))
		return err_set(err, EINVAL, "%s: " EXPECTED, PARSE_QUOTED(text));
	*out = endpoint;
	return 0;
}

int endpoint_parse_own(const char *text, struct addr *out, struct err *err)
{
	char host[ENDPOINT_HOST_MAX + 1];
	bool is_bracketed;
	uint16_t port;

	if (strncmp(text, "unix:", 5) == 0)
		return parse_path(text + 5, out, err);
	if (split(text, true, host, &is_bracketed, &port, err) < 0)
		return -EINVAL;
	if (strcmp(host, "localhost") == 0)
		*out = addr_loopback4(port);
	else if (!is_bracketed && (host[0] == '\0' || strcmp(host, "*") == 0))
		*out = addr_of4((struct in_addr){0}, port);
	else if (parse_ip(host, is_bracketed, port, out, NULL) < 0)
		return err_set(err, EINVAL,
			"%s: expected an address of this host and a port, such as 127.0.0.1:3000, "
			"or unix:PATH",
			PARSE_QUOTED(text));
	return 0;
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
