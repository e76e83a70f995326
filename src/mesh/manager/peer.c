/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/peer - one host as the manager sees it: when it is started, lost, started again */
#include "mesh/manager/peer.h"

#include <arpa/inet.h>
#include <glib.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/clock.h"

#define STOP_MS      1000 /* from the end of its stdin to SIGKILL */
#define PING_MS      5000
#define PAUSE_MIN_MS 500
#define PAUSE_MAX_MS 30000
#define SLOW_MIN_MS  30000 /* where no retry helps */
#define SLOW_MAX_MS  300000
#define GOOD_MS      10000 /* who was ready for so long begins with the shortest pause again */

static uint64_t now_ns(const struct peer *peer)
{
	return loop_now_ns(peer->context->loop);
}

static void set_state(struct peer *peer, enum peer_state state)
{
	if (peer->state == PEER_READY && now_ns(peer) - peer->since_ns >= GOOD_MS * NS_PER_MS)
		peer->pauses.ms = 0;
	peer->state = state;
	peer->port.is_starting =
		state == PEER_STARTING ||
		(state == PEER_ENDING && peer->is_asked_to_end && !peer->is_retired);
	peer->since = time(NULL);
	peer->since_ns = now_ns(peer);
	peer->context->on_change(peer);
}

struct peer_traffic peer_traffic(const struct peer *peer)
{
	const struct wire *wire = &peer->link.wire;
	struct peer_traffic sum = peer->earlier;

	sum.packets_in += wire->frames_in - peer->session.frames_in;
	sum.bytes_in += wire->bytes_in;
	/* a message that waits is counted by the session alone */
	if (wire->frames_out > peer->session.frames_out)
		sum.packets_out += wire->frames_out - peer->session.frames_out;
	sum.bytes_out += wire->bytes_out;
	return sum;
}

/* --- start -------------------------------------------------------------------------------- */

/* @cmd and, unless it leads to a shell, the words of an agent; free the list, not its texts. */
static char **make_argv(char *const *cmd, bool is_agent)
{
	static char agent[] = "agent", automated[] = "--automated";
	size_t count = g_strv_length((char **)cmd);
	char **argv = calloc(count + 3, sizeof(*argv));

	if (!argv)
		return NULL;
	memcpy(argv, cmd, count * sizeof(*argv));
	if (is_agent) {
		argv[count] = agent;
		argv[count + 1] = automated;
	}
	return argv;
}

/* In a session of its own: what happens at our terminal happens to us alone (mesh/manager/desk). */
static void start(struct peer *peer)
{
	static char own_name[] = "nswrap";
	static char *const own[] = {own_name, NULL};
	char *const *cmd = peer->host->cmd;
	struct desk *desk = peer->context->desk;
	const bool installs = peer->host->install;
	char **argv = make_argv(cmd ? cmd : own, !installs);
	const struct command command = {
		.program = cmd ? NULL : "/proc/self/exe",
		.argv = argv,
		.rights = COMMAND_KEEPS_ALL,
		.new_session = true,
		.terminal = cmd && desk ? desk_join(desk, &peer->asker) : 0,
		.is_subreaper = true,
		.restores_pipe = true,
		.death_signal = SIGTERM,
		.nofile = peer->context->nofile,
	};

	peer->is_asked_to_end = false;
	peer->is_new = true;
	peer->advice = NULL;
	peer->said[0] = '\0';
	peer->vip = peer->host->vip;
	peer->earlier = peer_traffic(peer);
	peer->session.frames_in = peer->session.frames_out = 0;
	set_state(peer, PEER_STARTING);
	peer->link.holds = installs;
	link_start(&peer->link, peer->context->children, &command);
	free(argv);
	if (peer->link.state != LINK_OPEN)
		return;
	if (!installs)
		session_begin(&peer->session);
	else if (installer_begin(&peer->installer, peer->link.held_in, peer->link.held_out) < 0)
		link_lose(&peer->link, "cannot watch its command");
}

/* --- an agent that is brought along ------------------------------------------------------- */

static void on_installer_text(void *owner, const char *text, size_t len)
{
	link_hear(&((struct peer *)owner)->link, text, len);
}

static void on_installer_progress(void *owner, const char *text)
{
	struct peer *peer = owner;

	session_notice(&peer->session, LOG_NOTICE, "%s", text);
	snprintf(peer->said, sizeof(peer->said), "%s", text);
}

static void on_installer_failed(void *owner, const char *why)
{
	struct peer *peer = owner;

	link_lose(&peer->link, why ? "%s" : NULL, why);
}

static void on_installed(void *owner)
{
	struct peer *peer = owner;

	link_go(&peer->link);
	if (peer->link.state == LINK_OPEN)
		session_begin(&peer->session);
}

static const struct installer_ops installer_ops = {.on_text = on_installer_text,
	.on_progress = on_installer_progress,
	.on_done = on_installed,
	.on_failed = on_installer_failed};

/* --- end ---------------------------------------------------------------------------------- */

