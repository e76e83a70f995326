/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/session - what is said to an agent and what it says: configure, ping, events */
#include "mesh/manager/session.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/configure.h"
#include "mesh/message.h"
#include "util/clock.h"
#include "util/list.h"
#include "version.h"

#define ANSWER_MS       10000  /* for an agent; for others, until a person is told */
#define NOISE_MS        60000  /* since the last byte that is no frame */
#define SILENCE_MS      600000 /* since the last sign of life */
#define LOOK_MS         500
#define BAD_MAX         1000
#define BAD_TOLD_S      60 /* between two lines about bad messages */
#define SUGGESTIONS_MAX 64
#define TEXT_BYTES      256

/*
 * Messages are dear compared with packets. A peer may send 1 MB or 5,000 of them a second, for two
 * seconds as fast as it likes; what is more is not even looked at.
 */
#define COST_MESSAGE_NS (200 * 1000ULL)
#define COST_BYTE_NS    1000ULL
#define CREDIT_NS       (2 * NS_PER_S)

void session_notice(struct session *session, enum log_level level, const char *format, ...)
{
	char text[LINK_REASON_BYTES + 64];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	session->ops->on_notice(session, level, text);
}

/* A message that should not have come. */
__attribute__((format(printf, 2, 3))) static void on_bad(
	struct session *session, const char *format, ...)
{
	uint64_t now_ns = loop_now_ns(session->link->loop);
	char text[TEXT_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	session->bad_untold++;
	if (++session->bad_messages > BAD_MAX) {
		link_lose(session->link, "it sent more than %d bad messages, the last one was %s",
			BAD_MAX, text);
		return;
	}
	if (session->bad_told_ns != 0 && now_ns - session->bad_told_ns < BAD_TOLD_S * NS_PER_S)
		return;
	session_notice(session, LOG_WARNING, "sent %u bad message%s, the last one was %s",
		session->bad_untold, session->bad_untold == 1 ? "" : "s", text);
	session->bad_told_ns = now_ns;
	session->bad_untold = 0;
}

/* Send @message, whose data are taken over. Returns 0 or -1. */
static int say(struct session *session, struct message *message)
{
	size_t len;

	if (!message->data)
		return -1;
	char *text = message_encode(message, &len);
	int result = text ? wire_send_message(&session->link->wire, text, len) : -1;
	free(text);
	if (result < 0)
		return -1;
	session->frames_out++;
	return 0;
}

/* Send a request; takes @args over. Returns its id, or 0. */
static int64_t ask(struct session *session, const char *op, json_t *args)
{
	struct message message = {.type = MESSAGE_REQUEST, .id = ++session->last_id, .data = args};

	snprintf(message.op, sizeof(message.op), "%s", op);
	message.says_more = !session->is_told_all && strcmp(op, "configure") == 0;
	return say(session, &message) < 0 ? 0 : session->last_id;
}

/* --- configure ---------------------------------------------------------------------------- */

static const unsigned patience_ms[SESSION_WAITS] = {
	[SESSION_WAITS_FOR_COMMAND] = 0,
	[SESSION_WAITS_FOR_AGENT] = SILENCE_MS,
	[SESSION_WAITS_FOR_NOISE] = NOISE_MS,
	[SESSION_WAITS_FOR_ANSWER] = ANSWER_MS,
};

/* How far have they come at the other end? */
static enum session_wait find_wait(const struct session *session)
{
	const struct wire *wire = &session->link->wire;

