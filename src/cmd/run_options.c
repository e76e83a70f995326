/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/run_options - what the options of run say, before it is put together */
#include "cmd/run_options.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/systemd.h"
#include "conn/bind.h"
#include "control/registry.h"
#include "forward/spec.h"
#include "link/keyfile.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/parse.h"

#define STOP_TIMEOUT_MS 10000
#define WAIT_MS         30000

struct run_options *run_options_new(void)
{
	struct run_options *options = g_new0(struct run_options, 1);
	struct sandbox_config *config = &options->config;

	config->bind = addr_loopback4(0);
	config->wait_ms = WAIT_MS;
	config->stop_timeout_ms = STOP_TIMEOUT_MS;
	config->ready_fd = -1;
	config->info_fd = -1;
	config->alive_fd = -1;
	plan_init(&config->net);
	options->log_fd = -1;
	options->shell_argv[0] = "/bin/sh";
	options->shell_argv[1] = "-c";
	return options;
}

void run_options_free(struct run_options *options)
{
	g_strfreev((char **)options->config.defaults);
	free(options->config.env);
	g_free(options->service_url);
	spec_list_free(&options->config.forwards);
	outward_list_free(&options->config.outwards);
	linkspec_fini(&options->config.via.spec);
	g_free(options->rules);
	g_free(options->guest_ports);
	g_free(options);
}

static int append(struct rule_text **list, size_t *count, struct rule_text item, struct err *err)
{
	if (*count == FORWARD_MAX)
		return err_set(
			err, EINVAL, "given too often: expected at most %d times", FORWARD_MAX);
	*list = g_renew(struct rule_text, *list, *count + 1);
	(*list)[(*count)++] = item;
	return 0;
}

static int add_rule(void *target, const char *option, const char *value, struct err *err)
{
	struct run_options *options = target;

	return append(&options->rules, &options->nrules,
		(struct rule_text){option, value, options->from, NULL}, err);
}

int run_options_pair(struct run_options *options, struct err *err)
{
	for (; options->nused_ports < options->nguest_ports; options->npaired++) {
		const struct rule_text *port = &options->guest_ports[options->nused_ports];

		if (options->npaired >= options->nrules)
			return err_set(err, EINVAL,
				"%s%s-P %s: there is no -p for it: expected as many -p without a "
				"GUEST as -P",
				port->from ? port->from : "", port->from ? ": " : "", port->text);
		struct rule_text *rule = &options->rules[options->npaired];
		if (strcmp(rule->option, "-p") != 0 || spec_has_guest(rule->text))
			continue;
		rule->guest = port->text;
		options->nused_ports++;
	}
	options->npaired = options->nrules;
	return 0;
}

static int set_host_port(void *target, const char *value, struct err *err)
{
	return add_rule(target, "-p", value, err);
}

static int set_forward(void *target, const char *value, struct err *err)
{
	return add_rule(target, "-f", value, err);
}

static int add_outward(void *target, const char *value, struct err *err)
{
	struct sandbox_config *config = target;
	struct outward_spec spec;

	if (outward_parse(value, &spec, err) < 0)
		return -EINVAL;
	return outward_list_add(&config->outwards, &spec, err);
}

static int set_guest_port(void *target, const char *value, struct err *err)
{
	struct run_options *options = target;
	uint16_t port;

	if (parse_port(value, false, &port, err) < 0)
		return -EINVAL;
	return append(&options->guest_ports, &options->nguest_ports,
		(struct rule_text){"-P", value, options->from, NULL}, err);
}

static int set_addr(void *target, const char *value, struct err *err)
{
	/* an empty one is rather a variable that is not set than all addresses */
	return value[0] ? addr_parse_own(value, target, err) : addr_parse_host(value, target, err);
}

static int set_port_driver(void *target, const char *value, struct err *err)
{
	static const enum forward_driver_choice choices[] = {
		FORWARD_DRIVER_AUTO, FORWARD_DRIVER_SPLICE, FORWARD_DRIVER_SLIRP};

	for (size_t i = 0; i < 3; i++) {
		if (strcmp(value, driver_name(choices[i])) == 0) {
			*(enum forward_driver_choice *)target = choices[i];
			return 0;
		}
	}
	return err_set(
		err, EINVAL, "\"%s\" is no port driver: expected auto, splice or slirp", value);
}

