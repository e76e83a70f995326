/* SPDX-License-Identifier: Apache-2.0 */
/* conn/listen - where a proxy listens, as people and NoRouter's managers write it */
#include "conn/listen.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "util/addr.h"
#include "util/parse.h"

static int refuse(const char *text, struct err *err)
{
	return err_set(err, EINVAL, "%s is no address: expected ADDR:PORT, such as 127.0.0.1:18080",
		PARSE_QUOTED(text));
}

/* Digits and dots are an address or a mistake. */
static bool is_host(const char *host)
{
	struct addr addr;

	if (!host[0])
		return true;
	if (host[0] == '[' || host[strspn(host, "0123456789.")] == '\0')
		return addr_parse(host, &addr, NULL) == 0;
	for (const char *c = host; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("-_.", *c))
			return false;
	return true;
}

static int read_port(const char *text, bool zero_ok, uint16_t *out, struct err *err)
{
	unsigned long value;
	int result = parse_uint(text, UINT16_MAX, &value);

	if (result == -ERANGE || (result == 0 && value == 0 && !zero_ok))
		return err_set(err, EINVAL, "port %s is out of range: expected %d to 65535",
			PARSE_SHOWN(text), !zero_ok);
	if (result < 0)
		return err_set(err, EINVAL, "port %s is no number: expected %d to 65535",
			PARSE_QUOTED(text), !zero_ok);
	*out = (uint16_t)value;
	return 0;
}

/* *@has_port: there was one. */
static int parse(
	const char *text, bool zero_ok, bool *has_port, struct listen *out, struct err *err)
{
	char rule[LISTEN_TEXT_BYTES + 4], *host = rule, *port;
	struct listen listen = {.port = 0};
	size_t len = strlen(text);

	if (len == 0 || len >= sizeof(rule))
		return refuse(text, err);
	memcpy(rule, text, len + 1);
	port = rule[len - 1] == ']' ? NULL : strrchr(rule, ':');
	if (port)
		*port++ = '\0';
	/* "18080" is a port that has lost its colon, rather than a host */
	if (!is_host(rule) || strlen(rule) > LISTEN_HOST_MAX)
		return refuse(text, err);
	int result = port ? read_port(port, zero_ok, &listen.port, err) : 0;
	if (result < 0)
		return result;
	if (host[0] == '[') {
		host++;
		host[strlen(host) - 1] = '\0';
	}
	memcpy(listen.host, host, strlen(host) + 1);
	*has_port = port;
	*out = listen;
	return 0;
}

int listen_parse(const char *text, uint16_t default_port, struct listen *out, struct err *err)
{
	bool has_port;
	int result = parse(text, false, &has_port, out, err);

	if (result == 0 && !has_port)
		out->port = default_port;
	return result;
}

int listen_parse_own(const char *text, struct addr *out, struct err *err)
{
	bool has_port;
	struct listen listen;
	struct addr addr;
	int result =
		parse(strncmp(text, "*:", 2) == 0 ? text + 1 : text, true, &has_port, &listen, err);

	if (result < 0)
		return result;
	if (addr_parse_own(listen.host, &addr, NULL) < 0)
		return err_set(err, EINVAL,
			"%s is no address: expected one of this host's, such as 127.0.0.1:3001",
			PARSE_QUOTED(listen.host));
	if (!has_port)
		return err_set(err, EINVAL,
			"%s has no port: expected ADDR:PORT, such as 127.0.0.1:3001",
			PARSE_QUOTED(text));
	addr_set_port(&addr, listen.port);
	*out = addr;
	return 0;
}

bool listen_is_local(const struct listen *listen)
{
	struct addr addr;

	if (addr_parse(listen->host, &addr, NULL) == 0)
		return addr_is_loopback(&addr);
	return strcasecmp(listen->host, "localhost") == 0;
}

char *listen_format(const struct listen *listen, char *out, size_t cap_bytes)
{
	bool is_ip6 = strchr(listen->host, ':');

	snprintf(out, cap_bytes, "%s%s%s:%u", is_ip6 ? "[" : "", listen->host, is_ip6 ? "]" : "",
		listen->port);
	return out;
}
