/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/forwards - the rules of a sandbox, their listeners, and what is said of them */
#pragma once

#include <jansson.h>

#include "conn/bind.h"
#include "conn/hold.h"
#include "sandbox/config.h"
#include "sandbox/events.h"
#include "sandbox/netproc.h"
#include "util/loop.h"

/*
 * How it works
 *
 * The listeners are bound here, with the caller's rights, and stay open until their rule is
 * removed: the net process gets copies of them, so when it dies clients wait for the next one, and
 * nobody else can have the port. What it does not know yet (new rules, rules that are gone) is sent
 * as far as it takes it; the rest when forwards_send is called again. A rule that it cannot serve
 * is lost: it is sent again after a pause, until it is served. Socket files are announced to init
 * before they are made, so that it can remove them should we vanish.
 *
 * The host's loopback port of the guest's number is held (conn/hold) wherever the rule does not
 * listen there itself: programs print their own address, and what they print must not lead to
 * somebody else. So is that of the host's number: a rule listens at 127.0.0.1, and "localhost" is
 * ::1 first. Only for the first HOLD_RULES_MAX rules, which leaves descriptors for the rest.
 */
#define HOLD_RULES_MAX 64

struct forwards_ops {
	/*
	 * To the net process, with @fd if that is none of -1. Returns 0, or -errno: not now;
	 * forwards_send, or outwards_send, will be called.
	 */
	int (*send)(void *owner, const struct net_message *message, int fd);
	/* Socket @name in the directory @dir_fd is about to be made. */
	void (*own_file)(void *owner, int dir_fd, const char *name);
};

/* One rule. */
struct forwards_item {
	uint32_t id; /* never used twice */
	struct forward_spec spec;
	enum forward_driver_choice driver;
	struct bound listener;
	struct hold guest_hold;  /* of the guest's port, where it does not lead here */
	struct hold host_hold;   /* the same of the host's, if that is another one */
	struct addr guest_taken; /* where that port is somebody else's; none: nowhere */
	struct addr host_taken;
	bool has_listened;
	bool is_announced;
	bool is_sent;    /* the net process that runs knows it */
	char *lost_text; /* why it is not served now, NULL: it is; owned */
};

/* Starts as all zero but for the first group, which must stay. */
struct forwards {
	const struct sandbox_config *config;
	struct events *events;
	const struct forwards_ops *ops;
	void *owner;
	bool keeps_clients;    /* splice does */
	struct hold hold;      /* of config's guest port */
	const int *guest_diag; /* net/diag inside, where nobody else asks; NULL: none */

	/* for reading */
	struct forwards_item *items;
	size_t count;

	/* its own */
	uint32_t next_id;
	uint32_t *removed; /* ids that the net process has still to be told to forget */
	size_t nremoved;
	size_t nclosing; /* those of which it was told, and has not said that they are closed */
	struct loop *loop;
	struct loop_timer retry_timer;
};

/* Splice shows the guest who its clients are: choose drivers accordingly. Before anything is sent.
 */
void forwards_keep_clients(struct forwards *forwards);

/* @loop must stay. */
void forwards_init(struct forwards *forwards, struct loop *loop);

/* How many descriptors the rules of @config take in the net process, without any connection. */
size_t forwards_fds(const struct sandbox_config *config);

/* Announce the socket file that is about to be made at @path. Returns 0, or -errno with @err. */
int forwards_own_path(
	const struct forwards_ops *ops, void *owner, const char *path, struct err *err);

/* Close everything and remove the socket files. */
void forwards_fini(struct forwards *forwards);

/*
 * Bind what the rules of the configuration say: TCP and UDP ports, later @paths, the unix sockets.
 * Once each, and in this order; rules may come and go between the two. Returns 0, or -errno with
 * @err filled.
 */
int forwards_bind(struct forwards *forwards, bool paths, struct err *err);

/* The rules with the ports as they are. The caller frees the list, also on error. */
int forwards_list(const struct forwards *forwards, struct forward_list *list, struct err *err);

/* Tell the net process, a fresh one or not, what it does not know, as far as it takes it now. */
void forwards_send(struct forwards *forwards, bool is_fresh);

/* One line and one event a rule, from number @first on, but once: it may have been added before the
 * start is over. And what is not as one might think, also to @warnings, an array of texts, unless
 * that is NULL. */
void forwards_announce(struct forwards *forwards, size_t first, json_t *warnings);

/*
 * While the sandbox runs: add all of @specs, or none, and announce them; remove all of them, of
 * which each may be just what stands in front of the guest port, if that names one rule. NULL ends
 * the texts; @warnings as above. The net process closes what was removed in a moment: @removed gets
 * what is anybody's to bind then. Return 0, or -errno with @err filled.
 */
int forwards_add(
	struct forwards *forwards, const char *const *specs, json_t *warnings, struct err *err);
int forwards_remove(
	struct forwards *forwards, const char *const *specs, json_t *removed, struct err *err);

/* The net process found a listener, cannot serve a rule, or can again; ids may be wrong. */
void forwards_on_listening(struct forwards *forwards, uint32_t id);
void forwards_on_lost(struct forwards *forwards, uint32_t id, const struct err *err);
void forwards_on_back(struct forwards *forwards, uint32_t id);

/* It has closed one that was removed: when that were all, other rules may hold their ports. */
void forwards_on_removed(struct forwards *forwards);

/* An array of what sandbox/request calls a forward, from number @first on. */
json_t *forwards_json(const struct forwards *forwards, size_t first);