	if (session->is_answered || wire->bytes_in > 0 || wire->partial_len >= FRAME_HEADER_BYTES)
		return SESSION_WAITS_FOR_ANSWER;
	if (!wire_is_taken(wire))
		return SESSION_WAITS_FOR_COMMAND;
	return wire->noise > 0 ? SESSION_WAITS_FOR_NOISE : SESSION_WAITS_FOR_AGENT;
}

bool session_is_late(const struct session *session)
{
	return loop_timer_is_armed(&session->patience) &&
	       session->wait != SESSION_WAITS_FOR_COMMAND &&
	       loop_now_ns(session->link->loop) - session->taken_ns >= ANSWER_MS * NS_PER_MS;
}

void session_heard(struct session *session)
{
	session->waiting_ns = loop_now_ns(session->link->loop);
}

static void lose_patience(struct session *session)
{
	/* what it said instead is the reason */
	if (session->wait == SESSION_WAITS_FOR_NOISE)
		link_lose(session->link, NULL);
	else
		link_lose(session->link, "no answer to configure in %llu s",
			patience_ms[session->wait] / MS_PER_S);
}

static void look_for_answer(struct session *session)
{
	uint64_t now_ns = loop_now_ns(session->link->loop), noise = session->link->wire.noise;
	enum session_wait wait = find_wait(session);
	bool was_late = session->is_told_late;

	if (wait != session->wait || noise != session->heard_noise)
		session->waiting_ns = now_ns;
	if (session->wait == SESSION_WAITS_FOR_COMMAND)
		session->taken_ns = now_ns;
	session->wait = wait;
	session->heard_noise = noise;
	uint64_t left_ms = LOOK_MS, waited_ms = (now_ns - session->waiting_ns) / NS_PER_MS;
	if (patience_ms[wait] > 0 && waited_ms >= patience_ms[wait]) {
		lose_patience(session);
		return;
	}
	if (patience_ms[wait] > 0 && patience_ms[wait] - waited_ms < left_ms)
		left_ms = patience_ms[wait] - waited_ms;
	loop_timer_set(session->link->loop, &session->patience, left_ms);
	session->is_told_late = session_is_late(session);
	if (session->is_told_late && !was_late)
		session_notice(session, LOG_WARNING,
			"has taken configure and not answered for %llu s: does nswrap run at its "
			"other end?",
			ANSWER_MS / MS_PER_S);
}

static void on_look(struct loop_timer *timer)
{
	look_for_answer(container_of(timer, struct session, patience));
}

/* Send `configure` with what @features allow. */
static void send_configure(struct session *session, unsigned features)
{
	struct mesh_config config = {0};

	session->is_outdated = false;
	session->configure_id = 0;
	session->waiting_ns = session->taken_ns = loop_now_ns(session->link->loop);
	session->heard_noise = 0;
	session->is_told_late = false;
	session->wait = session->is_answered ? SESSION_WAITS_FOR_ANSWER : SESSION_WAITS_FOR_COMMAND;
	loop_timer_set(session->link->loop, &session->patience, LOOK_MS);
	if (session->ops->configure(session, &config) == 0) {
		/* no port of that machine itself is meant */
		if (config.sandbox.command && !(features & FEATURE_SANDBOX_RUN))
			config_strip(&config);
		session->configure_id =
			ask(session, "configure", configure_encode(&config, features));
	}
	config_free(&config);
	/* a link that takes nothing says so by itself; memory may be there next time */
	if (session->configure_id == 0 && session->link->wire.can_write)
		link_lose(session->link, "cannot send configure");
}

/* One line, and again only when something else is missing. */
static void warn_of_missing(struct session *session, const struct config_needs *needs)
{
	const struct mesh_agent_info *info = &session->info;
	/* files with names are for hosts whose programs do not have them otherwise */
	const unsigned files =
		info->features & FEATURE_SANDBOX ? FEATURE_HOSTALIASES | FEATURE_ETCHOSTS : 0;
	unsigned missing = needs->wanted & ~info->features & ~files;
	char list[TEXT_BYTES] = "";
	size_t used = 0;

	if (missing != 0 && missing != session->warned) {
		for (unsigned bit = 1; bit <= missing && used < sizeof(list); bit <<= 1)
			if (missing & bit)
				used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s",
					used > 0 ? ", " : "", info_feature_name(bit));
		session_notice(session, LOG_WARNING,
			"the manifest asks for what its agent does not support: %s", list);
	}
	session->warned = missing;
	if (strcmp(info->version, NSWRAP_VERSION) != 0)
		session_notice(session, LOG_INFO, "its agent has version %s",
			info->version[0] != '\0' ? info->version : "(none)");
}

/* Its features are known: is it told all that it is to know by now? */
static void on_info(struct session *session, const struct mesh_config *config)
{
	const struct config_needs needs = config_needs(config);
	unsigned features = session->info.features, missing = needs.required & ~features;

	if (!(features & FEATURE_TCP)) {
		link_lose(session->link, "the agent does not support tcp");
		return;
	}
	if (missing & FEATURE_SANDBOX_RUN) {
		link_lose(session->link,
			"its agent cannot run the command of `sandbox`: expected an nswrap there "
			"that is as new as this one, outside of sandboxes and without --no-sandbox "
			"(it says version %s)",
			session->info.version[0] != '\0' ? session->info.version : "(none)");
		return;
	}
	if (missing != 0) {
		link_lose(session->link,
			"the agent does not support %s, which the manifest asks for",
			info_feature_name(missing & -missing));
		return;
	}
	bool has_more = !session->is_told_all && !configure_tells_same(config, 0, config, features);
	session->is_told_all = true;
	if ((has_more || session->is_outdated) && (features & FEATURE_RECONFIGURE)) {
		send_configure(session, features);
		return;
	}
	if (session->is_outdated)
		session_notice(session, LOG_NOTICE, "learns of the new manifest at its next start");
	session->is_outdated = false;
	if (session->is_ready)
		return;
	warn_of_missing(session, &needs);
	session->is_ready = true;
	if (features & FEATURE_REPORT)
		session->report_id = ask(session, "report", json_object());
	session->on_ready(session);
}