static int add_user(struct sandbox_config *config, const char *name, struct err *err)
{
	unsigned long uid;
	struct passwd *user = getpwnam(name);

	if (config->nusers == FORWARD_USERS_MAX)
		return err_set(
			err, EINVAL, "too many users: expected at most %d", FORWARD_USERS_MAX);
	if (user)
		uid = user->pw_uid;
	else if (parse_uint(name, UINT32_MAX - 1, &uid) < 0)
		return err_set(err, EINVAL,
			"there is no user \"%s\": expected names or uids, separated by commas",
			name);
	config->users[config->nusers++] = (uid_t)uid;
	return 0;
}

static int set_only_user(void *target, const char *value, struct err *err)
{
	struct sandbox_config *config = target;

	config->checks_user = true;
	config->nusers = 0;
	if (!value) {
		config->users[config->nusers++] = geteuid();
		return 0;
	}
	char *names = strdup(value), *rest = names, *name;
	int result = names ? 0 : err_sys(err, ENOMEM, "cannot read the users");
	while (result == 0 && (name = strsep(&rest, ",")))
		result = add_user(config, name, err);
	free(names);
	return result;
}

static int set_stop_timeout(void *target, const char *value, struct err *err)
{
	struct run_options *options = target;

	if (strchr(value, ':'))
		return err_set(err, EINVAL, "%s is no time; ports are led in with -p %s",
			PARSE_QUOTED(value), PARSE_SHOWN(value));
	options->has_stop_timeout = true;
	return parse_seconds(value, &options->config.stop_timeout_ms, err);
}

static int set_name(void *target, const char *value, struct err *err)
{
	*(const char **)target = value;
	return registry_check_name(REGISTRY_SANDBOX, value, err);
}

static int set_pcap(void *target, const char *value, struct err *err)
{
	if (strcmp(value, "-") == 0)
		return err_set(
			err, EINVAL, "expected a file or a pipe; standard output is the command's");
	*(const char **)target = value;
	return 0;
}

static int set_network(void *target, const char *value, struct err *err)
{
	if (strcmp(value, "outbound") != 0 && strcmp(value, "none") != 0)
		return err_set(
			err, EINVAL, "\"%s\" is no network: expected outbound or none", value);
	*(bool *)target = strcmp(value, "outbound") == 0;
	return 0;
}

static int set_outbound(void *target, const char *value, struct err *err)
{
	static const enum plan_carrier carriers[] = {
		PLAN_CARRIER_AUTO, PLAN_CARRIER_KERNEL, PLAN_CARRIER_SLIRP};

	for (size_t i = 0; i < sizeof(carriers) / sizeof(carriers[0]); i++)
		if (strcmp(value, plan_carrier_name(carriers[i])) == 0) {
			*(enum plan_carrier *)target = carriers[i];
			return 0;
		}
	return err_set(err, EINVAL, "\"%s\" carries no connections: expected auto, kernel or slirp",
		value);
}

static int set_cidr(void *target, const char *value, struct err *err)
{
	struct net_plan *plan = target;
	struct in_addr network;
	int prefix_len;

	if (addr_parse_cidr4(value, &network, &prefix_len, err) < 0)
		return -EINVAL;
	if (prefix_len < 8 || prefix_len > 25)
		return err_set(err, EINVAL,
			"\"%s\" has no room for the guest's number 100: expected a prefix of /8 to /25",
			value);
	unsigned first = ntohl(network.s_addr) >> 24;
	if (first == 0 || first == 127 || first >= 224)
		return err_set(err, EINVAL,
			"\"%s\" is set aside for other things: expected a network of hosts, such as "
			"192.168.77.0/24",
			value);
	plan_set_network(plan, network, prefix_len);
	plan->is_given4 = true;
	return 0;
}

