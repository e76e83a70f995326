/* SPDX-License-Identifier: Apache-2.0 */
/* link/linkend - one end of a link: opened, given to its owner, ended, and opened again */
#include "link/linkend.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proc/streams.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"

#define LAST_WORDS_MS 200  /* for what a command that has ended left in its pipes */
#define KILLED_MS     1000 /* from one SIGKILL to the next */

static void close_fds(struct linkend *end)
{
	if (end->fds[1] != end->fds[0])
		fd_close(&end->fds[1]);
	fd_close(&end->fds[0]);
	end->fds[1] = -1;
}

/* --- end ---------------------------------------------------------------------------------- */

/* Why it was closed says more than how its command ended then, which may have been our doing. */
static void finish(struct linkend *end)
{
	char why[LINKEND_WHY_BYTES];

	if (!end->ending[0] || (end->why[0] && !end->has_failed))
		memcpy(why, end->why, sizeof(why));
	else
		snprintf(why, sizeof(why), "%.150s%sits command %s%s%s", end->why,
			end->why[0] ? "; " : "", end->ending, end->advice ? ": " : "",
			end->advice ? end->advice->text : "");
	loop_timer_cancel(end->context->loop, &end->timer);
	end->state = LINKEND_IDLE;
	end->ops->on_closed(end, why);
}

void linkend_close(struct linkend *end, const char *why)
{
	if (end->state == LINKEND_IDLE)
		loop_timer_cancel(end->context->loop, &end->timer);
	if (end->state != LINKEND_OPENING && end->state != LINKEND_OPEN)
		return;
	end->was_long = end->opened_ns != 0 && loop_now_ns(end->context->loop) - end->opened_ns >=
						       LINKEND_GOOD_MS * NS_PER_MS;
	if (end->was_long) {
		end->pauses.ms = 0;
		end->was_good = true;
	}
	snprintf(end->why, sizeof(end->why), "%s", why ? why : "");
	dial_cancel(&end->dial);
	proof_cancel(&end->proof);
	close_fds(end);
	if (end->port.acceptor.loop)
		linkport_mute(&end->port, true);
	end->state = LINKEND_ENDING;
	loop_timer_set(end->context->loop, &end->timer, end->child.pid > 0 ? LINKEND_END_MS : 0);
}

static void kill_command(struct linkend *end)
{
	if (child_serves(&end->child)) {
		child_leave(&end->child, -1);
		finish(end);
		return;
	}
	child_signal(&end->child, SIGKILL);
	loop_timer_set(end->context->loop, &end->timer, KILLED_MS);
}

/* As a shell has it; -1: none. */
static int status_of(const struct child_end *how)
{
	if (how->not_executed != 0)
		return command_failure_status(COMMAND_EXEC_FAILED, how->not_executed);
	return how->code == CLD_EXITED ? how->status : -1;
}

static void on_child_end(struct child *child, const struct child_end *how)
{
	struct linkend *end = container_of(child, struct linkend, child);

	end->was_interrupted = how->code == CLD_KILLED && how->status == SIGINT;
	/* a signal may have been ours */
	if (end->state != LINKEND_ENDING || how->code == CLD_EXITED) {
		child_describe_end(how, end->spec->argv[0], end->ending, sizeof(end->ending));
		end->has_failed = child_has_failed(how);
		if (!end->was_good)
			end->advice = advice_of_status(status_of(how));
	}
	if (end->state == LINKEND_ENDING)
		finish(end);
	else
		loop_timer_set(end->context->loop, &end->timer, LAST_WORDS_MS);
}

/* --- open --------------------------------------------------------------------------------- */

static void open_it(struct linkend *end)
{
	int fds[2] = {end->fds[0], end->fds[1]};

	end->fds[0] = end->fds[1] = -1;
	end->state = LINKEND_OPEN;
	end->opened_ns = loop_now_ns(end->context->loop);
	end->ops->on_open(end, fds[0], fds[1]);
}

static void on_proven(struct proof *proof, int result, const char *why)
{
	struct linkend *end = container_of(proof, struct linkend, proof);

	if (result == 0)
		open_it(end);
	else
		linkend_close(end, why);
}

/* From the loop: there are two descriptors. */
static void prove(struct linkend *end)
{
	bool is_command = end->spec->kind == LINKSPEC_EXEC;

	if (!end->key) {
		open_it(end);
		return;
	}
	end->proof = (struct proof){.loop = end->context->loop,
		.key = end->key,
		.role = end->role,
		.purpose = end->purpose,
		.may_have_noise = is_command,
		.on_done = on_proven};
	int result = proof_start(&end->proof, end->fds[0], end->fds[1],
		is_command ? LINKEND_EXEC_DEADLINE_MS : LINKEND_DEADLINE_MS);
	if (result == -EPERM)
		linkend_close(end, "it is a file: expected pipes or sockets");
	else if (result < 0)
		linkend_close(end, strerror(-result));
}

static void on_dialled(struct dial *dial, int result)
{
	struct linkend *end = container_of(dial, struct linkend, dial);
	char why[128];

	if (result < 0) {
		snprintf(why, sizeof(why), "cannot connect: %s",
			end->spec->kind == LINKSPEC_UNIX ? strerror(-result) : dial_words(result));
		linkend_close(end, why);
		return;
	}
	end->fds[0] = end->fds[1] = result;
	prove(end);
}

