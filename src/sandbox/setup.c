/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/setup - make fresh namespaces into a place to work in */
#include "sandbox/setup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/diag.h"
#include "net/netdev.h"
#include "net/tap.h"
#include "sandbox/carry.h"
#include "sandbox/notifyrelay.h"
#include "sandbox/view.h"
#include "util/addr.h"
#include "util/fd.h"
#include "util/log.h"

#define PORT_DNS    53
#define DNS_BACKLOG 128

/* --- network ------------------------------------------------------------------------------ */

/* Sysctls of the namespace are wishes: in many containers /proc/sys is read-only. */
static void set_sysctl(const char *key, const char *value)
{
	int result = netdev_write_sysctl(key, value);

	if (result < 0)
		log_info("cannot set /proc/sys/net/%s to %s: %s", key, value, strerror(-result));
}

static void set_sysctls(const struct init_start *start)
{
	char groups[64];
	gid_t gid = start->config->is_root ? 0 : getgid();

	/* nobody outside can reach these ports, so there is nothing to protect below 1024 */
	set_sysctl("ipv4/ip_unprivileged_port_start", "0");
	snprintf(groups, sizeof(groups), "%u %u", gid, gid);
	set_sysctl("ipv4/ping_group_range", groups);
	/* connect(2) is to give up when the host's would */
	if (start->syn_retries[0] != '\0')
		set_sysctl("ipv4/tcp_syn_retries", start->syn_retries);
	if (start->syn_linear_timeouts[0] != '\0') /* Linux 6.5 */
		set_sysctl("ipv4/tcp_syn_linear_timeouts", start->syn_linear_timeouts);
}

static int setup_addresses(const struct net_plan *plan, int nl, int tap, struct err *err)
{
	/* no automatic addresses: the plan's are there at once and the only ones */
	netdev_set_addrgen_none(nl, tap);
	netdev_write_conf(AF_INET6, NET_TAP_NAME, "accept_ra", 0);
	int result = netdev_set_up(nl, tap, plan->mtu);
	if (result == 0)
		result = netdev_add_addr(nl, tap, AF_INET, &plan->guest, plan->prefix_len);
	if (result == 0)
		result = netdev_add_default_route(nl, tap, AF_INET, &plan->host);
	if (result < 0)
		return err_sys(err, -result, "cannot set up IPv4 on %s", NET_TAP_NAME);
	/* answers of servers on 127.0.0.1 to the slirp port driver leave through the TAP */
	if (netdev_set_route_localnet(nl, tap) < 0)
		netdev_write_conf(AF_INET, NET_TAP_NAME, "route_localnet", 1);
	if (!plan->has_ipv6)
		return 0;
	result = netdev_add_addr(nl, tap, AF_INET6, &plan->link6, plan->prefix6_len);
	if (result == 0)
		result = netdev_add_addr(nl, tap, AF_INET6, &plan->guest6, plan->prefix6_len);
	if (result == 0)
		result = netdev_add_default_route(nl, tap, AF_INET6, &plan->host6);
	if (result < 0)
		log_info("no IPv6 inside: %s", strerror(-result));
	return 0;
}

/* A netlink socket, and the loopback device is up. Returns the socket, or -errno. */
static int open_network(struct err *err)
{
	_cleanup_fd_ int nl = netdev_open();
	if (nl < 0)
		return err_sys(err, -nl, "cannot open a netlink socket");
	int result = netdev_set_up(nl, netdev_index(nl, "lo"), 0);
	if (result < 0)
		return err_sys(err, -result, "cannot bring up the loopback device inside");
	return fd_take(&nl);
}

/*
 * Have the kernel carry outbound TCP, if it is to and there is a TAP, and clients of forwards in
 * any case. @why: what keeps it from the first; code 0: nothing.
 */
static void setup_carry(const struct net_plan *plan, int nl, int tap, int fds[INIT_FDS],
	struct door_mints *mints, struct err *why)
{
	static const int families[] = {AF_INET, AF_INET6};
	int *const mint_of[] = {&mints->mint4, &mints->mint6};