static void wait_and_start_again(struct peer *peer)
{
	unsigned min_ms = peer->advice ? SLOW_MIN_MS : PAUSE_MIN_MS;
	unsigned max_ms = peer->advice ? SLOW_MAX_MS : PAUSE_MAX_MS;

	uint64_t pause_ms = pauses_next(&peer->pauses, min_ms, max_ms);
	uint64_t gone_ms = (now_ns(peer) - peer->ended_ns) / NS_PER_MS;
	pause_ms = gone_ms < pause_ms ? pause_ms - gone_ms : 0;
	loop_timer_set(peer->context->loop, &peer->pause, pause_ms);
	set_state(peer, PEER_WAITING);
	session_notice(&peer->session, LOG_ERROR, "lost: %s; again in %llu.%llu s", peer->reason,
		(unsigned long long)(pause_ms / MS_PER_S),
		(unsigned long long)(pause_ms % MS_PER_S / 100));
}

static void start_again(struct peer *peer)
{
	peer->restarts++;
	start(peer);
}

static void on_pause_over(struct loop_timer *timer)
{
	start_again(container_of(timer, struct peer, pause));
}

/* --- the link ----------------------------------------------------------------------------- */

static struct peer *at_link(struct link *link)
{
	return container_of(link, struct peer, link);
}

static void on_frame(struct link *link, struct frame *frame)
{
	struct peer *peer = at_link(link);

	if (frame->type != FRAME_PACKET)
		session_on_frame(&peer->session, frame);
	else if (peer->session.is_answered && peer->state != PEER_ENDING)
		fabric_take(peer->context->fabric, &peer->port, frame, now_ns(peer));
}

static void on_round_end(struct link *link)
{
	fabric_flush(at_link(link)->context->fabric);
}

static void on_line(struct link *link, const char *text, size_t len)
{
	struct peer *peer = at_link(link);

	peer->context->on_stderr(peer, text, len);
	if (peer->is_new && !peer->advice)
		peer->advice = advice_of_line(text, len);
	if (peer->state != PEER_STARTING)
		return;
	session_heard(&peer->session);
	snprintf(peer->said, sizeof(peer->said), "%.*s", (int)len, text);
}

static void on_begun(struct link *link, const char *text, size_t len)
{
	struct peer *peer = at_link(link);

	if (!desk_say(&peer->asker, text, len))
		on_line(link, text, len);
}

static void on_asker_line(struct desk_asker *asker, const char *text, size_t len)
{
	on_line(&container_of(asker, struct peer, asker)->link, text, len);
}

static void on_background(struct desk_asker *asker)
{
	struct peer *peer = container_of(asker, struct peer, asker);

	session_notice(&peer->session, LOG_NOTICE,
		"waits for the terminal: it can ask there when the mesh is in the foreground (fg)");
}

static void on_beat(struct link *link)
{
	session_ping(&at_link(link)->session);
}

static int on_left(struct link *link)
{
	struct peer *peer = at_link(link);

	session_notice(&peer->session, LOG_NOTICE,
		"its command goes on, as others are connected by way of it");
	return desk_hand_over(&peer->asker);
}

static void on_ending(struct link *link)
{
	struct peer *peer = at_link(link);

	installer_end(&peer->installer);
	session_end(&peer->session);
	peer->port.wire = NULL;
	peer->ended_ns = now_ns(peer);
	set_state(peer, PEER_ENDING);
}

/* Why it was lost and, if that is up to a person, what is to be done. */
static void make_reason(struct peer *peer)
{
	const struct message_ended *ended = &peer->session.ended;

	if (!peer->is_new || peer->session.has_ended)
		peer->advice = NULL;
	else if (!peer->advice)
		peer->advice = advice_of_status(peer->link.status);
	if (peer->advice && peer->advice->may_pass && peer->was_once_ready)
		peer->advice = NULL;
	if (peer->session.has_ended && ended->reason[0] != '\0')
		snprintf(peer->reason, sizeof(peer->reason), "its sandbox: %s", ended->reason);
	else if (peer->session.has_ended)
		snprintf(peer->reason, sizeof(peer->reason), "its command ended with status %u",
			ended->status);
	else if (peer->advice)
		snprintf(peer->reason, sizeof(peer->reason), "%.300s: %s", peer->link.reason,
			peer->advice->text);
	else
		memcpy(peer->reason, peer->link.reason, sizeof(peer->reason));
}

/* Has its command done what it was to do? A link that is lost says nothing of the one in a sandbox.
 */
static bool has_succeeded(const struct peer *peer)
{
	const struct session *session = &peer->session;
	const struct link *link = &peer->link;

	if (peer->host->own.sandbox.command)
		return session->has_ended && session->ended.status == 0;
	return link->status == 0 && link->trouble[0] == '\0' && !link->is_killed;
}

static void on_end(struct link *link)
{
	struct peer *peer = at_link(link);

	desk_leave(&peer->asker);
	if (!peer->is_asked_to_end)
		make_reason(peer);
	if (peer->is_retired) {
		set_state(peer, PEER_DOWN);
		session_notice(&peer->session, LOG_INFO, "stopped");
	} else if (peer->is_asked_to_end) {
		start_again(peer);
	} else if (peer->host->only_failures && has_succeeded(peer)) {
		set_state(peer, PEER_DOWN);
		session_notice(
			&peer->session, LOG_NOTICE, "is not started again: %s", peer->reason);
	} else if (peer->host->no_restart) {
		set_state(peer, PEER_DOWN);
		session_notice(&peer->session, LOG_ERROR, "lost: %s", peer->reason);
	} else {
		wait_and_start_again(peer);
	}
}

