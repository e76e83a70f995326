/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/installer - bring nswrap-agent to a host whose command leads to a shell, and start
 * it */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/manager/parcel.h"
#include "util/loop.h"

/*
 * How it works
 *
 *	HELLO -> FIND -> done
 *	           `-> BEGIN -> SEND -> END -> done
 *
 * Shells read ahead, so what is for the agent is not written before the shell has said that it
 * becomes the agent. Each text (mesh/manager/parcel) is answered before the next one, but for
 * WINDOW chunks under way. An answer begins with a nonce, wherever in a line that stands: a banner
 * may have no end, and a shell that believes in a terminal writes prompts. What is no answer, such
 * as a banner, is the owner's.
 */
struct installer_ops {
	/* What was said that is no answer. */
	void (*on_text)(void *owner, const char *text, size_t len);
	/* A line for a person: what is under way. */
	void (*on_progress)(void *owner, const char *text);
	/* The descriptors are the owner's again: an agent reads there. */
	void (*on_done)(void *owner);
	/* It cannot be done. Not for the end of the command. */
	void (*on_failed)(void *owner, const char *why);
};

struct installer {
	const struct installer_ops *ops;
	void *owner;
	struct loop *loop;
	char *const *files; /* nswrap-agents that the user names; NULL: none */

	/* its own */
	enum {
		INSTALLER_OFF,
		INSTALLER_HELLO,
		INSTALLER_FIND,
		INSTALLER_BEGIN,
		INSTALLER_SEND,
		INSTALLER_END
	} step;
	struct loop_io in, out;
	struct loop_timer patience;
	uint64_t began_ns;
	bool is_doubted; /* has it been said that no shell seems to be there? */
	struct parcel parcel;
	char nonce[PARCEL_NONCE_BYTES];
	char *text; /* what is being written */
	size_t text_len, written;
	size_t sent, got; /* bytes of the parcel */
	unsigned told_percent;
	char line[512]; /* what has come of one */
	size_t line_len;
};

/* Begin on two different descriptors, which stay the caller's. Starts as all zero but for the first
 * four. Returns 0 or -errno. */
int installer_begin(struct installer *installer, int in_fd, int out_fd);

/* Stop. Before the descriptors are closed; also if it never began. */
void installer_end(struct installer *installer);
