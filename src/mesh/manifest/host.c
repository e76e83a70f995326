/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/host - what a manifest says about one host, or about all of them */
#include "mesh/manifest/host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "conn/expose.h"
#include "conn/listen.h"
#include "mesh/info.h"
#include "mesh/manifest/allowed.h"
#include "mesh/manifest/launch.h"
#include "mesh/manifest/port.h"
#include "mesh/manifest/secret.h"
#include "mesh/vip.h"
#include "util/parse.h"

#define VIP_EXPECTED  "an IPv4 address such as 127.0.42.101"
#define CMD_EMPTY     "cmd has no words, so this executable is meant: expected a command, or no cmd"
#define USER_MAX      255 /* bytes (RFC 1929) */
#define USER_EXPECTED "1 to 255 bytes without a colon or control characters"
#define AUTH_EXPECTED "a map with user and passwordFile"
#define PORT_EXPECTED "LISTEN:HOST:PORT[/tcp|/udp], such as 8080:127.0.0.1:80"

/*
 * A key of a host, or of a map in it. What is told to the host as it stands is kept in `own`, whose
 * copying, comparing and freeing follow from the table of mesh/config. A table ends with an entry
 * that has no name.
 */
struct field {
	const char *what; /* its name in errors: the key, behind that of its map: "http.listen" */
	void (*read)(struct reader *reader, const struct field *field, const struct node *value,
		struct manifest_host *out);
	size_t offset; /* in the host, of what `read` sets; 0: it knows by itself */
	const char *expected;
	const struct field *parts; /* of a map */
	uint16_t default_port;     /* of an address to listen at */
	bool is_host_only;         /* the template, which has no name, must not have it */
	bool adds_up;              /* both the template's and the host's count */
};

/* --- one function a kind of value ----------------------------------------------------------- */

static void *member(struct manifest_host *host, const struct field *field)
{
	return (char *)host + field->offset;
}

static void read_truth(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	if (!reader_is_kind(reader, value, NODE_TEXT, field->what, "true or false") ||
		reader_is_bool(value, member(out, field)))
		return;
	reader_refuse(reader, value, "%s is %s: expected true or false%s", field->what,
		PARSE_QUOTED(value->text), value->is_plain ? "" : " without quotes");
}

static void read_vip(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	const char *text = reader_text(reader, value, field->what, field->expected), *fault;
	struct in_addr vip;

	if (!text)
		return;
	if (inet_pton(AF_INET, text, &vip) != 1) {
		reader_refuse(reader, value,
			"vip %s is no IPv4 address: expected one such as 127.0.42.101",
			PARSE_QUOTED(text));
		return;
	}
	fault = vip_fault(vip);
	if (fault)
		reader_refuse(reader, value,
			"vip %s %s: expected another one, such as 127.0.42.101", text, fault);
	else
		out->vip = vip;
}

static void split_cmd(struct reader *reader, const struct node *value, struct manifest_host *out)
{
	GError *error = NULL;
	char **words = NULL;

	if (!reader_work(reader, value, strlen(value->text)))
		return;
	if (!g_shell_parse_argv(value->text, NULL, &words, &error)) {
		if (error->code == G_SHELL_ERROR_EMPTY_STRING)
			reader_warn(reader, value, CMD_EMPTY);
		else
			reader_refuse(reader, value,
				"cmd has quotes without an end: expected another one like it, or a "
				"list of words");
		g_error_free(error);
		return;
	}
	out->cmd = words; /* for free(3): GLib has no memory of its own since 2.46 */
}

static void read_cmd(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	bool is_text = value->kind == NODE_TEXT && !reader_is_number(value) &&
		       !reader_is_bool(value, NULL);

	if (is_text)
		split_cmd(reader, value, out);
	else if (value->kind == NODE_LIST && !value->count)
		reader_warn(reader, value, CMD_EMPTY);
	else if (value->kind == NODE_LIST)
		out->cmd = reader_texts(reader, value, "a word of cmd", "a text");
	else if (value->kind != NODE_UNKNOWN)
		reader_refuse(reader, value, "cmd is %s: expected %s", reader_kind_of(value),
			field->expected);
	if (out->cmd && out->cmd[0] && !out->cmd[0][0])
		reader_refuse(reader, value,
			"cmd begins with an empty word: expected the name of a program");
}

static void read_text(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	const char *text = reader_text(reader, value, field->what, field->expected);

	if (text && text[0]) /* "" is how a host turns off the template's */
		reader_copy(reader, text, member(out, field));
}

