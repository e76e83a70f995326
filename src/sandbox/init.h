/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/init - the first process inside: sets up, starts COMMAND, reaps, cleans up */
#pragma once

#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "control/places.h"
#include "sandbox/config.h"
#include "sandbox/etc.h"
#include "sandbox/sshconf.h"
#include "sandbox/words.h"
#include "util/err.h"

/*
 * How it works
 *
 * init is a child of the supervisor in new user and mount (and PID) namespaces. It makes a network
 * namespace, sets all up with the capabilities it has there, hands the TAP, a diagnostics socket
 * and the namespaces to the supervisor (INIT_READY), forks COMMAND and drops its rights. From then
 * on it waits for three things: children that end or stop, requests at the door (conn/door), and
 * messages of the supervisor. It is a subreaper, so that nothing COMMAND started can leave its
 * tree.
 *
 * COMMAND stays in the supervisor's process group (the shell's job); init leaves it, so that a
 * signal from the terminal never reaches init.
 *
 * The end: INIT_TERMINATE comes (SIGTERM to COMMAND). What is left in the tree when COMMAND has
 * ended then gets SIGTERM, and SIGKILL when the time is over. If COMMAND ends by itself, INIT_WAITS
 * asks for that: only the supervisor knows which signals the others have had as well.
 * INIT_ENDED is sent when nothing is left. When the supervisor vanishes everything is killed at
 * once and its socket files (announced before they are made, INIT_OWN_FILE) are removed.
 */

enum init_message_type {
	/* to the supervisor */
	INIT_READY, /* with descriptors, see enum init_fd; value: bit i is set if fd i is there, and
		     * more of them */
	INIT_FAILED,  /* err, without a text for ns_explain; nothing runs; value: nswrap's exit
			 status */
	INIT_STARTED, /* COMMAND runs; value: its pid as init sees it */
	INIT_STOPPED, /* COMMAND was stopped by signal value; serial: for the how-manieth time */
	INIT_WAITS,   /* COMMAND has ended; what it left goes on until INIT_TERMINATE */
	INIT_ENDED,   /* everything is gone; value: exit status as a shell shows it */
	/* to init */
	INIT_GO,        /* everything outside is ready: start COMMAND */
	INIT_RESUME,    /* continue COMMAND if it still is in stop number serial */
	INIT_SIGNAL,    /* pass signal value on to COMMAND */
	INIT_TERMINATE, /* end the tree: signal value now, SIGKILL after timeout_ms */
	INIT_OWN_FILE,  /* if we vanish remove socket `file` in the directory that comes with it */
};

/* The descriptors that come with INIT_READY, in this order; those from INIT_FD_ETC on only if there
 * are such. */
enum init_fd {
	INIT_FD_USER,
	INIT_FD_NET,
	INIT_FD_MNT,
	INIT_FD_PID,
	INIT_FD_IPC,
	INIT_FD_DIAG,
	INIT_FD_LOOK,    /* another one: who asks must be alone */
	INIT_FD_ETC,     /* the directory that is /etc inside, for writing (sandbox/etc) */
	INIT_FD_DNS_UDP, /* where the sandbox's name server is asked (sandbox/netnames) */
	INIT_FD_DNS_TCP,
	INIT_FD_TAP,
	INIT_FD_OUT4, /* where outbound connections are accepted (sandbox/carry) */
	INIT_FD_OUT6,
	INIT_FD_NOTIFY,   /* what COMMAND tells the service manager (sandbox/notifyrelay) */
	INIT_FD_VIA,      /* the TUN device whose packets go through a link */
	INIT_FD_VIA_LOOK, /* net/diag for who has it */
	INIT_FDS
};

/* Behind the bits of descriptors: the door has sockets for clients of that family (conn/mint). */
#define INIT_KEEPS_CLIENTS4 (1 << INIT_FDS)
#define INIT_KEEPS_CLIENTS6 (1 << (INIT_FDS + 1))

struct init_message {
	uint32_t type; /* enum init_message_type */
	int32_t value;
	uint64_t timeout_ms;
	uint64_t serial;
	union {
		struct err err;
		char file[NAME_MAX + 1];
	};
};

#define INIT_NUMBER_BYTES 12 /* of a sysctl, in digits */

struct init_start {
	const struct sandbox_config *config;
	char **argv;                   /* COMMAND, placeholders replaced */
	char **env;                    /* with NSWRAP_* */
	char *const *pid_variables;    /* of those, see proc/command */
	const struct etc_files *files; /* of /etc inside */
	const struct sshconf *ssh;     /* copies that cover what they were made of */
	const struct places *hidden;   /* the runtime directories */
	const char *notify_path;       /* of INIT_FD_NOTIFY; "": there is none */
	int supervisor_fd, door_fd;    /* init's ends, SOCK_SEQPACKET */
	const struct words *words;     /* where what init says goes when COMMAND runs */
	sigset_t original_mask;        /* what COMMAND gets */
	bool restores_pipe;            /* SIGPIPE, which we ignore, ends COMMAND */
	struct rlimit original_nofile;
	/* the host's for SYNs nobody answers, which a new namespace does not have; "": not known */
	char syn_retries[INIT_NUMBER_BYTES], syn_linear_timeouts[INIT_NUMBER_BYTES];
};

/*
 * Start init in new namespaces. Returns its pid, or -errno with @err filled. What happens after
 * that comes as messages to the other end of @start->supervisor_fd.
 */
pid_t init_spawn(const struct init_start *start, struct err *err);
