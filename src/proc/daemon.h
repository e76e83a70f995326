/* SPDX-License-Identifier: Apache-2.0 */
/* proc/daemon - is a process there for others than who started it? */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Does @pid listen at a unix socket that has a name, and is somebody connected to it? So does an
 * ssh that others share (ControlMaster), for as long as they do. Not so an nswrap, whose socket is
 * for questions about itself. False where /proc does not show it.
 */
bool daemon_serves(pid_t pid);

/* The same of it, or of anything below it. */
bool daemon_serves_below(pid_t root);

/* Is @pid there for the next agent of its host (mesh/agent/vault)? It ends by itself. */
bool daemon_keeps(pid_t pid);

/*
 * Is @pid, whose session is none of those that it was started in, a daemon of the host? It has
 * given up the pipes and the terminal that it was started with. An nswrap, whose processes have
 * such sessions, or what is in another network, is not.
 */
bool daemon_is_one(pid_t pid);

/*
 * Does @pid work for a child of this process that @is_left says yes to? It reads from one pipe what
 * that writes, and writes to another one what that reads, as the ssh of a ProxyJump, or a
 * ProxyCommand, does for an ssh that stays.
 */
bool daemon_is_helper(pid_t pid, bool (*is_left)(const void *owner, pid_t pid), const void *owner);

/*
 * How many processes below this one have left @session, as daemons do, or were to outlive it by
 * nohup(1)? Those that @is_spared says yes to do not count; NULL: all do.
 */
size_t daemon_count(
	pid_t session, bool (*is_spared)(const void *owner, pid_t pid), const void *owner);
