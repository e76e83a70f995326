/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/tunnel - a server that cannot be dialled, reached over connections that it has made */
#include "cmd/tunnel.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cmd/tunnel_status.h"
#include "link/linkspec.h"
#include "tunnel/tunnel.h"
#include "util/parse.h"

#define PROXY_PORT   3000 /* lennut's defaults, as are the addresses */
#define CLIENTS_PORT 3001
#define TARGET_PORT  8080
#define DRAIN_MS     10000

struct words {
	struct tunnel_server server;
	struct tunnel_client client;
	struct linkspec server_link, client_link;
	struct keyfile key;
	uint64_t drain_ms, dead_ms;
	bool is_json;
	int verbosity;
};

static int add_proxy(void *target, const char *value, struct err *err)
{
	struct mouth_start *mouth = target;

	if (mouth->nproxies == MOUTH_PROXIES_MAX)
		return err_set(err, EINVAL, "%s: expected at most %d", PARSE_QUOTED(value),
			MOUTH_PROXIES_MAX);
	int result = endpoint_parse_own(value, &mouth->proxies[mouth->nproxies], err);
	if (result == 0)
		mouth->nproxies++;
	return result;
}

static int set_endpoint(void *target, const char *value, struct err *err)
{
	return endpoint_parse(value, target, err);
}

/* exec:COMMAND, and what this end has inherited, are links (link/linkspec); the rest is an ADDR. */
static bool is_link(const char *text)
{
	return strncmp(text, "exec:", 5) == 0 || strncmp(text, "fd:", 3) == 0 ||
	       strcmp(text, "-") == 0;
}

static int set_link(struct linkspec *link, const char *value, struct err *err)
{
	linkspec_fini(link);
	*link = (struct linkspec){.text = NULL};
	return is_link(value) ? linkspec_parse(value, link, err) : 0;
}

static int set_server(void *target, const char *value, struct err *err)
{
	struct words *words = target;
	int result = set_link(&words->client_link, value, err);

	return result < 0 || is_link(value) ? result
					    : endpoint_parse(value, &words->client.server, err);
}

static int set_clients(void *target, const char *value, struct err *err)
{
	struct words *words = target;

	if (strncmp(value, "exec:", 5) == 0)
		return err_set(
			err, EINVAL, "%s: expected an ADDR, - or fd:N[,M]", PARSE_QUOTED(value));
	int result = set_link(&words->server_link, value, err);
	return result < 0 || is_link(value)
		       ? result
		       : endpoint_parse_own(value, &words->server.mouth.clients, err);
}

static int set_key(void *target, const char *value, struct err *err)
{
	return keyfile_read(value, target, err);
}

static int set_version(void *target, const char *value, struct err *err)
{
	if (strcmp(value, "1") != 0 && strcmp(value, "2") != 0)
		return err_set(err, EINVAL, "%s: expected 1 or 2", PARSE_QUOTED(value));
	*(int *)target = value[0] - '0';
	return 0;
}

static int set_dead(void *target, const char *value, struct err *err)
{
	uint64_t *ms = target;
	int result = option_set_seconds(ms, value, err);

	if (result == 0 && (*ms < 100 || *ms > 3600 * 1000))
		return err_set(
			err, EINVAL, "%s: expected 0.1 to 3600 seconds", PARSE_QUOTED(value));
	return result;
}

