/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/peer - one host as the manager sees it: when it is started, lost, started again */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <time.h>

#include "link/advice.h"
#include "mesh/link.h"
#include "mesh/manager/desk.h"
#include "mesh/manager/fabric.h"
#include "mesh/manager/installer.h"
#include "mesh/manager/session.h"
#include "mesh/manifest/manifest.h"
#include "util/list.h"
#include "util/log.h"
#include "util/loop.h"
#include "util/pauses.h"

/*
 * How it works
 *
 *	DOWN -> STARTING -> READY -> ENDING -> WAITING -> STARTING...
 *
 * The command is started as a link (mesh/link), on which a session (mesh/manager/session) makes it
 * a host that is ready; STARTING can lead to ENDING as well. ENDING ends when the link is closed:
 *in WAITING after trouble; in STARTING at once when it was to be started again; in DOWN when it was
 * to stop, or is not to be started again (restart). A pause is twice as long as the last
 *one, unless the host was ready for a while. WAITING is left for DOWN by peer_stop, and for
 *STARTING before its time by peer_restart.
 */
enum peer_state {
	PEER_DOWN,     /* nothing runs, and nothing will */
	PEER_STARTING, /* the command runs, `configure` is not answered yet */
	PEER_READY,
	PEER_ENDING,  /* the command has ended, or is to */
	PEER_WAITING, /* lost; the pause before the next start */
	PEER_STATES
};

struct peer;

/* What all peers of a manager have in common. */
struct peer_context {
	struct loop *loop;
	struct wire_hub *hub;
	struct children *children;
	struct fabric *fabric;
	struct rlimit nofile;     /* for the commands */
	struct desk *desk;        /* NULL: commands ask nobody */
	char *const *agent_files; /* for hosts that get one; NULL: none */
	const struct session_ops *session_ops;
	void (*on_change)(struct peer *peer); /* the state is another one */
	void (*on_stderr)(struct peer *peer, const char *text, size_t len);
	void *owner;
};

/*
 * Without a byte in this time the other end of a link counts as gone: for us, and for agents, which
 * notice within a quarter more. Theirs is over before ours is, so that of a link that died what is
 * at its far end has ended when it is started again: no COMMAND runs twice.
 */
#define PEER_SILENCE_S       20
#define PEER_AGENT_SILENCE_S 15

/*
 * For how long what a plain host listens at stays bound without an agent: longer than any pause
 * between two tries, and a login.
 */
#define PEER_KEEP_S 120

#define PEER_SAID_BYTES 128 /* of a line; the rest is cut */

struct peer_traffic {
	uint64_t packets_in, bytes_in, packets_out, bytes_out; /* in: from the host */
};

struct peer {
	/* the owner may write these */
	const struct manifest_host *host; /* NULL when it is not in the manifest any more */
	struct fabric_port port;
	struct list in_list; /* of the owner */
	bool was_ready;      /* the owner's: at the last change */
	bool is_news;       /* the owner's: others are to be told that it has gone, or is another */
	bool is_said_apart; /* the owner's: from some host, since it was ready */

	/* the owner may read these */
	const struct peer_context *context;
	char *name;
	struct in_addr vip; /* since it was started last */
	enum peer_state state;
	time_t since;      /* of the state, CLOCK_REALTIME */
	uint64_t since_ns; /* the same, CLOCK_MONOTONIC */
	unsigned restarts;
	char reason[LINK_REASON_BYTES]; /* why it was lost last; "": never */
	char said[PEER_SAID_BYTES];     /* the last line, while it starts; as it came */
	struct link link;
	struct session session;
	struct installer installer; /* of a host to which nswrap-agent is brought */
	struct desk_asker asker;

	/* the peer's own */
	struct peer_traffic earlier; /* of links before this one */
	struct loop_timer pause;     /* WAITING */
	bool is_retired;             /* to be down for good */
	bool is_new, was_once_ready; /* not ready since it was started; ready at some time */
	const struct advice *advice; /* what a person has to do; NULL: nothing */
	bool is_asked_to_end;        /* by us, without trouble */
	struct pauses pauses;
	uint64_t ended_ns; /* when ENDING began */
};

/* A peer that is down. Returns NULL without memory. @context and @host stay the caller's. */
struct peer *peer_new(const struct peer_context *context, const struct manifest_host *host);

/* What runs is killed. NULL is fine. */
void peer_free(struct peer *peer);

/* Start it and keep it running, if it is down. */
void peer_start(struct peer *peer);

/* Let it end: its stdin is closed, SIGKILL comes a second later. It is DOWN then, for good. */
void peer_stop(struct peer *peer);

/* End it, unless it ends already, and start it again without a pause; starts one that is down. */
void peer_restart(struct peer *peer, const char *reason);

static inline struct peer *peer_of(struct session *session)
{
	return container_of(session, struct peer, session);
}

struct peer_traffic peer_traffic(const struct peer *peer);

/*
 * What a host that starts waits for, or what it said last, as it came: of others, and when nothing
 * is known, "".
 */
const char *peer_note(const struct peer *peer);

/* Start it now, if it waits for somebody to mend something. */
void peer_retry(struct peer *peer);

/* "starting", "ready", "stopping", "lost", "waiting", "ended", "stopped" */
const char *peer_state_name(const struct peer *peer);