static void on_configured(struct session *session, const struct message *message)
{
	struct mesh_config config = {0};
	char text[TEXT_BYTES];
	struct err err;

	loop_timer_cancel(session->link->loop, &session->patience);
	if (message->error) {
		link_lose(session->link, "cannot be configured: %s",
			message_error_text(message->error, text, sizeof(text)));
	} else if (info_decode(message->data, &session->info, &err) < 0) {
		link_lose(session->link, "its answer to configure is wrong: %s", err.text);
	} else {
		session->is_answered = true;
		if (session->info.features & FEATURE_ACKNOWLEDGE)
			wire_acknowledge(&session->link->wire);
		if (session->ops->configure(session, &config) == 0)
			on_info(session, &config);
		else
			link_lose(session->link, "no memory");
		config_free(&config);
	}
}

void session_amend(struct session *session, json_t *args)
{
	if (session->link->state != LINK_OPEN || session->configure_id != 0 || !session->is_ready ||
		!args) {
		session_reconfigure(session);
		return;
	}
	/* as there */
	news_add(&session->news, NULL, 0, true);
	const int64_t id = ask(session, "amend", json_incref(args));
	if (id != 0) {
		session->amend_id = id; /* those before it may still be answered */
		session->namends++;
	} else if (session->link->wire.can_write) {
		/* who came and who left may be more than all are */
		session_reconfigure(session);
	}
}

static void on_amended(struct session *session, const struct message *message)
{
	char text[TEXT_BYTES];

	session->namends--;
	if (!message->error || session->configure_id != 0)
		return;
	session_notice(session, LOG_WARNING,
		"is told all anew: it cannot be told what is different: %s",
		message_error_text(message->error, text, sizeof(text)));
	session_reconfigure(session);
}

void session_reconfigure(struct session *session)
{
	if (session->link->state != LINK_OPEN)
		return;
	/* before it forgets those hosts */
	if (session->is_ready)
		news_add(&session->news, NULL, 0, true);
	if (session->configure_id != 0 || !session->is_ready)
		session->is_outdated = true; /* looked at when the answer has come */
	else if (session->info.features & FEATURE_RECONFIGURE)
		send_configure(session, session->info.features);
	else
		session_notice(session, LOG_NOTICE, "learns of the new manifest at its next start");
}

/* --- report ------------------------------------------------------------------------------- */

static void forget_report(struct session *session)
{
	free(session->report);
	session->report = NULL;
	session->report_id = 0;
}

/* Most hosts have no trouble, and none keeps room for it: kilobytes, of each host. */
static void keep_report(struct session *session, const struct mesh_report *report)
{
	if (report->nmissing == 0 && report->nfailing == 0 && report->unexposed == 0) {
		free(session->report);
		session->report = NULL;
		return;
	}
	if (!session->report)
		session->report = malloc(sizeof(*session->report));
	if (session->report)
		*session->report = *report;
	session->report_ns = loop_now_ns(session->link->loop);
}

static void on_report(struct session *session, const json_t *data)
{
	struct mesh_report report;
	struct err err;

	if (report_decode(data, &report, &err) < 0)
		on_bad(session, "a report: %s", err.text);
	keep_report(session, &report);
}

/* --- the rest ----------------------------------------------------------------------------- */

void session_ping(struct session *session)
{
	if (!(session->info.features & FEATURE_PING) || session->ping_id != 0)
		return;
	session->ping_id = ask(session, "ping", json_object());
	session->ping_ns = clock_now_ns();
}

static void tell_gone(struct news *news, const struct in_addr *gone, size_t count)
{
	struct message message = {
		.type = MESSAGE_EVENT, .op = "gone", .data = message_encode_gone(gone, count)};

	/* what it does not hear of now ends by what its connections are answered with */
	say(container_of(news, struct session, news), &message);
}

void session_tell_gone(
	struct session *session, const struct in_addr *ips, size_t count, bool is_back)
{
	if (session->link->state == LINK_OPEN && session->is_ready &&
		(session->info.features & FEATURE_GONE))
		news_add(&session->news, ips, count, is_back);
}