/* "" is how a host turns off the template's. */
static void read_listen(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	const char *text = reader_text(reader, value, field->what, field->expected);
	char whole[LISTEN_TEXT_BYTES];
	struct listen listen;
	struct err err;

	if (!text || !text[0])
		return;
	if (listen_parse(text, field->default_port, &listen, &err) < 0)
		reader_refuse(reader, value, "%s: %s", field->what, err.text);
	else
		reader_copy(
			reader, listen_format(&listen, whole, sizeof(whole)), member(out, field));
}

static void read_user(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	const char *text = reader_text(reader, value, field->what, field->expected);
	size_t len = text ? strlen(text) : 0;
	bool is_fine = len > 0 && len <= USER_MAX;

	for (size_t i = 0; i < len; i++)
		is_fine = is_fine && text[i] != ':' && (unsigned char)text[i] >= ' ' &&
			  text[i] != 0x7f;
	if (text && !is_fine)
		reader_refuse(reader, value, "%s is %s: expected %s", field->what,
			PARSE_QUOTED(text), field->expected);
	else if (text)
		reader_copy(reader, text, member(out, field));
}

/* The password becomes a part of what the host is told: its own machine need not have the file. */
static void read_secret(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	const char *text = reader_text(reader, value, field->what, field->expected);
	char *secret = NULL;
	struct err err = {.code = 0};

	if (!text || !reader->folder)
		return;
	if (secret_read(text, reader->folder, &secret, &err) < 0)
		reader_refuse(reader, value, "%s: %s", field->what, err.text);
	else
		reader_copy(reader, secret, member(out, field));
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

static void read_restart(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	const char *text = reader_text(reader, value, field->what, field->expected);

	if (!text)
		return;
	out->no_restart = strcmp(text, "never") == 0;
	out->only_failures = strcmp(text, "on-failure") == 0;
	if (!out->no_restart && !out->only_failures && strcmp(text, "always") != 0)
		reader_refuse(reader, value, "restart is %s: expected %s", PARSE_QUOTED(text),
			field->expected);
}

static void read_sandbox(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	(void)field;
	launch_read(reader, value, &out->own.sandbox);
}

static void read_aliases(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	if (reader_is_kind(reader, value, NODE_LIST, field->what, field->expected) && value->count)
		out->aliases = reader_texts(reader, value, "an alias", "a host name");
}

/* What is in it is read when all hosts are known (mesh/manifest/allowed). */
static void read_allow(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	(void)out;
	reader_is_kind(reader, value, NODE_LIST, field->what, field->expected);
}

/* An empty list exposes nothing, no list everything. */
static void read_expose(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	char ***texts = member(out, field);
	struct expose expose = {.rules = NULL};
	struct err err = {.code = 0};

	if (!reader_is_kind(reader, value, NODE_LIST, field->what, field->expected))
		return;
	g_strfreev(*texts);
	*texts = value->count ? reader_texts(reader, value, "an item of expose",
					"a network such as 10.0.0.0/8:22,80")
			      : reader_new_texts(reader, value);
	if (*texts && !value->count)
		reader_copy(reader, "none", &(*texts)[0]);
	for (size_t i = 0; *texts && i < value->count; i++)
		if (value->items[i]->kind == NODE_TEXT &&
			expose_add(&expose, value->items[i]->text, &err) < 0)
			reader_refuse(reader, value->items[i], "%s", err.text);
	expose_fini(&expose);
}

/* "listen" of "http.listen" */
static const char *key_of(const struct field *field)
{
	const char *dot = strrchr(field->what, '.');

	return dot ? dot + 1 : field->what;
}

/* What @map says of @fields, and @template (NULL: nothing) where it does not. */
static void read_fields(struct reader *reader, const struct field *fields, const struct node *map,
	const struct node *template, struct manifest_host *out)
{
	const char *keys[READER_KEYS_MAX];
	size_t count = 0;

	for (const struct field *field = fields; field->what; field++) {
		const char *key = keys[count++] = key_of(field);
		const struct node *value = reader_get(map, key);
		const struct node *inherited =
			field->is_host_only ? NULL : reader_get(template, key);

		if (inherited && (!value || field->adds_up)) {
			reader->errors->is_quiet = true;
			field->read(reader, field, inherited, out);
			reader->errors->is_quiet = false;
		}
		if (value && field->is_host_only && !out->name)
			reader_refuse(reader, value,
				"%s is not for all hosts: expected it at each host", field->what);
		else if (value)
			field->read(reader, field, value, out);
	}
	reader_check_keys(reader, map, keys, count);
}

static void read_section(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	if (reader_is_kind(reader, value, NODE_MAP, field->what, field->expected))
		read_fields(reader, field->parts, value, NULL, out);
}

static void read_auth(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	if (!reader_is_kind(reader, value, NODE_MAP, field->what, field->expected))
		return;
	read_fields(reader, field->parts, value, NULL, out);
	if (!reader_get(value, "user") || !reader_get(value, "passwordFile"))
		reader_refuse(reader, value, "%s has no %s: expected %s", field->what,
			reader_get(value, "user") ? "passwordFile" : "user", field->expected);
}

enum proxy_part { PROXY_LISTEN, PROXY_AUTH, PROXY_ONLY_USER, PROXY_OPEN };

/* A proxy that other machines reach, and anybody may use, leads them to all that its host reaches.
 */
static void read_proxy(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	const struct node *listen_node = reader_get(value, "listen");
	const struct field *parts = field->parts; /* in the order of enum proxy_part */
	struct listen listen;
	char *text;

	read_section(reader, field, value, out);
	memcpy(&text, member(out, &parts[PROXY_LISTEN]), sizeof(text));
	if (text && listen_parse(text, 0, &listen, NULL) == 0 && !listen_is_local(&listen) &&
		!reader_get(value, "auth") && !*(bool *)member(out, &parts[PROXY_ONLY_USER]) &&
		!*(bool *)member(out, &parts[PROXY_OPEN]))
		reader_refuse(reader, listen_node,
			"%s: %s is open to other machines: expected an address such as "
			"127.0.0.1:%u, or auth, onlyUser: true or open: true beside it",
			parts[PROXY_LISTEN].what, PARSE_QUOTED(listen_node->text), listen.port);
}

static const struct mesh_offer *find_offer(
	const struct mesh_config *own, const struct mesh_offer *offer)
{
	for (size_t i = 0; i < own->noffers; i++)
		if (own->offers[i].listen_port == offer->listen_port &&
			own->offers[i].proto == offer->proto)
			return &own->offers[i];
	return NULL;
}

/* Add @offer, which is taken over. */
static void add_offer(struct reader *reader, const struct node *item, struct mesh_offer *offer,
	struct mesh_config *out)
{
	const struct mesh_offer *before = find_offer(out, offer);

	if (!before) {
		out->offers[out->noffers++] = *offer;
		return;
	}
	if (before->connect_port != offer->connect_port ||
		strcmp(before->connect_host, offer->connect_host) != 0)
		reader_refuse(reader, item,
			"port %u/%s is given twice, with two targets: expected one for a host and "
			"its template",
			offer->listen_port, addr_proto_name(offer->proto));
	free(offer->connect_host);
}

/* There is room for it in @out. */
static void read_port(struct reader *reader, const struct node *item, struct mesh_config *out)
{
	const char *text = reader_text(reader, item, "a port", PORT_EXPECTED);
	struct mesh_offer offer;
	struct err err = {.code = 0};

	if (!text)
		return;
	int rc = port_parse(text, &offer, &err);
	if (rc == -ENOMEM)
		reader->errors->has_no_memory = true;
	else if (rc < 0)
		reader_refuse(reader, item, "%s", err.text);
	else
		add_offer(reader, item, &offer, out);
}

static void read_ports(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	struct mesh_config *own = &out->own;

	if (!reader_is_kind(reader, value, NODE_LIST, field->what, field->expected) ||
		!value->count)
		return;
	size_t room = value->count < reader->ports_left ? value->count : reader->ports_left;
	struct mesh_offer *grown =
		reallocarray(own->offers, own->noffers + room + 1, sizeof(*own->offers));
	if (!grown) {
		reader->errors->has_no_memory = true;
		return;
	}
	own->offers = grown;
	for (size_t i = 0; i < value->count && !reader->errors->has_no_memory; i++) {
		if (!reader->ports_left) {
			reader_too_much(reader, value->items[i], "too many ports", READER_PORTS_MAX,
				" in the mesh");
			return;
		}
		reader->ports_left--;
		read_port(reader, value->items[i], own);
	}
}

/* --- the table ------------------------------------------------------------------------------ */

#define OWN(member) .offset = offsetof(struct manifest_host, own.member)

static const struct field http_auth[] = {
	{"http.auth.user", read_user, OWN(http_user), .expected = USER_EXPECTED},
	{"http.auth.passwordFile", read_secret, OWN(http_password),
		.expected = "the path of a file"},
	{.what = NULL},
};
static const struct field http_parts[] = {
	[PROXY_LISTEN] = {"http.listen", read_listen, OWN(http_listen), .expected = "ADDR:PORT",
		.default_port = LISTEN_HTTP_PORT},
	[PROXY_AUTH] = {"http.auth", read_auth, .expected = AUTH_EXPECTED, .parts = http_auth},
	[PROXY_ONLY_USER] = {"http.onlyUser", read_truth, OWN(http_only_user)},
	[PROXY_OPEN] = {"http.open", read_truth,
		.offset = offsetof(struct manifest_host, http_open)},
	{.what = NULL},
};
static const struct field socks_auth[] = {
	{"socks.auth.user", read_user, OWN(socks_user), .expected = USER_EXPECTED},
	{"socks.auth.passwordFile", read_secret, OWN(socks_password),
		.expected = "the path of a file"},
	{.what = NULL},
};
static const struct field socks_parts[] = {
	[PROXY_LISTEN] = {"socks.listen", read_listen, OWN(socks_listen), .expected = "ADDR:PORT",
		.default_port = LISTEN_SOCKS_PORT},
	[PROXY_AUTH] = {"socks.auth", read_auth, .expected = AUTH_EXPECTED, .parts = socks_auth},
	[PROXY_ONLY_USER] = {"socks.onlyUser", read_truth, OWN(socks_only_user)},
	[PROXY_OPEN] = {"socks.open", read_truth,
		.offset = offsetof(struct manifest_host, socks_open)},
	{.what = NULL},
};
static const struct field loopback_parts[] = {
	{"loopback.disable", read_truth, OWN(loopback_disable)},
	{.what = NULL},
};
static const struct field state_dir_parts[] = {
	{"stateDir.pathOnAgent", read_text, OWN(state_dir_path), .expected = "a path"},
	{"stateDir.disable", read_truth, OWN(state_dir_disable)},
	{.what = NULL},
};

static const struct field fields[] = {
	{"vip", read_vip, .expected = VIP_EXPECTED, .is_host_only = true},
	{"cmd", read_cmd, .expected = "a text in quotes or a list of words", .is_host_only = true},
	{"ports", read_ports, .expected = "a list such as [\"8080:127.0.0.1:80\"]",
		.adds_up = true},
	{"http", read_proxy, .expected = "a map with listen", .parts = http_parts},
	{"socks", read_proxy, .expected = "a map with listen", .parts = socks_parts},
	{"loopback", read_section, .expected = "a map with disable", .parts = loopback_parts},
	{"stateDir", read_section, .expected = "a map with pathOnAgent or disable",
		.parts = state_dir_parts},
	{"aliases", read_aliases, .expected = "a list of host names", .is_host_only = true},
	{"install", read_truth, .offset = offsetof(struct manifest_host, install)},
	{"writeEtcHosts", read_truth, OWN(write_etc_hosts)},
	{"restart", read_restart, .expected = "always, on-failure or never"},
	{"allow", read_allow, .expected = ALLOWED_EXPECTED},
	{"anyPort", read_truth, OWN(any_port)},
	{"expose", read_expose, OWN(expose),
		.expected = "a list of networks such as [\"10.0.0.0/8:22,80\"]"},
	{"sandbox", read_sandbox, .expected = "a map with command at least"},
	{.what = NULL},
};

/* --- a host --------------------------------------------------------------------------------- */

void host_read(struct reader *reader, const struct node *name, const struct node *value,
	const struct node *template, struct manifest_host *out)
{
	errors_about(reader->errors, "host", name->text);
	reader_copy(reader, name->text, &out->name);
	if (!reader_is_kind(reader, value, NODE_MAP, "it", "a map with vip at least"))
		return;
	read_fields(reader, fields, value, template, out);
	if (!reader_get(value, "vip"))
		reader_refuse(reader, name, "no vip: expected %s", VIP_EXPECTED);
	if (out->install && !out->cmd)
		reader_refuse(reader, name,
			"install: expected a cmd that leads to a shell, such as \"ssh gw sh\"");
}

void host_check_template(struct reader *reader, const struct node *template)
{
	struct manifest_host nobody = {.name = NULL};
	size_t ports_left = reader->ports_left;

	errors_about(reader->errors, "hostTemplate", NULL);
	if (!reader_is_kind(reader, template, NODE_MAP, "it", "a map with keys of a host"))
		return;
	read_fields(reader, fields, template, NULL, &nobody);
	host_fini(&nobody);
	reader->ports_left = ports_left;
}

void host_fini(struct manifest_host *host)
{
	free(host->name);
	g_strfreev(host->cmd);
	g_strfreev(host->aliases);
	config_free(&host->own);
	*host = (struct manifest_host){.name = NULL};
}
