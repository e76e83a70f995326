/* SPDX-License-Identifier: Apache-2.0 */
/* conn/expose - which addresses and ports others may have this host connect to */
#include "conn/expose.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/addr.h"
#include "util/parse.h"

#define RANGES_MAX 16
#define TEXT_BYTES 128
#define EXPECTED   "expected one such as 10.0.0.0/8, 10.0.0.0/8:80,8000-8100 or [fd00::/8]:80"

/* Of either family: an IPv4 address is the last 32 bits of ::ffff:0:0/96, and its prefix 96 longer.
 */
struct network {
	struct in6_addr ip;
	int prefix_len;
};

struct expose_rule {
	struct network network;
	size_t nranges; /* 0: all ports */
	struct {
		uint16_t first, last;
	} ranges[RANGES_MAX];
};

#define V4(a, b, c, d, len)                                              \
	{                                                                \
		{.s6_addr = {[10] = 0xff, 0xff, a, b, c, d}}, 96 + (len) \
	}
#define V6(len, ...)                            \
	{                                       \
		{.s6_addr = {__VA_ARGS__}}, len \
	}

static const struct network loopback = V4(127, 0, 0, 0, 8), localhost = V4(127, 0, 0, 1, 32);

/* This host's own, whatever network it is in. */
static const struct network never[] = {
	V4(0, 0, 0, 0, 8),   /* "this host", RFC 1122 3.2.1.3: connect(2) takes it for loopback */
	V4(224, 0, 0, 0, 3), /* multicast; what RFC 1112 keeps for later */
	V6(96, 0),           /* :: and ::1 */
	V6(8, 0xff),
};

/* To be named. Behind the link-local ones is what clouds tell a machine of itself (AWS, Google,
 * Azure, OpenStack); the others are the same of those that have it elsewhere. */
