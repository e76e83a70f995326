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
#define EXPECTED   "expected one such as 10.0.0.0/8 or 10.0.0.0/8:80,8000-8100"

struct network {
	uint32_t ip; /* host order */
	int prefix_len;
};

struct expose_rule {
	struct network network;
	size_t nranges; /* 0: all ports */
	struct {
		uint16_t first, last;
	} ranges[RANGES_MAX];
};

/* This host's own, whatever network it is in. */
static const struct network never[] = {
	{0x00000000, 8}, /* "this host", RFC 1122 3.2.1.3: connect(2) takes it for loopback */
	{0x7f000000, 8}, {0xe0000000, 3}, /* multicast, and what RFC 1112 keeps for later */
};

/* To be named. Behind the link-local ones is what clouds tell a machine of itself (AWS, Google,
 * Azure, OpenStack); the others are the same of those that have it elsewhere. */
static const struct network named[] = {
	{0xa9fe0000, 16}, /* 169.254.0.0/16, RFC 3927 */
	{0x646464c8, 32}, /* 100.100.100.200: Alibaba */
	{0xa83f8110, 32}, /* 168.63.129.16: Azure's agent */
	{0xc00000c0, 32}, /* 192.0.0.192: Oracle */
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Is @inner in @outer as a whole? */
static bool is_within(const struct network *inner, const struct network *outer)
{
	const uint32_t mask = outer->prefix_len == 0 ? 0 : UINT32_MAX << (32 - outer->prefix_len);

	return inner->prefix_len >= outer->prefix_len && ((inner->ip ^ outer->ip) & mask) == 0;
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
	struct in_addr ip;
	struct err reason;

	out->prefix_len = 32;
	if (!strchr(text, '/')) {
		if (inet_pton(AF_INET, text, &ip) != 1)
			return err_set(err, EINVAL, "%s is no IPv4 network: " EXPECTED,
				PARSE_QUOTED(text));
	} else if (addr_parse_cidr4(text, &ip, &out->prefix_len, &reason) < 0) {
		return err_set(err, EINVAL, "%s", reason.text);
	}
	out->ip = ntohl(ip.s_addr);
	return 0;
}

static int parse(const char *text, struct expose_rule *rule, struct err *err)
{
	char copy[TEXT_BYTES];

	if (strlen(text) >= sizeof(copy))
		return err_set(err, EINVAL, "%s is too long: " EXPECTED, PARSE_QUOTED(text));
	strcpy(copy, text);
	char *colon = strchr(copy, ':');
	if (colon)
		*colon++ = '\0';
	int result = parse_network(copy, &rule->network, err);
	if (result < 0)
		return result;
	if (colon && parse_ports(colon, rule) < 0)
		return err_set(err, EINVAL,
			"%s has wrong ports: " EXPECTED " (at most %d ports or ranges)",
			PARSE_QUOTED(text), RANGES_MAX);
	if (find(never, COUNT(never), &rule->network))
		return err_set(err, EINVAL,
			"%s cannot be exposed, as no route leads there: expected a network; what "
			"this host has at its loopback is offered by \"ports\" of the manifest",
			PARSE_QUOTED(text));
	return 0;
}

int expose_add(struct expose *expose, const char *text, struct err *err)
{
	struct expose_rule rule = {.nranges = 0};

	if (strcmp(text, "none") == 0) {
		expose->has_rules = true;
		return 0;
	}
	int result = parse(text, &rule, err);
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

bool expose_allows(const struct expose *expose, struct in_addr ip, uint16_t port)
{
	const struct network address = {ntohl(ip.s_addr), 32};
	const struct network *special = find(named, COUNT(named), &address);

	if (find(never, COUNT(never), &address))
		return false;
	for (size_t i = 0; i < expose->nrules; i++) {
		const struct expose_rule *rule = &expose->rules[i];

		if (is_within(&address, &rule->network) && has_port(rule, port) &&
			(!special || is_within(&rule->network, special)))
			return true;
	}
	return !expose->has_rules && !special;
}