static int set_cidr6(void *target, const char *value, struct err *err)
{
	struct net_plan *plan = target;
	struct in6_addr prefix;
	int prefix_len;

	if (addr_parse_cidr6(value, &prefix, &prefix_len, err) < 0)
		return -EINVAL;
	if (prefix_len < 8 || prefix_len > 112)
		return err_set(err, EINVAL,
			"\"%s\" has no room for the guest's number 100: expected a prefix of /8 to /112",
			value);
	/* global unicast (RFC 4291) and unique local addresses (RFC 4193) */
	if (prefix.s6_addr[0] >> 5 != 1 && (prefix.s6_addr[0] & 0xfe) != 0xfc)
		return err_set(err, EINVAL,
			"\"%s\" is set aside for other things: expected a network of hosts, such as "
			"fd00:77::/64",
			value);
	plan_set_prefix6(plan, &prefix, prefix_len);
	plan->is_given6 = true;
	return 0;
}

static int set_mtu(void *target, const char *value, struct err *err)
{
	unsigned long mtu;

	if (parse_uint(value, NET_MTU_DEFAULT, &mtu) < 0 || mtu < NET_MTU_MIN)
		return err_set(err, EINVAL, "\"%s\" is no MTU: expected a number from %d to %d",
			value, NET_MTU_MIN, NET_MTU_DEFAULT);
	*(unsigned *)target = (unsigned)mtu;
	return 0;
}

/* One that a single host can have; of addresses with a port elsewhere, listeners may be wildcards.
 */
static int parse_one_address(const char *text, struct addr *out, struct err *err)
{
	if (addr_parse_host(text, out, err) < 0)
		return -EINVAL;
	if (addr_is_wildcard(out))
		return err_set(err, EINVAL, "%s is no address of a host", text);
	return 0;
}

static int set_dns(void *target, const char *value, struct err *err)
{
	return parse_one_address(value, target, err);
}

