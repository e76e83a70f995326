/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/agent - a host of a mesh: packets between a link and a namespace */
#include "mesh/agent/agent.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "conn/context.h"
#include "mesh/agent/asked.h"
#include "mesh/agent/crier.h"
#include "mesh/agent/crossing.h"
#include "mesh/agent/estate.h"
#include "mesh/agent/hostfiles.h"
#include "mesh/agent/nameservice.h"
#include "mesh/agent/nets.h"
#include "mesh/agent/outlet.h"
#include "mesh/agent/proxies.h"
#include "mesh/agent/quay.h"
#include "mesh/agent/role.h"
#include "mesh/agent/tenure.h"
#include "mesh/agent/ways.h"
#include "mesh/amend.h"
#include "mesh/configure.h"
#include "mesh/info.h"
#include "mesh/message.h"
#include "proc/rights.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"
#include "version.h"
#include "wire/wire.h"

/*
 * How it works
 *
 * Packets cross between link and stack (crossing); those that begin a connection to what is offered
 * are held (role). Everything else happens when `configure` comes: addresses, what the gate lets
 * through, who listens where.
 */
#define FDS_MAX         65536
#define STARTER_LOOKS   10
#define STARTER_LOOK_MS 10

struct agent {
	bool is_sandbox;
	const struct greeting *greeting; /* NULL: none */
	struct handover *handover;       /* NULL: the link is nobody else's */
	struct loop_task greeting_task;
	struct loop *loop;
	struct wire_hub *hub;
	struct wire wire;
	struct stack *stack;
	struct gate *gate;
	struct crossing crossing;
	struct quay quay; /* of streams */
	struct role *role;
	struct nameservice *names;
	struct asked *asked; /* what that asks others for */
	int told_names;      /* where the sandbox is told the names; -1: nowhere */
	struct ways *ways;   /* of what is asked of this host */
	struct nets nets;
	struct outlet outlet; /* to what is behind this host */
	struct proxies *proxies;
	struct tenure tenure;
	struct estate estate;
	struct hostfiles hostfiles; /* of a plain host */
	pid_t starter;
	bool is_reporting; /* somebody has asked for it */
	struct loop_io signal_io;
	struct budget budget;
	struct conn_context context;
	bool is_configured;
	struct mesh_config told; /* what the manager has told, all in all */
	bool is_left;            /* the manager has said that it will not come back */
	sigset_t signals_before;
	bool restores_pipe;
	struct err *err;
};

/* --- packets ------------------------------------------------------------------------------ */

static void on_packets(void *owner)
{
	crossing_out(&((struct agent *)owner)->crossing);
}

static bool hands_over(const struct agent *agent);

static void on_room(struct wire *wire)
{
	struct agent *agent = container_of(wire, struct agent, wire);

	if (hands_over(agent))
		loop_stop(agent->loop, 0);
	else
		crossing_resume(&agent->crossing);
}

/* --- ends --------------------------------------------------------------------------------- */

/* Connections of a sandbox outlive its agents, and their other ends do not. */
static void reset_all(struct agent *agent)
{
	size_t count = 0;
	const struct in_addr *peers = agent->role ? role_peers(agent->role, &count) : NULL;

	crossing_reset(&agent->crossing, peers, count);
}

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct in_addr));
}

/* No manager has a say in what is not of its mesh. */
static void on_event(struct agent *agent, const struct message *event)
{
	struct in_addr told[MESSAGE_GONE_MAX], gone[MESSAGE_GONE_MAX];
	size_t npeers, ngone = 0;
	const struct in_addr *peers = role_peers(agent->role, &npeers);
	struct err err;

	if (strcmp(event->op, "leave") == 0) {
		agent->is_left = true;
		estate_end(&agent->estate);
	}
	if (strcmp(event->op, "gone") != 0)
		return; /* a newer manager knows more of them */
	ssize_t count = message_decode_gone(event->data, told, &err);
	if (count < 0) {
		log_warning("the manager sent a wrong event: %s", err.text);
		return;
	}
	for (ssize_t i = 0; i < count; i++)
		if (npeers > 0 && bsearch(&told[i], peers, npeers, sizeof(told[i]), compare))
			gone[ngone++] = told[i];
	qsort(gone, ngone, sizeof(gone[0]), compare);
	ferry_forget(agent->quay.ferry, gone, ngone);
	crossing_reset(&agent->crossing, gone, ngone);
}

