/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/peer - one host as the manager sees it: its command, its link, its restarts */
#include "mesh/manager/peer.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "mesh/manager/peer_parts.h"

#define STOP_MS       1000 /* from the end of its stdin to SIGKILL */
#define LOST_MS       250  /* the same for one that is broken anyway */
#define LAST_WORDS_MS 200  /* for what a command that has ended left in its pipes */
#define PAUSE_MIN_MS  500
#define PAUSE_MAX_MS  30000
#define GOOD_MS       10000 /* who was ready for so long begins with the shortest pause again */
#define NS_PER_MS     1000000ULL

static uint64_t now_ns(const struct peer *peer)
{
	return loop_now_ns(peer->context->loop);
}

void peer_notice(struct peer *peer, enum log_level level, const char *format, ...)
{
	char text[PEER_REASON_BYTES + 64];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	peer->context->ops->on_notice(peer, level, text);
}

static void set_state(struct peer *peer, enum peer_state state)
{
	if (peer->state == PEER_READY && now_ns(peer) - peer->since_ns >= GOOD_MS * NS_PER_MS)
		peer->pause_ms = 0;
	peer->state = state;
	peer->since = time(NULL);
	peer->since_ns = now_ns(peer);
	peer->context->ops->on_change(peer);
}

/* --- the link ----------------------------------------------------------------------------- */

struct peer_traffic peer_traffic(const struct peer *peer)
{
	const struct wire *wire = &peer->wire;
	struct peer_traffic sum = peer->earlier;

	sum.packets_in += wire->frames_in - peer->messages_in;
	sum.bytes_in += wire->bytes_in;
	sum.packets_out += wire->frames_out - peer->messages_out;
	sum.bytes_out += wire->bytes_out;
	return sum;
}

static void close_link(struct peer *peer)
{
	if (!peer->wire.is_open)
		return;
	/* frames that were collected lie in a buffer that will be used again */
	peer->context->ops->on_round_end(peer);
	peer->earlier = peer_traffic(peer);
	wire_close(&peer->wire);
	peer->wire = (struct wire){0};
	peer->messages_in = peer->messages_out = 0;
	free(peer->parts);
	peer->parts = NULL;
	peer->nparts = 0;
}

static void finish_if_over(struct peer *peer);

static void on_frame(struct wire *wire, struct frame *frame)
{
	struct peer *peer = peer_of(wire, wire);

	if (frame->type != FRAME_PACKET)
		peer_on_message(peer, frame);
	else if (peer->is_answered && peer->state != PEER_ENDING)
		peer->context->ops->on_packet(peer, frame);
}

static void on_round_end(struct wire *wire)
{
	struct peer *peer = peer_of(wire, wire);

	peer->context->ops->on_round_end(peer);
}

static void on_broken(struct wire *wire, const struct err *err)
{
	struct peer *peer = peer_of(wire, wire);

	peer_lose(peer, err->code != 0 ? "%s" : NULL, err->text);
	close_link(peer);
	finish_if_over(peer);
}

static const struct wire_ops link_ops = {
	.on_frame = on_frame, .on_round_end = on_round_end, .on_broken = on_broken};

static void on_line(struct lines *lines, const char *text, size_t len)
{
	struct peer *peer = peer_of(lines, lines);

	peer->context->ops->on_stderr(peer, text, len);
}

static void on_stderr_end(struct lines *lines)
{
	finish_if_over(peer_of(lines, lines));
}

/* --- start -------------------------------------------------------------------------------- */

static void begin_ending(struct peer *peer, uint64_t grace_ms)
{
	peer->ended_ns = now_ns(peer);
	loop_timer_set(peer->context->loop, &peer->timer, grace_ms);
	set_state(peer, PEER_ENDING);
}

static int open_link(struct peer *peer, struct err *err)
{
	const struct peer_context *context = peer->context;
	struct child_streams streams;
	int result = child_start(peer->host->cmd, &context->nofile, &peer->child, &streams, err);

	if (result < 0)
		return result;
	/* both take what they are given, also when they fail */
	result = wire_open(&peer->wire, context->hub, &link_ops, streams.out, streams.in);
	int second = lines_open(&peer->lines, context->loop, streams.err);
	if (result == 0)
		result = second;
	return result < 0 ? err_sys(err, -result, "cannot watch its command") : 0;
}

