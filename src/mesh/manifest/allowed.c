/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/allowed - what a manifest says about who may begin something with a host */
#include "mesh/manifest/allowed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/manifest/member.h"
#include "mesh/manifest/port.h"
#include "util/parse.h"

#define ITEM_EXPECTED "NAME[:PORT[/tcp|/udp]], such as lab:80"
#define ITEM_BYTES    300 /* a host name has 253 at most */

/* What an item says: of whom, and of which port. */
struct item {
	char who[ITEM_BYTES];
	uint16_t port; /* 0: all */
	bool is_tcp, is_udp;
};

/* False after complaining. */
static bool split(struct reader *reader, const struct node *node, struct item *out)
{
	const char *text = reader_text(reader, node, "an item of allow", ITEM_EXPECTED);
	enum proto proto;
	struct err err;
	char *colon;

	if (!text)
		return false;
	if (strlen(text) >= sizeof(out->who)) {
		reader_refuse(reader, node, "%s is too long: expected %s", PARSE_QUOTED(text),
			ITEM_EXPECTED);
		return false;
	}
	strcpy(out->who, text);
	bool has_proto = strchr(text, '/');
	colon = strchr(out->who, ':');
	if (addr_take_proto(out->who, &proto, &err) < 0 ||
		(colon && parse_port(colon + 1, false, &out->port, &err) < 0)) {
		reader_refuse(reader, node, "%s: %s", PARSE_QUOTED(text), err.text);
		return false;
	}
	if (has_proto && !colon) {
		reader_refuse(reader, node, "%s has a protocol and no port: expected %s",
			PARSE_QUOTED(text), ITEM_EXPECTED);
		return false;
	}
	if (colon)
		*colon = '\0';
	out->is_tcp = !has_proto || proto == PROTO_TCP;
	out->is_udp = colon && (!has_proto || proto == PROTO_UDP);
	return true;
}

static bool is_offered(const struct mesh_config *own, uint16_t port)
{
	for (size_t i = 0; i < own->noffers; i++)
		if (own->offers[i].listen_port == port)
			return true;
	return own->any_port || port == PORT_NAME_SERVER;
}

static void add(struct mesh_config *own, const struct item *item, struct in_addr ip)
{
	if (item->is_tcp)
		own->allow[own->nallow++] = (struct mesh_allowed){ip, item->port, PROTO_TCP};
	if (item->is_udp)
		own->allow[own->nallow++] = (struct mesh_allowed){ip, item->port, PROTO_UDP};
}

/* There is room for two of each host it may name. */
static void read_item(struct reader *reader, const struct node *node,
	const struct manifest *manifest, struct mesh_config *own, bool is_own)
{
	struct item item = {.port = 0};
	struct in_addr ip = {0};

	if (!split(reader, node, &item))
		return;
	/* the template is for hosts that have it, too */
	if (is_own && item.port != 0 && !is_offered(own, item.port))
		reader_warn(reader, node,
			"%s: the host offers no port %u: expected one of its ports",
			PARSE_QUOTED(node->text), item.port);
	if (strcmp(item.who, "*") == 0) {
		for (size_t i = 0; i < manifest->nhosts; i++)
			add(own, &item, manifest->hosts[i].vip);
		if (manifest->ncrowds > 0)
			add(own, &item, (struct in_addr){MANIFEST_LISTED});
	} else if (member_find(reader, manifest, item.who, &ip)) {
		add(own, &item, ip);
	} else {
		member_refuse(reader, manifest, node, "allow", item.who);
	}
}

/* How many a list may come to; the host itself is in it. */
static size_t room_for(const struct node *list, const struct manifest *manifest)
{
	size_t room = 1;

	for (size_t i = 0; i < list->count; i++)
		room += list->items[i]->kind == NODE_TEXT && list->items[i]->text[0] == '*'
				? 2 * (manifest->nhosts + 1)
				: 2;
	return room;
}

static void read_list(struct reader *reader, const struct node *list,
	const struct manifest *manifest, struct manifest_host *host, bool is_own)
{
	const size_t room = room_for(list, manifest);

	if (!reader_work(reader, list, room * sizeof(*host->own.allow)))
		return;
	host->own.allow = calloc(room, sizeof(*host->own.allow));
	if (!host->own.allow) {
		reader->errors->has_no_memory = true;
		return;
	}
	host->own.allow[host->own.nallow++] = (struct mesh_allowed){
		host->name ? host->vip : (struct in_addr){MANIFEST_ITSELF}, 0, PROTO_TCP};
	for (size_t i = 0; i < list->count; i++)
		read_item(reader, list->items[i], manifest, &host->own, is_own);
}

/* Of @host, or of the hosts of a list, what @node says, or the template. */
static void read_of(struct reader *reader, const struct node *node, const struct node *common,
	const struct manifest *manifest, struct manifest_host *host, const char *name,
	bool *was_said)
{
	const struct node *own = reader_get(node, "allow");
	const struct node *list = own ? own : common;

	if (!list || list->kind != NODE_LIST || reader->errors->has_no_memory)
		return;
	errors_about(reader->errors,
		!own         ? "hostTemplate"
		: host->name ? "host"
			     : "list",
		own ? name : NULL);
	/* what is wrong with the template is said once */
	reader->errors->is_quiet = !own && *was_said;
	read_list(reader, list, manifest, host, own != NULL);
	*was_said = *was_said || !own;
	reader->errors->is_quiet = false;
}

void allowed_read_all(struct reader *reader, const struct node *hosts, const struct node *lists,
	const struct node *template, struct manifest *manifest)
{
	const struct node *common = reader_get(template, "allow");
	bool was_said = false;
	char number[24];

	for (size_t i = 0; i < manifest->nhosts; i++)
		read_of(reader, hosts->items[2 * i + 1], common, manifest, &manifest->hosts[i],
			manifest->hosts[i].name, &was_said);
	for (size_t i = 0; i < manifest->ncrowds; i++) {
		snprintf(number, sizeof(number), "%zu", i + 1);
		read_of(reader, lists->items[i], common, manifest, &manifest->crowds[i].each,
			number, &was_said);
	}
}