/* --- what is behind other hosts ----------------------------------------------------------- */

static int settle_nets(struct agent *agent)
{
	if (agent->is_sandbox)
		ways_each_network(agent->ways, nets_want, &agent->nets);
	else
		nets_want(&agent->nets, (struct in_addr){0}, 0);
	return nets_settle(&agent->nets, gate_self(agent->gate));
}

static void send_message(struct agent *agent, struct message *message);
static void on_change(void *owner);

static void on_learnt(void *owner, const struct in_addr *ips, size_t count, struct in_addr via)
{
	struct agent *agent = owner;
	struct message event = {.type = MESSAGE_EVENT, .op = "routeSuggestion"};

	event.data = message_encode_suggestion(ips, count, via);
	send_message(agent, &event);
	if (settle_nets(agent) < 0)
		log_warning("cannot route what was looked up: out of memory");
}

/* --- messages ----------------------------------------------------------------------------- */

struct mesh_agent_info agent_info(bool is_sandbox)
{
	return (struct mesh_agent_info){
		.features = role_features(is_sandbox) | proxies_features() | FEATURE_ACKNOWLEDGE |
			    FEATURE_GONE | FEATURE_STREAMS | FEATURE_TAKEOVER | FEATURE_SILENCE |
			    FEATURE_ALLOW | FEATURE_AMEND | (is_sandbox ? 0 : FEATURE_KEEP),
		.version = NSWRAP_VERSION,
	};
}

static unsigned own_features(const struct agent *agent)
{
	bool can_hand_over = agent->handover && agent->handover->check;

	return can_hand_over || (agent->greeting && agent->greeting->runs_sandbox)
		       ? FEATURE_SANDBOX_RUN
		       : 0;
}

static bool hands_over(const struct agent *agent)
{
	return agent->handover && agent->handover->is_begun;
}

/* Is it another agent that is wanted? Then this one does nothing of it. */
static int look_for_sandbox(struct agent *agent, struct mesh_config *config, struct err *err)
{
	if (!config->sandbox.command || (agent->greeting && agent->greeting->runs_sandbox))
		return 0;
	return agent->handover ? handover_begin(agent->handover, config, err)
			       : err_set(err, EPERM, "sandbox: this agent is in one already");
}

/* Follow what @config says from now on, all of it. Returns 0, or below 0 with @err filled. */
static int follow(struct agent *agent, const struct mesh_config *config, struct err *err)
{
	int result = tenure_begin(&agent->tenure, config, err);

	if (result > 0) {
		role_on_takeover(agent->role);
		nets_forget(&agent->nets);
	}
	if (result >= 0 && !agent->is_sandbox)
		estate_begin(&agent->estate,
			agent->tenure.tenant.listen_fd < 0 ? -1 : agent->tenure.tenant.hub_fd,
			config->identity, config->keep_s);
	if (result >= 0 && nameservice_configure(agent->names, config) < 0)
		result = err_sys(err, ENOMEM, "cannot read the names");
	if (result >= 0 && outlet_configure(&agent->outlet, config->expose, err) < 0)
		result = -err->code;
	if (result >= 0)
		result = role_configure(agent->role, config, err);
	if (result == 0 && (ways_configure(agent->ways, config) < 0 || settle_nets(agent) < 0))
		result = err_sys(err, ENOMEM, "cannot read the configuration");
	if (result == 0 && quay_configure(&agent->quay) < 0)
		result = err_sys(err, ENOMEM, "cannot read the configuration");
	if (result == 0 && !agent->is_sandbox)
		hostfiles_configure(&agent->hostfiles, config);
	if (result == 0 && agent->told_names >= 0) {
		int told = crier_tell(agent->told_names, config);
		if (told < 0)
			log_warning("cannot tell the sandbox the names of the mesh: %s",
				strerror(-told));
	}
	if (result == 0)
		result = proxies_configure(agent->proxies, config, err);
	/* the first one may not say all that there is (mesh/manager/session) */
	if (agent->is_configured)
		estate_settle(&agent->estate);
	else
		estate_settle_later(&agent->estate);
	if (result == 0 && !agent->is_configured)
		reset_all(agent);
	agent->is_configured = agent->is_configured || result == 0;
	return result;
}

