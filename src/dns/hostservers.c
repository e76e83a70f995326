/* SPDX-License-Identifier: Apache-2.0 */
/* dns/hostservers - a forwarder whose servers are those of this host, whatever becomes of them */
#include "dns/hostservers.h"

#include <stdlib.h>
#include <string.h>

#include "net/resolv.h"
#include "util/clock.h"
#include "util/fd.h"

#define LOOK_NS NS_PER_S /* between two looks at whether resolv.conf has changed */

static bool has_changed(const struct stat *a, const struct stat *b)
{
	return a->st_ino != b->st_ino || a->st_dev != b->st_dev || a->st_size != b->st_size ||
	       a->st_mtim.tv_sec != b->st_mtim.tv_sec || a->st_mtim.tv_nsec != b->st_mtim.tv_nsec;
}

static const char *path_of(const struct hostservers *servers)
{
	return servers->resolv_conf ? servers->resolv_conf : RESOLV_CONF;
}

static void set_search(struct zone *zone, char *words)
{
	char *rest;

	zone_forget_search(zone);
	for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
		zone_add_search(zone, word);
}

static void read_servers(struct hostservers *servers)
{
	char *text = malloc(RESOLV_TEXT_MAX_BYTES);
	struct resolv_conf conf = {.nservers = 0};
	ssize_t len = text ? fd_read_file(path_of(servers), text, RESOLV_TEXT_MAX_BYTES) : -1;

	if (len >= 0)
		resolv_parse(text, (size_t)len, &conf);
	free(text);
	forwarder_set_servers(servers->forwarder, conf.servers, conf.nservers);
	servers->count = conf.nservers;
	if (servers->zone)
		set_search(servers->zone, conf.search);
}

void hostservers_set_zone(struct hostservers *servers, struct zone *zone)
{
	servers->zone = zone;
	servers->looked_ns = 0; /* it has not heard of the search domains */
}

size_t hostservers_look(struct hostservers *servers)
{
	uint64_t now_ns = loop_now_ns(servers->loop);
	struct stat now = {.st_ino = 0};

	if (servers->looked_ns != 0 && now_ns - servers->looked_ns < LOOK_NS)
		return servers->count;
	if (stat(path_of(servers), &now) < 0)
		now = (struct stat){.st_ino = 0};
	if (servers->looked_ns == 0 || has_changed(&now, &servers->seen))
		read_servers(servers);
	servers->seen = now;
	servers->looked_ns = now_ns;
	return servers->count;
}
