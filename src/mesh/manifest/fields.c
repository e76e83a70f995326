/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/fields - the keys that a host can have, and how each is read */
#include "mesh/manifest/fields.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/manifest/port.h"
#include "util/parse.h"

#define CMD_EMPTY     "cmd has no words: expected a command, or no cmd for this executable"
#define PORT_EXPECTED "LISTEN:HOST:PORT[/tcp|/udp], such as 8080:127.0.0.1:80"

/* --- one function a kind of value ----------------------------------------------------------- */

static void *member(struct manifest_host *host, const struct field *field)
{
	return (char *)host + field->offset;
}

static void read_truth(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	reader_read_bool(reader, value, field->what, member(out, field));
}

/* What an address is that no host can have in a mesh. NULL: it may be used. */
static const char *vip_fault(struct in_addr vip)
{
	in_addr_t addr = ntohl(vip.s_addr);

	if (addr >> 24 == 0)
		return "stands for no host";
	if (addr == INADDR_LOOPBACK)
		return "is each host's own loopback address";
	if (addr >> 24 == 127 && (addr << 8 == 0 || addr << 8 == 0xffffff00))
		return "is no host of the loopback network, but its first or last address";
	if (IN_MULTICAST(addr))
		return "is a multicast address";
	if (addr == INADDR_BROADCAST)
		return "is the broadcast address";
	return NULL;
}

static void read_vip(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	const char *text = reader_text(reader, value, field->what, field->expected), *fault;
	char quoted[PARSE_QUOTE_BYTES];
	struct in_addr vip;

	if (!text)
		return;
	if (inet_pton(AF_INET, text, &vip) != 1) {
		errors_add(reader->errors, value->at,
			"vip %s is no IPv4 address: expected one such as 127.0.42.101",
			parse_quote(text, quoted, sizeof(quoted)));
		return;
	}
	fault = vip_fault(vip);
	if (fault)
		errors_add(reader->errors, value->at,
			"vip %s %s: expected another one, such as 127.0.42.101", text, fault);
	else
		out->vip = vip;
}

static void split_cmd(struct reader *reader, const struct node *value, struct manifest_host *out)
{
	GError *error = NULL;
	char **words = NULL;
	int count = 0;

	if (!reader_work(reader, value, strlen(value->text)))
		return;
	if (!g_shell_parse_argv(value->text, &count, &words, &error)) {
		bool is_empty = error->code == G_SHELL_ERROR_EMPTY_STRING;

		errors_add(reader->errors, value->at, "%s",
			is_empty ? CMD_EMPTY
				 : "cmd has quotes without an end: expected another one like it, "
				   "or a list of words");
		g_error_free(error);
		return;
	}
	out->cmd = calloc((size_t)count + 1, sizeof(*out->cmd));
	for (int i = 0; out->cmd && i < count && !reader->errors->has_no_memory; i++)
		reader_copy(reader, words[i], &out->cmd[i]);
	if (!out->cmd)
		reader->errors->has_no_memory = true;
	g_strfreev(words);
}

static void copy_words(struct reader *reader, const struct node *value, struct manifest_host *out)
{
	size_t count = 0;

	out->cmd = reader_new_texts(reader, value);
	if (out->cmd && value->count == 0)
		errors_add(reader->errors, value->at, CMD_EMPTY);
	for (size_t i = 0; out->cmd && i < value->count; i++) {
		const char *word = reader_text(reader, value->items[i], "a word of cmd", "a text");
		if (word)
			reader_copy(reader, word, &out->cmd[count++]);
	}
}

static void read_cmd(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	bool is_text = value->kind == NODE_TEXT && !reader_is_number(value) &&
		       !reader_is_bool(value, NULL);

	if (is_text)
		split_cmd(reader, value, out);
	else if (value->kind == NODE_LIST)
		copy_words(reader, value, out);
	else if (value->kind != NODE_UNKNOWN)
		errors_add(reader->errors, value->at, "cmd is %s: expected %s",
			reader_kind_of(value), field->expected);
	if (out->cmd && out->cmd[0] && !out->cmd[0][0])
		errors_add(reader->errors, value->at,
			"cmd begins with an empty word: expected the name of a program");
}

static void read_listen(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	const char *text = reader_text(reader, value, field->what, field->expected);
	struct err err = {.code = 0};

	if (!text || !text[0]) /* "" is how a host turns off the template's */
		return;
	if (port_check_listen(text, &err) < 0)
		errors_add(reader->errors, value->at, "%s: %s", field->what, err.text);
	else
		reader_copy(reader, text, member(out, field));
}

static void read_path(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	const char *text = reader_text(reader, value, field->what, field->expected);

	if (text && text[0])
		reader_copy(reader, text, member(out, field));
}

static void read_restart(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	const char *text = reader_text(reader, value, field->what, field->expected);
	char quoted[PARSE_QUOTE_BYTES];

	if (!text)
		return;
	out->no_restart = strcmp(text, "never") == 0;
	if (!out->no_restart && strcmp(text, "always") != 0)
		errors_add(reader->errors, value->at, "restart is %s: expected %s",
			parse_quote(text, quoted, sizeof(quoted)), field->expected);
}