static const struct link_ops link_ops = {
	.on_frame = on_frame,
	.on_round_end = on_round_end,
	.on_line = on_line,
	.on_begun = on_begun,
	.on_beat = on_beat,
	.on_left = on_left,
	.on_ending = on_ending,
	.on_end = on_end,
};

static void on_ready(struct session *session)
{
	struct peer *peer = peer_of(session);
	bool can_be_asked = session->info.features & FEATURE_PING;
	char address[INET_ADDRSTRLEN];

	peer->port.wire = &peer->link.wire;
	peer->port.knows_icmp = session->info.features & FEATURE_ICMP;
	peer->port.knows_streams = session->info.features & FEATURE_STREAMS;
	peer->asker.is_ready = peer->was_once_ready = true;
	peer->is_new = false;
	set_state(peer, PEER_READY);
	session_notice(&peer->session, LOG_NOTICE, "ready at %s",
		inet_ntop(AF_INET, &peer->host->vip, address, sizeof(address)));
	link_watch(&peer->link, PING_MS, can_be_asked ? PEER_SILENCE_S * MS_PER_S / PING_MS : 0);
	session_ping(session);
}

/* --- what the owner wants ----------------------------------------------------------------- */

struct peer *peer_new(const struct peer_context *context, const struct manifest_host *host)
{
	struct peer *peer = calloc(1, sizeof(*peer));

	if (!peer)
		return NULL;
	peer->context = context;
	peer->host = host;
	peer->name = strdup(host->name);
	peer->asker.name = peer->name;
	peer->asker.on_line = on_asker_line;
	peer->asker.on_background = on_background;
	peer->installer = (struct installer){.ops = &installer_ops,
		.owner = peer,
		.loop = context->loop,
		.files = context->agent_files};
	peer->link.ops = &link_ops;
	peer->link.hub = context->hub;
	peer->link.loop = context->loop;
	peer->session.ops = context->session_ops;
	peer->session.on_ready = on_ready;
	peer->session.link = &peer->link;
	peer->pause.on_expired = on_pause_over;
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
	loop_timer_cancel(peer->context->loop, &peer->pause);
	installer_end(&peer->installer);
	session_end(&peer->session);
	link_close(&peer->link);
	desk_leave(&peer->asker);
	allow_free(peer->port.allow);
	free(peer->port.awaited);
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
	if (peer->is_retired)
		session_leave(&peer->session);
	/* who waits for a password does not read its stdin */
	if (peer->state == PEER_STARTING)
		desk_leave(&peer->asker);
	link_end(&peer->link, STOP_MS);
}

void peer_stop(struct peer *peer)
{
	peer->is_retired = true;
	if (peer->state == PEER_STARTING || peer->state == PEER_READY) {
		ask_to_end(peer);
	} else if (peer->state == PEER_WAITING) {
		loop_timer_cancel(peer->context->loop, &peer->pause);
		set_state(peer, PEER_DOWN);
	}
}

void peer_restart(struct peer *peer, const char *reason)
{
	peer->is_retired = false;
	peer->session.info.features = 0; /* another command may lead to another agent */
	if (peer->state == PEER_STARTING || peer->state == PEER_READY) {
		session_notice(&peer->session, LOG_NOTICE, "is started again: %s", reason);
		ask_to_end(peer);
	} else if (peer->state == PEER_WAITING || peer->state == PEER_DOWN) {
		loop_timer_cancel(peer->context->loop, &peer->pause);
		start(peer);
	} else {
		peer->is_asked_to_end = true; /* it does already: what matters is what comes then */
	}
}

void peer_retry(struct peer *peer)
{
	if (peer->state == PEER_WAITING && peer->advice)
		peer_restart(peer, "it is tried again");
}

const char *peer_note(const struct peer *peer)
{
	if (desk_note(&peer->asker)[0] != '\0')
		return desk_note(&peer->asker);
	if (peer->state != PEER_STARTING)
		return "";
	if (peer->said[0] == '\0' && session_is_late(&peer->session))
		return "no answer to configure yet";
	return peer->said;
}

const char *peer_state_name(const struct peer *peer)
{
	static const char *const names[] = {
		[PEER_DOWN] = "stopped",
		[PEER_STARTING] = "starting",
		[PEER_READY] = "ready",
		[PEER_ENDING] = "lost",
		[PEER_WAITING] = "waiting",
	};

	if (peer->state == PEER_ENDING && peer->is_asked_to_end)
		return "stopping";
	if (peer->state == PEER_DOWN && peer->session.has_ended && !peer->is_retired)
		return "ended";
	if (peer->state == PEER_DOWN && peer->reason[0] != '\0' && !peer->is_retired)
		return "lost";
	return names[peer->state];
}
