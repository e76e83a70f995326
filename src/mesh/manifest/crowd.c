/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/crowd - the key `hostsFrom`: hosts that a command lists */
#include "mesh/manifest/crowd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/manifest/host.h"
#include "mesh/vip.h"
#include "util/list.h"
#include "util/parse.h"

#define LIST_EXPECTED  "a command that prints one name a line"
#define VIPS_EXPECTED  "a network such as 127.0.60.0/24"
#define EVERY_EXPECTED "a time such as 30s or 5m, of 1 second to 24 hours"
#define EVERY_MAX_S    (24 * 3600)
#define EVERY_S        30
#define PREFIX_MIN     8 /* a list walks through what nobody can have */

static struct manifest_crowd *of(struct manifest_host *each)
{
	return container_of(each, struct manifest_crowd, each);
}

static void read_command(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	if (host_read_command(reader, field, value, &of(out)->list))
		reader_refuse(reader, value, "list is empty: expected " LIST_EXPECTED);
}

/* What all addresses of it are that nobody can have, or NULL. The outermost ones are left out, as
 * for hosts: they may be something else. */
static const char *net_fault(const struct manifest_crowd *crowd)
{
	const uint32_t net = ntohl(crowd->net.s_addr);
	const uint32_t last = (uint32_t)(0xffffffffULL >> crowd->prefix_len);
	const uint32_t edge = last > 1 ? 1 : 0;
	const char *fault = vip_fault((struct in_addr){htonl(net + edge)});

	return fault == vip_fault((struct in_addr){htonl(net + last - edge)}) ? fault : NULL;
}

static void read_vips(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	const char *text = reader_text(reader, value, field->what, field->expected);
	struct manifest_crowd *crowd = of(out);
	struct err err;

	if (!text)
		return;
	if (addr_parse_cidr4(text, &crowd->net, &crowd->prefix_len, &err) < 0) {
		reader_refuse(reader, value, "vips: %s", err.text);
		return;
	}
	if (crowd->prefix_len < PREFIX_MIN)
		reader_refuse(reader, value, "vips is %s: expected a prefix of %d to 32", text,
			PREFIX_MIN);
	else if (net_fault(crowd))
		reader_refuse(reader, value,
			"vips is %s, where each address %s: expected " VIPS_EXPECTED, text,
			net_fault(crowd));
}

static void read_every(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	static const char units[] = "smh";
	static const unsigned seconds[] = {1, 60, 3600};
	const char *text = reader_text(reader, value, field->what, field->expected);
	char digits[16];
	unsigned long number = 0, unit = 1;

	if (!text)
		return;
	size_t len = strlen(text);
	const char *found = len > 0 ? strchr(units, text[len - 1]) : NULL;
	if (found) {
		unit = seconds[found - units];
		len--;
	}
	snprintf(digits, sizeof(digits), "%.*s", (int)(len < sizeof(digits) ? len : 0), text);
	if (parse_uint(digits, EVERY_MAX_S, &number) < 0 || number == 0 ||
		number * unit > EVERY_MAX_S)
		reader_refuse(reader, value, "every is %s: expected %s", PARSE_QUOTED(text),
			field->expected);
	else
		of(out)->every_s = (unsigned)(number * unit);
}

static const struct field fields[] = {
	{"list", read_command, .expected = "a text in quotes or a list of words"},
	{"vips", read_vips, .expected = VIPS_EXPECTED},
	{"every", read_every, .expected = EVERY_EXPECTED},
	{.what = NULL},
};

static void check_cmd(struct reader *reader, const struct node *node, char *const *cmd)
{
	for (char *const *word = cmd; word && *word; word++)
		if (strstr(*word, MANIFEST_NAME))
			return;
	if (cmd && cmd[0])
		reader_refuse(reader, node,
			"cmd has no " MANIFEST_NAME
			": expected it where a name of the list is to stand");
}

/* Each address belongs to one list. */
static void check_net(struct reader *reader, const struct node *node,
	const struct manifest *manifest, const struct manifest_crowd *crowd)
{
	for (size_t i = 0; i < manifest->ncrowds; i++) {
		const struct manifest_crowd *other = &manifest->crowds[i];
		const int prefix_len = other->prefix_len < crowd->prefix_len ? other->prefix_len
									     : crowd->prefix_len;
		const uint64_t mask = 0xffffffffULL << (32 - prefix_len);

		if (other == crowd || prefix_len == 0 ||
			((ntohl(other->net.s_addr) ^ ntohl(crowd->net.s_addr)) & mask) != 0)
			continue;
		reader_refuse(reader, node,
			"vips overlaps with that of list %zu: expected another network", i + 1);
		return;
	}
}

static void read_crowd(struct reader *reader, const struct node *item, const struct node *template,
	struct manifest *out)
{
	struct manifest_crowd *crowd = &out->crowds[out->ncrowds++];
	char number[24];

	snprintf(number, sizeof(number), "%zu", out->ncrowds);
	errors_about(reader->errors, "list", number);
	crowd->every_s = EVERY_S;
	if (!reader_is_kind(reader, item, NODE_MAP, "it", "a map with list, cmd and vips"))
		return;
	host_read_each(reader, item, template, fields, &crowd->each);
	if (!reader_get(item, "list"))
		reader_refuse(reader, item, "no list: expected " LIST_EXPECTED);
	if (!reader_get(item, "vips"))
		reader_refuse(reader, item, "no vips: expected " VIPS_EXPECTED);
	else
		check_net(reader, reader_get(item, "vips"), out, crowd);
	if (reader_get(item, "cmd"))
		check_cmd(reader, reader_get(item, "cmd"), crowd->each.cmd);
}

void crowd_read_list(struct reader *reader, const struct node *list, const struct node *template,
	struct manifest *out)
{
	errors_about(reader->errors, NULL, NULL);
	if (!reader_is_kind(reader, list, NODE_LIST, "hostsFrom", "a list of maps"))
		return;
	if (list->count > CROWD_LISTS_MAX) {
		reader_too_much(reader, list, "too many lists", CROWD_LISTS_MAX, "");
		return;
	}
	out->crowds = calloc(list->count + 1, sizeof(*out->crowds));
	if (!out->crowds)
		reader->errors->has_no_memory = true;
	for (size_t i = 0; out->crowds && i < list->count; i++)
		read_crowd(reader, list->items[i], template, out);
}
