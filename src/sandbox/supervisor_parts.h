/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/supervisor_parts - what the files of the supervisor share; nobody else includes it */
#ifndef NSWRAP_SANDBOX_SUPERVISOR_PARTS_H
#define NSWRAP_SANDBOX_SUPERVISOR_PARTS_H

#include <limits.h>
#include <time.h>

#include "conn/bind.h"
#include "control/control.h"
#include "control/registry.h"
#include "control/server.h"
#include "sandbox/config.h"
#include "sandbox/events.h"
#include "sandbox/init.h"
#include "sandbox/netproc.h"
#include "sandbox/request.h"
#include "sandbox/resolver.h"
#include "util/loop.h"

/* One rule as the supervisor keeps it; it survives the net process. */
struct supervised_forward {
	uint32_t id; /* never used twice */
	struct forward_spec spec;
	enum forward_driver_choice driver;
	struct bound listener;
	bool has_listened;
	bool is_sent; /* the net process that runs knows it */
};

struct supervised_forwards {
	struct supervised_forward *items;
	size_t count;
	uint32_t next_id;
	uint32_t *removed; /* ids that the net process has still to forget */
	size_t nremoved;
};

struct supervisor {
	const struct sandbox_config *config;
	struct loop *loop;
	struct events events;
	struct resolver resolver;
	struct supervised_forwards forwards;

	struct registry registry; /* closed; its path is hidden inside */
	struct server server;     /* its name is the sandbox's */
	time_t started;

	pid_t init, command; /* command: as init sees it */
	struct loop_io init_io;
	int init_fds[INIT_FDS]; /* what came with INIT_READY; -1: none */
	char **argv, **env;     /* COMMAND's */

	pid_t net; /* 0: none runs */
	struct loop_io net_io;
	bool net_is_full; /* its channel is; EPOLLOUT says when it is not */
	int door, host_diag, pcap;
	struct loop_timer respawn_timer;
	uint64_t last_spawn_ns;
	unsigned quick_deaths;

	pid_t companion;          /* 0: none runs */
	int companion_fds[2];     /* its stdin and stdout while we keep them; -1: none */
	bool has_companion_ended; /* so everything ends, and COMMAND's status does not count */

	struct loop_io signal_io;
	sigset_t original_mask;
	struct rlimit original_nofile;
	struct loop_timer end_timer; /* then init should have ended */
	uint64_t rested_at;          /* stop of COMMAND along with which we were stopped; 0: none */
	bool was_entered;            /* `exec` joined it at least once */
	bool is_ending;              /* INIT_TERMINATE was sent */
	bool has_ended;              /* status is the result */
	int status;
	struct err *err;
};

/* --- supervisor_forwards.c --- */

/* Bind the TCP and UDP rules of the configuration; unix sockets come later. */
int forwards_bind_ports(struct supervisor *supervisor, struct err *err);
/* Bind the unix sockets; init must know of their files by then (forwards_files). */
int forwards_bind_paths(struct supervisor *supervisor, struct err *err);
/* Directory and name of every unix socket of the configuration; the caller owns the list. */
int forwards_files(const struct supervisor *supervisor, struct init_file **files, size_t *count,
	struct err *err);
/* Close everything and remove the socket files. */
void forwards_close(struct supervisor *supervisor);
/* The rules with the ports as they are, for placeholders. The caller frees the list. */
int forwards_list(const struct supervisor *supervisor, struct forward_list *list, struct err *err);
/* Tell the net process what it does not know yet, as far as it takes it now. */
void forwards_send(struct supervisor *supervisor);
/* Another net process: it knows nothing. */
void forwards_forget_sent(struct supervisor *supervisor);
/* One line and one event a rule. */
void forwards_announce(struct supervisor *supervisor, size_t first);
/* While it runs: add (all or none) or remove rules. 0 or -errno with @err filled. */
int forwards_add(struct supervisor *supervisor, char *const *specs, struct err *err);
int forwards_remove(struct supervisor *supervisor, char *const *specs, struct err *err);
/* The net process found a listener, or could not open a rule. Ids are checked. */
void forwards_on_listening(struct supervisor *supervisor, uint32_t id);
void forwards_on_failed(struct supervisor *supervisor, uint32_t id, const struct err *err);
json_t *forwards_json(const struct supervisor *supervisor, size_t first);

/* --- supervisor_control.c --- */

int control_open(struct supervisor *supervisor, struct err *err);
/*
 * The sandbox ends: let stopped processes that joined it go on. The kernel ends a PID namespace
 * only when they have reaped their children there.
 */
void control_wake(const struct supervisor *supervisor);

/* --- supervisor.c --- */

/* End the tree: SIGTERM now, SIGKILL after @timeout_ms. */
void supervisor_terminate(struct supervisor *supervisor, int sig, uint64_t timeout_ms);
/* Have init remove socket @name in @dir_fd should the supervisor vanish. */
int supervisor_own_file(struct supervisor *supervisor, int dir_fd, const char *name);

/* --- supervisor_command.c --- */

/* What COMMAND is executed with: argv and env. */
int supervisor_make_command(struct supervisor *supervisor, struct err *err);

/* --- supervisor_companion.c --- */

/* If there is to be a companion: keep stdin and stdout for it, and leave others for COMMAND. */
int companion_take_streams(struct supervisor *supervisor, struct err *err);
/* Start it, if there is to be one; the namespaces are there. */
int companion_start(struct supervisor *supervisor, struct err *err);
void companion_stop(struct supervisor *supervisor);
void companion_on_death(struct supervisor *supervisor, int code, int status);

/* --- supervisor_net.c --- */

int net_start(struct supervisor *supervisor, struct err *err);
void net_stop(struct supervisor *supervisor);
void net_on_death(struct supervisor *supervisor, int code, int status);

#endif