/* An address of this host? Asked by binding to it. */
static int check_own_address(const struct addr *addr, const char *text, struct err *err)
{
	int sock = socket(addr->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int result =
		sock < 0 || bind_is_broadcast(addr) ? -1 : bind(sock, &addr->any, addr_len(addr));

	if (sock >= 0)
		close(sock);
	return result < 0 ? err_set(err, EINVAL,
				    "%s is no address of this host: expected one of those that "
				    "`ip addr` shows",
				    text)
			  : 0;
}

static int set_outbound_addr(void *target, const char *value, struct err *err)
{
	struct net_plan *plan = target;
	struct addr addr;

	if (parse_one_address(value, &addr, err) < 0 || check_own_address(&addr, value, err) < 0)
		return -EINVAL;
	if (addr.family == AF_INET)
		plan->outbound4 = addr;
	else
		plan->outbound6 = addr;
	return 0;
}

static int set_via(void *target, const char *value, struct err *err)
{
	struct sandbox_via *via = target;
	const int *fds = via->spec.fds;
	socklen_t len = sizeof(int);
	int type = 0;

	linkspec_fini(&via->spec);
	via->is_on = false;
	if (linkspec_parse(value, &via->spec, err) < 0)
		return -EINVAL;
	via->is_on = true;
	if (via->spec.kind == LINKSPEC_STDIO)
		return err_set(err, EINVAL,
			"-: stdin and stdout are COMMAND's: expected other descriptors, fd:N,M");
	for (size_t i = 0; via->spec.kind == LINKSPEC_FDS && i < 2; i++)
		if (fds[i] <= STDERR_FILENO)
			return err_set(
				err, EINVAL, "%s: descriptor %d is COMMAND's", value, fds[i]);
	if (linkspec_check_fds(&via->spec, err) < 0)
		return -EINVAL;
	if (via->spec.kind == LINKSPEC_FDS)
		getsockopt(fds[0], SOL_SOCKET, SO_TYPE, &type, &len);
	via->mtu = type == SOCK_SEQPACKET || type == SOCK_DGRAM ? CHANNEL_BARE_MTU : 0;
	return 0;
}

/* Read where it is used; here it is only to be right. */
static int set_key_file(void *target, const char *value, struct err *err)
{
	struct keyfile key = {.len = 0};
	int result = keyfile_read(value, &key, err);

	keyfile_wipe(&key);
	*(const char **)target = value;
	return result;
}

/* Once more is no more. */
static void add_net(struct sandbox_via *via, struct entrance_net net)
{
	for (size_t i = 0; i < via->nnets; i++)
		if (via->nets[i].prefix_len == net.prefix_len &&
			IN6_ARE_ADDR_EQUAL(&via->nets[i].ip, &net.ip))
			return;
	via->nets[via->nnets++] = net;
}

/* What a link cannot be the way to. */
static int add_route(void *target, const char *value, struct err *err)
{
	struct sandbox_via *via = target;
	struct in_addr ip;
	struct in6_addr ip6;
	int prefix_len;

	if (via->nnets == SANDBOX_VIA_NETS_MAX)
		return err_set(err, EINVAL, "given too often: expected at most %d times",
			SANDBOX_VIA_NETS_MAX);
	if (strchr(value, ':')) {
		if (addr_parse_cidr6(value, &ip6, &prefix_len, err) < 0)
			return -EINVAL;
		if (prefix_len > 0 && (ip6.s6_addr[0] == 0 || ip6.s6_addr[0] >= 0xfe))
			return err_set(err, EINVAL, "%s is no network that can be elsewhere",
				PARSE_QUOTED(value));
		add_net(via, entrance_net6(&ip6, prefix_len));
		return 0;
	}
	if (addr_parse_cidr4(value, &ip, &prefix_len, err) < 0)
		return -EINVAL;
	const unsigned first = ntohl(ip.s_addr) >> 24;
	if (prefix_len > 0 && (first == 0 || first == 127 || first >= 224))
		return err_set(
			err, EINVAL, "%s is no network that can be elsewhere", PARSE_QUOTED(value));
	add_net(via, entrance_net4(ip, prefix_len));
	return 0;
}

static int set_chdir(void *target, const char *value, struct err *err)
{
	struct stat st;

	*(const char **)target = value;
	if (stat(value, &st) < 0)
		return err_sys(err, errno, "cannot change to %s", value);
	return S_ISDIR(st.st_mode) ? 0 : err_set(err, EINVAL, "%s is no directory", value);
}

static int set_fd(void *target, const char *value, struct err *err)
{
	unsigned long number;
	int *fd = target;

	if (parse_uint(value, 1UL << 20, &number) < 0)
		return err_set(err, EINVAL, "\"%s\" is no descriptor: expected a number", value);
	*fd = (int)number;
	if (!fd_is_open(*fd))
		return err_set(err, EINVAL, "descriptor %d is not open", *fd);
	return 0;
}

/* One that we write to. */
static int set_told_fd(void *target, const char *value, struct err *err)
{
	int *fd = target;

	if (set_fd(fd, value, err) < 0)
		return -EINVAL;
	return fd_can_write(*fd)
		       ? 0
		       : err_set(err, EINVAL,
				 "descriptor %d cannot be written to: expected one that is open for "
				 "writing",
				 *fd);
}

/* At once: what is wrong with the words behind it is said there. */
static int set_log_fd(void *target, const char *value, struct err *err)
{
	int *fd = target;

	if (set_told_fd(fd, value, err) < 0)
		return -EINVAL;
	if (*fd <= STDERR_FILENO || fcntl(*fd, F_SETFD, FD_CLOEXEC) == 0)
		log_set_fd(*fd);
	return 0;
}

static int set_sdnotify(void *target, const char *value, struct err *err)
{
	static const char *const words[] = {[SANDBOX_NOTIFIER_AUTO] = "auto",
		[SANDBOX_NOTIFIER_COMMAND] = "command",
		[SANDBOX_NOTIFIER_PORT] = "port"};
	struct run_options *options = target;

	options->tells_nobody = strcmp(value, "none") == 0;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(value, words[i]) == 0) {
			options->config.service.notifier = (enum sandbox_notifier)i;
			return 0;
		}
	return options->tells_nobody
		       ? 0
		       : err_set(err, EINVAL,
				 "%s tells nobody anything: expected auto, command, port "
				 "or none",
				 PARSE_QUOTED(value));
}

