/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/stack - a network namespace with a TUN device as the agent's TCP/IP stack */
#include "mesh/agent/stack.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conn/door.h"
#include "net/link.h"
#include "net/tap.h"
#include "proc/ns.h"
#include "proc/rights.h"
#include "util/fd.h"
#include "util/log.h"

#define NAME_BYTES 16
#define ANSWER_MS  5000
#define NAMES      10 /* mesh0..mesh9: so many agents may be in one sandbox */

enum stack_op { STACK_SET_SELF, STACK_ADD_PEER, STACK_DEL_PEER, STACK_RESERVE_PORTS };

struct stack_request {
	uint32_t op; /* enum stack_op */
	struct in_addr vip;
	char ports[STACK_PORTS_BYTES];
};

/* The first one comes unasked, with the TUN device if all went well. */
struct stack_answer {
	int32_t result;
	struct err err; /* of the first one */
};

/* Who is mapped into a new user namespace. */
struct stack_owner {
	uid_t uid;
	gid_t gid;
};

/* What the process knows. */
struct served {
	int control, door, nl, ifindex;
	struct in_addr self; /* 0: none yet */
};

/* --- the process: set-up ------------------------------------------------------------------ */

struct sysctl_row {
	const char *key, *value;
};

static const struct sysctl_row new_rows[] = {
	/* nobody but us is in there */
	{"ipv4/ip_unprivileged_port_start", "0\n"},
	{"core/somaxconn", "4096\n"},
};

static const struct sysctl_row rows[] = {
	/*
	 * 1 Gbit/s at 50 ms is 6 MiB under way, and part of a buffer is for the kernel's own use:
	 * one flow fills such a link with 12 MiB, and 87 % of it with 8. The rest is for links that
	 * are longer or faster still; what is not used costs nothing.
	 */
	{"ipv4/tcp_rmem", "4096 131072 67108864\n"},
	{"ipv4/tcp_wmem", "4096 16384 67108864\n"},
	/* after a pause a flow goes on as fast as it was */
	{"ipv4/tcp_slow_start_after_idle", "0\n"},
	/* addresses of 127.0.0.0/8 come in through the device; the other way to lo is the usual */
	{"ipv4/conf/all/rp_filter", "0\n"},
	{"ipv4/conf/all/route_localnet", "1\n"},
};

/* Wishes: in many containers /proc/sys is read-only, and older kernels keep some for root. */
static void set_sysctls(const struct sysctl_row *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int result = link_write_sysctl(list[i].key, list[i].value);

		if (result < 0)
			log_info("cannot set %s to %.*s: %s", list[i].key,
				(int)strcspn(list[i].value, "\n"), list[i].value,
				strerror(-result));
	}
}

/* The first name that is free. Returns the device's descriptor, or -errno with @err filled. */
static int open_device(char name[NAME_BYTES], struct err *err)
{
	int fd = -EBUSY;

	for (int i = 0; i < NAMES && fd == -EBUSY; i++) {
		snprintf(name, NAME_BYTES, "mesh%d", i);
		fd = tap_open_tun(name, err);
	}
	return fd;
}

static int set_up_device(struct served *served, const char *name, struct err *err)
{
	served->ifindex = link_index(served->nl, name);
	if (served->ifindex < 0)
		return err_sys(err, -served->ifindex, "cannot find %s", name);
	/* the mesh is IPv4: without an address the kernel does not ask for routers there */
	link_set_addrgen_none(served->nl, served->ifindex);
	link_write_conf(AF_INET6, name, "disable_ipv6", 1);
	link_write_conf(AF_INET, name, "rp_filter", 0);
	int result = link_set_route_localnet(served->nl, served->ifindex);
	if (result < 0)
		result = link_write_conf(AF_INET, name, "route_localnet", 1);
	if (result < 0)
		log_info("addresses of 127.0.0.0/8 cannot be used: %s", strerror(-result));
	result = link_set_up(served->nl, served->ifindex, STACK_MTU);
	return result < 0 ? err_sys(err, -result, "cannot set up %s", name) : 0;
}

/* Returns the TUN device's descriptor, or -errno with @err filled. */
static int set_up(struct served *served, enum stack_place place, struct err *err)
{
	char name[NAME_BYTES];

	served->nl = link_open();
	if (served->nl < 0)
		return err_sys(err, -served->nl, "cannot open a netlink socket");
	if (place == STACK_NEW) {
		int result = link_set_up(served->nl, link_index(served->nl, "lo"), 0);
		if (result < 0)
			return err_sys(err, -result, "cannot bring up the loopback device inside");
		set_sysctls(new_rows, sizeof(new_rows) / sizeof(new_rows[0]));
	}
	set_sysctls(rows, sizeof(rows) / sizeof(rows[0]));
	_cleanup_fd_ int tun = open_device(name, err);
	if (tun < 0)
		return tun;
	int result = set_up_device(served, name, err);
	return result < 0 ? result : fd_take(&tun);
}

