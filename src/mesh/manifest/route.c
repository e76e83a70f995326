/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/route - what a manifest says about networks and names behind its hosts */
#include "mesh/manifest/route.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/manifest/member.h"
#include "mesh/manifest/port.h"
#include "util/parse.h"

#define NETWORK_BYTES (INET_ADDRSTRLEN + 3)
#define TO_EXPECTED   "a list of networks and host names, such as [\"10.0.0.0/8\", \"*.example.com\"]"

/* --- via ------------------------------------------------------------------------------------ */

/* Its programs' own listeners would be among what it leads to (man nswrap-agent). */
static void warn_of_sandbox(struct reader *reader, const struct node *via,
	const struct manifest *manifest, struct in_addr vip)
{
	for (size_t i = 0; i < manifest->nhosts; i++)
		if (manifest->hosts[i].vip.s_addr == vip.s_addr &&
			manifest->hosts[i].own.sandbox.command)
			reader_warn(reader, via,
				"via %s is a sandbox, which leads nobody on: expected a plain host",
				manifest->hosts[i].name);
}

static void read_via(struct reader *reader, const struct node *via, const struct manifest *manifest,
	struct mesh_route *out)
{
	const char *text = reader_text(reader, via, "via", "a host's name or vip");
	struct in_addr vip;

	if (!text || !manifest->nhosts)
		return;
	if (member_find(reader, manifest, text, &out->via)) {
		warn_of_sandbox(reader, via, manifest, out->via);
		return;
	}
	if (inet_pton(AF_INET, text, &vip) == 1 && vip.s_addr != INADDR_ANY) {
		reader_warn(reader, via, "via %s is no host's vip: the route leads nowhere", text);
		out->via = vip;
		return;
	}
	member_refuse(reader, manifest, via, "via", text);
}

/* --- to ------------------------------------------------------------------------------------- */

static bool is_ip6(const char *text)
{
	struct in6_addr prefix;
	int prefix_len;

	return strchr(text, '/') ? addr_parse_cidr6(text, &prefix, &prefix_len, NULL) != -EINVAL
				 : inet_pton(AF_INET6, text, &prefix) == 1;
}

/* Networks that are in each host itself, or in nobody's. */
static bool is_own(struct in_addr network, int prefix_len)
{
	const unsigned first = ntohl(network.s_addr) >> 24;

	return prefix_len > 0 && (first == 0 || first == 127 || first >= 224) && prefix_len >= 3;
}

/* Is it an IPv4 network or address? Then that network is in @out, perhaps with a warning. */
static bool to_network(
	struct reader *reader, const struct node *item, const char *text, char out[NETWORK_BYTES])
{
	struct in_addr addr;
	struct err err;
	int prefix_len = 32, result = 0;

	if (!strchr(text, '/')) {
		if (inet_pton(AF_INET, text, &addr) != 1)
			return false;
	} else {
		result = addr_parse_cidr4(text, &addr, &prefix_len, &err);
		if (result == -EINVAL)
			reader_refuse(reader, item, "%s", err.text);
		else if (result < 0)
			reader_warn(reader, item, "%s", err.text);
	}
	if (result != -EINVAL && is_own(addr, prefix_len))
		reader_refuse(reader, item,
			"%s is every host's own, so no route leads there: expected another "
			"network, or what is there as one of the ports of its host, or by expose",
			PARSE_QUOTED(text));
	if (result == -EINVAL) /* nobody reads it */
		addr.s_addr = INADDR_ANY;
	inet_ntop(AF_INET, &addr, out, NETWORK_BYTES);
	snprintf(out + strlen(out), NETWORK_BYTES - strlen(out), "/%d", prefix_len);
	return true;
}

static void check_pattern(struct reader *reader, const struct node *item, const char *text)
{
	if (!hostnames_is_valid(text, "*."))
		reader_refuse(reader, item,
			"%s is no IPv4 network or host name: expected one such as 10.0.2.0/24 or "
			"*.example.com",
			PARSE_QUOTED(text));
	else if (strpbrk(text, "0123456789") && text[strspn(text, "0123456789.*")] == '\0')
		reader_warn(reader, item,
			"%s is a pattern of names and no network: expected one such as 10.0.2.0/24",
			PARSE_QUOTED(text));
}

/* NULL is what the rest of the program has for none. */
static char **or_none(char **texts)
{
	if (texts && texts[0])
		return texts;
	free(texts);
	return NULL;
}

static void read_to(struct reader *reader, const struct node *to, struct mesh_route *out)
{
	size_t ncidrs = 0, nglobs = 0;
	char **cidrs, **globs;

	if (!reader_is_kind(reader, to, NODE_LIST, "to", TO_EXPECTED))
		return;
	if (!to->count)
		reader_warn(reader, to, "to is an empty list: expected %s", TO_EXPECTED);
	cidrs = reader_new_texts(reader, to);
	globs = reader_new_texts(reader, to);
	for (size_t i = 0; cidrs && globs && i < to->count; i++) {
		const char *text = reader_text(reader, to->items[i], "an item of to",
			"a network such as 10.0.2.0/24, or a host name");
		char network[NETWORK_BYTES];

		if (!text)
			continue;
		if (is_ip6(text)) {
			reader_warn(reader, to->items[i],
				"%s is ignored, a mesh has no IPv6: expected a network such as "
				"10.0.2.0/24",
				PARSE_QUOTED(text));
		} else if (to_network(reader, to->items[i], text, network)) {
			reader_copy(reader, network, &cidrs[ncidrs++]);
		} else {
			check_pattern(reader, to->items[i], text);
			reader_copy(reader, text, &globs[nglobs++]);
		}
	}
	out->cidrs = or_none(cidrs);
	out->globs = or_none(globs);
}

/* --- a route -------------------------------------------------------------------------------- */

static void read_route(struct reader *reader, const struct node *item,
	const struct manifest *manifest, struct mesh_route *out)
{
	static const char *const keys[] = {"to", "via"};
	const struct node *to, *via;

	if (!reader_is_kind(reader, item, NODE_MAP, "it", "a map with to and via"))
		return;
	reader_check_keys(reader, item, keys, sizeof(keys) / sizeof(keys[0]));
	to = reader_get(item, "to");
	via = reader_get(item, "via");
	if (to)
		read_to(reader, to, out);
	else
		reader_warn(reader, item, "no to: expected %s", TO_EXPECTED);
	if (via)
		read_via(reader, via, manifest, out);
	else
		reader_refuse(reader, item, "no via: expected a host's name or vip");
}

void route_read_list(struct reader *reader, const struct node *routes, struct manifest *manifest)
{
	char number[24];

	errors_about(reader->errors, NULL, NULL);
	if (!reader_is_kind(
		    reader, routes, NODE_LIST, "routes", "a list of maps with to and via") ||
		!reader_work(reader, routes, routes->count * sizeof(*manifest->routes)))
		return;
	manifest->routes = calloc(routes->count + 1, sizeof(*manifest->routes));
	if (!manifest->routes) {
		reader->errors->has_no_memory = true;
		return;
	}
	for (size_t i = 0; i < routes->count; i++) {
		snprintf(number, sizeof(number), "%zu", i + 1);
		errors_about(reader->errors, "route", number);
		manifest->nroutes++;
		read_route(reader, routes->items[i], manifest, &manifest->routes[i]);
	}
}
