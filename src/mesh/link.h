/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/link - frames over a command that was started, a socket, or descriptors that are there */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proc/child.h"
#include "proc/lines.h"
#include "util/err.h"
#include "util/loop.h"
#include "wire/wire.h"

/*
 * How it works
 *
 *	CLOSED -> OPEN -> ENDING -> CLOSED
 *
 * Trouble of any kind leads to ENDING: our end is closed, which tells the other side to end, and a
 * command that does not is killed. Only when it is reaped, and what it had said is read, the link
 *is CLOSED and the reason is known: what it wrote instead of frames (a login banner) says more than
 * its exit status. A command that ends by itself leads to ENDING, too, but its last words are still
 * given to the owner, who can send nothing any more.
 *
 * The owner may close or open the link again in on_end, and do what it likes but that in the other
 * callbacks.
 */
enum link_state { LINK_CLOSED, LINK_OPEN, LINK_ENDING };

#define LINK_REASON_BYTES 512

struct link;

struct link_ops {
	/* As in struct wire_ops. on_round_end comes before the bytes are gone in any case. */
	void (*on_frame)(struct link *link, struct frame *frame);
	void (*on_round_end)(struct link *link);
	/*
	 * A line of the command's stderr, or of what it wrote in front of its first frame, as it
	 * came; on_begun: one that has only begun, such as a prompt (proc/lines).
	 */
	void (*on_line)(struct link *link, const char *text, size_t len);
	void (*on_begun)(struct link *link, const char *text, size_t len);
	/* From time to time, after link_watch. */
	void (*on_beat)(struct link *link);
	/* It is ENDING now, for whatever cause. */
	void (*on_ending)(struct link *link);
	/*
	 * Its command is to be killed, but others use it, as an ssh that is shared: it goes on
	 * without us. What it needs open is the children's: returns -1 or a descriptor. May be
	 * NULL.
	 */
	int (*on_left)(struct link *link);
	/* It is CLOSED now, and link->reason says why. */
	void (*on_end)(struct link *link);
};

/* Starts as all zero but for ops, hub and loop. */
struct link {
	const struct link_ops *ops;
	bool holds; /* the owner's: a command's streams are not taken for frames before link_go */
	struct wire_hub *hub;
	struct loop *loop;

	/* the owner may use these */
	enum link_state state;
	struct wire wire;               /* to send; its counters: of the last one that was open */
	struct child child;             /* pid 0: none, or reaped */
	char reason[LINK_REASON_BYTES]; /* why it was closed last */
	int status; /* of the command, as a shell has it; -1: it has not ended by itself */

	/* while held, for the owner to read and write; -1 otherwise */
	int held_in, held_out;

	/* its own */
	struct lines lines, noise_lines;
	unsigned char noise[48];         /* the first bytes that were no frame */
	struct loop_timer timer;         /* OPEN: beat; ENDING: SIGKILL, or the end of last words */
	char program[256];               /* of the command, cut */
	char trouble[LINK_REASON_BYTES]; /* "": none but that the other side ends */
	char ending[128];                /* how the command ended */
	bool has_failed;                 /* the command, by its exit status */
	bool is_killed;                  /* SIGKILL was sent */
	bool is_left;                    /* it serves others, and goes on */
	unsigned beat_ms, silent_max, silent;
	uint64_t heard_bytes; /* at the last beat */
};

/*
 * Open it over a command's stdin and stdout, which are made here, as is stderr: @command's own
 * streams do not count. For one called nswrap, and for this executable (argv[0] counts), they are
 * sockets, else pipes. argv may be NULL, for want of memory. It is always OPEN afterwards or, if
 * something failed, ENDING.
 */
void link_start(struct link *link, struct children *children, const struct command *command);

/* What is held goes on as frames, in both directions. */
void link_go(struct link *link);

/* Something that is no frame came while it was held: shown as what is in front of the first one. */
void link_hear(struct link *link, const char *text, size_t len);

/*
 * Open it over descriptors: a connected socket (the same number twice) or two that were inherited.
 * They belong to the link, also on failure: then it is ENDING.
 */
void link_attach(struct link *link, int in_fd, int out_fd);

/*
 * Call on_beat every @every_ms from now on, and lose the link after @silent_max of them (0: never)
 * without a byte from the other side. Beats, not time: we may have been stopped along with it
 * (Ctrl-Z).
 */
void link_watch(struct link *link, unsigned every_ms, unsigned silent_max);

/*
 * There is no use in going on; @format says why, NULL: see how it ends. Of several reasons the
 * first one counts. Nothing else happens if it is ENDING already.
 */
void link_lose(struct link *link, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * End it without trouble, if it is OPEN: what was sent is read before the other side sees the end.
 * A command gets SIGKILL after @grace_ms. on_end comes later, never from here.
 */
void link_end(struct link *link, unsigned grace_ms);

/* SIGKILL for a command, if it is ENDING. */
void link_kill(struct link *link);

/* Has it said anything that is no frame before its first one? Then that is why it is lost. */
bool link_has_noise(const struct link *link);

/* Close what is open and kill a command that runs, without callbacks. */
void link_close(struct link *link);
