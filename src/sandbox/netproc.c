/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/netproc - the net process: libslirp, relays and listeners, with no rights of its own */
#include "sandbox/netproc.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "conn/inside.h"
#include "conn/relay.h"
#include "forward/table.h"
#include "net/slirp.h"
#include "net/slirplib.h"
#include "proc/job.h"
#include "proc/ns.h"
#include "proc/rights.h"
#include "sandbox/filter.h"
#include "sandbox/leadout.h"
#include "sandbox/netnames.h"
#include "sandbox/outbound.h"
#include "sandbox/view.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"
#include "util/loop.h"
#include "util/queue.h"

/*
 * A runaway allocation ends here, not in the host's swap. libslirp reserves three buffers of 128
 * KiB a connection, mostly never touched, and keeps a connection that its side closed for 10 s:
 * what that takes comes on top, where there is a libslirp.
 */
#define BASE_BYTES       (4ULL << 30)
#define CONNECTION_BYTES (3ULL * 128 * 1024)
#define FDS_MAX          65536

struct netproc {
	const struct netproc_start *start;
	struct loop *loop;
	struct loop_io channel_io;
	struct queue reports;
	struct budget budget;
	struct forward_context context;
	struct forward_table *table;
	struct netnames *names;    /* NULL: there is none */
	struct outbound *outbound; /* NULL: libslirp carries all */
	struct conn_context lead_context;
	struct leadout *leadout; /* NULL: there was no rule yet */
};

__attribute__((noreturn)) static void fail(const struct netproc_start *start, const struct err *err)
{
	const struct net_message message = {.type = NET_FAILED, .err = *err};

	fd_send_one(start->channel, &message, sizeof(message), -1);
	_exit(125);
}

/* All the rules may have something to say at once, and the supervisor may be stopped. What cannot
 * be said is not passed over: the next net process is told everything anew. */
static void report(
	struct netproc *net, enum net_message_type type, uint32_t id, const struct err *err)
{
	struct net_message message = {.type = type, .id = id};

	if (err)
		message.err = *err;
	int result = queue_send(&net->reports, &message, sizeof(message), -1);
	if (result < 0)
		loop_stop(net->loop, result);
}

static void on_listening(void *owner, uint32_t id)
{
	report(owner, NET_LISTENING, id, NULL);
}

static void on_lost(void *owner, uint32_t id, const struct err *err)
{
	struct netproc *net = owner;

	table_remove(net->table, id);
	report(net, NET_LOST, id, err);
}

static void add_forward(struct netproc *net, const struct net_message *message, int listen_fd)
{
	const struct net_forward *forward = &message->forward;
	struct err err;

	if (table_add(net->table, message->id, &forward->spec, forward->driver, listen_fd,
		    forward->has_listened, &err) < 0)
		report(net, NET_LOST, message->id, &err);
	else if (forward->was_lost)
		report(net, NET_ADDED, message->id, NULL);
}

/* Most sandboxes have none. */
static void lead_out(struct netproc *net, const struct net_message *message, int fd)
{
	const struct netproc_start *start = net->start;

	if (!net->leadout) {
		net->lead_context = (struct conn_context){.loop = net->loop,
			.budget = &net->budget,
			.relays = net->context.relays,
			.inside = net->context.inside};
		net->leadout = leadout_new(
			&net->lead_context, &start->config->net, start->guest_diag, &net->reports);
	}
	if (net->leadout) {
		leadout_on_message(net->leadout, message, fd);
		return;
	}
	log_warning("cannot lead ports outwards: %s", strerror(errno));
	fd_close(&fd);
}

static void on_channel(struct loop_io *io, uint32_t events)
{
	struct netproc *net = container_of(io, struct netproc, channel_io);
	struct net_message message;
	int fd;

	if (events & EPOLLOUT)
		queue_go_on(&net->reports);
	int result = fd_recv_one(io->fd, &message, sizeof(message), &fd);
	if (result == -EAGAIN)
		return;
	if (result < 0 && result != -EMSGSIZE) { /* that one: fd is -1 */
		loop_stop(net->loop, result);
		return;
	}
	if (message.type == NET_ADD)
		add_forward(net, &message, fd_take(&fd));
	if (message.type >= NET_LEAD_OUT && message.type <= NET_DIALLED)
		lead_out(net, &message, fd_take(&fd));
	if (message.type == NET_NAMES && net->names && fd >= 0) {
		result = netnames_read(net->names, fd);
		if (result < 0)
			log_warning("cannot read the names of the sandbox: %s", strerror(-result));
	}
	fd_close(&fd);
	if (message.type == NET_REMOVE) {
		table_remove(net->table, message.id);
		report(net, NET_REMOVED, message.id, NULL);
	}
}

static void limit_resources(bool has_slirp)
{
	size_t fds = rights_raise_fd_limit(FDS_MAX);
	rlim_t bytes = BASE_BYTES + (has_slirp ? fds * CONNECTION_BYTES : 0);

#ifndef __SANITIZE_ADDRESS__ /* which maps terabytes for its shadow */
	setrlimit(RLIMIT_AS, &(struct rlimit){bytes, bytes});
#else
	(void)bytes;
#endif
}

/* Stage 1: leave every file, right and descriptor behind. */
static int isolate(const struct netproc_start *start, struct err *err)
{
	int keep[] = {start->channel, start->tap, start->pcap.fd, start->pcap.held[0],
		start->pcap.held[1], start->door, start->guest_diag, start->host_diag,
		start->dns_udp, start->dns_tcp, start->out4, start->out6};
	uid_t uid = geteuid();
	gid_t gid = getegid();

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return ns_explain(errno, err);
	if (ns_map_ids(uid, gid, 0, err) < 0)
		return -err->code;
	if (view_empty_root(err) < 0)
		return -err->code;
	int result = rights_drop_all();
	if (result == 0)
		result = rights_hide();
	if (result == 0)
		result = rights_keep_fds(keep, sizeof(keep) / sizeof(keep[0]));
	if (result < 0)
		return err_sys(err, -result, "cannot drop the rights of the net process");
	limit_resources(start->tap >= 0);
	return 0;
}

