/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/run_options - what the options of run say, before it is put together */
#include "cmd/run_options.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "control/registry.h"
#include "util/parse.h"

#define STOP_TIMEOUT_MS 10000
#define WAIT_MS         30000

void run_request_init(struct run_request *request)
{
	*request = (struct run_request){
		.config =
			{
				.bind = addr_loopback4(0),
				.wait_ms = WAIT_MS,
				.stop_timeout_ms = STOP_TIMEOUT_MS,
				.ready_fd = -1,
				.info_fd = -1,
			},
	};
	plan_init(&request->config.net);
	request->config.keep_fds = request->keep_fds;
}

static int append(const char **list, size_t *count, const char *text, struct err *err)
{
	if (*count == RUN_LIST_MAX)
		return err_set(
			err, EINVAL, "given too often: expected at most %d times", RUN_LIST_MAX);
	list[(*count)++] = text;
	return 0;
}

static int add_rule(void *target, const char *option, const char *value, struct err *err)
{
	struct run_request *request = target;

	if (request->nrules == RUN_LIST_MAX)
		return err_set(err, EINVAL, "too many forwards: expected at most %d", RUN_LIST_MAX);
	request->rules[request->nrules++] = (struct rule_text){option, value};
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

static int set_guest_port(void *target, const char *value, struct err *err)
{
	struct run_request *request = target;
	uint16_t port;

	if (parse_port(value, false, &port, err) < 0)
		return -EINVAL;
	return append(request->guest_ports, &request->nguest_ports, value, err);
}

static int set_bind(void *target, const char *value, struct err *err)
{
	return addr_parse(value, &((struct run_request *)target)->config.bind, err);
}

static int set_port_driver(void *target, const char *value, struct err *err)
{
	struct run_request *request = target;
	static const enum forward_driver_choice choices[] = {
		FORWARD_DRIVER_AUTO, FORWARD_DRIVER_SPLICE, FORWARD_DRIVER_SLIRP};

	for (size_t i = 0; i < 3; i++) {
		if (strcmp(value, driver_name(choices[i])) == 0) {
			request->config.driver = choices[i];
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
	struct sandbox_config *config = &((struct run_request *)target)->config;

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

static int set_wait(void *target, const char *value, struct err *err)
{
	return parse_seconds(value, &((struct run_request *)target)->config.wait_ms, err);
}

static int set_stop_timeout(void *target, const char *value, struct err *err)
{
	struct run_request *request = target;

	request->has_stop_timeout = true;
	return parse_seconds(value, &request->config.stop_timeout_ms, err);
}

static int set_name(void *target, const char *value, struct err *err)
{
	((struct run_request *)target)->config.name = value;
	return registry_check_name(REGISTRY_SANDBOX, value, err);
}

static int set_network(void *target, const char *value, struct err *err)
{
	struct net_plan *plan = &((struct run_request *)target)->config.net;

	if (strcmp(value, "outbound") != 0 && strcmp(value, "none") != 0)
		return err_set(
			err, EINVAL, "\"%s\" is no network: expected outbound or none", value);
	plan->has_outbound = strcmp(value, "outbound") == 0;
	return 0;
}

static int set_host_loopback(void *target, const char *value, struct err *err)
{
	(void)value, (void)err;
	((struct run_request *)target)->config.net.allows_host_loopback = true;
	return 0;
}

static int set_cidr(void *target, const char *value, struct err *err)
{
	struct in_addr network;
	int prefix_len;

	if (addr_parse_cidr4(value, &network, &prefix_len, err) < 0)
		return -EINVAL;
	if (prefix_len < 8 || prefix_len > 25)
		return err_set(err, EINVAL,
			"\"%s\" has no room for the guest's number 100: expected a prefix of /8 to /25",
			value);
	plan_set_network(&((struct run_request *)target)->config.net, network, prefix_len);
	return 0;
}

static int set_mtu(void *target, const char *value, struct err *err)
{
	unsigned long mtu;

	if (parse_uint(value, NET_MTU_DEFAULT, &mtu) < 0 || mtu < NET_MTU_MIN)
		return err_set(err, EINVAL, "\"%s\" is no MTU: expected a number from %d to %d",
			value, NET_MTU_MIN, NET_MTU_DEFAULT);
	((struct run_request *)target)->config.net.mtu = (unsigned)mtu;
	return 0;
}

static int set_dns(void *target, const char *value, struct err *err)
{
	struct sandbox_config *config = &((struct run_request *)target)->config;

	return addr_parse(value, &config->dns_override, err);
}

static int set_no_dns(void *target, const char *value, struct err *err)
{
	(void)value, (void)err;
	((struct run_request *)target)->config.net.has_dns = false;
	return 0;
}

/* An address of this host? Asked by binding to it. */
static int check_own_address(const struct addr *addr, const char *text, struct err *err)
{
	int sock = socket(addr->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int result = sock < 0 ? -1 : bind(sock, &addr->any, addr_len(addr));

	if (sock >= 0)
		close(sock);
	return result < 0 ? err_set(err, EINVAL, "%s is no address of this host", text) : 0;
}

static int set_outbound_addr(void *target, const char *value, struct err *err)
{
	struct net_plan *plan = &((struct run_request *)target)->config.net;
	struct addr addr;

	if (addr_parse(value, &addr, err) < 0 || check_own_address(&addr, value, err) < 0)
		return -EINVAL;
	if (addr.family == AF_INET)
		plan->outbound4 = addr;
	else
		plan->outbound6 = addr;
	return 0;
}

static int set_no_ipv6(void *target, const char *value, struct err *err)
{
	(void)value, (void)err;
	((struct run_request *)target)->config.net.has_ipv6 = false;
	return 0;
}

static int set_pcap(void *target, const char *value, struct err *err)
{
	(void)err;
	((struct run_request *)target)->config.pcap_path = value;
	return 0;
}

static int set_root(void *target, const char *value, struct err *err)
{
	(void)value, (void)err;
	((struct run_request *)target)->config.is_root = true;
	return 0;
}

static int set_pid(void *target, const char *value, struct err *err)
{
	(void)value, (void)err;
	((struct run_request *)target)->config.has_pid_ns = true;
	return 0;
}

static int set_new_session(void *target, const char *value, struct err *err)
{
	(void)value, (void)err;
	((struct run_request *)target)->config.new_session = true;
	return 0;
}

static int set_chdir(void *target, const char *value, struct err *err)
{
	struct stat st;

	((struct run_request *)target)->config.chdir = value;
	if (stat(value, &st) < 0)
		return err_sys(err, errno, "cannot change to %s", value);
	return S_ISDIR(st.st_mode) ? 0 : err_set(err, EINVAL, "%s is no directory", value);
}

static int set_env(void *target, const char *value, struct err *err)
{
	return env_changes_set(&((struct run_request *)target)->env, value, err);
}

static int set_unset_env(void *target, const char *value, struct err *err)
{
	return env_changes_unset(&((struct run_request *)target)->env, value, err);
}

static int read_fd(const char *value, int *fd, struct err *err)
{
	unsigned long number;

	if (parse_uint(value, 1UL << 20, &number) < 0)
		return err_set(err, EINVAL, "\"%s\" is no descriptor: expected a number", value);
	*fd = (int)number;
	if (fcntl(*fd, F_GETFD) < 0)
		return err_set(err, EINVAL, "descriptor %d is not open", *fd);
	return 0;
}

static int set_ready_fd(void *target, const char *value, struct err *err)
{
	return read_fd(value, &((struct run_request *)target)->config.ready_fd, err);
}

static int set_info_fd(void *target, const char *value, struct err *err)
{
	return read_fd(value, &((struct run_request *)target)->config.info_fd, err);
}

static int set_keep_fd(void *target, const char *value, struct err *err)
{
	struct run_request *request = target;

	if (request->config.nkeep_fds == RUN_KEEP_FDS_MAX)
		return err_set(
			err, EINVAL, "given too often: expected at most %d", RUN_KEEP_FDS_MAX);
	return read_fd(value, &request->keep_fds[request->config.nkeep_fds++], err);
}

static int set_shell_command(void *target, const char *value, struct err *err)
{
	(void)err;
	((struct run_request *)target)->shell_command = value;
	return 0;
}

static int set_quiet(void *target, const char *value, struct err *err)
{
	(void)value, (void)err;
	((struct run_request *)target)->verbosity = -2;
	return 0;
}

static int set_verbose(void *target, const char *value, struct err *err)
{
	(void)value, (void)err;
	((struct run_request *)target)->verbosity++;
	return 0;
}

const struct option_def run_options[] = {
	{'p', "host-port", "[ADDR:]PORT", "listen there on the host; 0 picks a free port",
		set_host_port},
	{'P', "guest-port", "PORT",
		"lead to this port inside; pairs with -p in order; default: the same number",
		set_guest_port},
	{'f', "forward", "SPEC",
		"[ADDR:]HOST:GUEST[/tcp|/udp], [V6ADDR]:HOST:GUEST, unix:PATH:GUEST, or port ranges "
		"8000-8010:9000-9010",
		set_forward},
	{'b', "bind", "ADDR", "listen address where none is given (127.0.0.1)", set_bind},
	{0, "port-driver", "DRIVER",
		"auto, splice (fastest) or slirp (the guest sees who connects)", set_port_driver},
	{0, "only-user", "[USER,...]",
		"on loopback listeners accept only connections of these users (the caller)",
		set_only_user},
	{0, "wait", "SECONDS",
		"hold connections that come before the guest first listens so long (30); 0: refuse",
		set_wait},
	{'n', "name", "NAME", "name of the sandbox (the command's name and a number)", set_name},
	{0, "network", "KIND", "outbound (default), or none: no way out, forwards still work",
		set_network},
	{0, "host-loopback", NULL, "let 10.0.2.2 reach the host's 127.0.0.1", set_host_loopback},
	{0, "cidr", "NETWORK/LEN", "network inside (10.0.2.0/24)", set_cidr},
	{0, "mtu", "BYTES", "MTU of the TAP (65520)", set_mtu},
	{0, "dns", "ADDR", "name server to ask instead of the host's", set_dns},
	{0, "no-dns", NULL, "no name server, leave /etc/resolv.conf alone", set_no_dns},
	{0, "outbound-addr", "ADDR", "source address of outbound connections", set_outbound_addr},
	{0, "no-ipv6", NULL, "IPv4 only on the TAP", set_no_ipv6},
	{0, "pcap", "FILE", "write the frames on the TAP to FILE", set_pcap},
	{0, "root", NULL, "uid 0 inside, with the namespace's capabilities", set_root},
	{0, "pid", NULL, "own PID namespace and /proc", set_pid},
	{0, "new-session", NULL, "own session: no way to type into the caller's terminal",
		set_new_session},
	{'C', "chdir", "DIR", "start COMMAND in DIR", set_chdir},
	{'e', "env", "NAME[=VALUE]", "set a variable for COMMAND", set_env},
	{0, "unset-env", "NAME", "take a variable away from COMMAND", set_unset_env},
	{'c', "shell-command", "COMMAND", "run COMMAND with sh -c", set_shell_command},
	{'t', "stop-timeout", "SECONDS", "SIGKILL so long after SIGTERM (10; with agent: 0.5)",
		set_stop_timeout},
	{0, "ready-fd", "N", "write READY=1 to descriptor N once the first guest port listens",
		set_ready_fd},
	{0, "info-fd", "N", "write a JSON object an event to descriptor N", set_info_fd},
	{0, "keep-fd", "N", "leave descriptor N open in COMMAND", set_keep_fd},
	{'q', "quiet", NULL, "say only what went wrong", set_quiet},
	{'v', "verbose", NULL, "say more; repeatable", set_verbose},
	{0, NULL, NULL, NULL, NULL},
};