static json_t *configure(struct agent *agent, const json_t *args, struct err *err)
{
	struct mesh_agent_info info = agent_info(agent->is_sandbox);
	struct mesh_config config = {0};

	info.features |= own_features(agent);
	snprintf(info.stack, sizeof(info.stack), "%s",
		agent->stack->ops->kind == STACK_STREAMS ? "streams" : "kernel");
	snprintf(info.stack_why, sizeof(info.stack_why), "%s", agent->stack->why);
	int result = configure_decode(args, &config, err);
	if (result == 0)
		result = look_for_sandbox(agent, &config, err);
	if (result < 0 || hands_over(agent)) {
		config_free(&config);
		return NULL;
	}
	result = follow(agent, &config, err);
	config_free(&agent->told);
	agent->told = config;
	return result < 0 ? NULL : info_encode(&info);
}

/* Hosts have come and gone, and all the rest is as it was told. */
static void amend(struct agent *agent, const json_t *args, struct err *err)
{
	if (!agent->is_configured)
		err_set(err, EINVAL, "nothing was told yet that could be different");
	else if (amend_apply(args, &agent->told, err) == 0)
		follow(agent, &agent->told, err);
	on_change(agent); /* what was missing may be of nobody any more */
}

static void send_message(struct agent *agent, struct message *message)
{
	size_t len;
	char *text = message_encode(message, &len);
	int sent = text ? wire_send_message(&agent->wire, text, len) : -ENOMEM;

	free(text);
	if (sent < 0)
		log_warning("cannot tell the manager: %s", strerror(-sent));
}

static json_t *report(struct agent *agent)
{
	struct mesh_report out = {.nmissing = 0};

	role_report(agent->role, &out);
	proxies_report(agent->proxies, &out);
	outlet_report(&agent->outlet, &out);
	return report_encode(&out);
}

static void on_change(void *owner)
{
	struct agent *agent = owner;
	struct message event = {.type = MESSAGE_EVENT, .op = "report"};

	if (!agent->is_reporting)
		return;
	event.data = report(agent);
	send_message(agent, &event);
}

/* Has the manager its answer already? */
static bool is_answered(const struct agent *agent, const struct message *request)
{
	return agent->greeting && request->id == agent->greeting->answered_id &&
	       strcmp(request->op, "configure") == 0;
}

static void on_request(struct agent *agent, const struct message *request)
{
	struct message result = {.type = MESSAGE_RESULT, .id = request->id};
	struct err err = {0};

	memcpy(result.op, request->op, sizeof(result.op));
	if (strcmp(request->op, "configure") == 0)
		result.data = configure(agent, request->data, &err);
	else if (strcmp(request->op, "amend") == 0)
		amend(agent, request->data, &err);
	else if (strcmp(request->op, "report") == 0)
		result.data = report(agent);
	else if (strcmp(request->op, "ping") != 0)
		err_set(&err, EOPNOTSUPP, "there is no op \"%s\"", request->op);
	if (err.code != 0) {
		log_error("%s: %s", request->op, err.text);
		result.error = json_string(err.text);
	}
	agent->is_reporting |= strcmp(request->op, "report") == 0;
	if (is_answered(agent, request) || hands_over(agent))
		message_fini(&result);
	else
		send_message(agent, &result);
}

static void on_message(struct agent *agent, const struct frame *frame)
{
	struct message message;
	struct err err;

	if (message_decode(frame->payload, frame->len, &message, &err) < 0) {
		log_warning("the manager sent what is no message: %s", err.text);
		return;
	}
	if (message.type == MESSAGE_REQUEST)
		on_request(agent, &message);
	else if (message.type == MESSAGE_EVENT)
		on_event(agent, &message);
	message_fini(&message);
}

static void on_packet(struct agent *agent, struct frame *frame)
{
	struct packet_view view;
	enum gate_verdict verdict = crossing_in(&agent->crossing, frame, &view);

	if (verdict == GATE_TAKE && quay_take(&agent->quay, &view))
		return;
	if (verdict == GATE_HOLD && !agent->quay.has_stack)
		quay_on_syn(&agent->quay, &view);
	else if (verdict == GATE_HOLD && packet_is_same_ip(view.dst.ip, gate_self(agent->gate)))
		role_on_syn(agent->role, &view);
	else if (verdict == GATE_HOLD || verdict == GATE_TAKE)
		outlet_take(&agent->outlet, &view);
}

