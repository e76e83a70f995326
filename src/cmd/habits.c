/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/habits - what users of other programs type, and what is nswrap's own */
#include "cmd/habits.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/log.h"
#include "util/parse.h"

#define SUBCOMMANDS_MAX 32
#define RUNNING_MAX     1024

/* --- options ------------------------------------------------------------------------------ */

#define FORWARD  "expected -f [ADDR:]HOST:GUEST[/udp], such as -f 8080:80"
#define TERMINAL "it is not needed, COMMAND has the caller's stdin and terminal"
#define FILES    "it is not needed, COMMAND has the caller's files; bubblewrap inside can change that"
#define ALONE    "it is not needed, nothing of a sandbox stays behind"
#define OWNED    "it is not needed, a sandbox always has its own"
#define CALLER   "COMMAND runs as the caller; --root makes it uid 0 inside"
#define CHDIR    "expected -C DIR"
#define LOOPBACK "expected --host-loopback to let 10.0.2.2 inside be the host's 127.0.0.1"
#define NO_LOOP \
	"it is not needed, the host's 127.0.0.1 is out of reach unless --host-loopback is given"
#define OUTWARD \
	"it is not needed, all ports of the host but its loopback's can be reached from inside"
#define REVERSE  "nothing has to be led out, COMMAND reaches other networks; see nswrap help mesh"
#define NETWORK  "a sandbox always has a network of its own; --network none cuts the way out"
#define NO_LIMIT "nswrap limits no resources; see systemd-run(1) or prlimit(1)"

const struct option_habit habits_run[] = {
	/* docker and podman */
	{"--publish", FORWARD},
	{"--publish-all", FORWARD},
	{"--expose", FORWARD},
	{"--port", "expected -p PORT, or -f HOST:GUEST, such as -f 8080:80"},
	{"-it", TERMINAL},
	{"-ti", TERMINAL},
	{"-i", TERMINAL},
	{"--interactive", TERMINAL},
	{"--tty", TERMINAL},
	{"-a", TERMINAL},
	{"--attach", TERMINAL},
	{"--rm", ALONE},
	{"--volume", FILES},
	{"--mount", FILES},
	{"--read-only", FILES},
	{"-w", CHDIR},
	{"--workdir", CHDIR},
	{"--working-directory", CHDIR},
	{"--wd", CHDIR},
	{"-u", CALLER},
	{"--user", CALLER},
	{"--privileged", "expected --root, for the capabilities of the namespaces"},
	{"--cap-add", "expected --root, for the capabilities of the namespaces"},
	{"--keep-caps", "expected --root, for the capabilities of the namespaces"},
	{"--cap-drop", "it is not needed, COMMAND has no capabilities"},
	{"--env-file", "expected -e NAME=VALUE for each"},
	{"--net", NETWORK},
	{"--link", "expected a mesh, see nswrap help mesh"},
	{"--restart", "nswrap starts COMMAND once; a service of systemd can start it again"},
	{"--init", "it is not needed, an init of nswrap's reaps what COMMAND leaves"},
	{"--entrypoint", "expected the program as COMMAND"},
	{"--hostname", "a sandbox has the host's name"},
	{"-m", NO_LIMIT},
	{"--memory", NO_LIMIT},
	{"--cpus", NO_LIMIT},
	{"--ulimit", NO_LIMIT},
	{"--detach-keys", TERMINAL},
	/* ssh */
	{"-L", FORWARD},
	{"-R", REVERSE},
	{"-D", REVERSE},
	{"-N", "expected a COMMAND, such as sleep infinity"},
	/* unshare and bubblewrap */
	{"-r", "expected --root"},
	{"--map-root-user", "expected --root"},
	{"--uid", CALLER},
	{"--gid", CALLER},
	{"--setuid", CALLER},
	{"--setgid", CALLER},
	{"--map-current-user", "it is not needed, COMMAND runs as the caller"},
	{"-U", OWNED " user namespace"},
	{"--unshare-user", OWNED " user namespace"},
	{"--unshare-net", NETWORK},
	{"--share-net", "nswrap is for networks of their own: run COMMAND without it"},
	{"--unshare-pid", "expected --pid"},
	{"--unshare-ipc", "expected --pid, which has an IPC namespace, too"},
	{"--ipc", "expected --pid, which has an IPC namespace, too"},
	{"--unshare-all", "expected --pid; user, network and mount namespaces are there anyway"},
	{"--fork", "it is not needed, COMMAND is a child"},
	{"--mount-proc", "expected --pid, which has its own /proc"},
	{"--proc", "expected --pid, which has its own /proc"},
	{"--kill-child", ALONE},
	{"--die-with-parent", ALONE},
	{"--ro-bind", FILES},
	{"--dev-bind", FILES},
	{"--bind-try", FILES},
	{"--ro-bind-try", FILES},
	{"--tmpfs", FILES},
	{"--dev", FILES},
	{"--setenv", "expected -e NAME=VALUE"},
	{"--unsetenv", "expected --unset-env NAME"},
	{"--clearenv", "expected --unset-env NAME for each, or env -i in front of COMMAND"},
	/* pasta, slirp4netns and rootlesskit */
	{"--tcp-ports", FORWARD},
	{"--udp-ports", FORWARD},
	{"--tcp-ns", OUTWARD},
	{"--udp-ns", OUTWARD},
	{"-T", OUTWARD},
	{"--config-net", "it is not needed, the network inside is set up"},
	{"--configure", "it is not needed, the network inside is set up"},
	{"--map-gw", LOOPBACK},
	{"--map-host-loopback", LOOPBACK},
	{"--no-map-gw", NO_LOOP},
	{"--disable-host-loopback", NO_LOOP},
	{"--dns-forward", "expected --dns ADDR"},
	{"--disable-dns", "expected --no-dns"},
	{"--ipv4-only", "expected --no-ipv6"},
	{"-4", "expected --no-ipv6"},
	{"-6", "it is not needed, IPv6 is on unless --no-ipv6 is given"},
	{"--enable-ipv6", "it is not needed, IPv6 is on unless --no-ipv6 is given"},
	{"--address", "expected --cidr NETWORK/LEN"},
	{"--gateway", "expected --cidr NETWORK/LEN"},
	{"--outbound-addr6", "expected --outbound-addr ADDR, which takes both"},
	{"--interface", "expected --outbound-addr ADDR"},
	{"--api-socket", "expected nswrap port add SANDBOX SPEC, while it runs"},
	{"--enable-sandbox", "it is not needed, it always is"},
	{"--enable-seccomp", "it is not needed, it always is"},
	{"--log-file", "expected 2>FILE"},
	{"--debug", "expected -vv"},
	{"--pidns", "expected --pid"},
	{"--ipcns", "expected --pid, which has an IPC namespace, too"},
	{"--copy-up", FILES},
	{NULL, NULL},
};