	for (size_t i = 0; i < 2 && plan->carrier != PLAN_CARRIER_SLIRP; i++) {
		const bool leaves = plan->has_outbound && (i == 0 || plan->has_ipv6);
		const int device = leaves ? tap : netdev_index(nl, "lo");
		struct err no = {0};

		*mint_of[i] = carry_keep_clients(families[i], nl, device, &no);
		if (leaves && *mint_of[i] >= 0)
			fds[INIT_FD_OUT4 + i] = carry_set_up(plan, families[i], nl, tap, &no);
		if (no.code)
			log_info("%s IPv%d connections: %s",
				leaves ? "libslirp carries outbound"
				       : "the guest does not see who begins",
				i == 0 ? 4 : 6, no.text);
		if (no.code && leaves)
			*why = no;
	}
}

/* @why as above. */
static int setup_network(const struct net_plan *plan, int fds[INIT_FDS], struct door_mints *mints,
	struct err *why, struct err *err)
{
	_cleanup_fd_ int nl = open_network(err);
	if (nl < 0)
		return nl;
	if (!plan->has_outbound) {
		setup_carry(plan, nl, -1, fds, mints, why);
		return 0;
	}
	_cleanup_fd_ int fd = tap_open(NET_TAP_NAME, true, err);
	if (fd < 0)
		return fd;
	tap_leave_to_namespace(fd);
	int index = netdev_index(nl, NET_TAP_NAME);
	if (index < 0)
		return err_sys(err, -index, "cannot find %s", NET_TAP_NAME);
	int result = setup_addresses(plan, nl, index, err);
	if (result < 0)
		return result;
	setup_carry(plan, nl, index, fds, mints, why);
	if (why->code && plan->carrier == PLAN_CARRIER_KERNEL)
		return err_set(err, why->code,
			"--outbound kernel cannot be had: %s; auto takes slirp then", why->text);
	fds[INIT_FD_TAP] = fd_take(&fd);
	return 0;
}

/* A default route is in two halves: beside a TAP there is one already, and the longer ones win. */
static int add_via_route(const struct entrance_net *net, bool has_tap, int nl, int tun)
{
	const struct in_addr self = {htonl(ENTRANCE_ADDRESS)};
	const bool is_four = entrance_net_is_four(net);
	struct in6_addr self6, dst = net->ip;
	struct netdev_route route = {.family = is_four ? AF_INET : AF_INET6,
		.dst = is_four ? (const void *)&dst.s6_addr[12] : (const void *)&dst,
		.prefix_len = net->prefix_len - (is_four ? 96 : 0),
		.source = is_four ? (const void *)&self : (const void *)&self6,
		.table = RT_TABLE_MAIN};

	inet_pton(AF_INET6, ENTRANCE_ADDRESS6, &self6);
	if (!has_tap || route.prefix_len > 0)
		return netdev_add_route(nl, tun, &route);
	route.prefix_len = 1;
	int result = netdev_add_route(nl, tun, &route);
	dst.s6_addr[is_four ? 12 : 0] = 0x80;
	return result < 0 ? result : netdev_add_route(nl, tun, &route);
}

/* What goes through a link to an exit: all, or some networks. */
static int add_via_routes(const struct sandbox_via *via, int nl, int tun, bool has_ipv6)
{
	static const struct entrance_net all[] = {
		{{.s6_addr = {[10] = 0xff, 0xff}}, 96}, {IN6ADDR_ANY_INIT, 0}};
	const struct in_addr self = {htonl(ENTRANCE_ADDRESS)}, dns = {htonl(HELLO_DNS_ADDRESS)};
	const struct netdev_route resolver = {.family = AF_INET,
		.dst = &dns,
		.prefix_len = 32,
		.source = &self,
		.table = RT_TABLE_MAIN};
	const struct entrance_net *nets = via->nnets > 0 ? via->nets : all;
	const size_t count = via->nnets > 0 ? via->nnets : 2;
	int result = netdev_add_addr(nl, tun, AF_INET, &self, 32);
	struct in6_addr self6;

	inet_pton(AF_INET6, ENTRANCE_ADDRESS6, &self6);
	if (result == 0 && via->has_dns)
		result = netdev_add_route(nl, tun, &resolver);
	if (result == 0 && has_ipv6 && netdev_add_addr(nl, tun, AF_INET6, &self6, 128) < 0)
		has_ipv6 = false;
	for (size_t i = 0; result == 0 && i < count; i++)
		if (entrance_net_is_four(&nets[i]) || has_ipv6)
			result = add_via_route(&nets[i], via->nnets > 0, nl, tun);
	return result;
}

