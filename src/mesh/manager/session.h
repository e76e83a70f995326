/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/session - what is said to an agent and what it says: configure, ping, events */
#pragma once

#include <jansson.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/config.h"
#include "mesh/info.h"
#include "mesh/link.h"
#include "mesh/manager/news.h"
#include "mesh/message.h"
#include "mesh/report.h"
#include "util/log.h"
#include "util/loop.h"

/*
 * How it works
 *
 * A session begins on a link that has just been opened, with `configure`. How long it takes until
 * an agent is there to read it nobody knows: somebody types a password, a container is pulled. So
 * there is no end to waiting while what was sent is not taken from our pipe. When it is taken,
 * which may still be somebody between, and nothing has come back in a while, a person is told; only
 * much later the link is lost. Who has begun a frame, or is to be configured anew, is an agent, and
 * has ten seconds. An agent that lists features which make a difference is configured once more,
 * with what they allow, before it counts as ready; from then on it is pinged, and asked to report
 * ports that do not work. Results are matched with requests by number. Messages that should not
 * have come are counted, told of once a minute, and too many of them, as whatever else there is no
 * use in going on with, lose the link.
 */
struct session;

/* What the answer to `configure` waits for. */
enum session_wait {
	SESSION_WAITS_FOR_COMMAND, /* to take `configure` */
	SESSION_WAITS_FOR_AGENT,   /* to say anything */
	SESSION_WAITS_FOR_NOISE,   /* the same, but something else was said */
	SESSION_WAITS_FOR_ANSWER,  /* of an agent that is there */
	SESSION_WAITS
};

struct session_ops {
	/* What the agent is to be told; free it with config_free. 0 or -ENOMEM. */
	int (*configure)(struct session *session, struct mesh_config *out);
	/* A line for a person. */
	void (*on_notice)(struct session *session, enum log_level level, const char *text);
	/* Addresses that go by way of @via from now on. */
	void (*on_suggestion)(struct session *session, const struct in_addr *ips, size_t count,
		struct in_addr via);
};

/* Starts as all zero but for ops, on_ready and link. */
struct session {
	const struct session_ops *ops;
	/* It has answered, and knows all it is to know. Once. */
	void (*on_ready)(struct session *session);
	struct link *link;

	/* the owner may read these */
	struct mesh_agent_info info;    /* of the last agent that answered */
	uint64_t rtt_ns;                /* of the last ping; 0: not known */
	bool is_answered;               /* `configure` was, at least once */
	uint64_t frames_in, frames_out; /* that were no packets */
	uint64_t unknown_frames;        /* of a type that is not known, skipped; of all sessions */
	unsigned bad_messages;
	struct mesh_report *report; /* the last one; NULL: no trouble is known */
	uint64_t report_ns;         /* when it came */
	bool has_ended;             /* the command of its sandbox, in this session */
	bool knows_end;             /* in this one or one before, and that is how: */
	struct message_ended ended;

	/* its own */
	bool is_ready;
	bool is_told_all;           /* what its features allow, too */
	bool is_outdated;           /* what it was told is not true any more */
	struct loop_timer patience; /* looks what there is of an answer to `configure` */
	uint64_t waiting_ns;        /* since when for what it waits for now */
	uint64_t taken_ns;          /* when `configure` was */
	bool is_told_late;
	uint64_t heard_noise; /* bytes, by then */
	enum session_wait wait;
	int64_t last_id, configure_id, ping_id, report_id; /* 0: none is under way */
	int64_t amend_id;                                  /* of the last one */
	unsigned namends;                                  /* that are under way */
	uint64_t ping_ns;                                  /* when it was sent */
	unsigned bad_untold;
	uint64_t bad_told_ns;
	uint64_t budget_ns; /* messages: paid for until then */
	unsigned warned;    /* features whose lack was told */
	struct news news;
};

/* The link is open. May lose it. */
void session_begin(struct session *session);

/* The link is ending: no answer is waited for. */
void session_end(struct session *session);

/* A frame that is no packet, also of a link that is ENDING. May lose the link. */
void session_on_frame(struct session *session, const struct frame *frame);

/* Is the answer late, so that a person should know? */
bool session_is_late(const struct session *session);

/* The command has said something: it is at work, whatever that is. */
void session_heard(struct session *session);

/* Ask whether it is still there, if it can be asked and is not being asked. */
void session_ping(struct session *session);

/* Hosts have gone, or (@is_back) are there again as others: tell it, if it knows of such. */
void session_tell_gone(
	struct session *session, const struct in_addr *ips, size_t count, bool is_back);

/* Its end is a proper one: nothing is to stay bound for the next agent. */
void session_leave(struct session *session);

/* What it is to be told is different: tell it, now or when it can be told. May lose the link. */
void session_reconfigure(struct session *session);

/*
 * The same of who else is there, when all the rest is as it was told: @args are the arguments of
 * `amend`, for an agent that knows that; NULL: tell it all. May lose the link.
 */
void session_amend(struct session *session, json_t *args);

/* Tell a person of it, by session_ops.on_notice. */
void session_notice(struct session *session, enum log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
