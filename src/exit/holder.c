/* SPDX-License-Identifier: Apache-2.0 */
/* exit/holder - the process that stays in the mesh's namespace, "nswrap: stack" */
#include "exit/holder.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn/door.h"
#include "net/diag.h"
#include "net/netdev.h"
#include "net/tap.h"
#include "proc/job.h"
#include "proc/ns.h"
#include "proc/rights.h"
#include "util/fd.h"
#include "util/log.h"

#define NAME_BYTES 16
#define TURN_TABLE 0x6e7300 /* and the number of the device */
#define EXIT_TABLE 100
#define NAMES      10 /* mesh0..mesh9: so many agents may be in one sandbox */

struct holder {
	int control, door, nl, ifindex;
	bool is_new;      /* the network namespace is nobody else's */
	bool has_user_ns; /* and so is the user namespace, in which these become root */
	uid_t uid;
	gid_t gid;
	struct in_addr self;   /* 0: none yet */
	struct in_addr turned; /* the one whose packets come back; 0: none */
	int number;            /* of the device */
	bool is_exit;          /* what comes in for others' addresses is delivered here */
	char name[NAME_BYTES];
};

/* --- set-up ------------------------------------------------------------------------------- */

struct sysctl_row {
	const char *key, *value;
	bool is_for_new; /* only where nobody but us is */
};

static const struct sysctl_row rows[] = {
	{"ipv4/ip_unprivileged_port_start", "0\n", true},
	{"core/somaxconn", "4096\n", true},
	/*
	 * 1 Gbit/s at 50 ms is 6 MiB under way, and part of a buffer is for the kernel's own use:
	 * one flow fills such a link with 12 MiB, and 87 % of it with 8. The rest is for links that
	 * are longer or faster still; what is not used costs nothing.
	 */
	{"ipv4/tcp_rmem", "4096 131072 67108864\n", false},
	{"ipv4/tcp_wmem", "4096 16384 67108864\n", false},
	/* after a pause a flow goes on as fast as it was */
	{"ipv4/tcp_slow_start_after_idle", "0\n", false},
	/* addresses of 127.0.0.0/8 come in through the device; the other way to lo is the usual */
	{"ipv4/conf/all/rp_filter", "0\n", false},
	{"ipv4/conf/all/route_localnet", "1\n", false},
};

/* Wishes: in many containers /proc/sys is read-only, and older kernels keep some for root. */
static void set_sysctls(bool is_new)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct sysctl_row *row = &rows[i];
		int result =
			is_new || !row->is_for_new ? netdev_write_sysctl(row->key, row->value) : 0;

		if (result < 0)
			log_info("cannot set %s to %.*s: %s", row->key,
				(int)strcspn(row->value, "\n"), row->value, strerror(-result));
	}
}

/* The first name that is free. Returns the device's descriptor, or -errno with @err filled. */
static int open_device(struct holder *holder, struct err *err)
{
	int fd = -EBUSY;

	for (int i = 0; i < NAMES && fd == -EBUSY; i++) {
		snprintf(holder->name, NAME_BYTES, "mesh%d", i);
		fd = tap_open_tun(holder->name, err);
		holder->number = i;
	}
	return fd;
}

static int set_up_device(struct holder *holder, struct err *err)
{
	const char *name = holder->name;

	holder->ifindex = netdev_index(holder->nl, name);
	if (holder->ifindex < 0)
		return err_sys(err, -holder->ifindex, "cannot find %s", name);
	/* the mesh is IPv4: without an address the kernel does not ask for routers there */
	netdev_set_addrgen_none(holder->nl, holder->ifindex);
	netdev_write_conf(AF_INET6, name, "disable_ipv6", 1);
	netdev_write_conf(AF_INET, name, "rp_filter", 0);
	int result = netdev_set_route_localnet(holder->nl, holder->ifindex);
	if (result < 0)
		result = netdev_write_conf(AF_INET, name, "route_localnet", 1);
	if (result < 0)
		log_info("addresses of 127.0.0.0/8 cannot be used: %s", strerror(-result));
	result = netdev_set_up(holder->nl, holder->ifindex, STACK_MTU);
	return result < 0 ? err_sys(err, -result, "cannot set up %s", name) : 0;
}

/* Returns the TUN device's descriptor, or -errno with @err filled. */
static int set_up(struct holder *holder, struct err *err)
{
	holder->nl = netdev_open();
	if (holder->nl < 0)
		return err_sys(err, -holder->nl, "cannot open a netlink socket");
	if (holder->is_new) {
		int result = netdev_set_up(holder->nl, netdev_index(holder->nl, "lo"), 0);
		if (result < 0)
			return err_sys(err, -result, "cannot bring up the loopback device inside");
	}
	set_sysctls(holder->is_new);
	_cleanup_fd_ int tun = open_device(holder, err);
	if (tun < 0)
		return tun;
	if (holder->is_new)
		tap_leave_to_namespace(tun);
	int result = set_up_device(holder, err);
	return result < 0 ? result : fd_take(&tun);
}