static int setup_via(const struct sandbox_config *config, int *tun_fd, struct err *err)
{
	static const char *const sysctls[][2] = {
		/* as in exit/holder */
		{"ipv4/tcp_rmem", "4096 131072 67108864\n"},
		{"ipv4/tcp_wmem", "4096 16384 67108864\n"},
		{"ipv4/tcp_slow_start_after_idle", "0\n"},
	};
	const struct sandbox_via *via = &config->via;

	if (!via->is_on)
		return 0;
	_cleanup_fd_ int nl = netdev_open();
	if (nl < 0)
		return err_sys(err, -nl, "cannot open a netlink socket");
	_cleanup_fd_ int fd = tap_open_tun(SETUP_VIA_NAME, err);
	if (fd < 0)
		return fd;
	tap_leave_to_namespace(fd);
	int tun = netdev_index(nl, SETUP_VIA_NAME);
	if (tun < 0)
		return err_sys(err, -tun, "cannot find %s", SETUP_VIA_NAME);
	for (size_t i = 0; i < sizeof(sysctls) / sizeof(sysctls[0]); i++)
		set_sysctl(sysctls[i][0], sysctls[i][1]);
	netdev_set_addrgen_none(nl, tun);
	netdev_write_conf(AF_INET6, SETUP_VIA_NAME, "accept_ra", 0);
	netdev_write_conf(AF_INET, SETUP_VIA_NAME, "rp_filter", 0);
	int result = netdev_set_up(nl, tun, via->mtu);
	if (result == 0)
		result = add_via_routes(via, nl, tun, config->net.has_ipv6);
	if (result < 0)
		return err_sys(err, -result, "cannot set up %s", SETUP_VIA_NAME);
	*tun_fd = fd_take(&fd);
	return 0;
}

/* A socket at @addr, whose port is chosen if it is 0; it listens if it is TCP. Or -errno. */
static int open_bound(const struct addr *addr, enum proto proto)
{
	int type = addr_proto_type(proto) | SOCK_NONBLOCK | SOCK_CLOEXEC, one = 1;
	_cleanup_fd_ int fd = socket(addr->family, type, 0);

	/* on loopback: a server of COMMAND that has all addresses may say so, too */
	if (fd < 0 ||
		(addr_port(addr) &&
			setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0) ||
		bind(fd, &addr->any, addr_len(addr)) < 0 ||
		(proto == PROTO_TCP && listen(fd, DNS_BACKLOG) < 0))
		return -errno;
	return fd_take(&fd);
}

/* Where the name server is asked (sandbox/netnames). */
static int open_dns(const struct net_plan *plan, int fds[INIT_FDS], struct err *err)
{
	struct addr addr = addr_of4(plan->guest, 0);

	if (!plan->has_dns)
		return 0;
	if (!plan->has_outbound) {
		_cleanup_fd_ int nl = netdev_open();

		addr = addr_of4(plan->dns, PORT_DNS);
		netdev_add_addr(nl, netdev_index(nl, "lo"), AF_INET, &plan->dns, 32);
	}
	fds[INIT_FD_DNS_UDP] = open_bound(&addr, PROTO_UDP);
	fds[INIT_FD_DNS_TCP] = open_bound(&addr, PROTO_TCP);
	for (size_t i = INIT_FD_DNS_UDP; i <= INIT_FD_DNS_TCP; i++)
		if (fds[i] < 0)
			return err_sys(err, -fds[i], "cannot open a socket for the name server");
	return 0;
}

static int open_namespaces(int fds[INIT_FDS], struct err *err)
{
	static const char *const paths[] = {
		[INIT_FD_USER] = "/proc/self/ns/user",
		[INIT_FD_NET] = "/proc/self/ns/net",
		[INIT_FD_MNT] = "/proc/self/ns/mnt",
		[INIT_FD_PID] = "/proc/self/ns/pid",
		[INIT_FD_IPC] = "/proc/self/ns/ipc",
	};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		fds[i] = open(paths[i], O_RDONLY | O_CLOEXEC);
		if (fds[i] < 0)
			return err_sys(err, errno, "cannot open %s", paths[i]);
	}
	return 0;
}

