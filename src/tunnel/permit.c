/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/permit - what a tunnel's server lets its clients have: where it listens or connects to */
#include "tunnel/permit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "util/parse.h"

static int parse_ports(char *text, struct permit *permit, struct err *err)
{
	char *dash = strchr(text, '-');

	if (strcmp(text, "*") == 0) {
		permit->first = 0;
		permit->last = UINT16_MAX;
		return 0;
	}
	if (dash)
		*dash++ = '\0';
	int result = parse_port(text, false, &permit->first, err);
	permit->last = permit->first;
	if (result == 0 && dash)
		result = parse_port(dash, false, &permit->last, err);
	if (result == 0 && permit->last < permit->first)
		return err_set(err, EINVAL, "%s-%s: the last port is below the first", text, dash);
	return result;
}

/* @host is an address, a name or "*". */
static int parse_host(const char *host, struct permit *permit, struct err *err)
{
	struct endpoint endpoint;
	char text[ENDPOINT_HOST_MAX + 8];

	if (strcmp(host, "*") == 0)
		return 0;
	snprintf(text, sizeof(text), "%s:1", host);
	int result = endpoint_parse(text, &endpoint, err);
	if (result < 0)
		return result;
	permit->addr = endpoint.addr;
	memcpy(permit->host, endpoint.host, sizeof(permit->host));
	if (strcasecmp(permit->host, "localhost") == 0) {
		permit->host[0] = '\0';
		permit->addr = addr_loopback4(1);
	}
	return 0;
}

int permit_add(struct permits *permits, const char *text, struct err *err)
{
	struct permit permit = {.first = 0};
	struct endpoint path;
	char host[ENDPOINT_HOST_MAX + 1];
	const char *colon = strrchr(text, ':');
	int result = 0;

	if (permits->count == PERMITS_MAX)
		return err_set(
			err, EINVAL, "%s: expected at most %d", PARSE_QUOTED(text), PERMITS_MAX);
	if (strncmp(text, "unix:", 5) == 0) {
		result = endpoint_parse(text, &path, err);
		permit.addr = path.addr;
	} else if (!colon || colon == text || (size_t)(colon - text) >= sizeof(host)) {
		return err_set(err, EINVAL,
			"%s: expected HOST:PORT, HOST:FIRST-LAST, HOST:* or unix:PATH",
			PARSE_QUOTED(text));
	} else {
		char ports[16] = "";

		snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
		snprintf(ports, sizeof(ports), "%s", colon + 1);
		result = parse_host(host, &permit, err);
		if (result == 0)
			result = parse_ports(ports, &permit, err);
	}
	if (result == 0)
		permits->all[permits->count++] = permit;
	return result;
}

static bool matches(const struct permit *permit, const struct endpoint *endpoint)
{
	uint16_t port = endpoint->host[0] ? endpoint->port : addr_port(&endpoint->addr);

	if (permit->addr.family == AF_UNIX || endpoint->addr.family == AF_UNIX)
		return addr_equal(&permit->addr, &endpoint->addr);
	if (port < permit->first || port > permit->last)
		return false;
	if (permit->host[0])
		return strcasecmp(permit->host, endpoint->host) == 0;
	if (permit->addr.family == AF_UNSPEC)
		return true;
	return !endpoint->host[0] && addr_is_same_ip(&permit->addr, &endpoint->addr);
}

bool permit_allows(const struct permits *permits, const struct endpoint *endpoint)
{
	for (size_t i = 0; i < permits->count; i++)
		if (matches(&permits->all[i], endpoint))
			return true;
	return false;
}