/* The next agent has it all, when what this one has said is on its way. */
static void keep(struct agent *agent, const struct frame *frame)
{
	int result = handover_keep(agent->handover, frame);

	if (result < 0)
		loop_stop(agent->loop, err_sys(agent->err, -result, "cannot hand the link over"));
	else if (wire_has_room(&agent->wire))
		loop_stop(agent->loop, 0);
}

static void on_frame(struct wire *wire, struct frame *frame)
{
	struct agent *agent = container_of(wire, struct agent, wire);

	if (hands_over(agent)) {
		keep(agent, frame);
	} else if (frame->type == FRAME_PACKET) {
		on_packet(agent, frame);
	} else if (frame->type == FRAME_MESSAGE) {
		on_message(agent, frame);
		if (hands_over(agent))
			keep(agent, frame);
	} else {
		log_debug("a frame of type %u was skipped", frame->type);
	}
}

/* --- start and end ------------------------------------------------------------------------ */

static void on_broken(struct wire *wire, const struct err *err)
{
	struct agent *agent = container_of(wire, struct agent, wire);

	if (agent->handover)
		agent->handover->is_begun = false; /* it is nobody's any more */
	if (err->code != 0)
		err_set(agent->err, err->code, "the link to the manager broke: %s", err->text);
	loop_stop(agent->loop, -err->code);
}

static void on_gone(void *owner, const char *why)
{
	struct agent *agent = owner;

	loop_stop(agent->loop, err_set(agent->err, ECHILD, "%s", why));
}

static void on_silence(struct tenure *tenure)
{
	struct agent *agent = container_of(tenure, struct agent, tenure);

	loop_stop(agent->loop, err_set(agent->err, ETIMEDOUT,
				       "the manager has said nothing for %u s", tenure->silence_s));
}

/* Like the end of the link; so the stack process is reaped by who started it. */
static void on_signal(struct loop_io *io, uint32_t events)
{
	struct agent *agent = container_of(io, struct agent, signal_io);

	(void)events;
	if (agent->handover)
		agent->handover->is_begun = false;
	loop_stop(agent->loop, 0);
}

static void on_kept(void *owner)
{
	struct agent *agent = owner;

	role_keep(agent->role);
	proxies_keep(agent->proxies);
}

static const struct wire_ops wire_ops = {
	.on_frame = on_frame,
	.on_room = on_room,
	.on_broken = on_broken,
};

static const struct stack_events stack_events = {on_packets, on_gone};

static int open_link(struct agent *agent, struct err *err)
{
	int result = wire_open(&agent->wire, agent->hub, &wire_ops, STDIN_FILENO, STDOUT_FILENO);

	if (result == -EPERM)
		return err_set(
			err, EPERM, "agent: stdin or stdout is a file: expected pipes or sockets");
	return result < 0 ? err_sys(err, -result, "cannot watch the link") : 0;
}

/* In the loop, which it may stop, and before the rest of the link is read. */
static void on_greeting(struct loop_task *task)
{
	struct agent *agent = container_of(task, struct agent, greeting_task);
	int result = open_link(agent, agent->err);

	if (result == 0 && agent->greeting->answered_id != 0)
		wire_was_sent(&agent->wire, agent->greeting->answered_len);
	wire_go_on(&agent->wire, agent->greeting->come, agent->greeting->sent);
	if (result == 0)
		wire_push(&agent->wire, agent->greeting->bytes, agent->greeting->len);
	else
		loop_stop(agent->loop, result);
}

/* Who is in a sandbox trusts nobody there; on a plain host the user's own rights are needed. */
static int drop_rights(const struct agent *agent, struct err *err)
{
	int result = agent->is_sandbox ? rights_drop_all() : 0;

	if (result == 0 && agent->is_sandbox)
		result = rights_hide();
	return result < 0 ? err_sys(err, -result, "cannot drop the rights of the agent") : 0;
}