/* --- both -------------------------------------------------------------------------------- */

/* Half of a start, and neither half needs the other. */
struct files {
	const struct init_start *start;
	pthread_t thread;
	bool is_beside;
	int etc;
	int result;
	struct err err;
};

static void *set_up_files(void *owner)
{
	struct files *files = owner;

	files->result = view_set_up(files->start, &files->etc, &files->err);
	return NULL;
}

static void files_begin(struct files *files)
{
	/* memory of its own would stay with init for as long as that lives */
	mallopt(M_ARENA_MAX, 1);
	/* that of --root goes to another mount namespace, as no thread can (setns(2)) */
	files->is_beside = !files->start->config->is_root &&
			   pthread_create(&files->thread, NULL, set_up_files, files) == 0;
	if (!files->is_beside)
		set_up_files(files);
}

static int files_end(struct files *files, struct err *err)
{
	if (files->is_beside)
		pthread_join(files->thread, NULL);
	if (files->result < 0)
		*err = files->err;
	return files->result;
}

static int setup_devices(const struct init_start *start, int fds[INIT_FDS],
	struct door_mints *mints, struct err *err)
{
	struct err why = {0};

	if (unshare(CLONE_NEWNET) < 0) {
		*err = (struct err){.code = errno};
		return -err->code;
	}
	if (setup_network(&start->config->net, fds, mints, &why, err) < 0 ||
		setup_via(start->config, &fds[INIT_FD_VIA], err) < 0 ||
		open_dns(&start->config->net, fds, err) < 0)
		return -err->code;
	set_sysctls(start);
	return 0;
}

int setup_namespaces(const struct init_start *start, int fds[INIT_FDS], struct door_mints *mints,
	struct confine *confine, struct err *err)
{
	struct files files = {.start = start, .etc = -1};

	*mints = (struct door_mints){-1, -1};
	for (size_t i = 0; i < INIT_FDS; i++)
		fds[i] = -1;
	files_begin(&files);
	int result = setup_devices(start, fds, mints, err);
	/* not where COMMAND may have to wait for a login: keys that come until then count */
	if (result == 0 && !start->config->via.is_on)
		confine_make_filter(confine);
	if (files_end(&files, err) < 0 || result < 0 || open_namespaces(fds, err) < 0)
		return -err->code;
	fds[INIT_FD_ETC] = files.etc;
	if (start->notify_path[0] != '\0') {
		fds[INIT_FD_NOTIFY] = notifyrelay_bind(start->notify_path, err);
		if (fds[INIT_FD_NOTIFY] < 0)
			return fds[INIT_FD_NOTIFY];
	}
	/* without it connections that a new exit does not know are told when they send */
	if (fds[INIT_FD_VIA] >= 0)
		fds[INIT_FD_VIA_LOOK] = diag_open();
	fds[INIT_FD_DIAG] = diag_open();
	fds[INIT_FD_LOOK] = diag_open();
	for (size_t i = INIT_FD_DIAG; i <= INIT_FD_LOOK; i++)
		if (fds[i] < 0)
			return err_sys(err, -fds[i], "cannot open a socket for diagnostics");
	return 0;
}

int setup_try(struct err *err)
{
	if (view_detach(err) < 0)
		return -err->code;
	_cleanup_fd_ int nl = open_network(err);
	return nl < 0 ? nl : 0;
}

int setup_try_carry(struct err *err)
{
	struct net_plan plan;
	struct door_mints mints = {-1, -1};
	struct err why = {0};
	int fds[INIT_FDS];

	for (size_t i = 0; i < INIT_FDS; i++)
		fds[i] = -1;
	plan_init(&plan);
	int result = setup_network(&plan, fds, &mints, &why, err);
	if (result == 0 && why.code) {
		*err = why;
		result = -why.code;
	}
	for (size_t i = 0; i < INIT_FDS; i++)
		fd_close(&fds[i]);
	fd_close(&mints.mint4);
	fd_close(&mints.mint6);
	return result;
}
