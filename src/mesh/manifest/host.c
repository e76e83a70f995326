/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/host - what a manifest says about one host, or about all of them */
#include "mesh/manifest/host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conn/expose.h"
#include "conn/listen.h"
#include "mesh/info.h"
#include "mesh/manifest/allowed.h"
#include "mesh/manifest/launch.h"
#include "mesh/manifest/offered.h"
#include "mesh/manifest/secret.h"
#include "mesh/vip.h"
#include "util/parse.h"

#define VIP_EXPECTED  "an IPv4 address such as 127.0.42.101"
#define CMD_EMPTY     "cmd has no words, so this executable is meant: expected a command, or no cmd"
#define USER_MAX      255 /* bytes (RFC 1929) */
#define USER_EXPECTED "1 to 255 bytes without a colon or control characters"
#define AUTH_EXPECTED "a map with user and passwordFile"
#define HOST_ONLY     (FIELD_TEMPLATE | FIELD_CROWD)

/* --- one function a kind of value ----------------------------------------------------------- */

static void read_truth(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	if (!reader_is_kind(reader, value, NODE_TEXT, field->what, "true or false") ||
		reader_is_bool(value, field_member(out, field)))
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

/* NULL: none, or after complaining. */
static char **split_words(
	struct reader *reader, const struct field *field, const struct node *value, bool *is_empty)
{
	GError *error = NULL;
	char **words = NULL;

	if (!reader_work(reader, value, strlen(value->text)))
		return NULL;
	/* for free(3): GLib has no memory of its own since 2.46 */
	if (g_shell_parse_argv(value->text, NULL, &words, &error))
		return words;
	*is_empty = error->code == G_SHELL_ERROR_EMPTY_STRING;
	if (!*is_empty)
		reader_refuse(reader, value,
			"%s has quotes without an end: expected another one like it, or a list of "
			"words",
			field->what);
	g_error_free(error);
	return NULL;
}

bool host_read_command(
	struct reader *reader, const struct field *field, const struct node *value, char ***out)
{
	bool is_text = value->kind == NODE_TEXT && !reader_is_number(value) &&
		       !reader_is_bool(value, NULL);
	bool is_empty = value->kind == NODE_LIST && !value->count;
	char what[64], **words = NULL;

	snprintf(what, sizeof(what), "a word of %s", field->what);
	if (is_text)
		words = split_words(reader, field, value, &is_empty);
	else if (value->kind == NODE_LIST && !is_empty)
		words = reader_texts(reader, value, what, "a text");
	else if (value->kind != NODE_UNKNOWN && !is_empty)
		reader_refuse(reader, value, "%s is %s: expected %s", field->what,
			reader_kind_of(value), field->expected);
	if (words && words[0] && !words[0][0])
		reader_refuse(reader, value,
			"%s begins with an empty word: expected the name of a program",
			field->what);
	*out = words;
	return is_empty;
}

static void read_cmd(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	if (host_read_command(reader, field, value, &out->cmd))
		reader_warn(reader, value, CMD_EMPTY);
}

static void read_text(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	const char *text = reader_text(reader, value, field->what, field->expected);

	if (text && text[0]) /* "" is how a host turns off the template's */
		reader_copy(reader, text, field_member(out, field));
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
		reader_copy(reader, listen_format(&listen, whole, sizeof(whole)),
			field_member(out, field));
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
		reader_copy(reader, text, field_member(out, field));
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
		reader_copy(reader, secret, field_member(out, field));
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
	char ***texts = field_member(out, field);
	struct expose expose = {.has_no_ipv6 = true};
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

static void read_auth(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	field_read_section(reader, field, value, out);
	if (value->kind != NODE_MAP)
		return;
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

	field_read_section(reader, field, value, out);
	memcpy(&text, field_member(out, &parts[PROXY_LISTEN]), sizeof(text));
	if (text && listen_parse(text, 0, &listen, NULL) == 0 && !listen_is_local(&listen) &&
		!reader_get(value, "auth") &&
		!*(bool *)field_member(out, &parts[PROXY_ONLY_USER]) &&
		!*(bool *)field_member(out, &parts[PROXY_OPEN]))
		reader_refuse(reader, listen_node,
			"%s: %s is open to other machines: expected an address such as "
			"127.0.0.1:%u, or auth, onlyUser: true or open: true beside it",
			parts[PROXY_LISTEN].what, PARSE_QUOTED(listen_node->text), listen.port);
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
	{"vip", read_vip, .expected = VIP_EXPECTED, .not_for = HOST_ONLY},
	{"cmd", read_cmd, .expected = "a text in quotes or a list of words",
		.not_for = FIELD_TEMPLATE},
	{"ports", offered_read, .expected = "a list such as [\"8080:127.0.0.1:80\"]",
		.adds_up = true},
	{"http", read_proxy, .expected = "a map with listen", .parts = http_parts},
	{"socks", read_proxy, .expected = "a map with listen", .parts = socks_parts},
	{"loopback", field_read_section, .expected = "a map with disable", .parts = loopback_parts},
	{"stateDir", field_read_section, .expected = "a map with pathOnAgent or disable",
		.parts = state_dir_parts},
	{"aliases", read_aliases, .expected = "a list of host names", .not_for = HOST_ONLY},
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

static const struct field *const tables[] = {fields, NULL};

/* --- a host --------------------------------------------------------------------------------- */

/* What is sent has no libslirp, so that the agent it becomes would be lost at once, each time. */
static void refuse_install(
	struct reader *reader, const struct node *at, const struct manifest_host *host)
{
	if (host->install && host->own.sandbox.command)
		reader_refuse(reader, at,
			"install and sandbox: what is sent makes no sandboxes: expected one of the "
			"two, or a cmd that leads to nswrap and no install");
}

void host_read(struct reader *reader, const struct node *name, const struct node *value,
	const struct node *template, struct manifest_host *out)
{
	errors_about(reader->errors, "host", name->text);
	reader_copy(reader, name->text, &out->name);
	if (!reader_is_kind(reader, value, NODE_MAP, "it", "a map with vip at least"))
		return;
	field_read_map(reader, tables, FIELD_HOST, value, template, out);
	if (!reader_get(value, "vip"))
		reader_refuse(reader, name, "no vip: expected %s", VIP_EXPECTED);
	if (out->install && !out->cmd)
		reader_refuse(reader, name,
			"install: expected a cmd that leads to a shell, such as \"ssh gw sh\"");
	refuse_install(reader, name, out);
}

void host_read_each(struct reader *reader, const struct node *value, const struct node *template,
	const struct field *more, struct manifest_host *out)
{
	field_read_map(reader, (const struct field *const[]){more, fields, NULL}, FIELD_CROWD,
		value, template, out);
	if (!reader_get(value, "cmd"))
		reader_refuse(reader, value,
			"no cmd: expected a command with {name}, such as \"ssh {name} nswrap\"");
	refuse_install(reader, value, out);
}

void host_check_template(struct reader *reader, const struct node *template)
{
	struct manifest_host nobody = {.name = NULL};
	size_t ports_left = reader->ports_left;

	errors_about(reader->errors, "hostTemplate", NULL);
	if (!reader_is_kind(reader, template, NODE_MAP, "it", "a map with keys of a host"))
		return;
	field_read_map(reader, tables, FIELD_TEMPLATE, template, NULL, &nobody);
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
