/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/guess - words that are no subcommand and no COMMAND either: what was meant */
#include "cmd/guess.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/log.h"
#include "util/parse.h"

#define SUBCOMMANDS_MAX 32
#define RUNNING_MAX     1024

/* When is a word meant for nswrap, and no program's name? */
enum sure {
	SURE_ALWAYS,
	SURE_UNLESS_INSTALLED,
	SURE_UNLESS_NUMBER, /* among its arguments, or options alone */
	SURE_UNLESS_FILE,   /* that exists, among its arguments */
	SURE_NEVER,         /* it is run, and without arguments the hint is shown */
};

#define PS        "nswrap ps lists the sandboxes, nswrap mesh status the hosts of a mesh"
#define STOP      "nswrap stop SANDBOX ends one, nswrap stop --all all of them"
#define RUN       "nswrap COMMAND makes a sandbox and starts COMMAND in it, -d in the background"
#define MESH_UP   "nswrap mesh MANIFEST starts a mesh, nswrap COMMAND a sandbox"
#define MESH_DOWN "nswrap mesh stop ends a mesh, nswrap stop SANDBOX a sandbox"
#define ENTER     "nswrap exec SANDBOX COMMAND runs another command in a sandbox"
#define PORT      "nswrap port list SANDBOX shows the forwards, port add and port remove change them"
#define LOGS      "nswrap logs SANDBOX prints what one that was started with -d said"
#define EXAMPLE   "nswrap mesh --example prints a manifest"

static const struct known_word {
	const char *word;
	enum sure sure;
	const char *instead;
} words[] = {
	{"list", SURE_ALWAYS, PS},
	{"status", SURE_ALWAYS, PS},
	{"show", SURE_UNLESS_INSTALLED, PS},
	{"inspect", SURE_UNLESS_INSTALLED, "nswrap ps --json shows all of a sandbox"},
	{"info", SURE_UNLESS_INSTALLED, "nswrap ps --json shows all of a sandbox"},
	{"stats", SURE_UNLESS_INSTALLED, PS},
	{"sandboxes", SURE_ALWAYS, PS},
	{"containers", SURE_ALWAYS, PS},
	{"container", SURE_ALWAYS, PS},
	{"images", SURE_ALWAYS, "there are no images: COMMAND is a program of the host"},
	{"pull", SURE_ALWAYS, "there are no images: COMMAND is a program of the host"},
	{"build", SURE_UNLESS_INSTALLED, "there are no images: COMMAND is a program of the host"},
	{"ls", SURE_NEVER, PS},
	{"rm", SURE_UNLESS_FILE, STOP},
	{"remove", SURE_ALWAYS, STOP ", nswrap port remove SANDBOX PORT a forward"},
	{"del", SURE_UNLESS_INSTALLED, STOP},
	{"delete", SURE_UNLESS_INSTALLED, STOP},
	{"destroy", SURE_UNLESS_INSTALLED, STOP},
	{"kill", SURE_UNLESS_NUMBER, STOP "; with -t 0 by SIGKILL at once"},
	{"killall", SURE_UNLESS_INSTALLED, STOP},
	{"end", SURE_ALWAYS, STOP},
	{"terminate", SURE_ALWAYS, STOP},
	{"prune", SURE_ALWAYS, "nothing of a sandbox stays behind: there is nothing to prune"},
	{"start", SURE_ALWAYS, RUN},
	{"create", SURE_UNLESS_INSTALLED, RUN},
	{"new", SURE_UNLESS_INSTALLED, RUN},
	{"restart", SURE_ALWAYS, STOP "; " RUN},
	{"pause", SURE_UNLESS_INSTALLED, "nswrap exec SANDBOX kill -STOP PID stops a process"},
	{"reload", SURE_ALWAYS, "nswrap mesh reload reads the manifest again"},
	{"up", SURE_ALWAYS, MESH_UP},
	{"down", SURE_ALWAYS, MESH_DOWN},
	{"attach", SURE_UNLESS_INSTALLED, ENTER},
	{"enter", SURE_UNLESS_INSTALLED, ENTER},
	{"shell", SURE_UNLESS_INSTALLED, ENTER},
	{"join", SURE_UNLESS_INSTALLED, ENTER},
	{"top", SURE_UNLESS_INSTALLED, ENTER},
	{"ports", SURE_ALWAYS, PORT},
	{"publish", SURE_ALWAYS, PORT},
	{"forward", SURE_ALWAYS, PORT},
	{"forwards", SURE_ALWAYS, PORT},
	{"add", SURE_UNLESS_INSTALLED, PORT},
	{"log", SURE_UNLESS_INSTALLED, LOGS},
	{"check", SURE_UNLESS_INSTALLED,
		"nswrap doctor checks this host, nswrap mesh --check a manifest"},
	{"validate", SURE_UNLESS_INSTALLED, "nswrap mesh --check MANIFEST checks it"},
	{"example", SURE_ALWAYS, EXAMPLE},
	{"show-example", SURE_ALWAYS, EXAMPLE},
	{"show-installer", SURE_ALWAYS,
		"with install: true in the manifest the manager sends nswrap-agent itself"},
	{"config", SURE_UNLESS_INSTALLED,
		"options for each start stand in ~/.config/nswrap/config, one a line"},
	{"completion", SURE_UNLESS_INSTALLED,
		"bash, zsh and fish find what completes it where nswrap is installed (make install)"},
	{"events", SURE_UNLESS_INSTALLED,
		"--info-fd of a sandbox tells them; nswrap mesh status --watch shows a mesh live"},
	{"version", SURE_ALWAYS, "nswrap --version prints it"},
	{"usage", SURE_ALWAYS, "nswrap help lists what there is"},
};

