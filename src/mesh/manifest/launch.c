/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/launch - the sandbox that a host is to run a command in: `sandbox` of a manifest */
#include "mesh/manifest/launch.h"

#include <errno.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "forward/outward.h"
#include "util/parse.h"

#define COMMAND_EXPECTED "a text in quotes or a list of words, such as \"jupyter lab\""
#define ENV_EXPECTED     "a map such as {NAME: value}, or a list such as [\"NAME=value\"]"
#define WORDS_MAX        2048
#define BYTES_MAX        (256 << 10) /* of all of them; a message of the wire has room for more */

/* What is being read; words are collected, as there may be several of a key. */
struct launch {
	struct reader *reader;
	struct mesh_sandbox *out;
	GPtrArray *words;
};

/*
 * A key: how its value becomes words of the launcher. A table ends with an entry that has no name.
 */
struct key {
	const char *name;
	void (*read)(struct launch *launch, const struct key *key, const struct node *value);
	const char *option;   /* "--mtu" */
	const char *expected; /* for errors */
	unsigned long min, max;
	int (*check)(const char *text, struct err *err);
	bool when; /* the truth for which the option is given */
};

/* Nobody comes for it any more: its host has left the mesh while its link was down. */
#define UNATTENDED "--unattended"
#define KEPT_S     "604800" /* a week */

static void add_word(struct launch *launch, const char *option, const char *value)
{
	g_ptr_array_add(
		launch->words, value ? g_strdup_printf("%s=%s", option, value) : g_strdup(option));
}

/* --- one function a kind of value ----------------------------------------------------------- */

/* "sandbox.mtu" */
static const char *name_of(const struct key *key, char out[static 32])
{
	g_snprintf(out, 32, "sandbox.%s", key->name);
	return out;
}

static void split_command(struct launch *launch, const struct node *value)
{
	GError *error = NULL;
	char **words = NULL;

	if (!reader_work(launch->reader, value, strlen(value->text)))
		return;
	if (g_shell_parse_argv(value->text, NULL, &words, &error)) {
		launch->out->command = words; /* for free(3), as in mesh/manifest/host */
		return;
	}
	if (error->code == G_SHELL_ERROR_EMPTY_STRING)
		reader_refuse(launch->reader, value, "sandbox.command has no words: expected %s",
			COMMAND_EXPECTED);
	else
		reader_refuse(launch->reader, value,
			"sandbox.command has quotes without an end: expected another one like it, "
			"or a list of words");
	g_error_free(error);
}

static void read_command(struct launch *launch, const struct key *key, const struct node *value)
{
	struct mesh_sandbox *out = launch->out;

	if (value->kind == NODE_LIST && value->count > 0)
		out->command =
			reader_texts(launch->reader, value, "a word of sandbox.command", "a text");
	else if (value->kind == NODE_TEXT && !reader_is_number(value) &&
		 !reader_is_bool(value, NULL) && !reader_is_null(value))
		split_command(launch, value);
	else if (value->kind != NODE_UNKNOWN)
		reader_refuse(launch->reader, value, "sandbox.command is %s: expected %s",
			value->kind == NODE_LIST ? "empty" : reader_kind_of(value), key->expected);
	if (out->command && out->command[0] && !out->command[0][0])
		reader_refuse(launch->reader, value,
			"sandbox.command begins with an empty word: expected the name of a "
			"program");
}

/* Returns whether it is a number that may be. */
static bool take_number(struct launch *launch, const struct key *key, const struct node *value,
	unsigned long *number)
{
	char name[32];
	const char *text = reader_text(launch->reader, value, name_of(key, name), key->expected);

	if (!text)
		return false;
	if (parse_uint(text, key->max, number) == 0 && *number >= key->min)
		return true;
	reader_refuse(launch->reader, value, "%s is %s: expected %s", name, PARSE_QUOTED(text),
		key->expected);
	return false;
}

static void read_guest_port(struct launch *launch, const struct key *key, const struct node *value)
{
	unsigned long port;

	if (take_number(launch, key, value, &port))
		launch->out->guest_port = (uint16_t)port;
}

static void read_number(struct launch *launch, const struct key *key, const struct node *value)
{
	unsigned long number;

	if (take_number(launch, key, value, &number))
		add_word(launch, key->option, value->text);
}

static bool take_truth(
	struct launch *launch, const struct key *key, const struct node *value, bool *out)
{
	char name[32];