/* --- the process: at work ----------------------------------------------------------------- */

static int set_self(struct served *served, struct in_addr vip)
{
	if (served->self.s_addr == vip.s_addr)
		return 0;
	int result = link_add_addr(served->nl, served->ifindex, AF_INET, &vip, 32);
	if (result < 0)
		return result;
	if (served->self.s_addr) {
		link_del_addr(served->nl, served->ifindex, AF_INET, &served->self, 32);
		/*
		 * Peers' routes send from the old one, and for an address of 127.0.0.0/8, which lo
		 * has as well, they would stay.
		 */
		link_set_down(served->nl, served->ifindex);
		result = link_set_up(served->nl, served->ifindex, 0);
	}
	served->self = vip;
	return result;
}

static int change_peer(struct served *served, enum stack_op op, struct in_addr vip)
{
	struct link_route route = {
		.family = AF_INET,
		.dst = &vip,
		.prefix_len = 32,
		.source = served->self.s_addr ? &served->self : NULL,
		.table = RT_TABLE_LOCAL,
	};

	if (op == STACK_ADD_PEER)
		return link_add_route(served->nl, served->ifindex, &route);
	int result = link_del_route(served->nl, served->ifindex, &route);
	return result == -ESRCH ? -ENOENT : result;
}

static int perform(struct served *served, struct stack_request *request)
{
	switch (request->op) {
	case STACK_SET_SELF:
		return set_self(served, request->vip);
	case STACK_ADD_PEER:
	case STACK_DEL_PEER:
		return change_peer(served, request->op, request->vip);
	case STACK_RESERVE_PORTS:
		request->ports[STACK_PORTS_BYTES - 1] = '\0';
		return link_write_sysctl("ipv4/ip_local_reserved_ports", request->ports);
	default:
		return -EINVAL;
	}
}

/* Returns 0, or -errno at the end of the agent. */
static int serve_request(struct served *served)
{
	struct stack_request request;
	struct stack_answer answer = {0};
	ssize_t got = fd_recv(served->control, &request, sizeof(request), NULL, 0, NULL);

	if (got != sizeof(request))
		return got < 0 ? (int)got : -EPIPE;
	answer.result = perform(served, &request);
	ssize_t sent = fd_send(served->control, &answer, sizeof(answer), NULL, 0);
	return sent < 0 ? (int)sent : 0;
}

static void serve(struct served *served)
{
	struct pollfd ends[] = {{served->control, POLLIN, 0}, {served->door, POLLIN, 0}};

	for (;;) {
		int result = 0;

		if (poll(ends, 2, -1) < 0) {
			if (errno != EINTR)
				return;
			continue; /* revents say nothing now */
		}
		if (ends[0].revents && serve_request(served) < 0)
			return;
		if (ends[1].revents)
			result = door_serve(served->door);
		if (result < 0 && result != -EAGAIN)
			return;
	}
}

static void redirect_streams(void)
{
	_cleanup_fd_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
}

__attribute__((noreturn)) static void stack_main(
	struct served *served, enum stack_place place, const struct stack_owner *owner)
{
	int keep[] = {served->control, served->door};
	struct stack_answer answer = {0};
	int tun = -1;

	prctl(PR_SET_NAME, "nswrap: stack");
	setsid(); /* signals to the agent's group are not for us */
	redirect_streams();
	int result = rights_keep_fds(keep, 2);
	if (result < 0)
		err_sys(&answer.err, -result, "cannot close descriptors");
	if (result == 0 && owner)
		result = ns_map_ids(owner->uid, owner->gid, 0, &answer.err);
	if (result == 0)
		result = tun = set_up(served, place, &answer.err);
	if (result >= 0) {
		result = rights_keep_net_admin();
		if (result == 0)
			result = rights_hide();
		if (result < 0)
			err_sys(&answer.err, -result, "cannot drop the rights of the stack");
	}
	/* after the change of credentials, which clears it, prctl(2) */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	answer.result = result < 0 ? result : 0;
	if (fd_send(served->control, &answer, sizeof(answer), &tun, tun >= 0 ? 1 : 0) < 0 ||
		result < 0)
		_exit(125);
	fd_close(&tun); /* the device lives and dies with the agent */
	serve(served);
	_exit(0);
}

/* --- the agent's side --------------------------------------------------------------------- */

