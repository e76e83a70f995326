/* SPDX-License-Identifier: Apache-2.0 */
/* forward/spec - read and print port forwarding rules such as "127.0.0.1:8080:80/tcp" */
#include "forward/spec.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "util/parse.h"

#define UNIX_PREFIX "unix:"
#define LIST_FORM   "[ADDR:]HOST:GUEST[/tcp|/udp]"
#define HOST_FORM   "[ADDR:]PORT"
#define CLASH_BYTES 200 /* of each rule in the text of an error */

_Static_assert(
	sizeof(((struct forward_addr *)0)->path) == sizeof(((struct sockaddr_un *)0)->sun_path),
	"a path that is accepted fits into a socket address");

struct port_range {
	uint16_t first, last;
};

static size_t range_len(struct port_range range)
{
	return (size_t)range.last - range.first + 1;
}

static int not_of_form(const char *text, const char *form, struct err *err)
{
	char quoted[PARSE_QUOTE_BYTES];

	return err_set(err, EINVAL, "%s is no forward: expected %s, an IPv6 ADDR in brackets",
		parse_quote(text, quoted, sizeof(quoted)), form);
}

static int read_port(
	const char *text, const char *side, bool zero_ok, uint16_t *out, struct err *err)
{
	char quoted[PARSE_QUOTE_BYTES];

	if (parse_port(text, zero_ok, out, NULL) < 0)
		return err_set(err, EINVAL, "%s is no %sport: expected a number from %s",
			parse_quote(text, quoted, sizeof(quoted)), side,
			zero_ok ? "1 to 65535, or 0 for a free one" : "1 to 65535");
	return 0;
}

/* "80" or "80-90"; "-80" and "80-" are ports that are wrong. @text is changed only for the moment.
 */
static int read_range(
	char *text, const char *side, bool zero_ok, struct port_range *out, struct err *err)
{
	char quoted[PARSE_QUOTE_BYTES], *dash = strchr(text, '-');
	int rc;

	if (!dash || dash == text || !dash[1]) {
		rc = read_port(text, side, zero_ok, &out->first, err);
		out->last = out->first;
		return rc;
	}
	*dash = '\0';
	rc = read_port(text, side, false, &out->first, err);
	*dash = '-';
	if (rc == 0)
		rc = read_port(dash + 1, side, false, &out->last, err);
	if (rc == 0 && out->first > out->last)
		rc = err_set(err, EINVAL, "%s is no range of %sports: expected the lower one first",
			parse_quote(text, quoted, sizeof(quoted)), side);
	return rc;
}

static int read_addr(const char *text, struct forward_addr *out, struct err *err)
{
	char quoted[PARSE_QUOTE_BYTES], plain[INET_ADDRSTRLEN];
	struct sockaddr_storage ip;
	int rc = parse_ip(text, &ip, err);

	if (rc < 0)
		return rc;
	out->family = ip.ss_family;
	if (ip.ss_family == AF_INET) {
		out->v4 = ((const struct sockaddr_in *)&ip)->sin_addr;
		return 0;
	}
	out->v6 = ((const struct sockaddr_in6 *)&ip)->sin6_addr;
	/* a second spelling of an IPv4 address would get past the checks for clashes and loopback
	 */
	if (IN6_IS_ADDR_V4MAPPED(&out->v6)) {
		inet_ntop(AF_INET, &out->v6.s6_addr[12], plain, sizeof(plain));
		return err_set(err, EINVAL, "%s is an IPv4 address: expected %s",
			parse_quote(text, quoted, sizeof(quoted)), plain);
	}
	return 0;
}

/*
 * Cut the address off the front of *@rest, if there is one in front of @fields fields that are
 * separated by colons, else take @bind. Something else than @fields fields in *@rest: -EINVAL.
 */
static int take_addr(char **rest, size_t fields, const struct forward_addr *bind,
	struct forward_addr *out, struct err *err)
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
		return read_addr(whole, out, err);
	}
	if (bind)
		*out = *bind;
	else
		*out = (struct forward_addr){
			.family = AF_INET, .v4.s_addr = htonl(INADDR_LOOPBACK)};
	return 0;
}