static void start(struct peer *peer)
{
	struct err err;

	peer->trouble[0] = peer->ending[0] = '\0';
	peer->is_asked_to_end = peer->is_killed = peer->has_failed = false;
	peer->is_answered = peer->is_told_all = peer->is_outdated = false;
	peer->configure_id = peer->ping_id = 0;
	peer->rtt_ns = peer->heard_bytes = 0;
	peer->silent_rounds = 0;
	peer->bad_messages = peer->bad_untold = 0;
	set_state(peer, PEER_STARTING);
	if (open_link(peer, &err) < 0) {
		peer_lose(peer, "%s", err.text);
		finish_if_over(peer);
		return;
	}
	loop_timer_set(peer->context->loop, &peer->timer, PEER_ANSWER_MS);
	peer_send_configure(peer, 0);
}

void peer_become_ready(struct peer *peer)
{
	char address[INET_ADDRSTRLEN];

	peer->parts = calloc(PEER_PARTS_MAX, sizeof(*peer->parts));
	if (!peer->parts) {
		peer_lose(peer, "no memory");
		return;
	}
	set_state(peer, PEER_READY);
	peer_notice(peer, LOG_NOTICE, "ready at %s",
		inet_ntop(AF_INET, &peer->host->vip, address, sizeof(address)));
	loop_timer_set(peer->context->loop, &peer->timer, PEER_PING_MS);
	peer_ping(peer);
}

/* --- end ---------------------------------------------------------------------------------- */

void peer_lose(struct peer *peer, const char *format, ...)
{
	va_list args;

	if (format && peer->trouble[0] == '\0') {
		va_start(args, format);
		vsnprintf(peer->trouble, sizeof(peer->trouble), format, args);
		va_end(args);
	}
	if (peer->state == PEER_ENDING)
		return;
	close_link(peer);
	begin_ending(peer, LOST_MS);
}

/* What was wrong says more than how it ended, which may have been our doing. */
static void make_reason(struct peer *peer)
{
	if (peer->trouble[0] == '\0' && peer->is_killed)
		snprintf(peer->trouble, sizeof(peer->trouble), "closed its output");
	if (peer->trouble[0] == '\0')
		snprintf(peer->reason, sizeof(peer->reason), "%s", peer->ending);
	else if (!peer->has_failed || peer->is_killed)
		snprintf(peer->reason, sizeof(peer->reason), "%s", peer->trouble);
	else
		snprintf(peer->reason, sizeof(peer->reason), "%.380s; it %.120s", peer->trouble,
			peer->ending);
}

/* Within a fifth of @ms, so that hosts that were lost together do not come back together. */
static uint64_t jitter(uint64_t ms)
{
	uint16_t chance = UINT16_MAX / 2;

	if (getrandom(&chance, sizeof(chance), GRND_NONBLOCK) < 0)
		chance = UINT16_MAX / 2;
	return ms * 4 / 5 + ms * 2 / 5 * chance / UINT16_MAX;
}

static void wait_and_start_again(struct peer *peer)
{
	peer->pause_ms = peer->pause_ms == 0 ? PAUSE_MIN_MS : peer->pause_ms * 2;
	if (peer->pause_ms > PAUSE_MAX_MS)
		peer->pause_ms = PAUSE_MAX_MS;
	uint64_t pause_ms = jitter(peer->pause_ms);
	uint64_t gone_ms = (now_ns(peer) - peer->ended_ns) / NS_PER_MS;
	pause_ms = gone_ms < pause_ms ? pause_ms - gone_ms : 0;
	loop_timer_set(peer->context->loop, &peer->timer, pause_ms);
	set_state(peer, PEER_WAITING);
	peer_notice(peer, LOG_ERROR, "lost: %s; again in %llu.%llu s", peer->reason,
		(unsigned long long)pause_ms / 1000, (unsigned long long)pause_ms / 100 % 10);
}

/* ENDING is over when the command is reaped and all that it had written is read. */
static void finish_if_over(struct peer *peer)
{
	if (peer->state != PEER_ENDING || peer_has_child(peer) || peer->wire.is_open ||
		lines_is_open(&peer->lines))
		return;
	loop_timer_cancel(peer->context->loop, &peer->timer);
	if (!peer->is_asked_to_end)
		make_reason(peer);
	if (peer->is_retired) {
		set_state(peer, PEER_DOWN);
		peer_notice(peer, LOG_INFO, "stopped");
	} else if (peer->is_asked_to_end) {
		peer->restarts++;
		start(peer);
	} else if (peer->host->no_restart) {
		set_state(peer, PEER_DOWN);
		peer_notice(peer, LOG_ERROR, "lost: %s", peer->reason);
	} else {
		wait_and_start_again(peer);
	}
}