static int set_keep_fd(void *target, const char *value, struct err *err)
{
	struct sandbox_config *config = &((struct run_options *)target)->config;

	if (config->nkeep_fds == SANDBOX_KEEP_FDS_MAX)
		return err_set(
			err, EINVAL, "given too often: expected at most %d", SANDBOX_KEEP_FDS_MAX);
	return set_fd(&config->keep_fds[config->nkeep_fds++], value, err);
}

#define AT(field) offsetof(struct run_options, field)

const struct option_def run_options_table[] = {
	{'p', "host-port", "[ADDR:]PORT[:GUEST]",
		"listen there on the host and lead to GUEST inside, or what -P says, or the same "
		"port; 0 picks a free one; fd:NAME[:GUEST] is a socket of LISTEN_FDS",
		set_host_port, 0},
	{'P', "guest-port", "PORT",
		"lead to this port inside; pairs in order with each -p that has no GUEST",
		set_guest_port, 0},
	{'f', "forward", "SPEC",
		"[ADDR:]HOST:GUEST[/tcp|/udp], [V6ADDR]:HOST:GUEST, unix:PATH:GUEST, or port ranges "
		"8000-8010:9000-9010",
		set_forward, 0},
	{'R', "reverse", "SPEC",
		"[GUEST_ADDR:]PORT:[HOST:]PORT[/tcp|/udp], unix:PATH on either side: that port inside "
		"leads to that of the host's loopback or network; a PORT alone is both",
		add_outward, AT(config)},
	{0, "x11", NULL, "lead out to the display of ssh -X, if DISPLAY names one", option_set_true,
		AT(has_x11)},
	{'b', "bind", "ADDR", "listen address where none is given (127.0.0.1)", set_addr,
		AT(config.bind)},
	{0, "no-hold", NULL, "leave the guest's port on the host's loopback to others",
		option_set_true, AT(config.holds_nothing)},
	{0, "port-driver", "auto|splice|slirp",
		"auto, splice (fastest) or slirp (the guest sees who connects)", set_port_driver,
		AT(config.driver)},
	{0, "only-user", "[USER,...]",
		"accept only connections of these users (the caller), and none of other machines",
		set_only_user, AT(config)},
	{0, "client-address", NULL,
		"the guest sees who connects also where listeners are on loopback", option_set_true,
		AT(config.keeps_local)},
	{0, "allow-network", NULL, "with --only-user: accept all that comes from other machines",
		option_set_true, AT(config.allows_network)},
	{0, "wait", "SECONDS",
		"hold connections that come before the guest first listens so long (30); 0: refuse",
		option_set_seconds, AT(config.wait_ms)},
	{'n', "name", "NAME", "name of the sandbox (the command's name and a number)", set_name,
		AT(config.name)},
	{'d', "detach", NULL,
		"print the name and return when COMMAND runs; nswrap logs NAME shows what it says",
		option_set_true, AT(detaches)},
	{0, "network", "outbound|none",
		"outbound (default), or none: no way out, forwards still work", set_network,
		AT(config.net.has_outbound)},
	{0, "outbound", "auto|kernel|slirp",
		"of TCP that leaves: auto (kernel where that can be), kernel or slirp",
		set_outbound, AT(config.net.carrier)},
	{0, "via", "LINK",
		"the network is that of the nswrap exit at the other end: exec:COMMAND, "
		"tcp:HOST:PORT, unix:PATH, listen-tcp:ADDR, listen-unix:PATH, fd:N[,M]",
		set_via, AT(config.via)},
	{0, "route", "NETWORK/LEN",
		"with --via: only this goes there, the rest through this host; may be repeated",
		add_route, AT(config.via)},
	{0, "key-file", "FILE", "with --via: both ends prove that they have this key", set_key_file,
		AT(config.via.key_path)},
	{0, "dns-via", NULL, "with --via: names are asked of the exit's resolver", option_set_true,
		AT(config.via.has_dns)},
	{0, "host-loopback", NULL, "let the gateway inside (10.0.2.2) reach the host's 127.0.0.1",
		option_set_true, AT(config.net.allows_host_loopback)},
	{0, "cidr", "NETWORK/LEN", "IPv4 network inside (10.0.2.0/24 if the host has it not)",
		set_cidr, AT(config.net)},
	{0, "cidr6", "NETWORK/LEN", "IPv6 network inside (fd00::/64 if the host has it not)",
		set_cidr6, AT(config.net)},
	{0, "mtu", "BYTES", "MTU of the TAP (65520)", set_mtu, AT(config.net.mtu)},
	{0, "dns", "ADDR", "name server to ask instead of the host's", set_dns,
		AT(config.dns_override)},
	{0, "no-dns", NULL, "no name server, leave /etc/resolv.conf alone", option_set_false,
		AT(config.net.has_dns)},
	{0, "outbound-addr", "ADDR", "source address of outbound connections", set_outbound_addr,
		AT(config.net)},
	{0, "no-ipv6", NULL, "IPv4 only on the TAP", option_set_false, AT(config.net.has_ipv6)},
	{0, "pcap", "FILE", "write the frames on the TAP to FILE", set_pcap, AT(config.pcap_path)},
	{0, "root", NULL, "uid 0 inside, with the namespace's capabilities", option_set_true,
		AT(config.is_root)},
	{0, "pid", NULL, "own PID namespace and /proc", option_set_true, AT(config.has_pid_ns)},
	{0, "new-session", NULL, "own session: no way to type into the caller's terminal",
		option_set_true, AT(config.new_session)},
	{0, "wait-all", NULL, "end with the last process inside, not with COMMAND", option_set_true,
		AT(config.waits_all)},
	{0, "jupyterhub", NULL,
		"COMMAND is a server of JupyterHub: -p, -R and --only-user as the hub's variables say",
		option_set_true, AT(is_jupyterhub)},
	{'C', "chdir", "DIR", "start COMMAND in DIR", set_chdir, AT(config.chdir)},
	{'e', "env", "VARIABLE[=VALUE]", "set a variable for COMMAND", env_set, AT(env)},
	{0, "unset-env", "VARIABLE", "take a variable away from COMMAND", env_unset, AT(env)},
	{'c', "shell-command", "COMMAND", "run COMMAND with sh -c", option_set_text,
		AT(shell_command)},
	{'t', "stop-timeout", "SECONDS", "SIGKILL so long after SIGTERM (10; with agent: 0.5)",
		set_stop_timeout, 0},
	{0, "unattended", "SECONDS", "end when nobody was in it (exec, agents) for so long",
		option_set_seconds, AT(config.unattended_ms)},
	{0, "ready-fd", "N", "write READY=1 to descriptor N once the first guest port listens",
		set_told_fd, AT(config.ready_fd)},
	{0, "sdnotify", "auto|command|port|none",
		"who tells a service manager (NOTIFY_SOCKET) READY=1: port (the first guest port that listens), "
		"command, auto (the default: who is first) or none",
		set_sdnotify, 0},
	{0, "info-fd", "N", "write a JSON object an event to descriptor N", set_told_fd,
		AT(config.info_fd)},
	{0, "alive-fd", "N", "end, as by SIGTERM, when the other end of descriptor N is closed",
		set_fd, AT(config.alive_fd)},
	{0, "log-fd", "N", "write what nswrap says to descriptor N, not to stderr", set_log_fd,
		AT(log_fd)},
	{0, "keep-fd", "N", "leave descriptor N open in COMMAND", set_keep_fd, 0},
	{0, "listen-fd", "NAME",
		"give COMMAND the sockets of that name, or descriptor NAME, of LISTEN_FDS as its own",
		systemd_set_listen_fd, 0},
	{0, "no-config", NULL, "without the options of ~/.config/nswrap/config and NSWRAP_OPTIONS",
		option_set_true, AT(no_config)},
	{'q', "quiet", NULL, "say only what went wrong", cmd_set_quiet, AT(verbosity)},
	{'v', "verbose", NULL, "say more; repeatable", cmd_set_verbose, AT(verbosity)},
	{.name = NULL},
};