/* Cut "/tcp" or "/udp" off the end of @text; FORWARD_TCP where there is none. */
static int take_proto(char *text, enum forward_proto *out, struct err *err)
{
	char quoted[PARSE_QUOTE_BYTES], *slash = strchr(text, '/');

	*out = FORWARD_TCP;
	if (!slash || strcmp(slash, "/tcp") == 0) {
	} else if (strcmp(slash, "/udp") == 0) {
		*out = FORWARD_UDP;
	} else {
		return err_set(err, EINVAL, "%s is no protocol: expected /tcp or /udp",
			parse_quote(slash, quoted, sizeof(quoted)));
	}
	if (slash)
		*slash = '\0';
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

int forward_list_add(struct forward_list *list, const struct forward_spec *spec, struct err *err)
{
	int rc = list_reserve(list, 1, err);

	if (rc == 0)
		list->items[list->count++] = *spec;
	return rc;
}

void forward_list_free(struct forward_list *list)
{
	free(list->items);
	*list = (struct forward_list){.items = NULL};
}

static int parse_unix(struct forward_list *list, const char *text, struct err *err)
{
	char quoted[PARSE_QUOTE_BYTES], guest[FORWARD_TEXT_BYTES];
	const char *path = text + strlen(UNIX_PREFIX), *colon = strrchr(path, ':');
	struct forward_spec spec = {.host.family = AF_UNIX};
	size_t path_len = colon ? (size_t)(colon - path) : 0;

	parse_quote(text, quoted, sizeof(quoted));
	if (!colon)
		return err_set(
			err, EINVAL, "%s has no guest port: expected unix:PATH:GUEST", quoted);
	if (path_len == 0)
		return err_set(
			err, EINVAL, "%s has an empty path: expected unix:PATH:GUEST", quoted);
	if (path_len >= sizeof(spec.host.path))
		return err_set(err, EINVAL,
			"the path of %s has %zu bytes: a unix socket's has at most %zu", quoted,
			path_len, sizeof(spec.host.path) - 1);
	memcpy(spec.host.path, path, path_len);
	if (snprintf(guest, sizeof(guest), "%s", colon + 1) >= (int)sizeof(guest))
		return not_of_form(text, "unix:PATH:GUEST", err);
	int rc = take_proto(guest, &spec.proto, err);
	if (rc == 0 && spec.proto == FORWARD_UDP)
		return err_set(err, EINVAL,
			"%s asks for /udp: a unix socket is forwarded to TCP only", quoted);
	if (rc == 0)
		rc = read_port(guest, "guest ", false, &spec.guest_port, err);
	return rc < 0 ? rc : forward_list_add(list, &spec, err);
}

int forward_list_parse(struct forward_list *list, const char *text, const struct forward_addr *bind,
	struct err *err)
{
	char quoted[PARSE_QUOTE_BYTES], copy[FORWARD_TEXT_BYTES], *rest = copy;
	struct port_range host, guest;
	struct forward_spec spec = {.host_port = 0};

	if (strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
		return parse_unix(list, text, err);
	if (snprintf(copy, sizeof(copy), "%s", text) >= (int)sizeof(copy))
		return not_of_form(text, LIST_FORM, err);
	int rc = take_addr(&rest, 2, bind, &spec.host, err);
	if (rc < 0 || (rc = take_proto(rest, &spec.proto, err)) < 0)
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
			parse_quote(text, quoted, sizeof(quoted)), range_len(host),
			range_len(guest));
	if ((rc = list_reserve(list, range_len(host), err)) < 0)
		return rc;
	for (size_t i = 0; i < range_len(host); i++) {
		spec.host_port = (uint16_t)(host.first + i);
		spec.guest_port = (uint16_t)(guest.first + i);
		list->items[list->count++] = spec;
	}
	return 0;
}

int forward_host_parse(const char *text, const struct forward_addr *bind, struct forward_spec *out,
	struct err *err)
{
	char copy[FORWARD_TEXT_BYTES], *rest = copy;
	struct forward_spec spec = {.proto = FORWARD_TCP};

	if (snprintf(copy, sizeof(copy), "%s", text) >= (int)sizeof(copy))
		return not_of_form(text, HOST_FORM, err);
	int rc = take_addr(&rest, 1, bind, &spec.host, err);
	if (rc == 0)
		rc = read_port(rest, "", true, &spec.host_port, err);
	if (rc < 0)
		return rc;
	spec.guest_port = spec.host_port;
	*out = spec;
	return 0;
}

static bool addr_is_wildcard(const struct forward_addr *addr)
{
	if (addr->family == AF_INET)
		return addr->v4.s_addr == htonl(INADDR_ANY);
	return addr->family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&addr->v6);
}

