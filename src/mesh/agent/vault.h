/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/vault - the process that has a plain host's ports as well, "nswrap: keeper" */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "util/addr.h"

/*
 * How it works
 *
 * The kernel gives a port to somebody else when its last socket is closed. So the sockets of an
 * agent are held by a second process, which does nothing with them: as long as it has a listener,
 * clients are accepted by the kernel and wait for the next agent.
 *
 * It speaks with one agent at a time, by messages over a SOCK_SEQPACKET socket: first by a pair
 * with the one that started it; when that has gone, with who connects to its socket in a private
 * directory, if that is an nswrap of ours in our own namespaces (control/identity). Each one is
 * first sent all that is kept, and VAULT_END. Without an agent it ends after a while, as it was
 * told.
 *
 * It has no rights and no files but those. SIGTERM ends it as VAULT_LEAVE does.
 */
enum vault_op {
	VAULT_KEEP = 1, /* with the socket; also to the agent */
	VAULT_DROP,     /* answered by the same, when it is closed */
	VAULT_STAY,     /* for `seconds` without an agent; 0 until it is said */
	VAULT_LEAVE,    /* close all and end */
	VAULT_END,      /* to the agent: there are no more of them */
};

/* Those of another version have another size, and are not understood. */
struct vault_message {
	uint32_t op;
	uint32_t seconds;
	uint32_t proto;
	struct addr addr;
};

/*
 * Start one that listens at @name in @dir_fd, with its end of a pair (fd_pair); all stay the
 * caller's. Returns its pid or -errno. Where it cannot listen, it ends at once without a message.
 */
pid_t vault_start(int control, int dir_fd, const char *name);