static const struct option_def options[] = {
	{0, "bind-proxy", "ADDR",
		"server: where connections come in that go through the tunnel; repeatable (default: "
		"127.0.0.1:3000)",
		add_proxy, offsetof(struct words, server.mouth)},
	{0, "bind-client", "ADDR",
		"server: where clients of the tunnel come in, or - for one over stdin and stdout "
		"(default: 127.0.0.1:3001)",
		set_clients, 0},
	{0, "dead-after", "SECONDS",
		"server, and client over exec:COMMAND: an end that has been silent for so long is "
		"given up (default: 15)",
		set_dead, offsetof(struct words, dead_ms)},
	{0, "server", "ADDR",
		"client: the server's address for clients or exec:COMMAND, whose stdin "
		"and stdout lead there (default: localhost:3001)",
		set_server, 0},
	{0, "to", "ADDR", "client: where connections are led (default: localhost:8080)",
		set_endpoint, offsetof(struct words, client.target)},
	{0, "key-file", "FILE",
		"both ends prove to have the key that is in FILE, which nobody else may read; the "
		"server's defaults are 0.0.0.0 then",
		set_key, offsetof(struct words, key)},
	{0, "proxy-protocol", "VERSION",
		"client: tell the target by the PROXY protocol, 1 or 2, who connected", set_version,
		offsetof(struct words, client.proxy_version)},
	{0, "drain", "SECONDS", "how long connections may go on after SIGTERM (default: 10)",
		option_set_seconds, offsetof(struct words, drain_ms)},
	{0, "json", NULL, "status: print JSON: an array of objects", option_set_true,
		offsetof(struct words, is_json)},
	{'q', "quiet", NULL, "say only what went wrong", cmd_set_quiet,
		offsetof(struct words, verbosity)},
	{'v', "verbose", NULL, "say more; repeatable", cmd_set_verbose,
		offsetof(struct words, verbosity)},
	{.name = NULL},
};

/* --- lennut's words -------------------------------------------------------------------------- */

static const struct {
	const char *lennuts, *ours;
} spellings[] = {{"-bind-proxy", "--bind-proxy"}, {"-bind-client", "--bind-client"},
	{"-server-addr", "--server"}, {"-proxy-to", "--to"}};

/* -name, --name, and with =VALUE, as Go reads them. */
static bool is_lennuts(const char *word, const char *name)
{
	size_t len = strlen(name);

	return strncmp(word, name, len) == 0 && (word[len] == '\0' || word[len] == '=');
}

/* @word in our spelling, perhaps in @out; both ends of lennut's are told by -server. */
static char *translate(char *word, char *out, size_t cap_bytes)
{
	for (size_t i = 0; i < sizeof(spellings) / sizeof(*spellings); i++)
		if (is_lennuts(word, spellings[i].lennuts)) {
			snprintf(out, cap_bytes, "%s%s", spellings[i].ours,
				word + strlen(spellings[i].lennuts));
			return out;
		}
	return word;
}

/* --- the ends -------------------------------------------------------------------------------- */

static void complete_server(struct mouth_start *mouth, const struct words *words, bool is_open)
{
	struct addr any = addr_of4((struct in_addr){0}, 0);
	struct addr at = is_open ? any : addr_loopback4(0);

	if (mouth->nproxies == 0) {
		mouth->proxies[mouth->nproxies++] = at;
		addr_set_port(&mouth->proxies[0], PROXY_PORT);
	}
	if (mouth->clients.family == AF_UNSPEC && !words->server_link.text) {
		mouth->clients = at;
		addr_set_port(&mouth->clients, CLIENTS_PORT);
	}
	mouth->dead_ms = (unsigned)words->dead_ms;
}

static int run_end(struct words *words, bool is_server, bool is_lennuts, struct err *err)
{
	struct err ignored;

	cmd_set_log_level(words->verbosity);
	prctl(PR_SET_NAME, is_server ? "nswrap: tunnel" : "nswrap: tunnel-c");
	if (is_server) {
		if (words->server_link.text && (isatty(STDIN_FILENO) || isatty(STDOUT_FILENO)) &&
			words->server_link.kind == LINKSPEC_STDIO)
			return err_set(err, EINVAL,
				"--bind-client -: stdin and stdout are the link to the client, and "
				"one of them is a terminal");
		if (words->key.len > 0)
			words->server.mouth.key = &words->key;
		if (words->server_link.text)
			words->server.link = &words->server_link;
		complete_server(&words->server.mouth, words, is_lennuts || words->key.len > 0);
		words->server.drain_ms = words->drain_ms;
		return tunnel_serve(&words->server, err);
	}
	if (!words->client.server.host[0] && words->client.server.addr.family == AF_UNSPEC)
		endpoint_parse("localhost:3001", &words->client.server, &ignored);
	if (!words->client.target.host[0] && words->client.target.addr.family == AF_UNSPEC)
		endpoint_parse("localhost:8080", &words->client.target, &ignored);
	words->client.drain_ms = words->drain_ms;
	words->client.dead_ms = (unsigned)words->dead_ms;
	if (words->key.len > 0)
		words->client.key = &words->key;
	if (words->client_link.text)
		words->client.link = &words->client_link;
	return tunnel_reach(&words->client, err);
}