const struct option_habit habits_exec[] = {
	{"-it", TERMINAL},
	{"-ti", TERMINAL},
	{"-i", TERMINAL},
	{"--interactive", TERMINAL},
	{"--tty", TERMINAL},
	{"-d", "expected & behind it, as for any command of a shell"},
	{"--detach", "expected & behind it, as for any command of a shell"},
	{"-w", CHDIR},
	{"--workdir", CHDIR},
	{"-u", "COMMAND runs as the sandbox does; nswrap --root makes one with uid 0"},
	{"--user", "COMMAND runs as the sandbox does; nswrap --root makes one with uid 0"},
	{"--privileged",
		"COMMAND has the rights of the sandbox; nswrap --root makes one with more"},
	{"--env-file", "expected -e NAME=VALUE for each"},
	{"--setenv", "expected -e NAME=VALUE"},
	{"--unsetenv", "expected --unset-env NAME"},
	{"-n", "expected the name as SANDBOX, in front of COMMAND"},
	{"--name", "expected the name as SANDBOX, in front of COMMAND"},
	{"-p", "expected nswrap port add SANDBOX HOST:GUEST"},
	{"--publish", "expected nswrap port add SANDBOX HOST:GUEST"},
	{"-L", "expected nswrap port add SANDBOX HOST:GUEST"},
	{NULL, NULL},
};

#define ALL_SHOWN "it is not needed, all that run are shown, and no others are kept"

const struct option_habit habits_ps[] = {
	{"-a", ALL_SHOWN},
	{"--all", ALL_SHOWN},
	{"-l", ALL_SHOWN},
	{"-q", "expected --json, whose members have the names"},
	{"--quiet", "expected --json, whose members have the names"},
	{"--format", "expected --json"},
	{"--filter", "expected --json"},
	{"--no-trunc", "expected --json, or a pipe: only a terminal's lines are cut"},
	{NULL, NULL},
};

const struct option_habit habits_stop[] = {
	{"--time", "expected -t SECONDS"},
	{"--timeout", "expected -t SECONDS"},
	{"-f", "expected -t 0, which kills at once"},
	{"--force", "expected -t 0, which kills at once"},
	{"-9", "expected -t 0, which kills at once"},
	{"-n", "expected the name as it is: nswrap stop SANDBOX"},
	{"--name", "expected the name as it is: nswrap stop SANDBOX"},
	{NULL, NULL},
};

