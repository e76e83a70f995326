/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/doctor - the checks of `nswrap doctor`: each tries what a sandbox will do */
#include "sandbox/doctor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/registry.h"
#include "net/occupied.h"
#include "net/plan.h"
#include "net/resolv.h"
#include "net/slirplib.h"
#include "net/tap.h"
#include "proc/confine.h"
#include "proc/ns.h"
#include "sandbox/setup.h"
#include "util/fd.h"
#include "util/parse.h"

#define FEW_FDS        4096
#define FEW_PIPE_PAGES 4096
#define SLIRP_WANTED   "4.7"

__attribute__((format(printf, 4, 5))) static void say(struct diagnosis *out,
	enum diagnosis_state state, const char *cure, const char *format, ...)
{
	va_list args;

	out->state = state;
	snprintf(out->cure, sizeof(out->cure), "%s", cure);
	va_start(args, format);
	vsnprintf(out->what, sizeof(out->what), format, args);
	va_end(args);
}

/* --- namespaces, and what is made in them ------------------------------------------------- */

/* What the child in new namespaces found, and how far it was to go. */
struct probe {
	bool has_namespaces;
	struct err err;
};

enum probe_goal { PROBE_NAMESPACES, PROBE_TAP, PROBE_CARRY };

__attribute__((noreturn)) static void probe_main(enum probe_goal goal, uid_t uid, gid_t gid, int fd)
{
	struct probe probe = {0};

	probe.has_namespaces =
		ns_map_ids(uid, gid, 0, &probe.err) == 0 && setup_try(&probe.err) == 0;
	if (probe.has_namespaces && goal != PROBE_NAMESPACES) {
		int result = goal == PROBE_TAP ? tap_open(NET_TAP_NAME, true, &probe.err)
					       : setup_try_carry(&probe.err);
		if (result >= 0)
			probe.err.code = 0;
	}
	fd_write_all(fd, &probe, sizeof(probe));
	_exit(0);
}

/* Start a process in namespaces as a sandbox has them and see how far it gets. */
static void probe_run(enum probe_goal goal, struct probe *probe)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int ends[2];

	*probe = (struct probe){0};
	if (pipe2(ends, O_CLOEXEC) < 0) {
		err_sys(&probe->err, errno, "cannot make a pipe");
		return;
	}
	pid_t pid = ns_fork(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS, &probe->err);
	if (pid == 0)
		probe_main(goal, uid, gid, ends[1]);
	close(ends[1]);
	if (pid > 0 && fd_read_all(ends[0], probe, sizeof(*probe)) != sizeof(*probe))
		err_set(&probe->err, ECHILD, "a process in new namespaces was ended at once");
	close(ends[0]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

static void check_namespaces(struct diagnosis *out)
{
	struct probe probe;

	probe_run(PROBE_NAMESPACES, &probe);
	if (probe.err.code == 0) {
		say(out, DIAGNOSIS_FINE, "", "user, network and mount namespaces can be made");
		return;
	}
	const struct ns_refusal *refusal = ns_diagnose(probe.err.code);
	say(out, DIAGNOSIS_WRONG, refusal ? refusal->cure : "ask the administrator of this system",
		"%s", refusal ? refusal->what : probe.err.text);
}

/* The texts of tap_open for these are "what is wrong: the cure". */
static bool has_cure(int code)
{
	return code == ENOENT || code == ENODEV || code == ENXIO || code == EACCES || code == EPERM;
}

static void explain_tap(const struct err *err, struct diagnosis *out)
{
	const char *colon = has_cure(err->code) ? strstr(err->text, ": ") : NULL;

	say(out, DIAGNOSIS_WRONG, "", "%.*s", colon ? (int)(colon - err->text) : INT_MAX,
		err->text);
	snprintf(out->cure, sizeof(out->cure),
		"%s (in docker: --device /dev/net/tun; in a unit of systemd: PrivateDevices=no)",
		colon ? colon + 2
		      : "an administrator makes the device: mknod -m 0666 /dev/net/tun c 10 200; "
			"or use --network none");
}

static void check_tap(struct diagnosis *out)
{
	struct probe probe;

	probe_run(PROBE_TAP, &probe);
	if (!probe.has_namespaces) {
		bool is_open = access("/dev/net/tun", R_OK | W_OK) == 0;

		say(out, DIAGNOSIS_NOTE, "see namespaces",
			"/dev/net/tun %s; not tried further without namespaces",
			is_open ? "can be opened" : "is missing or may not be opened");
	} else if (probe.err.code == 0) {
		say(out, DIAGNOSIS_FINE, "", "/dev/net/tun makes network devices inside");
	} else {
		explain_tap(&probe.err, out);
	}
}

/* An agent can do without (mesh/agent/nostack). */
static void check_mesh(struct diagnosis *out)
{
	struct probe probe;

	probe_run(PROBE_TAP, &probe);
	if (probe.has_namespaces && probe.err.code == 0)
		say(out, DIAGNOSIS_FINE, "", "a host of a mesh has a network stack of its own");
	else
		say(out, DIAGNOSIS_NOTE, "",
			"a host of a mesh works here all the same, without a network stack: its "
			"connections are streams, see nswrap help agent");
}

static void check_outbound(struct diagnosis *out)
{
	struct probe probe;

	probe_run(PROBE_CARRY, &probe);
	if (probe.has_namespaces && probe.err.code == 0)
		say(out, DIAGNOSIS_FINE, "", "the kernel carries TCP that leaves a sandbox");
	else
		say(out, DIAGNOSIS_NOTE,
			probe.has_namespaces
				? "slower, and nothing else; needs Linux 4.19 with nf_tables, "
				  "its tproxy, and a /proc/sys that can be written"
				: "see namespaces and tun",
			"libslirp carries TCP that leaves a sandbox: %s", probe.err.text);
}

static void check_seccomp(struct diagnosis *out)
{
	uint32_t action = SECCOMP_RET_KILL_PROCESS;

	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0)
		say(out, DIAGNOSIS_FINE, "", "seccomp filters can be set");
	else
		say(out, DIAGNOSIS_WRONG, "use Linux 4.14 or later with CONFIG_SECCOMP_FILTER",
			"this kernel has no seccomp filters that end a process: %s",
			strerror(errno));
}