	if (!reader_is_kind(launch->reader, value, NODE_TEXT, name_of(key, name), "true or false"))
		return false;
	if (reader_is_bool(value, out))
		return true;
	reader_refuse(launch->reader, value, "%s is %s: expected true or false%s", name,
		PARSE_QUOTED(value->text), value->is_plain ? "" : " without quotes");
	return false;
}

static void read_truth(struct launch *launch, const struct key *key, const struct node *value)
{
	bool is_true;

	if (take_truth(launch, key, value, &is_true) && is_true == key->when)
		add_word(launch, key->option, NULL);
}

static void read_keep(struct launch *launch, const struct key *key, const struct node *value)
{
	char name[32];
	uint64_t ms;
	struct err err;

	if (value->kind == NODE_TEXT && parse_seconds(value->text, &ms, &err) == 0) {
		launch->out->keep = true;
		add_word(launch, UNATTENDED, value->text);
		return;
	}
	if (!reader_is_kind(launch->reader, value, NODE_TEXT, name_of(key, name), key->expected))
		return;
	if (!reader_is_bool(value, &launch->out->keep))
		reader_refuse(launch->reader, value, "%s is %s: expected %s", name,
			PARSE_QUOTED(value->text), key->expected);
	else if (launch->out->keep)
		add_word(launch, UNATTENDED, KEPT_S);
}

static void read_text(struct launch *launch, const struct key *key, const struct node *value)
{
	char name[32];
	const char *text = reader_text(launch->reader, value, name_of(key, name), key->expected);
	struct err err;

	if (!text)
		return;
	if (text[0] == '\0')
		reader_refuse(
			launch->reader, value, "%s is empty: expected %s", name, key->expected);
	else if (key->check && key->check(text, &err) < 0)
		reader_refuse(launch->reader, value, "%s: %s", name, err.text);
	else
		add_word(launch, key->option, text);
}

/* An address, or false for none. */
static void read_dns(struct launch *launch, const struct key *key, const struct node *value)
{
	bool has_dns = true;

	if (value->kind != NODE_TEXT || !reader_is_bool(value, &has_dns))
		read_text(launch, key, value);
	else if (!has_dns)
		add_word(launch, "--no-dns", NULL);
}

/* A rule, or a list of them. */
static void read_rules(struct launch *launch, const struct key *key, const struct node *value)
{
	if (value->kind != NODE_LIST) {
		read_text(launch, key, value);
		return;
	}
	for (size_t i = 0; i < value->count; i++)
		read_text(launch, key, value->items[i]);
}

/* --- env ------------------------------------------------------------------------------------ */

static void read_env_map(struct launch *launch, const struct node *map)
{
	struct reader *reader = launch->reader;

	for (size_t i = 0; i + 1 < map->count; i += 2) {
		const struct node *name = map->items[i], *value = map->items[i + 1];

		if (!reader_is_kind(reader, value, NODE_TEXT, "a variable of sandbox.env",
			    "a text, or ~ for one that is taken away") ||
			!reader_work(reader, value, strlen(name->text) + strlen(value->text)))
			continue;
		reader_check_once(reader, name);
		if (name->text[0] == '\0' || strchr(name->text, '=')) {
			reader_refuse(reader, name,
				"%s in sandbox.env is no name of a variable: expected NAME",
				PARSE_QUOTED(name->text));
		} else if (reader_is_null(value)) {
			add_word(launch, "--unset-env", name->text);
		} else {
			char *both = g_strdup_printf("%s=%s", name->text, value->text);

			add_word(launch, "--env", both);
			g_free(both);
		}
	}
}

static void read_env(struct launch *launch, const struct key *key, const struct node *value)
{
	if (value->kind == NODE_MAP) {
		read_env_map(launch, value);
		return;
	}
	if (!reader_is_kind(launch->reader, value, NODE_LIST, "sandbox.env", key->expected))
		return;
	for (size_t i = 0; i < value->count; i++) {
		const char *text = reader_text(
			launch->reader, value->items[i], "a variable of sandbox.env", "NAME=VALUE");

		if (text && (text[0] == '=' || !strchr(text, '=')))
			reader_refuse(launch->reader, value->items[i],
				"%s in sandbox.env sets no variable: expected NAME=VALUE",
				PARSE_QUOTED(text));
		else if (text)
			add_word(launch, "--env", text);
	}
}

/* --- the table ------------------------------------------------------------------------------ */

static int check_network(const char *text, struct err *err)
{
	if (strcmp(text, "outbound") == 0 || strcmp(text, "none") == 0)
		return 0;
	return err_set(
		err, EINVAL, "%s is no network: expected outbound or none", PARSE_QUOTED(text));
}