/* --- at work ------------------------------------------------------------------------------ */

static int set_self(struct holder *holder, struct in_addr vip)
{
	if (holder->self.s_addr == vip.s_addr)
		return 0;
	int result = netdev_add_addr(holder->nl, holder->ifindex, AF_INET, &vip, 32);
	if (result < 0)
		return result;
	if (holder->self.s_addr) {
		netdev_del_addr(holder->nl, holder->ifindex, AF_INET, &holder->self, 32);
		/*
		 * Peers' routes send from the old one, and for an address of 127.0.0.0/8, which lo
		 * has as well, they would stay.
		 */
		netdev_set_down(holder->nl, holder->ifindex);
		result = netdev_set_up(holder->nl, holder->ifindex, 0);
	}
	holder->self = vip;
	return result;
}

static int change_peer(struct holder *holder, enum stack_change change, struct in_addr vip)
{
	struct netdev_route route = {
		.family = AF_INET,
		.dst = &vip,
		.prefix_len = 32,
		.source = holder->self.s_addr ? &holder->self : NULL,
		.table = RT_TABLE_LOCAL,
	};

	if (change == STACK_ADD_PEER)
		return netdev_add_route(holder->nl, holder->ifindex, &route);
	int result = netdev_del_route(holder->nl, holder->ifindex, &route);
	return result == -ESRCH ? -ENOENT : result;
}

/*
 * What a program sends to the own address never leaves the kernel, as the table "local" is asked
 * first. So that is asked a little later, and before it a rule for programs alone ("lo" stands for
 * them, fib_rules(7) of iproute2: ip-rule(8)) leads to the device. What comes in through that is
 * not of theirs, and local as ever. The rules stay when the agent goes, and lead nowhere then.
 */
static int turn(struct holder *holder, struct in_addr vip)
{
	const int table = TURN_TABLE + holder->number;
	const struct netdev_rule first = {.priority = 0, .table = RT_TABLE_LOCAL},
				 second = {.priority = 2, .table = RT_TABLE_LOCAL},
				 own = {.priority = 1, .table = table, .dst = &vip, .iif = "lo"},
				 old = {.priority = 1,
					 .table = table,
					 .dst = &holder->turned,
					 .iif = "lo"};
	const struct netdev_route route = {
		.family = AF_INET, .dst = &vip, .prefix_len = 32, .source = &vip, .table = table};

	if (holder->turned.s_addr != 0 && holder->turned.s_addr != vip.s_addr)
		netdev_del_rule(holder->nl, &old);
	holder->turned = (struct in_addr){0};
	netdev_write_conf(AF_INET, holder->name, "accept_local", 1); /* from 127.0.0.1, too */
	int result = netdev_add_route(holder->nl, holder->ifindex, &route);
	if (result == 0 || result == -EEXIST)
		result = netdev_add_rule(holder->nl, &own);
	if (result == 0 || result == -EEXIST)
		result = netdev_add_rule(holder->nl, &second);
	if (result == 0 || result == -EEXIST)
		result = netdev_del_rule(holder->nl, &first);
	if (result < 0 && result != -ENOENT) {
		netdev_del_rule(holder->nl, &own);
		return result;
	}
	holder->turned = vip;
	return 0;
}

static int open_aliases(struct holder *holder, struct in_addr vip, bool turns)
{
	const struct in_addr net = {
		htonl(HOLDER_ALIAS_NET | (uint32_t)holder->number << HOLDER_ALIAS_SHIFT)};
	const struct netdev_route route = {.family = AF_INET,
		.dst = &net,
		.prefix_len = HOLDER_ALIAS_SHIFT,
		.source = &vip,
		.table = RT_TABLE_MAIN};
	int result = netdev_add_route(holder->nl, holder->ifindex, &route);

	if (result < 0 && result != -EEXIST)
		return result;
	return holder->number | (turns && turn(holder, vip) == 0 ? HOLDER_TURNS : 0);
}

static int change_route(struct holder *holder, bool is_added, struct in_addr net, int prefix_len)
{
	const struct netdev_route route = {
		.family = AF_INET,
		.dst = &net,
		.prefix_len = prefix_len,
		.source = &holder->self,
		.table = RT_TABLE_MAIN,
	};

	if (prefix_len < 0 || prefix_len > 32 || !holder->self.s_addr)
		return -EINVAL;
	return is_added ? netdev_add_route(holder->nl, holder->ifindex, &route)
			: netdev_del_route(holder->nl, holder->ifindex, &route);
}

/*
 * Every address is local for what comes from the mesh, and for nothing else: in the table "local"
 * itself, answers would never leave. VIPs, which are in that, come first.
 */
static int become_exit(struct holder *holder)
{
	const struct netdev_rule rule = {.priority = 100, .table = EXIT_TABLE, .iif = holder->name};
	const struct netdev_route route = {
		.family = AF_INET, .table = EXIT_TABLE, .is_local = true};
	int result = holder->is_exit  ? 0
		     : holder->is_new ? netdev_add_rule(holder->nl, &rule)
				      : -EPERM;

	if (!holder->is_exit && (result == 0 || result == -EEXIST))
		result = netdev_add_route(holder->nl, netdev_index(holder->nl, "lo"), &route);
	holder->is_exit = result == 0 || result == -EEXIST;
	return holder->is_exit ? 0 : result;
}