/* Returns 0, or -errno with errno set. */
static int open_names(struct netproc *net)
{
	const struct netproc_start *start = net->start;
	const struct net_plan *plan = &start->config->net;

	net->names = netnames_new(
		net->loop, &net->budget, net->context.inside, plan, start->dns_udp, start->dns_tcp);
	if (!net->names)
		return -errno;
	if (net->context.slirp) {
		struct hairpin hairpin = netnames_hairpin(plan, start->dns_udp, start->dns_tcp);
		slirp_stack_set_hairpin(net->context.slirp, &hairpin);
	}
	return 0;
}

/* Returns 0, or -errno with errno set. */
static int open_outbound(struct netproc *net)
{
	const struct netproc_start *start = net->start;

	if (start->out4 < 0 && start->out6 < 0)
		return 0;
	net->outbound = outbound_new(&(struct outbound_start){
		.context = {.loop = net->loop,
			.budget = &net->budget,
			.relays = net->context.relays,
			.inside = net->context.inside},
		.plan = &start->config->net,
		.slirp = net->context.slirp,
		.listener4 = start->out4,
		.listener6 = start->out6,
		.guest_diag = start->guest_diag,
	});
	return net->outbound ? 0 : -errno;
}

/* Stage 2: everything that must be opened or allocated before the filter is there. */
static int set_up(struct netproc *net, struct err *err)
{
	const struct netproc_start *start = net->start;
	struct forward_context *context = &net->context;

	net->loop = loop_new();
	if (!net->loop)
		return err_sys(err, errno, "cannot make an event loop");
	net->budget.max = rights_raise_fd_limit(FDS_MAX);
	*context = (struct forward_context){
		.loop = net->loop,
		.plan = &start->config->net,
		.relays = relay_pool_new(net->loop, &net->budget),
		.inside = inside_new(net->loop, start->door),
		.guest_diag = start->guest_diag,
		.host_diag = start->host_diag,
		.wait_ms = start->config->wait_ms,
		.checks_user = start->config->checks_user,
		.allows_network = start->config->allows_network,
		.keeps_clients4 = start->keeps_clients4,
		.keeps_clients6 = start->keeps_clients6,
		.keeps_local = start->config->keeps_local,
		.own_user = geteuid(),
		.users = start->config->users,
		.nusers = start->config->nusers,
		.budget = &net->budget,
		.on_listening = on_listening,
		.on_lost = on_lost,
		.owner = net,
	};
	if (start->tap >= 0) {
		context->slirp = slirp_stack_new(
			net->loop, context->plan, start->tap, &start->pcap, context->budget);
		if (!context->slirp)
			return err_sys(err, errno, "cannot start libslirp");
	}
	net->table = table_new(context);
	if (start->dns_udp >= 0 && start->dns_tcp >= 0 && context->inside && open_names(net) < 0)
		return err_sys(err, errno, "cannot set up the name server of the sandbox");
	if (context->slirp && context->relays && open_outbound(net) < 0)
		return err_sys(err, errno, "cannot set up outbound connections");
	net->channel_io = (struct loop_io){start->channel, on_channel};
	queue_init(&net->reports, net->loop, &net->channel_io);
	if (!context->relays || !context->inside || !net->table ||
		loop_io_add(net->loop, &net->channel_io, EPOLLIN) < 0)
		return err_sys(err, errno, "cannot set up the net process");
	return 0;
}

/* A guest can make libslirp say much; GLib itself only says why it gives up. */
static void on_glib_message(
	const char *domain, GLogLevelFlags level, const char *message, void *context)
{
	bool is_last = level & (G_LOG_FLAG_FATAL | G_LOG_LEVEL_ERROR);

	(void)context;
	log_line(is_last ? LOG_ERROR : LOG_INFO, "%s: %s", domain ? domain : "GLib", message);
}

__attribute__((noreturn)) static void netproc_main(const struct netproc_start *start, pid_t parent)
{
	struct netproc net = {.start = start};
	struct net_message ready = {.type = NET_READY};
	struct err err;

	prctl(PR_SET_NAME, "nswrap: net");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(125);
	setsid(); /* signals to the job are not for us */
	/* nothing of the caller's */
	job_leave_streams();
	words_speak(start->words);
	g_log_set_default_handler(on_glib_message, NULL);
	if (start->tap >= 0 && slirplib_load(on_glib_message, &err) < 0)
		fail(start, &err);
	if (isolate(start, &err) < 0)
		fail(start, &err);
	/* a change of credentials has cleared it, prctl(2) */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (set_up(&net, &err) < 0)
		fail(start, &err);
	int result = filter_net_process();
	if (result < 0) {
		err_sys(&err, -result, "cannot load the seccomp filter of the net process");
		fail(start, &err);
	}
	fd_send_one(start->channel, &ready, sizeof(ready), -1);
	result = loop_run(net.loop);
	table_free(net.table); /* who waits for the guest is reset */
	if (result < 0 && result != -EPIPE)
		log_warning("the net process ends: %s", strerror(-result));
	_exit(0);
}

pid_t netproc_spawn(const struct netproc_start *start, struct err *err)
{
	pid_t self = getpid(), pid = fork();

	if (pid < 0)
		return err_sys(err, errno, "cannot fork");
	if (pid == 0)
		netproc_main(start, self);
	return pid;
}
