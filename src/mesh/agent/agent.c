/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/agent - a host of a mesh: packets between a link and a namespace */
#include "mesh/agent/agent.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "mesh/agent/orders.h"
#include "mesh/agent/parts.h"
#include "proc/rights.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

/*
 * How it works
 *
 * Packets cross between link and stack (crossing); those that begin a connection to what is offered
 * are held (role). Everything else happens when `configure` comes: addresses, what the gate lets
 * through, who listens where.
 */
#define STARTER_LOOKS   10
#define STARTER_LOOK_MS 10

/* --- packets ------------------------------------------------------------------------------ */

static void on_packets(void *owner)
{
	crossing_out(&((struct agent *)owner)->crossing);
}

static void on_room(struct wire *wire)
{
	struct agent *agent = container_of(wire, struct agent, wire);

	if (parts_hands_over(agent))
		loop_stop(agent->loop, 0);
	else
		crossing_resume(&agent->crossing);
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

	if (parts_hands_over(agent)) {
		keep(agent, frame);
	} else if (frame->type == FRAME_PACKET) {
		on_packet(agent, frame);
	} else if (frame->type == FRAME_MESSAGE) {
		orders_take(agent, frame);
		if (parts_hands_over(agent))
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

	if (result == -EPERM || result == -EBADF) /* it is closed (cmd_begin) */
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

/* The stack is there. */
static int set_up(struct agent *agent, struct err *err)
{
	struct stack *stack = agent->stack;
	int result = drop_rights(agent, err);

	agent->tenure.on_silence = on_silence;
	agent->estate.tell_all = on_kept;
	agent->estate.owner = agent;
	if (result == 0)
		result = parts_make(agent, err);
	if (result < 0)
		return result;
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
	parts_free(agent);
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
	if (!parts_hands_over(agent))
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
