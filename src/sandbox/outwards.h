/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/outwards - the rules that lead ports of the inside outwards, and their sockets */
#pragma once

#include <jansson.h>

#include "sandbox/events.h"
#include "sandbox/forwards.h"

/*
 * How it works
 *
 * As with sandbox/forwards the sockets are made for the supervisor, which keeps them, and the net
 * process gets copies (sandbox/leadout). Those of the inside are made by a child that enters the
 * sandbox for that moment; socket files are made here. Of the host nothing opens but what a rule
 * names: the net process dials what it was told, and has a path dialled by the number of its rule.
 */
struct outwards_item {
	uint32_t id; /* never used twice */
	struct outward_spec spec;
	struct bound listener; /* or a UDP socket */
	int trap;              /* net/syntrap, of UDP net/refusal; -1: none */
	bool is_announced;
	bool is_sent;
};

/* Starts as all zero but for the first group, which must stay. */
struct outwards {
	const int *namespaces; /* in the order of enum enter_ns */
	struct events *events;
	const struct forwards_ops *ops; /* of forwards */
	void *owner;

	/* for reading */
	struct outwards_item *items; /* room for OUTWARD_MAX, once there was one */
	size_t count;

	/* its own */
	uint32_t next_id;
	uint32_t removed[OUTWARD_MAX]; /* ids that the net process has still to forget */
	size_t nremoved;
};

/* Close everything and remove the socket files. */
void outwards_fini(struct outwards *outwards);

/*
 * Add @specs, all or none: they are listened at from now on. Before COMMAND runs and while it does.
 * Returns 0, or -errno with @err filled.
 */
int outwards_add(
	struct outwards *outwards, const struct outward_spec *specs, size_t count, struct err *err);

/* The same for texts, of which NULL is the end. */
int outwards_add_texts(struct outwards *outwards, const char *const *texts, struct err *err);

/* What was added from number @first on is told of; or it goes, and nobody has heard of it. */
void outwards_tell(struct outwards *outwards, size_t first);
void outwards_cut(struct outwards *outwards, size_t first);

/* Take some away, which may be named by what stands in front of the target; are all of them there?
 */
int outwards_check_named(struct outwards *outwards, const char *const *texts, struct err *err);
int outwards_remove(struct outwards *outwards, const char *const *texts, struct err *err);

/* Tell the net process, a fresh one or not, what it does not know, as far as it takes it now. */
void outwards_send(struct outwards *outwards, bool is_fresh);

/* The net process asks for the path of rule @id, in the name of @number; both may be wrong. */
void outwards_on_dial(struct outwards *outwards, uint32_t id, uint32_t number);

/* One line and one event a rule, from number @first on, but once. */
void outwards_announce(struct outwards *outwards, size_t first);

/* An array of what sandbox/request calls a reverse, from number @first on. */
json_t *outwards_json(const struct outwards *outwards, size_t first);