static const struct known_word *find_word(const char *word)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(words[i].word, word) == 0)
			return &words[i];
	return NULL;
}

static bool is_installed(const char *word)
{
	char *path = g_find_program_in_path(word);

	g_free(path);
	return path != NULL;
}

/* Does something of that kind run by the name of one of @args? */
static bool names_running(enum registry_kind kind, char *const *args)
{
	struct registry registry;
	struct err discard;
	bool found = false;

	if (registry_open(kind, &registry, &discard) < 0)
		return false;
	struct registry_found *running = calloc(RUNNING_MAX, sizeof(*running));
	ssize_t count = running ? registry_list(&registry, running, RUNNING_MAX) : 0;
	for (ssize_t i = 0; i < count; i++)
		for (char *const *arg = args; *arg; arg++)
			found = found || strcmp(running[i].name, *arg) == 0;
	free(running);
	registry_close(&registry);
	return found;
}

/* Signals and job numbers do not count: "-9", "%1". */
static bool has_number(char *const *args)
{
	bool has_options_alone = *args != NULL;
	unsigned long discard;

	for (; *args; args++) {
		if (parse_uint(*args, LONG_MAX, &discard) == 0)
			return true;
		has_options_alone = has_options_alone && **args == '-';
	}
	return has_options_alone;
}

static bool has_file(char *const *args)
{
	for (; *args; args++)
		if (faccessat(AT_FDCWD, *args, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			return true;
	return false;
}

static bool is_sure(const struct known_word *word, char *const *args)
{
	bool could_be_ours = names_running(REGISTRY_SANDBOX, args) ||
			     names_running(REGISTRY_MESH, args) || !is_installed(word->word);

	switch (word->sure) {
	case SURE_ALWAYS:
		return true;
	case SURE_UNLESS_INSTALLED:
		return could_be_ours;
	case SURE_UNLESS_NUMBER:
		return could_be_ours || !has_number(args);
	case SURE_UNLESS_FILE:
		return could_be_ours || !has_file(args);
	case SURE_NEVER:
		break;
	}
	return false;
}

static const char *find_near(const struct subcommand *const *all, const char *word)
{
	const char *names[SUBCOMMANDS_MAX];
	size_t count = 0;

	for (; count < SUBCOMMANDS_MAX && all[count]; count++)
		names[count] = all[count]->name;
	return option_nearest(word, names, count);
}

bool guess_find_meant(const struct subcommand *const *all, const char *word, struct err *err)
{
	const struct known_word *known = find_word(word);
	const char *near = known ? NULL : find_near(all, word);

	if (known)
		err_set(err, EINVAL, "there is no subcommand %s: %s", word, known->instead);
	else if (near)
		err_set(err, EINVAL, "there is no subcommand %s; did you mean nswrap %s?",
			PARSE_SHOWN(word), near);
	return known || near;
}

void guess_unknown_subcommand(
	const struct subcommand *const *all, const char *word, struct err *err)
{
	if (!guess_find_meant(all, word, err))
		err_set(err, EINVAL, "there is no subcommand %s; nswrap help lists them",
			PARSE_SHOWN(word));
}

/* Such a file would have been one that is there (main). */
static int check_missing_manifest(const char *word, struct err *err)
{
	if (is_installed(word))
		return 0;
	return err_set(err, EINVAL,
		"there is no file %s: expected the manifest of a mesh (a program: nswrap -- %s)",
		PARSE_QUOTED(word), PARSE_SHOWN(word));
}

int guess_check_words(const struct cmd_call *call, struct err *err)
{
	const char *word = call->argc > 1 ? call->argv[1] : "-";
	char *const *args = call->argv + 2;
	const struct known_word *known = find_word(word);

	if (g_str_has_suffix(word, ".yaml") || g_str_has_suffix(word, ".yml"))
		return check_missing_manifest(word, err);
	if (word[0] == '-' || strchr(word, '/'))
		return 0;
	if (known && known->sure == SURE_NEVER && !*args)
		log_notice("running the program %s; %s", word, known->instead);
	if (known ? !is_sure(known, args) : is_installed(word))
		return 0;
	if (!guess_find_meant(call->all, word, err))
		return 0;
	size_t len = strlen(err->text);
	snprintf(err->text + len, sizeof(err->text) - len, " (a program: nswrap -- %s)",
		PARSE_SHOWN(word));
	return -EINVAL;
}

int guess_check_manifest(const char *word, struct err *err)
{
	static const char *const questions[] = {"status", "reload", "stop"};
	static const char *const others[][2] = {{"list", "status"}, {"ls", "status"},
		{"ps", "status"}, {"hosts", "status"}, {"show", "status"}, {"info", "status"},
		{"restart", "reload"}, {"update", "reload"}, {"down", "stop"}, {"end", "stop"},
		{"kill", "stop"}, {"rm", "stop"}, {"logs", "status"}, {"log", "status"},
		{"top", "status --watch"}, {"watch", "status --watch"}, {"up", "MANIFEST"},
		{"start", "MANIFEST"}, {"run", "MANIFEST"}, {"check", "--check MANIFEST"},
		{"validate", "--check MANIFEST"}, {"example", "--example"}};
	const char *meant = NULL;

	if (faccessat(AT_FDCWD, word, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || strcmp(word, "-") == 0)
		return 0;
	for (size_t i = 0; !meant && i < G_N_ELEMENTS(others); i++)
		if (strcmp(word, others[i][0]) == 0)
			meant = others[i][1];
	if (!meant)
		meant = option_nearest(word, questions, G_N_ELEMENTS(questions));
	if (!meant)
		return 0;
	return err_set(err, EINVAL, "there is no manifest %s; did you mean nswrap mesh %s?",
		PARSE_SHOWN(word), meant);
}
