/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/config - everything a sandbox is started with, checked and complete */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "exit/entrance.h"
#include "forward/driver.h"
#include "forward/outward.h"
#include "forward/spec.h"
#include "link/linkspec.h"
#include "net/plan.h"

struct detach; /* sandbox/detach */

#define SANDBOX_KEEP_FDS_MAX 64

/*
 * A function that serves beside COMMAND, in a process of its own inside the sandbox, with all
 * capabilities over it (which it gives up itself) and with nswrap's stdin and stdout: COMMAND reads
 * nothing then and writes to stderr. Its end is the end of the sandbox, and the other way round.
 */
struct sandbox_companion {
	const char *name; /* for messages; NULL: there is none */
	/* Returns 0, or 125 when it failed and has said so. Over @names (sandbox/tellers), which is
	 * its own, it tells what its mesh knows. */
	int (*run)(void *told, int names);
	void *told;
	bool *was_first; /* set when it has ended before COMMAND; may be NULL */
};

#define SANDBOX_VIA_NETS_MAX 256

/* --via: where packets go instead of through this host (exit/entrance). */
struct sandbox_via {
	bool is_on;
	struct linkspec spec;
	const char *key_path; /* NULL: nobody proves anything */
	struct entrance_net nets[SANDBOX_VIA_NETS_MAX];
	size_t nnets; /* 0: everything, and there is no TAP */
	bool has_dns; /* names are asked of the exit's resolver */
	unsigned mtu;
};

/* Who tells the service manager that all is ready, and what COMMAND tells it itself. */
enum sandbox_notifier {
	SANDBOX_NOTIFIER_AUTO,    /* who comes first: the rules' first guest port, or COMMAND */
	SANDBOX_NOTIFIER_COMMAND, /* COMMAND alone */
	SANDBOX_NOTIFIER_PORT,    /* the first guest port; COMMAND hears of no manager */
};

/* A descriptor that we were started with, and its name. */
struct sandbox_given {
	int fd;
	const char *name; /* not NUL-terminated */
	int name_len;
};

/* What a service manager has left us, sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3). */
struct sandbox_service {
	const char *notify_socket; /* NULL: it is told nothing */
	enum sandbox_notifier notifier;
	const char *watchdog_usec; /* how often COMMAND is to say that it lives; NULL: not at all */
	bool is_watchdog_named;    /* by its pid */
	struct sandbox_given
		given[SANDBOX_KEEP_FDS_MAX]; /* to COMMAND, as its descriptors 3, 4... */
	size_t ngiven;
};

struct sandbox_config {
	const char *name; /* NULL: the command's name and a number */
	char **command;   /* NULL-terminated; placeholders not yet replaced */

	struct forward_list forwards;
	struct outward_list outwards;
	uint16_t guest_port; /* what COMMAND is to listen at where no rule says it; 0: not known */
	bool holds_nothing;  /* leave the host's ports of the guest's numbers to others */
	struct addr bind;    /* for rules that come later without an address */
	enum forward_driver_choice driver;
	bool checks_user;    /* only the users below may connect */
	bool allows_network; /* and all that is on other machines */
	bool keeps_local;    /* clients of loopback listeners come as themselves, too */
	uid_t users[FORWARD_USERS_MAX];
	size_t nusers;
	uint64_t wait_ms; /* hold connections until the guest first listens */

	struct net_plan net;
	struct sandbox_via via;
	struct addr dns_override; /* none: the host's name servers */
	const char *pcap_path;    /* NULL: none */

	bool is_root;     /* uid 0 inside, with the namespace's capabilities */
	bool has_pid_ns;  /* own PID and IPC namespaces, and /proc */
	bool new_session; /* setsid() */
	bool waits_all;   /* the sandbox ends with its last process, not with COMMAND */
	const char *chdir;
	char **env; /* complete, NULL-terminated, without NSWRAP_* */

	int keep_fds[SANDBOX_KEEP_FDS_MAX]; /* stay open in COMMAND besides 0, 1, 2 */
	size_t nkeep_fds;
	int ready_fd; /* -1: none */
	int info_fd;  /* -1: none */
	int alive_fd; /* when its other end is closed the sandbox ends; -1: none */
	uint64_t stop_timeout_ms;
	uint64_t unattended_ms; /* it ends when nobody was in there for so long; 0: it does not */
	struct sandbox_companion companion;
	struct sandbox_service service;
	struct detach *detach;       /* NULL: in the foreground */
	const char *const *defaults; /* options that were not typed, and where they stand, for those
				      * who ask; NULL-terminated. NULL: none */
};

/* Is there no way out at all? */
static inline bool config_is_alone(const struct sandbox_config *config)
{
	return !config->net.has_outbound && !config->via.is_on;
}
