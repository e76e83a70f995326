/* SPDX-License-Identifier: Apache-2.0 */
/* link/linkend - one end of a link: opened, given to its owner, ended, and opened again */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

#include "conn/context.h"
#include "conn/dial.h"
#include "link/advice.h"
#include "link/linkport.h"
#include "link/linkspec.h"
#include "link/proof.h"
#include "proc/child.h"
#include "util/pauses.h"

/*
 * How it works
 *
 *	IDLE -> OPENING -> OPEN -> ENDING -> IDLE
 *
 * OPENING: a command is started, an address or path is connected to, somebody who connects is
 * waited for, or descriptors were inherited; with a key both then prove to have it. OPEN: the
 * descriptors are the owner's, whatever they are; whether the other end lives is the owner's to
 * know, as is when it is over: it closes them and calls linkend_close. ENDING: a command that has
 * lost its stdin and stdout has LINKEND_END_MS to end; then it is killed, unless others use it (an
 * ssh that is shared). Then on_closed says why.
 *
 * One at a time: while it is OPEN those who connect wait in the kernel. Who wants many at once has
 * many of these, or a linkport.
 */
#define LINKEND_DEADLINE_MS      10000 /* to prove to have the key */
#define LINKEND_EXEC_DEADLINE_MS 60000 /* the same behind a command: a login takes long */
#define LINKEND_END_MS           1000
#define LINKEND_PAUSE_MIN_MS     200
#define LINKEND_PAUSE_MAX_MS     30000
#define LINKEND_GOOD_MS          10000 /* open for so long: the next pause is the shortest */
/* where a person has to do something first (link/advice), unless it was open for so long once */
#define LINKEND_SLOW_MIN_MS 30000
#define LINKEND_SLOW_MAX_MS 300000

enum linkend_state { LINKEND_IDLE, LINKEND_OPENING, LINKEND_OPEN, LINKEND_ENDING };

struct linkend;

struct linkend_ops {
	/* It is OPEN. The descriptors, perhaps one number, are the owner's. */
	void (*on_open)(struct linkend *end, int in_fd, int out_fd);
	/* It is OPEN, but its command has ended: what is in the descriptors is all there will be.
	 */
	void (*on_over)(struct linkend *end);
	/* It is IDLE; @why could it not be opened, or was closed: "" if there is nothing to say. */
	void (*on_closed)(struct linkend *end, const char *why);
};

#define LINKEND_WHY_BYTES 512

/* Starts as all zero but for the owner's part. */
struct linkend {
	const struct linkend_ops *ops;
	const struct conn_context *context; /* loop, budget and names */
	const struct linkspec *spec;
	struct children *children; /* EXEC only; who calls children_reap at SIGCHLD? The owner. */
	struct rlimit nofile;      /* EXEC: of the command */
	bool shares_terminal; /* EXEC: no session of its own, so that it can ask for a password */
	/* EXEC: the next one has this process's terminal for itself, until the owner takes that
	 * back */
	bool lends_terminal;
	const struct keyfile *key; /* NULL: nobody proves anything */
	enum proof_role role;
	const char *purpose;
	const int *listen_fd; /* of what listens: see linkport */

	/* the owner may read it */
	enum linkend_state state;
	bool was_interrupted;        /* the last command, by SIGINT */
	bool was_long;               /* the last time it was open for LINKEND_GOOD_MS */
	const struct advice *advice; /* what to do about its end, which @why says as well */

	/* its own */
	int fds[2]; /* while it is OPENING */
	struct dial dial;
	struct proof proof;
	struct child child;
	struct linkport port;
	struct loop_timer timer;
	struct pauses pauses;
	uint64_t opened_ns; /* 0: it was not open */
	bool is_used;       /* what was inherited */
	bool has_failed;    /* the command */
	bool was_good;      /* was_long, once */
	char why[LINKEND_WHY_BYTES], ending[128];
};

/*
 * Once, before the first linkend_start: is what was inherited open, can it listen where it should?
 * Returns 0, or -errno with @err filled; linkend_fini in either case.
 */
int linkend_init(struct linkend *end, struct err *err);

/* It is IDLE: open it. Callbacks come from the loop, never from here. */
void linkend_start(struct linkend *end);

/* The same after a pause (util/pauses; none for what listens). Returns how long it is. */
unsigned linkend_again(struct linkend *end);

/*
 * It is over: its descriptors are closed, or it is OPENING no more. @why may be NULL. on_closed
 * comes later. Nothing happens if it is IDLE or ENDING; one that is to be started again is not.
 */
void linkend_close(struct linkend *end, const char *why);

/* End everything that was begun, without a callback; a command is killed. */
void linkend_fini(struct linkend *end);
