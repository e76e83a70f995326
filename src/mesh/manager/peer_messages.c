/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/peer_messages - what manager and agent say to each other: configure, ping, events */
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/configure.h"
#include "mesh/manager/peer_parts.h"
#include "version.h"

#define NS_PER_MS       1000000ULL
#define NS_PER_S        1000000000ULL
#define SILENCE_S       60
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

/* Not the round's start: round trips are short. */
static uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* A message that should not have come. */
static void on_bad(struct peer *peer, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void on_bad(struct peer *peer, const char *format, ...)
{
	uint64_t now = loop_now_ns(peer->context->loop);
	char text[TEXT_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	peer->bad_untold++;
	if (++peer->bad_messages > BAD_MAX) {
		peer_lose(peer, "it sent more than %d bad messages, the last one was %s", BAD_MAX,
			text);
		return;
	}
	if (peer->bad_told_ns != 0 && now - peer->bad_told_ns < BAD_TOLD_S * NS_PER_S)
		return;
	peer_notice(peer, LOG_WARNING, "sent %u bad message%s, the last one was %s",
		peer->bad_untold, peer->bad_untold == 1 ? "" : "s", text);
	peer->bad_told_ns = now;
	peer->bad_untold = 0;
}

/* Send a request; takes @args over. Returns its id, or 0. */
static int64_t ask(struct peer *peer, const char *op, json_t *args)
{
	struct message message = {.type = MESSAGE_REQUEST, .id = ++peer->last_id, .data = args};
	size_t len;

	if (!args)
		return 0;
	snprintf(message.op, sizeof(message.op), "%s", op);
	char *text = message_encode(&message, &len);
	int result = text ? wire_send_message(&peer->wire, text, len) : -1;
	free(text);
	if (result < 0)
		return 0;
	peer->messages_out++;
	return peer->last_id;
}

/* --- configure ---------------------------------------------------------------------------- */

void peer_send_configure(struct peer *peer, unsigned features)
{
	struct mesh_config config = {0};

	peer->is_outdated = false;
	peer->configure_id = 0;
	if (peer->context->ops->configure(peer, &config) == 0)
		peer->configure_id = ask(peer, "configure", configure_encode(&config, features));
	config_free(&config);
	peer->configure_ns = clock_ns();
	/* a link that takes nothing says so by itself; memory may be there next time */
	if (peer->configure_id == 0 && peer->wire.can_write)
		peer_lose(peer, "cannot send configure");
}

/* Would it be told more, now that its features are known? */
static bool has_more_to_tell(struct peer *peer)
{
	struct mesh_config config = {0};
	bool differs = false;

	if (peer->context->ops->configure(peer, &config) == 0) {
		json_t *plain = configure_encode(&config, 0);
		json_t *full = configure_encode(&config, peer->info.features);

		differs = !json_equal(plain, full);
		json_decref(plain);
		json_decref(full);
	}
	config_free(&config);
	return differs;
}

/* What the manifest asks of its agent. */
static struct config_needs needs(struct peer *peer)
{
	struct config_needs all = {0};
	struct mesh_config config = {0};

	if (peer->context->ops->configure(peer, &config) == 0)
		all = config_needs(&config);
	config_free(&config);
	return all;
}

static bool refuse_if_too_old(struct peer *peer)
{
	unsigned missing = needs(peer).required & ~peer->info.features;

	if (!(peer->info.features & FEATURE_TCP))
		peer_lose(peer, "the agent does not support tcp");
	else if (missing != 0)
		peer_lose(peer, "the agent does not support %s, which the manifest asks for",
			info_feature_name(missing & -missing));
	else
		return false;
	return true;
}

/* One line, and again only when something else is missing. */
static void warn_of_missing(struct peer *peer)
{
	unsigned missing = needs(peer).wanted & ~peer->info.features;
	char list[TEXT_BYTES] = "";
	size_t used = 0;

	if (missing != 0 && missing != peer->warned) {
		for (unsigned bit = 1; bit <= missing && used < sizeof(list); bit <<= 1)
			if (missing & bit)
				used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s",
					used > 0 ? ", " : "", info_feature_name(bit));
		peer_notice(peer, LOG_WARNING,
			"the manifest asks for what its agent does not support: %s", list);
	}
	peer->warned = missing;
	if (strcmp(peer->info.version, NSWRAP_VERSION) != 0)
		peer_notice(peer, LOG_INFO, "its agent has version %s",
			peer->info.version[0] != '\0' ? peer->info.version : "(none)");
}

static void on_configured(struct peer *peer, const struct message *message)
{
	char text[TEXT_BYTES];
	struct err err;

	if (message->error) {
		peer_lose(peer, "cannot be configured: %s",
			message_error_text(message->error, text, sizeof(text)));
		return;
	}
	if (info_decode(message->data, &peer->info, &err) < 0) {
		peer_lose(peer, "its answer to configure is wrong: %s", err.text);
		return;
	}
	peer->is_answered = true;
	if (refuse_if_too_old(peer))
		return;

	bool has_more = !peer->is_told_all && has_more_to_tell(peer);
	if ((has_more || peer->is_outdated) && (peer->info.features & FEATURE_RECONFIGURE)) {
		peer->is_told_all = true;
		peer_send_configure(peer, peer->info.features);
		if (peer->state == PEER_STARTING)
			loop_timer_set(peer->context->loop, &peer->timer, PEER_ANSWER_MS);
		return;
	}
	if (peer->is_outdated)
		peer_notice(peer, LOG_NOTICE, "learns of the new manifest at its next start");
	peer->is_told_all = true;
	peer->is_outdated = false;
	if (peer->state == PEER_STARTING) {
		warn_of_missing(peer);
		peer_become_ready(peer);
	}
}

void peer_reconfigure(struct peer *peer)
{
	if (peer->state == PEER_STARTING || peer->configure_id != 0)
		peer->is_outdated = true; /* looked at when the answer has come */
	else if (peer->state == PEER_READY && (peer->info.features & FEATURE_RECONFIGURE))
		peer_send_configure(peer, peer->info.features);
	else if (peer->state == PEER_READY)
		peer_notice(peer, LOG_NOTICE, "learns of the new manifest at its next start");
}

/* --- ping --------------------------------------------------------------------------------- */

void peer_ping(struct peer *peer)
{
	uint64_t now = clock_ns();

	if (peer->configure_id != 0 && now - peer->configure_ns >= PEER_ANSWER_MS * NS_PER_MS) {
		peer_lose(peer, "no answer to configure in %d s", PEER_ANSWER_MS / 1000);
		return;
	}
	if (!(peer->info.features & FEATURE_PING))
		return;
	if (peer->wire.bytes_in != peer->heard_bytes) {
		peer->heard_bytes = peer->wire.bytes_in;
		peer->silent_rounds = 0;
	}
	if (peer->ping_id == 0) {
		peer->ping_id = ask(peer, "ping", json_object());
		peer->ping_ns = now;
	} else if (++peer->silent_rounds >= SILENCE_S * 1000 / PEER_PING_MS) {
		/* rounds, not time: we may have been stopped along with it (Ctrl-Z) */
		peer_lose(peer, "no answer for %d s", SILENCE_S);
	}
}

/* --- what comes --------------------------------------------------------------------------- */

static void on_result(struct peer *peer, const struct message *message)
{
	if (message->id != 0 && message->id == peer->configure_id &&
		strcmp(message->op, "configure") == 0) {
		peer->configure_id = 0;
		on_configured(peer, message);
	} else if (message->id != 0 && message->id == peer->ping_id &&
		   strcmp(message->op, "ping") == 0) {
		peer->ping_id = 0;
		peer->rtt_ns = clock_ns() - peer->ping_ns;
	} else {
		on_bad(peer, "a result of %s that nobody asked for", message->op);
	}
}

static void on_event(struct peer *peer, const struct message *message)
{
	struct in_addr ips[SUGGESTIONS_MAX], via;
	struct err err;

	if (strcmp(message->op, "routeSuggestion") != 0)
		return; /* a newer agent knows more of them */
	ssize_t count = message_decode_suggestion(message->data, ips, SUGGESTIONS_MAX, &via, &err);
	if (count < 0)
		on_bad(peer, "a routeSuggestion: %s", err.text);
	else
		peer->context->ops->on_suggestion(peer, ips, (size_t)count, via);
}

static bool can_afford(struct peer *peer, size_t len)
{
	uint64_t now = loop_now_ns(peer->context->loop);

	if (peer->budget_ns + CREDIT_NS < now)
		peer->budget_ns = now - CREDIT_NS;
	if (peer->budget_ns > now)
		return false;
	peer->budget_ns += COST_MESSAGE_NS + len * COST_BYTE_NS;
	return true;
}

void peer_on_message(struct peer *peer, const struct frame *frame)
{
	struct message message;
	struct err err;

	peer->messages_in++;
	if (frame->type != FRAME_MESSAGE) {
		peer->unknown_frames++;
		return;
	}
	if (!can_afford(peer, frame->len)) {
		on_bad(peer, "one of too many in a short time");
		return;
	}
	if (message_decode(frame->payload, frame->len, &message, &err) < 0) {
		on_bad(peer, "%s", err.text);
		return;
	}
	bool is_late = peer->state == PEER_ENDING && !message.error;
	if (message.type == MESSAGE_REQUEST)
		on_bad(peer, "a request: %s", message.op);
	else if (message.type == MESSAGE_RESULT && !is_late) /* an error tells why it has ended */
		on_result(peer, &message);
	else if (message.type == MESSAGE_EVENT && !is_late)
		on_event(peer, &message);
	message_fini(&message);
}