void session_leave(struct session *session)
{
	struct message message = {.type = MESSAGE_EVENT, .op = "leave", .data = json_object()};

	const unsigned knows = FEATURE_KEEP | FEATURE_SANDBOX_RUN;

	if (session->link->state == LINK_OPEN && (session->info.features & knows))
		say(session, &message);
	else
		json_decref(message.data);
}

static void on_result(struct session *session, const struct message *message)
{
	if (message->id != 0 && message->id == session->configure_id &&
		strcmp(message->op, "configure") == 0) {
		session->configure_id = 0;
		on_configured(session, message);
	} else if (session->namends > 0 && message->id <= session->amend_id &&
		   strcmp(message->op, "amend") == 0) {
		on_amended(session, message);
	} else if (message->id != 0 && message->id == session->ping_id &&
		   strcmp(message->op, "ping") == 0) {
		session->ping_id = 0;
		/* not the round's start: round trips are short */
		session->rtt_ns = clock_now_ns() - session->ping_ns;
	} else if (message->id != 0 && message->id == session->report_id &&
		   strcmp(message->op, "report") == 0) {
		session->report_id = 0;
		on_report(session, message->data);
	} else {
		on_bad(session, "a result of %s that nobody asked for", message->op);
	}
}

static void on_event(struct session *session, const struct message *message)
{
	struct in_addr ips[SUGGESTIONS_MAX], via;
	struct err err;

	if (strcmp(message->op, "ended") == 0) {
		if (message_decode_ended(message->data, &session->ended, &err) < 0)
			on_bad(session, "the event ended: %s", err.text);
		else
			session->has_ended = session->knows_end = true;
		return;
	}
	if (strcmp(message->op, "report") == 0) {
		on_report(session, message->data);
		return;
	}
	if (strcmp(message->op, "routeSuggestion") != 0)
		return; /* a newer agent knows more of them */
	ssize_t count = message_decode_suggestion(message->data, ips, SUGGESTIONS_MAX, &via, &err);
	if (count < 0)
		on_bad(session, "a routeSuggestion: %s", err.text);
	else
		session->ops->on_suggestion(session, ips, (size_t)count, via);
}

static bool can_afford(struct session *session, size_t len)
{
	uint64_t now_ns = loop_now_ns(session->link->loop);

	if (session->budget_ns + CREDIT_NS < now_ns)
		session->budget_ns = now_ns - CREDIT_NS;
	if (session->budget_ns > now_ns)
		return false;
	session->budget_ns += COST_MESSAGE_NS + len * COST_BYTE_NS;
	return true;
}

void session_on_frame(struct session *session, const struct frame *frame)
{
	struct message message;
	struct err err;

	session->frames_in++;
	if (frame->type != FRAME_MESSAGE) {
		session->unknown_frames++;
		return;
	}
	if (!can_afford(session, frame->len)) {
		on_bad(session, "one of too many in a short time");
		return;
	}
	if (message_decode(frame->payload, frame->len, &message, &err) < 0) {
		on_bad(session, "%s", err.text);
		return;
	}
	/* an error tells why it has ended */
	bool is_late = session->link->state == LINK_ENDING && !message.error;
	if (message.type == MESSAGE_REQUEST)
		on_bad(session, "a request: %s", message.op);
	else if (message.type == MESSAGE_RESULT && !is_late)
		on_result(session, &message);
	else if (message.type == MESSAGE_EVENT && !is_late)
		on_event(session, &message);
	message_fini(&message);
}

/* --- begin and end ------------------------------------------------------------------------ */

void session_begin(struct session *session)
{
	session->patience.on_expired = on_look;
	session->is_answered = session->is_ready = session->is_told_all = false;
	session->configure_id = session->ping_id = 0;
	session->namends = 0;
	session->has_ended = false;
	forget_report(session);
	session->rtt_ns = 0;
	session->frames_in = session->frames_out = 0;
	session->bad_messages = session->bad_untold = 0;
	session->news = (struct news){
		.loop = session->link->loop, .wire = &session->link->wire, .tell = tell_gone};
	/* who knew them the last time; so that what was kept for it is never found in use */
	send_configure(session, session->info.features & (FEATURE_TAKEOVER | FEATURE_KEEP));
}

void session_end(struct session *session)
{
	if (session->news.loop)
		news_clear(&session->news);
	forget_report(session);
	loop_timer_cancel(session->link->loop, &session->patience);
}
