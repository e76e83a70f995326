/* SPDX-License-Identifier: Apache-2.0 */
/* forward/outward - read and print rules that lead a port of the inside outwards: "5432:db:5432" */
#include "forward/outward.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "util/parse.h"

#define UNIX_PREFIX "unix:"
#define DIGITS      "0123456789"
#define NAME_CHARS  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" DIGITS "-._"

static int not_of_form(const char *text, struct err *err)
{
	return err_set(err, EINVAL,
		"%s leads no port outwards: expected [GUEST_ADDR:]PORT:[HOST:]PORT[/tcp|/udp], "
		"with /PATH or unix:PATH on either side, an IPv6 address in brackets",
		PARSE_QUOTED(text));
}

/* Cuts what marks a path off *@rest, which ssh(1) knows by its "/". */
static bool take_mark(char **rest)
{
	if (strncmp(*rest, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
		*rest += strlen(UNIX_PREFIX);
	else if (**rest != '/')
		return false;
	return true;
}

static int read_path(const char *path, struct addr *out, struct err *err)
{
	const size_t len = strlen(path);

	if (len == 0)
		return err_set(err, EINVAL, "a path is empty: expected unix:PATH");
	if (len > ADDR_PATH_MAX)
		return err_set(err, EINVAL,
			"the path %s has %zu bytes: a unix socket's has at most %zu",
			PARSE_QUOTED(path), len, ADDR_PATH_MAX);
	*out = (struct addr){.family = AF_UNIX};
	memcpy(out->local.sun_path, path, len);
	return 0;
}

static int read_port(const char *text, const char *side, uint16_t *out, struct err *err)
{
	if (parse_port(text, false, out, NULL) == 0)
		return 0;
	return err_set(err, EINVAL, "%s is no %s port: expected a number from 1 to 65535",
		PARSE_QUOTED(text), side);
}

/* Cut what stands in front of the next colon off *@rest; brackets keep colons. NULL: no colon. */
static char *take_field(char **rest)
{
	char *field = *rest, *from = *rest[0] == '[' ? strchr(*rest, ']') : *rest;
	char *colon = from ? strchr(from, ':') : NULL;

	if (!colon)
		return NULL;
	*colon = '\0';
	*rest = colon + 1;
	return field;
}

/* Cuts the side of the guest off *@rest. Nothing left there: NULL. */
static int read_guest(char **rest, const char *whole, struct outward_spec *out, struct err *err)
{
	uint16_t port;
	bool is_path = take_mark(rest);
	char *field = take_field(rest);
	if (!field)
		return not_of_form(whole, err);
	if (is_path)
		return read_path(field, &out->guest, err);
	out->guest = addr_loopback4(0);
	/* what is no number is an address; "8000-8010" and "80/tcp" are wrong numbers */
	const size_t ndigits = strspn(field, DIGITS);
	if (ndigits == 0 || field[ndigits] == '.') {
		if (addr_parse_own(field, &out->guest, err) < 0)
			return -EINVAL;
		field = take_field(rest);
		if (!field)
			return not_of_form(whole, err);
	}
	if (read_port(field, "guest", &port, err) < 0)
		return -EINVAL;
	addr_set_port(&out->guest, port);
	return 0;
}

static int read_host(const char *host, struct outward_spec *out, struct err *err)
{
	struct addr addr;
	const bool is_address = addr_parse(host, &addr, NULL) == 0;

	if (is_address && addr_parse_host(host, &addr, err) < 0)
		return -EINVAL;
	if (is_address && addr_is_wildcard(&addr))
		return err_set(err, EINVAL, "%s is no address of a host", host);
	if (is_address) {
		addr_format_ip(&addr, out->host, sizeof(out->host));
		return 0;
	}
	if (host[0] == '\0' || host[strspn(host, NAME_CHARS)] != '\0' ||
		strspn(host, DIGITS ".") == strlen(host) || strlen(host) >= sizeof(out->host))
		return err_set(err, EINVAL, "%s is no host: expected a name or an address",
			PARSE_QUOTED(host));
	snprintf(out->host, sizeof(out->host), "%s", host);
	return 0;
}

static int read_target(char *rest, const char *whole, struct outward_spec *out, struct err *err)
{
	if (take_mark(&rest))
		return read_path(rest, &out->path, err);
	if (addr_take_proto(rest, &out->proto, err) < 0)
		return -EINVAL;
	char *host = take_field(&rest);
	if (strchr(rest, ':'))
		return not_of_form(whole, err);
	if (read_port(rest, "host", &out->port, err) < 0 ||
		read_host(host ? host : "localhost", out, err) < 0)
		return -EINVAL;
	if (out->proto == PROTO_UDP && out->guest.family == AF_UNIX)
		return err_set(err, EINVAL, "%s asks for /udp: a unix socket leads to TCP only",
			PARSE_QUOTED(whole));
	return 0;
}

int outward_parse(const char *text, struct outward_spec *out, struct err *err)
{
	struct outward_spec spec = {.proto = PROTO_TCP};
	char copy[OUTWARD_TEXT_BYTES], *rest = copy;

	if (snprintf(copy, sizeof(copy), "%s", text) >= (int)sizeof(copy))
		return not_of_form(text, err);
	if (!strchr(text, ':') && text[0] != '/') { /* a port alone */
		uint16_t port;

		if (addr_take_proto(copy, &spec.proto, err) < 0 ||
			read_port(copy, "guest", &port, err) < 0)
			return -EINVAL;
		spec.guest = addr_loopback4(port);
		spec.port = port;
		snprintf(spec.host, sizeof(spec.host), "localhost");
	} else if (read_guest(&rest, text, &spec, err) < 0 ||
		   read_target(rest, text, &spec, err) < 0) {
		return -EINVAL;
	}
	*out = spec;
	return 0;
}

char *outward_format_target(const struct outward_spec *spec, char *out, size_t cap_bytes)
{
	const bool is_v6 = strchr(spec->host, ':');

	if (spec->host[0] == '\0')
		return addr_format(&spec->path, out, cap_bytes);
	snprintf(out, cap_bytes, "%s%s%s:%u", is_v6 ? "[" : "", spec->host, is_v6 ? "]" : "",
		spec->port);
	return out;
}

char *outward_format(const struct outward_spec *spec, char *out, size_t cap_bytes)
{
	char guest[ADDR_TEXT_BYTES], target[OUTWARD_TEXT_BYTES];

	snprintf(out, cap_bytes, "%s:%s%s%s", addr_format(&spec->guest, guest, sizeof(guest)),
		outward_format_target(spec, target, sizeof(target)), spec->host[0] ? "/" : "",
		spec->host[0] ? addr_proto_name(spec->proto) : "");
	return out;
}

bool outward_clash(const struct outward_spec *a, const struct outward_spec *b)
{
	if (a->guest.family != b->guest.family || a->proto != b->proto)
		return false;
	if (a->guest.family == AF_UNIX)
		return addr_equal(&a->guest, &b->guest);
	return addr_port(&a->guest) == addr_port(&b->guest) &&
	       (addr_is_wildcard(&a->guest) || addr_is_wildcard(&b->guest) ||
		       addr_is_same_ip(&a->guest, &b->guest));
}

bool outward_equal(const struct outward_spec *a, const struct outward_spec *b)
{
	return addr_equal(&a->guest, &b->guest) && a->proto == b->proto && a->port == b->port &&
	       strcasecmp(a->host, b->host) == 0 && (a->host[0] || addr_equal(&a->path, &b->path));
}

/* A wildcard is one of its own family (conn/bind). */
static bool leads_to(const struct forward_spec *in, const struct addr *target)
{
	return addr_is_same_ip(&in->host, target) ||
	       (in->host.family == target->family && addr_is_wildcard(&in->host) &&
		       addr_is_loopback(target));
}

static bool is_circle(const struct outward_spec *out, const struct forward_spec *in)
{
	struct addr target;

	if (in->host.family == AF_UNIX || out->guest.family == AF_UNIX || out->host[0] == '\0' ||
		in->proto != out->proto || in->guest_port != addr_port(&out->guest) ||
		addr_port(&in->host) != out->port)
		return false;
	if (strcasecmp(out->host, "localhost") != 0)
		return addr_parse_host(out->host, &target, NULL) == 0 && leads_to(in, &target);
	const struct addr first = addr_loopback4(0), second = addr_of6(&in6addr_loopback, 0);
	/* datagrams have no second address, as nobody says whether the first one has them */
	return leads_to(in, &first) || (out->proto == PROTO_TCP && leads_to(in, &second));
}

int outward_check_circle(
	const struct outward_spec *out, const struct forward_spec *in, struct err *err)
{
	char text[OUTWARD_TEXT_BYTES], forward[FORWARD_TEXT_BYTES];

	if (!is_circle(out, in))
		return 0;
	return err_set(err, EINVAL,
		"-R %s and -p %s lead to one another: expected one of them, or another port",
		PARSE_SHOWN(outward_format(out, text, sizeof(text))),
		PARSE_SHOWN(spec_format(in, forward, sizeof(forward))));
}

bool outward_has_name(const struct outward_spec *spec)
{
	struct addr addr;

	return spec->host[0] != '\0' && strcasecmp(spec->host, "localhost") != 0 &&
	       addr_parse_host(spec->host, &addr, NULL) < 0;
}

int outward_list_add(struct outward_list *list, const struct outward_spec *spec, struct err *err)
{
	if (list->count == OUTWARD_MAX)
		return err_set(err, EINVAL, "too many ports lead outwards: expected at most %d",
			OUTWARD_MAX);
	list->items = g_renew(struct outward_spec, list->items, list->count + 1);
	list->items[list->count++] = *spec;
	return 0;
}

void outward_list_free(struct outward_list *list)
{
	g_clear_pointer(&list->items, g_free);
	list->count = 0;
}
