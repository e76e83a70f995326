/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/exit - lend this host's network to whoever is at the other end of a link */
#include "cmd/exit.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cmd/habits.h"
#include "cmd/scribe.h"
#include "conn/expose.h"
#include "exit/lobby.h"
#include "exit/portal.h"
#include "link/keyfile.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/parse.h"

struct words {
	struct expose expose;
	struct linkspec link;
	struct keyfile key;
	bool has_key;
	int ready_fd;
	int verbosity;
};

static int add_expose(void *target, const char *value, struct err *err)
{
	return expose_add(target, value, err);
}

static int set_link(void *target, const char *value, struct err *err)
{
	linkspec_fini(target);
	return linkspec_parse(value, target, err);
}

static int set_key_file(void *target, const char *value, struct err *err)
{
	struct words *words = target;

	words->has_key = true;
	return keyfile_read(value, &words->key, err);
}

static int set_ready_fd(void *target, const char *value, struct err *err)
{
	unsigned long number;

	if (parse_uint(value, 1UL << 20, &number) < 0 || number <= STDERR_FILENO ||
		!fd_can_write((int)number) || fcntl((int)number, F_SETFD, FD_CLOEXEC) < 0)
		return err_set(err, EINVAL,
			"%s is no descriptor from 3 on that is open for writing",
			PARSE_QUOTED(value));
	*(int *)target = (int)number;
	return 0;
}

static const struct option_def options[] = {
	{0, "expose", "NETWORK[:PORTS]",
		"what may be reached, such as 10.0.0.0/8:22,8000-8100 or [fd00::/8]:80, or none; "
		"may be repeated (default: all that this user can reach, but not loopback, "
		"link-local and metadata addresses)",
		add_expose, offsetof(struct words, expose)},
	{0, "link", "LINK",
		"where the sandbox is: -, stdin and stdout (default); listen-tcp:ADDR or "
		"listen-unix:PATH, for many; exec:COMMAND, tcp:HOST:PORT, unix:PATH, fd:N[,M]",
		set_link, offsetof(struct words, link)},
	{0, "key-file", "FILE", "both ends prove that they have this key", set_key_file, 0},
	{0, "ready-fd", "N", "write READY=1 to descriptor N and close it when it serves",
		set_ready_fd, offsetof(struct words, ready_fd)},
	{'q', "quiet", NULL, "say only what went wrong", cmd_set_quiet,
		offsetof(struct words, verbosity)},
	{'v', "verbose", NULL, "say more; repeatable", cmd_set_verbose,
		offsetof(struct words, verbosity)},
	{.name = NULL},
};

static bool is_plain(const struct words *words)
{
	return linkspec_is_once(&words->link) && !words->has_key;
}

/* Do the words go together, and is what they name there? Returns 0, or -EINVAL with @err filled. */
static int check(const struct words *words, struct err *err)
{
	if (linkspec_check_key(&words->link, words->has_key, err) < 0)
		return -EINVAL;
	if (words->ready_fd >= 0 && !is_plain(words))
		return err_set(err, EINVAL,
			"--ready-fd is for stdin and stdout, or fd:N, as the link, without a key");
	if (words->link.kind == LINKSPEC_STDIO && (isatty(STDIN_FILENO) || isatty(STDOUT_FILENO)))
		return err_set(err, EINVAL,
			"exit: stdin and stdout are its link to the sandbox that uses it, see "
			"nswrap help exit; one of them is a terminal");
	return linkspec_check_fds(&words->link, err);
}

static int serve(const struct words *words, struct scribe *scribe, struct err *err)
{
	const struct lobby_start lobby = {.spec = &words->link,
		.key = words->has_key ? &words->key : NULL,
		.expose = &words->expose};
	const struct portal_start start = {.expose = &words->expose,
		.in_fd = words->link.fds[0],
		.out_fd = words->link.fds[1],
		.ready_fd = words->ready_fd};
	const struct scribe_start who = {
		.who = "exit", .link = &words->link, .ready_fd = words->ready_fd};

	if (scribe_begin(scribe, &who, err) < 0)
		return -err->code;
	prctl(PR_SET_NAME, "nswrap: exit");
	return is_plain(words) ? portal_run(&start, err) : lobby_run(&lobby, err);
}

static int run(const struct cmd_call *call)
{
	struct words words = {.ready_fd = -1, .expose = {.has_no_loopback = true}};
	struct scribe scribe = {.pid = 0};
	struct err err = {0};
	int first = linkspec_parse("-", &words.link, &err), status = 0;

	if (first == 0)
		first = option_parse_with(
			options, habits_exit, call->argc, call->argv, &words, &err);

	if (first >= 0 && first < call->argc)
		first = err_set(&err, EINVAL,
			"%s: expected no more words behind exit, but --expose NETWORK for what may be "
			"reached and --link LINK for who reaches it",
			PARSE_QUOTED(call->argv[first]));
	if (first < 0 || check(&words, &err) < 0) {
		status = cmd_usage_error(&err);
	} else {
		cmd_set_log_level(words.verbosity);
		if (serve(&words, &scribe, &err) < 0)
			status = cmd_failed(&err);
	}
	scribe_end(&scribe);
	expose_fini(&words.expose);
	linkspec_fini(&words.link);
	keyfile_wipe(&words.key);
	return status;
}

const struct subcommand exit_subcommand = {
	.name = "exit",
	.synopsis = "exit [OPTION...]",
	.summary = "lend this host's network to a sandbox that is elsewhere (--via)",
	.options = options,
	.run = run,
};