/* A socket whose answers leave from addresses that are nobody's here, or -errno. */
static int open_transparent(void)
{
	_cleanup_fd_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0 || setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof(on)) < 0)
		return -errno;
	return fd_take(&fd);
}

/* Returns what the answer says; *@fd is to go along, and closed. */
static int perform(struct holder *holder, struct holder_request *request, int *fd)
{
	int result;

	switch (request->op) {
	case STACK_SET_SELF:
		return set_self(holder, request->vip);
	case STACK_ADD_PEER:
	case STACK_DEL_PEER:
		return change_peer(holder, request->op, request->vip);
	case HOLDER_OPEN_ALIASES:
		return open_aliases(holder, request->vip, request->turns);
	case HOLDER_ADD_ROUTE:
	case HOLDER_DEL_ROUTE:
		return change_route(
			holder, request->op == HOLDER_ADD_ROUTE, request->vip, request->prefix_len);
	case HOLDER_OPEN_EXIT:
		result = become_exit(holder);
		*fd = result < 0 ? result : open_transparent();
		return *fd < 0 ? *fd : 0;
	case HOLDER_RESERVE_PORTS:
		request->ports[STACK_PORTS_BYTES - 1] = '\0';
		return netdev_write_sysctl("ipv4/ip_local_reserved_ports", request->ports);
	default:
		return -EINVAL;
	}
}

/* Returns 0, or -errno at the end of the agent. */
static int serve_request(struct holder *holder)
{
	struct holder_request request;
	struct holder_answer answer = {0};
	_cleanup_fd_ int fd = -1;
	int result = fd_recv_one(holder->control, &request, sizeof(request), NULL);

	if (result < 0)
		return result;
	answer.result = perform(holder, &request, &fd);
	return fd_send_one(holder->control, &answer, sizeof(answer), fd < 0 ? -1 : fd);
}

static void serve(struct holder *holder)
{
	struct pollfd ends[] = {{holder->control, POLLIN, 0}, {holder->door, POLLIN, 0}};

	for (;;) {
		int result = 0;

		if (poll(ends, 2, -1) < 0) {
			if (errno != EINTR)
				return;
			continue; /* revents say nothing now */
		}
		if (ends[0].revents && serve_request(holder) < 0)
			return;
		if (ends[1].revents)
			result = door_serve(holder->door, NULL);
		if (result < 0 && result != -EAGAIN)
			return;
	}
}

static void __attribute__((noreturn)) run(struct holder *holder)
{
	int keep[] = {holder->control, holder->door};
	struct holder_answer answer = {0};
	int tun = -1;

	prctl(PR_SET_NAME, "nswrap: stack");
	setsid(); /* signals to the agent's group are not for us */
	job_leave_streams();
	int result = rights_keep_fds(keep, 2);
	if (result < 0)
		err_sys(&answer.err, -result, "cannot close descriptors");
	if (result == 0 && holder->has_user_ns)
		result = ns_map_ids(holder->uid, holder->gid, 0, &answer.err);
	if (result == 0)
		result = tun = set_up(holder, &answer.err);
	if (result >= 0) {
		result = rights_keep_net_admin();
		if (result == 0)
			result = rights_hide();
		if (result < 0)
			err_sys(&answer.err, -result, "cannot drop the rights of the stack");
	}
	/* after the change of credentials, which clears it, prctl(2) */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	answer.result = result < 0 ? result : holder->ifindex;
	if (fd_send_one(holder->control, &answer, sizeof(answer), tun) < 0 || result < 0)
		_exit(125);
	_cleanup_fd_ int diag = diag_open();
	if (fd_send_one(holder->control, &answer, sizeof(answer), diag < 0 ? -1 : diag) < 0)
		_exit(125);
	fd_close(&diag);
	fd_close(&tun);                     /* the device lives and dies with the agent */
	dup2(STDOUT_FILENO, STDERR_FILENO); /* nothing of the caller's: it is null by now */
	serve(holder);
	_exit(0);
}

pid_t holder_start(bool is_new, int control, int door, struct err *err)
{
	struct holder holder = {
		.control = control,
		.door = door,
		.is_new = is_new,
		.has_user_ns = is_new,
		.uid = geteuid(),
		.gid = getegid(),
	};
	struct err second;

	pid_t pid = ns_fork(is_new ? CLONE_NEWUSER | CLONE_NEWNET : 0, err);
	if (pid < 0 && is_new) {
		/*
		 * Root of a container, or of a host, may make a network namespace where user
		 * namespaces are refused: as its own.
		 */
		holder.has_user_ns = false;
		pid = ns_fork(CLONE_NEWNET, &second);
	}
	if (pid == 0)
		run(&holder);
	return pid < 0 ? -err->code : pid;
}
