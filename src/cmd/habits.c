/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/habits - options of other programs, and what is nswrap's own */
#include "cmd/habits.h"

#include <stddef.h>

#define FORWARD    "expected -f [ADDR:]HOST:GUEST[/udp], such as -f 8080:80"
#define TERMINAL   "it is not needed, COMMAND has the caller's stdin and terminal"
#define FILES      "it is not needed, COMMAND has the caller's files; bubblewrap inside can change that"
#define ALONE      "it is not needed, nothing of a sandbox stays behind"
#define BACKGROUND "expected & behind it, as for any command of a shell"
#define OWNED      "it is not needed, a sandbox always has its own"
#define CALLER     "COMMAND runs as the caller; --root makes it uid 0 inside"
#define CHDIR      "expected -C DIR"
#define LOOPBACK   "expected --host-loopback to let 10.0.2.2 inside be the host's 127.0.0.1"
#define NO_LOOP \
	"it is not needed, the host's 127.0.0.1 is out of reach unless --host-loopback is given"
#define OUTWARD  "expected -R PORT, for a port of the host's loopback; all others can be reached"
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
	{"-D", REVERSE},
	{"-X", "expected --x11, behind ssh -X"},
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
	{"-d", BACKGROUND},
	{"--detach", BACKGROUND},
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
	{"-a", "expected --all"},
	{"--timeout", "expected -t SECONDS"},
	{"-f", "expected -t 0, which kills at once"},
	{"--force", "expected -t 0, which kills at once"},
	{"-9", "expected -t 0, which kills at once"},
	{"-n", "expected the name as it is: nswrap stop SANDBOX"},
	{"--name", "expected the name as it is: nswrap stop SANDBOX"},
	{NULL, NULL},
};

const struct option_habit habits_logs[] = {
	{"--tail", "expected -n LINES"},
	{"-t", "the lines have no times: expected -n LINES, -f, or none"},
	{"--timestamps", "the lines have no times: expected -n LINES, -f, or none"},
	{"--since", "the lines have no times: expected -n LINES"},
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

#define MESH_BACKGROUND "a mesh has no log of its own: expected & behind it, or a unit of systemd"
#define MANIFEST        "expected nswrap mesh MANIFEST"

const struct option_habit habits_mesh[] = {
	{"-f", MANIFEST},
	{"--file", MANIFEST},
	{"-c", MANIFEST},
	{"--config", MANIFEST},
	{"--validate", "expected nswrap mesh --check MANIFEST"},
	{"--dry-run", "expected nswrap mesh --check MANIFEST"},
	{"-d", MESH_BACKGROUND},
	{"--detach", MESH_BACKGROUND},
	{"--status", "expected nswrap mesh status"},
	{"--reload", "expected nswrap mesh reload"},
	{"--stop", "expected nswrap mesh stop"},
	{NULL, NULL},
};

#define HERE  "expected --reverse NAME=ADDR:TO, such as db=127.0.0.1:5432:localhost:5432"
#define THERE "expected --forward NAME=ADDR:TO, such as web=127.0.0.1:8000:localhost:80"
#define WHERE \
	"expected --bind-proxy ADDR for what is led through, or --bind-client ADDR for clients"
#define SERVER  "expected --server ADDR, such as example.com:3001"
#define TARGET  "expected --to ADDR, such as localhost:8080"
#define KEY     "expected --key-file FILE, with the key in it"
#define CIPHER  "nothing is encrypted, unless the link is exec:ssh ..."
#define SERVICE "expected & behind it, or a unit of systemd"
#define NO_TASK "it is not needed, no command is run and nothing goes to the background"

const struct option_habit habits_tunnel[] = {
	{"-L", HERE},
	{"-R", THERE},
	{"-D", "there is no proxy here: expected --forward or --reverse for each port"},
	{"-N", NO_TASK},
	{"-f", NO_TASK},
	{"-p", WHERE},
	{"--port", WHERE},
	{"--listen", WHERE},
	{"--bind", WHERE},
	{"--remote", SERVER},
	{"--host", SERVER},
	{"--local", TARGET},
	{"--key", KEY},
	{"--token", KEY},
	{"--secret", KEY},
	{"--auth", KEY},
	{"--tls", CIPHER},
	{"--tls-cert", CIPHER},
	{"-d", SERVICE},
	{"--detach", SERVICE},
	{NULL, NULL},
};

#define LISTENS "expected --link listen-tcp:ADDR or listen-unix:PATH"

const struct option_habit habits_exit[] = {
	{"--via", "expected nswrap --via LINK COMMAND at the other end, and --link LINK here"},
	{"--route", "expected it at the other end, and --expose NETWORK here"},
	{"--allow", "expected --expose NETWORK[:PORTS]"},
	{"--listen", LISTENS},
	{"--bind", LISTENS},
	{"--port", LISTENS},
	{"-p", LISTENS},
	{"--key", KEY},
	{"--tls", CIPHER},
	{"-d", SERVICE},
	{"--detach", SERVICE},
	{NULL, NULL},
};