static void on_link(struct linkport *port, int fd, const struct addr *peer)
{
	struct linkend *end = container_of(port, struct linkend, port);

	(void)peer;
	/* somebody who was proving when another one got it */
	if (end->state != LINKEND_OPENING) {
		fd_reset(&fd);
		return;
	}
	linkport_mute(port, true);
	end->fds[0] = end->fds[1] = fd;
	open_it(end);
}

/* Returns 0, or -errno with @err. */
static int start_command(struct linkend *end, struct err *err)
{
	char *const *argv = end->spec->argv;
	struct streams streams;
	int result = streams_open(&streams, argv[0], err);

	if (result < 0)
		return result;
	const struct command command = {
		.argv = argv,
		.streams = (int[]){streams.pairs[STREAMS_STDIN][0],
			streams.pairs[STREAMS_STDOUT][1], STDERR_FILENO},
		.rights = COMMAND_KEEPS_ALL,
		.new_session = !end->shares_terminal && !end->lends_terminal,
		.takes_terminal = end->lends_terminal,
		.is_subreaper = true,
		.restores_pipe = true,
		.death_signal = SIGTERM,
		.nofile = end->nofile,
	};
	end->child.on_end = on_child_end;
	result = child_start(&end->child, end->children, &command, err);
	if (result == 0) {
		end->fds[0] = fd_take(&streams.pairs[STREAMS_STDOUT][0]);
		end->fds[1] = fd_take(&streams.pairs[STREAMS_STDIN][1]);
	}
	streams_close(&streams);
	return result;
}

static void start_dial(struct linkend *end)
{
	const struct linkspec *spec = end->spec;
	struct dial_target target = {.where = DIAL_OUTSIDE, .addr = spec->addr};

	if (spec->kind == LINKSPEC_TCP) {
		target.host = spec->at.host;
		target.port = spec->at.port;
	}
	end->dial.on_done = on_dialled;
	int result = dial_start(&end->dial, end->context, &target);
	if (result != -EINPROGRESS)
		on_dialled(&end->dial, result);
}

static void take_inherited(struct linkend *end)
{
	if (end->is_used) {
		linkend_close(end, "what was inherited cannot be opened again");
		return;
	}
	end->is_used = true;
	memcpy(end->fds, end->spec->fds, sizeof(end->fds));
	prove(end);
}

/* From the loop: owners are called from here. */
static void begin(struct linkend *end)
{
	struct err err;

	end->state = LINKEND_OPENING;
	end->opened_ns = 0;
	end->why[0] = end->ending[0] = '\0';
	end->has_failed = false;
	end->advice = NULL;
	switch (end->spec->kind) {
	case LINKSPEC_EXEC:
		if (start_command(end, &err) < 0)
			linkend_close(end, err.text);
		else
			prove(end);
		break;
	case LINKSPEC_TCP:
	case LINKSPEC_UNIX:
		start_dial(end);
		break;
	case LINKSPEC_LISTEN_TCP:
	case LINKSPEC_LISTEN_UNIX:
		linkport_mute(&end->port, false);
		break;
	case LINKSPEC_FDS:
	case LINKSPEC_STDIO:
		take_inherited(end);
		break;
	}
}

static void on_timer(struct loop_timer *timer)
{
	struct linkend *end = container_of(timer, struct linkend, timer);

	switch (end->state) {
	case LINKEND_IDLE:
		begin(end);
		break;
	case LINKEND_OPENING: /* its command has ended */
		linkend_close(end, NULL);
		break;
	case LINKEND_OPEN: /* the same */
		end->ops->on_over(end);
		break;
	case LINKEND_ENDING:
		if (end->child.pid > 0)
			kill_command(end);
		else
			finish(end);
		break;
	}
}

void linkend_start(struct linkend *end)
{
	loop_timer_set(end->context->loop, &end->timer, 0);
}

unsigned linkend_again(struct linkend *end)
{
	unsigned pause_ms =
		linkspec_listens(end->spec)
			? 0
			: pauses_next(&end->pauses,
				  end->advice ? LINKEND_SLOW_MIN_MS : LINKEND_PAUSE_MIN_MS,
				  end->advice ? LINKEND_SLOW_MAX_MS : LINKEND_PAUSE_MAX_MS);

	loop_timer_set(end->context->loop, &end->timer, pause_ms);
	return pause_ms;
}

/* --- start and end of all ----------------------------------------------------------------- */

static int keep_inherited(const struct linkspec *spec, struct err *err)
{
	int result = linkspec_check_fds(spec, err);

	for (size_t i = 0; result == 0 && i < 2; i++)
		if (spec->fds[i] > STDERR_FILENO)
			fcntl(spec->fds[i], F_SETFD, FD_CLOEXEC);
	return result;
}

int linkend_init(struct linkend *end, struct err *err)
{
	end->fds[0] = end->fds[1] = -1;
	end->timer.on_expired = on_timer;
	if (linkspec_is_once(end->spec))
		return keep_inherited(end->spec, err);
	if (!linkspec_listens(end->spec))
		return 0;
	end->port = (struct linkport){.context = end->context,
		.key = end->key,
		.role = end->role,
		.purpose = end->purpose,
		.listen_fd = end->listen_fd,
		.on_link = on_link};
	int result = linkport_open(&end->port, end->spec, err);
	if (result == 0)
		linkport_mute(&end->port, true);
	return result;
}

void linkend_fini(struct linkend *end)
{
	loop_timer_cancel(end->context->loop, &end->timer);
	dial_cancel(&end->dial);
	proof_cancel(&end->proof);
	close_fds(end);
	linkport_close(&end->port);
	child_drop(&end->child);
	end->state = LINKEND_IDLE;
}
