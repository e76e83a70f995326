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

#include "cmd/habits.h"
#include "cmd/scribe.h"
#include "cmd/tunnel_status.h"
#include "link/linkspec.h"
#include "tunnel/tunnel.h"
#include "util/parse.h"

#define PROXY_PORT   3000 /* lennut's defaults, as are the addresses */
#define CLIENTS_PORT 3001
#define DRAIN_MS     10000

struct words {
	struct tunnel_server server;
	struct tunnel_client client;
	struct linkspec server_link, client_link;
	struct keyfile key;
	uint64_t drain_ms;
	uint64_t dead_ms; /* 0: as the other end says, or MOUTH_DEAD_MS */
	bool is_json;
	bool is_lennuts; /* no word of ours says which end it is */
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
	if (!is_link(value))
		return 0;
	int result = linkspec_parse(value, link, err);
	if (result == 0 && link->kind == LINKSPEC_STDIO &&
		(isatty(STDIN_FILENO) || isatty(STDOUT_FILENO)))
		return err_set(err, EINVAL,
			"stdin and stdout are the link to the other end, and one of them is a "
			"terminal");
	return result == 0 ? linkspec_check_fds(link, err) : result;
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

static int add_order(
	struct tunnel_client *client, const char *value, bool is_reverse, struct err *err)
{
	struct order order;
	int result = order_parse(value, is_reverse, &order, err);

