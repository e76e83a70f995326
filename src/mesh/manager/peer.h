/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/peer - one host as the manager sees it: its command, its link, its restarts */
#ifndef NSWRAP_MESH_MANAGER_PEER_H
#define NSWRAP_MESH_MANAGER_PEER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <time.h>

#include "mesh/manager/child.h"
#include "mesh/manager/lines.h"
#include "mesh/manifest/manifest.h"
#include "mesh/info.h"
#include "mesh/message.h"
#include "mesh/wire.h"
#include "util/log.h"
#include "util/loop.h"

/*
 * How it works
 *
 *	DOWN -> STARTING -> READY -> ENDING -> WAITING -> STARTING...
 *
 * A start forks the command and sends `configure`. An agent that lists features which make a
 * difference is configured once more, with what they allow, before the host counts as ready.
 * Trouble of any kind leads to ENDING: the link is closed, which tells an agent to end, and
 * SIGKILL follows. Only when the command is reaped, and what it had said is read, the reason is
 * known and told: what it printed instead of frames says more than its exit status.
 *
 * The owner reaps children (peer_on_child_end) and kills what they leave behind.
 */
enum peer_state {
	PEER_DOWN,     /* nothing runs, and nothing will */
	PEER_STARTING, /* the command runs, `configure` is not answered yet */
	PEER_READY,
	PEER_ENDING,  /* the command has ended, or is to */
	PEER_WAITING, /* lost; the pause before the next start */
};

#define PEER_REASON_BYTES 512
#define PEER_PARTS_MAX    256

struct peer;

/* What a peer asks and tells its owner. */
struct peer_ops {
	/* A packet of a host that is configured; its frame is there until on_round_end. */
	void (*on_packet)(struct peer *peer, struct frame *frame);
	void (*on_round_end)(struct peer *peer);
	/* The state is another one. */
	void (*on_change)(struct peer *peer);
	/* A line for a person: about the host, and one of its own. */
	void (*on_notice)(struct peer *peer, enum log_level level, const char *text);
	void (*on_stderr)(struct peer *peer, const char *text, size_t len);
	/* Addresses that go by way of @via from now on. */
	void (*on_suggestion)(
		struct peer *peer, const struct in_addr *ips, size_t count, struct in_addr via);
	/* What the host is to be told; free it with config_free. 0 or -ENOMEM. */
	int (*configure)(struct peer *peer, struct mesh_config *out);
};

/* What all peers of a manager have in common. */
struct peer_context {
	struct loop *loop;
	struct wire_hub *hub;
	const struct peer_ops *ops;
	struct rlimit nofile; /* for the commands */
	void *owner;
};

/* Packets that did not go on, by cause. */
struct peer_drops {
	uint64_t malformed;    /* from it: no IPv4 packet */
	uint64_t wrong_source; /* from it: an address that is not its own */
	uint64_t no_route;     /* from it: to nobody */
	uint64_t not_ready;    /* to it */
	uint64_t queue_full;   /* to it */
};

struct peer_traffic {
	uint64_t packets_in, bytes_in, packets_out, bytes_out; /* in: from the host */
};

struct peer {
	/* the owner may read all of this, and write the first ones */
	int number;                       /* in the manifest */
	const struct manifest_host *host; /* NULL when it is not in the manifest any more */
	struct peer_drops drops;
	struct iovec *parts; /* frames to it of this round; NULL unless it is ready */
	size_t nparts;
	struct peer *next; /* in a list of the owner */

	const struct peer_context *context;
	char *name;
	enum peer_state state;
	time_t since;      /* of the state, CLOCK_REALTIME */
	uint64_t since_ns; /* the same, CLOCK_MONOTONIC */
	unsigned restarts;
	char reason[PEER_REASON_BYTES]; /* why it was lost last; "": never */
	struct mesh_agent_info info;    /* of the last agent that answered */
	uint64_t rtt_ns;                /* 0: not known */
	struct child child;
	struct wire wire;

	/* the peer's own */
	struct peer_traffic earlier;        /* of links that are closed */
	uint64_t messages_in, messages_out; /* frames of the wire that are no packets */
	uint64_t unknown_frames;            /* of a type that is not known, skipped */
	struct lines lines;
	struct loop_timer timer; /* STARTING: patience; READY: ping; ENDING: kill; WAITING: start */
	bool is_retired;         /* to be down for good */
	bool is_answered;        /* `configure` was, at least once on this link */
	bool is_told_all;        /* what its features allow, too */
	bool is_outdated;        /* what it was told is not true any more */
	bool is_killed;          /* SIGKILL was sent */
	bool has_failed;         /* the command, by its exit status */
	bool is_asked_to_end;    /* by us, without trouble */
	char trouble[PEER_REASON_BYTES];        /* "": none but that the command ends */
	char ending[PEER_REASON_BYTES];         /* how the command ended; "": not yet */
	unsigned pause_ms;                      /* the last one; 0: none yet */
	uint64_t ended_ns;                      /* when ENDING began */
	int64_t last_id, configure_id, ping_id; /* 0: none is under way */
	uint64_t configure_ns, ping_ns;         /* when that was sent */
	uint64_t heard_bytes;                   /* that had come when it was last looked at */
	unsigned silent_rounds;                 /* of pings since then */
	unsigned bad_messages, bad_untold;
	uint64_t bad_told_ns;
	uint64_t budget_ns; /* messages: paid for until then */
	unsigned warned;    /* features whose lack was told */
};

#define peer_of(ptr, member) ((struct peer *)((char *)(ptr)-offsetof(struct peer, member)))

/* A peer that is down. Returns NULL without memory. @context and @host stay the caller's. */
struct peer *peer_new(
	const struct peer_context *context, const struct manifest_host *host, int number);

/* For one that is down. */
void peer_free(struct peer *peer);

/* Start it and keep it running, if it is down. */
void peer_start(struct peer *peer);

/* Let it end: its stdin is closed, SIGKILL comes a second later. It is DOWN then, for good. */
void peer_stop(struct peer *peer);

/* SIGKILL now, if it is ending. */
void peer_kill(struct peer *peer);

/* End it and start it again without a pause; starts one that is down. */
void peer_restart(struct peer *peer, const char *reason);

/* What it is to be told is different: tell it, now or when it can be told. */
void peer_reconfigure(struct peer *peer);

/* Its command was reaped; @code and @status are waitid(2)'s. */
void peer_on_child_end(struct peer *peer, int code, int status);

/* Is there a command that is not reaped yet? */
static inline bool peer_has_child(const struct peer *peer)
{
	return peer->child.pid > 0;
}

struct peer_traffic peer_traffic(const struct peer *peer);

/* "starting", "ready", "lost", "waiting", "stopped" */
const char *peer_state_name(const struct peer *peer);

#endif
