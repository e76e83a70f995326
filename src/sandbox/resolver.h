/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/resolver - what a sandbox knows of names: gathered by the supervisor, told to all who
 * need it */
#pragma once

#include <jansson.h>

#include "net/resolv.h"
#include "sandbox/config.h"
#include "sandbox/etc.h"
#include "util/loop.h"

/*
 * How it works
 *
 * Names come from the host's files (resolv.conf, hosts, nsswitch.conf), which are watched, from the
 * machine's own name, which leads to an address inside, and from agents that joined a mesh. They go
 * to the sandbox's own files (sandbox/etc) and to its name server in the net process
 * (sandbox/netnames). Programs ask that one only; a laptop that changes its network, or a mesh
 * that gets another host, is no reason to start them again.
 *
 * What an agent tells stays as long as its connection. Of two that tell the same name both are
 * right.
 */
#define RESOLVER_TEXT_BYTES 4096
#define RESOLVER_OWN_MAX    16
#define RESOLVER_TOLD_MAX   100000 /* names and patterns of an agent */

/* What one agent has told; the items are checked. */
struct resolver_told {
	json_t *names;    /* [[NAME, ADDRESS]...]; NULL: none */
	json_t *patterns; /* [[PATTERN, ADDRESS]...] */
	struct list link;
};

struct resolver {
	const struct sandbox_config *config;
	struct loop *loop;
	/* the name server is to be told again (resolver_table) */
	void (*on_change)(void *owner);
	void *owner;

	/* its own */
	struct resolv_conf host; /* servers: those that are asked */
	char *host_hosts;        /* text of the host's file */
	char *own[RESOLVER_OWN_MAX];
	size_t nown;
	struct list told;
	struct etc_files files; /* texts are malloc()ed */
	int etc;                /* the directory; -1: none yet; owned */
	struct loop_io watch;   /* inotify */
	struct loop_timer watch_begin;
};

/* Read the host's settings; @loop and @config must stay. files is good for init from here on. */
void resolver_init(struct resolver *resolver, const struct sandbox_config *config,
	struct loop *loop, void (*on_change)(void *owner), void *owner);
void resolver_fini(struct resolver *resolver);

/* The sandbox is there: @etc (taken over; -1: there is none) is its /etc. Its files, and the name
 * server, follow the host's from half a second later on. Where inotify is short, they stay as they
 * are. */
void resolver_watch(struct resolver *resolver, int etc);

/* All that the name server must know, as a file for netnames_read: a descriptor, or -errno. */
int resolver_table(const struct resolver *resolver);

/*
 * An agent says what it knows, lists of [NAME, ADDRESS] and [PATTERN, ADDRESS], in the place of
 * what it said before; what is no name is left out. @told is zero at first, and the agent's.
 * Returns 0, or -EINVAL with @err; nothing has changed then.
 */
int resolver_tell(struct resolver *resolver, struct resolver_told *told, const json_t *names,
	const json_t *patterns, struct err *err);

/* It has gone. */
void resolver_forget(struct resolver *resolver, struct resolver_told *told);
