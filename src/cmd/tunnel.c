/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/tunnel - a server that cannot be dialled, reached over connections that it has made */
#include "cmd/tunnel.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "tunnel/tunnel.h"
#include "util/parse.h"

#define PROXY_PORT   3000 /* lennut's defaults, as are the addresses */
#define CLIENTS_PORT 3001
#define TARGET_PORT  8080
#define DRAIN_MS     10000

struct words {
	struct tunnel_server server;
	struct tunnel_client client;
	uint64_t drain_ms, dead_ms;
	bool has_server, has_target;
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

static int set_own(void *target, const char *value, struct err *err)
{
	return endpoint_parse_own(value, target, err);
}

static int set_endpoint(void *target, const char *value, struct err *err)
{
	return endpoint_parse(value, target, err);
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
		"server: where clients of the tunnel come in (default: 127.0.0.1:3001)", set_own,
		offsetof(struct words, server.mouth.clients)},
	{0, "dead-after", "SECONDS",
		"server: a client that has been silent for so long is given up (default: 15)",
		set_dead, offsetof(struct words, dead_ms)},
	{0, "server", "ADDR", "client: the server's address for clients (default: localhost:3001)",
		set_endpoint, offsetof(struct words, client.server)},
	{0, "to", "ADDR", "client: where connections are led (default: localhost:8080)",
		set_endpoint, offsetof(struct words, client.target)},
	{0, "proxy-protocol", "VERSION",
		"client: tell the target by the PROXY protocol, 1 or 2, who connected", set_version,
		offsetof(struct words, client.proxy_version)},
	{0, "drain", "SECONDS", "how long connections may go on after SIGTERM (default: 10)",
		option_set_seconds, offsetof(struct words, drain_ms)},
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
	if (mouth->clients.family == AF_UNSPEC) {
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
		complete_server(&words->server.mouth, words, is_lennuts);
		words->server.drain_ms = words->drain_ms;
		return tunnel_serve(&words->server, err);
	}
	if (!words->client.server.host[0] && words->client.server.addr.family == AF_UNSPEC)
		endpoint_parse("localhost:3001", &words->client.server, &ignored);
	if (!words->client.target.host[0] && words->client.target.addr.family == AF_UNSPEC)
		endpoint_parse("localhost:8080", &words->client.target, &ignored);
	words->client.drain_ms = words->drain_ms;
	return tunnel_reach(&words->client, err);
}

/* What an option is for, and the end that it was given to. */
static int check_ends(const struct words *words, bool is_server, struct err *err)
{
	const struct tunnel_client *client = &words->client;
	bool has_client = client->server.host[0] || client->server.addr.family != AF_UNSPEC ||
			  client->target.host[0] || client->target.addr.family != AF_UNSPEC ||
			  client->proxy_version;
	bool has_server =
		words->server.mouth.nproxies > 0 || words->server.mouth.clients.family != AF_UNSPEC;

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
	bool is_named = strcmp(word, "server") == 0 || strcmp(word, "client") == 0;
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
			"tunnel: expected server or client: nswrap tunnel server [OPTION...]");
	if (result >= 0)
		result = check_ends(&words, is_server, &err);
	if (result < 0)
		result = cmd_usage_error(&err);
	else if (run_end(&words, is_server, is_lennuts_form && !is_named, &err) < 0)
		result = cmd_failed(&err);
	else
		result = 0;
	free(argv);
	free(texts);
	return result;
}

const struct subcommand tunnel_subcommand = {
	.name = "tunnel",
	.synopsis = "tunnel server [OPTION...]\ntunnel client [OPTION...]",
	.summary = "reach a server that cannot be dialled: it dials, and waits to be used",
	.options = options,
	.footer = "Bytes are not encrypted.",
	.run = run,
};
