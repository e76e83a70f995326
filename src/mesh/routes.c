/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/routes - networks, names and single addresses that lie behind hosts of a mesh */
#include "mesh/routes.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "util/addr.h"

struct network {
	in_addr_t address, mask;
	struct in_addr via;
};

struct pattern {
	char *text;
	struct in_addr via;
};

struct routes {
	/* a later one counts before an earlier one: those of the manifest; then, as networks of one
	 * address, what was learnt, each address once */
	struct network *networks;
	size_t nfixed, nnetworks; /* of the manifest; all */
	struct pattern *patterns;
	size_t npatterns;
};

/* --- patterns ----------------------------------------------------------------------------- */

static size_t len_of(const char *name)
{
	size_t len = strlen(name);

	return len > 1 && name[len - 1] == '.' ? len - 1 : len;
}

static bool is_same_letter(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/*
 * A star takes as little as it can, and one character more when what follows does not fit. Only the
 * last star is ever gone back to: the time is pattern times name at worst.
 */
bool routes_matches(const char *pattern, const char *name)
{
	const char *pattern_end = pattern + len_of(pattern), *name_end = name + len_of(name);
	const char *star = NULL, *taken = NULL;

	while (name < name_end) {
		if (pattern < pattern_end && *pattern == '*') {
			star = pattern++;
			taken = name;
		} else if (pattern < pattern_end && is_same_letter(*pattern, *name)) {
			pattern++;
			name++;
		} else if (star) {
			pattern = star + 1;
			name = ++taken;
		} else {
			return false;
		}
	}
	while (pattern < pattern_end && *pattern == '*')
		pattern++;
	return pattern == pattern_end;
}

/* --- the routes of a manifest ------------------------------------------------------------- */

static size_t count_texts(char *const *texts)
{
	size_t count = 0;

	while (texts && texts[count])
		count++;
	return count;
}

static void add_networks(struct routes *routes, const struct mesh_route *route)
{
	for (char **cidr = route->cidrs; cidr && *cidr; cidr++) {
		struct in_addr address;
		int prefix_len;
		int result = addr_parse_cidr4(*cidr, &address, &prefix_len, NULL);

		/* what a NoRouter says may have bits behind the prefix; IPv6 has no place here */
		if (result < 0 && result != -ERANGE)
			continue;
		uint32_t mask = prefix_len == 0 ? 0 : UINT32_MAX << (32 - prefix_len);
		routes->networks[routes->nnetworks++] =
			(struct network){address.s_addr, htonl(mask), route->via};
	}
}

static int add_patterns(struct routes *routes, const struct mesh_route *route)
{
	for (char **glob = route->globs; glob && *glob; glob++) {
		char *text = strdup(*glob);

		if (!text)
			return -1;
		routes->patterns[routes->npatterns++] = (struct pattern){text, route->via};
	}
	return 0;
}

struct routes *routes_new(const struct mesh_route *list, size_t count)
{
	struct routes *routes = calloc(1, sizeof(*routes));
	size_t nnetworks = ROUTES_LEARNT_MAX, npatterns = 1;
	int result = 0;

	for (size_t i = 0; i < count; i++) {
		nnetworks += count_texts(list[i].cidrs);
		npatterns += count_texts(list[i].globs);
	}
	if (routes) {
		routes->networks = calloc(nnetworks, sizeof(*routes->networks));
		routes->patterns = calloc(npatterns, sizeof(*routes->patterns));
	}
	if (!routes || !routes->networks || !routes->patterns) {
		routes_free(routes);
		return NULL;
	}
	for (size_t i = 0; result == 0 && i < count; i++) {
		add_networks(routes, &list[i]);
		result = add_patterns(routes, &list[i]);
	}
	routes->nfixed = routes->nnetworks;
	if (result == 0)
		return routes;
	routes_free(routes);
	return NULL;
}

void routes_free(struct routes *routes)
{
	if (!routes)
		return;
	for (size_t i = 0; i < routes->npatterns; i++)
		free(routes->patterns[i].text);
	free(routes->patterns);
	free(routes->networks);
	free(routes);
}

/* --- questions ---------------------------------------------------------------------------- */

bool routes_find(const struct routes *routes, struct in_addr ip, struct in_addr *via)
{
	for (size_t i = routes->nnetworks; i > 0; i--) {
		const struct network *network = &routes->networks[i - 1];

		if ((ip.s_addr & network->mask) == network->address) {
			*via = network->via;
			return true;
		}
	}
	return false;
}

bool routes_find_name(const struct routes *routes, const char *name, struct in_addr *via)
{
	for (size_t i = routes->npatterns; i > 0; i--)
		if (routes_matches(routes->patterns[i - 1].text, name)) {
			*via = routes->patterns[i - 1].via;
			return true;
		}
	return false;
}

bool routes_have_networks(const struct routes *routes)
{
	return routes->nnetworks > 0;
}

bool routes_ask(const struct routes *routes, struct in_addr via)
{
	for (size_t i = 0; i < routes->npatterns; i++)
		if (routes->patterns[i].via.s_addr == via.s_addr)
			return true;
	return false;
}

void routes_each(const struct routes *routes,
	void (*each)(void *owner, struct in_addr ip, int prefix_len, struct in_addr via),
	void *owner)
{
	for (size_t i = 0; i < routes->nnetworks; i++) {
		const struct network *network = &routes->networks[i];

		each(owner, (struct in_addr){network->address}, __builtin_popcount(network->mask),
			network->via);
	}
}

/* --- what is learnt ----------------------------------------------------------------------- */

bool routes_learn(
	struct routes *routes, struct in_addr ip, struct in_addr via, struct in_addr *forgotten)
{
	struct network *end = routes->networks + routes->nnetworks,
		       *at = routes->networks + routes->nfixed;
	bool is_new = true;

	*forgotten = (struct in_addr){0};
	while (at < end && at->address != ip.s_addr)
		at++;
	if (at < end) {
		is_new = at->via.s_addr != via.s_addr;
	} else if (routes->nnetworks == routes->nfixed + ROUTES_LEARNT_MAX) {
		at = routes->networks + routes->nfixed;
		forgotten->s_addr = at->address;
	}
	if (at < end) {
		memmove(at, at + 1, (size_t)(end - at - 1) * sizeof(*at));
		routes->nnetworks--;
	}
	routes->networks[routes->nnetworks++] = (struct network){ip.s_addr, htonl(UINT32_MAX), via};
	return is_new;
}

void routes_inherit(struct routes *routes, const struct routes *old,
	bool (*is_wanted)(void *owner, struct in_addr ip, struct in_addr via), void *owner)
{
	for (size_t i = old->nfixed; i < old->nnetworks; i++) {
		const struct network *known = &old->networks[i];
		const struct in_addr ip = {known->address};
		struct in_addr forgotten;

		if (is_wanted(owner, ip, known->via))
			routes_learn(routes, ip, known->via, &forgotten);
	}
}
