/* SPDX-License-Identifier: Apache-2.0 */
/* proc/tree - find and signal every process below another one */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The parent of @pid; 0: it is not in our PID namespace. -1: there is no @pid, or it is hidden. */
pid_t tree_parent(pid_t pid);

/*
 * Does @pid end just now, or is it a zombie? It may have closed its files then while its children
 * are not yet ours. False of one that is gone, or hidden.
 */
bool tree_is_ending(pid_t pid);

/* Is @pid not stopped: does it run, or has it ended? False of one that is hidden. */
bool tree_runs(pid_t pid);

/*
 * The children of this thread, dead ones that are not reaped included, also those that /proc hides:
 * with hidepid=2 those that are not dumpable (ssh-agent). Returns how many were stored (at most
 * @cap), or -errno: a kernel without CONFIG_PROC_CHILDREN cannot tell.
 */
ssize_t tree_children(pid_t *pids, size_t cap);

/*
 * The processes below @root by their parents, as /proc shows them now, @root not included. With
 * PR_SET_CHILD_SUBREAPER set on @root nothing that it started can leave this tree. Returns how many
 * were stored to @pids (at most @cap), or -errno.
 */
ssize_t tree_list(pid_t root, pid_t *pids, size_t cap);

/* Send @sig to all of them. Returns how many were found, or -errno. */
ssize_t tree_signal(pid_t root, int sig);

#define TREE_NO_GROUP (-1) /* 0 is one outside of our PID namespace */

/*
 * The same below the calling process, but not to those of the process group @group, which have it
 * already, nor to children that @is_spared (NULL: none) says yes to, with everything below them.
 */
ssize_t tree_signal_others(
	int sig, pid_t group, bool (*is_spared)(const void *owner, pid_t pid), const void *owner);

enum tree_reaped {
	TREE_CHILDLESS, /* there is no child */
	TREE_LIVES,     /* none that waits to be reaped */
	TREE_MORE,      /* it stopped early: call it again, after what else is to be done */
};

/*
 * Reap children that have ended, or changed as the @options of waitid(2) say; @on_change hears of
 * each (NULL: nobody does). Some hundreds at most: who forks without end must not keep us from
 * messages and timers.
 */
enum tree_reaped tree_reap(
	int options, void (*on_change)(void *owner, const siginfo_t *info), void *owner);

/*
 * SIGKILL everything below the calling process and reap it, round after round until there are no
 * children. Whoever waits for one of them has done so before. Returns 0, or -EBUSY when processes
 * were still there after @timeout_ms.
 */
int tree_kill(unsigned timeout_ms);

/*
 * The same, but children that @is_spared says yes to are left with everything below them. A kernel
 * that cannot tell which are children (tree_children) spares none.
 */
int tree_kill_but(
	unsigned timeout_ms, bool (*is_spared)(const void *owner, pid_t pid), const void *owner);

/*
 * SIGKILL @pid, a child of ours that is not reaped, and reap it. Returns 0, or -EBUSY when it was
 * still there after @timeout_ms: one that the kernel holds does not hold us.
 */
int tree_kill_child(pid_t pid, unsigned timeout_ms);

/*
 * SIGKILL everything below @root, which is none of ours: round after round until what is left are
 * zombies, as one that is stopped reaps nobody. @root itself is left, and who calls keeps its
 * number from being another one's (a pidfd). Returns 0, or -EBUSY after @timeout_ms.
 */
int tree_kill_below(pid_t root, unsigned timeout_ms);

/*
 * Wait @grace_ms for the network namespace behind @ns_fd to be empty, then SIGKILL every process in
 * it, wherever it stands in the tree, for at most @timeout_ms. For what was left by programs that
 * had joined the sandbox.
 */
void tree_end_namespace(int ns_fd, unsigned grace_ms, unsigned timeout_ms);
