/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/netproc - the net process: libslirp, relays and listeners, with no rights of its own */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "forward/driver.h"
#include "forward/outward.h"
#include "net/pcap.h"
#include "sandbox/config.h"
#include "sandbox/words.h"
#include "util/err.h"

/*
 * How it works
 *
 * A fork of the supervisor in the host's network namespace that gives up everything else: it enters
 * a user and mount namespace of its own with nothing in it, drops every
 * capability, closes every descriptor but those below, and loads a seccomp allow-list. A guest that
 * breaks libslirp has gained the host's network, which it had before, and nothing more.
 *
 * It may die at any time; the supervisor has the TAP, the listeners and the door, and starts
 * another one. Messages go over a pair of sockets (util/fd), and neither waits for the other: what
 * finds no room is said later (util/queue here, sandbox/keeper there). What comes from the net
 * process is not trusted: the supervisor checks ids and types.
 */
enum net_message_type {
	/* to the net process */
	NET_ADD,    /* forward; with its listener */
	NET_REMOVE, /* id */
	NET_NAMES,  /* with a file of what the name server knows from now on (sandbox/netnames) */
	/* id, outward; with its listener: replaces what had that id. Then, of a TCP one id with its
	 * trap (net/syntrap) if there is one; of UDP, which is served from there on, always: id,
	 * and net/refusal if there is one. */
	NET_LEAD_OUT,
	NET_LEAD_OUT_TRAP,
	NET_LEAD_OUT_END, /* id */
	NET_DIALLED,      /* call; with a socket, unless that was refused */
	/* from the net process */
	NET_READY,
	NET_FAILED,    /* err; it ends */
	NET_ADDED,     /* id: of a forward that was lost */
	NET_REMOVED,   /* id: nothing of it is bound any more */
	NET_LOST,      /* id, err: that forward is not served; it goes on */
	NET_LISTENING, /* id: the guest listens there for the first time */
	NET_DIAL,      /* id, call: have the path of that outward rule dialled */
};

struct net_forward {
	struct forward_spec spec;
	uint32_t driver; /* enum forward_driver_choice, not auto */
	bool has_listened;
	bool was_lost; /* say NET_ADDED */
};

struct net_call {
	uint32_t number; /* the net process's */
};

struct net_message {
	uint32_t type; /* enum net_message_type */
	uint32_t id;
	union {
		struct net_forward forward;
		struct outward_spec outward;
		struct net_call call;
		struct err err;
	};
};

struct netproc_start {
	const struct sandbox_config *config;
	int channel;      /* the net process's end */
	int tap;          /* -1: none */
	struct pcap pcap; /* fd -1: none */
	int door;         /* the net process's end */
	int guest_diag, host_diag;
	int dns_udp, dns_tcp;                /* of the name server inside; -1: there is none */
	int out4, out6;                      /* of sandbox/carry; -1: libslirp carries that */
	bool keeps_clients4, keeps_clients6; /* the door has sockets for them */
	const struct words *words;           /* where what it says goes */
};

/* Start a net process. Returns its pid or -errno. The descriptors stay open here. */
pid_t netproc_spawn(const struct netproc_start *start, struct err *err);
