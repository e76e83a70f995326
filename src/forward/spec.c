/* SPDX-License-Identifier: Apache-2.0 */
/* forward/spec - read and print port forwarding rules such as "127.0.0.1:8080:80/tcp" */
#include "forward/spec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/parse.h"

#define UNIX_PREFIX "unix:"
#define LIST_FORM   "[ADDR:]HOST:GUEST[/tcp|/udp]"
#define HOST_FORM   "[ADDR:]PORT[/tcp|/udp] or [ADDR:]HOST:GUEST[/tcp|/udp]"
#define CLASH_BYTES 200 /* of each rule in the text of an error */

struct port_range {
	uint16_t first, last;
};

static size_t range_len(struct port_range range)
{
	return (size_t)range.last - range.first + 1;
}

static int not_of_form(const char *text, const char *form, struct err *err)
{
	return err_set(err, EINVAL, "%s is no forward: expected %s, an IPv6 ADDR in brackets",
		PARSE_QUOTED(text), form);
}

static int read_port(
	const char *text, const char *side, bool zero_ok, uint16_t *out, struct err *err)
{
	if (parse_port(text, zero_ok, out, NULL) == 0)
		return 0;
	return err_set(err, EINVAL, "%s is no %sport: expected a number from 1 to 65535%s",
		PARSE_QUOTED(text), side, zero_ok ? ", or 0 for a free one" : "");
}

/* "80" or "80-90"; "-80" and "80-" are ports that are wrong. */
static int read_range(
	char *text, const char *side, bool zero_ok, struct port_range *out, struct err *err)
{
	char *dash = strchr(text, '-');

	if (!dash || dash == text || !dash[1]) {
		int rc = read_port(text, side, zero_ok, &out->first, err);

		out->last = out->first;
		return rc;
	}
	*dash = '\0';
	if (read_port(text, side, false, &out->first, err) < 0 ||
		read_port(dash + 1, side, false, &out->last, err) < 0)
		return -EINVAL;
	*dash = '-';
	if (out->first > out->last)
		return err_set(err, EINVAL,
			"%s is no range of %sports: expected the lower one first",
			PARSE_QUOTED(text), side);
	return 0;
}

/*
 * Cut the address off the front of *@rest, if there is one in front of @fields fields that are
 * separated by colons, else take @bind. Something else than @fields fields in *@rest: -EINVAL.
 */
static int take_addr(
	char **rest, size_t fields, const struct addr *bind, struct addr *out, struct err *err)
{
	const char *form = fields == 1 ? HOST_FORM : LIST_FORM;
	char *whole = *rest, *end = NULL;
	size_t colons = 0;

	if (*whole == '[') {
		end = strchr(whole, ']');
		if (!end || *++end != ':')
			return not_of_form(whole, form, err);
	}
	for (const char *at = end ? end : whole; *at; at++)
		colons += *at == ':';
	if (end ? colons != fields : colons != fields && colons + 1 != fields)
		return not_of_form(whole, form, err);

	if (colons == fields) {
		end = end ? end : strchr(whole, ':');
		*end = '\0';
		*rest = end + 1;
		return addr_parse_own(whole, out, err);
	}
	*out = bind ? *bind : addr_loopback4(0);
	return 0;
}

/* Room for @more items behind those of the list. */
static int list_reserve(struct forward_list *list, size_t more, struct err *err)
{
	if (list->count > FORWARD_MAX || more > FORWARD_MAX - list->count)
		return err_set(err, EINVAL, "%zu forwards are too many: expected at most %d",
			list->count + more, FORWARD_MAX);
	struct forward_spec *items = reallocarray(list->items, list->count + more, sizeof(*items));
	if (!items)
		return err_sys(err, ENOMEM, "no memory for %zu forwards", list->count + more);
	list->items = items;
	return 0;
}

int spec_list_add(struct forward_list *list, const struct forward_spec *spec, struct err *err)
{
	int rc = list_reserve(list, 1, err);

	if (rc == 0)
		list->items[list->count++] = *spec;
	return rc;
}

void spec_list_free(struct forward_list *list)
{
	free(list->items);
	*list = (struct forward_list){.items = NULL};
}

static int parse_unix(struct forward_list *list, const char *text, struct err *err)
{
	char guest[FORWARD_TEXT_BYTES];
	const char *path = text + strlen(UNIX_PREFIX), *colon = strrchr(path, ':');
	struct forward_spec spec = {.host.family = AF_UNIX};
	size_t path_len = colon ? (size_t)(colon - path) : 0;

	const char *quoted = PARSE_QUOTED(text);
	if (!colon)
		return err_set(
			err, EINVAL, "%s has no guest port: expected unix:PATH:GUEST", quoted);
	if (path_len == 0)
		return err_set(
			err, EINVAL, "%s has an empty path: expected unix:PATH:GUEST", quoted);
	if (path_len > ADDR_PATH_MAX)
		return err_set(err, EINVAL,
			"the path of %s has %zu bytes: a unix socket's has at most %zu", quoted,
			path_len, ADDR_PATH_MAX);
	memcpy(spec.host.local.sun_path, path, path_len);
	if (snprintf(guest, sizeof(guest), "%s", colon + 1) >= (int)sizeof(guest))
		return not_of_form(text, "unix:PATH:GUEST", err);
	int rc = addr_take_proto(guest, &spec.proto, err);
	if (rc == 0 && spec.proto == PROTO_UDP)
		return err_set(err, EINVAL,
			"%s asks for /udp: a unix socket is forwarded to TCP only", quoted);
	if (rc == 0)
		rc = read_port(guest, "guest ", false, &spec.guest_port, err);
	return rc < 0 ? rc : spec_list_add(list, &spec, err);
}