static int make_loop(struct agent *agent, struct err *err)
{
	agent->loop = loop_new();
	agent->hub = agent->loop ? wire_hub_new(agent->loop) : NULL;
	if (!agent->hub)
		return err_sys(err, errno, "cannot make an event loop");
	agent->budget.max = rights_raise_fd_limit(FDS_MAX);
	agent->budget.has_no_pool = agent->stack->ops->kind == STACK_STREAMS;
	if ((agent->budget.has_no_pool ? budget_check_bare(agent->budget.max, err)
				       : budget_check(agent->budget.max, 0, err)) < 0)
		return -err->code;
	int result = context_open(&agent->context, agent->loop, &agent->budget, agent->stack->door);
	return result < 0 ? err_sys(err, -result, "cannot set up the agent") : 0;
}

/* What its parts are told of each other. */
static void connect_parts(struct agent *agent)
{
	agent->tenure.loop = agent->loop;
	agent->tenure.wire = &agent->wire;
	agent->tenure.on_silence = on_silence;
	agent->nets.stack = agent->stack;
	agent->nets.is_sandbox = agent->is_sandbox;
	agent->estate.loop = agent->hostfiles.loop = agent->loop;
	agent->estate.tell_all = on_kept;
	agent->estate.owner = agent;
	agent->crossing.loop = agent->loop;
	agent->crossing.gate = agent->gate;
	agent->crossing.stack = agent->stack;
	agent->crossing.wire = &agent->wire;
	agent->quay.stack = agent->stack;
	agent->quay.gate = agent->gate;
	agent->quay.crossing = &agent->crossing;
	agent->quay.outlet = &agent->outlet;
	agent->outlet.crossing = &agent->crossing;
	agent->outlet.on_change = on_change;
	agent->outlet.owner = agent;
}

/* Returns false without memory. */
static bool make_names(struct agent *agent)
{
	agent->ways = ways_new(&(struct ways_start){
		.context = &agent->context,
		.stack = agent->stack,
		.on_learnt = on_learnt,
		.owner = agent,
	});
	agent->asked = agent->ways ? asked_new(agent->ways) : NULL;
	if (agent->asked)
		agent->names = nameservice_new(
			agent->loop, &agent->budget, NULL, &asked_ops, agent->asked);
	return agent->names;
}

static bool make_role(struct agent *agent)
{
	agent->role = role_new(&(struct role_start){
		.is_sandbox = agent->is_sandbox,
		.context = &agent->context,
		.stack = agent->stack,
		.gate = agent->gate,
		.estate = &agent->estate,
		.names = agent->names,
		.outlet = &agent->outlet,
		.syns_ops = &crossing_syns_ops,
		.syns_owner = &agent->crossing,
		.on_change = on_change,
		.owner = agent,
	});
	if (!agent->is_sandbox && outlet_open(&agent->outlet, &agent->context) < 0)
		return false;
	agent->proxies = proxies_new(&(struct proxies_start){
		.context = &agent->context,
		.ways = agent->ways,
		.estate = agent->is_sandbox ? NULL : &agent->estate,
		.on_change = on_change,
		.owner = agent,
	});
	agent->quay.role = agent->role;
	agent->quay.names = agent->names;
	agent->quay.ways = agent->ways;
	return agent->role && agent->proxies;
}

/* The stack is there. */
static int set_up(struct agent *agent, struct err *err)
{
	struct stack *stack = agent->stack;
	int result = drop_rights(agent, err);

	if (result == 0)
		result = make_loop(agent, err);
	if (result < 0)
		return result;
	agent->gate = gate_new();
	if (!agent->gate)
		return err_sys(err, ENOMEM, "cannot set up the agent");
	connect_parts(agent);
	result = quay_open(&agent->quay, &agent->context);
	agent->context.beyond = result < 0 ? NULL : ferry_beyond(agent->quay.ferry);
	if (result < 0 || !make_names(agent) || !make_role(agent))
		return err_sys(err, ENOMEM, "cannot set up the agent");
	result = stack->ops->watch(stack, &agent->context, &stack_events, agent);
	if (result == 0)
		result = loop_io_add(agent->loop, &agent->signal_io, EPOLLIN);
	if (result < 0)
		return err_sys(err, -result, "cannot watch the stack");
	agent->greeting_task.on_run = on_greeting;
	if (!agent->greeting)
		return open_link(agent, err);
	loop_task_add(agent->loop, &agent->greeting_task);
	return 0;
}