const struct option_habit habits_port[] = {
	{"-p", "expected it without: nswrap port add SANDBOX 8080:80"},
	{"-f", "expected it without: nswrap port add SANDBOX 8080:80"},
	{"-L", "expected it without: nswrap port add SANDBOX 8080:80"},
	{"--publish", "expected it without: nswrap port add SANDBOX 8080:80"},
	{"--forward", "expected it without: nswrap port add SANDBOX 8080:80"},
	{"-a", "expected nswrap port add SANDBOX SPEC"},
	{"--add", "expected nswrap port add SANDBOX SPEC"},
	{"-d", "expected nswrap port remove SANDBOX SPEC"},
	{"--remove", "expected nswrap port remove SANDBOX SPEC"},
	{NULL, NULL},
};

/* --- words -------------------------------------------------------------------------------- */

/* When is a word meant for nswrap, and no program's name? */
enum sure {
	SURE_ALWAYS,
	SURE_UNLESS_INSTALLED,
	SURE_UNLESS_NUMBER, /* among its arguments, or options alone */
	SURE_UNLESS_FILE,   /* that exists, among its arguments */
	SURE_NEVER,         /* it is run, and without arguments the hint is shown */
};

#define PS        "nswrap ps lists the sandboxes, nswrap mesh status the hosts of a mesh"
#define STOP      "nswrap stop SANDBOX ends one"
#define RUN       "nswrap COMMAND makes a sandbox and starts COMMAND in it"
#define MESH_UP   "nswrap mesh MANIFEST starts a mesh, nswrap COMMAND a sandbox"
#define MESH_DOWN "nswrap mesh stop ends a mesh, nswrap stop SANDBOX a sandbox"
#define ENTER     "nswrap exec SANDBOX COMMAND runs another command in a sandbox"
#define PORT      "nswrap port list SANDBOX shows the forwards, port add and port remove change them"
#define LOGS      "COMMAND has the caller's stdout and stderr; nswrap help lists what there is"
#define EXAMPLE   "nswrap mesh --example prints a manifest"

static const struct habit_word {
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
	{"logs", SURE_ALWAYS, LOGS},
	{"check", SURE_UNLESS_INSTALLED,
		"nswrap doctor checks this host, nswrap mesh --check a manifest"},
	{"validate", SURE_UNLESS_INSTALLED, "nswrap mesh --check MANIFEST checks it"},
	{"example", SURE_ALWAYS, EXAMPLE},
	{"show-example", SURE_ALWAYS, EXAMPLE},
	{"show-installer", SURE_ALWAYS, "copy the program nswrap itself to the other machine"},
	{"version", SURE_ALWAYS, "nswrap --version prints it"},
	{"usage", SURE_ALWAYS, "nswrap help lists what there is"},
};

static const struct habit_word *find_word(const char *word)
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

static bool is_sure(const struct habit_word *word, char *const *args)
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

bool habits_find_meant(const struct subcommand *const *all, const char *word, struct err *err)
{
	const struct habit_word *known = find_word(word);
	const char *near = known ? NULL : find_near(all, word);

	if (known)
		err_set(err, EINVAL, "there is no subcommand %s: %s", word, known->instead);
	else if (near)
		err_set(err, EINVAL, "there is no subcommand %s; did you mean nswrap %s?",
			PARSE_SHOWN(word), near);
	return known || near;
}

void habits_unknown_subcommand(
	const struct subcommand *const *all, const char *word, struct err *err)
{
	if (!habits_find_meant(all, word, err))
		err_set(err, EINVAL, "there is no subcommand %s; nswrap help lists them",
			PARSE_SHOWN(word));
}

int habits_check_words(const struct cmd_call *call, struct err *err)
{
	const char *word = call->argc > 1 ? call->argv[1] : "-";
	char *const *args = call->argv + 2;
	const struct habit_word *known = find_word(word);

	if (word[0] == '-' || strchr(word, '/'))
		return 0;
	if (known && known->sure == SURE_NEVER && !*args)
		log_notice("running the program %s; %s", word, known->instead);
	if (known ? !is_sure(known, args) : is_installed(word))
		return 0;
	if (!habits_find_meant(call->all, word, err))
		return 0;
	size_t len = strlen(err->text);
	snprintf(err->text + len, sizeof(err->text) - len, " (a program: nswrap -- %s)",
		PARSE_SHOWN(word));
	return -EINVAL;
}