static void check_signals(struct diagnosis *out)
{
	if (confine_can_keep_signals())
		say(out, DIAGNOSIS_FINE, "", "programs inside cannot signal processes outside");
	else
		say(out, DIAGNOSIS_NOTE,
			"use --pid, or Linux 6.12 or later with landlock among the lsm= of its command line",
			"programs inside can signal your other processes: no Landlock signal scope here");
}

/* --- the host's network ------------------------------------------------------------------- */

/* What a sandbox would have that were started now. */
static struct net_plan plan_of_now(void)
{
	struct net_plan plan;
	struct occupied occupied;

	plan_init(&plan);
	occupied_read(&occupied);
	plan_avoid(&plan, &occupied);
	occupied_free(&occupied);
	return plan;
}

static void check_addresses(struct diagnosis *out)
{
	struct net_plan plan = plan_of_now();
	char network[NET_TEXT_BYTES], network6[NET_TEXT_BYTES];
	bool is_taken = plan.is_taken4 || plan.is_taken6;

	say(out, is_taken ? DIAGNOSIS_NOTE : DIAGNOSIS_FINE,
		is_taken ? "give networks that can be missed: --cidr, --cidr6" : "",
		"the networks inside are %s and %s%s", plan_format4(&plan, network),
		plan_format6(&plan, network6),
		is_taken ? ", though this host has such addresses or routes itself" : "");
}

/* Is there a nameserver line? Without one, resolv_parse answers as the C library does. */
static bool names_server(const char *text)
{
	for (const char *at = text; (at = strstr(at, "nameserver")); at++)
		if (at == text || at[-1] == '\n')
			return true;
	return false;
}

static void describe_servers(const char *real, char *text, size_t len, struct diagnosis *out)
{
	struct net_plan plan = plan_of_now();
	char inside[INET_ADDRSTRLEN];
	struct resolv_conf conf;

	inet_ntop(AF_INET, &plan.dns, inside, sizeof(inside));
	resolv_parse(text, len, &conf);
	bool is_local = conf.nservers > 0 && conf.servers[0].family == AF_INET &&
			addr_is_loopback(&conf.servers[0]);
	say(out, DIAGNOSIS_FINE, "", "%s%s%s names %zu server%s%s%s", RESOLV_CONF,
		strcmp(real, RESOLV_CONF) ? ", which is " : "",
		strcmp(real, RESOLV_CONF) ? real : "", conf.nservers, conf.nservers == 1 ? "" : "s",
		is_local ? "; one of this host itself, which is asked through " : "",
		is_local ? inside : "");
}