/* Both ends of a pair; the first one is ours. */
static int make_pair(int flags, int ends[2], struct err *err)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0, ends) == 0)
		return 0;
	ends[0] = ends[1] = -1;
	return err_sys(err, errno, "cannot make a socket pair");
}

/* The stack's first words. */
static int await_ready(struct stack *stack, struct err *err)
{
	struct stack_answer answer;
	size_t nfds = 0;
	ssize_t got = fd_recv(stack->control, &answer, sizeof(answer), &stack->tun, 1, &nfds);

	if (got == sizeof(answer) && answer.result < 0)
		return err_set(err, answer.err.code, "%s", answer.err.text);
	if (got != sizeof(answer) || nfds != 1)
		return err_set(err, ECHILD, "the process that sets it up ended at once");
	return 0;
}

/*
 * Root of a container, or of a host, may make a network namespace where user namespaces are
 * refused: as its own.
 */
static pid_t fork_stack(enum stack_place place, bool *has_user_ns, struct err *err)
{
	struct err second;

	*has_user_ns = place == STACK_NEW;
	if (place == STACK_HERE)
		return ns_fork(0, err);
	pid_t pid = ns_fork(CLONE_NEWUSER | CLONE_NEWNET, err);
	if (pid >= 0)
		return pid;
	*has_user_ns = false;
	pid = ns_fork(CLONE_NEWNET, &second);
	return pid >= 0 ? pid : -err->code;
}

static int start(enum stack_place place, struct stack *out, struct err *err)
{
	int control[2], door[2] = {-1, -1};
	const struct stack_owner owner = {geteuid(), getegid()};
	bool has_user_ns = false;
	int result = make_pair(0, control, err);

	if (result == 0)
		result = make_pair(SOCK_NONBLOCK, door, err);
	*out = (struct stack){.tun = -1, .door = door[0], .control = control[0]};
	if (result == 0) {
		out->pid = fork_stack(place, &has_user_ns, err);
		result = out->pid < 0 ? -err->code : 0;
	}
	if (result == 0 && out->pid == 0) {
		struct served served = {.control = control[1], .door = door[1]};

		stack_main(&served, place, has_user_ns ? &owner : NULL);
	}
	fd_close(&control[1]);
	fd_close(&door[1]);
	return result < 0 ? result : await_ready(out, err);
}

int stack_start(enum stack_place place, struct stack *out, struct err *err)
{
	struct err reason = {0};

	if (start(place, out, &reason) == 0)
		return 0;
	fd_close(&out->tun);
	fd_close(&out->door);
	fd_close(&out->control);
	if (out->pid > 0)
		waitpid(out->pid, NULL, 0);
	out->pid = 0;
	return err_set(err, reason.code, "no network for the mesh: %s; `nswrap doctor` says more",
		reason.text);
}

void stack_stop(struct stack *stack)
{
	if (stack->pid <= 0)
		return;
	fd_close(&stack->tun);
	fd_close(&stack->door);
	fd_close(&stack->control);
	/* it would see our end go; but it may be stopped */
	kill(stack->pid, SIGKILL);
	waitpid(stack->pid, NULL, 0);
	stack->pid = 0;
}

static int ask(struct stack *stack, const struct stack_request *request)
{
	struct pollfd pollfd = {stack->control, POLLIN, 0};
	struct stack_answer answer;

	if (fd_send(stack->control, request, sizeof(*request), NULL, 0) != sizeof(*request))
		return -EPIPE;
	/* a program of the sandbox may have stopped it: its end is noticed, its silence is not */
	if (poll(&pollfd, 1, ANSWER_MS) == 0)
		kill(stack->pid, SIGKILL);
	if (fd_recv(stack->control, &answer, sizeof(answer), NULL, 0, NULL) != sizeof(answer))
		return -EPIPE;
	return answer.result;
}

int stack_set_self(struct stack *stack, struct in_addr vip)
{
	return ask(stack, &(struct stack_request){.op = STACK_SET_SELF, .vip = vip});
}

int stack_add_peer(struct stack *stack, struct in_addr vip)
{
	return ask(stack, &(struct stack_request){.op = STACK_ADD_PEER, .vip = vip});
}

int stack_del_peer(struct stack *stack, struct in_addr vip)
{
	return ask(stack, &(struct stack_request){.op = STACK_DEL_PEER, .vip = vip});
}

int stack_reserve_ports(struct stack *stack, const char *ports)
{
	struct stack_request request = {.op = STACK_RESERVE_PORTS};

	if (strlen(ports) >= sizeof(request.ports))
		return -ENAMETOOLONG;
	memcpy(request.ports, ports, strlen(ports));
	return ask(stack, &request);
}