	if (result < 0)
		return result;
	for (size_t i = 0; i < client->norders; i++)
		if (strcmp(client->orders[i].name, order.name) == 0)
			return err_set(err, EINVAL, "%s: there is another one of that name",
				PARSE_QUOTED(value));
	if (client->norders == ORDERS_MAX)
		return err_set(
			err, EINVAL, "%s: expected at most %d", PARSE_QUOTED(value), ORDERS_MAX);
	client->orders[client->norders++] = order;
	return 0;
}

static int add_forward(void *target, const char *value, struct err *err)
{
	return add_order(target, value, false, err);
}

static int add_reverse(void *target, const char *value, struct err *err)
{
	return add_order(target, value, true, err);
}

static int add_permit(void *target, const char *value, struct err *err)
{
	return permit_add(target, value, err);
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
	{0, "forward", "NAME=ADDR:TO",
		"client: the server listens at ADDR, its address, and leads what comes there to "
		"TO, with /udp behind it datagrams; repeatable",
		add_forward, offsetof(struct words, client)},
	{0, "reverse", "NAME=ADDR:TO",
		"client: listen at ADDR here, and have the server connect to TO[/udp] for what comes; "
		"repeatable",
		add_reverse, offsetof(struct words, client)},
	{0, "allow-forward", "ADDR",
		"server: where clients may have it listen: HOST:PORT, HOST:FIRST-LAST, HOST:* or "
		"unix:PATH; repeatable (default: 127.0.0.1:*, with a key *:*)",
		add_permit, offsetof(struct words, server.listen)},
	{0, "allow-reverse", "ADDR",
		"server: what clients may have it connect to, spelt likewise; repeatable (default: "
		"nothing)",
		add_permit, offsetof(struct words, server.reach)},
	{0, "key-file", "FILE",
		"both ends prove to have the key that is in FILE, which nobody else may read; the "
		"server's defaults are 0.0.0.0 then",
		set_key, offsetof(struct words, key)},
	{0, "proxy-protocol", "1|2",
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

/* --- which end, and lennut's words ----------------------------------------------------------- */

enum end { END_NONE, END_SERVER, END_CLIENT, END_STATUS };

static enum end end_of(const char *word)
{
	static const char *const names[] = {
		[END_SERVER] = "server", [END_CLIENT] = "client", [END_STATUS] = "status"};

	for (enum end end = END_SERVER; end <= END_STATUS; end++)
		if (strcmp(word, names[end]) == 0)
			return end;
	return END_NONE;
}

/* -name VALUE and -name=VALUE as Go reads them, and what is none of our options with two dashes. */
static const struct spelling {
	const char *lennuts, *ours;
	enum end end;
} spellings[] = {{"-bind-proxy", "--bind-proxy", END_SERVER},
	{"-bind-client", "--bind-client", END_SERVER}, {"-server-addr", "--server", END_CLIENT},
	{"--server-addr", "--server", END_CLIENT}, {"-proxy-to", "--to", END_CLIENT},
	{"--proxy-to", "--to", END_CLIENT}};

/* NULL: @word is none of them. *@value is what stands behind "=", or NULL. */
static const struct spelling *find_spelling(const char *word, const char **value)
{
	for (size_t i = 0; i < sizeof(spellings) / sizeof(*spellings); i++) {
		size_t len = strlen(spellings[i].lennuts);

		if (strncmp(word, spellings[i].lennuts, len) != 0 ||
			(word[len] != '\0' && word[len] != '='))
			continue;
		*value = word[len] == '=' ? word + len + 1 : NULL;
		return &spellings[i];
	}
	return NULL;
}

/* In our spelling, where no host is this one; a copy, NULL without memory. */
static char *translate(const struct spelling *spelling, const char *value)
{
	const char *host = spelling->end == END_CLIENT && value[0] == ':' ? "localhost" : "";
	char *ours;

	return asprintf(&ours, "%s=%s%s", spelling->ours, host, value) < 0 ? NULL : ours;
}

/* The words of a call in our spelling. */
struct line {
	bool has_server;             /* -server */
	bool is_for[END_STATUS + 1]; /* lennut's other words */
	char **argv;                 /* copies */
	int argc;
};

static int read_line(const struct cmd_call *call, struct line *line, struct err *err)
{
	line->argv = calloc((size_t)call->argc + 1, sizeof(*line->argv));
	for (int i = 0; line->argv && i < call->argc; i++) {
		const char *word = call->argv[i], *value = NULL;
		const struct spelling *spelling = find_spelling(word, &value);

		if (strcmp(word, "-server") == 0 || strcmp(word, "-server=true") == 0) {
			line->has_server = true;
			continue;
		}
		if (spelling && !value && i + 1 < call->argc)
			value = call->argv[++i];
		if (spelling)
			line->is_for[spelling->end] = true;
		line->argv[line->argc] = spelling && value
						 ? translate(spelling, value)
						 : strdup(spelling ? spelling->ours : word);
		if (!line->argv[line->argc++])
			return err_sys(err, ENOMEM, "tunnel");
	}
	return line->argv ? 0 : err_sys(err, ENOMEM, "tunnel");
}

static void free_line(struct line *line)
{
	for (int i = 0; i < line->argc; i++)
		free(line->argv[i]);
	free(line->argv);
}

/* Lennut's server is told by -server, or has no word that is for a client, as in its README. */
static enum end lennuts_end(const struct line *line)
{
	if (line->has_server || (line->is_for[END_SERVER] && !line->is_for[END_CLIENT]))
		return END_SERVER;
	return line->is_for[END_CLIENT] ? END_CLIENT : END_NONE;
}

/* --- the ends -------------------------------------------------------------------------------- */

static unsigned dead_ms(const struct words *words)
{
	return words->dead_ms ? (unsigned)words->dead_ms : MOUTH_DEAD_MS;
}

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
	mouth->dead_ms = dead_ms(words);
}

static int begin(struct scribe *scribe, const struct linkspec *link, struct err *err)
{
	const struct scribe_start start = {.who = "tunnel", .link = link, .ready_fd = -1};

	return scribe_begin(scribe, &start, err);
}

static int run_server(struct words *words, struct scribe *scribe, struct err *err)
{
	struct tunnel_server *server = &words->server;
	const struct linkspec *link = &words->server_link;

	server->mouth.key = words->key.len > 0 ? &words->key : NULL;
	server->link = link->text ? link : NULL;
	server->drain_ms = words->drain_ms;
	complete_server(&server->mouth, words, words->is_lennuts || words->key.len > 0);
	if (begin(scribe, server->link, err) < 0)
		return -err->code;
	prctl(PR_SET_NAME, "nswrap: tunnel");
	return tunnel_serve(server, err);
}

static bool is_given(const struct endpoint *endpoint)
{
	return endpoint->host[0] || endpoint->addr.family != AF_UNSPEC;
}

static int run_client(struct words *words, struct scribe *scribe, struct err *err)
{
	struct tunnel_client *client = &words->client;

	if (!is_given(&client->server))
		endpoint_parse("localhost:3001", &client->server, NULL);
	/* what is asked for by name is all, unless --to says more */
	client->has_target = is_given(&client->target) || client->norders == 0;
	if (!is_given(&client->target))
		endpoint_parse("localhost:8080", &client->target, NULL);
	client->key = words->key.len > 0 ? &words->key : NULL;
	client->link = words->client_link.text ? &words->client_link : NULL;
	client->drain_ms = words->drain_ms;
	client->dead_ms = dead_ms(words);
	if (begin(scribe, client->link, err) < 0)
		return -err->code;
	prctl(PR_SET_NAME, "nswrap: tunnel-c");
	return tunnel_reach(client, err);
}

/* What an option is for, and the end that it was given to. */
static int check_end(const struct words *words, enum end end, struct err *err)
{
	const struct tunnel_client *client = &words->client;
	const struct mouth_start *mouth = &words->server.mouth;

	if (end == END_NONE)
		return err_set(err, EINVAL,
			"tunnel: expected server, client or status: nswrap tunnel server [OPTION...]");
	if (end != END_CLIENT &&
		(is_given(&client->server) || is_given(&client->target) || client->proxy_version ||
			words->client_link.text || client->norders > 0))
		return err_set(err, EINVAL,
			"--server, --to, --forward, --reverse and --proxy-protocol are for nswrap "
			"tunnel client");
	if (end != END_SERVER &&
		(mouth->nproxies > 0 || mouth->clients.family != AF_UNSPEC ||
			words->server_link.text || words->server.listen.count > 0 ||
			words->server.reach.count > 0))
		return err_set(err, EINVAL,
			"--bind-proxy, --bind-client, --allow-forward and --allow-reverse are for "
			"nswrap tunnel server");
	if (end != END_SERVER && words->dead_ms && !words->client_link.text)
		return err_set(err, EINVAL,
			"--dead-after is for nswrap tunnel server, which tells its clients, and for a "
			"client with --server exec:COMMAND");
	if (end != END_STATUS && words->is_json)
		return err_set(err, EINVAL, "--json is for nswrap tunnel status");
	return 0;
}

/* What end is it? Without a word of ours one of lennut's, or none. */
static int read_words(const struct cmd_call *call, struct line *line, struct words *words,
	enum end *end, struct err *err)
{
	char *operands[2] = {NULL};
	int count = read_line(call, line, err);
	const struct cmd_call ours = {call->all, line->argc, line->argv};

	if (count == 0)
		count = cmd_operands(options, habits_tunnel, &ours, words, operands, 2, err);
	if (count < 0)
		return count;
	*end = operands[0] ? end_of(operands[0]) : lennuts_end(line);
	words->is_lennuts = !operands[0];
	if (count > 0 && *end == END_NONE)
		return err_set(err, EINVAL, "%s: expected server, client or status",
			PARSE_QUOTED(operands[0]));
	if (count > 1)
		return err_set(err, EINVAL, "%s: expected %s", PARSE_QUOTED(operands[1]),
			*end == END_SERVER   ? "no more words, but --bind-proxy ADDR or "
					       "--bind-client ADDR"
			: *end == END_CLIENT ? "no more words, but --server ADDR, --to ADDR "
					       "or --forward NAME=ADDR:TO"
					     : "no more words");
	if (line->has_server && *end != END_SERVER)
		return err_set(err, EINVAL, "-server is lennut's word for nswrap tunnel server");
	return check_end(words, *end, err);
}

static int run(const struct cmd_call *call)
{
	struct words words = {.drain_ms = DRAIN_MS};
	struct line line = {.argc = 0};
	struct scribe scribe = {.pid = 0};
	enum end end = END_NONE;
	struct err err = {0};
	int status = 0, result;

	if (read_words(call, &line, &words, &end, &err) < 0) {
		status = cmd_usage_error(&err);
	} else {
		cmd_set_log_level(words.verbosity);
		result = end == END_STATUS   ? tunnel_status_print(words.is_json, &err)
			 : end == END_SERVER ? run_server(&words, &scribe, &err)
					     : run_client(&words, &scribe, &err);
		if (result < 0)
			status = cmd_failed(&err);
		scribe_end(&scribe);
	}
	free_line(&line);
	keyfile_wipe(&words.key);
	linkspec_fini(&words.server_link);
	linkspec_fini(&words.client_link);
	return status;
}

const struct subcommand tunnel_subcommand = {
	.name = "tunnel",
	.synopsis = "tunnel server|client [OPTION...]\ntunnel status [--json]",
	.summary = "reach a server that cannot be dialled: it dials, and waits to be used",
	.options = options,
	.footer = "Bytes are not encrypted.",
	.run = run,
};