static void read_aliases(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	size_t count = 0;

	if (!reader_is_kind(reader, value, NODE_LIST, field->what, field->expected) ||
		!value->count || !(out->aliases = reader_new_texts(reader, value)))
		return;
	for (size_t i = 0; i < value->count; i++) {
		const char *alias = reader_text(reader, value->items[i], "an alias", "a host name");
		if (alias)
			reader_copy(reader, alias, &out->aliases[count++]);
	}
}

const char *fields_key(const struct field *field)
{
	const char *dot = strrchr(field->what, '.');

	return dot ? dot + 1 : field->what;
}

void fields_check_keys(struct reader *reader, const struct node *map, const struct field *fields)
{
	const char *keys[FIELDS_MAX];
	size_t count = 0;

	for (const struct field *field = fields; field->what; field++)
		keys[count++] = fields_key(field);
	reader_check_keys(reader, map, keys, count);
}

static void read_section(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	if (!reader_is_kind(reader, value, NODE_MAP, field->what, field->expected))
		return;
	for (const struct field *part = field->parts; part->what; part++) {
		const struct node *node = reader_get(value, fields_key(part));

		if (node)
			part->read(reader, part, node, out);
	}
	fields_check_keys(reader, value, field->parts);
}

static bool add_offer(
	struct reader *reader, struct mesh_config *host, const struct mesh_offer *offer)
{
	/* a list grows at powers of two */
	if ((host->noffers & (host->noffers - 1)) == 0) {
		struct mesh_offer *grown = reallocarray(
			host->offers, host->noffers ? 2 * host->noffers : 1, sizeof(*host->offers));
		if (!grown) {
			reader->errors->has_no_memory = true;
			return false;
		}
		host->offers = grown;
	}
	host->offers[host->noffers++] = *offer;
	return true;
}

static bool offers_already(const struct mesh_config *host, const struct mesh_offer *offer)
{
	for (size_t i = 0; i < host->noffers; i++)
		if (host->offers[i].listen_port == offer->listen_port &&
			host->offers[i].proto == offer->proto)
			return true;
	return false;
}

static void read_port(struct reader *reader, const struct node *item, struct manifest_host *out)
{
	const char *text = reader_text(reader, item, "a port", PORT_EXPECTED);
	struct mesh_offer offer;
	struct err err = {.code = 0};
	int rc = text ? port_parse(text, &offer, &err) : -EINVAL;

	if (!text)
		return;
	if (rc == -ENOMEM)
		reader->errors->has_no_memory = true;
	else if (rc < 0)
		errors_add(reader->errors, item->at, "%s", err.text);
	if (rc < 0)
		return;
	if (offers_already(&out->own, &offer))
		errors_add(reader->errors, item->at,
			"port %u/%s is given twice: expected it once for a host and its template",
			offer.listen_port, offer.proto == PROTO_UDP ? "udp" : "tcp");
	else if (add_offer(reader, &out->own, &offer))
		return;
	free(offer.connect_host);
}

static void read_ports(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	if (!reader_is_kind(reader, value, NODE_LIST, field->what, field->expected))
		return;
	for (size_t i = 0; i < value->count && !reader->errors->has_no_memory; i++) {
		if (!reader->ports_left) {
			reader_too_much(reader, value->items[i], "too many ports", READER_PORTS_MAX,
				" in the mesh");
			return;
		}
		reader->ports_left--;
		read_port(reader, value->items[i], out);
	}
}

/* --- the table ------------------------------------------------------------------------------ */

#define OWN(member) .offset = offsetof(struct manifest_host, own.member)

static const struct field http_parts[] = {
	{"http.listen", read_listen, OWN(http_listen), .expected = "ADDR:PORT"},
	{.what = NULL},
};
static const struct field socks_parts[] = {
	{"socks.listen", read_listen, OWN(socks_listen), .expected = "ADDR:PORT"},
	{.what = NULL},
};
static const struct field loopback_parts[] = {
	{"loopback.disable", read_truth, OWN(loopback_disable)},
	{.what = NULL},
};
static const struct field state_dir_parts[] = {
	{"stateDir.pathOnAgent", read_path, OWN(state_dir_path), .expected = "a path"},
	{"stateDir.disable", read_truth, OWN(state_dir_disable)},
	{.what = NULL},
};

const struct field fields_of_host[] = {
	{"vip", read_vip, .expected = FIELDS_VIP, .is_host_only = true},
	{"cmd", read_cmd, .expected = "a text in quotes or a list of words", .is_host_only = true},
	{"ports", read_ports, .expected = "a list such as [\"8080:127.0.0.1:80\"]",
		.adds_up = true},
	{"http", read_section, .expected = "a map with listen", .parts = http_parts},
	{"socks", read_section, .expected = "a map with listen", .parts = socks_parts},
	{"loopback", read_section, .expected = "a map with disable", .parts = loopback_parts},
	{"stateDir", read_section, .expected = "a map with pathOnAgent or disable",
		.parts = state_dir_parts},
	{"aliases", read_aliases, .expected = "a list of host names", .is_host_only = true},
	{"writeEtcHosts", read_truth, OWN(write_etc_hosts)},
	{"restart", read_restart, .expected = "always or never"},
	{"anyPort", read_truth, OWN(any_port)},
	{.what = NULL},
};
