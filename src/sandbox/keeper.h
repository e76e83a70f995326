/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/keeper - keep a net process running */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "sandbox/netproc.h"
#include "util/err.h"
#include "util/loop.h"

/*
 * How it works
 *
 * When the net process dies another one is started at once; after some quick deaths after a pause,
 * and after one that grows when it cannot be started, or says NET_FAILED. That is for who hears it
 * to tell, once; here it is told when one works again. The channel holds some hundreds of messages,
 * and the net process may be stopped: nobody waits for it. What it says is heard while there is
 * room for an answer.
 */
struct keeper_ops {
	/* Start one with @channel as its end. Returns its pid, or -errno with @err filled. */
	pid_t (*spawn)(void *owner, int channel, struct err *err);
	/*
	 * It takes messages: a fresh process, which has been told nothing, or the same again after
	 * keeper_send said -EAGAIN.
	 */
	void (*on_room)(void *owner, bool is_fresh);
	/*
	 * What it says (the texts end with NUL, ids are not checked).
	 */
	void (*on_message)(void *owner, const struct net_message *message);
};

struct keeper {
	pid_t pid;         /* 0: none runs */
	bool is_last;      /* the owner's: no other one is started */
	unsigned failures; /* how many could not begin, one after the other; for reading */

	/* its own */
	struct loop *loop;
	const struct keeper_ops *ops;
	void *owner;
	struct loop_io io;
	bool is_full;            /* the channel is, and nothing is heard meanwhile */
	struct loop_timer timer; /* then another one is started */
	uint64_t started_ns;
	unsigned quick_deaths;
	bool is_spared;                /* none is started until it is needed */
	struct loop_io udp_io, tcp_io; /* that is when somebody asks here */
};

/* @loop and @ops must stay. */
void keeper_init(
	struct keeper *keeper, struct loop *loop, const struct keeper_ops *ops, void *owner);

/* Start the first one. Returns 0, or -errno with @err filled. */
int keeper_start(struct keeper *keeper, struct err *err);

/*
 * Start the first one when @udp or @tcp, of its name server, can be read (-1: there is none), or
 * when there is something to send. They must stay open until keeper_stop.
 */
void keeper_spare(struct keeper *keeper, int udp, int tcp);

/* Returns 0 or -errno: -EAGAIN, or -EPIPE when none runs; on_room will be called. */
int keeper_send(struct keeper *keeper, const struct net_message *message, int fd);

/* It died, and was reaped: @code and @status are of waitid(2). Its last words are heard first. */
void keeper_on_death(struct keeper *keeper, int code, int status);

/* End it and start no other one. */
void keeper_stop(struct keeper *keeper);