static const struct network named[] = {
	V4(127, 0, 0, 0, 8), V4(169, 254, 0, 0, 16),                         /* RFC 3927 */
	V4(100, 100, 100, 200, 32),                                          /* Alibaba */
	V4(168, 63, 129, 16, 32),                                            /* Azure's agent */
	V4(192, 0, 0, 192, 32),                                              /* Oracle */
	V6(10, 0xfe, 0x80),                                                  /* RFC 4291 */
	V6(10, 0xfe, 0xc0), V6(128, 0xfd, 0, 0x0e, 0xc2, [14] = 0x02, 0x54), /* AWS */
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static bool is_four(const struct network *network)
{
	static const struct in6_addr mapped = {.s6_addr = {[10] = 0xff, 0xff}};

	return network->prefix_len >= 96 && memcmp(&network->ip, &mapped, 12) == 0;
}

/* Is @inner in @outer as a whole? ::/0 has no IPv4 address in it. */
static bool is_within(const struct network *inner, const struct network *outer)
{
	const int whole = outer->prefix_len / 8, rest = outer->prefix_len % 8;

	return is_four(inner) == is_four(outer) && inner->prefix_len >= outer->prefix_len &&
	       memcmp(&inner->ip, &outer->ip, (size_t)whole) == 0 &&
	       (rest == 0 ||
		       (inner->ip.s6_addr[whole] ^ outer->ip.s6_addr[whole]) >> (8 - rest) == 0);
}

static struct network network4(struct in_addr ip, int prefix_len)
{
	struct network out = V4(0, 0, 0, 0, prefix_len);

	memcpy(&out.ip.s6_addr[12], &ip, sizeof(ip));
	return out;
}

static const struct network *find(
	const struct network *list, size_t count, const struct network *network)
{
	for (size_t i = 0; i < count; i++)
		if (is_within(network, &list[i]))
			return &list[i];
	return NULL;
}

/* --- rules -------------------------------------------------------------------------------- */

static int parse_range(char *text, struct expose_rule *rule)
{
	char *dash = strchr(text, '-');
	uint16_t first, last;

	if (dash)
		*dash++ = '\0';
	if (rule->nranges == RANGES_MAX || parse_port(text, false, &first, NULL) < 0 ||
		parse_port(dash ? dash : text, false, &last, NULL) < 0 || first > last)
		return -EINVAL;
	rule->ranges[rule->nranges].first = first;
	rule->ranges[rule->nranges++].last = last;
	return 0;
}

static int parse_ports(char *text, struct expose_rule *rule)
{
	int result = 0;

	for (char *comma; result == 0 && text; text = comma) {
		comma = strchr(text, ',');
		if (comma)
			*comma++ = '\0';
		result = parse_range(text, rule);
	}
	return result;
}

static int parse_network(const char *text, struct network *out, struct err *err)
{
	const bool is_six = strchr(text, ':'), is_one = !strchr(text, '/');
	struct in_addr ip;
	struct err reason;
	int prefix_len = 32;

	if (is_six) {
		out->prefix_len = 128;
		if (is_one ? inet_pton(AF_INET6, text, &out->ip) == 1
			   : addr_parse_cidr6(text, &out->ip, &out->prefix_len, &reason) == 0)
			return !is_four(out) ? 0
					     : err_set(err, EINVAL,
						       "%s cannot be exposed: expected it as IPv4",
						       PARSE_QUOTED(text));
		return is_one ? err_set(err, EINVAL, "%s is no IPv6 network: " EXPECTED,
					PARSE_QUOTED(text))
			      : err_set(err, EINVAL, "%s", reason.text);
	}
	if (is_one && inet_pton(AF_INET, text, &ip) != 1)
		return err_set(err, EINVAL, "%s is no IPv4 network: " EXPECTED, PARSE_QUOTED(text));
	if (!is_one && addr_parse_cidr4(text, &ip, &prefix_len, &reason) < 0)
		return err_set(err, EINVAL, "%s", reason.text);
	*out = network4(ip, prefix_len);
	return 0;
}

/* Part @text in the network, which is returned, and *@ports, NULL if there are none. */
static char *part(char *text, char **ports)
{
	char *first = strchr(text, ':'), *close = strchr(text, ']'), *dot = strchr(text, '.');

	if (text[0] == '[' && close && (close[1] == ':' || close[1] == '\0')) {
		*ports = close[1] ? close + 2 : NULL;
		*close = '\0';
		return text + 1;
	}
	/* an IPv6 network has its ports behind brackets */
	*ports = first && dot && dot < first ? first + 1 : NULL;
	if (*ports)
		*first = '\0';
	return text;
}

static int parse(const char *text, struct expose_rule *rule, struct err *err)
{
	char copy[TEXT_BYTES], *ports;

	if (strlen(text) >= sizeof(copy))
		return err_set(err, EINVAL, "%s is too long: " EXPECTED, PARSE_QUOTED(text));
	strcpy(copy, text);
	int result = parse_network(part(copy, &ports), &rule->network, err);
	if (result < 0)
		return result;
	if (ports && parse_ports(ports, rule) < 0)
		return err_set(err, EINVAL,
			"%s has wrong ports: " EXPECTED " (at most %d ports or ranges)",
			PARSE_QUOTED(text), RANGES_MAX);
	if (find(never, COUNT(never), &rule->network))
		return err_set(err, EINVAL,
			"%s cannot be exposed, as no route leads there: expected a network",
			PARSE_QUOTED(text));
	return 0;
}

static int check_loopback(const struct expose *expose, const struct network *network,
	const char *text, struct err *err)
{
	if (!is_within(network, &loopback))
		return 0;
	if (expose->has_no_loopback)
		return err_set(err, EINVAL,
			"%s cannot be exposed, as nothing leads to this host's loopback: expected "
			"another network",
			PARSE_QUOTED(text));
	return is_within(&localhost, network)
		       ? 0
		       : err_set(err, EINVAL,
				 "%s cannot be exposed: expected 127.0.0.1 for this host's loopback",
				 PARSE_QUOTED(text));
}

int expose_add(struct expose *expose, const char *text, struct err *err)
{
	struct expose_rule rule = {.nranges = 0};

	if (strcmp(text, "none") == 0) {
		expose->has_rules = true;
		return 0;
	}
	int result = parse(text, &rule, err);
	if (result == 0)
		result = check_loopback(expose, &rule.network, text, err);
	if (result == 0 && expose->has_no_ipv6 && !is_four(&rule.network))
		result = err_set(err, EINVAL,
			"%s cannot be exposed, as a mesh has no IPv6 (nswrap exit has): expected a "
			"network such as 10.0.0.0/8",
			PARSE_QUOTED(text));
	if (result < 0)
		return result;
	struct expose_rule *rules = reallocarray(expose->rules, expose->nrules + 1, sizeof(*rules));
	if (!rules)
		return err_sys(err, ENOMEM, "cannot expose %s", PARSE_QUOTED(text));
	rules[expose->nrules++] = rule;
	expose->rules = rules;
	expose->has_rules = true;
	return 0;
}

void expose_fini(struct expose *expose)
{
	free(expose->rules);
	*expose = (struct expose){.rules = NULL};
}

/* --- questions ---------------------------------------------------------------------------- */

static bool has_port(const struct expose_rule *rule, uint16_t port)
{
	for (size_t i = 0; i < rule->nranges; i++)
		if (rule->ranges[i].first <= port && port <= rule->ranges[i].last)
			return true;
	return rule->nranges == 0 || port == 0;
}

static bool allows(const struct expose *expose, const struct network *address, uint16_t port)
{
	const struct network *special = find(named, COUNT(named), address);

	if (find(never, COUNT(never), address))
		return false;
	for (size_t i = 0; i < expose->nrules; i++) {
		const struct expose_rule *rule = &expose->rules[i];

		if (is_within(address, &rule->network) && has_port(rule, port) &&
			(!special || is_within(&rule->network, special)))
			return true;
	}
	return !expose->has_rules && !special;
}

bool expose_allows(const struct expose *expose, struct in_addr ip, uint16_t port)
{
	const struct network address = network4(ip, 32);

	return allows(expose, &address, port);
}

bool expose_allows6(const struct expose *expose, const struct in6_addr *ip, uint16_t port)
{
	static const struct network mapped = V6(96, [10] = 0xff, 0xff),
				    translated = V6(96, 0, 0x64, 0xff, 0x9b);
	const struct network address = {*ip, 128};
	struct in_addr inner;

	memcpy(&inner, &ip->s6_addr[12], sizeof(inner));
	if (is_within(&address, &mapped))
		return false;
	if (!allows(expose, &address, port) || !is_within(&address, &translated))
		return allows(expose, &address, port);
	const struct network four = network4(inner, 32);
	return !find(never, COUNT(never), &four) && !find(named, COUNT(named), &four);
}