static void check_dns(struct diagnosis *out)
{
	char real[PATH_MAX], text[8192];
	ssize_t len = fd_read_file(RESOLV_CONF, text, sizeof(text));

	if (len < 0) {
		say(out, DIAGNOSIS_NOTE, "make it, or mend the link; names do not resolve inside",
			RESOLV_CONF " cannot be read: %s", strerror((int)-len));
		return;
	}
	if (!realpath(RESOLV_CONF, real))
		strcpy(real, RESOLV_CONF);
	if (!names_server(text)) {
		say(out, DIAGNOSIS_NOTE, "add a line to it: nameserver ADDRESS; or use --dns ADDR",
			"%s names no server: 127.0.0.1 is asked", real);
		return;
	}
	describe_servers(real, text, (size_t)len, out);
}

/* libslirp sends the guest's pings from an ICMP socket of ours. */
static void check_ping(struct diagnosis *out)
{
	_cleanup_fd_ int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_ICMP);

	if (sock >= 0)
		say(out, DIAGNOSIS_FINE, "", "ping works inside");
	else
		say(out, DIAGNOSIS_NOTE,
			"an administrator runs: sysctl -w net.ipv4.ping_group_range='0 2147483647'",
			"ping does not work inside: group %u is not in net.ipv4.ping_group_range",
			(unsigned)getegid());
}

/* --- the rest ----------------------------------------------------------------------------- */

static void check_runtime_dir(struct diagnosis *out)
{
	struct registry registry;
	struct err err;

	static const char cure[] = "set XDG_RUNTIME_DIR to a directory of yours with mode 0700";

	if (registry_open(REGISTRY_SANDBOX, &registry, &err) < 0)
		say(out, DIAGNOSIS_WRONG, cure, "%s", err.text);
	else if (access(registry.places.items[0].path, W_OK) < 0)
		say(out, DIAGNOSIS_WRONG, cure, "the runtime directory %s cannot be written: %s",
			registry.places.items[0].path, strerror(errno));
	else
		say(out, DIAGNOSIS_FINE, "", "the runtime directory is %s",
			registry.places.items[0].path);
	registry_close(&registry);
}

static void check_libslirp(struct diagnosis *out)
{
	struct err err;

	if (slirplib_load(NULL, &err) < 0) {
		bool is_agent = err.code == ENOSYS;

		say(out, is_agent ? DIAGNOSIS_NOTE : DIAGNOSIS_WRONG,
			is_agent ? "the whole nswrap has it" : "install libslirp (libslirp0)",
			"%s: sandboxes of its own need --network none", err.text);
		return;
	}
	const char *version = slirplib_version();
	bool is_old = strverscmp(version, SLIRP_WANTED) < 0;

	say(out, is_old ? DIAGNOSIS_NOTE : DIAGNOSIS_FINE,
		is_old ? "install libslirp " SLIRP_WANTED " or later, in which holes were closed"
		       : "",
		"libslirp %s", version);
}

static void check_fds(struct diagnosis *out)
{
	struct rlimit limit = {0};

	getrlimit(RLIMIT_NOFILE, &limit);
	say(out, limit.rlim_max < FEW_FDS ? DIAGNOSIS_NOTE : DIAGNOSIS_FINE, "",
		"%llu descriptors can be open in a process", (unsigned long long)limit.rlim_max);
	if (limit.rlim_max < FEW_FDS)
		snprintf(out->cure, sizeof(out->cure),
			"for more than about %llu connections at once raise the hard limit: ulimit -Hn, "
			"/etc/security/limits.conf",
			(unsigned long long)limit.rlim_max / 3);
}

static void check_pipes(struct diagnosis *out)
{
	char text[32];
	unsigned long pages;

	if (fd_read_file("/proc/sys/fs/pipe-user-pages-soft", text, sizeof(text)) > 0)
		text[strcspn(text, "\n")] = '\0';
	if (parse_uint(text, ULONG_MAX, &pages) < 0 || pages == 0 || pages >= FEW_PIPE_PAGES)
		say(out, DIAGNOSIS_FINE, "", "pipes may be large enough");
	else
		say(out, DIAGNOSIS_NOTE,
			"an administrator runs: sysctl -w fs.pipe-user-pages-soft=16384",
			"a user's pipes may hold only %lu pages, many connections are slower",
			pages);
}

const struct doctor_check doctor_checks[] = {
	{"namespaces", check_namespaces},
	{"tun", check_tap},
	{"mesh", check_mesh},
	{"outbound", check_outbound},
	{"seccomp", check_seccomp},
	{"signals", check_signals},
	{"runtime directory", check_runtime_dir},
	{"libslirp", check_libslirp},
	{"addresses", check_addresses},
	{"dns", check_dns},
	{"ping", check_ping},
	{"descriptors", check_fds},
	{"pipes", check_pipes},
	{NULL, NULL},
};
