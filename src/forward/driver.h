/* SPDX-License-Identifier: Apache-2.0 */
/* forward/driver - the small interface behind which the ways into a sandbox are interchangeable */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "conn/door.h"
#include "forward/spec.h"
#include "util/budget.h"
#include "util/list.h"
#include "util/loop.h"

#define FORWARD_USERS_MAX 64

enum forward_driver_choice {
	FORWARD_DRIVER_AUTO,
	FORWARD_DRIVER_SPLICE, /* a listener of ours, a socket made inside, a relay between them */
	FORWARD_DRIVER_SLIRP,  /* libslirp accepts at a listener of ours: packets on the TAP */
};

struct net_plan;
struct slirp_stack;

/* What all forwards of one net process share. Filled by the net process, never changed later. */
struct forward_context {
	struct loop *loop;
	const struct net_plan *plan;
	struct slirp_stack *slirp; /* NULL: no TAP */
	struct relay_pool *relays;
	struct inside *inside;     /* sockets of the sandbox */
	int guest_diag, host_diag; /* net/diag sockets of either namespace */
	uint64_t wait_ms;          /* hold clients until the guest first listens; 0: refuse */
	bool checks_user;          /* only these users may connect */
	bool allows_network;       /* and all that is on other machines */
	/* clients may come as themselves to targets of that family (forward/guise); also those of
	 * loopback listeners */
	bool keeps_clients4, keeps_clients6, keeps_local;
	uid_t own_user; /* whose socket files are */
	const uid_t *users;
	size_t nusers;
	struct budget *budget; /* of the process */
	/* forward @id is listened at for the first time; once a forward, from a task of the loop */
	void (*on_listening)(void *owner, uint32_t id);
	/* forward @id cannot be served any more, because of @err; may be removed at once */
	void (*on_lost)(void *owner, uint32_t id, const struct err *err);
	void *owner;
};

/* The addresses of the inside at which a server is looked for, in this order. */
enum forward_target { TARGET_LOOPBACK4, TARGET_LOOPBACK6, TARGET_OWN4, TARGET_OWN6, TARGETS };

/*
 * One rule at work, in the net process. Owned by forward/table, which fills in what stands above
 * the line.
 */
struct forward {
	struct list link;
	uint32_t id;
	struct forward_spec spec; /* ports as they are, none is 0 */
	const struct forward_driver *driver;
	const struct forward_context *context;
	int listen_fd;     /* the host's: listens (streams) or is bound (UDP); owned */
	bool has_listened; /* somebody was found listening inside, once at least */
	/* --- */
	enum forward_target target;        /* where, the last time */
	struct loop_task tell_task;        /* see driver_note_listening */
	uint64_t refused, refusal_line_ns; /* strangers turned away; when that was last told */
	void *state;                       /* the driver's */
};

struct forward_driver {
	/* Start accepting. Returns 0 or -errno with @err filled and nothing left behind. */
	int (*open)(struct forward *forward, struct err *err);
	/* Stop accepting and forget who waits; connections that were made go on to their end. */
	void (*close)(struct forward *forward);
	/*
	 * The guest listens for the first time: serve who was held. From a task of the loop; the
	 * context's on_lost may be called, as the last thing.
	 */
	void (*on_guest_listening)(struct forward *forward);
};

/*
 * Which driver serves @spec: unix sockets, a sandbox without TAP, UDP and listeners that check
 * users know only splice (libslirp accepts before anybody can look at the client; for UDP see
 * docs/design.md). `auto` takes splice where the client can only be local (there is no address
 * worth keeping, unless @keeps_local), for IPv6 listeners (libslirp leads those only to an IPv6
 * address of the guest), and where splice keeps clients' addresses, too (@keeps_clients); slirp for
 * the rest.
 */
enum forward_driver_choice driver_resolve(const struct forward_spec *spec,
	enum forward_driver_choice choice, bool has_outbound, bool checks_user, bool keeps_clients,
	bool keeps_local);
const char *driver_name(enum forward_driver_choice driver);

/* Put its driver to work, as ->open says; and stop it. */
int driver_open(struct forward *forward, struct err *err);
void driver_close(struct forward *forward);

/* Does somebody inside listen where @spec leads to? @guest_diag is a net/diag socket of the inside.
 */
bool driver_is_listening(
	int guest_diag, const struct net_plan *plan, const struct forward_spec *spec);

/*
 * Ask the kernel where inside somebody listens for @forward, the last target first. If there is one
 * sets @forward->target, notes that, and returns true.
 */
bool driver_find_target(struct forward *forward);

/* Make the loopback address of @family the target, if that is of the other one and somebody listens
 * there. False: it stays. */
bool driver_turn_to(struct forward *forward, int family);

/*
 * Somebody listens inside: an answer came from there. The first time has_listened is set, and a
 * task of the loop tells the driver, and then the context's owner.
 */
void driver_note_listening(struct forward *forward);

/* The target, with the guest port; no family: the sandbox has no such address. */
struct addr driver_target(const struct forward *forward);

/* The kind of socket that leads to the target. */
enum door_kind driver_socket_kind(const struct forward *forward);

/* Connect a fresh socket of that kind to the target. Returns 0, -EINPROGRESS or -errno. */
int driver_connect(const struct forward *forward, int fd);

/*
 * May the client of this accepted connection or datagram (@from, seen at @at) use @forward?
 * Writes a log line if not, at most one a second. Always true unless the context checks users. Then
 * a client on this host needs one of them as the owner of its socket, and one whose address is none
 * of this host needs allows_network: nothing says whose it is.
 */
bool driver_is_allowed(struct forward *forward, const struct addr *from, const struct addr *at);

/*
 * The same for a client of a unix socket, accepted as @fd. The net process has a user namespace of
 * its own, in which the kernel tells it the caller's uid only, so nobody else is allowed.
 */
bool driver_is_allowed_path(struct forward *forward, int fd);

/*
 * Can a forward be for these users only? A socket file cannot, unless they are its owner: -EINVAL
 * with @err filled. 0 otherwise.
 */
int driver_check_users(
	const struct forward_spec *spec, const uid_t *users, size_t nusers, struct err *err);