static int check_outward(const char *text, struct err *err)
{
	struct outward_spec spec;

	return outward_parse(text, &spec, err);
}

static int check_address(const char *text, struct err *err)
{
	struct addr addr;

	return addr_parse_host(text, &addr, err);
}

static int check_cidr(const char *text, struct err *err)
{
	struct in_addr network;
	int prefix_len;

	return addr_parse_cidr4(text, &network, &prefix_len, err);
}

static int check_seconds(const char *text, struct err *err)
{
	uint64_t ms;

	return parse_seconds(text, &ms, err);
}

static const struct key keys[] = {
	{"command", read_command, .expected = COMMAND_EXPECTED},
	{"guestPort", read_guest_port, .expected = "a port from 1 to 65535", .min = 1,
		.max = 65535},
	{"env", read_env, .expected = ENV_EXPECTED},
	{"cwd", read_text, .option = "--chdir", .expected = "a directory there"},
	{"network", read_text, "--network", "outbound or none", .check = check_network},
	{"hostLoopback", read_truth, "--host-loopback", .when = true},
	{"reverse", read_rules, "--reverse", "a port, or such as 5432:localhost:5432, or a list",
		.check = check_outward},
	{"dns", read_dns, "--dns", "an address, or false", .check = check_address},
	{"ipv6", read_truth, "--no-ipv6", .when = false},
	{"cidr", read_text, "--cidr", "a network such as 10.0.2.0/24", .check = check_cidr},
	{"mtu", read_number, .option = "--mtu", .expected = "a number from 1280 to 65520",
		.min = 1280, .max = 65520},
	{"root", read_truth, "--root", .when = true},
	{"pid", read_truth, "--pid", .when = true},
	{"waitAll", read_truth, "--wait-all", .when = true},
	{"stopTimeout", read_text, "--stop-timeout", "a number of seconds", .check = check_seconds},
	{"keep", read_keep, .expected = "true, false or a number of seconds"},
	{.name = NULL},
};

/* --- all of it ------------------------------------------------------------------------------ */

/* A placeholder, as sandbox/program knows it, that would stand for nothing. */
static void check_placeholders(struct launch *launch, const struct node *command)
{
	for (char **word = launch->out->command; word && *word; word++) {
		if (strstr(*word, "{host-port") || strstr(*word, "<host-port"))
			reader_refuse(launch->reader, command,
				"sandbox.command has a host-port: there is none in a mesh, expected "
				"{guest-port}, and ports: [\"PORT:127.0.0.1:GUEST\"]");
		else if (launch->out->guest_port == 0 &&
			 (strstr(*word, "{guest-port") || strstr(*word, "<guest-port")))
			reader_refuse(launch->reader, command,
				"sandbox.command has a guest-port, and there is no guestPort: expected "
				"one such as guestPort: 8888");
	}
}

static void check_size(struct launch *launch, const struct node *value)
{
	size_t bytes = 0;

	for (char **word = launch->out->command; word && *word; word++)
		bytes += strlen(*word) + 1;
	for (guint i = 0; i < launch->words->len; i++)
		bytes += strlen(g_ptr_array_index(launch->words, i)) + 1;
	if (bytes > BYTES_MAX || launch->words->len > WORDS_MAX)
		reader_refuse(launch->reader, value,
			"sandbox says too much: expected at most %d bytes and %d variables",
			BYTES_MAX, WORDS_MAX / 2);
}

void launch_read(struct reader *reader, const struct node *value, struct mesh_sandbox *out)
{
	struct launch launch = {reader, out, g_ptr_array_new()};
	const char *names[READER_KEYS_MAX];
	size_t count = 0;

	if (reader_is_kind(reader, value, NODE_MAP, "sandbox", "a map with command at least")) {
		for (const struct key *key = keys; key->name; key++) {
			const struct node *said = reader_get(value, key->name);

			names[count++] = key->name;
			if (said)
				key->read(&launch, key, said);
		}
		reader_check_keys(reader, value, names, count);
		const struct node *command = reader_get(value, "command");
		if (!command)
			reader_refuse(reader, value, "sandbox has no command: expected %s",
				COMMAND_EXPECTED);
		else
			check_placeholders(&launch, command);
		check_size(&launch, value);
	}
	if (launch.words->len > 0) {
		g_ptr_array_add(launch.words, NULL);
		out->options = (char **)g_ptr_array_free(launch.words, FALSE);
	} else {
		g_ptr_array_free(launch.words, TRUE);
	}
}
