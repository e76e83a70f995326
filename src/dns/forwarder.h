/* SPDX-License-Identifier: Apache-2.0 */
/* dns/forwarder - passes DNS queries to the servers that are to be asked, as they came */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dns/ask.h"
#include "util/addr.h"
#include "util/budget.h"
#include "util/list.h"
#include "util/loop.h"

/*
 * How it works
 *
 * The servers are asked in their order, each FORWARDER_TRY_MS after the one before it, round and
 * round until one answers or FORWARDER_DEADLINE_MS have passed. One that was silent is asked last
 * for FORWARDER_SILENT_MS. One that refuses the packet or the query (SERVFAIL, NOTIMP, REFUSED)
 * gives way at once; if all do, the last one's answer is the answer.
 *
 * Over UDP each try has a socket of its own, connected: the kernel picks a random port and drops
 * what others send. The id is random, and an answer to another question is not one. A query that
 * came over TCP is passed on over TCP, or over UDP where no server takes connections. An answer
 * that says it is cut is passed on as it is, as who asked knows what to do; but not one of UDP to
 * who asked over TCP, as most programs take what is left of it there for all that there is.
 */
#define FORWARDER_SERVERS_MAX 8
#define FORWARDER_QUERIES_MAX 512 /* under way; past them -EAGAIN */
#define FORWARDER_TRY_MS      2000
#define FORWARDER_TRY_TCP_MS  4000
#define FORWARDER_DEADLINE_MS 9000 /* glibc's own: 2 times 5 s */
#define FORWARDER_SILENT_MS   30000

struct forwarder;

/* One query under way; part of its owner, starts as all zero but for on_answer. */
struct forwarder_query {
	/*
	 * From the loop, once. @result is 0 and @answer has the query's id and question, or it is
	 * -ETIMEDOUT or -errno and @answer is NULL. @answer is gone afterwards. The query may be
	 * started again or freed here.
	 */
	void (*on_answer)(
		struct forwarder_query *query, int result, const uint8_t *answer, size_t len);

	/* the forwarder's */
	struct forwarder *forwarder; /* NULL: nothing is under way */
	struct list link;
	struct loop_io io; /* UDP; fd -1: nothing is waited for */
	struct loop_timer timer;
	struct loop_task task;
	struct ask ask; /* TCP */
	uint8_t id[2];  /* the query's own; each try has another one */
	uint8_t *message, *refusal;
	size_t len, question_end, refusal_len;
	uint64_t deadline_ns;
	unsigned asked, refused; /* bit i: server i, in this round; at all */
	unsigned server;         /* that is asked now */
	int last_error;
	bool is_tcp;
	bool wants_whole; /* it came over TCP: who asked has no other way to ask */
};

/* @loop and @budget stay the caller's. No servers yet. Returns NULL with errno set. */
struct forwarder *forwarder_new(struct loop *loop, struct budget *budget);

/* All queries must have been answered or cancelled. NULL is allowed. */
void forwarder_free(struct forwarder *forwarder);

/* Ask these (copied; at most FORWARDER_SERVERS_MAX of them) from now on. What is under way goes on
 * with the next try. */
void forwarder_set_servers(struct forwarder *forwarder, const struct addr *servers, size_t count);

/*
 * Pass on @message (copied), whose header and question are the first @question_end bytes. Returns
 * 0, and then on_answer is called, or -errno: -ENOENT, there is no server; -EAGAIN, too many under
 * way.
 */
int forwarder_start(struct forwarder *forwarder, struct forwarder_query *query,
	const uint8_t *message, size_t len, size_t question_end, bool is_tcp);

/* Nothing happens if it is not under way. */
void forwarder_cancel(struct forwarder_query *query);
