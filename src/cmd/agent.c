/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/agent - serve as a host of a mesh, on the host as it is or inside a sandbox */
#include "cmd/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/help.h"
#include "cmd/own.h"
#include "exit/kernel.h"
#include "mesh/agent/agent.h"
#include "mesh/agent/features.h"
#include "mesh/agent/nostack.h"
#include "proc/rights.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/parse.h"

#define FIRST_MS  2000  /* what a manager says first was on its way before we were started */
#define SECOND_MS 10000 /* a round trip, of a manager that says more */
#define REST_MS   30000

#define LEFT_STATUS 3 /* of an agent in a sandbox that is kept: nobody will come for it */

enum stack_wish { STACK_WISH_AUTO, STACK_WISH_KERNEL, STACK_WISH_STREAMS };

struct words {
	bool is_automated, has_no_sandbox;
	enum stack_wish stack;
	struct expose *expose; /* NULL: it is in a sandbox */
};

static int set_expose(void *target, const char *value, struct err *err)
{
	struct expose **expose = target;

	if (!*expose)
		return err_set(err, EINVAL,
			"nothing is reached by way of a sandbox: expected it on a plain host");
	return expose_add(*expose, value, err);
}

static int set_stack(void *target, const char *value, struct err *err)
{
	static const char *const names[] = {"auto", "kernel", "streams"};
	enum stack_wish *wish = target;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(value, names[i]) == 0) {
			*wish = (enum stack_wish)i;
			return 0;
		}
	return err_set(err, EINVAL, "expected auto, kernel or streams");
}

static const struct option_def options[] = {
	{0, "automated", NULL, "what managers say; it changes nothing", option_set_true,
		offsetof(struct words, is_automated)},
	{0, "expose", "NETWORK[:PORTS]",
		"what routes may lead to by way of this host, such as 10.0.0.0/8:22,8000-8100, or "
		"none; may be repeated (default: all that this user can reach, but not loopback, "
		"link-local and metadata addresses)",
		set_expose, offsetof(struct words, expose)},
	{0, "stack", "auto|kernel|streams",
		"what carries the connections of a plain host: kernel, a network namespace; streams, "
		"which need none; or auto: streams where no namespace can be had (default: auto)",
		set_stack, offsetof(struct words, stack)},
	{0, "no-sandbox", NULL, "run no command that a manager has in its manifest (sandbox)",
		option_set_true, offsetof(struct words, has_no_sandbox)},
	{.name = NULL},
};

bool agent_is_meant(char *const *argv)
{
	const char *slash = strrchr(argv[0], '/');

	return strcmp(slash ? slash + 1 : argv[0], "nswrap") == 0 && argv[1] &&
	       strcmp(argv[1], "agent") == 0;
}

/* An option whose value matters, in one word or two? */
static bool has_weight(const char *word, bool *has_value)
{
	static const char *const names[] = {"--expose", "--stack"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const size_t len = strlen(names[i]);

		if (strncmp(word, names[i], len) != 0)
			continue;
		*has_value = word[len] == '=';
		if (*has_value || word[len] == '\0')
			return true;
	}
	return false;
}

static int read_words(int argc, char **argv, struct words *words)
{
	char ignored[512] = "";
	size_t len = 0;

	for (int at = 1; at < argc; at++) {
		bool has_value = false;
		struct err err;
		const bool matters = has_weight(argv[at], &has_value);
		const bool takes_next = matters && !has_value && at + 1 < argc;
		/* the word before stands in the place of argv[0] */
		int next = option_parse(options, takes_next ? 3 : 2, argv + at - 1, words, &err);

		at += takes_next;
		if (next < 0 && matters) {
			log_error("agent: %s", err.text);
			return EXIT_USAGE;
		}
		/* that of a manager, behind a command that has the words already */
		if (strcmp(argv[at], "agent") == 0 && !matters)
			continue;

		if (next == -ECANCELED) {
			help_print(&agent_subcommand);
			return 0;
		}
		if (next < 2 && len < sizeof(ignored))
			len += (size_t)snprintf(ignored + len, sizeof(ignored) - len, " %s",
				PARSE_QUOTED(argv[at]));
	}
	if (len > 0)
		log_notice("agent: ignoring%s", ignored);
	if (!isatty(STDIN_FILENO) && !isatty(STDOUT_FILENO))
		return -1;
	log_error("agent: stdin and stdout are its link to the manager that starts it, see nswrap "
		  "help mesh; one of them is a terminal");
	return EXIT_USAGE;
}

int agent_read_words(int argc, char **argv, struct expose *expose)
{
	struct words words = {.expose = expose};

	return read_words(argc, argv, &words);
}

static struct stack *open_streams(bool is_new, struct err *err)
{
	(void)is_new;
	return nostack_open("wanted by --stack", err);
}

/* Where no namespace can be had, what is offered and entered works all the same. */
static struct stack *open_any(bool is_new, struct err *err)
{
	struct stack *stack = kernel_open(is_new, err);

	if (stack || err->code == ENOMEM)
		return stack;
	log_info("connections of the mesh are streams: %s", err->text);
	const struct err why = *err;
	*err = (struct err){0};
	return nostack_open(why.text, err);
}

/* By enum stack_wish */
static struct stack *(*const openers[])(bool is_new, struct err *err) = {
	open_any, kernel_open, open_streams};

/* Returns an enum agent_end, or -1 with the error printed. */
static int serve(enum stack_wish wish, const struct expose *expose, const struct greeting *greeting,
	struct handover *handover, int names)
{
	const struct agent_start start = {.open_stack = openers[wish],
		.is_sandbox = !expose,
		.expose = expose,
		.greeting = greeting,
		.handover = handover,
		.names = names};
	struct err err = {0};