/* What an option is for, and the end that it was given to. */
static int check_ends(const struct words *words, bool is_server, struct err *err)
{
	const struct tunnel_client *client = &words->client;
	bool has_client = client->server.host[0] || client->server.addr.family != AF_UNSPEC ||
			  client->target.host[0] || client->target.addr.family != AF_UNSPEC ||
			  client->proxy_version || words->client_link.text;
	bool has_server = words->server.mouth.nproxies > 0 || words->server_link.text ||
			  words->server.mouth.clients.family != AF_UNSPEC;

	if (is_server && has_client)
		return err_set(err, EINVAL,
			"--server, --to and --proxy-protocol are for nswrap tunnel client");
	if (!is_server && has_server)
		return err_set(
			err, EINVAL, "--bind-proxy and --bind-client are for nswrap tunnel server");
	return 0;
}

static int parse(int argc, char **argv, struct words *words, struct err *err)
{
	int first = option_parse(options, argc, argv, words, err);

	if (first >= 0 && first < argc)
		return err_set(
			err, EINVAL, "%s: expected no more words", PARSE_QUOTED(argv[first]));
	return first;
}

static int run(const struct cmd_call *call)
{
	struct words words = {.drain_ms = DRAIN_MS, .dead_ms = MOUTH_DEAD_MS};
	struct err err = {0};
	char **argv = calloc((size_t)call->argc + 1, sizeof(*argv)), *texts;
	size_t bytes = 64;
	bool is_server = false, is_lennuts_form = false;
	int argc = 0, result;

	for (int i = 0; i < call->argc; i++)
		bytes += strlen(call->argv[i]) + 16;
	texts = calloc((size_t)call->argc + 1, bytes);
	if (!argv || !texts) {
		free(argv);
		free(texts);
		err_sys(&err, ENOMEM, "tunnel");
		return cmd_failed(&err);
	}
	const char *word = call->argc > 1 ? call->argv[1] : "";
	bool is_named = strcmp(word, "server") == 0 || strcmp(word, "client") == 0 ||
			strcmp(word, "status") == 0;
	bool is_status = strcmp(word, "status") == 0;
	is_server = strcmp(word, "server") == 0;
	argv[argc++] = call->argv[0];
	for (int i = is_named ? 2 : 1; i < call->argc; i++) {
		char *text = translate(call->argv[i], texts + (size_t)i * bytes, bytes);
		is_lennuts_form |= text != call->argv[i];
		if (!is_named && strcmp(text, "-server") == 0) {
			is_server = is_lennuts_form = true;
			continue;
		}
		argv[argc++] = text;
	}
	result = parse(argc, argv, &words, &err);
	if (result >= 0 && !is_named && !is_lennuts_form)
		result = err_set(&err, EINVAL,
			"tunnel: expected server, client or status: nswrap tunnel server [OPTION...]");
	if (result >= 0 && is_status)
		result = check_ends(&words, true, &err) < 0 ? -EINVAL
							    : check_ends(&words, false, &err);
	else if (result >= 0 && words.is_json)
		result = err_set(&err, EINVAL, "--json is for nswrap tunnel status");
	else if (result >= 0)
		result = check_ends(&words, is_server, &err);
	if (result < 0)
		result = cmd_usage_error(&err);
	else if (is_status ? tunnel_status_print(words.is_json, &err) < 0
			   : run_end(&words, is_server, is_lennuts_form && !is_named, &err) < 0)
		result = cmd_failed(&err);
	else
		result = 0;
	free(argv);
	free(texts);
	keyfile_wipe(&words.key);
	linkspec_fini(&words.server_link);
	linkspec_fini(&words.client_link);
	return result;
}

const struct subcommand tunnel_subcommand = {
	.name = "tunnel",
	.synopsis = "tunnel server|client [OPTION...]\ntunnel status [--json]",
	.summary = "reach a server that cannot be dialled: it dials, and waits to be used",
	.options = options,
	.footer = "Bytes are not encrypted.",
	.run = run,
};