int spec_list_parse(
	struct forward_list *list, const char *text, const struct addr *bind, struct err *err)
{
	char copy[FORWARD_TEXT_BYTES], *rest = copy;
	struct port_range host, guest;
	struct forward_spec spec = {.guest_port = 0};

	if (strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
		return parse_unix(list, text, err);
	if (snprintf(copy, sizeof(copy), "%s", text) >= (int)sizeof(copy))
		return not_of_form(text, LIST_FORM, err);
	int rc = take_addr(&rest, 2, bind, &spec.host, err);
	if (rc < 0 || (rc = addr_take_proto(rest, &spec.proto, err)) < 0)
		return rc;

	char *colon = strchr(rest, ':');
	if (!colon) /* it was behind the slash, which has been reported */
		return not_of_form(text, LIST_FORM, err);
	*colon = '\0';
	if ((rc = read_range(rest, "host ", true, &host, err)) < 0 ||
		(rc = read_range(colon + 1, "guest ", false, &guest, err)) < 0)
		return rc;
	if (range_len(host) != range_len(guest))
		return err_set(err, EINVAL,
			"%s has ranges of %zu and %zu ports: expected the same length",
			PARSE_QUOTED(text), range_len(host), range_len(guest));
	if ((rc = list_reserve(list, range_len(host), err)) < 0)
		return rc;
	for (size_t i = 0; i < range_len(host); i++) {
		addr_set_port(&spec.host, (uint16_t)(host.first + i));
		spec.guest_port = (uint16_t)(guest.first + i);
		list->items[list->count++] = spec;
	}
	return 0;
}

int spec_host_parse(
	const char *text, const struct addr *bind, struct forward_spec *out, struct err *err)
{
	char copy[FORWARD_TEXT_BYTES], *rest = copy;
	struct forward_spec spec = {.proto = PROTO_TCP};

	if (snprintf(copy, sizeof(copy), "%s", text) >= (int)sizeof(copy))
		return not_of_form(text, HOST_FORM, err);
	int rc = take_addr(&rest, 1, bind, &spec.host, err);
	if (rc == 0)
		rc = addr_take_proto(rest, &spec.proto, err);
	if (rc == 0 && strchr(rest, '-') > rest) /* a range */
		return not_of_form(text, HOST_FORM, err);
	if (rc == 0)
		rc = read_port(rest, "", true, &spec.guest_port, err);
	if (rc < 0)
		return rc;
	addr_set_port(&spec.host, spec.guest_port);
	*out = spec;
	return 0;
}

/* An address has a dot, a bracket or another colon; what has none of them before a colon is a port.
 */
bool spec_has_guest(const char *text)
{
	const char *end = text[0] == '[' ? strchr(text, ']') : NULL;
	const char *colon = strchr(end ? end : text, ':');

	if (!colon || strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
		return colon != NULL;
	return strchr(colon + 1, ':') ||
	       (!end && strspn(text, "0123456789-") == (size_t)(colon - text) && colon > text);
}

bool spec_equal(const struct forward_spec *a, const struct forward_spec *b)
{
	return addr_equal(&a->host, &b->host) && a->guest_port == b->guest_port &&
	       a->proto == b->proto;
}

bool spec_clash(const struct forward_spec *a, const struct forward_spec *b)
{
	uint16_t port = addr_port(&a->host);

	if (a->host.family != b->host.family)
		return false;
	if (a->host.family == AF_UNIX)
		return addr_equal(&a->host, &b->host);
	return port != 0 && port == addr_port(&b->host) && a->proto == b->proto &&
	       (addr_is_wildcard(&a->host) || addr_is_wildcard(&b->host) ||
		       addr_is_same_ip(&a->host, &b->host));
}

static int clash_error(const struct forward_spec *a, const struct forward_spec *b, struct err *err)
{
	char text[FORWARD_TEXT_BYTES], first[CLASH_BYTES], second[CLASH_BYTES];

	parse_shown(spec_format(a, text, sizeof(text)), first, sizeof(first));
	parse_shown(spec_format(b, text, sizeof(text)), second, sizeof(second));
	return err_set(err, EINVAL, "%s and %s need the same %s of the host: expected it once",
		first, second, a->host.family == AF_UNIX ? "path" : "port");
}

int spec_list_check(const struct forward_list *list, struct err *err)
{
	if (list->count > FORWARD_MAX)
		return err_set(err, EINVAL, "%zu forwards are too many: expected at most %d",
			list->count, FORWARD_MAX);
	for (size_t i = 0; i < list->count; i++)
		for (size_t j = 0; j < i; j++)
			if (spec_clash(&list->items[j], &list->items[i]))
				return clash_error(&list->items[j], &list->items[i], err);
	return 0;
}

char *spec_format(const struct forward_spec *spec, char *out, size_t cap_bytes)
{
	char host[ADDR_TEXT_BYTES];

	addr_format(&spec->host, host, sizeof(host));
	if (spec->host.family == AF_UNIX)
		snprintf(out, cap_bytes, "%s:%u", host, spec->guest_port);
	else if (spec->guest_port == 0)
		snprintf(out, cap_bytes, "%s%s", host, spec->proto == PROTO_UDP ? "/udp" : "");
	else
		snprintf(out, cap_bytes, "%s:%u/%s", host, spec->guest_port,
			addr_proto_name(spec->proto));
	return out;
}