	prctl(PR_SET_NAME, "nswrap: agent");
	int result = agent_run(&start, &err);
	if (result < 0)
		cmd_failed(&err);
	return result < 0 ? -1 : result;
}

int agent_run_beside(void *told, int names)
{
	return serve(STACK_WISH_KERNEL, NULL, told, NULL, names) < 0 ? EXIT_NSWRAP_FAILED : 0;
}

int agent_run_inside(void *told)
{
	return serve(STACK_WISH_KERNEL, NULL, NULL, NULL, *(const int *)told) < 0
		       ? EXIT_NSWRAP_FAILED
		       : 0;
}

/* As agent_run_beside, in a sandbox that is kept. */
static int run_kept(void *told, int names)
{
	int end = serve(STACK_WISH_KERNEL, NULL, told, NULL, names);

	return end < 0 ? EXIT_NSWRAP_FAILED : end == AGENT_LEFT ? LEFT_STATUS : 0;
}

/* --- with a sandbox of its own ------------------------------------------------------------ */

/*
 * A process of its own, as nobody has looked at the link's bytes yet: it has no rights, and what it
 * has open is the link.
 */
__attribute__((noreturn)) static void hear(int told_fd, pid_t parent)
{
	static const struct greeting_patience patience = {
		.first_ms = FIRST_MS, .second_ms = SECOND_MS, .rest_ms = REST_MS};
	struct mesh_agent_info info = features_info(true);
	struct greeting greeting = {0};
	struct err err = {0};

	prctl(PR_SET_NAME, "nswrap: agent");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	int result = getppid() == parent ? rights_keep_fds(&told_fd, 1) : -ESRCH;
	if (result == 0)
		result = rights_drop_all();
	if (result == 0)
		result = rights_hide();
	/* what has come until then would not be counted by the agent */
	info.features &= ~(unsigned)FEATURE_ACKNOWLEDGE;
	if (result == 0)
		result = greeting_hear(
			STDIN_FILENO, STDOUT_FILENO, &info, &patience, &greeting, &err);
	else
		err_sys(&err, -result, "cannot drop the rights of the agent");
	_exit(greeting_send(told_fd, &greeting, result, &err) < 0);
}

/* As greeting_hear. */
static int ask_who(struct greeting *greeting, struct err *err)
{
	pid_t self = getpid();
	int told[2];

	if (pipe2(told, O_CLOEXEC) < 0)
		return err_sys(err, errno, "cannot start the agent");
	pid_t pid = fork();
	if (pid == 0)
		hear(told[1], self);
	int result = pid < 0 ? err_sys(err, errno, "cannot start the agent") : 0;
	fd_close(&told[1]);
	if (result == 0)
		result = greeting_receive(told[0], greeting, err);
	fd_close(&told[0]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	return result;
}

/* A file is no link, and the agent says so. */
static bool is_link(int fd)
{
	struct stat info;

	return fstat(fd, &info) == 0 && !S_ISREG(info.st_mode);
}

int agent_open_beside(struct agent_beside *beside)
{
	struct err err = {0};

	*beside = (struct agent_beside){.tenant.listen_fd = -1};
	if (!is_link(STDIN_FILENO) || !is_link(STDOUT_FILENO))
		return -1;
	int result = ask_who(&beside->greeting, &err);
	if (result <= 0)
		return result == 0 ? 0 : cmd_failed(&err);
	if (beside->greeting.identity[0] == '\0')
		return -1;
	result = tenant_claim(&beside->tenant, TENANT_SANDBOX, beside->greeting.identity, &err);
	/* it is not for want of this that it cannot serve */
	if (result < 0)
		log_warning("agents of this host are not taken over from: %s", err.text);
	return -1;
}

void agent_close_beside(struct agent_beside *beside)
{
	tenant_end(&beside->tenant);
	greeting_free(&beside->greeting);
}

/* --- the subcommand ----------------------------------------------------------------------- */

/* On the host as it is, unless the manager wants a sandbox. */
static int serve_host(enum stack_wish wish, const struct expose *expose, bool makes_sandboxes)
{
	struct handover handover = {
		.check = makes_sandboxes ? own_check : NULL, .in_fd = -1, .out_fd = -1};
	struct rlimit nofile;

	getrlimit(RLIMIT_NOFILE, &nofile);
	int end = serve(wish, expose, NULL, &handover, -1);
	int status = end < 0 ? EXIT_NSWRAP_FAILED : 0;
	if (end == AGENT_HANDED_OVER) {
		setrlimit(RLIMIT_NOFILE, &nofile); /* of the command, too */
		status = own_run(&handover,
			handover.config.sandbox.keep ? run_kept : agent_run_beside, LEFT_STATUS);
	}
	handover_free(&handover);
	return status;
}

static int run(const struct cmd_call *call)
{
	struct expose expose = {.has_no_ipv6 = true};
	struct words words = {.expose = &expose};
	int status = read_words(call->argc, call->argv, &words);

	if (status < 0)
		status = serve_host(words.stack, &expose, own_is_here && !words.has_no_sandbox);
	expose_fini(&expose);
	return status;
}

const struct subcommand agent_subcommand = {
	.name = "agent",
	.synopsis = "agent\n[run] [OPTION...] -c 'SHELL COMMAND' agent\nexec SANDBOX nswrap agent",
	.summary = "be a host of a mesh, on the host or in a sandbox",
	.options = options,
	.run = run,
};