bool forward_addr_equal(const struct forward_addr *a, const struct forward_addr *b)
{
	if (a->family != b->family)
		return false;
	switch (a->family) {
	case AF_INET:
		return a->v4.s_addr == b->v4.s_addr;
	case AF_INET6:
		return IN6_ARE_ADDR_EQUAL(&a->v6, &b->v6);
	default:
		return strcmp(a->path, b->path) == 0;
	}
}

bool forward_spec_equal(const struct forward_spec *a, const struct forward_spec *b)
{
	return forward_addr_equal(&a->host, &b->host) && a->host_port == b->host_port &&
	       a->guest_port == b->guest_port && a->proto == b->proto;
}

static bool specs_clash(const struct forward_spec *a, const struct forward_spec *b)
{
	if (a->host.family != b->host.family)
		return false;
	if (a->host.family == AF_UNIX)
		return forward_addr_equal(&a->host, &b->host);
	return a->host_port != 0 && a->host_port == b->host_port && a->proto == b->proto &&
	       (addr_is_wildcard(&a->host) || addr_is_wildcard(&b->host) ||
		       forward_addr_equal(&a->host, &b->host));
}

static int clash_error(const struct forward_spec *a, const struct forward_spec *b, struct err *err)
{
	char text[FORWARD_TEXT_BYTES], first[CLASH_BYTES], second[CLASH_BYTES];

	parse_shown(forward_spec_format(a, text, sizeof(text)), first, sizeof(first));
	parse_shown(forward_spec_format(b, text, sizeof(text)), second, sizeof(second));
	return err_set(err, EINVAL, "%s and %s need the same %s of the host: expected it once",
		first, second, a->host.family == AF_UNIX ? "path" : "port");
}

int forward_list_check(const struct forward_list *list, struct err *err)
{
	if (list->count > FORWARD_MAX)
		return err_set(err, EINVAL, "%zu forwards are too many: expected at most %d",
			list->count, FORWARD_MAX);
	for (size_t i = 0; i < list->count; i++)
		for (size_t j = 0; j < i; j++)
			if (specs_clash(&list->items[j], &list->items[i]))
				return clash_error(&list->items[j], &list->items[i], err);
	return 0;
}

char *forward_spec_format(const struct forward_spec *spec, char *out, size_t cap_bytes)
{
	const char *proto = spec->proto == FORWARD_UDP ? "udp" : "tcp";
	char addr[INET6_ADDRSTRLEN + 2] = "";

	if (spec->host.family == AF_UNIX) {
		snprintf(out, cap_bytes, UNIX_PREFIX "%s:%u", spec->host.path, spec->guest_port);
		return out;
	}
	if (spec->host.family == AF_INET) {
		inet_ntop(AF_INET, &spec->host.v4, addr, sizeof(addr));
	} else {
		addr[0] = '[';
		inet_ntop(AF_INET6, &spec->host.v6, addr + 1, sizeof(addr) - 2);
		strcat(addr, "]");
	}
	if (spec->guest_port == 0)
		snprintf(out, cap_bytes, "%s:%u", addr, spec->host_port);
	else
		snprintf(out, cap_bytes, "%s:%u:%u/%s", addr, spec->host_port, spec->guest_port,
			proto);
	return out;
}

bool forward_addr_is_loopback(const struct forward_addr *addr)
{
	switch (addr->family) {
	case AF_INET:
		return ntohl(addr->v4.s_addr) >> 24 == 127;
	case AF_INET6:
		return IN6_IS_ADDR_LOOPBACK(&addr->v6);
	default:
		return addr->family == AF_UNIX;
	}
}

socklen_t forward_addr_to_sockaddr(
	const struct forward_addr *addr, uint16_t port, struct sockaddr_storage *out)
{
	struct sockaddr_in v4 = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = addr->v4};
	struct sockaddr_in6 v6 = {
		.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = addr->v6};
	struct sockaddr_un local = {.sun_family = AF_UNIX};

	memset(out, 0, sizeof(*out));
	switch (addr->family) {
	case AF_INET:
		memcpy(out, &v4, sizeof(v4));
		return sizeof(v4);
	case AF_INET6:
		memcpy(out, &v6, sizeof(v6));
		return sizeof(v6);
	default:
		memcpy(local.sun_path, addr->path, sizeof(local.sun_path));
		memcpy(out, &local, sizeof(local));
		return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(addr->path) + 1);
	}
}