/* Before there is any thread. */
static int open_signals(struct agent *agent, struct err *err)
{
	sigset_t ending;

	/* splice(2) has no flag against it */
	agent->restores_pipe = signal(SIGPIPE, SIG_IGN) == SIG_DFL;
	sigemptyset(&ending);
	sigaddset(&ending, SIGHUP);
	sigaddset(&ending, SIGINT);
	sigaddset(&ending, SIGTERM);
	sigprocmask(SIG_BLOCK, &ending, &agent->signals_before);
	agent->signal_io =
		(struct loop_io){signalfd(-1, &ending, SFD_NONBLOCK | SFD_CLOEXEC), on_signal};
	return agent->signal_io.fd < 0 ? err_sys(err, errno, "cannot receive signals") : 0;
}

/*
 * Did a manager on this machine die that had started us? Nobody else has the kernel tell us that.
 * Its end of the link may be closed a moment before.
 */
static bool has_lost_manager(const struct agent *agent)
{
	int sig = 0;

	if (prctl(PR_GET_PDEATHSIG, &sig) < 0 || sig == 0)
		return false;
	for (int i = 0; getppid() == agent->starter && i < STARTER_LOOKS; i++)
		clock_pause_ms(STARTER_LOOK_MS);
	return getppid() != agent->starter;
}

static void tear_down(struct agent *agent)
{
	if (agent->estate.stay_s > 0 && has_lost_manager(agent))
		estate_end(&agent->estate);
	estate_let_go(&agent->estate);
	hostfiles_end(&agent->hostfiles);
	if (agent->is_configured)
		reset_all(agent);
	role_free(agent->role);
	outlet_close(&agent->outlet);
	proxies_free(agent->proxies);
	config_free(&agent->told);
	quay_close(&agent->quay);
	asked_free(agent->asked);
	nameservice_free(agent->names);
	ways_free(agent->ways);
	nets_fini(&agent->nets);
	tenure_end(&agent->tenure); /* not before our ports are free */
	context_close(&agent->context);
	gate_free(agent->gate);
	wire_close(&agent->wire);
	wire_hub_free(agent->hub);
	if (agent->stack)
		agent->stack->ops->stop(agent->stack);
	if (agent->loop) {
		loop_io_del(agent->loop, &agent->signal_io);
		loop_free(agent->loop);
	}
	fd_close(&agent->signal_io.fd);
}

/* What was changed for us alone. */
static void give_signals_back(const struct agent *agent)
{
	if (agent->restores_pipe)
		signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &agent->signals_before, NULL);
}

/* The loop has ended by itself. As agent_run. */
static int find_end(struct agent *agent)
{
	if (!hands_over(agent))
		return agent->is_left ? AGENT_LEFT : AGENT_ENDED;
	int result = handover_end(agent->handover, &agent->wire);
	return result < 0 ? err_sys(agent->err, -result, "cannot hand the link over")
			  : (int)AGENT_HANDED_OVER;
}

int agent_run(const struct agent_start *start, struct err *err)
{
	struct agent *agent = calloc(1, sizeof(*agent));

	if (!agent) {
		int names = start->names;

		fd_close(&names);
		return err_sys(err, ENOMEM, "cannot start the agent");
	}
	agent->told_names = start->names;
	agent->is_sandbox = start->is_sandbox;
	agent->greeting = start->greeting;
	agent->handover = start->handover;
	agent->outlet.host = start->expose;
	agent->tenure.tenant.listen_fd = agent->estate.io.fd = -1;
	agent->starter = getppid();
	agent->err = err;
	int result = open_signals(agent, err);
	if (result == 0) {
		agent->stack = start->open_stack(!agent->is_sandbox, err);
		result = agent->stack ? set_up(agent, err) : -err->code;
	}
	if (result == 0)
		result = loop_run(agent->loop);
	if (result == 0)
		result = find_end(agent);
	tear_down(agent);
	fd_close(&agent->told_names);
	if (result == AGENT_HANDED_OVER)
		give_signals_back(agent);
	free(agent);
	return result;
}