void peer_kill(struct peer *peer)
{
	if (peer->state != PEER_ENDING || !peer_has_child(peer))
		return;
	kill(peer->child.pid, SIGKILL);
	peer->is_killed = true;
	loop_timer_set(peer->context->loop, &peer->timer, STOP_MS);
}

void peer_on_child_end(struct peer *peer, int code, int status)
{
	child_describe_end(&peer->child, code, status, peer->ending, sizeof(peer->ending));
	peer->has_failed = code != CLD_EXITED || status != 0;
	if (peer->state == PEER_STARTING || peer->state == PEER_READY)
		begin_ending(peer, LAST_WORDS_MS);
	else
		loop_timer_set(peer->context->loop, &peer->timer, LAST_WORDS_MS);
	finish_if_over(peer);
}

static void on_timer(struct loop_timer *timer)
{
	struct peer *peer = peer_of(timer, timer);

	switch (peer->state) {
	case PEER_DOWN:
		break;
	case PEER_STARTING:
		peer_lose(peer, "no answer to configure in %d s", PEER_ANSWER_MS / 1000);
		break;
	case PEER_READY:
		loop_timer_set(peer->context->loop, timer, PEER_PING_MS);
		peer_ping(peer);
		break;
	case PEER_ENDING:
		if (peer_has_child(peer)) {
			peer_kill(peer);
			break;
		}
		close_link(peer);
		lines_close(&peer->lines);
		finish_if_over(peer);
		break;
	case PEER_WAITING:
		peer->restarts++;
		start(peer);
		break;
	}
}

/* --- what the owner wants ----------------------------------------------------------------- */

struct peer *peer_new(
	const struct peer_context *context, const struct manifest_host *host, int number)
{
	struct peer *peer = calloc(1, sizeof(*peer));

	if (!peer)
		return NULL;
	peer->context = context;
	peer->host = host;
	peer->number = number;
	peer->name = strdup(host->name);
	peer->child.report = -1;
	peer->lines.on_line = on_line;
	peer->lines.on_end = on_stderr_end;
	peer->timer.on_expired = on_timer;
	peer->since = time(NULL);
	peer->since_ns = now_ns(peer);
	if (peer->name)
		return peer;
	free(peer);
	return NULL;
}

void peer_free(struct peer *peer)
{
	if (!peer)
		return;
	loop_timer_cancel(peer->context->loop, &peer->timer);
	close_link(peer);
	lines_close(&peer->lines);
	free(peer->name);
	free(peer);
}

void peer_start(struct peer *peer)
{
	peer->is_retired = false;
	if (peer->state == PEER_DOWN)
		start(peer);
}

/* Without trouble: what was written to it is read before it sees the end of its stdin. */
static void ask_to_end(struct peer *peer)
{
	peer->is_asked_to_end = true;
	close_link(peer);
	begin_ending(peer, STOP_MS);
}

void peer_stop(struct peer *peer)
{
	peer->is_retired = true;
	if (peer->state == PEER_STARTING || peer->state == PEER_READY) {
		ask_to_end(peer);
	} else if (peer->state == PEER_WAITING) {
		loop_timer_cancel(peer->context->loop, &peer->timer);
		set_state(peer, PEER_DOWN);
	}
}

void peer_restart(struct peer *peer, const char *reason)
{
	peer->is_retired = false;
	if (peer->state == PEER_STARTING || peer->state == PEER_READY) {
		peer_notice(peer, LOG_NOTICE, "is started again: %s", reason);
		ask_to_end(peer);
	} else if (peer->state == PEER_WAITING || peer->state == PEER_DOWN) {
		loop_timer_cancel(peer->context->loop, &peer->timer);
		start(peer);
	}
}

const char *peer_state_name(const struct peer *peer)
{
	switch (peer->state) {
	case PEER_STARTING:
		return "starting";
	case PEER_READY:
		return "ready";
	case PEER_ENDING:
		return peer->is_asked_to_end ? "stopping" : "lost";
	case PEER_WAITING:
		return "waiting";
	case PEER_DOWN:
		break;
	}
	return peer->reason[0] != '\0' && !peer->is_retired ? "lost" : "stopped";
}
